package nodes

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// What docs/operations.md shows: how a node with MaxStale comes up to date in milliseconds. The tests in wake_test.go
// break its connection.

// listen wakes keys whenever any process has changed something, until ctx ends. While it cannot, polling goes on
// keeping Options.MaxStale.
func listen(ctx context.Context, dsn string, keys *latchkey.Manager, log *slog.Logger) {
	const shortest, longest = 50 * time.Millisecond, 5 * time.Second
	for pause := shortest; ctx.Err() == nil; pause = min(2*pause, longest) {
		err := listenOnce(ctx, dsn, func() {
			pause = shortest
			keys.Wake()
		})
		if ctx.Err() == nil {
			log.Warn("the wake-up connection is gone", "error", err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
	}
}

func listenOnce(ctx context.Context, dsn string, wake func()) error {
	begin, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(begin, dsn) // the primary itself: behind a transaction pooler nothing is heard
	if err != nil {
		return err
	}
	defer conn.Close(begin)
	if _, err := conn.Exec(begin, "LISTEN "+sqlstore.NotifyChannel); err != nil {
		return err
	}
	for {
		wake() // first of all for what nobody heard
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err := conn.WaitForNotification(wait)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = ping(ctx, conn) // quiet, or dead?
		}
		cancel()
		if err != nil {
			return err
		}
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return conn.Ping(ctx)
}
