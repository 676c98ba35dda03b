package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// schemaVersion returns the version of the schema, which may be newer than the program, or 0 if there is none. It
// refuses a schema that it does not understand, and one that does not allow this program.
func schemaVersion(ctx context.Context, q querier, dia *dialect, steps []migrationStep) (int64, error) {
	present, err := queryStrings(ctx, q, dia.tables)
	if err != nil {
		return 0, err
	}
	if len(present) == 0 {
		return 0, nil
	}
	has := map[string]bool{}
	for _, name := range present {
		has[name] = true
	}
	advice := "restore a backup, or drop the latchkey_ tables and migrate again"
	if has[mysqlStepsTable] {
		advice = "run sqlstore.Migrate; if that cannot complete it, " + advice
	}
	if !has["latchkey_schema"] {
		return 0, fmt.Errorf("a migration was left half done: table %s exists, but latchkey_schema does not; %s",
			present[0], advice)
	}
	var r recorded
	if err := r.read(ctx, q, has[laterMigrations]); err != nil {
		return 0, err
	}
	version, known := r.version(), int64(len(steps))
	for _, m := range r.list {
		if m.version >= 1 && m.version <= known && m.name != steps[m.version-1].name {
			return 0, fmt.Errorf("migration %d is recorded as %s, but this program has %s: another version made it; use a "+
				"newer latchkey", m.version, m.name, steps[m.version-1].name)
		}
	}
	if r.oldest > known {
		return 0, fmt.Errorf("the schema has version %d (%s), newer than this program's %d, and does not allow programs "+
			"that know fewer than %d migrations: use a newer latchkey; a schema cannot be downgraded",
			version, r.name(version), known, r.oldest)
	}
	missing := ""
	for _, step := range steps[:min(version, known)] {
		for _, name := range createdTables(step.text) {
			if !has[name] {
				missing = name
			}
		}
	}
	switch {
	case version == 0 || !r.complete():
		return 0, fmt.Errorf("a migration was left half done: %d migrations are recorded up to version %d; %s",
			len(r.list), version, advice)
	case missing != "":
		return 0, fmt.Errorf("the schema says version %d, but table %s is missing: restore a backup", version, missing)
	}
	return version, checkTables(ctx, q, dia)
}

// laterMigrations is the table that records migrations from 0002 on. The first program knows only 0001 and refuses any
// other record in latchkey_schema. So only migrations that break that program are recorded there too.
const laterMigrations = "latchkey_migrations"

// recorded holds the migrations that a database has recorded.
type recorded struct {
	list   []recordedMigration
	oldest int64 // how many migrations a program must know
}

type recordedMigration struct {
	version int64
	name    string
}

// read reads the records. later: there is a table of later migrations.
func (r *recorded) read(ctx context.Context, q querier, later bool) error {
	seen := map[int64]bool{}
	add := func(text string) error {
		rows, err := q.QueryContext(ctx, text)
		return eachRow(rows, err, func(rows *sql.Rows) error {
			var m recordedMigration
			var oldest int64
			err := rows.Scan(&m.version, &m.name, &oldest)
			if r.oldest = max(r.oldest, oldest); !seen[m.version] {
				seen[m.version] = true
				r.list = append(r.list, m)
			}
			return err
		})
	}
	err := add("SELECT version, name, version FROM latchkey_schema ORDER BY version")
	if err == nil && later {
		err = add("SELECT version, name, oldest FROM " + laterMigrations + " ORDER BY version")
	}
	return err
}

func (r *recorded) version() (version int64) {
	for _, m := range r.list {
		version = max(version, m.version)
	}
	return version
}

func (r *recorded) name(version int64) string {
	for _, m := range r.list {
		if m.version == version {
			return m.name
		}
	}
	return "?"
}

// complete reports whether no version is left out.
func (r *recorded) complete() bool { return r.version() == int64(len(r.list)) }

// createdTables returns the names of the tables that a migration creates.
func createdTables(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return names
}

// A host may run the migrations with its own tool, or change the tables afterwards. These queries select sentences
// about faults with which a store would answer wrongly. One is text that does not compare as bytes, so that two owners'
// ids could be equal. Another is a table that loses what was acknowledged, or keeps half of it.
const (
	sqliteTableFaults = `SELECT tbl_name || ' has a COLLATE in its definition, and its text would not compare as bytes: ` +
		`make it as ' ||
			'the migration does, without one'
		FROM sqlite_master WHERE tbl_name LIKE 'latchkey!_%' ESCAPE '!' AND instr(upper(sql), 'COLLATE') > 0 ORDER BY 1`

	postgresTableFaults = `SELECT CAST(t.relname || '.' || a.attname || ' has the collation ' || c.collname ||
			', and would not compare as bytes: ALTER TABLE ' || t.relname || ` +
		`' ALTER ' || a.attname || ' TYPE TEXT COLLATE "C"' AS TEXT)
		FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_collation c ON c.oid = a.attcollation
		WHERE t.relkind IN ('r', 'p') AND t.relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(t.oid)
			AND a.attnum > 0 AND NOT a.attisdropped AND c.collname NOT IN ('C', 'POSIX', 'ucs_basic')
		UNION ALL
		SELECT CAST(relname || ' is not logged, and a crash would empty it: ALTER TABLE ' || relname || ' SET LOGGED' AS TEXT)
		FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(oid)
			AND relpersistence = 'u'
		UNION ALL
		SELECT CAST(relname || ' has row security, and hides rows from this user: ALTER TABLE ' || relname ||
			' DISABLE ROW LEVEL SECURITY, or give the user BYPASSRLS' AS TEXT)
		FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(oid)
			AND row_security_active(oid)
		ORDER BY 1`

	mysqlTableFaults = `SELECT CONCAT(table_name, '.', column_name, ' has the collation ', collation_name,
			', and would not compare as bytes: make it VARBINARY, as the migration does') AS what
		FROM information_schema.columns WHERE table_schema = DATABASE() AND ` + mysqlOwnTable + `
			AND collation_name IS NOT NULL
		UNION ALL
		SELECT CONCAT(table_name, ' is a table of ', engine, ', which has no transactions: ALTER TABLE ', table_name,
			' ENGINE=InnoDB')
		FROM information_schema.tables WHERE table_schema = DATABASE() AND ` + mysqlOwnTable + `
			AND engine <> 'InnoDB'
		UNION ALL
		SELECT 'innodb_flush_log_at_trx_commit is 0, and a crash of the server would take back ` +
		`what was acknowledged: set it to 1'
		WHERE @@GLOBAL.innodb_flush_log_at_trx_commit = 0
		ORDER BY 1`
)

// checkTables refuses tables with the faults that the dialect's query finds.
func checkTables(ctx context.Context, q querier, dia *dialect) error {
	faults, err := queryStrings(ctx, q, dia.tableFaults)
	if err != nil || len(faults) == 0 {
		return err
	}
	return errors.New(strings.Join(faults, "; "))
}
