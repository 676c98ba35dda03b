package server

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// The example server, as it was built, on databases of PostgreSQL and MariaDB.

// engineMarker is in the password of each server, and must never come up in what it prints.
const (
	engineMarker   = "m4rker"
	enginePassword = engineMarker + "/@#?:%"
)

var engineUsers sync.Map // *harness.Engine → once

// serverSite is an empty database, and a folder for the files of those who serve it.
type serverSite struct {
	t     *testing.T
	e     *harness.Engine
	place string   // as the tests open it
	url   *url.URL // as the server does
	dir   string
}

func newServerSite(t *testing.T, e *harness.Engine) *serverSite {
	t.Helper()
	s := &serverSite{t: t, e: e, place: e.Place(t), dir: t.TempDir()}
	if e == harness.Postgres {
		config, err := pgx.ParseConfig(s.place)
		require.NoError(t, err)
		q := url.Values{"host": {config.Host}, "port": {strconv.Itoa(int(config.Port))},
			"search_path": {config.RuntimeParams["search_path"]}, "sslmode": {"disable"}}
		if config.TLSConfig != nil {
			q.Set("sslmode", "require")
		}
		s.url = &url.URL{Scheme: "postgres", User: url.UserPassword(config.User, config.Password),
			Path: "/" + config.Database, RawQuery: q.Encode()}
	} else {
		config, err := mysql.ParseDSN(s.place)
		require.NoError(t, err)
		_, more, _ := strings.Cut(s.place, "?")
		q, err := url.ParseQuery(more)
		require.NoError(t, err)
		s.url = &url.URL{Scheme: "mysql", User: url.UserPassword(config.User, config.Passwd), Path: "/" + config.DBName}
		if config.Net == "unix" {
			q.Set("socket", config.Addr)
		} else {
			s.url.Host = config.Addr
		}
		s.url.RawQuery = q.Encode()
	}
	if e.Process == nil { // a server of one's own has the user and the password it has
		return s
	}
	s.url.User = url.UserPassword("marked", enginePassword)
	once, _ := engineUsers.LoadOrStore(e, sync.OnceValue(func() error { return makeUser(e) }))
	require.NoError(t, once.(func() error)())
	return s
}

// makeUser makes a user who needs the password.
func makeUser(e *harness.Engine) error {
	if e == harness.MariaDB {
		_, err := e.Admin.Exec("GRANT ALL ON *.* TO 'marked'@'localhost' IDENTIFIED BY '" + enginePassword + "'")
		return err
	}
	if _, err := e.Admin.Exec("CREATE ROLE marked LOGIN SUPERUSER PASSWORD '" + enginePassword + "'"); err != nil {
		return err
	}
	path := filepath.Join(e.Folder, "data", "pg_hba.conf")
	rules, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append([]byte("local all marked scram-sha-256\n"), rules...), 0o600); err != nil {
		return err
	}
	if _, err := e.Admin.Exec("SELECT pg_reload_conf()"); err != nil {
		return err
	}
	wrong, err := sql.Open("pgx", "host="+e.Folder+" user=marked password=wrong dbname=postgres sslmode=disable")
	if err != nil {
		return err
	}
	defer wrong.Close()
	for deadline := time.Now().Add(3 * time.Minute); wrong.Ping() == nil; time.Sleep(10 * time.Millisecond) {
		wrong.SetMaxIdleConns(-1) // each time a new one
		if time.Now().After(deadline) {
			return fmt.Errorf("the password is not asked for")
		}
	}
	return nil
}

// args are the flags of a server with files of this name.
func (s *serverSite) args(name string) []string {
	file := filepath.Join(s.dir, name)
	return []string{"-db", s.url.String(), "-keyring", file + ".key", "-credentials", file + ".credentials.json"}
}

func (s *serverSite) start(name string) *harness.Server {
	s.t.Helper()
	server := harness.StartServerOn(s.t, filepath.Join(s.dir, name), s.args(name)...)
	s.hide(server)
	return server
}

func (s *serverSite) hide(server *harness.Server) {
	if password, _ := s.url.User.Password(); password != "" {
		server.Hide(password, url.QueryEscape(password), url.PathEscape(password))
	}
	if s.e.Process != nil {
		server.Hide(engineMarker)
	}
}

// account is a further process over the database.
func (s *serverSite) account(name string) latchkey.Account {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name+".key"))
	require.NoError(s.t, err)
	keyring, err := latchkey.ParseKeyring(string(text))
	require.NoError(s.t, err)
	keys := latchkey.New(s.e.Store(s.t, s.place), &latchkey.Options{Keyring: keyring})
	s.t.Cleanup(func() { require.NoError(s.t, keys.Close(context.Background())) })
	return keys.For("demo")
}

// whole asks that the first start made everything, once.
func (s *serverSite) whole(server *harness.Server, name string) {
	s.t.Helper()
	require.Len(s.t, server.Credentials.Secrets(), 5)
	rows := server.Get("/io/api/1/dataset/" + harness.Dataset + "?role=viewer&key=" + server.Credentials.APIKey)
	require.Len(s.t, harness.IDsOf(s.t, rows), 344)
	biscoe := server.Get("/io/api/1/dataset/" + harness.Dataset + "?role=biscoe&key=" + server.Credentials.APIKey)
	require.Equal(s.t, harness.Where(s.t, harness.OnBiscoe), harness.IDsOf(s.t, biscoe))
	account, names := s.account(name), map[string]int{}
	for token, err := range account.Tokens(s.t.Context(), latchkey.TokenQuery{}) {
		require.NoError(s.t, err)
		names[token.Name]++
	}
	require.Equal(s.t, map[string]int{"secret": 1, "publishable": 1, "api_key": 1, "cma_token": 1, "session": 1}, names)
	roles := map[string]int{}
	for role, err := range account.Roles(s.t.Context(), latchkey.RoleQuery{}) {
		require.NoError(s.t, err)
		roles[role.Name]++
	}
	require.Equal(s.t, map[string]int{"viewer": 1, "biscoe": 1, "keeper": 1, "admin": 1, "Admin": 1}, roles)
	for _, secret := range server.Credentials.Secrets() {
		_, err := account.Verify(s.t.Context(), latchkey.Presented{Secret: secret})
		require.NoError(s.t, err)
	}
	islands := server.Get("/v1/data/ACME/ISLANDS?token=" + server.Credentials.Secret)
	require.Equal(s.t, 3, strings.Count(islands.Body, `"id":`), islands.Body)
}

// Servers that all start at once make everything once. Those that come later need the keyring, and no credentials.
func TestServersShareADatabase(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		site := newServerSite(t, e)
		var commands [4]*exec.Cmd
		var logs [4]harness.LockedBuffer
		for i := range commands {
			c := exec.Command(harness.ServerProgram(t), append(site.args("a"), "-addr", "127.0.0.1:0")...)
			c.Stdout, c.Stderr = &logs[i], &logs[i]
			require.NoError(t, c.Start())
			commands[i] = c
			t.Cleanup(func() {
				c.Process.Kill()
				c.Wait()
			})
		}
		for i := range logs {
			require.Eventually(t, func() bool { return strings.Contains(logs[i].String(), "Ctrl-C\n") }, time.Minute,
				10*time.Millisecond, "%s", &logs[i])
			require.NotContains(t, logs[i].String(), engineMarker)
		}
		a := site.start("a")
		site.whole(a, "a")

		out := fails(t, site.args("b")...)
		require.Contains(t, out, "keyring file "+filepath.Join(site.dir, "b.key")+" is missing")
		require.NotContains(t, out, engineMarker)
		require.NoFileExists(t, filepath.Join(site.dir, "b.key"))
		key, err := os.ReadFile(filepath.Join(site.dir, "a.key"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(site.dir, "b.key"), key, 0o600))
		if password, given := site.url.User.Password(); given { // which need not be on the command line
			t.Setenv(map[*harness.Engine]string{harness.Postgres: "PGPASSWORD", harness.MariaDB: "MYSQL_PWD"}[e], password)
			site.url.User = url.User(site.url.User.Username())
		}
		b := site.start("b")
		require.NoFileExists(t, filepath.Join(site.dir, "b.credentials.json"))
		b.Credentials = a.Credentials
		b.Hide(a.Credentials.Secrets()...)
		require.NotContains(t, b.Log.String(), engineMarker)

		// Rows written through both at once: each has an id of its own, and no count is lost.
		form := url.Values{"key": {a.Credentials.APIKey}, "roles[]": {"keeper"}, "dp-1": {"Adelie"},
			"dp-2": {"Dream"}}.Encode()
		ids := make(chan int, 40)
		var all sync.WaitGroup
		for _, s := range []*harness.Server{a, b} {
			for range 4 {
				all.Go(func() {
					for range 5 {
						var made struct{ Data []struct{ ID int } }
						s.Post("/io/api/1/dataset/"+harness.Dataset, form).JSON(t, &made)
						require.Len(t, made.Data, 1)
						ids <- made.Data[0].ID
						cell := url.Values{"cmd": {"db.cell.update"}, "auth_token": {a.Credentials.Session}, "db_id": {"8"},
							"row_id": {"1"}, "column_id": {"c2"}, "value": {strconv.Itoa(made.Data[0].ID)}}.Encode()
						require.Contains(t, s.Post("/api", cell).Body, `"SUCCESS"`)
					}
				})
			}
		}
		all.Wait()
		close(ids)
		given := slices.Sorted(func(yield func(int) bool) {
			for id := range ids {
				if !yield(id) {
					return
				}
			}
		})
		require.Len(t, slices.Compact(slices.Clone(given)), 40)
		require.Equal(t, []int{345, 384}, []int{given[0], given[39]})
		require.Contains(t, b.Get("/io/api/1/datasets?role=viewer&key="+a.Credentials.APIKey).Body, `"insertCount":40`)

		// Each writes a whole row to change one cell of it: what the other wrote meanwhile stays.
		for i, s := range []*harness.Server{a, b} {
			all.Go(func() {
				field := []string{"dp-5", "dp-6"}[i]
				for n := range 20 {
					form := url.Values{"key": {a.Credentials.APIKey}, "roles[]": {"keeper"}, field: {strconv.Itoa(n)}}.Encode()
					require.Equal(t, 200, s.Do("PUT", "/io/api/1/dataset/"+harness.Dataset+"/7", harness.FormType, form).Status)
					row := s.Get("/io/api/1/dataset/" + harness.Dataset + "/7?role=viewer&key=" + a.Credentials.APIKey)
					require.Contains(t, row.Body, fmt.Sprintf(`"%s":%d,`, field, n), "an edit was lost")
				}
			})
		}
		all.Wait()
		require.Contains(t, a.Get("/io/api/1/dataset/"+harness.Dataset+"/7?role=viewer&key="+a.Credentials.APIKey).Body,
			`"id":7,"dv":40,`)

		// What one makes, the other knows; what one ends, the other refuses with the next request.
		var minted struct{ Token string }
		a.Post("/io/api/1/access", url.Values{"key": {a.Credentials.APIKey}, "role": {"biscoe"}}.Encode()).JSON(t, &minted)
		a.Hide(minted.Token)
		b.Hide(minted.Token)
		require.Equal(t, harness.Where(t, harness.OnBiscoe), b.RowIDs(minted.Token))
		form = url.Values{"cmd": {"access.add"}, "auth_token": {a.Credentials.Session}, "name": {"n"},
			"extra": {`{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}]}`}}.Encode()
		var added struct{ Data struct{ ID, Token string } }
		a.Post("/api", form).JSON(t, &added)
		a.Hide(added.Data.Token)
		b.Hide(added.Data.Token)
		form = url.Values{"cmd": {"db.get_all"}, "auth_token": {added.Data.Token}}.Encode()
		require.Contains(t, b.Post("/api", form).Body, `"SUCCESS"`)
		remove := url.Values{"cmd": {"access.remove"}, "auth_token": {a.Credentials.Session},
			"token_id": {added.Data.ID}}.Encode()
		require.Contains(t, a.Post("/api", remove).Body, `"SUCCESS"`)
		require.Contains(t, b.Post("/api", form).Body, `"FAILURE"`)
		account := site.account("a")
		require.NoError(t, account.Revoke(t.Context(), harness.TokenID(t, account, a.Credentials.APIKey), "lost"))
		a.Refused(minted.Token)
		b.Refused(minted.Token)
	})
}

// Killed in the middle of the first start, wherever that is: the next start ends with all of it.
func TestServerStartCutOffIsTakenUpAgain(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		moments := []string{
			`SELECT COUNT(*) FROM penguins`,                                // its tables are being made, or filled
			`SELECT COUNT(*) FROM server_setup WHERE name = 'role viewer'`, // roles and tokens are
		}
		if os.Getenv("LONG") != "" {
			moments = append(moments, `SELECT COUNT(*) FROM latchkey_schema`, `SELECT COUNT(*) FROM server_setup`,
				`SELECT COUNT(*) FROM server_setup WHERE value = 'seeding'`,
				`SELECT COUNT(*) FROM server_setup WHERE name = 'secret'`,
				`SELECT COUNT(*) FROM server_setup WHERE name = 'session'`,
				`SELECT COUNT(*) FROM server_setup WHERE name = 'cma_token'`)
		}
		for _, moment := range moments {
			site := newServerSite(t, e)
			db := e.Open(t, site.place)
			cmd := exec.Command(harness.ServerProgram(t), append(site.args("a"), "-addr", "127.0.0.1:0")...)
			require.NoError(t, cmd.Start())
			for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
				var n int
				if db.QueryRow(moment).Scan(&n) == nil && (n > 0 || strings.HasSuffix(moment, "penguins")) {
					break
				}
			}
			require.NoError(t, cmd.Process.Kill())
			cmd.Wait()
			_, err := os.Stat(filepath.Join(site.dir, "a.credentials.json"))
			t.Logf("killed at %s; credentials written: %v", moment, err == nil)
			s := site.start("a")
			site.whole(s, "a")
			s.Stop()
		}
	})
}

// Starts that fail say why, and keep the password to themselves.
func TestServerOnEnginesSaysWhyItFails(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		site := newServerSite(t, e)
		good := *site.url
		password, _ := good.User.Password()
		try := func(words string, change func(u *url.URL)) {
			t.Helper()
			u := good
			change(&u)
			*site.url = u
			out := fails(t, site.args("a")...)
			require.Contains(t, out, words)
			require.NotContains(t, out, engineMarker)
			if password != "" {
				require.NotContains(t, out, password)
			}
			require.NoFileExists(t, filepath.Join(site.dir, "a.key"))
		}
		try(map[*harness.Engine]string{harness.Postgres: "authentication failed", harness.MariaDB: "Access denied"}[e],
			func(u *url.URL) {
				u.User = url.UserPassword(u.User.Username(), engineMarker+"wrong")
			})
		try("no_such_database", func(u *url.URL) { u.Path = "/no_such_database" })
		nowhere := filepath.Join(site.dir, "nowhere")
		try(nowhere, func(u *url.URL) {
			u.Host = ""
			u.RawQuery = url.Values{"host": {nowhere}}.Encode()
			if e == harness.MariaDB {
				u.RawQuery = url.Values{"socket": {nowhere}}.Encode()
			}
		})
		*site.url = good
		require.Contains(t, fails(t, site.args("a")[:2]...), "-keyring and -credentials")

		// A database of another program's is left alone.
		other := e.Store(t, site.place)
		err := other.Write(t.Context(), world.Mint("demo", "t", 1))
		require.NoError(t, err)
		require.Contains(t, fails(t, site.args("a")...), "keyring")
		require.NoFileExists(t, filepath.Join(site.dir, "a.key"))
	})
}
