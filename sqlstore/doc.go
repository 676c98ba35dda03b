// Package sqlstore keeps latchkey's records in a database/sql database.
//
// For most uses: open a *sql.DB with any driver of the engine, call [Migrate] when the program starts, and give the
// result of [New] to latchkey.New. The database stays the host's: latchkey's tables all begin with "latchkey_" and may
// live beside its own. [CheckSchema] verifies, once at start, that the columns row conditions are compiled for are what
// a latchkey.Schema says.
//
// # SQLite
//
// SQLite 3.37 or newer, encoding UTF-8. Any journal mode and any busy timeout work. WAL is much the fastest and lets
// readers pass a writer; with modernc.org/sqlite, and with github.com/mattn/go-sqlite3, which needs cgo:
//
//	sql.Open("sqlite", "file:app.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	sql.Open("sqlite3", "file:app.db?_journal_mode=WAL&_busy_timeout=5000")
//
// A Store takes the write lock at the beginning of each write transaction, whatever the DSN (_txlock) says. It sets
// synchronous to FULL on that connection first, and leaves it so: with less, a power failure may take back a revocation
// that was acknowledged. Writers of one process queue in the process and share commits; writers of several processes wait
// for each other's transactions.
//
// # PostgreSQL
//
// PostgreSQL 13 or newer, a database in UTF-8, its primary, and synchronous_commit not off. Ids, names and hints there hold
// no NUL and nothing that is not UTF-8; a write that has either is latchkey.ErrInvalid. Nothing is kept for a session, so
// transaction poolers do (pgbouncer 1.18 was tried), if the driver does not prepare by name: pgx says
// default_query_exec_mode=simple_protocol, or exec. New and Migrate refuse a driver that does, behind a pooler.
//
// # MySQL and MariaDB
//
// MariaDB 10.6 or newer; MySQL 8.0.16 or newer should work, but has not been tried. TiDB is refused: it takes no shared
// locks, and compares some conditions otherwise. The DSN names the database; sql_mode is strict and autocommit is on,
// as by default. Ids, and names of owners and clients, may have 256 bytes, other names 1024; longer ones are
// latchkey.ErrInvalid.
//
// # Standbys and replicas
//
// A Store asks the server that is written to, for everything: New refuses a standby of PostgreSQL and a read-only server of
// MariaDB, and on PostgreSQL a Store that a failover leads to a standby says ErrUnavailable instead of answering. To follow
// a failover name all servers in the DSN; pgx finds the primary among them by target_session_attrs=read-write. What a new
// primary has depends on the old one: with synchronous_standby_names set, and synchronous_commit on or remote_apply,
// nothing that was acknowledged is lost; without, the last changes may be, a revocation too. A Manager that finds the epoch
// behind what it knew forgets all it knew. It cannot tell when others have made as many changes on the new primary, before
// it looked again, as were lost: after a failover that may have lost something, restart the programs. No old primary may
// go on answering beside a new one: make sure that it is dead before the promotion.
//
// [NewReplica] reads listings and usage from a standby, for people and reports.
//
// # Galera
//
// MariaDB's Galera cluster, 10.11 with galera-4. Every DSN has wsrep_sync_wait=1: without it a read misses what another
// node has acknowledged, and New refuses it unless [Options].OnlyNode says that there is no other. wsrep_dirty_reads is
// off. Let all processes write to one node: writers on several are slower, and undo each other's transactions, which are
// tried again, also those of which the server does not say so. Reads may go to all. Nothing acknowledged is lost while a
// majority lives; a node without one says ErrUnavailable. Call Migrate on the node that is written to, from there only: the
// lock it takes is that node's own.
//
// Locks that a transaction takes without writing do not reach other nodes. With writers on several nodes a token can so be
// minted on one while its parent is revoked on another, or given a role that is deleted; it is good for nothing then, for
// every Verify asks its parents and roles anew. A secret that is added on one node while another notes that its token was
// used may show the use before, until the next.
//
// # Every engine
//
// New and Migrate refuse latchkey's own tables when somebody made or changed them otherwise than the migrations do, and
// they would lie: text that compares by a collation instead of as bytes, an engine without transactions, a table that a
// crash empties. They refuse by name the settings of a session that would break something later: limits of rows or of
// the time of statements, modes in which an empty text is none, a session that only reads. While an engine is away, or
// its disk full, calls say latchkey.ErrUnavailable, or, where the answer to a commit was lost,
// latchkey.ErrUnknownOutcome, and go on by themselves when it is back.
//
// A token is kept packed, and once more with each of its secrets, so that whoever presents one is found by looking at one
// row. The other columns say the same once more, for listings, Purge and the checks of a Write: to change them by hand stops
// nobody.
//
// A record that cannot be read, for it is cut off, altered or another version's, is a latchkey.DamagedError. Of a token
// the other columns are then told, and nothing is decided by them; it can be revoked, disabled, rotated and deleted.
// The record of a damaged token that is disabled or rotated stays in its column, behind a zero byte, and is not read
// again; revoked, it is replaced. There are no checksums: an alteration that leaves a record well-formed is not seen.
//
// # PostgreSQL, MySQL and MariaDB
//
// Several transactions of a Store write at once, READ COMMITTED whatever the database's default. Those on one owner's
// records wait for each other, unless all they do is add tokens, and all that change an answer meet at the epoch, which is
// taken last. Deadlocks and lock timeouts are tried again. New refuses a machine whose clock is more than a minute behind
// the database's.
//
// # Many nodes
//
// Processes that share a database hear of each other's changes by asking for the epoch, on every Verify or as often as
// latchkey.Options.MaxStale makes them. On PostgreSQL each change also notifies [NotifyChannel], for a listener of yours
// that calls latchkey.Manager.Wake.
//
// # Restoring a backup
//
// A database that was restored has gone back to an earlier epoch. A process that knew a later one sees that it went back,
// but not if others have meanwhile changed so much that it passed what the process knew. So restart every process that
// used the database before, or run this once, before any of them can reach it: all forget what they knew.
//
//	UPDATE latchkey_epoch SET floor = epoch + 1000000000, epoch = epoch + 1000000000
package sqlstore
