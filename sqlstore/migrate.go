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
	err = retry(ctx, dia.isRetryable, func() error {
		if err := dia.checkServer(ctx, db); err != nil {
			return err
		}
		return dia.migrate(ctx, db, dia, steps)
	})
	if err != nil {
		return fmt.Errorf("latchkey/sqlstore: migrate: %w", explainError(err))
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
	defer tx.release()
	version, err := schemaVersion(ctx, tx.executor, dia, steps)
	if err != nil || version >= int64(len(steps)) {
		return err
	}
	for _, step := range steps[version:] {
		for i, statement := range splitStatements(step.text) {
			if _, err := tx.executor.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s, statement %d: %w", step.name, i+1, err)
			}
		}
	}
	// What was written must be what the check at New finds, or no Store would ever open.
	if version, err = schemaVersion(ctx, tx.executor, dia, steps); err != nil {
		return err
	}
	if version != int64(len(steps)) {
		return fmt.Errorf("the migrations recorded version %d instead of %d", version, len(steps))
	}
	return tx.commit(ctx)
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
