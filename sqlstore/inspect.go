package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
)

// State is what [Inspect] found in a database.
type State struct {
	// Version is how many migrations were applied, and Needed how many this version of the package has. Pending are the
	// names of those that [Migrate] would apply: nil if the schema is up to date, or newer.
	Version, Needed int
	Pending         []string
	// Epoch is that of the feed. Changes up to Floor are no longer in it.
	Epoch, Floor uint64
	// Open is how many reservations of credits are neither settled nor lapsed: leases of processes, and what is held for
	// calls that go on. Overdue is how many of them should have lapsed by now: a process died, and nobody called Purge
	// since.
	Open, Overdue int
}

// Inspect reads how a database is, also one that [New] refuses because it was not migrated. It writes nothing. An error
// says what is wrong: a migration that was left half done, say, or a schema that this version cannot use. It is for
// checks that people run. Now is the time by which reservations are overdue.
func Inspect(ctx context.Context, db *sql.DB, d latchkey.Dialect, now time.Time) (State, error) {
	var s State
	dia, err := dialectOf(d)
	if err != nil {
		return s, err
	}
	if db == nil {
		return s, errNoDB
	}
	steps, err := migrationSteps(dia)
	if err != nil {
		return s, err
	}
	err = retry(ctx, dia.isRetryable, func() error {
		version, err := schemaVersion(ctx, db, dia, steps)
		if err != nil {
			return err
		}
		s = State{Version: int(version), Needed: len(steps)}
		for _, step := range steps[min(version, int64(len(steps))):] {
			s.Pending = append(s.Pending, step.name)
		}
		if version == 0 {
			return nil
		}
		row := db.QueryRowContext(ctx, "SELECT epoch, floor FROM latchkey_epoch WHERE id = 1")
		if err := row.Scan(&s.Epoch, &s.Floor); err != nil {
			return fmt.Errorf("the row of latchkey_epoch cannot be read: restore a backup: %w", err)
		}
		row = db.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*),
			coalesce(sum(CASE WHEN until <= %d THEN 1 ELSE 0 END), 0)
			FROM latchkey_reservations WHERE actual IS NULL`, now.UnixMicro()))
		return row.Scan(&s.Open, &s.Overdue)
	})
	if err != nil {
		return State{}, fmt.Errorf("latchkey/sqlstore: inspect: %w", explainError(err))
	}
	return s, nil
}
