package sqlstore

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a search lets SQL look for is in every text that Match finds, whatever the case of its letters.
func TestNeedles(t *testing.T) {
	for find, want := range map[string][]string{"Storefront": {"torefront"}, "kiosks": {"io"}, "K": nil, "ſs": nil,
		"":       nil,
		"MÜLLER": {"ller", "m"}, "a\x00bc": {"bc", "a"}, "\xffok": {"o"}, "100%_": {"100%_"}, "Магазин 7": {" 7"},
		"AK_61…777": {"_61", "777"}, "one kind, some sort": {"ind, ", "one "}} {
		require.Equal(t, want, plainNeedles(find), find)
	}
	for find, want := range map[string][]string{"\xff": nil, "": nil, "\x00": nil, "7": {"7"}, "\xff7": {"7"}} {
		require.Equal(t, want, needles(find, 12), "%q", find)
	}
	require.ElementsMatch(t, []string{"ма", "мА", "Ма", "МА"}, needles("Магазин", 4))
	for _, find := range []string{"Storefront", "kiosks", "Straße", "ΣΊΣΥΦΟΣ", "\u212Aelvin", "ſchool", "İstanbul", "ıI",
		"ǅungla", "x\xffyz",
		"\U00010400\U00010428", "a\u030A", "…"} {
		for _, text := range variantsOf(find) {
			text = "<" + text + ">"
			var t1 latchkey.Token
			t1.Name = text
			if !(latchkey.TokenQuery{Find: find}).Match(t1) {
				continue
			}
			for _, needle := range plainNeedles(find) {
				ascii := strings.Map(func(r rune) rune {
					if 'A' <= r && r <= 'Z' {
						r += 'a' - 'A'
					}
					return r
				}, text)
				require.Contains(t, ascii, needle, "%q in %q", find, text)
			}
			for _, most := range []int{4, 12} {
				all, has := needles(find, most), false
				for _, needle := range all {
					has = has || strings.Contains(text, needle)
				}
				require.True(t, has || all == nil, "%q in %q: %q", find, text, all)
				require.LessOrEqual(t, len(all), most)
			}
		}
	}
}

// variantsOf returns texts that differ from one in the case of their letters: each letter in each case, the others as
// they are, and all in upper and lower case.
func variantsOf(text string) []string {
	out := []string{text, strings.ToUpper(text), strings.ToLower(text), strings.ToTitle(text)}
	for i, r := range text {
		for fold := unicode.SimpleFold(r); fold != r; fold = unicode.SimpleFold(fold) {
			out = append(out, text[:i]+string(fold)+text[i+len(string(r)):])
		}
	}
	return out
}
