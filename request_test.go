package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// writeSubject is what the calls of writingCalls change.
type writeSubject struct{ token, role, secret string }

func (w *world) writeSubject() writeSubject {
	w.Helper()
	t, _ := w.key(readAll())
	_, err := w.acme.Rotate(w.ctx, t.ID, time.Hour)
	w.ok(err)
	secrets, err := w.acme.Secrets(w.ctx, t.ID)
	w.ok(err)
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil }))
	return writeSubject{t.ID, w.role("role", readAll()).ID, secrets[0].ID}
}

// writingCalls are the calls that change one record, by name. Each returns the id that the audit trail names.
var writingCalls = map[string]func(w *world, a latchkey.Account, s writeSubject) (string, error){
	"Issue": func(w *world, a latchkey.Account, _ writeSubject) (string, error) {
		t, _, err := a.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		return t.ID, err
	},
	"Import": func(w *world, a latchkey.Account, _ writeSubject) (string, error) {
		t, err := a.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, "old_1234567890abcdef")
		return t.ID, err
	},
	"ImportDigest": func(w *world, a latchkey.Account, _ writeSubject) (string, error) {
		t, err := a.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
			latchkey.KeptSecret{SHA256: strings.Repeat("ab", 32)})
		return t.ID, err
	},
	"CreateRole": func(w *world, a latchkey.Account, _ writeSubject) (string, error) {
		r, err := a.CreateRole(w.ctx, latchkey.Role{Name: "new"})
		return r.ID, err
	},
	"Update": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		_, err := a.Update(w.ctx, s.token, func(t *latchkey.Token) error { t.Name += "x"; return nil })
		return s.token, err
	},
	"Revoke": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		return s.token, a.Revoke(w.ctx, s.token, "")
	},
	"Delete": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		return s.token, a.Delete(w.ctx, s.token)
	},
	"Rotate": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		_, err := a.Rotate(w.ctx, s.token, 0)
		return s.token, err
	},
	"EndSecret": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		return s.token, a.EndSecret(w.ctx, s.token, s.secret, "")
	},
	"UpdateRole": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		_, err := a.UpdateRole(w.ctx, s.role, func(r *latchkey.Role) error { r.Name += "x"; return nil })
		return s.role, err
	},
	"DeleteRole": func(w *world, a latchkey.Account, s writeSubject) (string, error) {
		return s.role, a.DeleteRole(w.ctx, s.role)
	},
	"Configure": func(w *world, a latchkey.Account, _ writeSubject) (string, error) {
		return a.Owner(), a.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = json.RawMessage("1"); return nil })
	},
}

func withImported(o *latchkey.Options) {
	o.Imported = func(text string) bool { return strings.HasPrefix(text, "old_") }
}

func (w *world) request(key, content string) latchkey.Request {
	return latchkey.Request{Key: key, Content: []byte(content), Until: w.now().Add(time.Hour)}
}

// changes returns how many events tell of a change.
func (w *world) changes() (n int) {
	w.Helper()
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		if e.Action != "request.done" {
			n++
		}
	}
	return n
}

// A request is carried out once, whatever it does and whoever sends it, and what it did is told when it comes again.
func TestForRequest(t *testing.T) {
	for name, call := range writingCalls {
		for _, who := range []string{"host", "actor", "assumed"} {
			t.Run(name+"/"+who, func(t *testing.T) {
				w := newWorld(t, withImported)
				s := w.writeSubject()
				a := w.acme
				switch who {
				case "actor":
					_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
					as, err := w.acme.As(w.access(secret))
					w.ok(err)
					a = as
				case "assumed":
					access, err := w.acme.Assume(latchkey.Client{ID: "ann"}, latchkey.Permissions{
						latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")})
					w.ok(err)
					a, err = w.acme.As(access)
					w.ok(err)
				}
				id, err := call(w, a.ForRequest(w.request("k", "this")), s)
				w.ok(err)
				before := w.changes()
				for _, content := range []string{"this", "that"} {
					_, err = call(w, a.ForRequest(w.request("k", content)), s)
					var again *latchkey.RepeatedError
					require.ErrorAs(t, err, &again)
					w.is(latchkey.ErrExists, err)
					require.Equal(t, id, again.Object)
					require.Equal(t, content == "that", again.Other)
					require.EqualError(t, err, latchkey.ErrExists.Error()+": "+map[string]string{
						"this": "the request was carried out before", "that": "another request with this key was carried out"}[content])
					require.NotEmpty(t, again.Action)
					require.Equal(t, w.now(), again.At)
				}
				require.Equal(t, before, w.changes())
				_, err = call(w, a.ForRequest(w.request("k2", "this")), s) // another request is carried out, or fails by itself
				require.False(t, errors.As(err, new(*latchkey.RepeatedError)))
			})
		}
	}
}

func TestMintFor(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	parent := w.access(secret)
	n := latchkey.Narrowing{Lifetime: time.Hour}
	made, text, err := parent.MintFor(w.ctx, w.request("k", "this"), n)
	w.ok(err)
	require.NotEmpty(t, text.Reveal())
	_, _, err = parent.MintFor(w.ctx, w.request("k", "this"), n)
	var again *latchkey.RepeatedError
	require.ErrorAs(t, err, &again)
	require.Equal(t, latchkey.RepeatedError{Action: "token.mint", Object: made.ID, At: w.now()}, *again)
	count, err := w.acme.CountTokens(w.ctx, latchkey.TokenQuery{Parent: parent.TokenID()}, 0)
	w.ok(err)
	require.Equal(t, 1, count)

	child := w.access(text.Reveal()) // the key belongs to who sent it
	_, _, err = child.MintFor(w.ctx, w.request("k", "this"), n)
	w.ok(err)
	_, _, err = parent.MintFor(w.ctx, w.request("", "this"), n)
	w.is(latchkey.ErrInvalid, err)
}

// Between the look at what was carried out and the write another process may carry it out.
func TestForRequestRaces(t *testing.T) {
	for name, call := range map[string]func(w *world, parent latchkey.Access, r latchkey.Request) error{
		"Issue": func(w *world, _ latchkey.Access, r latchkey.Request) error {
			_, _, err := w.acme.ForRequest(r).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			return err
		},
		"MintFor": func(w *world, parent latchkey.Access, r latchkey.Request) error {
			_, _, err := parent.MintFor(w.ctx, r, latchkey.Narrowing{Lifetime: time.Hour})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, secret := w.key(readAll())
			parent := w.access(secret)
			var first error
			done := w.store.before(func() { first = call(w, parent, w.request("k", "this")) })
			err := call(w, parent, w.request("k", "this"))
			require.True(t, done())
			w.ok(first)
			var again *latchkey.RepeatedError
			require.ErrorAs(t, err, &again)
			require.NotEmpty(t, again.Object)
			require.False(t, again.Other)
		})
	}
}

// What the store cannot say was written is written once, and the request again finds it.
func TestForRequestWithAnUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	w.store.unknown.Store(1)
	made, _, err := w.acme.ForRequest(w.request("k", "this")).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err) // the same Write again settled it
	_, _, err = w.acme.ForRequest(w.request("k", "this")).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	var again *latchkey.RepeatedError
	require.ErrorAs(t, err, &again)
	require.Equal(t, made.ID, again.Object)
}

func TestForRequestIsForgotten(t *testing.T) {
	w := newWorld(t)
	issue := func() error {
		_, _, err := w.acme.ForRequest(w.request("k", "this")).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		return err
	}
	w.ok(issue())
	w.turn(time.Hour)
	w.is(latchkey.ErrExists, issue()) // the store has the key until Purge
	_, err := w.keys.Purge(w.ctx)
	w.ok(err)
	w.ok(issue())
	w.is(latchkey.ErrExists, issue())
}

func TestForRequestRefuses(t *testing.T) {
	w := newWorld(t)
	s := w.writeSubject()
	for _, key := range []string{"", strings.Repeat("k", 257), "\xff", "a\x00b"} {
		_, _, err := w.acme.ForRequest(w.request(key, "")).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.is(latchkey.ErrInvalid, err)
	}
	a := w.acme.ForRequest(w.request("k", ""))
	_, err := a.RevokeAll(w.ctx, latchkey.Selector{All: true}, "")
	w.is(latchkey.ErrInvalid, err)
	_, err = a.DisableAll(w.ctx, latchkey.Selector{All: true}, "")
	w.is(latchkey.ErrInvalid, err)
	_, err = a.RevealAll(w.ctx, s.token)
	w.is(latchkey.ErrInvalid, err)
	w.is(latchkey.ErrInvalid, a.EraseClient(w.ctx, "c"))
	require.NoError(t, a.Delete(w.ctx, s.token), "nothing of it was remembered")
}

// A change of a record of another version is refused, also if the version changes just before the write.
func TestIfVersion(t *testing.T) {
	for name, call := range writingCalls {
		switch name {
		case "Issue", "Import", "ImportDigest", "CreateRole":
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.writeSubject()
			token, err := w.acme.Get(w.ctx, s.token)
			w.ok(err)
			is := map[bool]uint64{true: 1, false: token.Version}[strings.HasSuffix(name, "Role") || name == "Configure"]
			before := w.changes()
			for _, versions := range [][]uint64{{}, {is + 1}, {0, is + 7}} {
				_, err := call(w, w.acme.IfVersion(versions...), s)
				w.is(latchkey.ErrStale, err)
				w.is(latchkey.ErrConflict, err)
			}
			require.Equal(t, before, w.changes())

			done := w.store.before(func() { // another writer is first
				switch {
				case strings.HasSuffix(name, "Role"):
					_, err = w.acme.UpdateRole(w.ctx, s.role, func(r *latchkey.Role) error { r.Extra = []byte("2"); return nil })
				case name == "Configure":
					err = w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("2"); return nil })
				default:
					_, err = w.acme.Update(w.ctx, s.token, func(t *latchkey.Token) error { t.Extra = []byte("2"); return nil })
				}
			})
			_, stale := call(w, w.acme.IfVersion(is), s)
			require.True(t, done())
			w.ok(err)
			w.is(latchkey.ErrStale, stale)

			_, err = call(w, w.acme.IfVersion(is, is+1), s)
			w.ok(err)
		})
	}
}

// A sweep of a number of tokens goes on where it ended, until no more is left.
func TestSweepsOfSomeTokens(t *testing.T) {
	w := newWorld(t)
	for i := range 401 {
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint(i)})
	}
	s := latchkey.Selector{All: true, Most: 200}
	for call, want := range []struct {
		done int
		more bool
	}{{200, true}, {200, true}, {1, false}} {
		swept, err := w.acme.RevokeAll(w.ctx, s, "")
		w.ok(err)
		require.Equal(t, want.done, swept.Done, call)
		require.Equal(t, want.more, swept.More, call)
		s.After = swept.After
	}
	swept, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{All: true, Most: 1000}, "")
	w.ok(err)
	require.Zero(t, swept.Done)
	require.False(t, swept.More)
}

// The audit trail says where a caller that the host authenticated itself called from.
func TestCallerAddress(t *testing.T) {
	w := newWorld(t)
	here := netip.MustParseAddr("192.0.2.7")
	for _, from := range []netip.Addr{here, {}} {
		access, err := w.acme.AssumeWith(latchkey.Caller{Client: latchkey.Client{ID: "ann"}, Address: from,
			Rules: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")}})
		w.ok(err)
		require.Equal(t, from, access.Address())
		as, err := w.acme.As(access)
		w.ok(err)
		r, err := as.CreateRole(w.ctx, latchkey.Role{Name: "of " + from.String()})
		w.ok(err)
		page, err := w.acme.EventsPage(w.ctx, latchkey.EventQuery{Object: r.ID})
		w.ok(err)
		want := ""
		if from.IsValid() {
			want = "192.0.2.7"
		}
		require.Equal(t, want, page.Items[0].From)
	}
}

// Of two processes that carry out one request at once, one does it. What the other cannot read then is no answer.
func TestARequestBesideItself(t *testing.T) {
	for _, lost := range []bool{false, true} {
		w := newHalfway(t)
		r := latchkey.Request{Key: "k", Content: []byte("c"), Until: w.now().Add(time.Hour)}
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "once"}
		written := false
		w.store.Fail(func(call string) error {
			switch {
			case call == "Write" && !written:
				written = true
				keys := latchkey.New(w.plain, &latchkey.Options{Clock: w.now})
				_, _, err := keys.For("acme").ForRequest(r).Issue(t.Context(), spec)
				require.NoError(t, err)
			case call == "Events" && written && lost:
				return latchkey.ErrUnavailable
			}
			return nil
		})
		_, _, err := w.keys.For("acme").ForRequest(r).Issue(t.Context(), spec)
		require.True(t, written)
		repeated, known := errors.AsType[*latchkey.RepeatedError](err)
		require.Equal(t, !lost, known, "%v", err)
		if lost {
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
		} else {
			require.Equal(t, "token.issue", repeated.Action)
		}
		w.store.Fail(nil)
		page, err := w.keys.For("acme").TokensPage(t.Context(), latchkey.TokenQuery{Search: "once"})
		require.NoError(t, err)
		require.Len(t, page.Items, 1)
	}
}

// A key that is used again after its time is another request, and the trail says who sent each.
func TestAKeyThatIsUsedAgain(t *testing.T) {
	w := newWorld(t)
	_, text := w.key(latchkey.Allow(latchkey.Any).On("*", "latchkey/*"))
	access := w.access(text)
	as := mustAs(w, access)
	send := func(content string) error {
		_, _, err := as.ForRequest(latchkey.Request{Key: "k", Content: []byte(content), Until: w.now().Add(time.Hour)}).
			Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: content})
		return err
	}
	for _, content := range []string{"first", "second", "third"} {
		w.ok(send(content))
		repeated, ok := errors.AsType[*latchkey.RepeatedError](send(content))
		require.True(t, ok, content)
		require.False(t, repeated.Other, content)
		repeated, ok = errors.AsType[*latchkey.RepeatedError](send(content + ", more"))
		require.True(t, ok && repeated.Other, content)
		w.turn(2 * time.Hour)
		_, err := w.keys.Purge(w.ctx) // of what is over
		w.ok(err)
	}
	of := map[string]int{}
	actor := access.TokenID()
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{Actor: &actor}) {
		w.ok(err)
		of[e.Action]++
	}
	require.Equal(t, map[string]int{"token.issue": 3, "request.done": 3}, of)
}

// tornEvents is a store that garbles what its events say of requests.
type tornEvents struct{ latchkey.Store }

func (s tornEvents) Events(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
	list, next, err := s.Store.Events(ctx, owner, q)
	for i := range list {
		if list[i].Action == "request.done" {
			list[i].After = []byte("{")
		}
	}
	return list, next, err
}

// A request of which the trail cannot be read is neither carried out nor taken for one that was.
func TestARequestWhoseEventCannotBeRead(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	torn := latchkey.New(tornEvents{w.store}, &o)
	t.Cleanup(func() { require.NoError(t, torn.Close(context.Background())) })
	issue := func(m *latchkey.Manager) error {
		_, _, err := m.For("acme").ForRequest(w.request("k", "this")).Issue(w.ctx,
			latchkey.Spec{Kind: latchkey.KindAPIKey})
		return err
	}
	w.ok(issue(w.keys))
	before := w.changes()
	err := issue(torn)
	w.is(latchkey.ErrUnavailable, err)
	require.NotErrorIs(t, err, latchkey.ErrExists)
	require.Equal(t, before, w.changes())
	w.is(latchkey.ErrExists, issue(w.keys))
}
