package latchkey

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// MarshalJSON writes a comparison as {"field":"region","op":"=","value":"EU"}, a reference as its value {"ref":"self"},
// groups as {"all":[…]}, {"any":[…]} and {"not":{…}}, [AllRows] as true and the zero Condition as false. A malformed
// Condition is an error.
func (c Condition) MarshalJSON() ([]byte, error) {
	if c.n == nil {
		return []byte("false"), nil
	}
	if c.n.kind == nodeFault {
		return nil, c.n.fault
	}
	return c.n.appendJSON(nil), nil
}

func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case nodeEvery:
		return append(b, "true"...)
	case nodeNever:
		return append(b, "false"...)
	case nodeNot:
		b = n.parts[0].appendJSON(append(b, `{"not":`...))
		return append(b, '}')
	case nodeAll, nodeAny:
		b = append(b, map[nodeKind]string{nodeAll: `{"all":[`, nodeAny: `{"any":[`}[n.kind]...)
		for i, p := range n.parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = p.appendJSON(b)
		}
		return append(b, "]}"...)
	}
	b = appendJSONValue(append(b, `{"field":`...), n.field)
	b = appendJSONValue(append(b, `,"op":`...), string(n.op))
	b = appendJSONValue(append(b, `,"value":`...), n.value)
	return append(b, '}')
}

// appendJSONValue writes a canonical value.
func appendJSONValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		text, _ := json.Marshal(v) // cannot fail
		return append(b, text...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case json.Number:
		return append(b, v...)
	case RefVar:
		return append(append(append(b, `{"ref":"`...), v.String()...), `"}`...)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONValue(b, e)
		}
		return append(b, ']')
	}
	panic("latchkey: a value that is not canonical")
}

// UnmarshalJSON reads what [Condition.MarshalJSON] writes. It is strict: unknown, missing, repeated or differently
// cased members, null, an empty group, numbers with an exponent, and whatever [Condition.Validate] refuses are errors
// that wrap [ErrBadCondition], and leave the zero Condition, which admits no row.
func (c *Condition) UnmarshalJSON(data []byte) error {
	*c = Condition{}
	d, err := newConditionDecoder(data)
	if err != nil {
		return err
	}
	var read Condition
	switch tok, err := d.next(); {
	case err != nil:
		return err
	case tok == true:
		read = AllRows
	case tok == false:
	case tok == json.Delim('{'):
		if read, err = d.object(0); err != nil {
			return err
		}
	default:
		return malformed("a condition is an object, true or false")
	}
	if err := read.Validate(); err != nil {
		return err
	}
	if read.n != neverRow {
		*c = read
	}
	return nil
}

func malformed(reason string) error { return &ConditionError{Reason: "JSON: " + reason} }

// conditionDecoder reads token by token, so that no member goes unseen.
type conditionDecoder struct{ *json.Decoder }

func newConditionDecoder(data []byte) (conditionDecoder, error) {
	var whole json.RawMessage
	if err := strictjson.Unmarshal(data, &whole); err != nil || !utf8.Valid(data) {
		return conditionDecoder{}, malformed("malformed")
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	d.UseNumber()
	return conditionDecoder{d}, nil
}

func (d conditionDecoder) next() (json.Token, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, malformed("malformed")
	}
	return tok, nil
}

var conditionMembers = [...]string{"field", "op", "value", "all", "any", "not"}

// object reads the rest of an object whose brace was read.
func (d conditionDecoder) object(depth int) (Condition, error) {
	if depth > givenLimits.depth {
		return Condition{}, malformed("nested too deeply")
	}
	var field, op string
	var value any
	var result Condition
	var seen uint // bits of members
	for {
		tok, err := d.next()
		if err != nil {
			return Condition{}, err
		}
		if tok == json.Delim('}') {
			break
		}
		name, _ := tok.(string)
		member := slices.Index(conditionMembers[:], name)
		if member < 0 {
			return Condition{}, malformed("an unknown member")
		}
		if seen&(1<<member) != 0 {
			return Condition{}, malformed("a member twice")
		}
		seen |= 1 << member
		switch name {
		case "field":
			field, err = d.text()
		case "op":
			op, err = d.text()
		case "value":
			value, err = d.value(true)
		case "all", "any":
			result, err = d.group(name, depth)
		case "not":
			result, err = d.part(depth + 1)
			result = not(result)
		}
		if err != nil {
			return Condition{}, err
		}
	}
	switch seen {
	case 0b111:
		return leaf(field, Op(op), value), nil
	case 1 << 3, 1 << 4, 1 << 5:
		return result, nil
	}
	return Condition{}, malformed("an object has field, op and value, or one of all, any and not")
}

func (d conditionDecoder) group(name string, depth int) (Condition, error) {
	if tok, err := d.next(); err != nil || tok != json.Delim('[') {
		return Condition{}, malformed(name + " takes a list")
	}
	var parts []Condition
	for d.More() {
		if len(parts) >= givenLimits.nodes {
			return Condition{}, malformed("too many parts")
		}
		p, err := d.part(depth + 2)
		if err != nil {
			return Condition{}, err
		}
		parts = append(parts, p)
	}
	if _, err := d.next(); err != nil {
		return Condition{}, err
	}
	if len(parts) == 0 {
		return Condition{}, malformed(name + " of nothing")
	}
	if name == "all" {
		return group(nodeAll, parts), nil
	}
	return group(nodeAny, parts), nil
}

// part reads a condition inside another. There false stands for a reference that had no value; true never occurs.
func (d conditionDecoder) part(depth int) (Condition, error) {
	switch tok, err := d.next(); {
	case err != nil:
		return Condition{}, err
	case tok == false:
		return Condition{neverRow}, nil
	case tok == json.Delim('{'):
		c, err := d.object(depth)
		if c.n == nil {
			c.n = neverRow
		}
		return c, err
	}
	return Condition{}, malformed("a part of a condition is an object")
}

func (d conditionDecoder) text() (string, error) {
	tok, err := d.next()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", malformed("field and op are texts")
	}
	return s, nil
}

// value reads a text, number or bool; composite also a list of such, or a reference. A null stays nil, which no
// condition takes.
func (d conditionDecoder) value(composite bool) (any, error) {
	tok, err := d.next()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('['):
		list := []any{}
		for composite && d.More() {
			if len(list) >= maxListItems {
				return nil, malformed("a list is too long")
			}
			v, err := d.value(false)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if end, err := d.next(); err != nil || end != json.Delim(']') {
			return nil, malformed("a list within a list")
		}
		return list, nil
	case json.Delim('{'):
		name, _ := d.next()
		ref, _ := d.next()
		end, err := d.next()
		if !composite || err != nil || name != "ref" || end != json.Delim('}') {
			return nil, malformed("a value that is neither plain nor a reference")
		}
		text, _ := ref.(string)
		if i := slices.Index(refNames[:], text); i > 0 {
			return RefVar(i), nil
		}
		return nil, malformed("an unknown reference")
	}
	return tok, nil
}

// MarshalJSON writes the values in their one form, as an object; nil as {}. A value that has none is an error.
func (v Values) MarshalJSON() ([]byte, error) {
	values, err := normaliseValues(v)
	if err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONValue(append(appendJSONValue(b, name), ':'), values[name])
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads an object of texts, numbers, true, false and null. Anything else, a repeated name included, is an
// error that wraps [ErrBadCondition] and leaves v nil.
func (v *Values) UnmarshalJSON(data []byte) error {
	*v = nil
	d, err := newConditionDecoder(data)
	if err != nil {
		return err
	}
	if tok, err := d.next(); err != nil || tok != json.Delim('{') {
		return malformed("forced values are an object")
	}
	read := map[string]any{}
	for d.More() {
		name, err := d.text()
		if err != nil {
			return err
		}
		if _, twice := read[name]; twice {
			return malformed("a name twice")
		}
		value, err := d.value(false)
		if err != nil {
			return err
		}
		if read[name] = value; len(read) > maxListItems {
			return malformed("too many values")
		}
	}
	values, err := normaliseValues(read)
	if err != nil {
		return err
	}
	*v = values
	return nil
}
