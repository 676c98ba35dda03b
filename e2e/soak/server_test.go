package soak

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// settingsName is the variable that makes the test's program the server.
const settingsName = "LATCHKEY_SOAK_SERVER"

// settings are those of the server's process, as JSON.
type settings struct {
	Driver  string
	Dialect latchkey.Dialect
	DSN     string
	Leaks   bool // each request loses a kilobyte, and each hundredth a goroutine and a file
}

// started is what the server's process prints when it listens.
type started struct {
	Base    string // of the requests
	Control string // of figures
	Secret  string // of an administrator
}

// figures are what the server's process holds while no request runs, and what it did since its start.
type figures struct {
	Heap        uint64 // bytes that are reachable, after forced collections
	Goroutines  int
	Files       int
	Connections int64 // of clients
	Calls       map[string]int64
	Records     int // tokens in the cache
}

const (
	meter    = "requests"
	poolSize = 4

	cached = 2000    // tokens, beside those of the traffic
	extra  = 5 << 10 // bytes that each of them has of its own
)

// serve is the server's process. It serves until its standard input ends.
func serve() {
	if err := server(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func server() error {
	if os.Getenv("LATCHKEY_SOAK_PROFILES") != "" {
		runtime.MemProfileRate = 1
	}
	var set settings
	if err := json.Unmarshal([]byte(os.Getenv(settingsName)), &set); err != nil {
		return err
	}
	ctx := context.Background()
	db, err := harness.OpenPool(set.Driver, set.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	if err := sqlstore.Migrate(ctx, db, set.Dialect); err != nil {
		return err
	}
	store, err := sqlstore.New(ctx, db, set.Dialect, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	var mu sync.Mutex
	calls := map[string]int64{}
	keys := latchkey.New(store, &latchkey.Options{
		CacheTokens: 2 * cached, // all that stay remain in it; those that end leave it
		Observer: latchkey.Observer{StoreCall: func(_ context.Context, c latchkey.StoreCall) {
			mu.Lock()
			defer mu.Unlock()
			calls[c.Op]++
		}},
	})
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		return err
	}
	if err := load(ctx, store, keys); err != nil {
		return err
	}

	// There is no limit of refusals by address: what junk costs is seen without one.
	auth := httpadapter.New(keys, &httpadapter.Options{Owner: "acme", AddressRate: latchkey.Rate{Count: -1}})
	mux := http.NewServeMux()
	api.Mount(mux, "/v1", auth, nil)
	read := auth.Require(latchkey.Read, "dataset/orders")
	mux.Handle("GET /orders", read(auth.Spend(meter, latchkey.Credit)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))))
	var handler http.Handler = mux
	if set.Leaks {
		handler = leaking(mux)
	}
	var connections atomic.Int64
	public := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			connections.Add(-1)
		}
	}}
	control := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/profile" {
			_ = pprof.Lookup("heap").WriteTo(w, 0)
			return
		}
		if err := settle(r.Context(), keys, connections.Load, db); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		f := figures{Connections: connections.Load(), Goroutines: runtime.NumGoroutine()}
		stats := keys.Stats()
		f.Records = stats.Cache.Records
		mu.Lock()
		f.Calls = maps.Clone(calls)
		mu.Unlock()
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		f.Files = len(files)
		var memory runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools held is free after the second one
		runtime.ReadMemStats(&memory)
		f.Heap = memory.HeapAlloc
		_ = json.NewEncoder(w).Encode(f)
	})}
	began := started{Secret: secret.Reveal()}
	for base, s := range map[*string]*http.Server{&began.Base: public, &began.Control: control} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*base = "http://" + listener.Addr().String()
		go func() { _ = s.Serve(listener) }()
	}
	if err := json.NewEncoder(os.Stdout).Encode(began); err != nil {
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends
	return errors.Join(public.Close(), control.Close(), keys.Close(ctx))
}

// load makes tokens that are valid for as long as the server runs, and verifies each once, so that all are in the
// cache. They are of another owner than the traffic, and each is somebody else's. They are made in memory, and written
// many at a time. They are few and large: the cache keeps what has ended until it is an eighth of what is valid, and so
// the traffic reaches that bound during the warm-up.
func load(ctx context.Context, store latchkey.Store, keys *latchkey.Manager) error {
	const owner, batch = "loaded", 100
	memory := memstore.New(nil)
	maker := latchkey.New(memory, nil)
	defer maker.Close(ctx)
	text := json.RawMessage(`"` + strings.Repeat("x", extra) + `"`)
	var secrets []latchkey.Secret
	var w latchkey.Write
	for i := range cached {
		token, secret, err := maker.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Extra: text,
			Name: fmt.Sprint("key ", i), Client: latchkey.Client{ID: fmt.Sprint("client ", i), Name: fmt.Sprint("Client ", i)}})
		if err != nil {
			return err
		}
		records, err := memory.Secrets(ctx, owner, token.ID)
		if err != nil {
			return err
		}
		token.Version = 0 // it is new to the other store
		secrets, w.Tokens = append(secrets, secret), append(w.Tokens, token)
		for _, r := range records {
			w.Secrets = append(w.Secrets, latchkey.SecretChange{TokenID: token.ID, Add: &r})
		}
		if len(w.Tokens) == batch || i == cached-1 {
			w.ID, w.Owner, w.At, w.Silent = world.WriteID(), owner, time.Now(), true
			if err := store.Write(ctx, w); err != nil {
				return err
			}
			w = latchkey.Write{}
		}
	}
	for _, secret := range secrets {
		if _, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until no client is connected and nothing waits to be written, and opens all connections of the pool, so
// that figures are of the same state each time.
func settle(ctx context.Context, keys *latchkey.Manager, connections func() int64, db *sql.DB) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		stats := keys.Stats()
		if connections() == 0 && stats.Usage.Waiting == 0 && stats.LastUse.Waiting == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after a minute %d clients are connected, and %d counts and %d last uses wait", connections(),
				stats.Usage.Waiting, stats.LastUse.Waiting)
		}
	}
	var held []*sql.Conn
	var err error
	for range poolSize {
		conn, failed := db.Conn(ctx)
		if failed != nil {
			err = failed
			break
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// leaking loses a kilobyte with each request, and a goroutine and a file with each hundredth.
func leaking(next http.Handler) http.Handler {
	var mu sync.Mutex
	var lost [][]byte
	var files []*os.File
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		lost = append(lost, make([]byte, 1024))
		if len(lost)%100 == 0 {
			go func() { select {} }()
			if file, err := os.Open(os.DevNull); err == nil {
				files = append(files, file)
			}
		}
		mu.Unlock()
		next.ServeHTTP(w, r)
	})
}
