package form

import "strings"

// Found is the result of [Find].
type Found struct {
	Kind  Kind   // of the first pair of that name: Text, or List or Map if its name has brackets; 0: none
	Value string // of that pair, decoded
	N     int    // how many pairs have that name
}

// Find finds a name in a form (or the query of a URL) and decodes nothing else. With brackets it reads names as [Parse]
// does, within its limits: a name with brackets behind it ("name[0]") counts, too. It is for input of unknown callers:
// it allocates for one value only, however long the text is.
//
// It returns an error for ";" and bad percent encoding in any pair. [Parse] refuses more.
func Find(text, name string, brackets bool) (f Found, err error) {
	if brackets && len(text) > MaxBytes {
		return Found{}, ErrTooLarge
	}
	pairs := 0
	for rest := text; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		if pairs++; brackets && pairs > MaxPairs {
			return Found{}, malformed("too many pairs")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		kind, err := kindOf(rawName, name, brackets)
		if err != nil {
			return Found{}, err
		}
		if err := checkEscapes(rawValue); err != nil {
			return Found{}, err
		}
		if kind == 0 {
			continue
		}
		if f.N++; f.N > 1 {
			continue
		}
		f.Kind = kind
		if f.Value, err = unescape(rawValue); err != nil {
			return Found{}, err
		}
	}
	return f, nil
}

// kindOf returns what raw, decoded, makes of name; 0 if it is another name.
func kindOf(raw, name string, brackets bool) (Kind, error) {
	if err := checkEscapes(raw); err != nil {
		return 0, err
	}
	at, same := 0, true
	for i := 0; i < len(raw) && same; i++ {
		c := raw[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			c = byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
			i += 2
		}
		switch {
		case at < len(name) && c == name[at]:
			at++
		case at == len(name) && c == '[' && brackets:
			inside := raw[i+1:]
			if end := strings.IndexAny(inside, "]%"); end >= 0 { // "]", or an escaped "]"
				inside = inside[:end]
			}
			if isDigits(inside) {
				return List, nil
			}
			return Map, nil
		default:
			same = false
		}
	}
	if same && at == len(name) {
		return Text, nil
	}
	return 0, nil
}

func isDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

func checkEscapes(s string) error {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return malformed(`";" separates nothing: write %3B`)
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return malformed("bad percent encoding")
			}
			i += 2
		}
	}
	return nil
}
