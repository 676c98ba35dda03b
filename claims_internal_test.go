package latchkey

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/compact"
)

func fullClaims() *claims {
	return &claims{owner: "acme", parent: [16]byte{1, 2, 3}, parentVersion: 300, ownerVersion: 4,
		parentCreated: 1_760_000_000_000_000,
		created:       1_770_000_000_000_000, ends: 1_770_000_900_000_000, test: true, full: false,
		name: "Ada's page", origin: "x",
		roles:    []string{"0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f", "code:reader", "z"},
		roleEnds: roleEnds{"code:reader": time.UnixMicro(1_770_000_000_000_001).UTC()},
		permissions: Permissions{Allow(Read, "use").On("d/*", "x"), Grant(Create).On("*").Where(Where("a", Lt, 1)).
			Force(map[string]any{"b": ClientID, "c": nil}), Deny(Any).On("secret/*")},
		restrictions: Restrictions{Domains: []string{"example.com", "*.example.org"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}},
		client: Client{ID: "42", Name: "Ada"},
		attributes: Attributes{"team": "red", "teams": []string{"a", "b"}, "n": int64(3), "big": json.Number("0.5"),
			"ok": true},
		rows: []Condition{All(Where("a", Eq, "x"), AnyOf(Where("b", Ne, true), Not(Where("c", Contains, "y")))),
			Where("d", In, []any{1, "2", json.Number("18446744073709551615")}), Where("e", In, SelfRoles), AllRows, {},
			Where("f", In, []string{}), Where("g", IsNull, false), Where("h", StartsWith, Attr("team")), Where("i", Ge, -5)},
		forced: Values{"a": "x", "b": int64(math.MinInt64), "c": false, "d": nil, "e": json.Number("1.25"), "f": Self},
		extra:  `{"a": 1}`}
}

// What is written is read, and written alike again.
func TestClaimsAreRead(t *testing.T) {
	for _, c := range []*claims{{}, {owner: "acme", full: true, ends: math.MaxInt32}, fullClaims()} {
		text := string(c.append(nil))
		got, ok := readClaims(text)
		require.True(t, ok)
		require.Equal(t, text, string(got.append(nil)))
		require.Equal(t, asText(t, c), asText(t, got))
		require.Equal(t, c.client, got.client)
		require.Equal(t, c.parent, got.parent)
	}
}

func asText(t *testing.T, c *claims) string {
	text, err := json.Marshal(struct {
		Record     Token
		Attributes Attributes
	}{c.record("x", "y"), c.attributes})
	require.NoError(t, err)
	return string(text)
}

// Claims that are cut off, longer, or changed in a byte are refused, or are others, written as they are read.
func TestClaimsAreCanonical(t *testing.T) {
	text := string(fullClaims().append(nil))
	step := 1
	if testing.Short() {
		step = 11
	}
	for i := 0; i < len(text); i += step {
		_, ok := readClaims(text[:i])
		require.False(t, ok, "%d", i)
		for b := range 256 {
			forged := text[:i] + string([]byte{byte(b)}) + text[i+1:]
			if c, ok := readClaims(forged); ok {
				require.Equal(t, forged, string(c.append(nil)))
			}
		}
	}
	_, ok := readClaims(text + "\x00")
	require.False(t, ok)
	for roles, want := range map[string]bool{"a b": true, "b a": false, "a a": false} {
		_, ok := readClaims(string((&claims{owner: "acme", roles: strings.Fields(roles)}).append(nil)))
		require.Equal(t, want, ok, roles)
	}
}

func TestClaimsOfALaterVersionAreRefused(t *testing.T) {
	c := &claims{owner: "acme"}
	text := string(c.append(nil))
	require.Equal(t, byte(0), text[0])
	for _, flags := range []string{"\x80\x80\x01", "\x80\x80\x04"} { // parts that are not known, or not there
		_, ok := readClaims(flags + text[1:])
		require.False(t, ok)
	}
	for flag := range 14 { // each part is said to be there, and is empty
		forged := *c
		f := forged.flags() | 1<<flag
		_, ok := readClaims(string(appendFlags(f)) + text[1:])
		require.Equal(t, f == claimTest || f == claimFull, ok, flag)
	}
}

func appendFlags(f uint64) []byte {
	if f < 0x80 {
		return []byte{byte(f)}
	}
	return []byte{byte(f) | 0x80, byte(f >> 7)}
}

// A condition may be nested as deep as a stored one, and no deeper.
func TestClaimsAreNotDeep(t *testing.T) {
	deep := "\x0a" + strings.Repeat(string(rune(claimNot)), 100)
	c := &claims{owner: "acme", rows: []Condition{AllRows}}
	text := string(c.append(nil))
	_, ok := readClaims(text[:len(text)-1] + deep[1:])
	require.False(t, ok)
}

func FuzzClaims(f *testing.F) {
	f.Add(string(fullClaims().append(nil)))
	f.Add(string((&claims{owner: "acme"}).append(nil)))
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := readClaims(text)
		if !ok {
			return
		}
		if again := string(c.append(nil)); again != text {
			t.Fatalf("%q is read, and written as %q", text, again)
		}
		for _, row := range c.rows {
			require.NoError(t, row.Validate())
		}
		require.NoError(t, c.permissions.Validate())
	})
}

// What may not be forced in a record may not be forced by claims either. A record without an Extra has none.
func TestClaimsForceWhatRecordsMay(t *testing.T) {
	plain := &claims{owner: "acme", full: true, ends: math.MaxInt32}
	require.Nil(t, plain.record("x", "y").Extra)
	for name, forced := range map[string]Values{
		"a list":          {"a": []any{"x"}},
		"texts":           {"a": []string{"x"}},
		"NUL":             {"a": "x\x00"},
		"no name":         {"": "x"},
		"a name with NUL": {"a\x00": "x"},
		"a list of roles": {"a": SelfRoles},
		"no attribute":    {"a": Attr("")},
	} {
		c := *plain
		c.forced = forced
		_, ok := readClaims(string(c.append(nil)))
		require.False(t, ok, name)
	}
	c := *plain
	c.forced = Values{"a": nil, "b": Attr("dept"), "c": "x"}
	_, ok := readClaims(string(c.append(nil)))
	require.True(t, ok)
}

// A condition is read in the one form in which it is written: a negation of a negation is none.
func TestClaimsOfOtherForms(t *testing.T) {
	read := func(text []byte) (Condition, bool) {
		r := compact.NewReader(string(text))
		c := readCondition(&r)
		return c, !r.Failed()
	}
	leaf := inEU.n.appendClaim(nil)
	for name, c := range map[string]struct {
		text []byte
		want Condition
		ok   bool
	}{
		"a comparison":  {leaf, inEU, true},
		"negated":       {append([]byte{claimNot}, leaf...), Not(inEU), true},
		"negated twice": {append([]byte{claimNot, claimNot}, leaf...), Condition{}, false},
		"all of two": {append(append([]byte{claimAll, 2}, leaf...), isOpen.n.appendClaim(nil)...),
			All(inEU, isOpen), true},
		"all of one":                 {append([]byte{claimAll, 1}, leaf...), Condition{}, false},
		"all of the same twice":      {append(append([]byte{claimAll, 2}, leaf...), leaf...), Condition{}, false},
		"every row, negated":         {[]byte{claimNot, claimEveryRow}, Condition{}, false},
		"no row beside a comparison": {append([]byte{claimAll, 2, claimNoRow}, leaf...), Condition{}, false},
		"cut off":                    {leaf[:len(leaf)-1], Condition{}, false},
	} {
		got, ok := read(c.text)
		require.Equal(t, c.ok, ok, name)
		if ok {
			require.Equal(t, c.want.String(), got.String(), name)
		}
	}
}
