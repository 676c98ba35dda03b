package latchkey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// collector is the other system. It may fail.
type collector struct {
	got  []string
	fail func(owner string, at int) error
}

func (c *collector) deliver(_ context.Context, events []latchkey.Event) error {
	if c.fail != nil {
		if err := c.fail(events[0].Owner, len(c.got)); err != nil {
			return err
		}
	}
	for _, e := range events {
		c.got = append(c.got, fmt.Sprint(e.Owner, " ", e.Seq))
	}
	return nil
}

func (c *collector) take() (got []string) {
	got, c.got = c.got, nil
	return got
}

func TestDeliver(t *testing.T) {
	w := newWorld(t)
	globex := w.keys.For("globex")
	for range 3 {
		w.key(readAll())
	}
	_, _, err := globex.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	var siem collector
	deliver := func() (int, error) { return w.keys.Deliver(w.ctx, "siem", siem.deliver) }

	n, err := deliver()
	w.ok(err)
	require.Equal(t, 4, n)
	require.Equal(t, []string{"acme 1", "acme 2", "acme 3", "globex 1"}, siem.take())
	n, err = deliver()
	w.ok(err)
	require.Zero(t, n, "nothing is new")
	require.Empty(t, siem.take())

	// What fails comes again, and holds up no other owner.
	w.key(readAll())
	_, _, err = globex.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	down := errors.New("the system is down")
	siem.fail = func(owner string, _ int) error {
		if owner == "acme" {
			return down
		}
		return nil
	}
	n, err = deliver()
	w.is(down, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"globex 2"}, siem.take())
	siem.fail = nil
	_, err = deliver()
	w.ok(err)
	require.Equal(t, []string{"acme 4"}, siem.take())

	// Another system has a cursor of its own, and Erase does not begin anew.
	var other collector
	_, err = w.keys.Deliver(w.ctx, "other", other.deliver)
	w.ok(err)
	require.Len(t, other.got, 6)
	w.ok(w.acme.Erase(w.ctx))
	_, err = deliver()
	w.ok(err)
	require.Equal(t, []string{"acme 5"}, siem.take(), "the event of the erasure")

	for _, name := range []string{"", strings.Repeat("x", 65), "\xff"} {
		_, err := w.keys.Deliver(w.ctx, name, siem.deliver)
		w.is(latchkey.ErrInvalid, err)
	}
}

// However a delivery is cut off, every event comes, and those of an owner in order.
func TestDeliverInPagesAfterCrashes(t *testing.T) {
	w := newWorld(t)
	token, _ := w.key(readAll())
	for i := range 250 {
		w.update(token, func(t *latchkey.Token) { t.Name = fmt.Sprint(i) })
	}
	calls := 0
	siem := collector{fail: func(string, int) error {
		if calls++; calls%2 == 0 {
			return errors.New("down")
		}
		return nil
	}}
	for range 10 {
		_, _ = w.keys.Deliver(w.ctx, "siem", siem.deliver)
	}
	require.Greater(t, calls, 3)
	require.Len(t, siem.got, 251)
	for i, e := range siem.got {
		require.Equal(t, fmt.Sprint("acme ", i+1), e)
	}
	// A crash between the delivery and the cursor: the events come again.
	w.update(token, func(t *latchkey.Token) { t.Name = "last" })
	siem.fail = nil
	siem.take()
	ctx, cancel := context.WithCancel(w.ctx)
	_, err := w.keys.Deliver(ctx, "siem", func(ctx context.Context, events []latchkey.Event) error {
		defer cancel()
		return siem.deliver(ctx, events)
	})
	w.is(latchkey.ErrUnavailable, err)
	_, err = w.keys.Deliver(w.ctx, "siem", siem.deliver)
	w.ok(err)
	require.Equal(t, []string{"acme 252", "acme 252"}, siem.got)
}

// endsAfter is a store that ends a context when a cursor has moved.
type endsAfter struct {
	latchkey.Store
	end func()
}

func (s *endsAfter) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	err := s.Store.Deliver(ctx, owner, cursor, seq)
	s.end()
	return err
}

func TestDeliverNeedsACursor(t *testing.T) {
	w := newWorld(t)
	w.key()
	for _, cursor := range []string{"", "a\x00", strings.Repeat("c", 300)} {
		n, err := w.keys.Deliver(w.ctx, cursor, func(context.Context, []latchkey.Event) error { return nil })
		require.ErrorIs(t, err, latchkey.ErrInvalid, "%q", cursor)
		require.NotContains(t, err.Error(), "not all events", "no store was asked")
		require.Zero(t, n)
	}
}

// A call that is ended before it came to all owners says so, also if nothing failed until then.
func TestDeliverThatIsEnded(t *testing.T) {
	w := newWorld(t)
	for _, owner := range []string{"a", "b", "c"} {
		_, _, err := w.keys.For(owner).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
	}
	ctx, end := context.WithCancel(w.ctx)
	defer end()
	var seen []string
	o := w.options()
	n, err := latchkey.New(&endsAfter{w.store, end}, &o).Deliver(ctx, "siem",
		func(_ context.Context, events []latchkey.Event) error {
			seen = append(seen, events[0].Owner)
			return nil
		})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, n)
	require.Len(t, seen, 1)
	n, err = w.keys.Deliver(w.ctx, "siem", func(_ context.Context, events []latchkey.Event) error {
		seen = append(seen, events[0].Owner)
		return nil
	})
	w.ok(err)
	require.Equal(t, 2, n)
	require.ElementsMatch(t, []string{"a", "b", "c"}, seen)
}

func TestDeliverAfterPurge(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(o *latchkey.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	token, _ := w.key(readAll())
	purge := func() {
		w.turn(time.Hour)
		_, err := w.store.Purge(w.ctx, latchkey.PurgePolicy{Now: w.now(), Expired: -1, Revoked: -1, Events: time.Minute}, 100)
		w.ok(err)
	}
	purge()
	w.update(token, func(t *latchkey.Token) { t.Name = "later" })
	var siem collector
	_, err := w.keys.Deliver(w.ctx, "siem", siem.deliver)
	w.ok(err)
	require.Equal(t, []string{"acme 2"}, siem.take())
	require.Contains(t, log.String(), "1 events of")
	// All that is left was purged: the owner is not looked at for ever.
	log.Reset()
	w.update(token, func(t *latchkey.Token) { t.Name = "and later" })
	purge()
	_, err = w.keys.Deliver(w.ctx, "siem", siem.deliver)
	w.ok(err)
	require.Contains(t, log.String(), "1 events of")
	page, _, err := w.store.Undelivered(w.ctx, latchkey.UndeliveredQuery{Cursor: "siem"})
	w.ok(err)
	require.Empty(t, page)
}

func TestDeliverOfSeveralFeeds(t *testing.T) {
	ctx := t.Context()
	first, second := &meddler{Store: memstore.New(nil)}, memstore.New(nil)
	keys := latchkey.New(storetest.NewFeeds(first, second), nil)
	owners := map[latchkey.FeedID]string{}
	for i := 0; len(owners) < 2; i++ {
		owner := fmt.Sprint("owner ", i)
		feed := storetest.NewFeeds(first, second).Locate(owner).Feed
		if owners[feed] == "" {
			owners[feed] = owner
			_, _, err := keys.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
		}
	}
	var siem collector
	undelivered := errors.New("unreadable")
	n, err := keys.Deliver(ctx, "siem", func(ctx context.Context, events []latchkey.Event) error {
		if events[0].Owner == owners[0] {
			return undelivered
		}
		return siem.deliver(ctx, events)
	})
	require.ErrorIs(t, err, undelivered)
	require.Equal(t, 1, n, "the other feed is delivered")
	n, err = keys.Deliver(ctx, "siem", siem.deliver)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, siem.got, 2)
}

// unlisted cannot say which owners have events.
type unlisted struct {
	latchkey.Store
	asked int
}

func (s *unlisted) Undelivered(context.Context, latchkey.UndeliveredQuery) ([]latchkey.Delivery, string, error) {
	if s.asked++; s.asked > 1 {
		return nil, "", nil
	}
	return nil, "", latchkey.ErrUnavailable
}

// A feed that cannot be asked is left for the next call, and holds up no other.
func TestDeliverWithoutOneOfSeveralFeeds(t *testing.T) {
	ctx := t.Context()
	down, up := &unlisted{Store: memstore.New(nil)}, memstore.New(nil)
	store := storetest.NewFeeds(down, up)
	keys := latchkey.New(store, nil)
	owner := ""
	for i := 0; owner == ""; i++ {
		if name := fmt.Sprint("owner ", i); store.Locate(name).Feed == store.Feeds()[1] {
			owner = name
		}
	}
	_, _, err := keys.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	var siem collector
	n, err := keys.Deliver(ctx, "siem", siem.deliver)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.ErrorContains(t, err, "latchkey: not all events were delivered")
	require.Equal(t, 1, n)
	require.Equal(t, []string{owner + " 1"}, siem.got)
	require.Equal(t, 1, down.asked, "it is not asked again at once")
}
