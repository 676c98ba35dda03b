package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
)

//go:embed migrations/*/*.sql
var migrations embed.FS

// Migrations returns the migrations of an engine, numbered files such as 0001_latchkey.sql, for hosts that run them with
// a migrator of their own. Each file records itself in latchkey_schema or latchkey_migrations, so [New] and [Migrate]
// know what was applied, whoever applied it. Each must run in one transaction, but on MySQL, which has none for them:
// there [Migrate] can take up what a crash cut off, and a migrator of your own must.
func Migrations(d latchkey.Dialect) (fs.FS, error) {
	dia, err := dialectOf(d)
	if err != nil {
		return nil, err
	}
	return fs.Sub(migrations, dia.dir)
}

// Migrate brings the database to the schema this version of the package needs. It only goes forward. Any number of
// processes may call it at once: one works, the others wait for it. On SQLite and PostgreSQL all steps are one
// transaction: after a crash nothing is half done. On MySQL and MariaDB each step is noted before and after, in
// latchkey_schema_steps, and the next call takes up what a crash cut off. A schema says which programs may use it: when
// it is newer than this program and allows it all the same, Migrate does nothing. Otherwise it refuses, and changes
// nothing; so it does when there are latchkey_ tables that no migration accounts for. The error says what to do. In a
// Galera cluster let one node do it: the lock is a node's own.
func Migrate(ctx context.Context, db *sql.DB, d latchkey.Dialect) error {
	dia, err := dialectOf(d)
	if err != nil {
		return err
	}
	if db == nil {
		return errNoDB
	}
	steps, err := migrationSteps(dia)
	if err != nil {
		return err
	}
	err = retrying(ctx, dia.retry, func() error {
		if err := dia.fit(ctx, db); err != nil {
			return err
		}
		return dia.migrate(ctx, db, dia, steps)
	})
	if err != nil {
		return fmt.Errorf("latchkey/sqlstore: migrate: %w", explained(err))
	}
	return nil
}

type migrationStep struct {
	version int64
	name    string
	text    string
}

func migrationSteps(dia *dialect) ([]migrationStep, error) {
	entries, err := migrations.ReadDir(dia.dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var steps []migrationStep
	for _, entry := range entries {
		number, _, _ := strings.Cut(entry.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(len(steps)+1) {
			return nil, fmt.Errorf("latchkey/sqlstore: migration %s is out of order", entry.Name())
		}
		text, err := migrations.ReadFile(dia.dir + "/" + entry.Name())
		if err != nil {
			return nil, err
		}
		steps = append(steps, migrationStep{version, entry.Name(), string(text)})
	}
	return steps, nil
}

// migrateAtOnce runs all steps in one transaction.
func migrateAtOnce(ctx context.Context, db *sql.DB, dia *dialect, steps []migrationStep) error {
	tx, err := dia.lockMigrations(ctx, db)
	if err != nil {
		return err
	}
	defer tx.end()
	version, err := schemaVersion(ctx, tx.on, dia, steps)
	if err != nil || version >= int64(len(steps)) {
		return err
	}
	for _, step := range steps[version:] {
		for i, statement := range splitStatements(step.text) {
			if _, err := tx.on.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s, statement %d: %w", step.name, i+1, err)
			}
		}
	}
	// What was written must be what the check at New finds, or no Store would ever open.
	if version, err = schemaVersion(ctx, tx.on, dia, steps); err != nil {
		return err
	}
	if version != int64(len(steps)) {
		return fmt.Errorf("the migrations recorded version %d instead of %d", version, len(steps))
	}
	return tx.commit(ctx)
}

// schemaVersion returns the version of the schema that is there, 0 for none, and refuses what it does not understand,
// and what does not allow this program. It may be newer than the program.
func schemaVersion(ctx context.Context, q queryer, dia *dialect, steps []migrationStep) (int64, error) {
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
	mend := "restore a backup, or drop the latchkey_ tables and migrate again"
	if has[mysqlSteps] {
		mend = "run sqlstore.Migrate; if that cannot complete it, " + mend
	}
	if !has["latchkey_schema"] {
		return 0, fmt.Errorf("a migration was left half done: table %s exists, but latchkey_schema does not; %s",
			present[0], mend)
	}
	var r recorded
	if err := r.read(ctx, q, has[laterMigrations]); err != nil {
		return 0, err
	}
	version, known := r.version(), int64(len(steps))
	for _, m := range r.list {
		if m.version >= 1 && m.version <= known && m.name != steps[m.version-1].name {
			return 0, fmt.Errorf("migration %d is recorded as %s, and this program's is %s: another latchkey made it; use a "+
				"newer latchkey", m.version, m.name, steps[m.version-1].name)
		}
	}
	if r.oldest > known {
		return 0, fmt.Errorf("the schema has version %d (%s), newer than this program's %d, and does not allow programs "+
			"that know fewer than %d migrations: use a newer latchkey; schemas never go back", version, r.name(version), known,
			r.oldest)
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
	case version == 0 || !r.whole():
		return 0, fmt.Errorf("a migration was left half done: %d migrations are recorded up to version %d; %s",
			len(r.list), version, mend)
	case missing != "":
		return 0, fmt.Errorf("the schema says version %d, but table %s is missing: restore a backup", version, missing)
	}
	return version, checkTables(ctx, q, dia)
}

// laterMigrations is where migrations from 0002 on are recorded. The first program, which knows 0001 alone, refuses
// whatever else is in latchkey_schema, so only migrations that break it are recorded there too.
const laterMigrations = "latchkey_migrations"

// recorded is the migrations that a database says it has had.
type recorded struct {
	list   []recordedMigration
	oldest int64 // how many migrations a program must know
}

type recordedMigration struct {
	version int64
	name    string
}

// read reads what is recorded, later migrations only when there is a table of them.
func (r *recorded) read(ctx context.Context, q queryer, later bool) error {
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

// whole says that no number is left out.
func (r *recorded) whole() bool { return r.version() == int64(len(r.list)) }

// createdTables names the tables a migration creates.
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

// splitStatements cuts a migration at semicolons that end a line: not every driver takes several statements at once.
func splitStatements(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text+"\n", ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryStrings(ctx context.Context, q queryer, query string, args ...any) ([]string, error) {
	var out []string
	rows, err := q.QueryContext(ctx, query, args...)
	err = eachRow(rows, err, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		out = append(out, s)
		return err
	})
	return out, err
}
