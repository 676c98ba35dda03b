// Command server is a complete program that uses latchkey. One database holds the tokens, the roles and a data set of
// 344 penguins, which the clients of CloudTables can read and change. It is a SQLite file, or a database on PostgreSQL
// or MariaDB that several of these servers share.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// config holds the values of the flags.
type config struct {
	addr                 string
	db                   source
	keyring, credentials string
	url                  string     // as clients know the server; "": neither OAuth nor AuthZEN is served
	github               publicKeys // nil: GitHub's reports are not taken
	base                 string     // the address that it listens on, as a URL
}

// listenOn fills in what depends on the address.
func (c *config) listenOn(addr net.Addr) {
	c.base = "http://" + addr.String()
	// Others would send their secrets to an address of the network without TLS.
	if at, ok := addr.(*net.TCPAddr); ok && c.url == "" && at.IP.IsLoopback() {
		c.url = c.base
	}
}

func parseFlags(args []string, out io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	db := flags.String("db", "penguins.db", "SQLite `file`, made when it is not there, or a database that is: "+
		"postgres://user:password@host/database or mysql://user:password@host/database; a password is better left out, "+
		"and told by PGPASSWORD or MYSQL_PWD, for a command line is seen by others")
	flags.StringVar(&c.keyring, "keyring", "",
		"`file` of the keys that seal secrets, made at the first start and needed ever after, by each server of a database "+
			"(default: -db and \".key\"; must be named when -db is no file)")
	flags.StringVar(&c.credentials, "credentials", "",
		"`file` the first start writes its secrets to (default: -db and \".credentials.json\"; "+
			"must be named when -db is no file)")
	flags.StringVar(&c.url, "url", "", "`URL` by which clients know this server, https://demo.example.com, "+
		"which OAuth and AuthZEN need (default: its address, if that is one of this machine alone)")
	github := flags.String("github-keys", "", "`file` of GitHub's public keys, as "+
		"https://api.github.com/meta/public_keys/secret_scanning replies; without it GitHub's reports are not taken")
	// package flag repeats unknown flags: a DSN joined to -db would be printed with its password
	for _, arg := range args {
		if name, _, _ := strings.Cut(arg, "="); strings.HasPrefix(name, "-") && noFileName.MatchString(name) {
			return config{}, errors.New("unknown flag: write -db, a space, and then the DSN")
		}
	}
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case noFileName.MatchString(flags.Arg(0)):
		return config{}, errors.New("unexpected argument: use flags only, and -db for a DSN")
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q: use flags only", flags.Arg(0))
	}
	var err error
	if c.db, err = sourceOf(*db); err != nil {
		return config{}, err
	}
	if err := checkURL(c.url); err != nil {
		return config{}, err
	}
	if c.github, err = readPublicKeys(*github); err != nil {
		return config{}, err
	}
	if c.db.engine != sqliteEngine {
		if c.keyring == "" || c.credentials == "" {
			return config{}, errors.New("-db is not a file: name the files of the keyring and the credentials, too, with " +
				"-keyring and -credentials")
		}
		return c, nil
	}
	c.keyring = cmp.Or(c.keyring, *db+".key")
	c.credentials = cmp.Or(c.credentials, *db+".credentials.json")
	return c, nil
}

// run serves until ctx ends, then waits for running requests.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	cfg, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	app, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		cancel()
		background.Wait() // they use the database, which is closed next
		err = errors.Join(err, app.close())
	}()

	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	cfg.listenOn(listener.Addr())
	server := &http.Server{
		Handler:           app.routes(cfg),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	background.Go(func() { app.purgeHourly(ctx) })
	printWelcome(stdout, cfg)

	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	// ctx is done. Running requests get a new context to finish in.
	ending, cancelEnding := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelEnding()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("requests were still running: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// checkURL returns an error for a URL that OAuth cannot name: RFC 8414 wants https, but for this machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil
	case err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.String() != text:
		return errors.New("-url must be a scheme and a host, with no slash at its end: https://demo.example.com")
	case u.Scheme != "https" && (u.Scheme != "http" ||
		u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback()):
		return errors.New("-url must begin with https:// (http is for localhost)")
	}
	return nil
}

func printWelcome(w io.Writer, cfg config) {
	base, file := cfg.base, cfg.credentials
	fmt.Fprintf(w, `latchkey example server: %[1]s
Tokens, roles and %[2]s are in %[3]s, its keys in %[4]s, the secrets of the first start in %[5]s.

See it:       %[1]s/
Take a key:   KEY=$(sed -n 's/.*"api_key": "\([^"]*\)".*/\1/p' '%[5]s')
Use it:       curl -H "Authorization: Bearer $KEY" %[1]s/penguins
Who am I:     curl -H "Authorization: Bearer $KEY" %[1]s%[6]s/me
Manage it:    SECRET=$(sed -n 's/.*"secret": "\([^"]*\)".*/\1/p' '%[5]s')
              curl -H "Authorization: Bearer $SECRET" '%[1]s%[6]s/tokens?limit=2'
Make a key:   curl -H "Authorization: Bearer $SECRET" %[1]s%[6]s/tokens --json \
                '{"kind":"api_key","name":"mine","roles":["viewer"]}'
More of it:   docs/api.md, %[1]s%[6]s/openapi.json
`, base, datasetName, cfg.db.shown, cfg.keyring, file, apiPrefix)
	if cfg.url != "" {
		fmt.Fprintf(w, `By OAuth:     ID=$(sed -n 's/.*"api_key_id": "\([^"]*\)".*/\1/p' '%[2]s')
              curl -u "$ID:$KEY" %[1]s/oauth/token -d grant_type=client_credentials -d scope=penguins:read
By AuthZEN:   curl -H "Authorization: Bearer $SECRET" %[1]s/access/v1/evaluation --json \
                '{"subject":{"type":"token","id":"'"$ID"'"},"action":{"name":"read"},'\
'"resource":{"type":"penguin","id":"1"}}'
`, base, file)
	}
	fmt.Fprintf(w, `Leaked:       curl -H "Authorization: Bearer $SECRET" %[1]s/leaks \
                -H 'Content-Type: text/plain' -d PASTED

The other systems take the secrets of that file, too:
CloudTables:  curl -G %[1]s/io/api/1/dataset/%[3]s -d "key=$KEY" -d role=biscoe
              curl %[1]s/io/api/1/access -d "key=$KEY" -d role=biscoe -d clientId=42 -d clientName=Ada
              curl '%[1]s/io/dataset/%[3]s/table?token=...'
Filtered:     curl -G %[1]s/io/api/1/dataset/%[3]s -d "key=$KEY" -d role=viewer \
                --data-urlencode 'conditions={"id":"dp-6","op":">=","value":"4000","set":false}'
Add a row:    curl %[1]s/io/api/1/dataset/%[3]s -d "key=$KEY" -d 'roles[]=keeper' -d dp-1=Adelie -d dp-2=Dream
Embedded:     %[1]s/embed
DatoCMS:      CMA=$(sed -n 's/.*"cma_token": "\([^"]*\)".*/\1/p' '%[2]s')
              curl %[1]s/access_tokens -H "Authorization: Bearer $CMA" -H 'X-Api-Version: 3'
              curl %[1]s/graphql -H "Authorization: Bearer $CMA" \
                -d '{"query":"{ allPenguins(first: 2) { id species } }"}'
IEX Cloud:    PK=$(sed -n 's/.*"publishable": "\([^"]*\)".*/\1/p' '%[2]s')
              curl "%[1]s/v1/data/ACME/PENGUINS/1?token=$PK"
WebForce:     SS=$(sed -n 's/.*"session": "\([^"]*\)".*/\1/p' '%[2]s')
              curl %[1]s/api -d cmd=access.get_all -d "auth_token=$SS"

The console:  %[1]s/console/
Stop:         Ctrl-C
`, base, file, datasetID)
}
