package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
)

// ImportOptions say how [Import] works.
type ImportOptions struct {
	Keyring  *latchkey.Keyring // must hold the keys that secrets were made under
	Now      func() time.Time
	Actor    string                         // Event.Actor of the events that tell of the import
	Progress func(owner string, so Summary) // told of each owner when it is done; nil: nobody is
}

// Import writes the owners of a file that [Check] has passed into a store. It refuses an owner of which the store has
// anything. An owner stays switched off until all of it is there. Versions begin anew, and so do the numbers of events;
// what mass revocation ended stays ended. Events are outside the chain of the audit trail, which begins behind them.
//
// The audit trail of each owner gets an event "owner.import" before everything else, and one when the owner is
// complete. By these an Import of the same file goes on where one was interrupted, and skips owners that are complete.
func Import(ctx context.Context, store latchkey.Store, r io.Reader, o ImportOptions) (Summary, error) {
	m := &importer{ctx: ctx, store: store, o: o}
	err := read(ctx, r, o.Keyring, func(h head) { m.export = h.ID }, m.line)
	return m.sum, err
}

// How much a write holds at most. The limit of bytes is for events, which hold records.
const (
	maxBatch      = 200
	maxBatchBytes = 1 << 20
)

type importer struct {
	ctx    context.Context
	store  latchkey.Store
	export string // the id of the file
	o      ImportOptions
	sum    Summary

	owner  *latchkey.Owner // the one that is being imported; nil: none
	done   bool            // the store has all of it
	skip   int             // events that the store has
	lastID string          // the last token that the store has
	count  Summary         // of this owner

	w     latchkey.Write // what is to be written next
	n     int            // records in it
	bytes int
	last  []latchkey.LastUsed
	usage usageDay
	taken takenCredits
}

// usageDay is the counts of one day.
type usageDay struct {
	day  string
	have map[latchkey.UsageRow]latchkey.UsageRow // by all but the counts
	rows []latchkey.UsageRow
}

func (m *importer) fail(err error) error {
	if err == nil || m.owner == nil {
		return err
	}
	return fmt.Errorf("owner %q: %w", m.owner.ID, err)
}

func (m *importer) line(l *line) error {
	switch {
	case l.Owner != nil:
		if err := m.finish(); err != nil {
			return m.fail(err)
		}
		m.owner = l.Owner
		return m.fail(m.begin())
	case l.End != nil:
		return m.fail(m.finish())
	case m.done:
		return nil
	}
	return m.fail(m.record(l))
}

// marker is what an "owner.import" event holds.
type marker struct {
	Export   string `json:"export"`
	Complete bool   `json:"complete"`
}

const importAction = "owner.import"

func (m *importer) mark(complete bool, reason string) latchkey.Event {
	text, err := json.Marshal(marker{m.export, complete})
	if err != nil {
		panic("latchkey: " + err.Error()) // it holds a text and a bool
	}
	return latchkey.Event{At: m.o.Now().UTC(), Actor: m.o.Actor, Action: importAction, Object: m.owner.ID,
		Reason: reason, After: text}
}

// begin finds how much of the owner the store has, and writes its record if it has nothing.
func (m *importer) begin() error {
	id := m.owner.ID
	m.done, m.skip, m.lastID, m.count, m.usage, m.taken = false, 0, "", Summary{}, usageDay{}, takenCredits{}
	begun, complete, err := m.markers()
	if err != nil {
		return err
	}
	if m.done = complete; complete {
		return nil
	}
	if begun == 0 {
		if err := m.requireNothing(); err != nil {
			return err
		}
		o := m.owner.Clone()
		o.Version, o.Disabled, o.Since = 0, true, min(o.Since, 1)
		return m.write(latchkey.Write{OwnerRecord: &o, Events: []latchkey.Event{m.mark(false, "the import was begun")}})
	}
	record, err := m.store.Owner(m.ctx, id)
	if err != nil {
		return err
	}
	if record.Version != 1 || !record.Disabled {
		return fmt.Errorf("%w: an import of this file was begun, and the owner's record has changed since: erase the owner, "+
			"and import it anew", latchkey.ErrConflict)
	}
	newest, _, err := m.store.Events(m.ctx, id, latchkey.EventQuery{Page: latchkey.Page{Limit: 1}, Reverse: true})
	if err != nil {
		return err
	}
	m.skip = int(newest[0].Seq - begun)
	tokens, err := m.store.Tokens(m.ctx, id, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1}, Reverse: true,
		Now: m.o.Now()})
	if err == nil && len(tokens) > 0 {
		m.lastID = tokens[0].ID
	}
	return err
}

// markers returns the Seq of the event by which an import of this file was begun, 0 if there is none, and whether one
// says that it is complete.
func (m *importer) markers() (begun uint64, complete bool, err error) {
	q := latchkey.EventQuery{Object: m.owner.ID, Action: importAction}
	for {
		page, next, err := m.store.Events(m.ctx, m.owner.ID, q)
		if err != nil {
			return 0, false, err
		}
		for _, e := range page {
			var is marker
			if json.Unmarshal(e.After, &is) != nil || is.Export != m.export {
				continue // of an earlier move, which the file holds
			}
			if complete = complete || is.Complete; begun == 0 {
				begun = e.Seq
			}
		}
		if q.After = next; next == "" {
			return begun, complete, nil
		}
	}
}

// requireNothing returns an error if the store has anything of the owner but the event of its erasure.
func (m *importer) requireNothing() error {
	id := m.owner.ID
	record, err := m.store.Owner(m.ctx, id)
	if err != nil {
		return err
	}
	one := latchkey.Page{Limit: 1}
	tokens, err := m.store.Tokens(m.ctx, id, latchkey.TokenQuery{Page: one, Now: m.o.Now()})
	if err != nil {
		return err
	}
	roles, err := m.store.Roles(m.ctx, id, latchkey.RoleQuery{Page: one})
	if err != nil {
		return err
	}
	clients, err := m.store.Clients(m.ctx, id, one)
	if err != nil {
		return err
	}
	days, err := m.store.Usage(m.ctx, id, latchkey.UsageQuery{By: []string{"day"}})
	if err != nil {
		return err
	}
	credits, _, err := m.store.Taken(m.ctx, id, latchkey.TakenQuery{Page: one})
	if err != nil {
		return err
	}
	events, _, err := m.store.Events(m.ctx, id, latchkey.EventQuery{Page: one, Reverse: true})
	if err != nil {
		return err
	}
	if record.Version != 0 || len(tokens)+len(roles)+len(clients)+len(days)+len(credits) > 0 ||
		len(events) > 0 && events[0].Action != "owner.erase" {
		return fmt.Errorf("%w: the store has records of it already, and an import overwrites nothing", latchkey.ErrExists)
	}
	return nil
}

// record adds a line to what is written next.
func (m *importer) record(l *line) error {
	if l.Usage == nil {
		if err := m.flushUsage(); err != nil {
			return err
		}
	}
	switch {
	case l.Event != nil:
		if m.count.Events++; m.count.Events <= m.skip {
			return nil
		}
		e := *l.Event
		e.Seq, e.Owner = 0, ""
		e.Prev, e.Hash = nil, nil // they are of the place that the event had in the other store
		m.w.Silent, m.w.Events = true, append(m.w.Events, e)
		return m.added(len(e.Before) + len(e.After))
	case l.Usage != nil:
		return m.addUsage(*l.Usage)
	}
	if m.count.Credits+m.count.Roles+m.count.Clients+m.count.Tokens == 0 {
		if err := m.afterEvents(); err != nil {
			return err
		}
	}
	switch {
	case l.Credits != nil:
		m.count.Credits++
		return m.take(*l.Credits)
	case l.Role != nil:
		m.count.Roles++
		return m.addRole(*l.Role)
	case l.Client != nil:
		if m.count.Clients++; !m.w.Silent {
			if err := m.flush(); err != nil {
				return err
			}
		}
		m.w.Silent, m.w.Clients = true, append(m.w.Clients, *l.Client)
		return m.added(0)
	}
	return m.addToken(l)
}

// afterEvents writes the events that are left. The store must have no more of them than the file.
func (m *importer) afterEvents() error {
	if m.count.Events < m.skip {
		return fmt.Errorf("%w: an import of this file was begun, and the owner's audit trail has gone on since: erase the "+
			"owner, and import it anew", latchkey.ErrConflict)
	}
	return m.flush()
}

func (m *importer) addRole(r latchkey.Role) error {
	known, err := m.store.Roles(m.ctx, m.owner.ID, latchkey.RoleQuery{IDs: []string{r.ID}})
	if err != nil || len(known) > 0 { // only of an import that was interrupted
		return err
	}
	r.Version = 0
	m.w.Roles = append(m.w.Roles, r)
	return m.added(0)
}

func (m *importer) addToken(l *line) error {
	m.count.Tokens++
	m.count.Secrets += len(l.Secrets)
	if !m.w.Silent || len(m.w.Events)+len(m.w.Clients) > 0 {
		if err := m.flush(); err != nil {
			return err
		}
	}
	t := *l.Token
	var add []latchkey.SecretChange
	for i := range l.Secrets {
		r, err := l.Secrets[i].record()
		if err != nil {
			return err
		}
		if !r.Used.IsZero() {
			m.last = append(m.last, latchkey.LastUsed{Owner: t.Owner, TokenID: t.ID, At: r.Used, Digest: r.Digest,
				From: r.UsedFrom})
		}
		add = append(add, latchkey.SecretChange{TokenID: t.ID, Add: &r})
	}
	if t.ID > m.lastID {
		// The record begins anew with Version 1: what was committed before Since is 0, and everything else 1.
		if t.OwnerVersion < m.owner.Since {
			t.OwnerVersion = 0
		} else {
			t.OwnerVersion = 1
		}
		t.Version = 0
		m.w.Tokens, m.w.Secrets = append(m.w.Tokens, t), append(m.w.Secrets, add...)
	}
	m.w.Silent = true
	return m.added(0)
}

// added counts what was added, and writes if it is enough.
func (m *importer) added(bytes int) error {
	m.n, m.bytes = m.n+1, m.bytes+bytes
	if m.n < maxBatch && m.bytes < maxBatchBytes {
		return nil
	}
	return m.flush()
}

// flush writes what was added.
func (m *importer) flush() error {
	w, last := m.w, m.last
	m.w, m.last, m.n, m.bytes = latchkey.Write{}, nil, 0, 0
	if len(w.Tokens)+len(w.Roles)+len(w.Clients)+len(w.Events) > 0 {
		err := m.write(w)
		if errors.Is(err, latchkey.ErrExists) && len(w.Tokens) > 0 {
			return fmt.Errorf("one of the tokens %s to %s, or a secret of one, is in the store already, maybe of another "+
				"owner: %w", w.Tokens[0].ID, w.Tokens[len(w.Tokens)-1].ID, err)
		}
		if err != nil {
			return err
		}
	}
	if len(last) == 0 {
		return nil
	}
	return m.addBatch(latchkey.UsageBatch{Last: last})
}

// write writes, and settles an unknown outcome.
func (m *importer) write(w latchkey.Write) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	w.ID, w.Owner, w.At = id, m.owner.ID, m.o.Now().UTC()
	return settled(func() error { return m.store.Write(m.ctx, w) })
}

func (m *importer) addBatch(b latchkey.UsageBatch) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	b.ID, b.At = id, m.o.Now().UTC()
	return settled(func() error { return m.store.AddUsage(m.ctx, b) })
}

// settled repeats a write whose outcome is unknown: a store applies it once.
func settled(write func() error) (err error) {
	for range 5 {
		if err = write(); !errors.Is(err, latchkey.ErrUnknownOutcome) {
			return err
		}
	}
	return err
}

// addUsage adds what the store lacks of a count: all of it, but after an interruption.
func (m *importer) addUsage(r latchkey.UsageRow) error {
	if err := m.afterEvents(); err != nil {
		return err
	}
	m.count.Usage++
	if r.Day != m.usage.day {
		if err := m.flushUsage(); err != nil {
			return err
		}
		rows, err := usageOf(m.ctx, m.store, m.owner.ID, r.Day)
		if err != nil {
			return err
		}
		m.usage = usageDay{day: r.Day, have: map[latchkey.UsageRow]latchkey.UsageRow{}}
		for _, have := range rows {
			m.usage.have[uncounted(have)] = have
		}
	}
	have := m.usage.have[uncounted(r)]
	r.Count, r.Credits = max(r.Count-have.Count, 0), max(r.Credits-have.Credits, 0)
	if r.Count == 0 && r.Credits == 0 {
		return nil
	}
	if m.usage.rows = append(m.usage.rows, r); len(m.usage.rows) < maxBatch {
		return nil
	}
	return m.flushUsage()
}

// uncounted returns a row without its counts.
func uncounted(r latchkey.UsageRow) latchkey.UsageRow {
	r.Count, r.Credits = 0, 0
	return r
}

func (m *importer) flushUsage() error {
	rows := m.usage.rows
	if m.usage.rows = nil; len(rows) == 0 {
		return nil
	}
	return m.addBatch(latchkey.UsageBatch{Rows: rows})
}

// finish completes the owner: it checks that all can be read, and switches the owner on unless it was off.
func (m *importer) finish() error {
	if m.owner == nil {
		return nil
	}
	id := m.owner.ID
	m.sum.Owners++
	if m.done {
		m.owner = nil
		return nil
	}
	if err := errors.Join(m.afterEvents(), m.flushUsage()); err != nil {
		return err
	}
	if err := m.readBack(); err != nil {
		return err
	}
	o := m.owner.Clone()
	o.Version, o.Since = 1, min(o.Since, 1)
	c := m.count
	err := m.write(latchkey.Write{OwnerRecord: &o, Events: []latchkey.Event{m.mark(true, fmt.Sprintf(
		"the import is complete: %d tokens, %d roles, %d clients, %d events", c.Tokens, c.Roles, c.Clients, c.Events))}})
	if err != nil {
		return err
	}
	m.sum.Roles, m.sum.Clients, m.sum.Tokens = m.sum.Roles+c.Roles, m.sum.Clients+c.Clients, m.sum.Tokens+c.Tokens
	m.sum.Secrets, m.sum.Events, m.sum.Usage = m.sum.Secrets+c.Secrets, m.sum.Events+c.Events, m.sum.Usage+c.Usage
	m.sum.Credits += c.Credits
	if m.o.Progress != nil {
		m.o.Progress(id, m.sum)
	}
	m.owner = nil
	return nil
}

// readBack returns an error unless the store has as many tokens and roles as the file, and can read each.
func (m *importer) readBack() error {
	id, roles, tokens := m.owner.ID, 0, 0
	err := pages(func(p latchkey.Page) ([]latchkey.Role, error) {
		return m.store.Roles(m.ctx, id, latchkey.RoleQuery{Page: p})
	}, func(r latchkey.Role) string { return r.ID }, func(list []latchkey.Role) error {
		roles += len(list)
		for _, r := range list {
			if r.Damaged {
				return &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: id, ID: r.ID}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = pages(func(p latchkey.Page) ([]latchkey.Token, error) {
		return m.store.Tokens(m.ctx, id, latchkey.TokenQuery{Page: p, Now: m.o.Now()})
	}, func(t latchkey.Token) string { return t.ID }, func(list []latchkey.Token) error {
		tokens += len(list)
		for _, t := range list {
			if t.Damaged {
				return &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: id, ID: t.ID}
			}
		}
		return nil
	})
	if err == nil && (roles != m.count.Roles || tokens != m.count.Tokens) {
		err = fmt.Errorf("%w: the store has %d tokens and %d roles of it, and the file %d and %d: something else wrote "+
			"while it was imported. Erase the owner, and import it anew", latchkey.ErrConflict, tokens, roles, m.count.Tokens,
			m.count.Roles)
	}
	return err
}
