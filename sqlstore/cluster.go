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
// which a read could miss what another node acknowledged, or a write stay on this one.
func checkMySQLNode(ctx context.Context, db *sql.DB, opts *Options) error {
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
		return err
	}
	switch set["read_only"] {
	case "OFF", "0":
	default: // a user with enough rights could write all the same
		return errors.New("read_only is on, as on a replica, which lags behind: connect to the server that is written to, " +
			"or use NewReplica for listings and usage alone")
	}
	if cmp.Or(set["tx_isolation"], set["transaction_isolation"]) == "READ-UNCOMMITTED" {
		return errors.New("the isolation of a session is READ UNCOMMITTED, and a read would see what is never committed: " +
			"take it out of the DSN, or off the server")
	}
	if set["wsrep_dirty_reads"] == "ON" {
		return errors.New("wsrep_dirty_reads is on: a node that lost the others would go on answering; turn it off")
	}
	if provider := set["wsrep_provider"]; provider == "" || provider == "none" {
		return nil
	}
	if set["wsrep_on"] != "ON" {
		return errors.New("wsrep_on is off: what is written here would reach no other node of the cluster; turn it on")
	}
	wait, err := strconv.ParseUint(set["wsrep_sync_wait"], 10, 64)
	if err != nil {
		return fmt.Errorf("wsrep_sync_wait is %q: %w", set["wsrep_sync_wait"], err)
	}
	if wait&1 == 0 && !opts.OnlyNode {
		return fmt.Errorf("wsrep_sync_wait is %d on a node of a Galera cluster, and a read would miss what another node has "+
			"acknowledged: add wsrep_sync_wait=1 to the DSN, or set Options.OnlyNode if no process uses another node", wait)
	}
	return nil
}

// errStandby is told by a dialect's check.
var errStandby = errors.New("this server is a standby, which lags behind: connect to the primary (where the DSN names " +
	"several hosts, target_session_attrs=read-write finds it), or use NewReplica for listings and usage alone")

// checkPostgresNode refuses a session that acknowledges what a crash takes back.
func checkPostgresNode(ctx context.Context, db *sql.DB, _ *Options) error {
	var commit string
	err := db.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit')`).Scan(&commit)
	if err == nil && commit == "off" {
		err = errors.New("synchronous_commit is off, and a crash would take back a revocation that was acknowledged: turn it " +
			"on, for the database or in the DSN")
	}
	return err
}
