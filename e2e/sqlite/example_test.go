package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// What the README shows: tokens kept in a SQLite file.
func Example_sqlite() {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	dsn := "file:" + filepath.Join(dir, "app.db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)                            // a connection that is kept is several times faster under load
	err = sqlstore.Migrate(ctx, db, latchkey.SQLite) // at every start; does nothing when nothing is new
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	keys := latchkey.New(store, nil)
	defer keys.Close(context.Background()) // not a context that a signal has ended: it writes what still waits

	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		log.Fatal(err)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	fmt.Println(access.Owner(), err)
	// Output:
	// acme <nil>
}
