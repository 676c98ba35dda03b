package latchkey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/usage"
)

// Record reads the owner's own record. One that was never configured is Owner{ID: owner} with Version 0. Of a damaged
// record it returns what is left, with a [*DamagedError].
func (a Account) Record(ctx context.Context) (Owner, error) {
	c, err := a.beginReading(ctx)
	if err == nil {
		err = c.check(Read, "owner", "")
	}
	if err != nil {
		return Owner{}, err
	}
	return a.m.store.Owner(ctx, a.owner)
}

// Configure changes what holds for the whole account: its boundary, its off switch, its limits, its policy, its Extra,
// and NotBefore, which ends tokens at once. ID, Version and Since are for reading.
//
// NotBefore set to now, or to within the last two minutes, is mass revocation. Every token committed
// before the change was is refused from then on. Every token committed later works, whatever any clock said. A
// NotBefore further back ends the tokens whose Created is before it. Created is by the clock of the machine that made
// them, which was within a minute of the store's. A NotBefore later than now is [ErrInvalid], and one that stays the
// same ends nothing. Moving it back revives the tokens that were created since then. Configure returns [ErrUnavailable]
// for a new NotBefore while this machine's clock and the store's differ. Disabled needs no clock.
//
// Edit is called again if another writer came between. An error of edit is returned as it is. A damaged record is
// replaced wholly: edit gets what is left of it, and sets all that is to hold. What is left has no Limits, no Policy,
// and a Boundary that is empty and so lets nothing through.
//
// Only the host may change Boundary, Limits and Policy, and move NotBefore back: an actor gets a *[DeniedError].
func (a Account) Configure(ctx context.Context, edit func(*Owner) error) error {
	return retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Update, "owner", ""); err != nil {
			return err
		}
		old, err := a.ownerEvenDamaged(ctx)
		if err != nil {
			return err
		}
		if err := a.checkVersion(old.Version); err != nil {
			return err
		}
		o := old.Clone()
		o.Damaged = false
		if err := edit(&o); err != nil {
			return &editError{err}
		}
		o = o.Clone()
		if o.ID != old.ID || o.Version != old.Version || o.Since != old.Since {
			return fmt.Errorf("%w: Configure cannot change ID, Version or Since", ErrInvalid)
		}
		if err := o.Boundary.Validate(); err != nil {
			return err
		}
		check := a.m.checkSaved("")
		if err := check.changed("Boundary", old.Boundary, o.Boundary); err != nil {
			return err
		}
		if err := o.Limits.checkNew(); err != nil {
			return err
		}
		if err := o.Policy.check(); err != nil {
			return err
		}
		if !bytes.Equal(o.Extra, old.Extra) { // an Extra of an earlier version may not be JSON, and stays
			if err := checkExtra(o.Extra); err != nil {
				return err
			}
		}
		if err := checkTime(&o.NotBefore); err != nil {
			return err
		}
		if c.checked {
			if c.access.Test() {
				return &DeniedError{Action: Update, Resource: Path("latchkey", "owner")} // the record holds for live tokens too
			}
			if o.NotBefore.Before(old.NotBefore) {
				return &DeniedError{Action: Update, Resource: Path("latchkey", "owner")} // it would revive what was ended
			}
			kept, was := o, old
			kept.Disabled, kept.NotBefore = was.Disabled, was.NotBefore
			kept.Extra, was.Extra = nil, nil // an old one may not be JSON
			if string(auditJSON(kept)) != string(auditJSON(was)) {
				return &DeniedError{Action: Update, Resource: Path("latchkey", "owner")}
			}
		}
		if err := a.m.setSince(ctx, &old, &o); err != nil {
			return err
		}
		out := o
		out.Version++
		err = c.write(ctx, Write{OwnerRecord: &o},
			Event{Action: "owner.configure", Object: a.owner, Before: auditJSON(old), After: auditJSON(out)})
		if errors.Is(err, ErrExists) {
			return fmt.Errorf("%w: %w", ErrConflict, err) // another writer made the first record
		}
		if key := ownerRateKey(a.owner); err == nil && o.Limits.Rate == (Rate{}) {
			a.m.rates.Forget((*[16]byte)(&key))
		}
		if err == nil {
			check.saved(ctx)
		}
		return err
	})
}

// Erase removes everything of the owner: tokens, roles, clients, usage, its record and its audit trail, except for the
// event that records Erase. Only the host itself may call it: an actor gets a *[DeniedError].
func (a Account) Erase(ctx context.Context) error {
	if a.checked {
		return &DeniedError{Action: Delete, Resource: Path("latchkey", "owner")}
	}
	if err := a.m.counters.FlushOwner(ctx, a.owner); err != nil { // counts written later would come back after Erase
		return err
	}
	c := call{Account: a}
	return c.write(ctx, Write{Erase: true}, Event{Action: "owner.erase", Object: a.owner})
}

// Clients lists all clients that a token was issued or minted for, by id, each with the newest name given. The loop
// ends after an error.
func (a Account) Clients(ctx context.Context) iter.Seq2[Client, error] {
	return func(yield func(Client, error) bool) {
		c, err := a.beginReading(ctx)
		if err == nil {
			err = c.check(Read, "client", "")
		}
		if err != nil {
			yield(Client{}, err)
			return
		}
		pages(Page{}, func(p Page) ([]Client, error) { return a.m.store.Clients(ctx, a.owner, p) },
			func(c Client) string { return c.ID }, yield)
	}
}

// ClientsPage is one page of [Account.Clients].
func (a Account) ClientsPage(ctx context.Context, p Page) (Listing[Client], error) {
	c, err := a.beginReading(ctx)
	if err == nil {
		err = c.check(Read, "client", "")
	}
	if err != nil {
		return Listing[Client]{}, err
	}
	return listing(p, func(p Page) ([]Client, error) { return a.m.store.Clients(ctx, a.owner, p) },
		func(c Client) string { return c.ID }, func(Client) bool { return true })
}

// Client returns a client that tokens were issued or minted for, with the newest name given. It reads one row. It
// returns [ErrNotFound] if there was no such token. An actor needs read on "latchkey/client".
func (a Account) Client(ctx context.Context, id string) (Client, error) {
	c, err := a.beginReading(ctx)
	if err == nil {
		err = c.check(Read, "client", "")
	}
	if err != nil {
		return Client{}, err
	}
	if checkText("Client.ID", id, 1, maxClientID) != nil {
		return Client{}, ErrNotFound // a store takes no such id either
	}
	list, err := a.m.store.Clients(ctx, a.owner, Page{After: justBefore(id), Limit: 1})
	if err != nil {
		return Client{}, err
	}
	if len(list) == 0 || list[0].ID != id {
		return Client{}, ErrNotFound
	}
	return list[0], nil
}

// Events lists the audit trail, oldest first, or newest first with q.Reverse. It reads page by page as the loop goes
// on: Limit is the size of a page. Events that are written meanwhile are listed too, unless Reverse is set. The loop
// ends after an error. An actor needs read on "latchkey/event".
func (a Account) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c, err := a.beginReading(ctx)
		if err == nil {
			err = c.check(Read, "event", "")
		}
		for err == nil {
			var list []Event
			list, q.After, err = a.m.store.Events(ctx, a.owner, q)
			if err != nil {
				break
			}
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
			if q.After == "" {
				return
			}
		}
		yield(Event{}, err)
	}
}

// EventsPage is one page of [Account.Events]. It is one call of the store, which looks at some thousand events. Where
// few of these meet the query, the page may hold fewer events than Limit, or none, and yet have a Next. A query by
// Actor alone, by Object alone, or by neither has full pages.
func (a Account) EventsPage(ctx context.Context, q EventQuery) (Listing[Event], error) {
	c, err := a.beginReading(ctx)
	if err == nil {
		err = c.check(Read, "event", "")
	}
	if err != nil {
		return Listing[Event]{}, err
	}
	list, next, err := a.m.store.Events(ctx, a.owner, q)
	if err != nil {
		return Listing[Event]{}, err
	}
	return Listing[Event]{Items: append([]Event{}, list...), Next: next}, nil
}

// setSince sets o.Since to what a changed NotBefore means for tokens.
func (m *Manager) setSince(ctx context.Context, old, o *Owner) error {
	if o.NotBefore.Equal(old.NotBefore) {
		return nil
	}
	if o.NotBefore.IsZero() {
		o.Since = 0
		return nil
	}
	at, err := m.confirmTimeNow(ctx, o.ID)
	if err != nil {
		return err
	}
	now := fromMicros(m.creationTime(at))
	switch {
	case o.NotBefore.After(now):
		return fmt.Errorf("%w: NotBefore is in the future: tokens made until then would be refused. Set it to now",
			ErrInvalid)
	case now.Sub(o.NotBefore) <= nowTolerance:
		o.Since = old.Version + 1 // the Version that this record will have
	case o.NotBefore.Before(old.NotBefore):
		o.Since = 0
	}
	return nil
}

// ownerEvenDamaged is loadEvenDamaged for the owner's own record.
func (a Account) ownerEvenDamaged(ctx context.Context) (Owner, error) {
	o, err := a.m.store.Owner(ctx, a.owner)
	if isDamaged(err) && o.ID == a.owner && o.Version != 0 {
		return o, nil
	}
	return o, err
}

// justBefore returns a text below id, byte for byte, with no client id between them. Stores list by keys above one.
func justBefore(id string) string {
	last, size := utf8.DecodeLastRuneInString(id)
	id = id[:len(id)-size]
	switch last {
	case 1: // no id holds a NUL
		return id
	case 0xE000: // surrogates are not valid UTF-8
		last = 0xD800
	}
	return id + string(last-1) + strings.Repeat(string(utf8.MaxRune), maxClientID/utf8.UTFMax)
}

// Usage returns sums of what was counted, by the columns q names, with all that this process has counted so far. The
// zero query is one sum of everything. Refusals are not in it: see [Account.RefusalReport]. The actor needs read on
// "latchkey/usage". It returns [ErrInvalid] for an unknown column, and for a From or To that is no day (2006-01-02).
func (a Account) Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	q.ExceptMeters = append(slices.Clone(q.ExceptMeters), usage.RefusedMeter)
	return a.usage(ctx, q)
}

// usage is Usage with refusals.
func (a Account) usage(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	c, err := a.beginReading(ctx)
	if err == nil {
		err = c.check(Read, "usage", "")
	}
	if err != nil {
		return nil, err
	}
	for _, day := range []string{q.From, q.To} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return nil, fmt.Errorf("%w: %q is no day: write 2006-01-02", ErrInvalid, day)
		}
	}
	if err := a.m.counters.FlushOwner(ctx, a.owner); err != nil {
		return nil, err
	}
	return a.m.store.Usage(ctx, a.owner, q)
}

// RefusalQuery selects what [Account.RefusalReport] shows. The zero query is everything.
type RefusalQuery struct {
	TokenIDs []string // empty: all tokens
	From, To string   // days (2006-01-02), both included, as in [UsageQuery]; "": open
	// By is what the counts are told apart by, in their order: any of "token", "reason" and "day". None: all three, by
	// token, day and reason.
	By []string
}

// RefusalCount is how often a token was refused. What By does not name is "".
type RefusalCount struct {
	TokenID string `json:"token_id,omitempty"`
	Reason  string `json:"reason,omitempty"` // as in [Refusal].Reason
	Day     string `json:"day,omitempty"`    // 2006-01-02 in UTC; 2006-01 for what Purge has added up
	Count   int64  `json:"count"`
}

// RefusalReport returns how often tokens of the owner were refused, by token, reason and day: what customers ask about,
// "since when does my key not work, and why". It counts what Observer.Refused is called for, of all processes and of
// tokens, not of Assumed callers. Texts that are no token are not counted, because nobody knows whose they would be.
// [Account.Refusals] tells why tokens would be refused now.
//
// The counts are gathered and written like those of [Access.Count], and as exact. A flood of refusals costs one row per
// token, reason and second at most, and never takes more than half of the room that all counts have. Tokens that are
// gone are shown by their id. With Options.NoRefusalReport nothing is added.
//
// The actor needs read on "latchkey/usage". RefusalReport returns [ErrInvalid] as [Account.Usage] does.
func (a Account) RefusalReport(ctx context.Context, q RefusalQuery) ([]RefusalCount, error) {
	by := q.By
	if len(by) == 0 {
		by = []string{"token", "day", "reason"}
	}
	u := UsageQuery{TokenIDs: q.TokenIDs, Meters: []string{usage.RefusedMeter}, From: q.From, To: q.To}
	for _, column := range by {
		switch column {
		case "reason":
			column = "endpoint"
		case "token", "day":
		default:
			return nil, fmt.Errorf("%w: cannot group refusals by %q: name token, reason or day", ErrInvalid, column)
		}
		u.By = append(u.By, column)
	}
	rows, err := a.usage(ctx, u)
	if err != nil {
		return nil, err
	}
	out := make([]RefusalCount, len(rows))
	for i, r := range rows {
		out[i] = RefusalCount{TokenID: r.TokenID, Reason: r.Endpoint, Day: r.Day, Count: r.Count}
	}
	return out, nil
}

// UsageTotal returns the credits that were counted as usage in a calendar month in UTC ("2026-11"), for a token, or for
// all of the owner's if tokenID is "", on one meter, or on all if meter is "". It is a sum of [Account.Usage], not the
// state of a quota. What is reserved and not settled is not in it, and what a minted token spent is its own, not its
// parent's. The actor needs read on "latchkey/usage".
func (a Account) UsageTotal(ctx context.Context, tokenID, meter, month string) (Credits, error) {
	first, err := time.Parse("2006-01", month)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no month: write 2006-01", ErrInvalid, month)
	}
	q := UsageQuery{From: first.Format(time.DateOnly), To: first.AddDate(0, 1, -1).Format(time.DateOnly)}
	if tokenID != "" {
		q.TokenIDs = []string{tokenID}
	}
	if meter != "" {
		q.Meters = []string{meter}
	}
	rows, err := a.Usage(ctx, q)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Credits, nil
}
