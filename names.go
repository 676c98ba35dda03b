package latchkey

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkNewName returns ErrInvalid for a name that people could not read as it is: one with a space at an end, with a
// control or format character (those that turn the direction of text are among them), or with another character that
// shows nothing. Empty names are checked elsewhere. It is for names that are given now: stored ones, and those that an
// API with rules of its own makes, are not checked by it.
//
// Look-alikes of other kinds, such as a Cyrillic "а" in a Latin name, are not refused. Whoever shows names may show
// their bytes too.
func checkNewName(what, name string) error {
	last := rune(0)
	for at, r := range name {
		if why := whyUnreadable(r, last); why != "" {
			return fmt.Errorf("%w: %s holds %s at byte %d (%U): leave it out", ErrInvalid, what, why, at, r)
		}
		last = r
	}
	if first, _ := utf8.DecodeRuneInString(name); unicode.IsSpace(first) || unicode.IsSpace(last) {
		return fmt.Errorf("%w: %s begins or ends with a space: leave that out", ErrInvalid, what)
	}
	return nil
}

// whyUnreadable returns what kind of character r is if a name must not hold it, otherwise "". Last is the one before
// it: a variation selector may follow a symbol, as in many emoji.
func whyUnreadable(r, last rune) string {
	switch {
	case r == '\u061c', r == '\u200e', r == '\u200f', '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return "a control of the direction of text"
	case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp):
		return "a control character"
	case unicode.Is(unicode.Variation_Selector, r):
		if unicode.In(last, unicode.So, unicode.Sm, unicode.Sk) {
			return ""
		}
		return "an invisible character"
	case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point), r == '\u2800':
		return "an invisible character"
	}
	return ""
}

// checkNewRoleName is checkNewName for a role of the host. A name that looks like an id is refused too, because roles
// may be named by either.
func checkNewRoleName(name string) error {
	if err := checkNewName("role name", name); err != nil {
		return err
	}
	if looksLikeRoleID(name) {
		return fmt.Errorf("%w: role name %q looks like an id: choose another", ErrInvalid, name)
	}
	return nil
}

// looksLikeRoleID reports whether a text has the form of a role's id, whatever its case: that of a stored role, a UUID,
// or that of one of Options.Roles. Such a text is never taken for a name.
func looksLikeRoleID(text string) bool {
	if len(text) >= len(codePrefix) && strings.EqualFold(text[:len(codePrefix)], codePrefix) {
		return true
	}
	if len(text) != 36 {
		return false
	}
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash && c != '-' || !dash && !hex {
			return false
		}
	}
	return true
}

// foldName returns what two names have in common that differ only in the case of letters, by Unicode's simple case
// folding, or in how many spaces stand between words, and of which kind.
func foldName(name string) string {
	var b strings.Builder
	space := false
	for _, r := range name {
		if unicode.IsSpace(r) {
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		}
		space = false
		b.WriteRune(foldRune(r))
	}
	return b.String()
}

// maxClose is how many names an error about an unknown one lists.
const maxClose = 3

// closeNames returns the names that an unknown one may have been meant for, the closest first, at most maxClose.
func closeNames(name string, known []string) []string {
	want := []rune(foldName(name))
	var out []string
	for most := 0; most <= 2 && most*3 <= len(want); most++ {
		for _, k := range known {
			has := []rune(foldName(k))
			if len(out) < maxClose && distance(want, has) == most {
				out = append(out, k)
			}
		}
	}
	return out
}

// distance returns how many characters of a must be changed, added or left out to make b. 3 is three or more.
func distance(a, b []rune) int {
	const far = 3
	if len(a)-len(b) >= far || len(b)-len(a) >= far {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(row)-1], far)
}
