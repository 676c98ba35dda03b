package harness

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Distance is the network between a pool and its server. It delays what passes, and counts the round trips: how often a
// client sent something after the server had sent something.
type Distance struct {
	oneWay time.Duration
	trips  atomic.Int64
	all    sync.WaitGroup

	notices Notices

	mu    sync.Mutex
	ended bool
	conns []net.Conn
}

// Far returns the DSN of a place whose server is a round trip away. What is under way at the same time does not add up.
// With 0 it only counts. MariaDB's server must be one that a test started.
func Far(t testing.TB, e *Engine, dsn string, roundTrip time.Duration) (string, *Distance) {
	t.Helper()
	folder, err := os.MkdirTemp("", "lk-f-") // short: so must be the name of a socket
	require.NoError(t, err)
	socket := ".s.PGSQL.5432"
	if e.Dialect == latchkey.MySQL {
		socket = "s.sock"
	}
	network, address := "unix", filepath.Join(e.Folder, socket)
	if e.Process == nil { // the environment names it
		config, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		network, address = pgconn.NetworkAddress(config.Host, config.Port)
	}
	d := &Distance{oneWay: roundTrip / 2}
	listener, err := net.Listen("unix", filepath.Join(folder, socket))
	require.NoError(t, err)
	d.all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial(network, address)
			if err != nil || !d.add(near, far) {
				near.Close()
				continue
			}
			var answered atomic.Bool
			answered.Store(true)
			d.all.Go(func() {
				d.carry(near, far, func(sent []byte) {
					if !d.notices.Match(sent) && answered.CompareAndSwap(true, false) {
						d.trips.Add(1)
					}
				})
			})
			d.all.Go(func() { d.carry(far, near, func([]byte) { answered.Store(true) }) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		d.mu.Lock()
		d.ended = true
		for _, conn := range d.conns {
			conn.Close()
		}
		d.mu.Unlock()
		d.all.Wait()
		os.RemoveAll(folder)
	})
	if e.Process == nil {
		return e.With(t, e.With(t, e.With(t, dsn, "host", folder), "port", "5432"), "sslmode", "disable"), d
	}
	require.Contains(t, dsn, e.Folder)
	return strings.ReplaceAll(dsn, e.Folder, folder), d
}

// Trips returns how many round trips there were, without those that notify others.
func (d *Distance) Trips() int64 { return d.trips.Load() }

func (d *Distance) add(near, far net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		far.Close()
		return false
	}
	d.conns = append(d.conns, near, far)
	return true
}

// carry passes on what one side sends, each part its own time later, in order.
func (d *Distance) carry(from, to net.Conn, sent func([]byte)) {
	type part struct {
		due   time.Time
		bytes []byte
	}
	parts := make(chan part, 1<<12)
	var writing sync.WaitGroup
	writing.Go(func() {
		defer to.Close()
		for p := range parts {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				from.Close()
			}
		}
	})
	for buffer := make([]byte, 64<<10); ; {
		n, err := from.Read(buffer)
		if n > 0 {
			sent(buffer[:n])
			parts <- part{time.Now().Add(d.oneWay), append([]byte(nil), buffer[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(parts)
	writing.Wait()
}
