package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/latchkey-go/latchkey"
)

// takenCredits reads what the store has taken of the accounts of an owner, in the order of the file, page by page.
type takenCredits struct {
	page []latchkey.TakenCredits
	next string
	read bool // the first page
}

// of returns how much is taken of an account. It must be asked in order.
func (t *takenCredits) of(ctx context.Context, store latchkey.Store, owner string, c latchkey.TakenCredits) (
	latchkey.Credits, error) {
	q := latchkey.TakenQuery{Page: latchkey.Page{Limit: 500}}
	for {
		for len(t.page) > 0 {
			switch order := q.Compare(t.page[0], c); {
			case order == 0:
				return t.page[0].Taken, nil
			case order > 0:
				return 0, nil
			}
			t.page = t.page[1:]
		}
		if t.read && t.next == "" {
			return 0, nil
		}
		q.After, t.read = t.next, true
		var err error
		if t.page, t.next, err = store.Taken(ctx, owner, q); err != nil {
			return 0, err
		}
	}
}

// What a reservation of an import lapses after. One that was not settled by then is made anew by the next import.
const takenFor = 24 * time.Hour

// take takes from an account what the store lacks of it: all, but after an interruption. It reserves and settles. If an
// import ends between the two, the next one settles, by the same key.
func (m *importer) take(c latchkey.TakenCredits) error {
	have, err := m.taken.of(m.ctx, m.store, m.owner.ID, c)
	if err != nil {
		return err
	}
	const tries = 8 // each import that was interrupted for longer than a reservation lasts takes one
	for try := range tries {
		key := m.creditKey(c, try)
		if have < c.Taken {
			_, err := m.store.Reserve(m.ctx, latchkey.Reservation{Owner: m.owner.ID, Key: key, Amount: c.Taken - have,
				Until: m.o.Now().Add(takenFor), Accounts: []latchkey.CreditAccount{{TokenID: c.TokenID, Meter: c.Meter,
					Period: c.Period, Limit: math.MaxInt64, Ends: c.Ends}}})
			if errors.Is(err, latchkey.ErrConflict) { // it lapsed
				continue
			}
			if err != nil {
				return err
			}
		}
		amount := c.Taken
		if have < c.Taken {
			amount -= have
		}
		err := settled(func() error { return m.store.Settle(m.ctx, m.owner.ID, key, amount) })
		switch {
		case err == nil, have >= c.Taken && errors.Is(err, latchkey.ErrNotFound): // settled, and forgotten since
			return nil
		case have >= c.Taken && (errors.Is(err, latchkey.ErrConflict) || errors.Is(err, latchkey.ErrInvalid)):
			continue // an earlier one, which lapsed
		}
		return err
	}
	return nil
}

// creditKey returns the key of the reservation for an account.
func (m *importer) creditKey(c latchkey.TakenCredits, try int) (key [16]byte) {
	text, err := json.Marshal([]any{"import", m.export, m.owner.ID, c.TokenID, c.Meter, c.Period, try})
	if err != nil {
		panic("latchkey: " + err.Error()) // texts and a number
	}
	sum := sha256.Sum256(text)
	copy(key[:], sum[:])
	return key
}
