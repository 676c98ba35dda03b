package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/mattn/go-sqlite3"

	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

// What a look-up of a digest costs that goes to a database each time: what many applications do instead of a cache. The
// table has a row for each token, with its digest as the primary key.

// benchDatabases compares them with a cached Verify.
func benchDatabases(b *bench) error {
	n := min(100_000, b.tokens)
	t := newTexts(n, 3)
	dir, err := os.MkdirTemp("", "latchkey-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keys, _, err := vouch(b.ctx, withinASecond, plainKey(b.ctx), nil)
	if err != nil {
		return err
	}
	if err := load(b.ctx, keys, t); err != nil {
		return err
	}
	list := []verifier{latchkeyVerifier(b.ctx, "latchkey Verify, cached", keys)}
	for _, driver := range []struct{ name, driver, dsn string }{
		{"SQLite, modernc", "sqlite", "file:%s?_pragma=journal_mode(WAL)"},
		{"SQLite, mattn", "sqlite3", "file:%s?_journal_mode=WAL"},
	} {
		file := filepath.Join(dir, driver.driver)
		db, err := sql.Open(driver.driver, fmt.Sprintf(driver.dsn, file))
		if err != nil {
			return err
		}
		defer db.Close()
		v, err := sqliteVerifier(b.ctx, driver.name, db, t)
		if err != nil {
			return fmt.Errorf("%s: %w", driver.name, err)
		}
		list = append(list, v)
	}
	v, stop, err := postgresVerifier(b.ctx, t)
	defer stop()
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	list = append(list, v)
	var sides []measure.Side
	for _, v := range list {
		if err := v.agree(t); err != nil {
			return err
		}
		sides = append(sides, v.side(t))
	}
	results, err := b.compare("a look-up in a table of "+number(float64(n)), sides...)
	if err != nil {
		return err
	}
	for _, r := range results[1:] {
		b.faster(fmt.Sprintf("Verify, cached, %s tokens", number(float64(n))), results[0], r, goal{})
	}
	return nil
}

// sqliteVerifier fills a table and finds its rows by a prepared statement.
func sqliteVerifier(ctx context.Context, name string, db *sql.DB, t texts) (verifier, error) {
	if _, err := db.ExecContext(ctx, `CREATE TABLE tokens (digest BLOB PRIMARY KEY, owner TEXT NOT NULL,
		ends INTEGER NOT NULL) WITHOUT ROWID`); err != nil {
		return verifier{}, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return verifier{}, err
	}
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO tokens VALUES (?, ?, ?)")
	if err != nil {
		return verifier{}, err
	}
	end := time.Now().Add(time.Hour).Unix()
	for i := range t.len() {
		sum := sha256.Sum256([]byte(t.at(i)))
		if _, err := insert.ExecContext(ctx, sum[:], owner, end); err != nil {
			return verifier{}, err
		}
	}
	if err := tx.Commit(); err != nil {
		return verifier{}, err
	}
	find, err := db.PrepareContext(ctx, "SELECT owner, ends FROM tokens WHERE digest = ?")
	return verifier{name: name, verify: func(text string) (who string, err error) {
		sum, ends := sha256.Sum256([]byte(text)), int64(0)
		if err := find.QueryRowContext(ctx, sum[:]).Scan(&who, &ends); err != nil {
			return "", err
		}
		return notEnded(who, ends)
	}}, err
}

func notEnded(who string, ends int64) (string, error) {
	if ends <= time.Now().Unix() {
		return "", errUnknown
	}
	return who, nil
}

// postgresVerifier is sqliteVerifier for PostgreSQL, on a socket of the machine. The caller calls stop in any case.
func postgresVerifier(ctx context.Context, t texts) (v verifier, stop func(), err error) {
	dsn, stopServer, err := startPostgres(ctx)
	if err != nil {
		return v, stopServer, err
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return v, stopServer, err
	}
	stop = func() {
		_, _ = pool.Exec(context.Background(), "DROP TABLE IF EXISTS latchkey_bench_tokens")
		pool.Close()
		stopServer()
	}
	if _, err := pool.Exec(ctx, `CREATE TABLE latchkey_bench_tokens (digest BYTEA PRIMARY KEY, owner TEXT NOT NULL,
		ends BIGINT NOT NULL)`); err != nil {
		return v, stop, err
	}
	end, i := time.Now().Add(time.Hour).Unix(), -1
	if _, err := pool.CopyFrom(ctx, pgx.Identifier{"latchkey_bench_tokens"}, []string{"digest", "owner", "ends"},
		pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i == t.len() {
				return nil, nil
			}
			sum := sha256.Sum256([]byte(t.at(i)))
			return []any{sum[:], owner, end}, nil
		})); err != nil {
		return v, stop, err
	}
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE latchkey_bench_tokens"); err != nil {
		return v, stop, err
	}
	return verifier{name: "PostgreSQL, pgx", verify: func(text string) (who string, err error) {
		sum, ends := sha256.Sum256([]byte(text)), int64(0)
		if err := pool.QueryRow(ctx, "SELECT owner, ends FROM latchkey_bench_tokens WHERE digest = $1", sum[:]).
			Scan(&who, &ends); err != nil {
			return "", err
		}
		return notEnded(who, ends)
	}}, stop, nil
}

// startPostgres starts a server in a folder of its own, on a socket in it, as the user nobody if this process is root:
// PostgreSQL refuses root. LATCHKEY_POSTGRES_DSN names a running server instead. The caller calls stop in any case.
func startPostgres(ctx context.Context) (dsn string, stop func(), err error) {
	stop = func() {}
	if dsn := os.Getenv("LATCHKEY_POSTGRES_DSN"); dsn != "" {
		return dsn, stop, nil
	}
	programs, err := postgresPrograms()
	if err != nil {
		return "", stop, err
	}
	folder, err := os.MkdirTemp("", "lk-")
	if err != nil {
		return "", stop, err
	}
	stop = func() { os.RemoveAll(folder) }
	const nobody = 65534
	var log bytes.Buffer
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(programs, name), args...)
		c.Dir, c.Stdout, c.Stderr = folder, &log, &log
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "LC_ALL=C"}
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} // this process leaves no server behind
		if os.Geteuid() == 0 {
			c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
		return c
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(folder, nobody, nobody); err != nil {
			return "", stop, err
		}
	}
	data := filepath.Join(folder, "data")
	if err := command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").
		Run(); err != nil {
		return "", stop, fmt.Errorf("initdb: %w\n%s", err, log.String())
	}
	server := command("postgres", "-D", data, "-k", folder, "-c", "listen_addresses=")
	if err := server.Start(); err != nil {
		return "", stop, err
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(ended)
	}()
	stop = func() {
		_ = server.Process.Signal(syscall.SIGINT)
		<-ended
		os.RemoveAll(folder)
	}
	dsn = fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable", folder)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return dsn, stop, conn.Close(ctx)
		}
		select {
		case <-ended:
			return "", stop, fmt.Errorf("the server ended:\n%s", log.String())
		default:
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", stop, fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

// postgresPrograms returns the folder of initdb: where Debian keeps it, the newest version first, or that of PATH.
func postgresPrograms() (string, error) {
	if folder := os.Getenv("LATCHKEY_PG_BIN"); folder != "" {
		return folder, nil
	}
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(folders) > 0 {
		version := func(folder string) int {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
			return n
		}
		return slices.MaxFunc(folders, func(a, b string) int { return version(a) - version(b) }), nil
	}
	found, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed: run scripts/install, or name a server by LATCHKEY_POSTGRES_DSN")
	}
	return filepath.Dir(found), nil
}
