package form

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// ParseJSON reads one JSON value into the tree. Numbers keep the text they were written with. The limits of a form
// hold (MaxBytes, MaxPairs as the number of values, MaxDepth beneath the outermost value). The values of the names in
// skip, at the top, are not decoded and have no such limits. Errors wrap [ErrMalformed] and hold nothing of the input.
func ParseJSON(data []byte, skip ...string) (*Value, error) {
	if len(data) > MaxBytes {
		return nil, ErrTooLarge
	}
	var raw json.RawMessage
	if err := strictjson.Unmarshal(data, &raw); err != nil {
		return nil, malformed("not strict JSON") // the cause may quote the input
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	t := jsonTree{d: d, skip: skip}
	v, err := t.value(0)
	if err != nil {
		return nil, err
	}
	return v, nil
}

type jsonTree struct {
	d      *json.Decoder
	skip   []string
	values int
}

func (t *jsonTree) value(depth int) (*Value, error) {
	tok, err := t.d.Token()
	if err != nil {
		return nil, malformed("not strict JSON")
	}
	if t.values++; t.values > MaxPairs {
		return nil, malformed("too many values")
	}
	if depth > MaxDepth {
		return nil, malformed("nested too deeply")
	}
	v := &Value{json: true}
	switch tok := tok.(type) {
	case nil:
		v.Kind = Null
	case bool:
		v.Kind, v.Text = Bool, fmt.Sprint(tok)
	case json.Number:
		v.Kind, v.Text = Number, tok.String()
	case string:
		v.Kind, v.Text = Text, tok
		if err := checkText(tok); err != nil {
			return nil, err
		}
	case json.Delim:
		if tok == '[' {
			v.Kind = List
			for t.d.More() {
				item, err := t.value(depth + 1)
				if err != nil {
					return nil, err
				}
				v.Items = append(v.Items, item)
			}
		} else {
			v.Kind, v.Map = Map, map[string]*Value{}
			if err := t.members(v, depth); err != nil {
				return nil, err
			}
		}
		if _, err := t.d.Token(); err != nil { // the closing delimiter
			return nil, malformed("not strict JSON")
		}
	}
	return v, nil
}

func (t *jsonTree) members(v *Value, depth int) error {
	for t.d.More() {
		tok, err := t.d.Token()
		name, ok := tok.(string)
		if err != nil || !ok {
			return malformed("not strict JSON")
		}
		if err := checkText(name); err != nil {
			return err
		}
		if depth == 0 && slices.Contains(t.skip, name) {
			var ignored json.RawMessage
			if err := t.d.Decode(&ignored); err != nil {
				return malformed("not strict JSON")
			}
			continue
		}
		if _, twice := v.Map[name]; twice {
			return malformed("a name given twice")
		}
		child, err := t.value(depth + 1)
		if err != nil {
			return err
		}
		v.Names = append(v.Names, name)
		v.Map[name] = child
	}
	return nil
}
