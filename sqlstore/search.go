package sqlstore

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// andFind adds what every token has that a TokenQuery with this Find selects. Others have it too: see needles.
func (d *dialect) andFind(f *filter, find string) {
	contains := d.contains
	needle, lower := "", false
	if d.containsLower != nil {
		needle, lower = lowerNeedle(find)
	}
	all := []string{needle}
	if lower {
		contains = d.containsLower
	} else {
		all = needles(find)
	}
	var either []string
	var args []any
	for _, needle := range all {
		for _, column := range []string{"t.name", "t.id", "t.hint", "t.client_id"} {
			either, args = append(either, contains(column)), append(args, []byte(needle))
		}
	}
	if len(either) > 0 {
		f.and("("+strings.Join(either, " OR ")+")", args...)
	}
}

// lowerNeedle returns the longest part of find, in lower case, that every text has which contains find by simple case
// folding, once the text's letters A to Z are in lower case. ok is false if there is none. Each of its characters is
// equal to nothing but itself and, for a letter, the other case: K and S are not, for there are K (the Kelvin sign) and ſ.
func lowerNeedle(find string) (needle string, ok bool) {
	plain := func(c byte) bool { return ' ' <= c && c < 0x7f && c|0x20 != 'k' && c|0x20 != 's' }
	for i := 0; i < len(find); {
		end := i
		for end < len(find) && plain(find[end]) {
			end++
		}
		if end-i > len(needle) {
			needle = find[i:end]
		}
		i = end + 1
	}
	return strings.ToLower(needle), needle != ""
}

// maxNeedles bounds the texts that one condition looks for.
const maxNeedles = 12

// needles returns texts of which every text has one that contains find by simple case folding: a part of find in each
// case that its letters can have. Nil: any text may contain find.
func needles(find string) (out []string) {
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
			if len(longer) > maxNeedles {
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
