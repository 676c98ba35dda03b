package latchkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// clients returns a world in which a key has minted for two clients, one of them with a grandchild.
func clients(t *testing.T) (w *world, parent latchkey.Access, ada []latchkey.Token) {
	w = newWorld(t)
	_, text := w.key(readAll())
	parent = w.access(text)
	mint := func(a latchkey.Access, id, name string) (latchkey.Token, latchkey.Access) {
		token, text := w.mint(a, latchkey.Narrowing{Client: latchkey.Client{ID: id, Name: name}})
		access := w.access(text)
		access.Count("api", "GET /", 2)
		return token, access
	}
	first, access := mint(parent, "ada-7", "Ada Lovelace")
	child, _ := mint(access, "", "")
	gone, _ := mint(parent, "ada-7", "Ada Lovelace")
	ada = []latchkey.Token{first, child, gone}
	mint(parent, "bob-8", "Robert Kahn")
	for _, token := range ada {
		w.update(token, func(t *latchkey.Token) { t.Name = "Ada's" })
	}
	w.ok(w.acme.Revoke(w.ctx, first.ID, "Ada asked"))
	w.ok(w.acme.Delete(w.ctx, gone.ID)) // its events stay
	// Another owner knows a client of the same id.
	_, other, err := w.keys.For("globex").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	w.ok(err)
	w.mint(w.access(other.Reveal()), latchkey.Narrowing{Client: latchkey.Client{ID: "ada-7", Name: "Ada Lovelace"}})
	return w, parent, ada
}

// everything returns all that an owner's account shows, as a text.
func (w *world) everything(owner string) string {
	w.Helper()
	var out bytes.Buffer
	line := func(v any, err error) {
		w.Helper()
		w.ok(err)
		text, err := json.Marshal(v)
		w.ok(err)
		out.Write(append(text, '\n'))
	}
	a := w.keys.For(owner)
	for t, err := range a.Tokens(w.ctx, latchkey.TokenQuery{}) {
		line(t, err)
	}
	for c, err := range a.Clients(w.ctx) {
		line(c, err)
	}
	for e, err := range a.Events(w.ctx, latchkey.EventQuery{}) {
		line(e, err)
	}
	rows, err := a.Usage(w.ctx, latchkey.UsageQuery{By: []string{"client", "token", "meter", "endpoint", "day"}})
	line(rows, err)
	return out.String()
}

func TestExportClient(t *testing.T) {
	w, _, ada := clients(t)
	var out bytes.Buffer
	w.ok(w.acme.ExportClient(w.ctx, "ada-7", &out))
	members := map[string]int{}
	for line := range strings.Lines(out.String()) {
		var object map[string]json.RawMessage
		w.ok(json.Unmarshal([]byte(line), &object))
		require.Len(t, object, 1)
		for member := range object {
			members[member]++
		}
	}
	// Three updates, a revocation and a deletion; usage of three tokens.
	require.Equal(t, map[string]int{"client": 1, "token": 2, "usage": 3, "event": 5}, members)
	require.Equal(t, 3, strings.Count(out.String(), `"client_id":"ada-7"`), out.String())
	require.Contains(t, out.String(), ada[0].ID)
	require.NotContains(t, out.String(), "bob-8")
	require.NotContains(t, out.String(), "Robert Kahn")
	require.NotContains(t, out.String(), "globex")
	require.NotContains(t, out.String(), "digest")

	full := errors.New("the disk is full")
	for n := range strings.Count(out.String(), "\n") {
		w.is(full, w.acme.ExportClient(w.ctx, "ada-7", writerFunc(func(p []byte) (int, error) {
			if n--; n == -1 {
				return 0, full
			}
			return len(p), nil
		})))
	}

	w.is(latchkey.ErrNotFound, w.acme.ExportClient(w.ctx, "nobody", &out))
	w.is(latchkey.ErrInvalid, w.acme.ExportClient(w.ctx, "", &out))
	out.Reset()
	for missing, allowed := range map[string][]latchkey.Pattern{
		"client": {"latchkey/usage", "latchkey/event", "latchkey/token/*"},
		"usage":  {"latchkey/client", "latchkey/event", "latchkey/token/*"},
		"event":  {"latchkey/client", "latchkey/usage", "latchkey/token/*"},
	} {
		_, text := w.key(latchkey.Allow(latchkey.Read).On(allowed...))
		actor, err := w.acme.As(w.access(text))
		w.ok(err)
		w.is(latchkey.ErrDenied, actor.ExportClient(w.ctx, "ada-7", &out))
		require.Empty(t, out.String(), missing)
	}
	_, text := w.key(latchkey.Allow(latchkey.Read).On("latchkey/client", "latchkey/usage", "latchkey/event"))
	actor, err := w.acme.As(w.access(text))
	w.ok(err)
	w.is(latchkey.ErrDenied, actor.ExportClient(w.ctx, "ada-7", &out))
	require.NotContains(t, out.String(), `"token":{`)
	_, text = w.key(latchkey.Allow(latchkey.Read).On("latchkey/*"))
	actor, err = w.acme.As(w.access(text))
	w.ok(err)
	w.ok(actor.ExportClient(w.ctx, "ada-7", &out))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestEraseClient(t *testing.T) {
	w, parent, ada := clients(t)
	// What digests in base64 cannot hold by chance.
	traces := []string{"ada-7", "Ada Lovelace", "Ada's", "Ada asked"}
	for _, trace := range traces {
		require.Contains(t, w.everything("acme"), trace, "or the test would prove nothing")
	}
	others := w.everything("globex")
	count := func() int64 {
		rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{})
		w.ok(err)
		return rows[0].Count
	}
	_, text := w.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "ada-7"}})
	own := w.access(text)
	before := count()

	actor, err := w.acme.As(parent)
	w.ok(err)
	w.is(latchkey.ErrDenied, actor.EraseClient(w.ctx, "ada-7"))
	require.Contains(t, w.everything("acme"), "Lovelace")

	own.Count("api", "GET /", 1) // still in memory
	w.ok(w.acme.EraseClient(w.ctx, "ada-7"))
	left := w.everything("acme")
	for _, trace := range traces {
		require.NotContains(t, left, trace)
	}
	require.Contains(t, left, "bob-8")
	require.Contains(t, left, "client.erase")
	var deleted []string
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		if w.ok(err); e.Action == "token.delete" {
			deleted = append(deleted, e.Object)
		}
	}
	require.Contains(t, deleted, ada[0].ID, "the trail says which tokens went")
	require.Equal(t, before+1, count(), "sums stay")
	require.Equal(t, others, w.everything("globex"), "nothing of another owner")
	w.ok(w.acme.EraseClient(w.ctx, "ada-7")) // again
	w.is(latchkey.ErrNotFound, w.acme.ExportClient(w.ctx, "ada-7", &bytes.Buffer{}))
	w.is(latchkey.ErrInvalid, w.acme.EraseClient(w.ctx, ""))
}

// Counts that cannot be written would bring the client back, so it is not erased before they can.
func TestEraseClientWaitsForItsCounts(t *testing.T) {
	w := newWorld(t)
	store := &latchkeytest.Store{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	t.Cleanup(func() { _ = keys.Close(context.Background()) })
	acme := keys.For("acme")
	_, secret, err := acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "ada-7"}})
	w.ok(err)
	access, err := acme.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal()})
	w.ok(err)
	access.Count("api", "GET /", 1)
	store.Fail(func(call string) error {
		if call == "AddUsage" {
			return latchkey.ErrUnavailable
		}
		return nil
	})
	w.is(latchkey.ErrUnavailable, acme.EraseClient(w.ctx, "ada-7"))
	for e, err := range acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		require.NotEqual(t, "client.erase", e.Action)
	}
	store.Fail(nil)
	w.ok(acme.EraseClient(w.ctx, "ada-7"))
	rows, err := acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"client"}})
	w.ok(err)
	for _, row := range rows {
		require.NotEqual(t, "ada-7", row.ClientID)
	}
}

func TestEraseClientEndsItsTokens(t *testing.T) {
	w := newWorld(t)
	_, text := w.key(readAll())
	parent := w.access(text)
	var texts []string
	for range 120 {
		_, child := w.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "7"}})
		_, grandchild := w.mint(w.access(child), latchkey.Narrowing{})
		texts = append(texts, child, grandchild)
	}
	// One is minted while the others are deleted.
	did := w.store.before(func() {
		_, child := w.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "7"}})
		texts = append(texts, child)
	})
	w.ok(w.acme.EraseClient(w.ctx, "7"))
	require.True(t, did())
	// So is one alone, when none was found.
	did = w.store.before(func() {
		_, child := w.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "7"}})
		texts = append(texts, child)
	})
	w.ok(w.acme.EraseClient(w.ctx, "7"))
	require.True(t, did())
	for _, text := range texts {
		_, err := w.verify(text)
		w.is(latchkey.ErrInvalidToken, err)
	}
	_, err := w.verify(text)
	w.ok(err)
}

// A trail is read to its end for a client, however short its pages are.
func TestClientsOfALongTrail(t *testing.T) {
	w, _, ada := clients(t)
	short := latchkey.New(shortEvents{w.store}, &latchkey.Options{Clock: w.now}).For("acme")
	var whole, paged bytes.Buffer
	w.ok(w.acme.ExportClient(w.ctx, "ada-7", &whole))
	w.ok(short.ExportClient(w.ctx, "ada-7", &paged))
	require.Equal(t, whole.String(), paged.String())
	require.Contains(t, whole.String(), ada[2].ID, "of events of a token that is gone")
	w.ok(short.EraseClient(w.ctx, "ada-7"))
	require.NotContains(t, w.everything("acme"), "Lovelace")
	require.NotContains(t, w.everything("acme"), "ada-7")
}

// A token that goes while its client is erased, with its parent or by itself, stops nothing.
func TestEraseClientBesideADeletion(t *testing.T) {
	for _, others := range []int{0, 2} {
		w := newHalfway(t)
		host := w.keys.For("acme")
		for range others {
			_, _, err := host.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "9"}})
			require.NoError(t, err)
		}
		lone, _, err := host.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "9"}})
		require.NoError(t, err)
		gone := false
		w.store.Fail(func(call string) error {
			if call == "Load" && !gone {
				gone = true
				_, err := w.plain.Load(t.Context(), "acme", lone.ID)
				require.NoError(t, err, "it was listed")
				require.NoError(t, latchkey.New(w.plain, &latchkey.Options{Clock: w.now}).For("acme").
					Delete(t.Context(), lone.ID))
			}
			return nil
		})
		require.NoError(t, host.EraseClient(t.Context(), "9"))
		require.True(t, gone)
		left, err := host.TokensPage(t.Context(), latchkey.TokenQuery{Client: "9"})
		require.NoError(t, err)
		require.Empty(t, left.Items)
	}
}

// A token that goes while a sweep is under way is passed over, and the sweep goes on.
func TestSweepsBesideADeletion(t *testing.T) {
	sweeps := map[string]func(latchkey.Account, latchkey.Selector) (latchkey.Swept, error){
		"EditAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.EditAll(t.Context(), s, latchkey.Edit{AddRoles: []string{"reader"}}, "")
		},
		"DisableAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.DisableAll(t.Context(), s, "")
		},
		"RevokeAll": func(a latchkey.Account, s latchkey.Selector) (latchkey.Swept, error) {
			return a.RevokeAll(t.Context(), s, "")
		},
	}
	for name, sweep := range sweeps {
		w := newHalfway(t)
		host := w.keys.For("acme")
		var ids []string
		for range 3 {
			made, _, err := host.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "9"}})
			require.NoError(t, err)
			ids = append(ids, made.ID)
		}
		gone := false
		w.store.Fail(func(call string) error {
			if (call == "Load" || call == "Write") && !gone {
				gone = true
				require.NoError(t, latchkey.New(w.plain, &latchkey.Options{Clock: w.now}).For("acme").
					Delete(t.Context(), ids[1]))
			}
			return nil
		})
		swept, err := sweep(host, latchkey.Selector{Client: "9"})
		require.NoError(t, err, name)
		require.True(t, gone, name)
		require.Equal(t, 2, swept.Done, "%s: %+v", name, swept)
		require.Zero(t, swept.Refused, name)
	}
}

// An actor needs the right for the client and for each of its tokens, and erases nothing without.
func TestEraseClientAsAnActor(t *testing.T) {
	for _, missing := range []string{"client", "token", "what the tokens may do", ""} {
		w, _, _ := clients(t)
		var rules latchkey.Permissions
		for what, rule := range map[string]latchkey.Rule{
			"client":                 latchkey.Allow(latchkey.Delete).On("latchkey/client"),
			"token":                  latchkey.Allow(latchkey.Delete).On("latchkey/token/*"),
			"what the tokens may do": readAll(),
		} {
			if what != missing {
				rules = append(rules, rule)
			}
		}
		_, text := w.key(rules...)
		actor, err := w.acme.As(w.access(text))
		w.ok(err)
		before := strings.Count(w.everything("acme"), "Lovelace")
		err = actor.EraseClient(w.ctx, "ada-7")
		if missing == "" {
			w.ok(err)
			require.NotContains(t, w.everything("acme"), "Lovelace")
			continue
		}
		require.ErrorIs(t, err, latchkey.ErrDenied, missing)
		require.Equal(t, before, strings.Count(w.everything("acme"), "Lovelace"), missing)
	}
}

// A token that was issued or imported for a client is the client's as one that was minted is: its attributes, its
// events and what it did are shown, and end with it.
func TestIssuedTokensOfAClient(t *testing.T) {
	w := newWorld(t, legacyOptions)
	ada := latchkey.Client{ID: "ada-7", Name: "Ada Lovelace"}
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada, Attributes: latchkey.Attributes{"mail": "ada@lovelace"},
		Permissions: latchkey.Permissions{readAll(), latchkey.Allow(latchkey.Any).On("latchkey/*")}}
	issued, secret, err := w.acme.Issue(w.ctx, spec)
	w.ok(err)
	imported, err := w.acme.ImportDigest(w.ctx, spec, latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
	w.ok(err)
	access := w.access(secret.Reveal())
	access.Count("api", "GET /", 2)
	access.Refused(w.ctx, latchkey.ErrDenied)
	_, child := w.mint(access, latchkey.Narrowing{})
	w.access(child)
	byToken, err := w.acme.As(access)
	w.ok(err)
	_, err = byToken.CreateRole(w.ctx, latchkey.Role{Name: "clerk"})
	w.ok(err)
	byClient, err := w.acme.As(must(w.acme.Assume(ada, spec.Permissions)))
	w.ok(err)
	_, err = byClient.CreateRole(w.ctx, latchkey.Role{Name: "guest"})
	w.ok(err)

	var out strings.Builder
	w.ok(w.acme.ExportClient(w.ctx, "ada-7", &out))
	for _, shown := range []string{`{"token":{"id":"` + issued.ID, `{"token":{"id":"` + imported.ID, `"name":"clerk"`,
		`"actor":"client:ada-7","action":"role.create"`, "ada@lovelace"} {
		require.Contains(t, out.String(), shown)
	}

	// Its own token cannot: it would end in the middle.
	err = byToken.EraseClient(w.ctx, "ada-7")
	w.is(latchkey.ErrDenied, err)
	byChild, err := w.acme.As(w.access(child))
	w.ok(err)
	w.is(latchkey.ErrDenied, byChild.EraseClient(w.ctx, "ada-7"))
	w.access(secret.Reveal())

	w.ok(byClient.EraseClient(w.ctx, "ada-7"))
	left := w.everything("acme")
	for _, trace := range []string{"Lovelace", "ada@lovelace", `"client_id"`, "ada-7"} {
		require.NotContains(t, left, trace)
	}
	require.Contains(t, left, `"actor":"client:","action":"role.create"`)
	require.Contains(t, left, `"actor":"client:","action":"client.erase"`)
	for _, text := range []string{secret.Reveal(), child, "old_42_s3cret"} {
		_, err := w.verify(text)
		w.is(latchkey.ErrUnknownToken, err)
	}
	report, err := w.acme.RefusalReport(w.ctx, latchkey.RefusalQuery{By: []string{"reason"}})
	w.ok(err)
	require.Equal(t, []latchkey.RefusalCount{{Reason: "denied", Count: 1}}, report, "of no client")
}
