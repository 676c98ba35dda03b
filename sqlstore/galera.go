package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// What a node of a Galera cluster says, and what it means here:
//
//	1213  another node's transaction was first, or a neighbour's: undone, at a COMMIT too. Tried again.
//	1205  a row that others hold did not come free in time. Tried again. Of a read: what wsrep_sync_wait waits for did not
//	      come, or cannot, for the others are lost. Unavailable.
//	1020  a row changed since it was read. Tried again.
//	1047  the node is not, or no longer, part of the majority: nothing was run. Unavailable.
//	1180  the cluster fell apart while the node was committing. The others may have it: the outcome is not known.
const galeraNotReady = 1047

// checkMySQLNode refuses a replica, a session that reads what is not committed, and one on a node of a Galera cluster in
// which a read could miss what another node acknowledged, or a write stay on this one. It says whether there is a cluster.
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
	default: // a user with enough rights could write all the same
		return false, errors.New("read_only is on, as on a replica, which lags behind: connect to the server that is written to, " +
			"or use NewReplica for listings and usage alone")
	}
	if cmp.Or(set["tx_isolation"], set["transaction_isolation"]) == "READ-UNCOMMITTED" {
		return false, errors.New("the isolation of a session is READ UNCOMMITTED, and a read would see what is never committed: " +
			"take it out of the DSN, or off the server")
	}
	if set["wsrep_dirty_reads"] == "ON" {
		return false, errors.New("wsrep_dirty_reads is on: a node that lost the others would go on answering; turn it off")
	}
	if provider := set["wsrep_provider"]; provider == "" || provider == "none" {
		return false, nil
	}
	if set["wsrep_on"] != "ON" {
		return false, errors.New("wsrep_on is off: what is written here would reach no other node of the cluster; turn it on")
	}
	wait, err := strconv.ParseUint(set["wsrep_sync_wait"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("wsrep_sync_wait is %q: %w", set["wsrep_sync_wait"], err)
	}
	if wait&1 == 0 && !opts.OnlyNode {
		return false, fmt.Errorf("wsrep_sync_wait is %d on a node of a Galera cluster, and a read would miss what another node has "+
			"acknowledged: add wsrep_sync_wait=1 to the DSN, or set Options.OnlyNode if no process uses another node", wait)
	}
	return true, nil
}

// beginGalera is beginMySQL on a node of a cluster. There the transaction of another node may end one of ours at any
// moment. Mostly the next answer says so; when a SELECT has just sent its rows none does (seen on MariaDB 10.11), and what
// follows would be run by itself, each statement for good: a reservation without its debit. So autocommit is off meanwhile,
// and a savepoint that should still be there tells, before the COMMIT or a refusal, that the transaction is the one that was
// begun. From then on there is no SELECT any more.
func beginGalera(ctx context.Context, db *sql.DB) (transaction, error) {
	tx, on, err := beginMySQLOn(ctx, db, "SET autocommit = 0", "SET autocommit = 1")
	if err != nil {
		return on, err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT latchkey"); err != nil {
		on.release()
		return transaction{}, err
	}
	on.checkOpen = func(ctx context.Context) error {
		_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT latchkey")
		if mysqlCode(err) == noSuchSavepoint {
			err = errors.Join(errRetry, err)
		}
		return err
	}
	commit := on.commit
	on.commit = func(ctx context.Context) error {
		if err := on.checkOpen(ctx); err != nil {
			return errors.Join(errNotCommitted, err)
		}
		return commit(ctx)
	}
	return on, nil
}

const noSuchSavepoint = 1305
