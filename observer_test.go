package latchkey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
	"github.com/latchkey-go/latchkey/memstore"
)

// observed is a manager whose refusals are kept.
type observed struct {
	t    *testing.T
	keys *latchkey.Manager
	acme latchkey.Account
	now  atomic.Int64 // µs
	all  []latchkey.Refusal
	ends []latchkey.Verification
	log  bytes.Buffer
}

func newObserved(t *testing.T) *observed { return newObservedWith(t, 0) }

func newObservedWith(t *testing.T, cacheTokens int) *observed {
	t.Helper()
	o := &observed{t: t}
	o.now.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	clock := func() time.Time { return time.UnixMicro(o.now.Load()).UTC() }
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	o.keys = latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{
		Clock: clock, Keyring: ring, CacheTokens: cacheTokens, Logger: slog.New(slog.NewTextHandler(&o.log, nil)),
		Observer: latchkey.Observer{
			Refused:  func(_ context.Context, r latchkey.Refusal) { o.all = append(o.all, r) },
			Verified: func(_ context.Context, v latchkey.Verification) { o.ends = append(o.ends, v) },
		},
	})
	o.acme = o.keys.For("acme")
	return o
}

func (o *observed) issue(kind latchkey.Kind, s latchkey.Settings) (latchkey.Token, string) {
	o.t.Helper()
	t, secret, err := o.acme.Issue(o.t.Context(), s.Spec(kind))
	require.NoError(o.t, err)
	return t, secret.Reveal()
}

// one returns the only refusal since its last call.
func (o *observed) one() latchkey.Refusal {
	o.t.Helper()
	require.Len(o.t, o.all, 1)
	r := o.all[0]
	o.all = nil
	return r
}

// Every refusal of a token that exists is reported once, with its owner and reason, from the cache as from the store.
func TestEveryRefusalIsObserved(t *testing.T) {
	from := netip.MustParseAddr("192.0.2.7")
	ctx := t.Context()
	nothing := func(o *observed, id string) {}
	update := func(f func(*latchkey.Token)) func(*observed, string) {
		return func(o *observed, id string) {
			_, err := o.acme.Update(ctx, id, func(t *latchkey.Token) error { f(t); return nil })
			require.NoError(o.t, err)
		}
	}
	owner := func(f func(*latchkey.Owner)) func(*observed, string) {
		return func(o *observed, _ string) {
			require.NoError(o.t, o.acme.Configure(ctx, func(r *latchkey.Owner) error { f(r); return nil }))
		}
	}
	signature := func(ok bool) *latchkey.Signature {
		return &latchkey.Signature{Date: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Once: [32]byte{1},
			OK: func([]byte) bool { return ok }}
	}
	for name, c := range map[string]struct {
		settings latchkey.Settings
		use      int // how often it is verified before
		spoil    func(*observed, string)
		present  latchkey.Presented
		other    bool // to another owner's account
		err      error
		reason   string
	}{
		"another owner's": {spoil: nothing, other: true,
			err: latchkey.ErrUnknownToken, reason: "foreign_owner"},
		"another owner's, cached": {spoil: nothing, other: true, use: 1,
			err: latchkey.ErrUnknownToken, reason: "foreign_owner"},
		"test mode": {spoil: nothing, present: latchkey.Presented{Test: true},
			err: latchkey.ErrTestMode, reason: "test_mode"},
		"test mode, cached": {spoil: nothing, use: 1, present: latchkey.Presented{Test: true},
			err: latchkey.ErrTestMode, reason: "test_mode"},
		"rotated": {spoil: func(o *observed, id string) {
			_, err := o.acme.Rotate(ctx, id, time.Minute)
			require.NoError(o.t, err)
			o.now.Add(time.Minute.Microseconds())
		}, use: 1, err: latchkey.ErrExpired, reason: "rotated"},
		"owner disabled": {spoil: owner(func(o *latchkey.Owner) { o.Disabled = true }), use: 1,
			err:    latchkey.ErrOwnerDisabled,
			reason: "owner_disabled"},
		"disabled": {spoil: update(func(t *latchkey.Token) { t.Disabled = true }), use: 1,
			err: latchkey.ErrDisabled, reason: "disabled"},
		"revoked": {spoil: func(o *observed, id string) { require.NoError(o.t, o.acme.Revoke(ctx, id, "")) }, use: 1,
			err: latchkey.ErrRevoked, reason: "revoked"},
		"not yet": {spoil: nothing, settings: latchkey.Settings{Validity: latchkey.Validity{
			NotBefore: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}},
			err: latchkey.ErrNotYetValid, reason: "not_yet_valid"},
		"expired": {spoil: func(o *observed, _ string) { o.now.Add(time.Hour.Microseconds()) }, use: 1,
			settings: latchkey.Settings{
				Validity: latchkey.Validity{NotAfter: time.Date(2026, 5, 1, 13, 0, 0, 0, time.UTC)}},
			err: latchkey.ErrExpired, reason: "expired"},
		"idle": {spoil: func(o *observed, _ string) { o.now.Add(time.Hour.Microseconds()) }, use: 1,
			settings: latchkey.Settings{Validity: latchkey.Validity{Idle: time.Minute}},
			err:      latchkey.ErrExpired, reason: "expired"},
		"unsigned": {spoil: nothing, settings: latchkey.Settings{Restrictions: latchkey.Restrictions{Signed: true}},
			err: latchkey.ErrSignatureRequired, reason: "signature_required"},
		"signature": {spoil: nothing, present: latchkey.Presented{Signature: signature(false)},
			err:    latchkey.ErrSignature,
			reason: "signature"},
		"signature, cached": {spoil: nothing, use: 1, present: latchkey.Presented{Signature: signature(false)},
			err: latchkey.ErrSignature, reason: "signature"},
		"another key's signature": {spoil: nothing,
			present: latchkey.Presented{Signature: &latchkey.Signature{Key: "ak_other"}},
			err:     latchkey.ErrSignature, reason: "signature"},
		"replay": {spoil: func(o *observed, id string) {
			_, err := o.acme.SigningSecret(ctx, id)
			require.NoError(o.t, err)
			text, err := o.acme.Reveal(ctx, id)
			require.NoError(o.t, err)
			_, err = o.keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal(), Signature: signature(true)})
			require.NoError(o.t, err)
		}, present: latchkey.Presented{Signature: signature(true)}, err: latchkey.ErrReplay, reason: "replay"},
		"referer": {spoil: nothing, settings: latchkey.Settings{
			Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}},
			err: latchkey.ErrReferer, reason: "referer"},
		"referer, cached": {spoil: func(o *observed, id string) {
			text, err := o.acme.Reveal(ctx, id)
			require.NoError(o.t, err)
			_, err = o.keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal(), Referer: "https://example.com/"})
			require.NoError(o.t, err)
		}, settings: latchkey.Settings{Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}},
			err: latchkey.ErrReferer, reason: "referer"},
		"address": {spoil: nothing, settings: latchkey.Settings{Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
			err: latchkey.ErrAddress, reason: "address"},
		"rate": {spoil: func(o *observed, id string) {
			text, err := o.acme.Reveal(ctx, id)
			require.NoError(o.t, err)
			_, err = o.keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal()})
			require.NoError(o.t, err)
		}, settings: latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}},
			err: latchkey.ErrRateLimited, reason: "rate_limited"},
	} {
		for where, cacheTokens := range map[string]int{"": 0, ", without a cache": -1} {
			t.Run(name+where, func(t *testing.T) {
				o := newObservedWith(t, cacheTokens)
				tok, text := o.issue(latchkey.KindAPIKey, c.settings)
				for range c.use {
					_, err := o.keys.Verify(ctx, latchkey.Presented{Secret: text, Address: from})
					require.NoError(t, err)
				}
				c.spoil(o, tok.ID)
				require.Empty(t, o.all)
				o.ends = nil
				for range 2 {
					p := c.present
					p.Secret, p.Address = text, from
					verify := o.acme.Verify
					if c.other {
						verify = o.keys.For("other").Verify
					}
					a, err := verify(ctx, p)
					require.ErrorIs(t, err, c.err)
					require.Empty(t, a.Owner())
					require.NotContains(t, err.Error(), tok.ID)
					require.NotContains(t, err.Error(), "acme")
					r := o.one()
					require.Equal(t, err, r.Err)
					require.Equal(t, latchkey.Refusal{TokenID: tok.ID, Owner: "acme", Kind: latchkey.KindAPIKey,
						Err:     err,
						Reason:  c.reason,
						Address: from}, r)
					require.NotContains(t, fmt.Sprintf("%+v", r), text)

					require.Len(t, o.ends, 1)
					v := o.ends[0]
					o.ends = nil
					require.Equal(t, v.Source == latchkey.SourceStore, !v.Start.IsZero())
					if cacheTokens < 0 {
						require.Equal(t, latchkey.SourceStore, v.Source)
					}
					v.Source, v.Start, v.Duration = "", time.Time{}, 0
					require.Equal(t, latchkey.Verification{Outcome: c.reason, Kind: latchkey.KindAPIKey, Owner: "acme", Err: err}, v)
				}
			})
		}
	}
}

func TestUnknownTextsAreNotObserved(t *testing.T) {
	o := newObserved(t)
	_, secret, err := latchkey.New(memstore.New(nil), nil).For("x").Issue(
		t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	for _, text := range []string{"", "nonsense", secret.Reveal(), strings.Repeat("x", 1000)} {
		_, err := o.keys.Verify(t.Context(), latchkey.Presented{Secret: text})
		require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	}
	gate := context.WithValue(t.Context(), visit.Key{}, visit.Visit(closed{&latchkey.RateLimitError{}}))
	_, err = o.keys.Verify(gate, latchkey.Presented{Secret: secret.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrRateLimited, "nobody knows whose it is")
	_, err = (latchkey.Access{}).Again(t.Context())
	require.Error(t, err)
	latchkey.Access{}.Refused(t.Context(), latchkey.ErrDenied)
	require.Empty(t, o.all)
}

// A refusal says whether the token is a test token, whether it was found in the store or in the cache, and so does that
// of its Access.
func TestRefusalsOfTestTokens(t *testing.T) {
	for _, test := range []bool{true, false} {
		for used := range 2 {
			o := newObserved(t)
			token, secret, err := o.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret, Test: test})
			require.NoError(t, err)
			p := latchkey.Presented{Secret: secret.Reveal(), Test: test}
			for range used {
				access, err := o.acme.Verify(t.Context(), p)
				require.NoError(t, err)
				access.Refused(t.Context(), latchkey.ErrDenied)
				require.Equal(t, test, o.one().Test)
			}
			_, err = o.acme.Update(t.Context(), token.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			require.NoError(t, err)
			_, err = o.acme.Verify(t.Context(), p)
			require.ErrorIs(t, err, latchkey.ErrDisabled)
			require.Equal(t, test, o.one().Test)
		}
	}
}

// Refusals of minted tokens name their client, and what ended them. Again and Mint report, too.
func TestMintedAndAgainAreObserved(t *testing.T) {
	ctx := t.Context()
	o := newObserved(t)
	parent, text := o.issue(latchkey.KindAPIKey, latchkey.Settings{
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")},
		Restrictions: latchkey.Restrictions{MintFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
	a, err := o.keys.Verify(ctx, latchkey.Presented{Secret: text, Address: netip.MustParseAddr("192.0.2.1")})
	require.NoError(t, err)
	client := latchkey.Client{ID: "7", Name: "Seven"}
	child, minted, err := a.Mint(ctx, latchkey.Narrowing{Client: client, Lifetime: time.Hour})
	require.NoError(t, err)
	b, err := o.keys.Verify(ctx, latchkey.Presented{Secret: minted.Reveal()})
	require.NoError(t, err)

	outside, err := o.keys.Verify(ctx, latchkey.Presented{Secret: text, Address: netip.MustParseAddr("203.0.113.1")})
	require.NoError(t, err)
	_, _, err = outside.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	require.ErrorIs(t, err, latchkey.ErrAddress)
	r := o.one()
	require.Equal(t, "address", r.Reason)
	require.Equal(t, parent.ID, r.TokenID)
	require.Equal(t, "203.0.113.1", r.Address.String())

	publishable, text := o.issue(latchkey.KindPublishable, latchkey.Settings{})
	page, err := o.keys.Verify(ctx, latchkey.Presented{Secret: text})
	require.NoError(t, err)
	_, _, err = page.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	require.ErrorIs(t, err, latchkey.ErrDenied)
	r = o.one()
	require.Equal(t, "denied", r.Reason)
	require.Equal(t, publishable.ID, r.TokenID)

	require.NoError(t, o.acme.Revoke(ctx, parent.ID, ""))
	_, err = o.keys.Verify(ctx, latchkey.Presented{Secret: minted.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrParent)
	want := latchkey.Refusal{TokenID: child.ID, Owner: "acme", Client: client, Kind: latchkey.KindAccess,
		Err: latchkey.ErrParent, Reason: "parent"}
	require.Equal(t, want, o.one())
	_, err = b.Again(ctx)
	require.ErrorIs(t, err, latchkey.ErrParent)
	require.Equal(t, want, o.one())
	_, _, err = a.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	require.Equal(t, "revoked", o.one().Reason)
	as, err := o.acme.As(a)
	require.NoError(t, err)
	_, err = as.Get(ctx, parent.ID)
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	require.Equal(t, "revoked", o.one().Reason)

	require.NoError(t, o.acme.Delete(ctx, publishable.ID))
	_, err = page.Again(ctx)
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	require.Equal(t, "deleted", o.one().Reason)

	person := must(o.acme.Assume(client, nil))
	require.NoError(t, o.acme.Configure(ctx, func(w *latchkey.Owner) error { w.Disabled = true; return nil }))
	_, err = person.Again(ctx)
	require.ErrorIs(t, err, latchkey.ErrOwnerDisabled)
	require.Equal(t, latchkey.Refusal{Owner: "acme", Client: client, Err: latchkey.ErrOwnerDisabled,
		Reason: "owner_disabled"}, o.one())
}

// Used-up credits are reported. What a program only asks is not, until it calls Refused.
func TestLimitsAndDenialsAreObserved(t *testing.T) {
	ctx := t.Context()
	o := newObserved(t)
	tok, text := o.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: monthly(10)})
	a, err := o.keys.Verify(ctx, latchkey.Presented{Secret: text})
	require.NoError(t, err)
	require.NoError(t, spend(ctx, a, "m", 10))
	require.Empty(t, o.all)
	require.ErrorIs(t, spend(ctx, a, "m", 1), latchkey.ErrOverLimit)
	r := o.one()
	require.Equal(t, "over_limit", r.Reason)
	require.Equal(t, tok.ID, r.TokenID)
	_, err = a.Reserve(ctx, "m", latchkey.Uncounted, 1)
	require.ErrorIs(t, err, latchkey.ErrOverLimit)
	require.Equal(t, "over_limit", o.one().Reason)

	require.False(t, a.Allows(latchkey.Read, "data/x"))
	err = a.Check(latchkey.Read, "data/x")
	_, filter := a.Filter(latchkey.Read, "data/x")
	require.Error(t, filter)
	require.Empty(t, o.all)
	a.Refused(ctx, err)
	r = o.one()
	require.Equal(t, latchkey.Refusal{TokenID: tok.ID, Owner: "acme", Kind: latchkey.KindAPIKey, Err: err,
		Reason: "denied",
		Action: latchkey.Read, Resource: "data/x"}, r)
	a.Refused(ctx, fmt.Errorf("the plan has no exports"))
	require.Equal(t, "other", o.one().Reason)
	for _, none := range []error{nil,
		latchkey.ErrUnavailable, fmt.Errorf("%w: %w", latchkey.ErrUnknownOutcome, latchkey.ErrDenied)} {
		a.Refused(ctx, none)
	}
	require.Empty(t, o.all)
}

// A callback that panics changes no answer.
func TestObserverPanicChangesNoAnswer(t *testing.T) {
	var log bytes.Buffer
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Observer: latchkey.Observer{Refused: func(context.Context, latchkey.Refusal) { panic("no room") }}})
	tok, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	a, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal(), Test: true})
	require.ErrorIs(t, err, latchkey.ErrTestMode)
	require.Empty(t, a.Owner())
	require.Contains(t, log.String(), "no room")
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	require.NoError(t, keys.For("acme").Revoke(t.Context(), tok.ID, ""))
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrRevoked)
}

// An error of the store is no refusal, because nothing is known then.
func TestStoreErrorsAreNotObserved(t *testing.T) {
	called := 0
	keys := latchkey.New(troubled{memstore.New(nil)}, &latchkey.Options{
		Observer: latchkey.Observer{Refused: func(context.Context, latchkey.Refusal) { called++ }}})
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal(), Signature: &latchkey.Signature{
		Date: time.Now(), OK: func([]byte) bool { return true }}})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	tok, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: monthly(10)})
	require.NoError(t, err)
	require.NotEmpty(t, tok.ID)
	a, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	require.ErrorIs(t, spend(t.Context(), a, "m", 1), latchkey.ErrUnavailable)
	require.Zero(t, called)
}

type troubled struct{ latchkey.Store }

func (troubled) Secrets(context.Context, string, string) ([]latchkey.SecretRecord, error) {
	return nil, latchkey.ErrUnavailable
}

func (troubled) Reserve(context.Context, latchkey.Reservation) (latchkey.Reserved, error) {
	return latchkey.Reserved{}, errors.Join(latchkey.ErrUnavailable, latchkey.ErrOverLimit)
}
