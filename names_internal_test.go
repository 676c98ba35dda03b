package latchkey

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What has the form of a role's id is never taken for a name.
func TestWhatLooksLikeARoleID(t *testing.T) {
	for text, is := range map[string]bool{
		"0192f0c4-9a3b-7c1d-8e2f-0123456789ab":  true,
		"0192F0C4-9A3B-7C1D-8E2F-0123456789AB":  true,
		"code:viewer":                           true,
		"CODE:viewer":                           true,
		"code:":                                 true,
		"code":                                  false,
		"":                                      false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789a":   false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789abc": false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789ag":  false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789a:":  false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789a/":  false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789aG":  false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789a@":  false,
		"0192f0c4-9a3b-7c1d-8e2f-0123456789a`":  false,
		"0192f0c4a9a3b-7c1d-8e2f-0123456789ab":  false,
		"0192f0c4-9a3b-7c1da8e2f-0123456789ab":  false,
		"0192f0c4-9a3b-7c1d-8e2fa0123456789ab":  false,
		"0192f0c4-9a3ba7c1d-8e2f-0123456789ab":  false,
		"0192f0c-49a3b-7c1d-8e2f-0123456789ab":  false,
	} {
		require.Equal(t, is, looksLikeRoleID(text), text)
	}
}

// Without rules there is a reason, too.
func TestExplanationWithoutRules(t *testing.T) {
	for _, p := range []*policy{nil, {}} {
		e := p.explainOf(&question{action: Read, on: "data"})
		require.Equal(t, "none", e.Verdict)
		require.Equal(t, "no rules apply", e.Reason)
	}
}

// A digest that needs a pepper is refused where there is none.
func TestKeptSecretsNeedTheirPepper(t *testing.T) {
	k := KeptSecret{HMAC: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Pepper: "a"}
	for _, l := range []*Legacy{nil, {}, {Peppers: map[string][]byte{"b": {1}}}} {
		_, err := k.record(l, true)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := k.record(&Legacy{Peppers: map[string][]byte{"a": {1}}}, true)
	require.NoError(t, err)
}

// Whoever calls the method itself hears what is wrong, too.
func TestRulesOfMalformedJSON(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "7", "null",
		`{"allow":7,"on":["a"]}`, `{"allow":["read"],"on":["a"],"x":1}`,
		`{"allow":["read"],"allow":["read"],"on":["a"]}`, `{"allow":["read"],"deny":["read"],"on":["a"]}`} {
		r := Allow(Read).On("kept")
		require.ErrorIs(t, r.UnmarshalJSON([]byte(text)), ErrInvalid, text)
		require.Equal(t, Rule{}, r, text)
	}
}

// An invalid resource makes no pattern that matches anything.
func TestPatternsOfInvalidResources(t *testing.T) {
	for _, r := range []Resource{"", "a//b", "/a", "a/", "a/../b", "a/.", "*", "a/*", "{*}", "a\x00"} {
		require.Equal(t, []Pattern{"", ""}, []Pattern{Exactly(r), Under(r)}, "%q", r)
	}
	require.Equal(t, []Pattern{"a/b", "a/b/*"}, []Pattern{Exactly("a/b"), Under("a/b")})
}

// A role that is named by its id and by its name ends at the earlier of both ends.
func TestEndsOfARoleThatIsNamedTwice(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2030, 1, 2, h, 0, 0, 0, time.UTC) }
	for range 20 { // in whatever order they come
		got := endsByID(roleEnds{"clerk": at(3), "id-1": at(2), "other": at(9)}, []string{"clerk"}, []string{"id-1"})
		require.Equal(t, roleEnds{"id-1": at(2), "other": at(9)}, got)
		got = endsByID(roleEnds{"clerk": at(1), "id-1": at(2)}, []string{"clerk"}, []string{"id-1"})
		require.Equal(t, roleEnds{"id-1": at(1)}, got)
	}
	require.Nil(t, endsByID(nil, []string{"clerk"}, []string{"id-1"}))
}

func TestFoldName(t *testing.T) {
	for name, want := range map[string]string{"": "", "a": "A", "A b": "A B", "a  b": "A B", "a\t\u00a0b": "A B",
		"a b c": "A B C", " a  b  c ": " A B C ", "   ": " "} {
		require.Equal(t, want, foldName(name), "%q", name)
	}
}

func TestAttributeNames(t *testing.T) {
	for name, ok := range map[string]bool{"a": true, strings.Repeat("a", 64): true, strings.Repeat("ü", 32): true,
		"": false, strings.Repeat("a", 65): false, "a\x00": false, "\xff": false} {
		require.Equal(t, ok, checkAttributeName(name) == "", "%q: %s", name, checkAttributeName(name))
	}
}
