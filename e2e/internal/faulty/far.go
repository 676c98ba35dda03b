package faulty

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// Far stands between pools and a server, as a long line does. It delays what passes, and counts the round trips.
type Far struct {
	// DSN leads to the server by way of the line.
	DSN string

	oneWay time.Duration
	to     string // the server's socket
	trips  atomic.Int64

	notices harness.Notices

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
	all    sync.WaitGroup
}

// NewFar returns a line to a place of an engine that runs on this machine. Each way takes oneWay.
func NewFar(t testing.TB, e *harness.Engine, dsn string, oneWay time.Duration) *Far {
	t.Helper()
	folder, err := os.MkdirTemp("", "lk-f-") // short: so must be the name of a socket
	require.NoError(t, err)
	socket := ".s.PGSQL.5432"
	if e.Dialect == latchkey.MySQL {
		socket = "s.sock"
	}
	f := &Far{DSN: strings.ReplaceAll(dsn, e.Folder, folder), oneWay: oneWay, to: filepath.Join(e.Folder, socket)}
	listener, err := net.Listen("unix", filepath.Join(folder, socket))
	require.NoError(t, err)
	f.all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			f.serve(near)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		f.mu.Lock()
		f.closed = true
		for _, conn := range f.conns {
			conn.Close()
		}
		f.mu.Unlock()
		f.all.Wait()
		os.RemoveAll(folder)
	})
	return f
}

// Trips returns how many round trips there have been: how often a client waited for an answer. Those that notify
// others are left out.
func (f *Far) Trips() int { return int(f.trips.Load()) }

func (f *Far) serve(near net.Conn) {
	server, err := net.Dial("unix", f.to)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.closed {
		near.Close()
		if err == nil {
			server.Close()
		}
		return
	}
	f.conns = append(f.conns, near, server)
	var asked atomic.Bool // the client has sent something, and the server has not answered yet
	f.all.Go(func() {
		f.pump(server, near, func(sent []byte) {
			if !f.notices.Match(sent) {
				asked.Store(true)
			}
		})
	})
	f.all.Go(func() {
		f.pump(near, server, func([]byte) {
			if asked.CompareAndSwap(true, false) {
				f.trips.Add(1)
			}
		})
	})
}

func (f *Far) pump(to, from net.Conn, seen func([]byte)) {
	type part struct {
		at    time.Time
		bytes []byte
	}
	parts := make(chan part, 1<<14)
	f.all.Go(func() {
		defer to.Close()
		defer from.Close()
		for p := range parts {
			if f.oneWay > 0 {
				time.Sleep(time.Until(p.at))
			}
			if _, err := to.Write(p.bytes); err != nil {
				for range parts { // until the reader ends
				}
				return
			}
		}
	})
	defer close(parts)
	for {
		bytes := make([]byte, 16<<10)
		n, err := from.Read(bytes)
		if n > 0 {
			seen(bytes[:n])
			parts <- part{time.Now().Add(f.oneWay), bytes[:n]}
		}
		if err != nil {
			return
		}
	}
}
