package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MySQL commits each CREATE TABLE by itself. So every statement of a migration is a step. A table records each step
// before it runs (done = 0) and afterwards (done = 1). For a step with done = 0 the schema is examined, because a crash
// may have come between the two.

const (
	mysqlStepsTable = "latchkey_schema_steps"
	createMySQLStep = `CREATE TABLE IF NOT EXISTS ` + mysqlStepsTable + ` (
  version BIGINT   NOT NULL,
  step    BIGINT   NOT NULL,
  done    SMALLINT NOT NULL,
  PRIMARY KEY (version, step)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC`

	// Hashed: the name of a lock has at most 64 characters, and that of a database can have as many.
	mysqlLock        = `CONCAT('latchkey.migrate.', MD5(DATABASE()))`
	mysqlLockSeconds = 30
)

func migrateMySQL(ctx context.Context, db *sql.DB, dia *dialect, steps []migrationStep) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	// The lock belongs to this connection, and is released with it even if the process crashes.
	defer func() {
		if err == nil {
			_, err = conn.ExecContext(ctx, `DO RELEASE_LOCK(`+mysqlLock+`)`)
		}
		if err != nil {
			discardConn(conn)
		}
		conn.Close()
	}()
	var locked sql.NullInt64
	// The time is a literal: with a placeholder, TiDB lets several have the lock.
	getLock := fmt.Sprintf(`SELECT GET_LOCK(`+mysqlLock+`, %d)`, mysqlLockSeconds)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err = conn.QueryRowContext(ctx, getLock).Scan(&locked)
		if !isTiDBCrowd(err) || time.Since(began) > mysqlLockSeconds*time.Second {
			break
		}
	}
	if err != nil {
		return err
	}
	if locked.Int64 != 1 {
		return fmt.Errorf("another process has been migrating for %d s: call Migrate again when it is done", mysqlLockSeconds)
	}
	m := mysqlMigration{conn: conn}
	version, err := m.begin(ctx, dia, steps)
	if err != nil {
		return err
	}
	for _, step := range steps[min(version, int64(len(steps))):] {
		for i, statement := range splitStatements(step.text) {
			if err := m.step(ctx, step.version, int64(i+1), statement); err != nil {
				return fmt.Errorf("%s, statement %d: %w", step.name, i+1, err)
			}
		}
	}
	version, err = schemaVersion(ctx, conn, dia, steps)
	if err == nil && version < int64(len(steps)) {
		err = fmt.Errorf("the migrations recorded version %d instead of %d", version, len(steps))
	}
	return err
}

type mysqlMigration struct {
	conn  *sql.Conn
	begun map[[2]int64]bool // by version and step: whether it is done
}

// begin returns the recorded version, and reads the steps recorded towards the next one.
func (m *mysqlMigration) begin(ctx context.Context, dia *dialect, steps []migrationStep) (version int64, err error) {
	present, err := queryStrings(ctx, m.conn, dia.tables)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(present, mysqlStepsTable) {
		// There is nothing, or a schema that another tool made. That one is complete or refused.
		version, err = schemaVersion(ctx, m.conn, dia, steps)
		if err == nil && version < int64(len(steps)) {
			_, err = m.conn.ExecContext(ctx, createMySQLStep)
		}
		return version, err
	}
	if slices.Contains(present, "latchkey_schema") {
		var r recorded
		if err = r.read(ctx, m.conn, slices.Contains(present, laterMigrations)); err != nil {
			return 0, err
		}
		version = r.version()
	}
	m.begun = map[[2]int64]bool{}
	rows, err := m.conn.QueryContext(ctx, `SELECT version, step, done FROM `+mysqlStepsTable)
	return version, eachRow(rows, err, func(rows *sql.Rows) error {
		var key [2]int64
		var done int64
		err := rows.Scan(&key[0], &key[1], &done)
		m.begun[key] = done != 0
		return err
	})
}

func (m *mysqlMigration) step(ctx context.Context, version, step int64, statement string) error {
	done, noted := m.begun[[2]int64{version, step}]
	if done {
		return nil
	}
	change := parseChange(statement)
	if change == nil {
		// A change of rows: one transaction runs it and records it.
		return m.runStatement(ctx, version, step, statement, noted)
	}
	if noted {
		exists, err := change.exists(ctx, m.conn)
		if err != nil {
			return err
		}
		if exists {
			return m.markDone(ctx, version, step)
		}
	} else if _, err := m.conn.ExecContext(ctx, `INSERT INTO `+mysqlStepsTable+` (version, step, done) VALUES (?, ?, 0)`,
		version, step); err != nil {
		return err
	}
	if _, err := m.conn.ExecContext(ctx, statement); err != nil {
		return err
	}
	return m.markDone(ctx, version, step)
}

func (m *mysqlMigration) markDone(ctx context.Context, version, step int64) error {
	_, err := m.conn.ExecContext(ctx, `UPDATE `+mysqlStepsTable+` SET done = 1 WHERE version = ? AND step = ?`,
		version, step)
	return err
}

func (m *mysqlMigration) runStatement(ctx context.Context, version, step int64, statement string, noted bool) error {
	if noted {
		// Not by this program, which runs and records the step in the same transaction.
		return errors.New("it was begun and not finished: restore a backup")
	}
	tx, err := m.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO `+mysqlStepsTable+` (version, step, done) VALUES (?, ?, 1)`, version, step)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// schemaChange is a statement that MySQL commits by itself, with a query that tells whether it was run.
type schemaChange struct {
	probe string
	args  []any
}

var schemaChanges = []struct {
	statement *regexp.Regexp
	probe     string
}{
	{regexp.MustCompile(`^CREATE TABLE (\w+) \(`),
		`SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`},
	{regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX (\w+) ON (\w+) `),
		`SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND index_name = ? AND table_name = ?`},
	{regexp.MustCompile(`^ALTER TABLE (\w+) ADD COLUMN (\w+) `),
		`SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?`},
	{regexp.MustCompile(`^ALTER TABLE (\w+) MODIFY COLUMN (\w+) VARBINARY\((\d+)\) `),
		`SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?
			AND character_maximum_length = ?`},
}

var sqlComment = regexp.MustCompile(`(?m)^--.*\n`)

// parseChange returns nil for a statement that changes rows.
func parseChange(statement string) *schemaChange {
	statement = strings.TrimSpace(sqlComment.ReplaceAllString(statement, ""))
	for _, kind := range schemaChanges {
		if match := kind.statement.FindStringSubmatch(statement); match != nil {
			return &schemaChange{kind.probe, anySlice(match[1:], asAny)}
		}
	}
	switch verb, _, _ := strings.Cut(statement, " "); verb {
	case "INSERT", "UPDATE", "DELETE":
		return nil
	}
	return &schemaChange{}
}

func (c *schemaChange) exists(ctx context.Context, q querier) (bool, error) {
	if c.probe == "" {
		return false, errors.New("it was begun, and it is unknown whether it was finished: restore a backup")
	}
	found, err := queryStrings(ctx, q, c.probe, c.args...)
	return len(found) > 0, err
}
