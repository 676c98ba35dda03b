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
// readers pass a writer; with modernc.org/sqlite:
//
//	sql.Open("sqlite", "file:app.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//
// A Store takes the write lock at the beginning of each write transaction, whatever the DSN says. It sets synchronous to
// FULL on that connection first, and leaves it so: with less, a power failure may take back a revocation that was
// acknowledged. Writers of one process queue in the process and share commits; writers of several processes wait for each
// other's transactions.
//
// # PostgreSQL
//
// PostgreSQL 13 or newer, a database in UTF-8, its primary. Text there holds no NUL and nothing that is not UTF-8; a write
// that has either is latchkey.ErrInvalid. Nothing is kept for a session, so transaction poolers do, if the driver does not
// prepare (pgx: default_query_exec_mode=simple_protocol).
//
// # MySQL and MariaDB
//
// MariaDB 10.6 or newer; MySQL 8.0.16 or newer should work, but has not been tried. The DSN names the database; sql_mode is
// strict and autocommit is on, as by default. Ids, and names of owners and clients, may have 256 bytes, other names 1024;
// longer ones are latchkey.ErrInvalid.
//
// # Both
//
// Several transactions of a Store write at once, READ COMMITTED whatever the database's default. Those on one owner's
// records wait for each other, unless all they do is add tokens, and all that change an answer meet at the epoch, which is
// taken last. Deadlocks and lock timeouts are tried again. New refuses a machine whose clock is more than a minute behind
// the database's.
package sqlstore
