package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// creditAccount names an account of a reservation as it is stored. It has no limit: each debit brings its own.
type creditAccount struct {
	Token  string `json:"token,omitempty"`
	Meter  string `json:"meter,omitempty"`
	Period string `json:"period,omitempty"`
}

func (p creditAccount) compare(q creditAccount) int {
	return cmp.Or(cmp.Compare(p.Token, q.Token), cmp.Compare(p.Meter, q.Meter), cmp.Compare(p.Period, q.Period))
}

type debit struct {
	creditAccount
	of    latchkey.CreditAccount // as it was named
	index int                    // in the Reservation
}

func (d *debit) overLimit(left latchkey.Credits) error {
	return &latchkey.OverLimitError{Account: d.of, Left: max(left, 0)}
}

// Reserve implements latchkey.Store.
func (s *Store) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if r.Amount <= 0 || len(r.Accounts) == 0 {
		return latchkey.Reserved{}, mapError(ctx, "reserve",
			contractError(latchkey.ErrInvalid, "a reservation needs a positive amount and at least one account"))
	}
	debits := make([]debit, len(r.Accounts))
	for i, a := range r.Accounts {
		debits[i] = debit{creditAccount{a.TokenID, a.Meter, a.Period}, a, i}
		if !utf8.ValidString(a.TokenID) || !utf8.ValidString(a.Meter) || !utf8.ValidString(a.Period) ||
			!utf8.ValidString(a.CarryFrom) {
			return latchkey.Reserved{}, mapError(ctx, "reserve", contractError(latchkey.ErrInvalid, "the name of an account "+
				"is not valid UTF-8"))
		}
		if a.Carry > 0 && a.CarryFrom == a.Period {
			return latchkey.Reserved{}, mapError(ctx, "reserve", contractError(latchkey.ErrInvalid, "an account carries from "+
				"itself"))
		}
	}
	// Sorted: two reservations always take their locks in the same order.
	slices.SortFunc(debits, func(x, y debit) int { return x.compare(y.creditAccount) })
	accounts := make([]creditAccount, len(debits))
	for i, d := range debits {
		if accounts[i] = d.creditAccount; i > 0 && accounts[i] == accounts[i-1] {
			return latchkey.Reserved{}, mapError(ctx, "reserve", contractError(latchkey.ErrInvalid, "an account is named twice"))
		}
	}
	body, err := json.Marshal(accounts)
	if err != nil {
		return latchkey.Reserved{}, mapError(ctx, "reserve", contractError(latchkey.ErrInvalid, "%v", err))
	}
	answer := new(latchkey.Reserved)
	err = s.write(ctx, "reserve", func(t *tx) (err error) {
		*answer, err = t.reserve(r, debits, body)
		return err
	})
	if err != nil {
		return latchkey.Reserved{}, err // answer is not read: another goroutine may still write to it
	}
	return *answer, nil
}

// Balances implements latchkey.Store.
func (s *Store) Balances(ctx context.Context, owner string, accounts []latchkey.CreditAccount) (
	[]latchkey.Credits, error) {
	left := make([]latchkey.Credits, len(accounts))
	used := func(a *latchkey.CreditAccount, period string) (used latchkey.Credits, err error) {
		_, err = s.first(ctx, usedCredits, []any{owner, a.TokenID, a.Meter, period}, (*int64)(&used))
		return used, err
	}
	for i := range accounts {
		a := &accounts[i]
		if a.Carry > 0 && a.CarryFrom == a.Period {
			return nil, mapError(ctx, "read credits", contractError(latchkey.ErrInvalid, "an account carries from itself"))
		}
		if a.Limit <= 0 {
			continue
		}
		before := latchkey.Credits(0)
		if a.Carry > 0 {
			var err error
			if before, err = used(a, a.CarryFrom); err != nil {
				return nil, mapError(ctx, "read credits", err)
			}
		}
		now, err := used(a, a.Period)
		if err != nil {
			return nil, mapError(ctx, "read credits", err)
		}
		left[i] = max(a.Limit+carried(a, before)-now, 0)
	}
	return left, nil
}

func (t *tx) reserve(r latchkey.Reservation, debits []debit, body []byte) (latchkey.Reserved, error) {
	var answer latchkey.Reserved
	old, found, err := t.reservation(r.Owner, r.Key)
	if err != nil {
		return answer, err
	}
	if found {
		if old.lapsed || old.amount != r.Amount || string(old.body) != string(body) {
			return answer, contractError(latchkey.ErrConflict, "the key belongs to another reservation, or to one that lapsed")
		}
		answer.Left = old.left
		answer.Least, err = t.least(r.Owner, debits)
		return answer, err
	}
	// The lock prevents Erase from deleting the accounts while this reservation is added, and the reverse.
	if err := t.lockOwner(r.Owner, true); err != nil {
		return answer, err
	}
	answer.Left = math.MaxInt64
	for i := range debits {
		left, err := t.debit(r, &debits[i])
		if err != nil {
			return answer, err
		}
		if left < answer.Left {
			answer = latchkey.Reserved{Left: left, Least: debits[i].index}
		}
	}
	n, err := t.insert(`INSERT INTO latchkey_reservations (owner, id, amount, pledged, credit_left, until, lapsed, body)
		VALUES (?, ?, ?, 0, ?, ?, 0, ?)`, r.Owner, r.Key[:], int64(r.Amount), int64(answer.Left), micros(r.Until), body)
	if err == nil && n != 1 {
		err = errRetry // the same call runs twice at once
	}
	return answer, err
}

// Taken implements latchkey.Store.
func (s *Store) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	page []latchkey.TakenCredits, next string, err error,
) {
	const what = "list credits"
	at, ok, err := q.Start()
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	const columns = `SELECT token_id, meter, period, used, ends FROM latchkey_credits WHERE owner = ? AND `
	parts := []scanPart{{columns + `token_id >= ? ORDER BY token_id, meter, period LIMIT ?`, []any{owner, ""}}}
	if ok { // each begins at its place in the primary key
		parts = []scanPart{
			{columns + `token_id = ? AND meter = ? AND period > ? ORDER BY period LIMIT ?`,
				[]any{owner, at.TokenID, at.Meter, at.Period}},
			{columns + `token_id = ? AND meter > ? ORDER BY meter, period LIMIT ?`, []any{owner, at.TokenID, at.Meter}},
			{columns + `token_id > ? ORDER BY token_id, meter, period LIMIT ?`, []any{owner, at.TokenID}},
		}
	}
	return scanPage(ctx, s, what, parts, q.Size(),
		func(rows *sql.Rows) (c latchkey.TakenCredits, key string, keep bool, err error) {
			var used int64
			var ends sql.NullInt64
			err = rows.Scan(&c.TokenID, &c.Meter, &c.Period, &used, &ends)
			c.Taken, c.Ends = latchkey.Credits(used), fromMicros(ends)
			return c, q.Key(c), true, err
		})
}

// least returns the index of an account that has the least left.
func (t *tx) least(owner string, debits []debit) (index int, err error) {
	least := latchkey.Credits(math.MaxInt64)
	for i := range debits {
		d := &debits[i]
		limit, err := t.limit(owner, d)
		if err != nil {
			return 0, err
		}
		used, _, err := t.used(owner, d.creditAccount)
		if err != nil {
			return 0, err
		}
		if left := limit - used; left < least {
			least, index = left, d.index
		}
	}
	return index, nil
}

// limit returns the limit of an account with what it carries.
func (t *tx) limit(owner string, d *debit) (latchkey.Credits, error) {
	limit := d.of.Limit
	if limit <= 0 || d.of.Carry <= 0 {
		return max(limit, 0), nil
	}
	// Without a lock: what is given back there meanwhile is not carried yet.
	before := d.creditAccount
	before.Period = d.of.CarryFrom
	used, _, err := t.used(owner, before)
	return limit + carried(&d.of, used), err
}

// carried returns what an account carries from the period before, of which so much is taken.
func carried(a *latchkey.CreditAccount, taken latchkey.Credits) latchkey.Credits {
	if a.Carry <= 0 {
		return 0
	}
	return min(a.Carry, max(a.Limit-taken, 0), math.MaxInt64-a.Limit)
}

const usedCredits = `SELECT used FROM latchkey_credits WHERE owner = ? AND token_id = ? AND meter = ? AND period = ?`

// used returns what is taken from an account.
func (t *tx) used(owner string, a creditAccount) (used latchkey.Credits, found bool, err error) {
	found, err = t.row(usedCredits, []any{owner, a.Token, a.Meter, a.Period}, (*int64)(&used))
	return used, found, err
}

// debit takes the amount from one account, and returns what is left of it afterwards.
func (t *tx) debit(r latchkey.Reservation, d *debit) (left latchkey.Credits, err error) {
	limit, err := t.limit(r.Owner, d)
	if err != nil {
		return 0, err
	}
	if limit < r.Amount {
		used, _, err := t.used(r.Owner, d.creditAccount)
		if err != nil {
			return 0, err
		}
		return 0, d.overLimit(limit - used)
	}
	for range 3 {
		// One conditional statement, never a read and then a write. It cannot overflow: amount and limit are above 0.
		n, err := t.exec(`UPDATE latchkey_credits SET used = used + ?
			WHERE owner = ? AND token_id = ? AND meter = ? AND period = ? AND used <= ?`,
			int64(r.Amount), r.Owner, d.Token, d.Meter, d.Period, int64(limit-r.Amount))
		if err != nil {
			return 0, err
		}
		used, found, err := t.used(r.Owner, d.creditAccount)
		switch {
		case err != nil:
			return 0, err
		case n == 1 && !found:
			return 0, orRowMissing(nil, "an account of credits")
		case n == 1:
			return limit - used, nil
		case found && used > limit-r.Amount:
			return 0, d.overLimit(limit - used)
		case !found:
			_, err := t.insert(`INSERT INTO latchkey_credits (owner, token_id, meter, period, used, ends)
				VALUES (?, ?, ?, ?, 0, ?)`, r.Owner, d.Token, d.Meter, d.Period, micros(d.of.Ends))
			if err != nil {
				return 0, err
			}
		}
	}
	return 0, errRetry // other transactions keep changing it
}

type reservation struct {
	amount, pledged, left latchkey.Credits
	actual, until         sql.NullInt64
	lapsed                bool
	body                  []byte
}

func (t *tx) reservation(owner string, key [16]byte) (r reservation, found bool, err error) {
	var lapsed int64
	found, err = t.row(`SELECT amount, pledged, credit_left, actual, until, lapsed, body FROM latchkey_reservations
		WHERE owner = ? AND id = ?`+t.dialect().forUpdate, []any{owner, key[:]},
		(*int64)(&r.amount), (*int64)(&r.pledged), (*int64)(&r.left), &r.actual, &r.until, &lapsed, &r.body)
	r.lapsed = lapsed != 0
	return r, found, err
}

// Adjust implements latchkey.Store.
func (s *Store) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	if a.Amount <= 0 || a.Pledged < 0 || a.Pledged > a.Amount {
		return mapError(ctx, "adjust", contractError(latchkey.ErrInvalid, "the amount must be positive, and the pledged "+
			"amount between 0 and the amount"))
	}
	return s.write(ctx, "adjust", func(t *tx) error {
		r, found, err := t.reservation(owner, key)
		switch {
		case err != nil || !found:
			return orNotFound(err, "no such reservation")
		case r.actual.Valid || a.Pledged > r.amount:
			return contractError(latchkey.ErrConflict, "the reservation is settled or lapsed, or holds less than the pledged "+
				"amount")
		}
		old := r
		if a.Amount < r.amount {
			if err := t.refund(owner, r, r.amount-a.Amount); err != nil {
				return err
			}
			r.amount = a.Amount
		}
		r.pledged = min(max(r.pledged, a.Pledged), r.amount)
		until, ends := micros(a.Until).(int64)
		if r.until.Valid && (!ends || until > r.until.Int64) {
			r.until = sql.NullInt64{Int64: until, Valid: ends}
		}
		if r.amount == old.amount && r.pledged == old.pledged && r.until == old.until {
			return nil // MySQL would report that no row was touched
		}
		return t.execOne(`UPDATE latchkey_reservations SET pledged = ?, amount = ?, until = ? WHERE owner = ? AND id = ?`,
			int64(r.pledged), int64(r.amount), r.until, owner, key[:])
	})
}

// Settle implements latchkey.Store.
func (s *Store) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	return s.write(ctx, "settle", func(t *tx) error {
		r, found, err := t.reservation(owner, key)
		switch {
		case err != nil || !found:
			return orNotFound(err, "no such reservation")
		case actual < 0 || actual > r.amount:
			return contractError(latchkey.ErrInvalid, "the settled amount must be between 0 and the reserved amount")
		case r.actual.Valid && r.actual.Int64 == int64(actual):
			return nil
		case r.actual.Valid:
			return contractError(latchkey.ErrConflict, "the reservation is settled with another amount")
		}
		return t.settle(owner, key[:], r, actual, false)
	})
}

// settle refunds what a reservation took and did not spend.
func (t *tx) settle(owner string, key []byte, r reservation, actual latchkey.Credits, lapsed bool) error {
	if err := t.refund(owner, r, r.amount-actual); err != nil {
		return err
	}
	return t.execOne(`UPDATE latchkey_reservations SET actual = ?, lapsed = ? WHERE owner = ? AND id = ?`,
		int64(actual), boolInt(lapsed), owner, key)
}

// refund returns credits to every account of a reservation. A reservation that cannot be read refunds nothing: what it
// took counts as spent. Neither its end nor Purge needs its accounts.
func (t *tx) refund(owner string, r reservation, back latchkey.Credits) error {
	var accounts []creditAccount
	if back == 0 || strictjson.Unmarshal(r.body, &accounts) != nil {
		return nil
	}
	for _, p := range accounts {
		err := t.execOne(`UPDATE latchkey_credits SET used = used - ?
			WHERE owner = ? AND token_id = ? AND meter = ? AND period = ?`,
			int64(back), owner, p.Token, p.Meter, p.Period)
		if err != nil {
			return err
		}
	}
	return nil
}
