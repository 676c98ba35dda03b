package faulty

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Gate holds up the commits, or other statements, of a store, so that what is written meanwhile shares the next commit.
type Gate struct {
	*sqlstore.Store
	F       *Connector   // of the store's pool
	Waiting atomic.Int64 // how many statements are held up

	t      *testing.T
	engine *harness.Engine
	mu     sync.Mutex
	held   chan struct{} // nil: open
	at     string        // what the statements contain that are held up
}

// OpenGate opens a store behind a gate, which is open.
func OpenGate(t *testing.T, e *harness.Engine, dsn string) *Gate {
	db, f := Open(t, e.Open(t, dsn), dsn)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	g := &Gate{Store: harness.OpenStore(t, db, e.Dialect), t: t, engine: e, F: f}
	f.Before = func(text string) {
		g.mu.Lock()
		held, at := g.held, g.at
		g.mu.Unlock()
		if held != nil && strings.Contains(text, at) {
			g.Waiting.Add(1)
			<-held
			g.Waiting.Add(-1)
		}
	}
	return g
}

// Hold holds up commits until open is called.
func (g *Gate) Hold() (open func()) { return g.HoldAt("COMMIT") }

// HoldAt holds up the statements that contain text until open is called.
func (g *Gate) HoldAt(text string) (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := make(chan struct{})
	g.held, g.at = held, text
	open = sync.OnceFunc(func() {
		g.mu.Lock()
		if g.held == held {
			g.held = nil
		}
		g.mu.Unlock()
		close(held)
	})
	g.t.Cleanup(open)
	return open
}

// Commits returns how many commits were sent.
func (g *Gate) Commits() (n int) {
	for _, l := range g.F.Statements(0) {
		if l.Text == "COMMIT" {
			n++
		}
	}
	return n
}

// Blocked is the last number of a digest that Block has used. Tests use none above 900,000, or count it up.
var Blocked atomic.Int64

func init() { Blocked.Store(900_000) }

// Block makes all who mint wait at their commits, and returns when each has a batch of one under way.
func (g *Gate) Block(t *testing.T, all *sync.WaitGroup) (open func()) {
	minters := 2
	if g.engine.Dialect == latchkey.SQLite { // where all writes wait for one
		minters = 1
	}
	open = g.Hold()
	for i := range minters {
		all.Go(func() {
			err := g.Write(context.Background(), world.Mint(fmt.Sprint("first ", i), world.NewID(), int(Blocked.Add(1))))
			require.NoError(t, err)
		})
		harness.Eventually(t, "a commit", func() bool { return g.Waiting.Load() == int64(i+1) })
	}
	return open
}
