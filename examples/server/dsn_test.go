package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

func TestFlags(t *testing.T) {
	files := []string{"-keyring", "k", "-credentials", "c"}
	for db, want := range map[string]struct {
		args    []string
		dialect latchkey.Dialect
		shown   string
		keyring string
		secrets string
	}{
		"/x/y.db": {nil, latchkey.SQLite, "/x/y.db", "/x/y.db.key",
			"/x/y.db.credentials.json"},
		"a b?#%@.db": {nil, latchkey.SQLite, "a b?#%@.db", "a b?#%@.db.key",
			"a b?#%@.db.credentials.json"},
		"penguins":                                 {files, latchkey.SQLite, "penguins", "k", "c"},
		"postgres://h/d":                           {files, latchkey.Postgres, "postgres://h/d", "k", "c"},
		"PostgreSQL://h/d":                         {files, latchkey.Postgres, "postgresql://h/d", "k", "c"},
		"postgres://u:p@h:1/d?sslmode=disable":     {files, latchkey.Postgres, "postgres://u@h:1/d", "k", "c"},
		"postgres://u:p%40%2F%3F%23@[::1]:1/d":     {files, latchkey.Postgres, "postgres://u@[::1]:1/d", "k", "c"},
		"postgres:///d?host=/run/postgresql":       {files, latchkey.Postgres, "postgres:///d", "k", "c"},
		"mysql://h/d":                              {files, latchkey.MySQL, "mysql://h/d", "k", "c"},
		"mysql://u:p@h:1/d?readTimeout=1s":         {files, latchkey.MySQL, "mysql://u@h:1/d", "k", "c"},
		"mysql://u:p:p@p@h/d?socket=%2Fx%2Fs.sock": {files, latchkey.MySQL, "mysql://u@h/d", "k", "c"},
	} {
		c, err := parseFlags(append([]string{"-db", db}, want.args...), io.Discard)
		if err != nil || c.db.engine.dialect != want.dialect || c.db.shown != want.shown || c.keyring != want.keyring ||
			c.credentials != want.secrets || c.addr != "127.0.0.1:8080" {
			t.Errorf("%q: %+v, %v", db, c, err)
		}
	}
	for _, args := range [][]string{{"-db", ""}, {"-db", ":memory:"}, {"serve"}, {"-port", "1"}} {
		if _, err := parseFlags(args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	for _, args := range [][]string{nil, files[:2], files[2:]} {
		for _, db := range []string{"postgres://u:p@h/d", "mysql://u:p@h/d"} {
			_, err := parseFlags(append([]string{"-db", db}, args...), io.Discard)
			if err == nil || !strings.Contains(err.Error(), "-keyring and -credentials") {
				t.Errorf("%s, %v: %v", db, args, err)
			}
		}
	}
}

// Text that neither names a file nor is a DSN is refused. So is a DSN in which a part of the password would be taken
// for a host or a database, which errors name. No error repeats any of it.
func TestFlagsRefuseWhatIsNoDSN(t *testing.T) {
	const marker = "m4rker"
	for _, db := range []string{
		"user:m4rker@tcp(host:3306)/db",       // go-sql-driver's own form
		"user:m4rker@/db",                     //
		"user:m4rker@host/db",                 // no scheme
		"user:m4rker@host",                    //
		"mysql:user:m4rker@host/db",           //
		"postgres:/user:m4rker@host/db",       //
		"host=h user=u password=m4rker",       // libpq's form
		"password = m4rker host=h",            //
		"sqlserver://u:m4rker@h/d",            // another engine
		"mariadb://u:m4rker@h/d",              //
		"file:m4rker.db?mode=ro",              // SQLite's URI form
		"sqlite://m4rker.db",                  //
		"postgres://u:m4rker@h",               // no database
		"postgres://u:m4rker@h/",              //
		"postgres://u:12#m4rker@h/d",          // no %XX
		"postgres://u:m4rker#1@h/d",           //
		"postgres://u:12/m4rker@h/d",          //
		"postgres://u:12/m4rker@h",            //
		"postgres://u:12?m4rker@h/d",          //
		"postgres://u:m4rker/1@h/d",           //
		"postgres://u:m4rker?1@h/d",           //
		"postgres://u:p@m4rker/1?2@h/d",       //
		"postgres://u:%m4rker@h/d",            //
		"postgres://u:m4rker%@h/d",            //
		"postgres://u:m4rker@h:port/d",        //
		"postgres://u:m4rker@h/d/e",           //
		"postgres://u:m4rker@h/d?x=%zz",       //
		"postgres://u@h/d?password=m4rker",    // not where passwords are
		"mysql://u@h/d?Password=m4rker",       //
		"mysql://u@h/d?passwd=m4rker&user=u",  //
		"postgres://h/d?user=u&pwd=m4rker",    //
		"\x00postgres://u:m4rker@h/d",         //
		"postgres://u:m4rker\n@h/d",           //
		" postgres://u:m4rker@h/d",            //
		"postgres://u:m4rker@h/d\x7f",         //
		"mysql://u:m4rker@tcp(h:3306)/d?a=b",  // the form of yet others
		"mysql://u:m4rker@unix(/x/s.sock)/db", //
	} {
		var out bytes.Buffer
		_, err := parseFlags([]string{"-db", db, "-keyring", "k", "-credentials", "c"}, &out)
		if err == nil {
			t.Errorf("%q was taken", db)
			continue
		}
		if strings.Contains(err.Error()+out.String(), marker) || !strings.Contains(err.Error(), "-db") {
			t.Errorf("%q: %v %s", db, err, &out)
		}
	}
	for _, args := range [][]string{{"postgres://u:m4rker@h/d"}, {"-dbpostgres://u:m4rker@h/d?x=y"}, {"-db:u:m4rker@h"},
		{"-db", "x", "mysql://u:m4rker@h/d"}} {
		var out bytes.Buffer
		if _, err := parseFlags(args, &out); err == nil || strings.Contains(err.Error()+out.String(), marker) {
			t.Errorf("%q: %v %s", args, err, &out)
		}
	}
	_, err := parseFlags([]string{"-db", "user:m4rker@tcp(host:3306)/db"}, io.Discard)
	for _, form := range []string{"SQLite file", "postgres://user:password@host/database",
		"mysql://user:password@host/database"} {
		if err == nil || !strings.Contains(err.Error(), form) {
			t.Errorf("%v does not name %s", err, form)
		}
	}
}

// No error of a start, no output and no print of a config holds the password.
func TestPasswordsAreNotShown(t *testing.T) {
	const marker = "m4rker"
	silent, err := net.Listen("tcp", "127.0.0.1:0") // a server that hangs up
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	dir := t.TempDir()
	for _, dsn := range []string{
		"postgres://u:m4rker@" + nobody + "/d",
		"postgres://u:m4rker@" + silent.Addr().String() + "/d?sslmode=disable",
		"postgres://u:m4rker@h/d?sslmode=sometimes",
		"postgres://u:m4rker@h/d?sslpassword=m4rker&sslcert=/none&sslkey=/none",
		"postgres://u:m4rker@h/d?connect_timeout=soon",
		"postgres://u:m4rker@/d?host=" + dir,
		"mysql://u:m4rker@" + nobody + "/d",
		"mysql://u:m4rker@" + silent.Addr().String() + "/d",
		"mysql://u:m4rker@h/d?tls=sometimes",
		"mysql://u:m4rker@h/d?parseTime=perhaps",
		"mysql://u:m4rker@h/d?socket=" + dir,
		"mysql://u:m4rker@/d?socket=" + filepath.Join(dir, "none"),
	} {
		args := []string{"-addr", "127.0.0.1:0", "-db", dsn, "-keyring", filepath.Join(dir, "k"),
			"-credentials", filepath.Join(dir, "c")}
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := run(ctx, args, &out)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "://u@") {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if strings.Contains(err.Error()+out.String(), marker) {
			t.Errorf("%s: %v\n%s", dsn, err, &out)
		}
		c, err := parseFlags(args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		printWelcome(&out, c)
		fmt.Fprintf(&out, "%v %+v %#v", c, c, c)
		if strings.Contains(out.String(), marker) || !strings.Contains(out.String(), c.db.shown) {
			t.Errorf("%s: %s", dsn, &out)
		}
	}
	t.Setenv("MYSQL_PWD", marker)
	err = run(t.Context(), []string{"-db", "mysql://u@" + nobody + "/d", "-keyring", "k", "-credentials", "c"}, io.Discard)
	if err == nil || strings.Contains(err.Error(), marker) {
		t.Error(err)
	}
}

func TestStatement(t *testing.T) {
	rows := bound(t, latchkey.All(latchkey.Where("dp-2", latchkey.Eq, "Biscoe"),
		latchkey.Where("dp-6", latchkey.Ge, 4000)))
	for e, want := range map[*engine]string{
		sqliteEngine:   `dv = ? AND <?> AND id = ? LIMIT ?`,
		mysqlEngine:    `dv = ? AND <?> AND id = ? LIMIT ?`,
		postgresEngine: `dv = $1 AND <$> AND id = $4 LIMIT $5`,
	} {
		s := (&database{engine: e}).statement(`dv = ? AND `, 1).where(rows).add(` AND id = ? LIMIT ?`, 2, json.Number("0.5"))
		where, args := rows.SQL(e.dialect, 2)
		want = strings.NewReplacer("<?>", where, "<$>", where).Replace(want)
		if s.text.String() != want || len(s.args) != 3+len(args) || s.args[len(s.args)-1] != 0.5 {
			t.Errorf("%s %v, want %s", s.text.String(), s.args, want)
		}
	}
}

func TestIDsAreGivenOnce(t *testing.T) {
	p := openForTest(t)
	all := bound(t, latchkey.AllRows)
	insert := func(want int64) {
		t.Helper()
		one, err := p.insert(t.Context(), latchkey.Row{"dp-1": "Adelie"})
		if err != nil || one.ID != want {
			t.Fatalf("%+v, %v; want %d", one, err, want)
		}
	}
	insert(345)
	if err := p.delete(t.Context(), all, 345, func(latchkey.Row) error { return nil }); err != nil {
		t.Fatal(err)
	}
	insert(346)
	again, err := openPenguins(t.Context(), p.db)
	if err != nil {
		t.Fatal(err)
	}
	p = again
	insert(347)
}

// A file from a version in which SQLite chose the ids is read unchanged.
func TestOlderFile(t *testing.T) {
	p := openForTest(t)
	for _, statement := range []string{`DROP TABLE last_ids`, `DROP TABLE penguins`,
		`UPDATE penguin_counts SET deleted = 1`,
		`CREATE TABLE penguins (id INTEGER PRIMARY KEY AUTOINCREMENT, dv INTEGER NOT NULL DEFAULT 0, species TEXT,
			island TEXT, beak_length REAL, beak_depth REAL, flipper_length INTEGER, body_mass INTEGER, sex TEXT) STRICT`,
		`INSERT INTO penguins (id, species) VALUES (5, 'Gentoo'), (344, 'Adelie')`} {
		if _, err := p.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.db.makeTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := openPenguins(t.Context(), p.db)
	if err != nil {
		t.Fatal(err)
	}
	one, err := p.insert(t.Context(), latchkey.Row{"dp-1": "Adelie"})
	if err != nil || one.ID != 345 {
		t.Fatalf("%+v, %v", one, err)
	}
	rows, err := p.list(t.Context(), bound(t, latchkey.AllRows), everything)
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
}

// A start that was cut off right after it created its keyring has sealed nothing yet. The next start must still use
// that keyring, or either could later be taken for that of the database.
func TestOneKeyringFromTheStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.db")
	args := []string{"-db", file, "-keyring", filepath.Join(dir, "first.key")}
	db, err := sqlitePool(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := &database{db, sqliteEngine}
	if err := d.makeTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sqlstore.Migrate(t.Context(), db, latchkey.SQLite); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.New(t.Context(), db, latchkey.SQLite, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	first, err := openSetup(t.Context(), d, store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.keyring(t.Context(), args[3]); err != nil {
		t.Fatal(err)
	}

	c, err := parseFlags([]string{"-db", file, "-keyring", filepath.Join(dir, "second.key")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Fatalf("a second keyring was made: %v", err)
	}
	if c, err = parseFlags(args, io.Discard); err != nil {
		t.Fatal(err)
	}
	a, err := open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
}
