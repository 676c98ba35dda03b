package latchkey

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var queryNoon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestTokenState(t *testing.T) {
	const us = time.Microsecond
	at := func(d time.Duration) time.Time { return queryNoon.Add(d) }
	for _, c := range []struct {
		what string
		edit func(*Token)
		want State
	}{
		{"plain", func(*Token) {}, Active},
		{"revoked beats all", func(x *Token) {
			x.Revoked, x.Disabled, x.Validity = at(0), true, Validity{NotBefore: at(us), NotAfter: at(-us)}
		}, Revoked},
		{"revoked in the future is revoked", func(x *Token) { x.Revoked = at(time.Hour) }, Revoked},
		{"disabled beats expired", func(x *Token) { x.Disabled, x.Validity.NotAfter = true, at(-us) }, Disabled},
		{"expired beats not yet valid", func(x *Token) { x.Validity = Validity{NotBefore: at(us), NotAfter: at(-us)} },
			Expired},
		{"NotAfter itself is too late", func(x *Token) { x.Validity.NotAfter = at(0) }, Expired},
		{"just before NotAfter", func(x *Token) { x.Validity.NotAfter = at(us) }, Active},
		{"NotBefore itself is in time", func(x *Token) { x.Validity.NotBefore = at(0) }, Active},
		{"just before NotBefore", func(x *Token) { x.Validity.NotBefore = at(us) }, NotYetValid},
		{"idle since its creation", func(x *Token) { x.Validity.Idle = time.Hour }, Expired},
		{"not idle for long enough", func(x *Token) { x.Validity.Idle = time.Hour + us }, Active},
		{"used since", func(x *Token) { x.Validity.Idle, x.Used = time.Hour, at(-time.Minute) }, Active},
		{"idle since its last use", func(x *Token) { x.Validity.Idle, x.Used = time.Minute, at(-time.Minute) }, Expired},
		{"the longest idle time", func(x *Token) { x.Validity.Idle = math.MaxInt64 }, Active},
	} {
		x := Token{Created: at(-time.Hour)}
		c.edit(&x)
		assert.Equal(t, c.want, x.State(queryNoon), c.what)
	}
}

func TestStateString(t *testing.T) {
	for state, want := range map[State]string{
		Active: "active", Revoked: "revoked", Disabled: "disabled", Expired: "expired", NotYetValid: "not_yet_valid",
		0: "state(0)", 9: "state(9)",
	} {
		assert.Equal(t, want, state.String())
	}
}

func TestTokenQueryMatch(t *testing.T) {
	host, origin := "", "cloudtables"
	x := Token{ID: "0193", Kind: KindAPIKey, Origin: "cloudtables", Parent: "p", Hint: "ak_3f…9Qz",
		Client: Client{ID: "42"}, Used: queryNoon,
		Settings: Settings{Name: "Reporting", Roles: []string{"r", "s"}, Validity: Validity{NotAfter: queryNoon}}}
	for _, c := range []struct {
		what string
		q    TokenQuery
		want bool
	}{
		{"nothing said", TokenQuery{}, true},
		{"the page does not matter", TokenQuery{Page: Page{After: "9"}}, true},
		{"its kind", TokenQuery{Kinds: []Kind{KindSecret, KindAPIKey}}, true},
		{"another kind", TokenQuery{Kinds: []Kind{KindSecret}}, false},
		{"its origin", TokenQuery{Origin: &origin}, true},
		{"the host's", TokenQuery{Origin: &host}, false},
		{"its parent", TokenQuery{Parent: "p"}, true},
		{"another parent", TokenQuery{Parent: "P"}, false},
		{"its role", TokenQuery{Role: "s"}, true},
		{"another role", TokenQuery{Role: "x"}, false},
		{"its client", TokenQuery{Client: "42"}, true},
		{"another client", TokenQuery{Client: "4"}, false},
		{"a prefix of its name", TokenQuery{Search: "Rep"}, true},
		{"in another case", TokenQuery{Search: "rep"}, false},
		{"a prefix of its id", TokenQuery{Search: "019"}, true},
		{"a prefix of its hint", TokenQuery{Search: "ak_"}, true},
		{"the middle of its name", TokenQuery{Search: "port"}, false},
		{"the middle of its name, in another case", TokenQuery{Find: "PORT"}, true},
		{"all of its id", TokenQuery{Find: "0193"}, true},
		{"the end of its hint", TokenQuery{Find: "9qz"}, true},
		{"a text that it has not", TokenQuery{Find: "reports"}, false},
		{"its name, but for the order", TokenQuery{Find: "Reporting", Order: OrderUsed, Reverse: true}, true},
		{"its state", TokenQuery{States: []State{Expired}, Now: queryNoon}, true},
		{"another state", TokenQuery{States: []State{Active}, Now: queryNoon}, false},
		{"it ends at the beginning of the span", TokenQuery{ExpiresFrom: queryNoon}, true},
		{"it ends at the end of the span", TokenQuery{ExpiresTo: queryNoon}, false},
		{"it ends within the span", TokenQuery{ExpiresFrom: queryNoon, ExpiresTo: queryNoon.Add(1)}, true},
		{"used since", TokenQuery{UnusedSince: queryNoon}, false},
		{"unused since", TokenQuery{UnusedSince: queryNoon.Add(1)}, true},
		{"all but one", TokenQuery{Role: "r", Client: "42", Search: "x"}, false},
	} {
		assert.Equal(t, c.want, c.q.Match(x), c.what)
	}
	assert.False(t, TokenQuery{ExpiresTo: queryNoon}.Match(Token{}), "a token without an end has none within a span")
	assert.True(t, TokenQuery{UnusedSince: queryNoon}.Match(Token{}), "never used")
}

// containsFold compares as strings.EqualFold does, at every place.
func TestContainsFold(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) && !strings.EqualFold(string(r), string(foldRune(r))) {
			t.Fatalf("%U folds to %U", r, foldRune(r))
		}
		if next := unicode.SimpleFold(r); foldRune(next) != foldRune(r) {
			t.Fatalf("%U and %U are one letter", r, next)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "A", "k", "\u212A", "s", "ſ", "ß", "ẞ", "σ", "ς", "Σ", "i", "İ", "ı", "I", "é", "e\u0301",
		"\uFFFD", "\U0001F511", "", "ǅ", "ǆ"}
	text := func(n int) (s string) {
		for range random.IntN(n) {
			s += parts[random.IntN(len(parts))]
		}
		return s
	}
	found := 0
	for range 100_000 {
		in, find := text(8), text(4)
		want := false
		for from := range len(in) + 1 {
			for to := from; to <= len(in); to++ {
				part := in[from:to]
				want = want || utf8.ValidString(part) && strings.EqualFold(part, find)
			}
		}
		if got := containsFold(in, find); got != want {
			t.Fatalf("containsFold(%q, %q) is %t", in, find, got)
		}
		if want {
			found++
		}
	}
	assert.Greater(t, found, 10_000)
	assert.True(t, containsFold("a\xffb", "\xffB"), "what is no UTF-8 is itself")
	assert.False(t, containsFold("\xff", "\xfe"), "and nothing else")
	assert.False(t, containsFold("\xff", "\uFFFD"))
	assert.False(t, containsFold("\uFFFD", "\xef"))
}

func TestRoleQueryMatch(t *testing.T) {
	host, origin := "", "datocms"
	r := Role{ID: "1", Name: "Editor", Origin: "datocms", Inherits: []string{"2"}}
	assert.True(t, RoleQuery{}.Match(r))
	assert.True(t, RoleQuery{IDs: []string{"0", "1"}, Names: []string{"Editor"}, Origin: &origin, Inherits: "2"}.Match(r))
	assert.False(t, RoleQuery{IDs: []string{"0"}}.Match(r))
	assert.False(t, RoleQuery{Names: []string{"editor"}}.Match(r))
	assert.False(t, RoleQuery{Origin: &host}.Match(r))
	assert.False(t, RoleQuery{Inherits: "1"}.Match(r))
}

// A place in a listing of secrets is what Key made, and nothing else.
func TestKeyQueryStart(t *testing.T) {
	want := KeySecret{Owner: "a\x00b", TokenID: "id", Secret: SecretRecord{Digest: [32]byte{1, 31: 2}}}
	key := KeyQuery{}.Key(want.Owner, want.TokenID, want.Secret.Digest)
	got, err := KeyQuery{Page: Page{After: key}}.Start()
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = KeyQuery{}.Start()
	require.NoError(t, err)
	require.Zero(t, got)
	for _, after := range []string{"x", key + "0", key + "00", key + "zz", key[:len(key)-1], key[:len(key)-2],
		key[:len(key)-2] + "zz", "\x00"} {
		_, err := KeyQuery{Page: Page{After: after}}.Start()
		require.ErrorIs(t, err, ErrInvalid, "%q", after)
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{math.MinInt: 100, -1: 100, 0: 100, 1: 1, 100: 100, 1000: 1000, 1001: 1000,
		math.MaxInt: 1000} {
		assert.Equal(t, want, Page{Limit: limit}.Size(), "%d", limit)
	}
}
