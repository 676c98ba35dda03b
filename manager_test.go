package latchkey_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestNewPanicsOnInvalidOptions(t *testing.T) {
	store := memstore.New(nil)
	for say, f := range map[string]func(){
		"New needs a Store":     func() { latchkey.New(nil, nil) },
		"1 to 8 characters":     func() { latchkey.New(store, &latchkey.Options{Prefix: "ninechars"}) },
		"a-z and 0-9":           func() { latchkey.New(store, &latchkey.Options{Prefix: "A_"}) },
		"MaxStale is negative":  func() { latchkey.New(store, &latchkey.Options{MaxStale: -1}) },
		"MaxDepth must be":      func() { latchkey.New(store, &latchkey.Options{MaxDepth: 33}) },
		"owner is empty":        func() { latchkey.New(store, nil).For("") },
		"owner holds a NUL":     func() { latchkey.New(store, nil).For("\x00") },
		"SignatureSkew is nega": func() { latchkey.New(store, &latchkey.Options{SignatureSkew: -1}) },
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), say) }()
			f()
		}()
	}
}

// An owner's id is 1 to 256 bytes of valid UTF-8 without NUL. Tenant returns an error for another text, and For panics.
func TestTenantTakesAnOwnersID(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	for owner, ok := range map[string]bool{"a": true, strings.Repeat("o", 256): true, "über acme": true,
		"": false, strings.Repeat("o", 257): false, "a\x00b": false, "a\xff": false} {
		a, err := keys.Tenant(owner)
		if !ok {
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.Zero(t, a)
			require.Panics(t, func() { keys.For(owner) })
			continue
		}
		require.NoError(t, err)
		require.Equal(t, owner, a.Owner())
		require.Equal(t, keys.For(owner), a)
	}
}

// Validate returns what New panics on.
func TestOptionsValidate(t *testing.T) {
	assert.NoError(t, (*latchkey.Options)(nil).Validate())
	assert.NoError(t, (&latchkey.Options{}).Validate())
	viewer := latchkey.Role{Name: "viewer", Permissions: latchkey.Permissions{latchkey.Allow("fly").On("invoice/*")}}
	invoices := &latchkey.Catalogue{Resources: []latchkey.ResourceType{
		{Template: "invoice/{id}", Actions: []latchkey.Action{latchkey.Read}}}}
	for say, o := range map[string]latchkey.Options{
		"1 to 8 characters":     {Prefix: "ninechars"},
		"MaxStale is negative":  {MaxStale: -1},
		"MaxDepth must be":      {MaxDepth: 33},
		"SignatureSkew is nega": {SignatureSkew: -1},
		"LastUseAddress must":   {LastUseAddress: 9},
		"no name or no bytes":   {Legacy: &latchkey.Legacy{Peppers: map[string][]byte{"a": nil}}},
		"Options.Catalogue":     {Catalogue: &latchkey.Catalogue{}},
		"role \"\"":             {Roles: []latchkey.Role{{}}},
		"does not fit":          {Roles: []latchkey.Role{viewer}, Catalogue: invoices},
	} {
		err := o.Validate()
		assert.ErrorIs(t, err, latchkey.ErrInvalid, say)
		assert.ErrorContains(t, err, say)
		assert.PanicsWithValue(t, "latchkey: "+trimInvalid(err), func() { latchkey.New(memstore.New(nil), &o) }, say)
	}
}

// trimInvalid returns the text of an error as New says it, without the sentinel in front.
func trimInvalid(err error) string {
	return strings.TrimPrefix(err.Error(), latchkey.ErrInvalid.Error()+": ")
}

func TestUnknownOutcomeIsWrittenAgain(t *testing.T) {
	w := newWorld(t)
	w.store.unknown.Store(2)
	tok, secret := w.key()
	w.access(secret)
	w.store.unknown.Store(2)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, "x"))
	n := 0
	for range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		n++
	}
	assert.Equal(t, 2, n, "one event each, however often it was written")
	w.store.unknown.Store(100)
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.is(latchkey.ErrUnknownOutcome, err)
}

// If the store fails before the same write is repeated, the outcome stays unknown.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key()
	w.store.unknown.Store(1)
	w.store.gone.Store(true)
	err := w.acme.Revoke(w.ctx, tok.ID, "x")
	w.is(latchkey.ErrUnknownOutcome, err)
	assert.NotErrorIs(t, err, latchkey.ErrUnavailable)
	w.store.fail.Store(nil)
	_, err = w.verify(secret)
	w.is(latchkey.ErrRevoked, err)
}

// purged is a store in which so many rows are over, in steps.
type purged struct {
	latchkey.Store
	left  int
	asked []latchkey.PurgePolicy
}

func (s *purged) Purge(_ context.Context, p latchkey.PurgePolicy, most int) (int, error) {
	s.asked = append(s.asked, p)
	n := min(s.left, most)
	s.left -= n
	return n, nil
}

// One call purges all that is over, however much it is.
func TestPurgeGoesOnUntilNothingIsOver(t *testing.T) {
	for _, n := range []int{0, 1, 499, 500, 501, 1234} {
		store := &purged{Store: memstore.New(nil), left: n}
		got, err := latchkey.New(store, nil).Purge(t.Context())
		require.NoError(t, err)
		require.Equal(t, n, got)
		require.Zero(t, store.left)
	}
}

// Each period for which the host keeps something reaches the store, with the time by which it counts.
func TestPurgeKeepsWhatOptionsSay(t *testing.T) {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	store := &purged{Store: memstore.New(&memstore.Options{Clock: clock})}
	keys := latchkey.New(store, &latchkey.Options{Clock: clock, MaxStale: 13 * time.Hour,
		KeepExpired: 1 * time.Hour, KeepRevoked: 2 * time.Hour, KeepEvents: 3 * time.Hour,
		KeepUsageDays: 4 * 24 * time.Hour, KeepUsageMonths: 5 * 24 * time.Hour})
	_, err := keys.Purge(t.Context())
	require.NoError(t, err)
	require.Contains(t, store.asked, latchkey.PurgePolicy{Now: now, Expired: time.Hour, Revoked: 2 * time.Hour,
		Changes: 26 * time.Hour, Events: 3 * time.Hour, UsageDays: 4 * 24 * time.Hour, UsageMonths: 5 * 24 * time.Hour})
}

// An Observer.Failed that panics changes nothing, whether or not there is a Logger to tell.
func TestObserverOfFailuresMayPanic(t *testing.T) {
	var log bytes.Buffer
	for name, logger := range map[string]*slog.Logger{"logger": slog.New(slog.NewTextHandler(&log, nil)), "none": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) {
				o.Logger = logger
				o.Observer.Changed = func(context.Context, latchkey.Event) { panic("first") }
				o.Observer.Failed = func(context.Context, latchkey.Failure) { panic("second") }
			})
			w.key(readAll())
			require.EqualValues(t, 1, w.keys.Stats().Failures["observer"])
		})
	}
	require.Contains(t, log.String(), "first")
	require.Contains(t, log.String(), `msg="latchkey: Observer.Failed panicked" error=second`)
}
