package world

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Querier is a pool or a transaction.
type Querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
}

// Walk goes through all tables and returns what contradicts itself there: halves of writes, records that nothing names,
// amounts that do not add up. It is for databases in which every token has a secret, and no reservation was forgotten.
// Of a pool it reads all in one transaction, so that writers may go on meanwhile.
func Walk(t testing.TB, db Querier) (wrong []string) {
	t.Helper()
	postgres := false
	if pool, ok := db.(*sql.DB); ok {
		postgres = fmt.Sprintf("%T", pool.Driver()) == "*stdlib.Driver"
		tx, err := pool.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		db = tx
	}
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	// Rows that lack what they name. None may be selected.
	for what, query := range map[string]string{
		"a token without a secret": `SELECT t.id FROM latchkey_tokens t WHERE NOT EXISTS (SELECT 1 FROM latchkey_secrets s
			WHERE s.owner = t.owner AND s.token_id = t.id)`,
		"a secret without its token": `SELECT s.token_id FROM latchkey_secrets s WHERE NOT EXISTS (SELECT 1
			FROM latchkey_tokens t WHERE t.owner = s.owner AND t.id = s.token_id)`,
		"a binding without its token": `SELECT r.token_id FROM latchkey_token_roles r WHERE NOT EXISTS (SELECT 1
			FROM latchkey_tokens t WHERE t.owner = r.owner AND t.id = r.token_id)`,
		"a binding to no role": `SELECT b.role_id FROM latchkey_token_roles b JOIN latchkey_tokens t
			ON t.owner = b.owner AND t.id = b.token_id WHERE t.parent = '' AND t.revoked IS NULL AND NOT EXISTS (SELECT 1
			FROM latchkey_roles r WHERE r.owner = b.owner AND r.id = b.role_id)`,
		"an inheritance of no role": `SELECT i.role_id FROM latchkey_role_inherits i WHERE NOT EXISTS (SELECT 1
			FROM latchkey_roles r WHERE r.owner = i.owner AND r.id = i.role_id)`,
		"an inheritance from no role": `SELECT i.inherits_id FROM latchkey_role_inherits i WHERE NOT EXISTS (SELECT 1
			FROM latchkey_roles r WHERE r.owner = i.owner AND r.id = i.inherits_id)`,
		"an event above its owner's last number": `SELECT e.action FROM latchkey_events e WHERE NOT EXISTS (SELECT 1
			FROM latchkey_event_seqs s WHERE s.owner = e.owner AND s.seq >= e.seq)`,
		"a number of an event that is not there": `SELECT s.owner FROM latchkey_event_seqs s WHERE s.seq <> (SELECT COUNT(*)
			FROM latchkey_events e WHERE e.owner = s.owner)`,
		"a change from beyond the epoch": `SELECT c.id FROM latchkey_changes c WHERE c.epoch > (SELECT epoch
			FROM latchkey_epoch)`,
		"a change that no write made": `SELECT c.id FROM latchkey_changes c WHERE NOT EXISTS (SELECT 1 FROM latchkey_writes w
			WHERE w.owner = c.owner AND w.at = c.at)`,
	} {
		for _, id := range Column(t, db, query) {
			report("%s: %s", what, id)
		}
	}
	if postgres {
		for _, owner := range Column(t, db, `SELECT owner FROM latchkey_pending
			UNION ALL SELECT owner FROM latchkey_commits`) {
			report("a change that has no number: of %s", owner)
		}
	}
	// Epochs without a gap from the floor to the last, and in each of them the numbers 0, 1, …
	var last, floor int64
	require.NoError(t, db.QueryRow(`SELECT epoch, floor FROM latchkey_epoch`).Scan(&last, &floor))
	epoch, next := floor, int64(0)
	each(t, db, `SELECT epoch, seq FROM latchkey_changes ORDER BY epoch, seq`, func(rows *sql.Rows) {
		var e, seq int64
		require.NoError(t, rows.Scan(&e, &seq))
		switch {
		case e <= floor: // what a purge has begun with, or a revocation it left
		case e == epoch && seq == next:
			next++
		case e == epoch+1 && seq == 0:
			epoch, next = e, 1
		default:
			report("after change %d.%d comes %d.%d", epoch, next-1, e, seq)
			epoch, next = e, seq+1
		}
	})
	if epoch != last {
		report("the epoch is %d, the last change's %d", last, epoch)
	}
	for _, broken := range append(Copies(t, db), accounts(t, db)...) {
		report("%s", broken)
	}
	return wrong
}

// Copies returns the secrets that hold another record of their token than the token has.
func Copies(t testing.TB, db Querier) (wrong []string) {
	each(t, db, `SELECT s.digest, s.head, s.found, t.id, t.used, t.record FROM latchkey_secrets s
		JOIN latchkey_tokens t ON t.owner = s.owner AND t.id = s.token_id`, func(rows *sql.Rows) {
		var digest, found, record []byte
		var head int
		var id string
		var used sql.NullInt64
		require.NoError(t, rows.Scan(&digest, &head, &found, &id, &used, &record))
		at := make([]byte, 8) // the last use, so that it compares as bytes; zeros are none
		if used.Valid {
			binary.BigEndian.PutUint64(at, uint64(used.Int64)^1<<63)
		}
		if head < 40 || len(found) < head || !bytes.Equal(found[:8], at) || !bytes.Equal(found[8:40], digest) ||
			!bytes.Equal(found[head:], record) {
			wrong = append(wrong, "a secret that holds another token than it is of: "+id)
		}
	})
	return wrong
}

// accounts returns the credit accounts whose use differs from what reservations took from them.
func accounts(t testing.TB, db Querier) (wrong []string) {
	type account struct{ owner, token, meter, period string }
	took := map[account]int64{}
	each(t, db, `SELECT owner, amount, pledged, actual, lapsed, body FROM latchkey_reservations`, func(rows *sql.Rows) {
		var owner string
		var amount, pledged, lapsed int64
		var actual sql.NullInt64
		var body []byte
		require.NoError(t, rows.Scan(&owner, &amount, &pledged, &actual, &lapsed, &body))
		if lapsed != 0 && actual.Int64 != pledged {
			wrong = append(wrong, "a reservation that lapsed, and not with what was pledged")
		}
		if actual.Valid {
			amount = actual.Int64
		}
		var charged []struct{ Token, Meter, Period string }
		require.NoError(t, json.Unmarshal(body, &charged))
		for _, a := range charged {
			took[account{owner, a.Token, a.Meter, a.Period}] += amount
		}
	})
	each(t, db, `SELECT owner, token_id, meter, period, used FROM latchkey_credits`, func(rows *sql.Rows) {
		var p account
		var used int64
		require.NoError(t, rows.Scan(&p.owner, &p.token, &p.meter, &p.period, &used))
		if used != took[p] {
			wrong = append(wrong, fmt.Sprintf("account %v: %d are used, and reservations took %d", p, used, took[p]))
		}
		delete(took, p)
	})
	for p, n := range took {
		wrong = append(wrong, fmt.Sprintf("account %v is gone, and reservations took %d", p, n))
	}
	return wrong
}

func each(t testing.TB, db Querier, query string, scan func(*sql.Rows)) {
	t.Helper()
	rows, err := db.Query(query)
	require.NoError(t, err, query)
	defer rows.Close()
	for rows.Next() {
		scan(rows)
	}
	require.NoError(t, rows.Err(), query)
}

// Column returns the text in the one column of a query.
func Column(t testing.TB, db Querier, query string) (out []string) {
	t.Helper()
	each(t, db, query, func(rows *sql.Rows) {
		var s string
		require.NoError(t, rows.Scan(&s))
		out = append(out, s)
	})
	return out
}
