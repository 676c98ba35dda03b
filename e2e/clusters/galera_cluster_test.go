package clusters

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A cluster of three MariaDB nodes on this machine serves the Galera tests of a process. The first that needs it starts
// it: clients on private sockets, the nodes among themselves on free ports of 127.0.0.1. Another one is of nodes that
// can be cut off: each is a host of its own.

type galeraNode struct {
	*harness.Engine
	group, transfer, increment int // ports: of the group, of a whole state, of what is missing of one
}

type galeraCluster struct {
	nodes  [3]*galeraNode
	apart  bool          // each node is a host
	client *harness.Host // which reaches the nodes; nil unless apart
	server string
	once   sync.Once
	failed error
}

var galera, galeraApart = newGalera(false), newGalera(true)

func newGalera(apart bool) *galeraCluster {
	c := &galeraCluster{apart: apart}
	for i := range c.nodes {
		c.nodes[i] = &galeraNode{Engine: harness.MariaDB.Another()}
		c.nodes[i].Name, c.nodes[i].Quit = fmt.Sprintf("Galera node %d", i+1), syscall.SIGKILL
	}
	return c
}

// place makes sure that all three nodes are there, and returns the DSN of an empty database for each.
func (c *galeraCluster) place(t testing.TB) (dsns [3]string) {
	t.Helper()
	c.whole(t)
	name := "latchkey_test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err := c.nodes[0].Admin.Exec("CREATE DATABASE " + name)
	require.NoError(t, err)
	for i, n := range c.nodes {
		dsn, err := n.In(n.DSN, name)
		require.NoError(t, err)
		dsns[i] = n.With(t, dsn, "wsrep_sync_wait", "1")
	}
	return dsns
}

// whole starts the nodes that do not run.
func (c *galeraCluster) whole(t testing.TB) {
	t.Helper()
	c.once.Do(func() {
		for range 3 { // a port that was free may be another's by the time it is needed
			if c.failed = c.run(); c.failed == nil {
				return
			}
			for _, n := range c.nodes {
				n.Stop()
				n.Process, n.Folder = nil, ""
			}
		}
	})
	require.NoError(t, c.failed)
	for _, n := range c.nodes {
		if n.dead() {
			require.NoError(t, n.launch(c))
		}
		require.NoError(t, n.synced())
	}
	require.Eventually(t, func() bool { return c.nodes[0].status("wsrep_cluster_size") == "3" }, 3*time.Minute,
		20*time.Millisecond)
}

func (c *galeraCluster) run() (err error) {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // connections are broken on purpose
	install, err := harness.Program("mariadb-install-db", harness.MariaDBFolders...)
	if err != nil {
		return err
	}
	if c.server, err = harness.Program("mariadbd", harness.MariaDBFolders...); err != nil {
		return err
	}
	if _, err = harness.Program("rsync"); err != nil { // by which a node gets the data of another
		return err
	}
	ports, err := freePorts(9)
	if err != nil {
		return err
	}
	if c.apart {
		network, err := harness.NewNetwork(4)
		if err != nil {
			return err
		}
		for i, n := range c.nodes {
			n.Host = network.Hosts[i]
		}
		c.client = network.Hosts[3]
	}
	for i, n := range c.nodes {
		n.group, n.transfer, n.increment = ports[3*i], ports[3*i+1], ports[3*i+2]
		if err := n.MakeFolder(); err != nil {
			return err
		}
		if err := n.Command("mkdir", n.temp()).Run(); err != nil {
			return err
		}
		config := mysql.NewConfig()
		config.User, config.Net, config.Addr = "root", "unix", filepath.Join(n.Folder, "s.sock")
		n.DSN = config.FormatDSN()
		if n.Admin, err = sql.Open(n.Driver, n.DSN); err != nil {
			return err
		}
	}
	first := c.nodes[0]
	err = first.Command(install, "--no-defaults", "--datadir="+first.data(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--tmpdir="+first.temp(), "--cross-bootstrap", smallLog).Run()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, first.Log.String())
	}
	if err := first.launch(c, "--wsrep-new-cluster"); err != nil {
		return err
	}
	if err := first.synced(); err != nil {
		return err
	}
	// The others begin with a copy of its data: fetching all of it would take three times as long. What was killed
	// fetches.
	if err := first.Process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-first.Ended
	for _, n := range c.nodes[1:] {
		if err := n.Command("cp", "-r", first.data(), n.data()).Run(); err != nil {
			return fmt.Errorf("%w\n%s", err, n.Log.String())
		}
		for _, own := range []string{"galera.cache", "gvwstate.dat"} {
			if err := os.Remove(filepath.Join(n.data(), own)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for i, n := range c.nodes {
		var options []string
		if i == 0 {
			options = []string{"--wsrep-new-cluster"}
		}
		// One after the other: two that join at once wait for each other's time-outs.
		if err := errors.Join(n.launch(c, options...), n.synced()); err != nil {
			return err
		}
	}
	return nil
}

const smallLog = "--innodb-log-file-size=8M"

func (n *galeraNode) data() string { return filepath.Join(n.Folder, "data") }

func (n *galeraNode) temp() string { return filepath.Join(n.Folder, "tmp") }

// launch starts a node, which then looks for the others.
func (n *galeraNode) launch(c *galeraCluster, options ...string) error {
	provider, err := galeraProvider()
	if err != nil {
		return err
	}
	var group []string
	for _, other := range c.nodes {
		group = append(group, other.at(other.group))
	}
	if c.apart {
		options = append(options, "--bind-address="+n.Host.Address)
	} else {
		options = append(options, "--skip-networking")
	}
	return n.Serve(c.server, append([]string{"--no-defaults", "--datadir=" + n.data(),
		"--socket=" + filepath.Join(n.Folder, "s.sock"), "--pid-file=" + filepath.Join(n.Folder, "pid"),
		"--tmpdir=" + n.temp(), "--skip-name-resolve", "--max-connections=300", smallLog, "--innodb-buffer-pool-size=64M",
		"--innodb-flush-log-at-trx-commit=2", "--debug-no-sync", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
		"--wsrep-on=ON", "--wsrep-provider=" + provider, "--wsrep-cluster-name=latchkey",
		"--wsrep-cluster-address=gcomm://" + strings.Join(group, ","), "--wsrep-node-name=" + filepath.Base(n.Folder),
		"--wsrep-node-address=" + n.at(n.group), "--wsrep-sst-method=rsync",
		"--wsrep-sst-receive-address=" + n.at(n.transfer),
		fmt.Sprintf("--wsrep-provider-options=gmcast.listen_addr=tcp://%s;ist.recv_addr=%s;base_dir=%s;gcache.size=32M",
			n.at(n.group), n.at(n.increment), n.data())}, options...)...)
}

func galeraProvider() (string, error) {
	for _, folder := range []string{"/usr/lib/galera", "/usr/lib", "/usr/lib64/galera-4", "/usr/lib/*", "/usr/local/lib"} {
		if found, _ := filepath.Glob(filepath.Join(folder, "libgalera_smm.so")); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("galera-4 is not installed: run scripts/install")
}

// at returns the address of a node's port.
func (n *galeraNode) at(port int) string {
	if n.Host != nil {
		return net.JoinHostPort(n.Host.Address, strconv.Itoa(port))
	}
	return loopback(port)
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// freePorts finds ports outside the range that the system hands out, so that a node that is down for a while finds
// its own still free.
func freePorts(n int) (ports []int, err error) {
	for tries := 0; len(ports) < n && tries < 1000; tries++ {
		listener, listenErr := net.Listen("tcp", loopback(20000+rand.N(12000)))
		if listenErr != nil {
			err = listenErr
			continue
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no free ports: %w", err)
	}
	return ports, nil
}

// synced waits until a node has all that the others have, and makes sure that it is the one that was started.
func (n *galeraNode) synced() error {
	if err := n.Ready(); err != nil {
		return err
	}
	for deadline := time.Now().Add(3 * time.Minute); n.status("wsrep_local_state_comment") != "Synced" ||
		n.status("wsrep_ready") != "ON"; time.Sleep(20 * time.Millisecond) {
		if n.dead() || time.Now().After(deadline) {
			return fmt.Errorf("%s does not join the others:\n%s", n.Name, n.Log.String())
		}
	}
	return nil
}

// status is what a node says of itself; "" when it does not answer.
func (n *galeraNode) status(name string) (value string) {
	_ = n.Admin.QueryRow("SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value)
	return value
}

func (n *galeraNode) dead() bool {
	select {
	case <-n.Ended:
		return true
	default:
		return false
	}
}

// kill ends a node at once, as a power failure would.
func (n *galeraNode) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, n.Process.Process.Kill())
	<-n.Ended
}

// The suite, on the one node that all write to. Sampled: each run draws an eighth of the cases, as all are run on a
// server that is no node. LONG=1 runs all here too.
func TestGaleraConformance(t *testing.T) {
	harness.RunCases(t, harness.Parts("Galera", 8)[0], inTurn(t, galera.nodes[0].Engine, galera.place(t)[0]))
}

// inTurn opens stores in one database, each after the one before has ended. Creating a database takes servers that
// wait for each other longer than most cases do. It is migrated once.
func inTurn(t *testing.T, e *harness.Engine, dsn string) func(t *testing.T) latchkey.Store {
	e.Store(t, dsn)
	db := e.Open(t, dsn)
	return func(t *testing.T) latchkey.Store {
		tx, err := db.Begin()
		require.NoError(t, err)
		for _, table := range append(slices.Clone(world.TenantTables), "latchkey_changes", "latchkey_batches") {
			_, err := tx.Exec("DELETE FROM " + table)
			require.NoError(t, err)
		}
		_, err = tx.Exec("UPDATE latchkey_epoch SET epoch = 0, floor = 0")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		s, err := sqlstore.New(context.Background(), e.Open(t, dsn), e.Dialect, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
}

// A table without a primary key cannot be replicated safely.
func TestGaleraPrimaryKeys(t *testing.T) {
	dsns := galera.place(t)
	galera.nodes[0].Store(t, dsns[0])
	var without int
	require.NoError(t, galera.nodes[1].Open(t, dsns[1]).QueryRow(`SELECT COUNT(*) FROM information_schema.tables t
		WHERE t.table_schema = DATABASE() AND NOT EXISTS (SELECT 1 FROM information_schema.table_constraints c
		WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY')`).
		Scan(&without))
	require.Zero(t, without)
}

func TestGaleraNewRefuses(t *testing.T) {
	ctx := context.Background()
	dsns := galera.place(t)
	galera.nodes[0].Store(t, dsns[0])
	node := galera.nodes[1]
	bare := strings.Replace(dsns[1], "wsrep_sync_wait=1", "wsrep_sync_wait=", 1)
	for _, c := range []struct {
		name, dsn string
		options   *sqlstore.Options
		says      string // "": accepted
	}{
		{"reads wait", dsns[1], nil, ""},
		{"all waits", bare + "15", nil, ""},
		{"nothing waits", bare + "0", nil, "add wsrep_sync_wait=1 to the DSN"},
		{"only updates wait", bare + "6", nil, "add wsrep_sync_wait=1 to the DSN"},
		{"the server's default", strings.Replace(dsns[1], "?wsrep_sync_wait=1", "", 1), &sqlstore.Options{},
			"Options.OnlyNode"},
		{"the one node used", bare + "0", &sqlstore.Options{OnlyNode: true}, ""},
		{"dirty reads", node.With(t, dsns[1], "wsrep_dirty_reads", "1"), nil, "wsrep_dirty_reads is on"},
		{"dirty reads on the one node used", node.With(t, bare+"0", "wsrep_dirty_reads", "1"),
			&sqlstore.Options{OnlyNode: true}, "wsrep_dirty_reads is on"},
		{"writes that stay here", node.With(t, dsns[1], "wsrep_on", "0"), nil, "wsrep_on is off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := sqlstore.New(ctx, node.Open(t, c.dsn), latchkey.MySQL, c.options)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.NoError(t, s.Close())
		})
	}
	// A copy for reading is one whatever it waits for.
	r, err := sqlstore.NewReplica(ctx, node.Open(t, bare+"0"), latchkey.MySQL)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	// Of a server that is no node nothing is asked.
	harness.MariaDB.Store(t, harness.MariaDB.With(t, harness.MariaDB.Place(t), "wsrep_sync_wait", "0"))
}
