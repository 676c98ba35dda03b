package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

const (
	mediaJSON  = "application/json"
	mediaMerge = "application/merge-patch+json"
)

// readBody reads the body of a request into the value that into points to.
func (c *call) readBody(into any) error {
	if c.op.optional && c.r.Header.Get("Content-Type") == "" {
		return refuseBody(c.r)
	}
	if err := c.readText(); err != nil {
		return err
	}
	return decode(c.body, reflect.ValueOf(into).Elem())
}

// readText reads the body and checks that it is one object of JSON with one meaning.
func (c *call) readText() error {
	media, err := httpadapter.MediaType(c.r)
	if err != nil {
		return err
	}
	if media != mediaJSON && !(c.op.merge && media == mediaMerge) {
		return httpadapter.ErrMediaType
	}
	if c.body, err = httpadapter.ReadBody(c.r, c.opts.MaxBody); err != nil {
		return err
	}
	return checkJSON(c.body)
}

// refuseBody returns an error for a body where none is read: a client that sends one expects it to count.
func refuseBody(r *http.Request) error {
	body, err := httpadapter.ReadBody(r, 0)
	if errors.Is(err, httpadapter.ErrTooLarge) || len(body) > 0 {
		return httpadapter.BadRequest("this operation takes no body")
	}
	return err
}

// checkJSON returns an error for a text that is not one object of JSON, or that two readers could read differently.
func checkJSON(body []byte) error {
	if err := strictjson.Valid(body, strictjson.MaxDepth); err != nil {
		pointer, reason := "", "the body is not JSON"
		if e, ok := errors.AsType[*strictjson.Error](err); ok {
			pointer, reason = pointerAt(body, e.Offset), e.Reason
		}
		return badMember(pointer, "the body cannot be read: "+reason, nil)
	}
	if !isObject(body) {
		return badMember("", "the body must be an object", nil)
	}
	return nil
}

func isObject(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && text[0] == '{'
}

func isNull(text []byte) bool { return string(bytes.TrimSpace(text)) == "null" }

// member is one member of an object, undecoded.
type member struct {
	name string
	text json.RawMessage
}

// membersOf returns the members of an object in their order. The text has passed checkJSON.
func membersOf(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var out []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		out = append(out, member{name, value})
	}
	return out, nil
}

// decode reads a text that has passed checkJSON into v. An error names the member that is wrong. Null stands for
// nothing here: a member that shall not be set is left out.
func decode(text []byte, v reflect.Value) error { return decodeAt("", text, v) }

func decodeAt(pointer string, text []byte, v reflect.Value) error {
	t := v.Type()
	if t == reflect.TypeFor[json.RawMessage]() {
		v.SetBytes(slices.Clone(bytes.TrimSpace(text)))
		return nil
	}
	if isNull(text) {
		return badMember(pointer, "null: leave the member out", nil)
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return decodeTime(pointer, text, v)
	case reflect.TypeFor[latchkey.Permissions](): // one by one, so that an error names the rule
		if err := decodeList(pointer, text, v); err != nil {
			return err
		}
		if err := v.Interface().(latchkey.Permissions).Validate(); err != nil {
			return badMember(pointer, latchkeyReason(err), nil)
		}
		return nil
	}
	if _, own := reflect.PointerTo(t).MethodByName("UnmarshalJSON"); own {
		return decodeOwn(pointer, text, v)
	}
	if _, own := reflect.PointerTo(t).MethodByName("UnmarshalText"); own {
		return decodeOwn(pointer, text, v)
	}
	switch t.Kind() {
	case reflect.Struct:
		return decodeStruct(pointer, text, v)
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		if err := decodeAt(pointer, text, p.Elem()); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Slice:
		return decodeList(pointer, text, v)
	case reflect.Map:
		members, err := membersOf(text)
		if err != nil {
			return badMember(pointer, "must be an object", nil)
		}
		out := reflect.MakeMapWithSize(t, len(members))
		for _, m := range members {
			item := reflect.New(t.Elem()).Elem()
			if err := decodeAt(pointer+"/"+escapePointer(m.name), m.text, item); err != nil {
				return err
			}
			out.SetMapIndex(reflect.ValueOf(m.name).Convert(t.Key()), item)
		}
		v.Set(out)
		return nil
	}
	if err := strictjson.Unmarshal(text, v.Addr().Interface()); err != nil {
		return badMember(pointer, "must be "+wanted(t), nil)
	}
	return nil
}

func decodeStruct(pointer string, text []byte, v reflect.Value) error {
	members, err := membersOf(text)
	if err != nil {
		return badMember(pointer, "must be an object", nil)
	}
	fields := fieldsOf(v.Type())
	for _, m := range members {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if at < 0 {
			return badMember(pointer+"/"+escapePointer(m.name), "an unknown member", nil)
		}
		if err := decodeAt(pointer+"/"+escapePointer(m.name), m.text, v.FieldByIndex(fields[at].index)); err != nil {
			return err
		}
		fields[at].required = false
	}
	for _, f := range fields {
		if f.required {
			return badMember(pointer+"/"+f.name, "missing", nil)
		}
	}
	return nil
}

func decodeList(pointer string, text []byte, v reflect.Value) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return badMember(pointer, "must be a list", nil)
	}
	out := reflect.MakeSlice(v.Type(), 0, 0)
	for i := 0; d.More(); i++ {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return badMember(pointer, "must be a list", nil)
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := decodeAt(pointer+"/"+strconv.Itoa(i), value, item); err != nil {
			return err
		}
		out = reflect.Append(out, item)
	}
	v.Set(out)
	return nil
}

// decodeTime reads a time of RFC 3339. Go's own reading of JSON takes no others, but for a comma before the fraction.
func decodeTime(pointer string, text []byte, v reflect.Value) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		if at, err := time.Parse(time.RFC3339, s); err == nil && !strings.Contains(s, ",") {
			v.Set(reflect.ValueOf(at.UTC()))
			return nil
		}
	}
	return badMember(pointer, `must be a time as in RFC 3339: "2026-11-30T12:00:00Z"`, nil)
}

// decodeOwn reads a value whose type reads itself, strictly.
func decodeOwn(pointer string, text []byte, v reflect.Value) error {
	err := strictjson.Unmarshal(text, v.Addr().Interface())
	if err == nil {
		return nil
	}
	reason := "must be " + wanted(v.Type())
	if e, ok := errors.AsType[*strictjson.Error](err); ok && e.Unwrap() != nil {
		err = e.Unwrap()
	}
	if _, text := reflect.PointerTo(v.Type()).MethodByName("UnmarshalText"); !text { // which repeats the text
		if own := latchkeyReason(err); own != "" {
			reason = own
		}
	}
	return badMember(pointer, reason, nil)
}

// latchkeyReason returns what latchkey says about a value: the names of members, actions, patterns and fields that it
// may hold are no secrets. "" for an error of another package.
func latchkeyReason(err error) string {
	for _, sentinel := range []error{latchkey.ErrBadCondition, latchkey.ErrInvalid} {
		if errors.Is(err, sentinel) {
			return reasonBehind(err, sentinel)
		}
	}
	return ""
}

// reasonBehind returns the text of an error behind that of a sentinel that it wraps, which may be in it more than once.
func reasonBehind(err, sentinel error) string {
	text := err.Error()
	if at := strings.LastIndex(text, sentinel.Error()+": "); at >= 0 {
		return text[at+len(sentinel.Error())+2:]
	}
	return text
}

// wanted says in words what a value must be.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[latchkey.Kind]():
		return "one of secret, publishable, api_key, access and session"
	case t == reflect.TypeFor[time.Duration]():
		return "a number of nanoseconds"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Uint8, reflect.Uint32:
		return "a whole number in range"
	}
	return "of another form"
}

// field is a member that a struct may have.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	required bool // it must be in a request; in a reply it always is
}

// fieldsOf returns the members of a struct by the rules of encoding/json. Of two with one name the shallower counts. A
// member without omitempty or omitzero is required.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() || f.Anonymous && !tagged {
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("api: field %s of %s has no name in JSON", f.Name, t))
		}
		next := field{name, f.Index, f.Type, !strings.Contains(options, "omit")}
		if at := slices.IndexFunc(out, func(o field) bool { return o.name == name }); at >= 0 {
			if len(f.Index) < len(out[at].index) {
				out[at] = next
			}
			continue
		}
		out = append(out, next)
	}
	return out
}

// escapePointer writes a name as a token of a JSON Pointer (RFC 6901). A long name is cut.
func escapePointer(name string) string {
	const longest = 64
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// pointerAt returns the JSON Pointer of the value or the name that holds a byte of a text, which need not be valid
// behind it.
func pointerAt(text []byte, offset int64) string {
	if offset < 0 || offset > int64(len(text)) {
		return ""
	}
	var path []string
	var lists []bool // is the container a list
	var count []int
	name := ""
	for i := 0; i < len(text) && int64(i) < offset; i++ {
		switch text[i] {
		case '{', '[':
			list := text[i] == '['
			if len(lists) > 0 {
				path = append(path, label(lists, count, name))
			}
			lists, count, name = append(lists, list), append(count, 0), ""
		case '}', ']':
			if len(lists) > 0 {
				lists, count = lists[:len(lists)-1], count[:len(count)-1]
			}
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
			name = ""
		case ',':
			if len(count) > 0 {
				count[len(count)-1]++
			}
			name = ""
		case '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(text) || int64(end) >= offset {
				i = len(text)
				break
			}
			if name == "" && len(lists) > 0 && !lists[len(lists)-1] {
				var s string
				if json.Unmarshal(text[i:end+1], &s) == nil {
					name = s
				}
			}
			i = end
		}
	}
	// A name that is itself at the offset, because it is repeated.
	if name == "" && len(lists) > 0 && !lists[len(lists)-1] && offset < int64(len(text)) && text[offset] == '"' {
		var s string
		if d := json.NewDecoder(bytes.NewReader(text[offset:])); d.Decode(&s) == nil {
			name = s
		}
	}
	if len(lists) > 0 && (name != "" || lists[len(lists)-1]) {
		path = append(path, label(lists, count, name))
	}
	var b strings.Builder
	for _, p := range path {
		b.WriteString("/" + p)
	}
	return b.String()
}

func label(lists []bool, count []int, name string) string {
	if lists[len(lists)-1] {
		return strconv.Itoa(count[len(count)-1])
	}
	return escapePointer(name)
}
