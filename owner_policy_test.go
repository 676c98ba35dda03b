package latchkey_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// set sets the policy of acme.
func (w *world) set(p latchkey.OwnerPolicy) {
	w.Helper()
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Policy = p; return nil }))
}

// keptDigest is what another system kept of a text that nobody has.
func keptDigest(t *testing.T) latchkey.KeptSecret {
	t.Helper()
	return latchkey.KeptSecret{SHA256: string(sha(foreignText(t)))}
}

func TestAPolicyThatCannotBeEnforcedIsRefused(t *testing.T) {
	w := newWorld(t)
	for text, p := range map[string]latchkey.OwnerPolicy{
		"MaxLifetime must":    {MaxLifetime: -1},
		"MaxLifetime must be": {MaxLifetime: 999},
		"MaxIdle must":        {MaxIdle: -time.Hour},
		"MaxIdle must be":     {MaxIdle: 999 * time.Millisecond},
		"Tokens must":         {Tokens: -1},
		"Tokens must be 1":    {Tokens: 1_000_001},
		"Children must":       {Children: -1},
		"Children must be 1":  {Children: 1_000_001},
		"Kinds is empty":      {Kinds: []latchkey.Kind{}},
		"no such kind: 9":     {Kinds: []latchkey.Kind{latchkey.KindAPIKey, 9}},
		"names api_key twice": {Kinds: []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindAPIKey}},
		"no such kind: 0":     {Kinds: []latchkey.Kind{0}},
	} {
		err := w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Policy = p; return nil })
		w.is(latchkey.ErrInvalid, err)
		require.ErrorContains(t, err, text)
	}
	full := latchkey.OwnerPolicy{MaxLifetime: time.Hour, MaxIdle: time.Minute, Tokens: 1, Children: 2,
		Kinds: []latchkey.Kind{latchkey.KindAPIKey}, MintRight: true, ClientRight: true, AuditMints: true}
	w.set(full)
	o, err := w.acme.Record(w.ctx)
	w.ok(err)
	require.Equal(t, full, o.Policy)
}

// Only the host sets the policy of an owner, also where an actor may do everything else.
func TestAnActorDoesNotChangeThePolicy(t *testing.T) {
	w := newWorld(t)
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	w.set(latchkey.OwnerPolicy{Tokens: 10})
	as, err := w.acme.As(w.access(root))
	w.ok(err)
	for _, p := range []latchkey.OwnerPolicy{{}, {Tokens: 11}, {Tokens: 9}, {Tokens: 10, MaxIdle: time.Hour},
		{Tokens: 10, AuditMints: true}, {Tokens: 10, Kinds: []latchkey.Kind{latchkey.KindAPIKey}}} {
		var denied *latchkey.DeniedError
		err := as.Exceeding().Configure(w.ctx, func(o *latchkey.Owner) error { o.Policy = p; return nil })
		require.ErrorAs(t, err, &denied)
	}
	w.ok(as.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil }))
}

// The ends that a policy allows, for whoever makes or changes a token.
func TestAPolicyBoundsLifetimeAndIdle(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name   string
		policy latchkey.OwnerPolicy
		end    time.Duration // 0: none
		idle   time.Duration
		says   string // "": allowed
	}{
		{"no policy", latchkey.OwnerPolicy{}, 0, 0, ""},
		{"the longest", latchkey.OwnerPolicy{MaxLifetime: day}, day, 0, ""},
		{"longer", latchkey.OwnerPolicy{MaxLifetime: day}, day + time.Microsecond, 0, "lets a token live for 24h0m0s"},
		{"no end", latchkey.OwnerPolicy{MaxLifetime: day}, 0, 0, "set NotAfter, to 2026-03-05T05:06:07Z at the latest"},
		{"the longest idle", latchkey.OwnerPolicy{MaxIdle: time.Hour}, 0, time.Hour, ""},
		{"longer idle", latchkey.OwnerPolicy{MaxIdle: time.Hour}, 0, time.Hour + time.Microsecond, "idle for 1h0m0s"},
		{"no idle", latchkey.OwnerPolicy{MaxIdle: time.Hour}, day, 0, "set Validity.Idle"},
		{"both", latchkey.OwnerPolicy{MaxLifetime: day, MaxIdle: time.Hour}, day, time.Hour, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, legacyOptions)
			_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
			before, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "before the policy"})
			w.set(c.policy)
			as, err := w.acme.As(w.access(root))
			w.ok(err)
			v := latchkey.Validity{Idle: c.idle}
			if c.end != 0 {
				v.NotAfter = w.now().Add(c.end)
			}
			check := func(err error) {
				t.Helper()
				if c.says == "" {
					w.ok(err)
					return
				}
				w.is(latchkey.ErrInvalid, err)
				w.is(latchkey.ErrPolicy, err)
				require.ErrorContains(t, err, c.says)
			}
			for _, account := range []latchkey.Account{w.acme, as.Exceeding()} {
				spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Validity: v}
				_, _, err := account.Issue(w.ctx, spec)
				check(err)
				_, err = account.Import(w.ctx, spec, foreignText(t))
				check(err)
				_, err = account.ImportDigest(w.ctx, spec, keptDigest(t))
				check(err)
				tok, err := account.Update(w.ctx, before.ID, func(t *latchkey.Token) error { t.Name += "."; return nil })
				w.ok(err) // what the rules are about stays
				if tok.Validity.Idle != v.Idle || !tok.Validity.NotAfter.Equal(v.NotAfter) && !strings.Contains(c.says, "dle") {
					_, err = account.Update(w.ctx, before.ID, func(t *latchkey.Token) error { t.Validity = v; return nil })
					check(err)
				}
			}
		})
	}
}

// An end counts from when the token was made: nobody extends it again and again.
func TestAPolicyBoundsTheWholeLife(t *testing.T) {
	w := newWorld(t)
	w.set(latchkey.OwnerPolicy{MaxLifetime: 10 * time.Hour})
	made := w.now()
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: made.Add(time.Hour)}})
	extend := func(to time.Time) error {
		_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Validity.NotAfter = to; return nil })
		return err
	}
	w.turn(30 * time.Minute)
	w.ok(extend(made.Add(10 * time.Hour)))
	w.is(latchkey.ErrPolicy, extend(w.now().Add(10*time.Hour)))
	_, err := w.acme.Rotate(w.ctx, tok.ID, 0)
	w.ok(err)
	w.is(latchkey.ErrPolicy, extend(w.now().Add(10*time.Hour)))
}

// A mint is not refused for its end: it is clamped, as to the end of its parent.
func TestAPolicyClampsMints(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	w.set(latchkey.OwnerPolicy{MaxLifetime: 2 * time.Hour, MaxIdle: 10 * time.Minute})
	for _, c := range []struct{ lifetime, idle, wantLifetime, wantIdle time.Duration }{
		{time.Hour, time.Minute, time.Hour, time.Minute},
		{3 * time.Hour, time.Hour, 2 * time.Hour, 10 * time.Minute},
		{2 * time.Hour, 0, 2 * time.Hour, 10 * time.Minute},
	} {
		tok, _ := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: c.lifetime, Idle: c.idle})
		require.Equal(t, c.wantLifetime, tok.Validity.NotAfter.Sub(tok.Created))
		require.Equal(t, c.wantIdle, tok.Validity.Idle)
	}
	for _, idle := range []time.Duration{-1, time.Millisecond} {
		_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Idle: idle})
		w.is(latchkey.ErrInvalid, err)
	}
}

func TestAPolicyNamesKinds(t *testing.T) {
	w := newWorld(t, legacyOptions)
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	key, secret := w.key(readAll())
	w.set(latchkey.OwnerPolicy{Kinds: []latchkey.Kind{latchkey.KindSession, latchkey.KindPublishable}})
	as, err := w.acme.As(w.access(root))
	w.ok(err)
	for _, account := range []latchkey.Account{w.acme, as} {
		for kind := latchkey.KindSecret; kind <= latchkey.KindSession; kind++ {
			spec := latchkey.Spec{Kind: kind, Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}}
			switch _, _, err := account.Issue(w.ctx, spec); kind {
			case latchkey.KindSession, latchkey.KindPublishable:
				w.ok(err)
			case latchkey.KindAccess:
				w.is(latchkey.ErrInvalid, err)
			default:
				w.is(latchkey.ErrPolicy, err)
				w.is(latchkey.ErrDenied, err)
				require.ErrorContains(t, err, "no "+kind.String()+" tokens")
			}
		}
		_, err := account.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, foreignText(t))
		w.is(latchkey.ErrPolicy, err)
		_, err = account.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, keptDigest(t))
		w.is(latchkey.ErrPolicy, err)
		_, err = account.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindSession,
			Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}}, keptDigest(t))
		w.ok(err)
	}
	_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
	w.is(latchkey.ErrPolicy, err)
	_, err = w.acme.Rotate(w.ctx, key.ID, 0) // what there is stays
	w.ok(err)
	w.set(latchkey.OwnerPolicy{Kinds: []latchkey.Kind{latchkey.KindAccess}})
	_, _, err = w.access(root).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
	w.ok(err)
}

func TestAPolicyMayDemandARightToMint(t *testing.T) {
	var refused []string
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer.Refused = reasonsInto(&refused)
	})
	_, without := w.key(readAll())
	named, _ := w.key()
	mine, with := w.key(readAll(), latchkey.Allow(latchkey.Mint).On("latchkey/token/*"))
	_, other := w.key(readAll(), latchkey.Allow(latchkey.Mint).On(latchkey.Pattern("latchkey/token/"+named.ID)))
	_, denied := w.key(latchkey.Allow(latchkey.Any).On("*", "latchkey/*"), latchkey.Deny(latchkey.Mint).On("latchkey/*"))
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	mint := func(secret string) error {
		_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		return err
	}
	for _, secret := range []string{without, with, other, denied, root} {
		w.ok(mint(secret))
	}
	w.set(latchkey.OwnerPolicy{MintRight: true})
	for _, secret := range []string{without, other, denied} {
		var e *latchkey.DeniedError
		require.ErrorAs(t, mint(secret), &e)
		require.Equal(t, latchkey.Mint, e.Action)
	}
	require.Equal(t, []string{"denied", "denied", "denied"}, refused)
	w.ok(mint(with))
	w.ok(mint(root))
	_, child := w.mint(w.access(with), latchkey.Narrowing{Permissions: latchkey.Permissions{readAll()}})
	w.is(latchkey.ErrDenied, mint(child)) // it did not get the right
	_, child = w.mint(w.access(with), latchkey.Narrowing{})
	w.ok(mint(child))
	_, err := w.acme.Update(w.ctx, mine.ID, func(t *latchkey.Token) error {
		t.Permissions = latchkey.Permissions{readAll()}
		return nil
	})
	w.ok(err)
	w.is(latchkey.ErrDenied, mint(with))
	w.is(latchkey.ErrDenied, mint(child))
}

// A token without a client mints for any, unless the policy demands the right to give that client.
func TestAPolicyMayDemandARightForClients(t *testing.T) {
	w := newWorld(t)
	own := latchkey.Grant(latchkey.Read).On("row").Where(eq("who", latchkey.ClientID))
	_, without := w.key(own, latchkey.Allow(latchkey.Any).On("latchkey/*"))
	_, some := w.key(own, latchkey.Allow(latchkey.Give).On("latchkey/client/a%2Fb"))
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	of, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "bob"},
		Permissions: latchkey.Permissions{own}})
	w.ok(err)
	require.Equal(t, "bob", of.Client.ID)
	mint := func(secret, client string) error {
		n := latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: client}}
		_, _, err := w.access(secret).Mint(w.ctx, n)
		return err
	}
	for _, s := range []string{without, some, root} {
		w.ok(mint(s, "bob"))
		w.ok(mint(s, "a/b"))
	}
	w.set(latchkey.OwnerPolicy{ClientRight: true})
	for _, c := range []struct {
		secret, client string
		may            bool
	}{{without, "", true}, {without, "bob", false}, {without, "a/b", false}, {some, "a/b", true}, {some, "bob", false},
		{root, "bob", true}, {secret.Reveal(), "", true}, {secret.Reveal(), "bob", true}} {
		err := mint(c.secret, c.client)
		if c.may {
			w.ok(err)
			continue
		}
		denied, ok := errors.AsType[*latchkey.DeniedError](err)
		require.True(t, ok)
		require.Equal(t, latchkey.Give, denied.Action)
		require.Equal(t, latchkey.Path("latchkey", "client", c.client), denied.Resource)
	}
	// A child is without the client, and has the right as far as it has its parent's rules.
	_, child := w.mint(w.access(some), latchkey.Narrowing{})
	w.ok(mint(child, "a/b"))
	w.is(latchkey.ErrDenied, mint(child, "bob"))
	_, child = w.mint(w.access(some), latchkey.Narrowing{Permissions: latchkey.Permissions{own}})
	w.is(latchkey.ErrDenied, mint(child, "a/b"))
}

func TestAPolicyMayAuditMints(t *testing.T) {
	w := newWorld(t)
	key, secret := w.key(readAll())
	last := func() (last latchkey.Event) {
		for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
			w.ok(err)
			last = e
		}
		return last
	}
	w.mint(w.access(secret), latchkey.Narrowing{})
	require.Equal(t, "token.issue", last().Action)
	w.set(latchkey.OwnerPolicy{AuditMints: true})
	tok, text := w.mint(w.access(secret), latchkey.Narrowing{Name: "visitor"})
	e := last()
	require.Equal(t, []string{"token.mint", key.ID, tok.ID}, []string{e.Action, e.Actor, e.Object})
	require.Contains(t, string(e.After), `"visitor"`)
	require.NotContains(t, string(e.After), text)
}

// At most as many tokens live as the policy says, whoever makes them and however.
func TestAPolicyBoundsLiveTokens(t *testing.T) {
	w := newWorld(t, legacyOptions)
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	first, _ := w.key()
	ends, _ := w.issue(latchkey.KindAPIKey,
		latchkey.Settings{Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	idles, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 2 * time.Hour}})
	w.set(latchkey.OwnerPolicy{Tokens: 4})
	as, err := w.acme.As(w.access(root))
	w.ok(err)
	issue := func() error {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		return err
	}
	rotated := first.ID
	full := func() {
		t.Helper()
		w.is(latchkey.ErrTooMany, issue())
		w.is(latchkey.ErrPolicy, issue())
		for _, account := range []latchkey.Account{w.acme, as.Exceeding()} {
			_, _, err := account.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			w.is(latchkey.ErrTooMany, err)
			_, err = account.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, foreignText(t))
			w.is(latchkey.ErrTooMany, err)
			_, err = account.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, keptDigest(t))
			w.is(latchkey.ErrTooMany, err)
			_, err = account.Rotate(w.ctx, rotated, time.Hour) // it is no more
			w.ok(err)
		}
	}
	full()
	w.mint(w.access(root), latchkey.Narrowing{}) // minted ones do not count
	revive := func(id string, v latchkey.Validity) error {
		_, err := w.acme.Update(w.ctx, id, func(t *latchkey.Token) error { t.Validity = v; return nil })
		return err
	}
	for _, disabled := range []bool{true, false} { // a disabled one keeps its place, so that it can be enabled
		_, err := w.acme.Update(w.ctx, first.ID, func(t *latchkey.Token) error { t.Disabled = disabled; return nil })
		w.ok(err)
		full()
	}
	w.turn(time.Hour)
	w.ok(issue()) // the place of ends
	full()
	w.is(latchkey.ErrTooMany, revive(ends.ID, latchkey.Validity{NotAfter: w.now().Add(time.Hour)}))
	w.turn(time.Hour + 6*time.Minute)
	w.access(root)
	w.ok(issue()) // the place of idles
	full()
	w.is(latchkey.ErrTooMany, revive(idles.ID, latchkey.Validity{Idle: 100 * time.Hour}))
	w.ok(w.acme.Revoke(w.ctx, first.ID, ""))
	rotated = ends.ID
	w.ok(revive(ends.ID, latchkey.Validity{NotAfter: w.now().Add(100 * time.Hour)}))
	full()
	w.ok(w.acme.Delete(w.ctx, ends.ID))
	last, _ := w.key()
	rotated = last.ID
	full()

	// Nothing dies by a lower bound, and a higher one holds at once.
	w.set(latchkey.OwnerPolicy{Tokens: 2})
	w.access(root)
	full()
	w.set(latchkey.OwnerPolicy{})
	for range 3 {
		w.ok(issue()) // uncounted
	}
	w.set(latchkey.OwnerPolicy{Tokens: 7})
	full()
	w.set(latchkey.OwnerPolicy{Tokens: 8})
	w.ok(issue())
	full()

	// Mass revocation frees all places, and to take it back fills them.
	since := w.now()
	w.turn(time.Minute)
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = w.now(); return nil }))
	for range 8 {
		w.ok(issue())
	}
	w.is(latchkey.ErrTooMany, issue())
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.NotBefore, o.Policy.Tokens = since.Add(-time.Hour*24), 9
		return nil
	}))
	w.is(latchkey.ErrTooMany, issue())
	w.ok(w.acme.Erase(w.ctx))
	w.set(latchkey.OwnerPolicy{Tokens: 1})
	w.ok(issue())
	w.is(latchkey.ErrTooMany, issue())
}

// In bulk as one by one: what is disabled keeps its place, what is over stays over, and what is revoked gives its place
// to another one.
func TestTokensEndedInBulkAndTheirPlaces(t *testing.T) {
	w := newWorld(t)
	w.set(latchkey.OwnerPolicy{Tokens: 3})
	issue := func(end time.Time) error {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Validity: latchkey.Validity{NotAfter: end}})
		return err
	}
	all := latchkey.Selector{Kinds: []latchkey.Kind{latchkey.KindAPIKey}}
	sweep := func(how func(context.Context, latchkey.Selector, string) (latchkey.Swept, error), done int) {
		t.Helper()
		swept, err := how(w.ctx, all, "")
		w.ok(err)
		require.Equal(t, done, swept.Done)
	}
	w.ok(issue(w.now().Add(time.Hour)))
	for range 2 {
		w.ok(issue(time.Time{}))
	}
	sweep(w.acme.DisableAll, 3)
	w.is(latchkey.ErrTooMany, issue(time.Time{}))
	w.turn(time.Hour)
	w.ok(issue(w.now().Add(time.Hour)))
	w.turn(time.Hour)
	w.ok(issue(time.Time{}))
	sweep(w.acme.DisableAll, 2) // one of them is over
	w.is(latchkey.ErrTooMany, issue(time.Time{}))
	sweep(w.acme.RevokeAll, 5)
	for range 3 {
		w.ok(issue(time.Time{}))
	}
	w.is(latchkey.ErrTooMany, issue(time.Time{}))
}

// What ended by a NotBefore further back leaves its place too.
func TestAnEarlierNotBeforeFreesPlaces(t *testing.T) {
	w := newWorld(t)
	w.key()
	w.turn(time.Hour)
	w.set(latchkey.OwnerPolicy{Tokens: 1})
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.is(latchkey.ErrTooMany, err)
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.NotBefore = w.now().Add(-10 * time.Minute)
		return nil
	}))
	w.key()
}

func TestAPolicyBoundsLiveChildren(t *testing.T) {
	var refused []string
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer.Refused = reasonsInto(&refused)
		o.KeepExpired = 0
	})
	_, secret := w.key(readAll())
	_, other := w.key(readAll())
	w.mint(w.access(secret), latchkey.Narrowing{}) // before the policy
	w.set(latchkey.OwnerPolicy{Children: 3})
	mint := func(secret string) (latchkey.Token, string, error) {
		tok, s, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		return tok, s.Reveal(), err
	}
	a, _, err := mint(secret)
	w.ok(err)
	_, child, err := mint(secret)
	w.ok(err)
	_, _, err = mint(secret)
	w.is(latchkey.ErrTooMany, err)
	require.Equal(t, []string{"too_many"}, refused)
	for range 3 {
		_, _, err = mint(child) // each token has its own places
		w.ok(err)
	}
	_, _, err = mint(other)
	w.ok(err)
	w.key() // issued ones are not bounded
	w.ok(w.acme.Revoke(w.ctx, a.ID, ""))
	_, _, err = mint(secret)
	w.ok(err)
	_, _, err = mint(secret)
	w.is(latchkey.ErrTooMany, err)
	_, err = w.acme.Update(w.ctx, a.ID, func(t *latchkey.Token) error { // it stays revoked
		t.Validity.NotAfter = w.now().Add(9 * time.Hour)
		return nil
	})
	w.ok(err)
	w.turn(time.Hour)
	_, _, err = mint(secret)
	w.ok(err)
}

// Of many that take the last places at once, exactly as many succeed as there are places.
func TestThePlacesOfAPolicyAreGivenOnce(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	w.set(latchkey.OwnerPolicy{Tokens: 6, Children: 5})
	a := w.access(secret)
	var minted, issued atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, _, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour}); err == nil {
				minted.Add(1)
			} else {
				assert.ErrorIs(t, err, latchkey.ErrTooMany)
			}
			if _, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}); err == nil {
				issued.Add(1)
			} else {
				assert.ErrorIs(t, err, latchkey.ErrTooMany)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 5, minted.Load())
	require.EqualValues(t, 5, issued.Load())
}

// A policy that was set between the reads of a call and its write is kept to.
func TestAPolicyHoldsForCallsThatBeganBefore(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(readAll())
	a := w.access(secret)
	p := latchkey.OwnerPolicy{MaxLifetime: time.Hour, Kinds: []latchkey.Kind{latchkey.KindSession}}
	for name, call := range map[string]func() error{
		"Issue": func() error {
			_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			return err
		},
		"Mint": func() error {
			_, _, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
			return err
		},
		"Update": func() error {
			_, err := w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error {
				t.Validity.NotAfter = w.now().Add(2 * time.Hour)
				return nil
			})
			return err
		},
	} {
		w.set(latchkey.OwnerPolicy{})
		done := w.store.before(func() { w.set(p) })
		w.is(latchkey.ErrPolicy, call())
		require.True(t, done(), name)
	}
}

// What a damaged record of an owner said is not known, so no end is moved meanwhile.
func TestADamagedPolicyIsNotWidened(t *testing.T) {
	w := newWorld(t)
	tok, _ := w.issue(latchkey.KindAPIKey,
		latchkey.Settings{Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	w.set(latchkey.OwnerPolicy{MaxLifetime: 2 * time.Hour})
	keys := latchkey.New(damagedOwner{w.store}, &latchkey.Options{Clock: w.now})
	update := func(edit func(*latchkey.Token)) error {
		_, err := keys.For("acme").Update(w.ctx, tok.ID, func(t *latchkey.Token) error { edit(t); return nil })
		return err
	}
	var damaged *latchkey.DamagedError
	err := update(func(t *latchkey.Token) { t.Validity.NotAfter = time.Time{} })
	require.True(t, errors.As(err, &damaged), "%v", err)
	require.Equal(t, latchkey.DamagedError{Kind: latchkey.ChangedOwner, Owner: "acme", ID: "acme"}, *damaged)
	w.ok(update(func(t *latchkey.Token) { t.Disabled = true }))
}

// reasonsInto returns a callback that collects the reasons of refusals.
func reasonsInto(into *[]string) func(_ context.Context, r latchkey.Refusal) {
	return func(_ context.Context, r latchkey.Refusal) { *into = append(*into, strings.Clone(r.Reason)) }
}

// damagedOwner is a store that cannot read owners' records.
type damagedOwner struct{ latchkey.Store }

func (s damagedOwner) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if err != nil {
		return f, err
	}
	f.Owner = latchkey.Owner{ID: owner, Version: f.Owner.Version, Boundary: latchkey.Permissions{}, Damaged: true}
	return f, &latchkey.DamagedError{Kind: latchkey.ChangedOwner, Owner: owner, ID: owner}
}
