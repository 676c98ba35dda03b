package latchkey

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/predicate"
)

// Bounds of attributes.
const (
	maxAttributes     = 16   // of one token
	maxAttributeName  = 64   // bytes
	maxAttributesJSON = 4096 // bytes of all of them as JSON
)

// Attributes are facts about a caller, by name: its department, its regions. Conditions reach them with [Attr]. They
// are given when a token is issued or minted, or a caller assumed, and never change after that.
//
// A name is 1 to 64 bytes of valid UTF-8 without NUL. A value is a text that is not empty, a bool, a number, or a list
// of such texts with at least one. A token has at most 16 attributes, of 4 KiB as JSON in all. Anything else is
// [ErrInvalid]. Values that were stored are string, bool, int64, json.Number (for what fits no int64) or []string.
type Attributes map[string]any

// MarshalJSON writes the attributes as an object, in the order of their names. Invalid ones are [ErrInvalid].
func (a Attributes) MarshalJSON() ([]byte, error) {
	canonical, err := a.canonical()
	if err != nil {
		return nil, err
	}
	return canonical.appendJSON(nil), nil
}

// appendJSON writes canonical attributes.
func (a Attributes) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(a)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONValue(b, name), ':')
		if list, ok := a[name].([]string); ok {
			text, _ := json.Marshal(list) // cannot fail
			b = append(b, text...)
			continue
		}
		b = appendJSONValue(b, a[name])
	}
	return append(b, '}')
}

// UnmarshalJSON reads an object of texts, numbers, true, false and lists of texts. Anything else, a repeated name
// included, is an error that wraps [ErrInvalid] and leaves a nil.
func (a *Attributes) UnmarshalJSON(data []byte) error {
	*a = nil
	d, err := newConditionDecoder(data)
	if err != nil {
		return fmt.Errorf("%w: attributes: malformed JSON", ErrInvalid)
	}
	if tok, err := d.next(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("%w: attributes are an object", ErrInvalid)
	}
	read := Attributes{}
	for d.More() {
		name, err := d.text()
		if err != nil {
			return fmt.Errorf("%w: attributes: %w", ErrInvalid, err)
		}
		if _, twice := read[name]; twice {
			return fmt.Errorf("%w: attribute %.64q is given twice", ErrInvalid, name)
		}
		if read[name], err = d.value(true, false); err != nil {
			return fmt.Errorf("%w: attribute %.64q: %w", ErrInvalid, name, err)
		}
		if len(read) > maxAttributes {
			break
		}
	}
	canonical, err := read.canonical()
	if err != nil {
		return err
	}
	*a = canonical
	return nil
}

// canonical returns a copy in canonical form, or why a token cannot have these attributes. No attributes are nil.
func (a Attributes) canonical() (Attributes, error) {
	if len(a) == 0 {
		return nil, nil
	}
	if len(a) > maxAttributes {
		return nil, fmt.Errorf("%w: more than %d attributes", ErrInvalid, maxAttributes)
	}
	out := make(Attributes, len(a))
	for _, name := range slices.Sorted(maps.Keys(a)) {
		reason := checkAttributeName(name)
		if reason == "" {
			out[name], reason = canonicalAttribute(a[name])
		}
		if reason != "" {
			return nil, fmt.Errorf("%w: attribute %.64q: %s", ErrInvalid, name, reason)
		}
	}
	if len(out.appendJSON(nil)) > maxAttributesJSON {
		return nil, fmt.Errorf("%w: the attributes have more than %d bytes as JSON", ErrInvalid, maxAttributesJSON)
	}
	return out, nil
}

// checkAttributeName returns what is wrong with a name, or "".
func checkAttributeName(name string) string {
	switch {
	case name == "":
		return "the attribute has no name"
	case len(name) > maxAttributeName:
		return fmt.Sprintf("the name of the attribute has more than %d bytes", maxAttributeName)
	}
	return strings.Replace(predicate.CheckText(name), "the text", "the name of the attribute", 1)
}

// canonicalAttribute returns the canonical form of one value, or why it is none.
func canonicalAttribute(value any) (v any, reason string) {
	if isRef(value) {
		return nil, "an attribute is a value, not a reference"
	}
	if r := reflect.ValueOf(value); r.Kind() == reflect.Slice && r.Type().Elem().Kind() != reflect.Uint8 {
		list := make([]string, r.Len())
		for i := range list {
			item, reason := predicate.Canonical(r.Index(i).Interface())
			text, isText := item.(string)
			switch {
			case reason != "":
				return nil, reason
			case !isText || text == "":
				return nil, "a list holds texts that are not empty"
			}
			list[i] = text
		}
		if len(list) == 0 {
			return nil, "the list is empty: leave the attribute out"
		}
		return list, ""
	}
	v, reason = predicate.Canonical(value)
	if v == "" {
		return nil, "the text is empty: leave the attribute out"
	}
	return v, reason
}

// checkChildAttributes returns ErrInvalid for names that a token cannot let its children set. It returns a sorted copy.
func checkChildAttributes(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if len(names) > maxAttributes {
		return nil, fmt.Errorf("%w: more than %d ChildAttributes", ErrInvalid, maxAttributes)
	}
	sorted := slices.Sorted(slices.Values(names))
	for i, name := range sorted {
		if reason := checkAttributeName(name); reason != "" {
			return nil, fmt.Errorf("%w: ChildAttributes: %s", ErrInvalid, reason)
		}
		if i > 0 && name == sorted[i-1] {
			return nil, fmt.Errorf("%w: ChildAttributes names %q twice", ErrInvalid, name)
		}
	}
	return sorted, nil
}

// clone returns a deep copy.
func (a Attributes) clone() Attributes {
	out := maps.Clone(a)
	for name, v := range out {
		out[name] = cloneAttribute(v)
	}
	return out
}

func cloneAttribute(v any) any {
	if list, ok := v.([]string); ok {
		return slices.Clone(list)
	}
	return v
}

// has reports whether a holds the name with a value equal to v. Both are canonical.
func (a Attributes) has(name string, v any) bool {
	own, ok := a[name]
	return ok && reflect.DeepEqual(own, v)
}

// attributeSet is what an Access keeps of a token's attributes. It never changes. Nil: the token has none.
type attributeSet struct {
	values Attributes
	child  []string // names that a mint may set where the token has no value: see Spec.ChildAttributes
}

// newAttributeSet returns the set of canonical attributes, nil if there is nothing in it.
func newAttributeSet(values Attributes, child []string) *attributeSet {
	if len(values) == 0 && len(child) == 0 {
		return nil
	}
	return &attributeSet{values: values.clone(), child: slices.Clone(child)}
}

// narrowed returns s with more attributes. A value that s has cannot change, and another must be one that s lets a mint
// set.
func (s *attributeSet) narrowed(more Attributes) (*attributeSet, error) {
	more, err := more.canonical()
	if err != nil || len(more) == 0 {
		return s, err
	}
	var has Attributes
	var child []string
	if s != nil {
		has, child = s.values, s.child
	}
	joined := has.clone()
	if joined == nil {
		joined = Attributes{}
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		_, known := has[name]
		switch {
		case known && !has.has(name, more[name]):
			return nil, fmt.Errorf("%w: attribute %q is the parent's, and cannot be changed", ErrInvalid, name)
		case !known && !slices.Contains(child, name):
			return nil, fmt.Errorf("%w: the parent has no attribute %q, and its ChildAttributes do not name it", ErrInvalid,
				name)
		}
		joined[name] = more[name]
	}
	if joined, err = joined.canonical(); err != nil {
		return nil, err
	}
	return &attributeSet{values: joined, child: child}, nil
}
