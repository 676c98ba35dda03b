// Package sqlstore keeps latchkey's records in a database/sql database.
//
// For most uses: open a *sql.DB with any driver of the engine and call [Migrate] when the program starts. Then give
// the result of [New] to latchkey.New. The database stays the host's: latchkey's tables all begin with "latchkey_" and
// may share it with other tables. [CheckSchema] verifies, once at start, that the columns of a latchkey.Schema suit
// its row conditions.
//
// # SQLite
//
// SQLite 3.37 or newer, with encoding UTF-8. Any journal mode and any busy timeout work. WAL is by far the fastest,
// and readers do not wait for a writer. The DSN for modernc.org/sqlite, and for github.com/mattn/go-sqlite3, which
// needs cgo:
//
//	sql.Open("sqlite", "file:app.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	sql.Open("sqlite3", "file:app.db?_journal_mode=WAL&_busy_timeout=5000")
//
// A Store takes the write lock at the beginning of each write transaction, whatever the DSN (_txlock) says. It first
// sets synchronous to FULL on that connection, and leaves it so. With a lower setting, a power failure may undo an
// acknowledged revocation. Writers of one process queue in the process and share commits. Writers of several processes
// wait for each other's transactions.
//
// # PostgreSQL
//
// PostgreSQL 13 or newer: the primary, a database in UTF-8, and synchronous_commit not off. Ids, names and hints must
// be valid UTF-8 without NUL; otherwise a write returns latchkey.ErrInvalid.
//
// A Store keeps no state in a session. So transaction poolers work (pgbouncer 1.18 was tried) if the driver prepares
// no named statements. For pgx set default_query_exec_mode=simple_protocol, or exec. Behind a pooler, New and Migrate
// refuse a driver that prepares named statements.
//
// A trigger raises the epoch inside COMMIT, so that no change holds up others for a round trip. Migrate makes it, with
// a function in plpgsql. Where that is forbidden the Store raises the epoch itself: see [New].
//
// # MySQL and MariaDB
//
// MariaDB 10.6 or newer. MySQL 8.0.16 or newer should work, but has not been tried. The DSN names the database.
// sql_mode is strict and autocommit is on, as by default. Ids, and names of owners and clients, may have 256 bytes,
// other names 1024. Longer ones are latchkey.ErrInvalid.
//
// # TiDB
//
// TiDB 8.3 or newer, by the dialect of MySQL, with tidb_enable_shared_lock_promotion=1 in the DSN. New and Migrate
// refuse a session without it. Add tidb_idle_transaction_timeout=10: it ends the transaction of a process that stalls.
// One server of 8.4 was tried, no cluster. A Store waits there for locked rows that it would skip elsewhere, and mints
// share no commits. [CheckSchema] refuses the tables of hosts: row conditions would admit rows there that they refuse.
//
// # Standbys and replicas
//
// A Store uses only the server that is written to. New refuses a standby of PostgreSQL and a read-only server of
// MariaDB. On PostgreSQL, a Store that a failover leads to a standby returns ErrUnavailable instead of an answer. To
// follow a failover, name all servers in the DSN. pgx finds the primary among them with
// target_session_attrs=read-write.
//
// What a new primary has depends on the old one. Nothing acknowledged is lost if synchronous_standby_names is set and
// synchronous_commit is on or remote_apply. Otherwise the last changes may be lost, revocations included.
//
// A Manager that finds the epoch behind the one it knew discards its cache. Others may have made as many changes on
// the new primary as were lost, before the Manager looks again. It cannot detect that. So after a failover that may
// have lost changes, restart the programs. An old primary must not go on answering beside a new one: make sure that it
// is stopped before the promotion.
//
// [NewReplica] reads listings and usage from a standby, for people and reports.
//
// # Galera
//
// MariaDB's Galera cluster, 10.11 with galera-4. Every DSN has wsrep_sync_wait=1. Without it a read misses what
// another node has acknowledged. New refuses such a DSN unless [Options].OnlyNode declares that no other node is used.
// wsrep_dirty_reads is off.
//
// Let all processes write to one node; reads may use all nodes. Writers on several nodes are slower, and undo each
// other's transactions. A Store tries these again, including those that the server does not report. Nothing
// acknowledged is lost while a majority of the nodes lives. A node without a majority returns ErrUnavailable. Call
// Migrate only on the node that is written to: the lock it takes is local to that node.
//
// Locks of rows that a transaction does not write do not reach other nodes. So with writers on several nodes, a token
// can be minted on one while its parent is revoked on another. It can also be given a role that is being deleted. Such
// a token is not valid, because every Verify checks its parents and roles. A secret may be added on one node while
// another records a use of its token. The secret may then show the previous use until the next one.
//
// # Every engine
//
// New and Migrate refuse latchkey's own tables if they differ from the migrations so that a Store would answer
// wrongly. Examples are text that compares by a collation instead of as bytes, an engine without transactions, and a
// table that a crash empties. They also refuse by name session settings that would break a later call. Examples are
// limits on rows or on the time of statements, modes in which an empty text is NULL, and a read-only session.
//
// While an engine is down, or its disk is full, calls return latchkey.ErrUnavailable. If the answer to a commit was
// lost, they return latchkey.ErrUnknownOutcome. They succeed again when the engine is back.
//
// A token is stored packed, and again with each of its secrets, so that a presented secret is found by reading one
// row. The other columns repeat its fields for listings, Purge and the checks of a Write. Changing those columns by
// hand revokes nothing.
//
// A record that cannot be read is a latchkey.DamagedError: it may be cut off, altered, or of another version. For a
// token the other columns are then returned, but nothing is decided by them. The token can be revoked, disabled,
// rotated and deleted. If it is disabled or rotated, the damaged record stays in its column, behind a zero byte, and
// is not read again. If it is revoked, the record is replaced. There are no checksums: an alteration that leaves a
// record well-formed is not detected.
//
// # PostgreSQL, MySQL and MariaDB
//
// Several transactions of a Store write at once, at READ COMMITTED whatever the database's default. Transactions on
// the same owner's records wait for each other, unless they only add tokens. All transactions that change an answer
// update the epoch, which they lock last. Deadlocks and lock timeouts are retried. New refuses a machine whose clock
// differs by more than a minute from the database's.
//
// # Many nodes
//
// Processes that share a database learn of each other's changes by reading the epoch. They do that on every Verify, or
// as often as latchkey.Options.MaxStale requires. On PostgreSQL each change also notifies [NotifyChannel]. A listener
// of yours can then call latchkey.Manager.Wake.
//
// # Restoring a backup
//
// A restored database has gone back to an earlier epoch. A process that knew a later epoch detects this and discards
// its cache. It cannot detect it once others have made so many changes that the epoch has passed the one it knew. So
// restart every process that used the database before. Or run this statement once, before any of them can reach the
// database; then all of them discard their caches:
//
//	UPDATE latchkey_epoch SET floor = epoch + 1000000000, epoch = epoch + 1000000000
package sqlstore
