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

// Migrations returns the migrations of an engine as numbered files such as 0001_latchkey.sql. They are for hosts that
// run migrations with their own tool. Each file records itself in latchkey_schema or latchkey_migrations, so [New] and
// [Migrate] know what was applied by any tool. Each must run in one transaction, except on MySQL, where schema changes
// cannot be part of one. There [Migrate] continues what a crash interrupted, and another tool must do the same.
func Migrations(d latchkey.Dialect) (fs.FS, error) {
	dia, err := dialectOf(d)
	if err != nil {
		return nil, err
	}
	return fs.Sub(migrations, dia.dir)
}

// Migrate brings the database to the schema that this version of the package needs. It never goes back to an older
// schema. Any number of processes may call it at once: one works and the others wait.
//
// On SQLite and PostgreSQL all steps are one transaction, so a crash leaves nothing half done. On MySQL and MariaDB
// each step is recorded before and after, in latchkey_schema_steps. The next call continues what a crash interrupted.
// In a Galera cluster call Migrate on one node only: its lock is local to the node.
//
// A schema states which programs may use it. If it is newer than this program and allows it, Migrate does nothing. If
// it does not allow it, Migrate returns an error and changes nothing. It does the same if there are latchkey_ tables
// that belong to no migration. The error says what to do.
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
		return fmt.Errorf("latchkey/sqlstore: migrate: %w", dia.ifBusy(explainError(err)))
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
func migrateInOneTransaction(ctx context.Context, db *sql.DB, dia *dialect, steps []migrationStep) error {
	tx, err := dia.lockMigrations(ctx, db)
	if err != nil {
		return err
	}
	defer tx.release()
	version, err := schemaVersion(ctx, tx.executor, dia, steps)
	if err != nil || version > int64(len(steps)) {
		return err
	}
	made := false
	for _, step := range steps[version:] {
		for i, statement := range splitStatements(step.text) {
			if isOptional(statement) {
				continue
			}
			if _, err := tx.executor.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s, statement %d: %w", step.name, i+1, err)
			}
			made = true
		}
	}
	if dia.makeOptional != nil {
		also, err := dia.makeOptional(ctx, tx.executor, steps)
		if err != nil {
			return err
		}
		made = made || also
	}
	if !made {
		return nil
	}
	// The check at New must accept what was written, or no Store could be opened.
	if version, err = schemaVersion(ctx, tx.executor, dia, steps); err != nil {
		return err
	}
	if version != int64(len(steps)) {
		return fmt.Errorf("the migrations recorded version %d instead of %d", version, len(steps))
	}
	return tx.commit(ctx)
}

// splitStatements splits a migration at semicolons that end a line, outside the body of a function. Not every driver
// accepts several statements at once.
func splitStatements(text string) []string {
	var out []string
	open := ""
	for part := range strings.SplitSeq(text+"\n", ";\n") {
		if open += part; strings.Count(open, "$$")%2 == 1 {
			open += ";\n"
			continue
		}
		if open = strings.TrimSpace(open); open != "" {
			out = append(out, open)
		}
		open = ""
	}
	return out
}

// isOptional reports whether a statement of a migration is one that a database may lack.
func isOptional(statement string) bool { return strings.HasPrefix(statement, "-- Optional:") }

// optionalStatements returns those statements, which are made together or not at all.
func optionalStatements(steps []migrationStep) (out []string) {
	for _, step := range steps {
		for _, statement := range splitStatements(step.text) {
			if isOptional(statement) {
				out = append(out, statement)
			}
		}
	}
	return out
}
