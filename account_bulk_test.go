package latchkey_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func (w *world) states() map[string]string {
	w.Helper()
	got := map[string]string{}
	for t, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{}) {
		w.ok(err)
		got[t.Name] = t.State(w.now()).String()
	}
	return got
}

// Each field of a Selector selects, and all that are set must be met.
func TestRevokeAllSelects(t *testing.T) {
	host, tables := "", "cloudtables"
	for name, c := range map[string]struct {
		s    func(w *world, role string) latchkey.Selector
		want []string
	}{
		"client": {func(*world, string) latchkey.Selector { return latchkey.Selector{Client: "42"} }, []string{"minted"}},
		"role":   {func(_ *world, role string) latchkey.Selector { return latchkey.Selector{Role: role} }, []string{"roled"}},
		"origin": {func(*world, string) latchkey.Selector { return latchkey.Selector{Origin: &tables} }, []string{"tables"}},
		"the host": {func(*world, string) latchkey.Selector {
			return latchkey.Selector{Origin: &host, Kinds: []latchkey.Kind{latchkey.KindSecret}}
		}, []string{"secret"}},
		"kinds": {func(*world, string) latchkey.Selector {
			return latchkey.Selector{Kinds: []latchkey.Kind{latchkey.KindAccess}}
		}, []string{"minted"}},
		"created before": {func(w *world, _ string) latchkey.Selector {
			return latchkey.Selector{CreatedBefore: w.now().Add(-time.Hour)}
		}, []string{"old", "old, used"}},
		"unused since, which spares the new": {func(w *world, _ string) latchkey.Selector {
			return latchkey.Selector{UnusedSince: w.now().Add(-time.Hour)}
		}, []string{"old"}},
		"several": {func(w *world, role string) latchkey.Selector {
			return latchkey.Selector{Role: role, CreatedBefore: w.now()}
		}, nil},
		"all": {func(*world, string) latchkey.Selector { return latchkey.Selector{All: true} },
			[]string{"minted", "new", "old", "old, used", "roled", "secret", "tables"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			role := w.role("r", readAll())
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "old"})
			_, used := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "old, used"})
			w.turn(48 * time.Hour)
			w.access(used)
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "new"})
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "roled", Roles: []string{role.ID}})
			_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "tables", Origin: tables})
			w.ok(err)
			_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{Name: "secret"})
			w.mint(w.access(secret), latchkey.Narrowing{Name: "minted", Client: latchkey.Client{ID: "42"}})
			gone, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "gone"})
			w.ok(w.acme.Revoke(w.ctx, gone.ID, "before"))
			s := c.s(w, role.ID)

			n, err := w.acme.CountTokens(w.ctx, s.Query(), 0)
			w.ok(err)
			require.Len(t, c.want, n, "the count first")
			for _, name := range []string{"disable", "revoke"} {
				do, state := w.acme.DisableAll, "disabled"
				if name == "revoke" {
					do, state = w.acme.RevokeAll, "revoked"
				}
				swept, err := do(w.ctx, s, "leaver")
				w.ok(err)
				require.Equal(t, len(c.want), swept.Done)
				require.Zero(t, swept.Refused)
				var got []string
				for name, is := range w.states() {
					if is == state && name != "gone" {
						got = append(got, name)
					}
				}
				require.ElementsMatch(t, c.want, got)
				swept, err = do(w.ctx, s, "leaver")
				w.ok(err)
				require.Zero(t, swept.Done, "again")
			}
			events := map[string]int{}
			for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
				w.ok(err)
				if e.Reason == "leaver" {
					events[e.Action]++
					require.NotEqual(t, gone.ID, e.Object)
					if e.Action != "token.revoke-stateless" { // which has no record
						require.NotNil(t, e.Before)
					}
				}
			}
			require.Equal(t, len(c.want), events["token.revoke"])
			require.Equal(t, len(c.want), events["token.update"])
		})
	}
}

func TestAnEmptySelectorSelectsNothing(t *testing.T) {
	w := newWorld(t)
	_, text := w.key()
	for _, s := range []latchkey.Selector{{}, {After: "x"}, {Progress: func(latchkey.Swept) {}},
		{Kinds: []latchkey.Kind{}}} {
		_, err := w.acme.RevokeAll(w.ctx, s, "")
		w.is(latchkey.ErrInvalid, err)
		require.ErrorContains(t, err, "All")
		_, err = w.acme.DisableAll(w.ctx, s, "")
		w.is(latchkey.ErrInvalid, err)
	}
	_, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{All: true}, string(make([]byte, 257)))
	w.is(latchkey.ErrInvalid, err)
	w.access(text)
}

// A sweep of many goes on through transactions of two hundred, tells how far it is, and can be taken up where it ended.
// What it revoked is refused at once.
func TestRevokeAllInSteps(t *testing.T) {
	w := newWorld(t)
	var texts []string
	for i := range 450 {
		_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint(i)})
		texts = append(texts, text)
		w.access(text)
	}
	n, err := w.acme.CountTokens(w.ctx, latchkey.Selector{All: true}.Query(), 300)
	w.ok(err)
	require.Equal(t, 300, n, "the bound")
	ctx, cancel := context.WithCancel(w.ctx)
	swept, err := w.acme.RevokeAll(ctx, latchkey.Selector{All: true, Progress: func(latchkey.Swept) { cancel() }}, "")
	w.is(latchkey.ErrUnavailable, err)
	require.Equal(t, 200, swept.Done)
	n, err = w.acme.CountTokens(w.ctx, latchkey.Selector{All: true, After: swept.After}.Query(), 0)
	w.ok(err)
	require.Equal(t, 250, n)
	for i, text := range texts {
		if _, err := w.verify(text); i < 200 {
			w.is(latchkey.ErrRevoked, err)
		} else {
			w.ok(err)
		}
	}
	var steps []int
	// A token that changes between the reads and the write is read again.
	others := w.keys.For("acme")
	changed := w.store.before(func() {
		for t, err := range others.Tokens(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{After: swept.After}}) {
			w.ok(err)
			_, err := others.Update(w.ctx, t.ID, func(t *latchkey.Token) error { t.Name = "renamed"; return nil })
			w.ok(err)
			break
		}
	})
	swept, err = w.acme.RevokeAll(w.ctx, latchkey.Selector{All: true, After: swept.After,
		Progress: func(s latchkey.Swept) { steps = append(steps, s.Done) }}, "")
	w.ok(err)
	require.True(t, changed())
	require.Equal(t, []int{200, 250}, steps)
	for _, text := range texts {
		_, err := w.verify(text)
		w.is(latchkey.ErrRevoked, err)
	}
	require.Equal(t, "revoked", w.states()["renamed"])
}

// An actor ends what it may end, one by one the same as by Revoke and Update. The others are reported.
func TestAnActorSweepsWhatItMay(t *testing.T) {
	w := newWorld(t)
	weak, strong := w.role("weak", latchkey.Allow(latchkey.Read).On("dataset/a")), w.role("strong", readAll())
	var may, mayNot []string
	add := func(list *[]string, s latchkey.Settings) latchkey.Token {
		tok, _ := w.issue(latchkey.KindAPIKey, s)
		*list = append(*list, tok.ID)
		return tok
	}
	for range 3 {
		add(&may, latchkey.Settings{Roles: []string{weak.ID}})
		add(&mayNot, latchkey.Settings{Roles: []string{strong.ID}})
		add(&may, latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}})
		add(&mayNot, latchkey.Settings{Permissions: latchkey.Permissions{readAll()}})
	}
	s, _ := w.issue(latchkey.KindSecret, latchkey.Settings{})
	mayNot = append(mayNot, s.ID)
	_, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/a"),
		latchkey.Allow(latchkey.Read, latchkey.Update, latchkey.Delete).On("latchkey/token/*")}})
	a := w.access(text)
	mayNot = append(mayNot, a.TokenID())
	actor := must(w.acme.As(a))
	for _, c := range []struct {
		do    func(context.Context, latchkey.Selector, string) (latchkey.Swept, error)
		state latchkey.State
	}{{actor.DisableAll, latchkey.Disabled}, {actor.RevokeAll, latchkey.Revoked}} {
		swept, err := c.do(w.ctx, latchkey.Selector{All: true}, "")
		w.ok(err)
		assert.Equal(t, len(may), swept.Done)
		assert.Equal(t, len(mayNot), swept.Refused)
		assert.ElementsMatch(t, mayNot, swept.RefusedIDs)
		for _, id := range may {
			tok, err := w.acme.Get(w.ctx, id)
			w.ok(err)
			assert.Equal(t, c.state, tok.State(w.now()))
		}
		for _, id := range mayNot {
			tok, err := w.acme.Get(w.ctx, id)
			w.ok(err)
			assert.Equal(t, latchkey.Active, tok.State(w.now()))
		}
	}
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		if e.Action == "token.revoke" || e.Action == "token.update" {
			require.Equal(t, a.TokenID(), e.Actor)
		}
	}

	// Rights enough, and not that to end one.
	_, text = w.key(readAll(), latchkey.Allow(latchkey.Read).On("latchkey/token/*"))
	swept, err := must(w.acme.As(w.access(text))).RevokeAll(w.ctx, latchkey.Selector{All: true}, "")
	w.ok(err)
	assert.Zero(t, swept.Done)
	assert.Len(t, swept.RefusedIDs, len(mayNot)+1)
	w.ok(w.acme.Revoke(w.ctx, w.access(text).TokenID(), ""))

	// Of tokens that it may not read it learns nothing, not even how many there are: a filter could ask about each.
	_, text = w.key(latchkey.Allow(latchkey.Delete).On("latchkey/token/nothing"))
	swept, err = must(w.acme.As(w.access(text))).RevokeAll(w.ctx, latchkey.Selector{All: true}, "")
	w.ok(err)
	assert.Zero(t, swept.Done)
	assert.Equal(t, latchkey.Swept{}, swept)
	n, err := must(w.acme.As(w.access(text))).CountTokens(w.ctx, latchkey.TokenQuery{}, 0)
	w.ok(err)
	assert.Zero(t, n)
	n, err = actor.CountTokens(w.ctx, latchkey.TokenQuery{}, 2)
	w.ok(err)
	assert.Equal(t, 2, n)
}

// A sweep spares the actor and all that it was minted from, and does what is asked to the others.
func TestAnActorSparesWhatItDescendsFrom(t *testing.T) {
	w := newWorld(t)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
	top, topText := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: rules})
	middle, middleText := w.mint(w.access(topText), latchkey.Narrowing{})
	actor, text := w.mint(w.access(middleText), latchkey.Narrowing{})
	other, _ := w.key(readAll())
	as := mustAs(w, w.access(text))
	swept, err := as.DisableAll(w.ctx, latchkey.Selector{IDs: []string{top.ID, middle.ID, actor.ID, other.ID}}, "")
	w.ok(err)
	require.Equal(t, []int{1, 3}, []int{swept.Done, swept.Refused}, "%+v", swept)
	for id, disabled := range map[string]bool{top.ID: false, middle.ID: false, actor.ID: false, other.ID: true} {
		tok, err := w.acme.Get(w.ctx, id)
		w.ok(err)
		require.Equal(t, disabled, tok.Disabled)
	}
}

// A mint's rights are those of its chain, which the sweep reads.
func TestAnActorSweepsMintedTokens(t *testing.T) {
	w := newWorld(t)
	_, parent := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"), latchkey.Allow(latchkey.Read).On("dataset/b"))
	full, _ := w.mint(w.access(parent), latchkey.Narrowing{Client: latchkey.Client{ID: "42"}})
	narrow, _ := w.mint(w.access(parent), latchkey.Narrowing{Client: latchkey.Client{ID: "42"},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}})
	_, within := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
	w.mint(w.access(within), latchkey.Narrowing{Client: latchkey.Client{ID: "42"},
		// more than its parent, by its own rules
		Permissions: latchkey.Permissions{readAll()}})
	_, text := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"),
		latchkey.Allow(latchkey.Read, latchkey.Delete).On("latchkey/token/*"))
	swept, err := must(w.acme.As(w.access(text))).RevokeAll(w.ctx, latchkey.Selector{Client: "42"}, "")
	w.ok(err)
	assert.Equal(t, 2, swept.Done)
	assert.Equal(t, []string{full.ID}, swept.RefusedIDs)
	got, err := w.acme.Get(w.ctx, narrow.ID)
	w.ok(err)
	assert.Equal(t, latchkey.Revoked, got.State(w.now()))
}

// A damaged token that is selected is ended, as by Revoke.
func TestRevokeAllEndsDamagedTokens(t *testing.T) {
	w := newWorld(t)
	tok, text := w.key()
	spoil(t, w.store, tok.ID)
	swept, err := w.acme.DisableAll(w.ctx, latchkey.Selector{All: true}, "")
	w.ok(err)
	assert.Equal(t, 1, swept.Done)
	swept, err = w.acme.RevokeAll(w.ctx, latchkey.Selector{All: true}, "")
	w.ok(err)
	assert.Equal(t, 1, swept.Done)
	_, err = w.verify(text)
	w.is(latchkey.ErrInvalidToken, err)
	got, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	assert.Equal(t, latchkey.Revoked, got.State(w.now()))
}

// Of tokens with the same roles an actor ends those of its own client only, if the roles give rows of the client.
func TestAnActorSweepsByTheClientOfEach(t *testing.T) {
	admin := latchkey.Allow(latchkey.Any).On("latchkey/*")
	for name, s := range map[string][2]latchkey.Spec{
		"client": {{Client: latchkey.Client{ID: "ada"}}, {Client: latchkey.Client{ID: "bob"}}},
		"attribute": {{Attributes: latchkey.Attributes{"dept": "sales"}},
			{Attributes: latchkey.Attributes{"dept": "legal"}}},
		"attribute of children": {{}, {ChildAttributes: []string{"dept"}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, sweep := range []func(latchkey.Account, latchkey.Selector) (latchkey.Swept, error){
				func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
					return a.RevokeAll(t.Context(), s, "")
				},
				func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
					return a.DisableAll(t.Context(), s, "")
				},
			} {
				w := newWorld(t)
				rows := rowRule(eq("dept", latchkey.Attr("dept")))
				if name == "client" {
					rows = rowRule(eq("client", latchkey.ClientID))
				}
				own := w.role("own rows", rows)
				actor, err := w.acme.AssumeWith(latchkey.Caller{Client: s[0].Client, Attributes: s[0].Attributes,
					Rules: latchkey.Permissions{admin, rows}})
				w.ok(err)
				var ids []string
				for _, spec := range s {
					spec.Kind, spec.Roles = latchkey.KindAPIKey, []string{own.ID}
					tok, _, err := w.acme.Issue(w.ctx, spec)
					w.ok(err)
					ids = append(ids, tok.ID)
				}
				as := mustAs(w, actor)
				w.is(latchkey.ErrDenied, as.Revoke(w.ctx, ids[1], ""))
				done, err := sweep(as, latchkey.Selector{Role: own.ID})
				w.ok(err)
				require.Equal(t, 1, done.Done)
				require.Equal(t, ids[1:], done.RefusedIDs)
			}
		})
	}
}

// A count begins behind After, and goes on from page to page.
func TestCountTokensOfManyPages(t *testing.T) {
	w := newWorld(t)
	const many = 2300
	tokens := make([]latchkey.Token, many)
	for i := range tokens {
		tokens[i] = latchkey.Token{ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Owner: "acme",
			Kind: latchkey.KindAPIKey, Created: w.now()}
	}
	w.ok(w.store.Write(w.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: w.now(), Tokens: tokens, Silent: true}))
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("latchkey/token/*"),
		latchkey.Deny(latchkey.Read).On(latchkey.Pattern("latchkey/token/"+tokens[7].ID)))
	actor := mustAs(w, w.access(secret)) // which is the last token
	for _, c := range []struct {
		after string
		most  int
		all   int // as the host
		read  int // as the actor, which may not read one
	}{
		{"", 9000, many + 1, many}, {tokens[5].ID, 9000, many - 5, many - 6}, {tokens[7].ID, 9000, many - 7, many - 7},
		{tokens[1199].ID, 9000, many - 1199, many - 1199}, {"", 1500, 1500, 1500}, {tokens[many-1].ID, 9000, 1, 1},
		{"", 0, 1000, 1000},
	} {
		q := latchkey.TokenQuery{Page: latchkey.Page{After: c.after, Limit: 3}}
		n, err := w.acme.CountTokens(w.ctx, q, c.most)
		w.ok(err)
		assert.Equal(t, c.all, n, "behind %q", c.after)
		n, err = actor.CountTokens(w.ctx, q, c.most)
		w.ok(err)
		assert.Equal(t, c.read, n, "behind %q, as an actor", c.after)
	}
}

// noUsageStore is a store that does not take usage and last uses.
type noUsageStore struct {
	latchkey.Store
	down atomic.Bool
}

func (s *noUsageStore) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if s.down.Load() {
		return latchkey.ErrUnavailable
	}
	return s.Store.AddUsage(ctx, b)
}

// While last uses cannot be written, the store takes a token that is in use for an unused one. So nothing is ended.
func TestUnusedTokensWhileLastUsesCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	store := &noUsageStore{Store: w.store}
	o := w.options()
	keys := latchkey.New(store, &o)
	defer func() { _ = keys.Close(context.Background()) }()
	acme := keys.For("acme")
	tok, secret := w.key(readAll())
	verify := func() {
		_, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
		w.ok(err)
	}
	verify()
	_, err := acme.Get(w.ctx, tok.ID) // which writes last uses
	w.ok(err)
	w.turn(2 * time.Hour)
	store.down.Store(true)
	verify()
	unused := latchkey.Selector{UnusedSince: w.now().Add(-time.Hour)}
	swept, err := acme.RevokeAll(w.ctx, unused, "")
	w.is(latchkey.ErrUnavailable, err)
	assert.Zero(t, swept.Done)
	verify()
	stored, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	require.True(t, stored.Used.Before(unused.UnusedSince), "control: the store does not know of the last use")

	store.down.Store(false)
	swept, err = acme.RevokeAll(w.ctx, unused, "")
	w.ok(err)
	assert.Zero(t, swept.Done)
	verify()
}

// What an actor may end, it is asked once for all tokens that have the same rights.
// Nobody knows those of a damaged one.
func TestASweepTakesNoDamagedTokenForAnother(t *testing.T) {
	w := newWorld(t)
	_, text := w.key(latchkey.Allow(latchkey.Any).On("latchkey/*"))
	clerk, err := w.acme.As(w.access(text))
	w.ok(err)
	first, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	bad, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	last, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{})
	spoil(t, w.store.Store, bad.ID)
	swept, err := clerk.RevokeAll(w.ctx, latchkey.Selector{IDs: []string{first.ID, bad.ID, last.ID}}, "")
	w.ok(err)
	require.Equal(t, 2, swept.Done)
	require.Equal(t, []string{bad.ID}, swept.RefusedIDs)
}

// A call that is refused, or that fails, goes on where it was when it is made again.
func TestASweepThatFailsKeepsItsPlace(t *testing.T) {
	w := newWorld(t)
	reader := w.role("reader", readAll())
	for _, e := range []latchkey.Edit{{}, {AddRoles: []string{"nope"}}, {DropRoles: make([]string, 5000)}} {
		swept, err := w.acme.EditAll(w.ctx, latchkey.Selector{All: true, After: "here"}, e, "")
		w.is(latchkey.ErrInvalid, err)
		require.Equal(t, latchkey.Swept{After: "here"}, swept)
	}
	ended, text := w.key(readAll())
	as := must(w.acme.As(w.access(text)))
	w.ok(w.acme.Revoke(w.ctx, ended.ID, ""))
	for name, sweep := range map[string]func(latchkey.Account, latchkey.Selector) (latchkey.Swept, error){
		"RevokeAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.RevokeAll(w.ctx, s, "")
		},
		"DisableAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.DisableAll(w.ctx, s, "")
		},
		"EditAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.EditAll(w.ctx, s, latchkey.Edit{AddRoles: []string{reader.ID}}, "")
		},
	} {
		swept, err := sweep(as, latchkey.Selector{All: true, After: "here"})
		w.is(latchkey.ErrRevoked, err)
		require.Equal(t, "here", swept.After, name)
		for range 201 {
			w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: name})
		}
		all := latchkey.Selector{Find: name}
		var done latchkey.Swept
		all.Progress = func(s latchkey.Swept) {
			done = s
			w.store.fail.Store(&latchkey.ErrUnavailable)
		}
		swept, err = sweep(w.acme, all)
		w.store.fail.Store(nil)
		w.is(latchkey.ErrUnavailable, err)
		require.Equal(t, 200, swept.Done, name)
		require.NotEmpty(t, swept.After, name)
		require.Equal(t, done, swept, name)
		all.Progress, all.After = nil, swept.After
		swept, err = sweep(w.acme, all)
		w.ok(err)
		require.Equal(t, 1, swept.Done, name)
	}
}
