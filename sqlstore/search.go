package sqlstore

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// andFind adds what every token has that a TokenQuery with this Find selects. Others have it too: see plainNeedles and
// needles.
func (d *dialect) andFind(f *filter, find string) {
	contains, all, and := d.contains, needles(find, d.maxNeedles()), " OR "
	if d.containsLower != nil {
		if plain := plainNeedles(find); plain != nil {
			contains, all, and = d.containsLower, plain, " AND "
		}
	}
	if len(all) == 0 {
		return
	}
	var either []string
	var args []any
	for _, column := range []string{"t.name", "t.id", "t.hint", "t.client_id"} {
		var one []string
		for _, needle := range all {
			one, args = append(one, contains(column)), append(args, []byte(needle))
		}
		either = append(either, "("+strings.Join(one, and)+")")
	}
	f.and("("+strings.Join(either, " OR ")+")", args...)
}

// plainNeedles returns the longest parts of find, one or two and in lower case, that every text has which contains
// find by simple case folding, once the text's letters A to Z are in lower case. Each of their characters is equal to
// nothing but itself and, for a letter, the other case: K and S are not, for there are K (the Kelvin sign) and ſ. Nil:
// there are none.
func plainNeedles(find string) (out []string) {
	plain := func(c byte) bool { return ' ' <= c && c < 0x7f && c|0x20 != 'k' && c|0x20 != 's' }
	for i := 0; i < len(find); {
		end := i
		for end < len(find) && plain(find[end]) {
			end++
		}
		if end > i {
			out = append(out, strings.ToLower(find[i:end]))
		}
		i = end + 1
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out[:min(len(out), 2)]
}

// maxNeedles bounds the texts that one condition looks for. More and longer ones let fewer other tokens through. Where
// most searches have one needle, the others are few and short: each costs a look at each token.
func (d *dialect) maxNeedles() int {
	if d.containsLower != nil {
		return 4
	}
	return 12
}

// needles returns texts of which every text has one that contains find by simple case folding: a part of find in each
// case that its letters can have. Nil: any text may contain find.
func needles(find string, most int) (out []string) {
	for i := range find {
		some := []string{""}
		for rest := find[i:]; rest != ""; {
			r, size := utf8.DecodeRuneInString(rest)
			if r == utf8.RuneError || r == 0 {
				break
			}
			var longer []string
			for _, text := range some {
				longer = append(longer, text+string(r))
				for fold := unicode.SimpleFold(r); fold != r; fold = unicode.SimpleFold(fold) {
					longer = append(longer, text+string(fold))
				}
			}
			if len(longer) > most {
				break
			}
			some, rest = longer, rest[size:]
		}
		if some[0] != "" && (out == nil || utf8.RuneCountInString(some[0]) > utf8.RuneCountInString(out[0])) {
			out = some
		}
	}
	return out
}
