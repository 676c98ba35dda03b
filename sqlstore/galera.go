package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// The errors of a node of a Galera cluster, and what they mean here:
//
//	1213  The transaction of another node, or of another session, was first. This one was undone, also at a COMMIT.
//	      It is tried again.
//	1205  The lock of a row was not free in time. The transaction is tried again. For a read: what wsrep_sync_wait
//	      waits for did not come, or cannot come because the other nodes are lost. This is ErrUnavailable.
//	1020  A row changed since it was read. The transaction is tried again.
//	1047  The node is not, or no longer, part of the majority. Nothing was run. This is ErrUnavailable.
//	1180  The cluster fell apart while the node was committing. The other nodes may have committed: the outcome is not
//	      known.
const galeraNotReady = 1047

// checkMySQLNode refuses a replica, and a session that reads uncommitted rows. On a node of a Galera cluster it refuses
// a session that could miss what another node acknowledged, or whose writes stay on this node. It reports whether the
// server is part of a cluster.
func checkMySQLNode(ctx context.Context, db *sql.DB, opts *Options) (clustered bool, err error) {
	set := map[string]string{}
	rows, err := db.QueryContext(ctx, `SHOW SESSION VARIABLES WHERE Variable_name = 'read_only'
		OR Variable_name IN ('tx_isolation', 'transaction_isolation') OR Variable_name LIKE 'wsrep%'`)
	err = eachRow(rows, err, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		set[name] = value
		return err
	})
	if err != nil {
		return false, err
	}
	switch set["read_only"] {
	case "OFF", "0":
	default: // a user with enough privileges could still write
		return false, errors.New("read_only is on, as on a replica, which lags behind: connect to the primary, or use " +
			"NewReplica for listings and usage")
	}
	if cmp.Or(set["tx_isolation"], set["transaction_isolation"]) == "READ-UNCOMMITTED" {
		return false, errors.New("the session's isolation is READ UNCOMMITTED, so a read could return rows that are never " +
			"committed: remove it from the DSN or the server's settings")
	}
	if set["wsrep_dirty_reads"] == "ON" {
		return false, errors.New("wsrep_dirty_reads is on, so a node that lost the others would go on answering: turn it " +
			"off")
	}
	if provider := set["wsrep_provider"]; provider == "" || provider == "none" {
		return false, nil
	}
	if set["wsrep_on"] != "ON" {
		return false, errors.New("wsrep_on is off, so writes would not reach the other nodes of the cluster: turn it on")
	}
	wait, err := strconv.ParseUint(set["wsrep_sync_wait"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("wsrep_sync_wait is %q: %w", set["wsrep_sync_wait"], err)
	}
	if wait&1 == 0 && !opts.OnlyNode {
		return false, fmt.Errorf("wsrep_sync_wait is %d on a node of a Galera cluster, so a read could miss what another "+
			"node has acknowledged: add wsrep_sync_wait=1 to the DSN, or set Options.OnlyNode if no process uses another node",
			wait)
	}
	return true, nil
}

// beginGalera is beginMySQL on a node of a cluster. There a transaction of another node may end one of ours at any
// time. Usually the next answer reports it. If a SELECT has just sent its rows, no answer does (seen on MariaDB 10.11).
// Later statements would then run by themselves, each committed at once: a reservation without its debit.
//
// So autocommit is off meanwhile, and the transaction has a savepoint. Before a COMMIT or a refusal, releasing the
// savepoint shows whether the transaction is still the one that was begun. After that no SELECT is run.
func beginGalera(ctx context.Context, db *sql.DB) (transaction, error) {
	tx, txn, err := beginMySQLOn(ctx, db, "SET autocommit = 0", "SET autocommit = 1")
	if err != nil {
		return txn, err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT latchkey"); err != nil {
		txn.release()
		return transaction{}, err
	}
	txn.checkOpen = func(ctx context.Context) error {
		_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT latchkey")
		if mysqlCode(err) == noSuchSavepoint {
			err = errors.Join(errRetry, err)
		}
		return err
	}
	commit := txn.commit
	txn.commit = func(ctx context.Context) error {
		if err := txn.checkOpen(ctx); err != nil {
			return errors.Join(errNotCommitted, err)
		}
		return commit(ctx)
	}
	return txn, nil
}

const noSuchSavepoint = 1305
