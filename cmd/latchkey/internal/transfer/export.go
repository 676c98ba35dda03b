package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
)

// ExportOptions say what [Export] writes.
type ExportOptions struct {
	Owners   iter.Seq2[string, error] // in byte order, each once
	Keyring  *latchkey.Keyring        // nil: the file does not tell whether the importer's keys are the same
	Now      time.Time
	NoEvents bool // leaves the audit trail out
	NoUsage  bool // leaves usage and refusals out
	// AllowChanges completes the file also if owners changed while they were read. Their copies may then lack the change.
	AllowChanges bool
	// Progress is told of each owner when it is done. Nil: nobody is.
	Progress func(owner string, so Summary)
}

// Summary says what was moved.
type Summary struct {
	Owners, Roles, Clients, Tokens, Secrets, Events, Usage int
	Credits                                                int // accounts of credits
	// Changed are owners that changed while they were read, 20 at most: see [Export]. Nil: none.
	Changed []string
}

const maxChanged = 20

// Export writes owners of a store to w. It reads page by page. A page of usage is one day.
//
// Where owners changed while they were read, their copies may mix two states, and lack the change, such as a
// revocation. The Summary names them, and Export returns an error that wraps latchkey.ErrConflict. With AllowChanges
// the file names them. A damaged record is a *latchkey.DamagedError, and ends the export: without it the copy
// might allow more. After an error the file is not complete, and no import takes it.
func Export(ctx context.Context, store latchkey.Store, w io.Writer, o ExportOptions) (Summary, error) {
	x := &exporter{store: store, w: newWriter(w), o: o, keys: map[uint32]bool{}}
	id, err := uuid.NewV7()
	if err != nil {
		return Summary{}, err
	}
	keys, err := checks(o.Keyring)
	if err != nil {
		return Summary{}, err
	}
	if err := x.w.write(head{"export", format, id.String(), o.Now.UTC(), keys}); err != nil {
		return Summary{}, err
	}
	for owner, err := range o.Owners {
		if err == nil {
			err = x.owner(ctx, owner)
		}
		if err != nil {
			return x.sum, err
		}
		if o.Progress != nil {
			o.Progress(owner, x.sum)
		}
	}
	if len(x.sum.Changed) > 0 && !o.AllowChanges {
		return x.sum, fmt.Errorf("%w: owners changed while they were read, so the copy could lack a revocation",
			latchkey.ErrConflict)
	}
	return x.sum, x.w.close(end{Keys: slices.Sorted(maps.Keys(x.keys)), Changed: x.sum.Changed})
}

type exporter struct {
	store latchkey.Store
	w     *writer
	o     ExportOptions
	sum   Summary
	keys  map[uint32]bool
}

func (x *exporter) owner(ctx context.Context, owner string) error {
	feed := x.store.Locate(owner).Feed
	before, err := x.store.Changes(ctx, feed, 0, 0)
	if err != nil {
		return err
	}
	record, err := x.store.Owner(ctx, owner)
	if err != nil {
		return err
	}
	if err := x.w.write(line{Owner: &record}); err != nil {
		return err
	}
	x.sum.Owners++
	parts := []func(context.Context, string) error{x.events, x.usage, x.credits, x.roles, x.clients, x.tokens}
	for _, part := range parts {
		if err := part(ctx, owner); err != nil {
			return fmt.Errorf("owner %q: %w", owner, err)
		}
	}
	changed, err := x.changed(ctx, feed, owner, before.Epoch)
	if err == nil && changed && len(x.sum.Changed) < maxChanged {
		x.sum.Changed = append(x.sum.Changed, owner)
	}
	return err
}

// changed reports whether an owner changed after an epoch. What cannot be known counts as changed.
func (x *exporter) changed(ctx context.Context, feed latchkey.FeedID, owner string, after uint64) (bool, error) {
	for {
		f, err := x.store.Changes(ctx, feed, after, 1000)
		if err != nil || f.Truncated {
			return true, err
		}
		for _, c := range f.Changes {
			if c.Owner == owner {
				return true, nil
			}
			after = c.Epoch
		}
		if len(f.Changes) == 0 {
			return f.Epoch < after, nil
		}
	}
}

func (x *exporter) events(ctx context.Context, owner string) error {
	if x.o.NoEvents {
		return nil
	}
	for q := (latchkey.EventQuery{Page: latchkey.Page{Limit: 1000}}); ; {
		page, next, err := x.store.Events(ctx, owner, q)
		if err != nil {
			return err
		}
		for i := range page {
			if err := x.w.write(line{Event: &page[i]}); err != nil {
				return err
			}
			x.sum.Events++
		}
		if q.After = next; next == "" {
			return nil
		}
	}
}

// usage writes usage day by day, so that no more than a day is in memory at once.
func (x *exporter) usage(ctx context.Context, owner string) error {
	if x.o.NoUsage {
		return nil
	}
	days, err := x.store.Usage(ctx, owner, latchkey.UsageQuery{By: []string{"day"}})
	if err != nil {
		return err
	}
	for _, day := range days {
		rows, err := usageOf(ctx, x.store, owner, day.Day)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := x.w.write(line{Usage: &rows[i]}); err != nil {
				return err
			}
			x.sum.Usage++
		}
	}
	return nil
}

// usageOf returns the rows of a day, or of a month that was added up.
func usageOf(ctx context.Context, store latchkey.Store, owner, day string) ([]latchkey.UsageRow, error) {
	q := latchkey.UsageQuery{From: day, To: day, By: []string{"day", "token", "client", "meter", "endpoint"}}
	rows, err := store.Usage(ctx, owner, q)
	// The first of a month selects the row of the whole month too.
	return slices.DeleteFunc(rows, func(r latchkey.UsageRow) bool { return r.Day != day }), err
}

func (x *exporter) credits(ctx context.Context, owner string) error {
	for q := (latchkey.TakenQuery{Page: latchkey.Page{Limit: 500}}); ; {
		page, next, err := x.store.Taken(ctx, owner, q)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Taken == 0 {
				continue
			}
			if err := x.w.write(line{Credits: &page[i]}); err != nil {
				return err
			}
			x.sum.Credits++
		}
		if q.After = next; next == "" {
			return nil
		}
	}
}

func (x *exporter) roles(ctx context.Context, owner string) error {
	return pages(func(p latchkey.Page) ([]latchkey.Role, error) {
		return x.store.Roles(ctx, owner, latchkey.RoleQuery{Page: p})
	}, func(r latchkey.Role) string { return r.ID }, func(list []latchkey.Role) error {
		for i := range list {
			if list[i].Damaged {
				return &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: list[i].ID}
			}
			if err := x.w.write(line{Role: &list[i]}); err != nil {
				return err
			}
			x.sum.Roles++
		}
		return nil
	})
}

func (x *exporter) clients(ctx context.Context, owner string) error {
	return pages(func(p latchkey.Page) ([]latchkey.Client, error) { return x.store.Clients(ctx, owner, p) },
		func(c latchkey.Client) string { return c.ID }, func(list []latchkey.Client) error {
			for i := range list {
				if err := x.w.write(line{Client: &list[i]}); err != nil {
					return err
				}
				x.sum.Clients++
			}
			return nil
		})
}

func (x *exporter) tokens(ctx context.Context, owner string) error {
	return pages(func(p latchkey.Page) ([]latchkey.Token, error) {
		return x.store.Tokens(ctx, owner, latchkey.TokenQuery{Page: p, Now: x.o.Now})
	}, func(t latchkey.Token) string { return t.ID }, func(list []latchkey.Token) error {
		for i := range list {
			if err := x.token(ctx, &list[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *exporter) token(ctx context.Context, t *latchkey.Token) error {
	if t.Damaged {
		return &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: t.Owner, ID: t.ID}
	}
	secrets, err := x.store.Secrets(ctx, t.Owner, t.ID)
	if errors.Is(err, latchkey.ErrNotFound) {
		return nil // it was deleted meanwhile, or purged
	}
	if err != nil {
		return err
	}
	l := line{Token: t}
	for _, s := range secrets {
		x.keys[s.KeyID] = true
		l.Secrets = append(l.Secrets, newSecret(s))
		x.sum.Secrets++
	}
	x.sum.Tokens++
	return x.w.write(l)
}

// pages calls f with each page of a listing.
func pages[T any](read func(latchkey.Page) ([]T, error), key func(T) string, f func([]T) error) error {
	for p := (latchkey.Page{Limit: 500}); ; {
		list, err := read(p)
		if err != nil {
			return err
		}
		if err := f(list); err != nil {
			return err
		}
		if len(list) < p.Size() {
			return nil
		}
		p.After = key(list[len(list)-1])
	}
}
