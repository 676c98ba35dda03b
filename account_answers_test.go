package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// spoiling is a store of which some records cannot be read.
type spoiling struct {
	latchkey.Store
	base string // the id of a role
	role bool   // it cannot be read
}

func (s *spoiling) spoil(f *latchkey.Found) (err error) {
	for i := range f.Roles {
		if s.role && f.Roles[i].ID == s.base {
			f.Roles[i].Damaged, f.Roles[i].Permissions, f.Roles[i].Boundary = true, nil, nil
			err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: f.Token.Owner, ID: s.base}
		}
	}
	return err
}

func (s *spoiling) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if err == nil {
		err = s.spoil(&f)
	}
	return f, err
}

func (s *spoiling) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, d...)
	if err == nil {
		err = s.spoil(&f)
	}
	return f, err
}

func (s *spoiling) damaged(r *latchkey.Role) bool {
	if !s.role || r.ID != s.base {
		return false
	}
	r.Damaged, r.Permissions, r.Boundary = true, nil, nil
	return true
}

func (s *spoiling) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	r, err := s.Store.Role(ctx, owner, id)
	if err == nil && s.damaged(&r) {
		err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id}
	}
	return r, err
}

func (s *spoiling) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	for i := range list {
		s.damaged(&list[i])
	}
	return list, err
}

// states are what may have happened to the records that calls are about, by the host.
func states() map[string]func(t *testing.T, w *halfway, host latchkey.Account) {
	type account = latchkey.Account
	update := func(edit func(w *halfway, t *latchkey.Token)) func(*testing.T, *halfway, account) {
		return func(t *testing.T, w *halfway, host account) {
			_, err := host.Update(t.Context(), w.spare, func(t *latchkey.Token) error { edit(w, t); return nil })
			require.NoError(t, err)
		}
	}
	return map[string]func(*testing.T, *halfway, account){
		"as it is":            func(*testing.T, *halfway, account) {},
		"token disabled":      update(func(_ *halfway, t *latchkey.Token) { t.Disabled = true }),
		"token without rules": update(func(_ *halfway, t *latchkey.Token) { t.Roles, t.RoleEnds = nil, nil }),
		"token not valid yet": update(func(w *halfway, t *latchkey.Token) { t.Validity.NotBefore = w.now().Add(time.Hour) }),
		"token signed":        update(func(_ *halfway, t *latchkey.Token) { t.Restrictions.Signed = true }),
		"token revoked": func(t *testing.T, w *halfway, host account) {
			require.NoError(t, host.Revoke(t.Context(), w.spare, "gone"))
		},
		"token damaged": func(t *testing.T, w *halfway, _ account) { spoil(t, w.plain, w.spare) },
		"token deleted": func(t *testing.T, w *halfway, host account) {
			require.NoError(t, host.Delete(t.Context(), w.spare))
		},
		"parent revoked": func(t *testing.T, w *halfway, host account) {
			require.NoError(t, host.Revoke(t.Context(), w.parent, "gone"))
		},
		"parent damaged": func(t *testing.T, w *halfway, _ account) { spoil(t, w.plain, w.parent) },
		"role damaged": func(_ *testing.T, w *halfway, _ account) {
			w.store.Store.(*spoiling).role = true
		},
		"role deleted": func(t *testing.T, w *halfway, host account) {
			require.NoError(t, host.DeleteRole(t.Context(), w.unused))
		},
		"owner disabled": func(t *testing.T, w *halfway, host account) {
			require.NoError(t, host.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		},
	}
}

// callers are who makes a call: the host, and tokens that act.
var callers = []string{"host", "secret key", "clerk", "reader", "nobody"}

func rulesOfCallers() map[string]latchkey.Permissions {
	return map[string]latchkey.Permissions{
		"clerk":  {latchkey.Allow(latchkey.Any).On("latchkey/*")}, // no right that the tokens have
		"reader": {latchkey.Allow(latchkey.Read).On("*", "latchkey/*")},
		"nobody": nil,
	}
}

// outcome says in a word what an error is.
func outcome(err error) string {
	var damaged *latchkey.DamagedError
	for _, c := range []struct {
		is   bool
		word string
	}{
		{err == nil, "ok"},
		{errors.Is(err, latchkey.ErrNotFound), "absent"},
		{errors.Is(err, latchkey.ErrDenied), "denied"},
		{errors.Is(err, latchkey.ErrInvalidToken), "refused"},
		{errors.As(err, &damaged), "damaged"},
		{errors.Is(err, latchkey.ErrExists), "exists"},
		{errors.Is(err, latchkey.ErrConflict), "conflict"},
		{errors.Is(err, latchkey.ErrInvalid), "invalid"},
	} {
		if c.is {
			return c.word
		}
	}
	return err.Error()
}

// testdata/answers.golden is a table of what each call answers to the host, a secret key, a clerk, a reader and nobody,
// in each state of what it is about, with the actions of the events that it writes. LATCHKEY_UPDATE=1 rewrites it: read
// the difference as policy. Sampled with -short.
func TestAnswersOfEveryCall(t *testing.T) {
	const file = "testdata/answers.golden"
	calls, steps := troubles()
	maps.Copy(calls, steps)
	names, all := slices.Sorted(maps.Keys(calls)), states()
	if testing.Short() {
		names = slices.DeleteFunc(names, func(string) bool { return rand.IntN(10) > 0 })
	}
	answers := map[string]map[string][]string{} // by name and state
	for _, name := range names {
		answers[name] = map[string][]string{}
	}
	for state, change := range all {
		for _, caller := range callers {
			for name, answer := range answersTo(t, caller, change, names, calls) {
				answers[name][state] = append(answers[name][state], answer)
			}
		}
	}
	tables := map[string]string{}
	for name, of := range answers {
		tables[name] = tableOf(of)
	}
	if os.Getenv("LATCHKEY_UPDATE") != "" {
		var text strings.Builder
		for _, name := range names {
			text.WriteString(name + "\n" + tables[name] + "\n")
		}
		require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o644))
	}
	golden, err := os.ReadFile(file)
	require.NoError(t, err)
	want := map[string]string{}
	for table := range strings.SplitSeq(strings.TrimSuffix(string(golden), "\n\n"), "\n\n") {
		name, lines, _ := strings.Cut(table, "\n")
		want[name] = lines + "\n"
	}
	for _, name := range names {
		require.Equal(t, want[name], tables[name], name)
	}
	require.Len(t, want, len(calls))
}

// tableOf writes the answers in each state. States with the same answers share a line; so do all callers that hear the
// same.
func tableOf(of map[string][]string) string {
	lines := map[string][]string{}
	for _, state := range slices.Sorted(maps.Keys(of)) {
		words := of[state]
		if !slices.ContainsFunc(words, func(w string) bool { return w != words[0] }) {
			words = words[:1]
		}
		line := strings.Join(words, " | ")
		lines[line] = append(lines[line], state)
	}
	var all []string
	for line, states := range lines {
		if len(states) > len(of)/2 {
			states = []string{"otherwise"}
		}
		all = append(all, fmt.Sprintf("  %s: %s\n", strings.Join(states, ", "), line))
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// answersTo yields what calls answer to a caller, each as in a new world: one that wrote nothing leaves it as it was.
func answersTo(t *testing.T, caller string, state func(*testing.T, *halfway, latchkey.Account), names []string,
	calls map[string]func(context.Context, latchkey.Account, *halfway) error) map[string]string {
	t.Helper()
	keeps := []string{"Anchor", "Deliver", "Erase", "Once", "Purge", "Rekey", "Spend"} // what is no event
	out := map[string]string{}
	var w *halfway
	var account latchkey.Account
	for _, name := range names {
		if w == nil {
			w = newHalfway(t)
			w.store.Store = &spoiling{Store: w.plain, base: w.base}
			account = actAs(t, w, caller)
			state(t, w, w.keys.For("acme"))
		}
		before := w.done(t)
		word := outcome(calls[name](t.Context(), account, w))
		after := w.done(t)
		for _, action := range before { // which leaves what is new
			if i := slices.Index(after, action); i >= 0 {
				after = slices.Delete(after, i, i+1)
			}
		}
		if len(after) > 0 {
			word += " " + strings.Join(after, "+")
		}
		if len(after) > 0 || slices.Contains(keeps, name) {
			w = nil
		}
		out[name] = word
	}
	return out
}

// actAs returns the account of the host, or as of a token.
func actAs(t *testing.T, w *halfway, caller string) latchkey.Account {
	t.Helper()
	host, text := w.keys.For("acme"), w.rootText
	switch caller {
	case "host":
		return host
	case "secret key":
	default:
		_, secret, err := host.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
			Permissions: rulesOfCallers()[caller]})
		require.NoError(t, err)
		text = secret.Reveal()
	}
	access, err := host.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.NoError(t, err)
	account, err := host.As(access)
	require.NoError(t, err)
	return account
}
