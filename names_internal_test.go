package latchkey

import (
	"net/netip"
	"strconv"
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

// A feed whose first pages hold nothing is read on, whichever of them has something at last.
func TestListingsOfFeedsReadOn(t *testing.T) {
	m := New(&failingStore{}, nil)
	pages := map[string][]Token{"": nil, "1": nil, "2": {{ID: "a"}}, "3": nil, "4": {{ID: "b"}, {ID: "c"}}, "5": nil}
	var got []string
	reads := 0
	for tok, err := range m.ofAllFeeds(t.Context(), func(a, b Token) int { return strings.Compare(a.ID, b.ID) },
		func(_ FeedID, after string, first bool) ([]Token, string, error) {
			reads++
			require.Equal(t, after == "", first)
			next := strconv.Itoa(reads)
			if reads == len(pages) {
				next = ""
			}
			return pages[after], next, nil
		}) {
		require.NoError(t, err)
		got = append(got, tok.ID)
	}
	require.Equal(t, []string{"a", "b", "c"}, got)
	require.Equal(t, len(pages), reads)
}

// A token that was used may have been used since, by as much as need not be written, and never after it idled out.
func TestLatestUseOfWhatIsStored(t *testing.T) {
	const now = int64(1_900_000_000_000_000)
	ago := func(d time.Duration) time.Time { return fromMicros(now).Add(-d) }
	for _, c := range []struct {
		used time.Time
		idle time.Duration
		want time.Time
	}{
		{time.Time{}, 0, time.Time{}},
		{time.Time{}, time.Hour, time.Time{}},
		{ago(0), 0, ago(0)},
		{ago(time.Minute), 0, ago(0)},
		{ago(24 * time.Hour), 0, ago(24*time.Hour - 10*time.Minute)},
		{ago(30 * time.Minute), time.Hour, ago(27 * time.Minute)},
		{ago(time.Minute), time.Hour, ago(0)},
		{ago(2 * time.Hour), time.Hour, ago(2 * time.Hour)},
	} {
		got := latestUse(&Token{Used: c.used, Settings: Settings{Validity: Validity{Idle: c.idle}}}, now)
		require.True(t, c.want.Equal(got), "%+v: %v", c, got)
	}
}

// The zero time is 0, not a moment of year 1.
func TestMicrosOfTheZeroTime(t *testing.T) {
	require.Zero(t, micros(time.Time{}))
	require.EqualValues(t, 5, micros(time.UnixMicro(5)))
	require.EqualValues(t, -5, micros(time.UnixMicro(-5)))
}

// An address that is not known stays so, however much of it is kept.
func TestDetailOfNoAddress(t *testing.T) {
	for d := range AddressDetail(5) {
		require.Equal(t, netip.Addr{}, d.of(netip.Addr{}), d)
	}
}

// What names no attribute leaves a set as it is, also one that does not exist.
func TestNarrowedByNoAttribute(t *testing.T) {
	some := newAttributeSet(Attributes{"a": "b"}, []string{"c"})
	for _, s := range []*attributeSet{nil, some} {
		for _, more := range []Attributes{nil, {}} {
			got, err := s.narrowed(more)
			require.NoError(t, err)
			require.Same(t, s, got)
		}
	}
}

// A name that would not read as one word stands in quotes.
func TestWords(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "a/b": "a/b", "ü": "ü", "": `""`, "a b": `"a b"`, "a,b": `"a,b"`,
		`a"b`: `"a\"b"`, "a\tb": `"a\tb"`, "a\u202eb": `"a\u202eb"`, "a'b": "a'b"} {
		require.Equal(t, want, word(text))
	}
}

// The lookup part of another system's text has 1 to 256 bytes. A text with another one is not of that system.
func TestLookupParts(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, maxLookup: true, maxLookup + 1: false} {
		lookup := strings.Repeat("l", n)
		for _, split := range []bool{false, true} {
			l := &Legacy{Split: func(string) (string, string, bool) { return lookup, "secret", split }}
			got, secret, is := l.split("text")
			require.Equal(t, ok && split, is, n)
			if is {
				require.Equal(t, []string{lookup, "secret"}, []string{got, secret})
			}
		}
	}
}

// A client that is added leaves what else is known of a caller where it is.
func TestFactsOfACallerThatBecomesAClients(t *testing.T) {
	attributes := newAttributeSet(Attributes{"a": "b"}, nil)
	p := &principal{facts: &facts{attributes: attributes, apart: &apartRights{}}}
	who := p.as(Client{ID: "7"}, attributes)
	require.Same(t, p.facts, who.facts, "nothing is copied")
	who = p.as(Client{ID: "7"}, nil)
	require.Same(t, p.facts.apart, who.facts.apart)
	require.Nil(t, who.attributes())
	require.Same(t, attributes, p.attributes())
	require.Nil(t, (&principal{}).as(Client{ID: "7"}, nil).facts)
}
