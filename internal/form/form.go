// Package form reads application/x-www-form-urlencoded text with bracketed names (a[0][b]=x) into a small tree. It
// reads JSON into the same tree, so that an API that takes both handles one kind of input.
//
// Names and values have exactly one meaning: input that two parsers could read differently is an error. The limits
// below hold for every input. Input within them is decoded in linear time.
package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of one form. Express's qs library turns a list of more than 20 entries into an object. This package does not.
const (
	MaxBytes = 64 << 10
	MaxPairs = 1000
	MaxDepth = 6    // brackets behind a name
	MaxIndex = 1000 // in brackets
)

// ErrMalformed is wrapped by every error of this package. No error text holds anything of the input.
var ErrMalformed = errors.New("form: malformed")

// ErrTooLarge is returned for input longer than MaxBytes. It wraps ErrMalformed.
var ErrTooLarge = fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxBytes)

// malformed returns an error that wraps ErrMalformed. Some surfaces send its text to clients, so it must not change.
func malformed(why string) error { return fmt.Errorf("%w: %s", ErrMalformed, why) }

// Kind is the kind of a Value. A form has Text, List and Map only.
type Kind uint8

const (
	Text   Kind = iota + 1
	List        // a[]=, a[0]=, or a name that was given more than once
	Map         // a[b]=
	Number      // JSON only, as are Bool and Null
	Bool
	Null
)

// Value is one value of the tree. It must not be modified.
type Value struct {
	Kind  Kind
	Text  string            // Text; Number and Bool as they were written
	Items []*Value          // List, by index; gaps are closed
	Names []string          // Map, in the order they first came
	Map   map[string]*Value // Map

	indices  []int // List of a form: the index of each item, nil behind a[] or a repeated name
	repeated bool  // a List because the name was repeated
	json     bool
}

// Get returns the value of a name in a Map. It returns nil if there is none, or if v is nil or not a Map.
func (v *Value) Get(name string) *Value {
	if v == nil {
		return nil
	}
	return v.Map[name]
}

// Len returns how many names or items v has, and 0 for nil.
func (v *Value) Len() int {
	if v == nil {
		return 0
	}
	return max(len(v.Names), len(v.Items))
}

// IsJSON reports whether v was read by [ParseJSON].
func (v *Value) IsJSON() bool { return v.json }

// Parse reads a form (or the query of a URL, without the "?") into a Map. It ignores empty pairs (a stray "&"). It does
// not decode pairs whose first name is one of skip, whatever they hold.
//
// It returns an error that wraps [ErrMalformed] for:
//
//   - brackets that do not match, and "[]" anywhere but at the end;
//   - a name used both with brackets and without, or both as a list and as a map;
//   - bad percent encoding, invalid UTF-8, NUL and ";";
//   - input that exceeds the limits.
func Parse(text string, skip ...string) (*Value, error) {
	if len(text) > MaxBytes {
		return nil, ErrTooLarge
	}
	root := &Value{Kind: Map}
	pairs := 0
	for rest := text; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		if pairs++; pairs > MaxPairs {
			return nil, malformed("too many pairs")
		}
		if strings.Contains(pair, ";") {
			return nil, malformed(`";" separates nothing: write %3B`)
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := unescape(rawName)
		if err != nil {
			return nil, err
		}
		first, brackets := name, ""
		if i := strings.IndexByte(name, '['); i >= 0 {
			first, brackets = name[:i], name[i:]
		}
		if slices.Contains(skip, first) {
			continue
		}
		if first == "" || strings.Contains(first, "]") {
			return nil, malformed("a pair without a proper name")
		}
		value, err := unescape(rawValue)
		if err != nil {
			return nil, err
		}
		if err := root.put(first, brackets, value); err != nil {
			return nil, err
		}
	}
	root.sort()
	return root, nil
}

// unescape decodes one name or value.
func unescape(s string) (string, error) {
	plain := true
	for i := range len(s) {
		if s[i] == '%' || s[i] == '+' {
			plain = false
			break
		}
	}
	if !plain {
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			switch s[i] {
			case '+':
				b = append(b, ' ')
			case '%':
				if i+2 >= len(s) {
					return "", malformed("bad percent encoding")
				}
				hi, lo := unhex(s[i+1]), unhex(s[i+2])
				if hi < 0 || lo < 0 {
					return "", malformed("bad percent encoding")
				}
				b = append(b, byte(hi<<4|lo))
				i += 2
			default:
				b = append(b, s[i])
			}
		}
		s = string(b)
	}
	return s, checkText(s)
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return malformed("invalid UTF-8")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return malformed("NUL")
	}
	return nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// put stores a value in the Map root: under name, then along the brackets.
func (root *Value) put(name, brackets, text string) error {
	at := root.Map[name]
	set := func(v *Value) {
		if root.Map == nil {
			root.Map = map[string]*Value{}
		}
		root.Names = append(root.Names, name)
		root.Map[name] = v
	}
	for depth := 1; ; depth++ {
		if brackets == "" {
			return putText(at, set, text)
		}
		if depth > MaxDepth {
			return malformed("nested too deeply")
		}
		end := strings.IndexByte(brackets, ']')
		if brackets[0] != '[' || end < 0 {
			return malformed("brackets do not match")
		}
		segment := brackets[1:end]
		if strings.Contains(segment, "[") {
			return malformed("brackets do not match")
		}
		brackets = brackets[end+1:]
		if segment == "" && brackets != "" {
			return malformed(`"[]" that is not at the end`)
		}
		index, isIndex, err := parseIndex(segment)
		if err != nil {
			return err
		}
		kind := Map
		if isIndex || segment == "" {
			kind = List
		}
		if at == nil {
			at = &Value{Kind: kind}
			set(at)
		}
		// A text or a repeated name has no entries. What one parser takes for a list and another for a map is an error.
		if at.Kind != kind || at.repeated {
			return malformed("one name used in two ways")
		}
		parent := at
		switch {
		case kind == Map:
			at = parent.Map[segment]
			set = func(v *Value) {
				if parent.Map == nil {
					parent.Map = map[string]*Value{}
				}
				parent.Names = append(parent.Names, segment)
				parent.Map[segment] = v
			}
		case segment == "":
			if len(parent.indices) > 0 {
				return malformed("one name used in two ways")
			}
			at = nil
			set = func(v *Value) { parent.Items = append(parent.Items, v) }
		default:
			if len(parent.indices) != len(parent.Items) {
				return malformed("one name used in two ways")
			}
			at = nil
			if i := slices.Index(parent.indices, index); i >= 0 {
				at = parent.Items[i]
			}
			set = func(v *Value) {
				parent.Items = append(parent.Items, v)
				parent.indices = append(parent.indices, index)
			}
		}
	}
}

// putText stores a text in the place of at.
func putText(at *Value, set func(*Value), text string) error {
	leaf := &Value{Kind: Text, Text: text}
	switch {
	case at == nil:
		set(leaf)
	case at.Kind == Text: // given twice: a list of both
		first := *at
		*at = Value{Kind: List, repeated: true, Items: []*Value{&first, leaf}}
	case at.repeated:
		at.Items = append(at.Items, leaf)
	default:
		return malformed("one name used in two ways")
	}
	return nil
}

// parseIndex reads a decimal number without leading zeros. Other segments are names.
func parseIndex(s string) (n int, ok bool, err error) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return 0, false, nil
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false, nil
		}
		if n = n*10 + int(s[i]-'0'); n > MaxIndex {
			return 0, false, malformed("index too large")
		}
	}
	return n, true, nil
}

// sort sorts the items of every list by their indices.
func (v *Value) sort() {
	if len(v.indices) > 0 {
		order := make([]int, len(v.Items))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return v.indices[a] - v.indices[b] })
		items := make([]*Value, len(v.Items))
		for i, from := range order {
			items[i] = v.Items[from]
		}
		v.Items = items
	}
	for _, item := range v.Items {
		item.sort()
	}
	for _, child := range v.Map {
		child.sort()
	}
}
