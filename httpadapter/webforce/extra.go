package webforce

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// extra is the extra of a token: as it was sent, byte for byte, and as rules.
type extra struct {
	json        json.RawMessage
	permissions latchkey.Permissions
}

// readExtra reads JSON text or brackets. A text within brackets is JSON where the structure has an object or a list.
func readExtra(v *form.Value, o Overlay) (extra, error) {
	switch v.Kind {
	case form.Text:
		raw, err := jsonText(nameExtra, v.Text)
		if err != nil {
			return extra{}, err
		}
		return compileExtra(raw, o, false)
	case form.Map:
		raw, err := extraOfBrackets(v)
		if err == nil {
			raw, err = jsonText(nameExtra, string(raw)) // brackets can name one member twice, in different cases
		}
		if err != nil {
			return extra{}, err
		}
		return compileExtra(raw, o, true)
	}
	return extra{}, refuse("extra is given once, as a JSON object")
}

// extraOfBrackets returns brackets as the JSON they stand for.
func extraOfBrackets(v *form.Value) (json.RawMessage, error) {
	return writeMap(nil, v, func(b []byte, name string, v *form.Value) ([]byte, error) {
		if name != groupDatabases {
			return bracketsJSON(b, v), nil
		}
		if v.Kind != form.List {
			return jsonOrBrackets(b, v)
		}
		b = append(b, '[')
		for i, entry := range v.Items {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if entry.Kind == form.Map {
				b, err = writeMap(b, entry, func(b []byte, name string, v *form.Value) ([]byte, error) {
					if name != entryDatabases && name != entryPermissions {
						return bracketsJSON(b, v), nil
					}
					return jsonOrBrackets(b, v)
				})
			} else {
				b, err = jsonOrBrackets(b, entry)
			}
			if err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	})
}

func writeMap(b []byte, v *form.Value, member func([]byte, string, *form.Value) ([]byte, error)) ([]byte, error) {
	b = append(b, '{')
	for i, name := range v.Names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, quote(name)...), ':')
		var err error
		if b, err = member(b, name, v.Map[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func jsonOrBrackets(b []byte, v *form.Value) ([]byte, error) {
	if v.Kind != form.Text {
		return bracketsJSON(b, v), nil
	}
	raw, err := jsonText(nameExtra, v.Text)
	return append(b, raw...), err
}

// compileExtra returns the rules of extra. Unknown members are kept and mean nothing. A member that differs from a
// known one by case only is refused, and so is an unknown flag: it may have been meant to remove a right. words
// accepts the texts "true" and "false" for flags, as in brackets.
func compileExtra(raw json.RawMessage, o Overlay, words bool) (extra, error) {
	groups, err := members(nameExtra, raw)
	if err != nil {
		return extra{}, err
	}
	for name := range groups {
		if err := knownCase(name, groupDatabases, groupStockImages); err != nil {
			return extra{}, err
		}
	}
	out := extra{json: raw}
	if group := groups[groupDatabases]; group != nil {
		var entries []json.RawMessage
		if err := strictjson.Unmarshal(group, &entries); err != nil || entries == nil {
			return extra{}, refuse("db_permissions is a list")
		}
		for i, entry := range entries {
			at := fmt.Sprintf("db_permissions[%d]", i)
			item, err := form.ParseJSON(entry) // one by one: the bounds of form apply to each
			if err != nil {
				return extra{}, malformed(at, err)
			}
			rules, err := compileEntry(at, item, o, words)
			if err != nil {
				return extra{}, err
			}
			out.permissions = append(out.permissions, rules...)
		}
	}
	if group := groups[groupStockImages]; group != nil {
		v, err := form.ParseJSON(group)
		if err != nil {
			return extra{}, malformed(groupStockImages, err)
		}
		on, err := flag(groupStockImages, v, words)
		if err != nil {
			return extra{}, err
		}
		if on {
			out.permissions = append(out.permissions, latchkey.Allow(latchkey.Use).On(latchkey.Exactly(StockImages)))
		}
	}
	return out, nil
}

// members returns the members of a valid JSON object.
func members(what string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if err := strictjson.Unmarshal(raw, &out); err != nil || out == nil {
		return nil, refuse(what + " is a JSON object")
	}
	return out, nil
}

// knownCase refuses a name that differs from a known one by case only.
func knownCase(name string, known ...string) error {
	for _, k := range known {
		if name != k && strings.EqualFold(name, k) {
			return refuse(k + " is written in lower case")
		}
	}
	return nil
}

// compileEntry returns the rules of one entry. Rules apply in order: a later Allow or Deny of a flag outweighs an
// earlier one, whether about one database or all.
func compileEntry(at string, v *form.Value, o Overlay, words bool) ([]latchkey.Rule, error) {
	if v.Kind != form.Map {
		return nil, refuse(at + " is an object")
	}
	for _, name := range v.Names {
		if err := knownCase(name, entryDatabases, entryPermissions); err != nil {
			return nil, err
		}
	}
	on, err := databases(at+"."+entryDatabases, v.Get(entryDatabases))
	if err != nil {
		return nil, err
	}
	at += "." + entryPermissions
	given := v.Get(entryPermissions)
	if given == nil || given.Kind != form.Map || given.Len() == 0 {
		return nil, refuse(at + " is an object with at least one flag")
	}
	var yes, no []latchkey.Action
	left := given.Len()
	for _, f := range flags {
		v := given.Get(f.name)
		if v == nil {
			if o == OverlayEntries {
				no = append(no, f.action)
			}
			continue
		}
		left--
		set, err := flag(at+"."+f.name, v, words)
		switch {
		case err != nil:
			return nil, err
		case set:
			yes = append(yes, f.action)
		default:
			no = append(no, f.action)
		}
	}
	if left > 0 {
		return nil, refuse(at + " holds what is none of get, update, add, remove and alter")
	}
	var rules []latchkey.Rule
	if len(yes) > 0 {
		rules = append(rules, latchkey.Allow(yes...).On(on...))
	}
	if len(no) > 0 && o != OverlayUnion {
		rules = append(rules, latchkey.Deny(no...).On(on...))
	}
	return rules, nil
}

// databases reads a list of ids, or ["*"]. An id is a text; in JSON it may be a number without a sign.
func databases(at string, v *form.Value) ([]latchkey.Pattern, error) {
	if v == nil || v.Kind != form.List || v.Len() == 0 {
		return nil, refuse(at + ` is a list of ids, or ["*"]`)
	}
	var ids []string
	for _, item := range v.Items {
		isID := item.Kind == form.Text && item.Text != ""
		if n, err := strconv.ParseUint(item.Text, 10, 64); item.Kind == form.Number {
			isID = err == nil && strconv.FormatUint(n, 10) == item.Text
		}
		if !isID || Database(item.Text).Validate() != nil {
			return nil, refuse(at + " holds what is no id")
		}
		ids = append(ids, item.Text)
	}
	if slices.Contains(ids, "*") {
		if len(slices.Compact(ids)) > 1 {
			return nil, refuse(at + `: "*" stands alone`)
		}
		return []latchkey.Pattern{everyDatabase}, nil
	}
	slices.Sort(ids)
	var patterns []latchkey.Pattern
	for _, id := range slices.Compact(ids) {
		patterns = append(patterns, latchkey.Exactly(Database(id)))
	}
	return patterns, nil
}

// flag reads 0, 1, "0", "1" and booleans, and refuses anything else.
func flag(at string, v *form.Value, words bool) (bool, error) {
	switch {
	case v.Kind == form.Bool:
		return v.Text == "true", nil
	case v.Kind == form.Number, v.Kind == form.Text:
		switch v.Text {
		case "0", "1":
			return v.Text == "1", nil
		case "false", "true":
			if words {
				return v.Text == "true", nil
			}
		}
	}
	return false, refuse(at + " is 0 or 1")
}

// meta holds the changes of access.update. Nil: unchanged.
type meta struct {
	name  *string
	extra *extra
}

// readMeta reads JSON text, brackets, or a mixture. extra within JSON may be JSON text itself.
func readMeta(v *form.Value, o Overlay) (meta, error) {
	var m meta
	var err error
	switch v.Kind {
	case form.Text:
		m, err = metaOfJSON(v.Text, o)
	case form.Map:
		m, err = metaOfBrackets(v, o)
	default:
		err = refuse("meta is given once, as a JSON object")
	}
	switch {
	case err != nil:
		return meta{}, err
	case m.name == nil && m.extra == nil:
		return meta{}, refuse("meta holds name, extra or both")
	case m.name != nil:
		return m, checkName(*m.name)
	}
	return m, nil
}

func metaOfBrackets(v *form.Value, o Overlay) (meta, error) {
	if err := onlyNameAndExtra(v.Names); err != nil {
		return meta{}, err
	}
	var m meta
	if v.Get(nameName) != nil {
		name, err := text(v, nameName)
		if err != nil {
			return meta{}, err
		}
		m.name = &name
	}
	if given := v.Get(nameExtra); given != nil {
		x, err := readExtra(given, o)
		if err != nil {
			return meta{}, err
		}
		m.extra = &x
	}
	return m, nil
}

func metaOfJSON(s string, o Overlay) (meta, error) {
	whole, err := jsonText(nameMeta, s)
	if err != nil {
		return meta{}, err
	}
	given, err := members(nameMeta, whole)
	if err != nil {
		return meta{}, err
	}
	var names []string
	for name := range given {
		names = append(names, name)
	}
	if err := onlyNameAndExtra(names); err != nil {
		return meta{}, err
	}
	var m meta
	if raw := given[nameName]; raw != nil {
		name, ok := jsonString(raw)
		if !ok {
			return meta{}, refuse("meta.name is a text")
		}
		m.name = &name
	}
	if raw := given[nameExtra]; raw != nil {
		if inner, ok := jsonString(raw); ok {
			if raw, err = jsonText(nameExtra, inner); err != nil {
				return meta{}, err
			}
		}
		x, err := compileExtra(raw, o, false)
		if err != nil {
			return meta{}, err
		}
		m.extra = &x
	}
	return m, nil
}

// onlyNameAndExtra refuses unknown members: they would be ignored, though one may have been meant as a limit.
func onlyNameAndExtra(names []string) error {
	for _, name := range names {
		if name != nameName && name != nameExtra {
			return refuse("meta holds name, extra or both, and nothing else")
		}
	}
	return nil
}

// jsonString returns the text of a JSON string, and false for other values.
func jsonString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func checkName(s string) error {
	if len(s) > maxName || strings.IndexByte(s, 0) >= 0 {
		return refuse("name has at most 256 bytes, and no NUL")
	}
	return nil
}
