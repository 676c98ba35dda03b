package console

import (
	"encoding/json"
	"html"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// changed is a field of a record that an event changed: what it had before, and after, line by line. Lines that stayed
// are left out.
type changed struct {
	Field   string
	Was, Is []string
	// How many more lines there are.
	WasMore, IsMore int
}

func (c *changed) size() (n int) {
	for _, s := range slices.Concat(c.Was, c.Is, []string{c.Field}) {
		n += len(template.HTMLEscapeString(s)) + 40
	}
	return n
}

const (
	maxChangeLines  = 8   // of one side of a field
	maxChangeLength = 200 // runes of a line
)

// fieldLines is a field of a record in words.
type fieldLines struct {
	key   string // in the catalogue
	lines []string
}

// changes returns how a record that was before became after. Either may be nil: there was, or is, none.
func (v *view) changes(kind string, before, after json.RawMessage, names *auditNames) []changed {
	was, ok := v.recordLines(kind, before, names)
	is, ok2 := v.recordLines(kind, after, names)
	if !ok || !ok2 {
		return []changed{{Field: v.say("audit.record"), Was: oneLine(string(before)), Is: oneLine(string(after))}}
	}
	var out []changed
	for _, key := range fieldsOf(was, is) {
		a, b := linesOf(was, key), linesOf(is, key)
		c := changed{Field: v.say(key), Was: without(a, b), Is: without(b, a)}
		if len(c.Was)+len(c.Is) == 0 && !slices.Equal(a, b) {
			c.Was, c.Is = a, b // only the order has changed
		}
		if len(c.Was)+len(c.Is) == 0 {
			continue
		}
		c.Was, c.WasMore = someLines(c.Was)
		c.Is, c.IsMore = someLines(c.Is)
		out = append(out, c)
	}
	return out
}

func oneLine(text string) []string {
	if text == "" || text == "null" {
		return nil
	}
	return []string{shorten(text, 2*maxChangeLength)}
}

func someLines(lines []string) (out []string, more int) {
	for _, s := range lines[:min(len(lines), maxChangeLines)] {
		out = append(out, shorten(s, maxChangeLength))
	}
	return out, len(lines) - len(out)
}

// fieldsOf returns the keys of both records, each once and in order.
func fieldsOf(a, b []fieldLines) (keys []string) {
	for _, f := range slices.Concat(a, b) {
		if !slices.Contains(keys, f.key) {
			keys = append(keys, f.key)
		}
	}
	return keys
}

func linesOf(fields []fieldLines, key string) []string {
	for _, f := range fields {
		if f.key == key {
			return f.lines
		}
	}
	return nil
}

// without returns the lines of a that b has not.
func without(a, b []string) (out []string) {
	has := make(map[string]int, len(b))
	for _, s := range b {
		has[s]++
	}
	for _, s := range a {
		if has[s]--; has[s] < 0 {
			out = append(out, s)
		}
	}
	return out
}

// recordLines returns a record of the audit trail in words, field by field. ok is false if it cannot be read.
func (v *view) recordLines(kind string, text json.RawMessage, names *auditNames) (out []fieldLines, ok bool) {
	if len(text) == 0 || string(text) == "null" {
		return nil, true
	}
	add := func(key string, lines ...string) {
		lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
		if len(lines) > 0 {
			out = append(out, fieldLines{key, lines})
		}
	}
	var err error
	switch kind {
	case "token":
		var t latchkey.Token
		if err = json.Unmarshal(text, &t); err == nil {
			v.tokenLines(&t, names, add)
		}
	case "role":
		var r latchkey.Role
		if err = json.Unmarshal(text, &r); err == nil {
			add("audit.name", exact(r.Name))
			add("audit.origin", r.Origin)
			add("audit.inherits", namesOf(r.Inherits, names)...)
			add("audit.inherit-denies", v.yes(r.InheritDenies))
			add("audit.rules", ruleTexts(r.Permissions)...)
			add("audit.boundary", v.boundaryTexts(r.Boundary)...)
			add("audit.extra", string(r.Extra))
		}
	case "owner":
		var o latchkey.Owner
		if err = json.Unmarshal(text, &o); err == nil {
			add("audit.disabled", v.yes(o.Disabled))
			add("audit.boundary", v.boundaryTexts(o.Boundary)...)
			v.limitLines(o.Limits, add)
			if policy, err := json.Marshal(o.Policy); err == nil && string(policy) != "{}" {
				add("audit.policy", string(policy))
			}
			add("audit.ended-before", v.stampOr(o.NotBefore))
			add("audit.extra", string(o.Extra))
		}
	default:
		return nil, false
	}
	return out, err == nil
}

func (v *view) tokenLines(t *latchkey.Token, names *auditNames, add func(key string, lines ...string)) {
	add("audit.kind", v.words.badge(*t))
	add("audit.name", t.Name)
	add("audit.hint", t.Hint)
	add("audit.client", clientText(t.Client))
	add("audit.parent", tokenText(t.Parent, names))
	add("audit.origin", t.Origin)
	add("audit.disabled", v.yes(t.Disabled))
	add("audit.revoked", v.stampOr(t.Revoked))
	add("audit.reason", t.Reason)
	roles := namesOf(t.Roles, names)
	for i, id := range t.Roles {
		if end, ok := t.RoleEnds[id]; ok {
			roles[i] = plain(v.say("audit.role-until", "name", roles[i], "time", end))
		}
	}
	add("audit.token-roles", roles...)
	add("audit.rules", ruleTexts(t.Permissions)...)
	if t.Full {
		add("audit.full", v.yes(true))
	}
	add("audit.rows", rowsText(t.Rows))
	if len(t.Forced) > 0 {
		if text, err := t.Forced.MarshalJSON(); err == nil {
			add("audit.forced", unescaped(string(text)))
		}
	}
	if len(t.Attributes) > 0 {
		if text, err := json.Marshal(t.Attributes); err == nil {
			add("audit.attributes", unescaped(string(text)))
		}
	}
	add("audit.child-attributes", t.ChildAttributes...)
	add("audit.signed", v.yes(t.Restrictions.Signed))
	add("audit.domains", t.Restrictions.Domains...)
	add("audit.addresses", strings.Fields(prefixText(t.Restrictions.Addresses))...)
	add("audit.mint-from", strings.Fields(prefixText(t.Restrictions.MintFrom))...)
	v.limitLines(t.Limits, add)
	add("audit.not-before", v.stampOr(t.Validity.NotBefore))
	add("audit.expiry", v.stampOr(t.Validity.NotAfter))
	if t.Validity.Idle != 0 {
		add("audit.idle", v.words.duration(t.Validity.Idle))
	}
	add("audit.extra", string(t.Extra))
}

func (v *view) limitLines(l latchkey.Limits, add func(key string, lines ...string)) {
	var quotas []string
	for _, q := range l.Quotas {
		quotas = append(quotas, plain(v.words.quota(q)))
	}
	add("audit.quotas", quotas...)
	if r := l.Rate; r.Count > 0 && r.Burst > 0 {
		add("audit.rate", plain(v.say("facts.rate-burst", "n", r.Count, "per", v.perWords(r.Per), "burst", r.Burst)))
	} else if r.Count > 0 {
		add("audit.rate", plain(v.say("facts.rate-of", "n", r.Count, "per", v.perWords(r.Per))))
	}
}

// plain returns a text without the marks that isolate names in it.
func plain(text string) string { return strings.NewReplacer("\u2068", "", "\u2069", "").Replace(text) }

func (v *view) yes(b bool) string {
	if b {
		return v.say("audit.yes")
	}
	return ""
}

func (v *view) stampOr(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return v.words.stamp(t)
}

// boundaryTexts returns a boundary in words. An empty one lets nothing through, and nil is none.
func (v *view) boundaryTexts(p latchkey.Permissions) []string {
	if p != nil && len(p) == 0 {
		return []string{v.say("audit.boundary-empty")}
	}
	return ruleTexts(p)
}

func clientText(c latchkey.Client) string {
	if c.Name == "" || c.ID == "" {
		return c.ID + c.Name
	}
	return c.Name + " (" + c.ID + ")"
}

func tokenText(id string, names *auditNames) string {
	if t, ok := names.tokens[id]; ok {
		return label(&t)
	}
	return id
}

// namesOf returns roles by name, and those that the person may not read by id.
func namesOf(ids []string, names *auditNames) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		if out[i] = id; strings.TrimSpace(names.roles[id]) != "" {
			out[i] = exact(names.roles[id])
		}
	}
	return out
}

// rolesIn returns the ids of the roles that a record of the audit trail names.
func rolesIn(text []byte) []string {
	var r struct{ Roles, Inherits []string }
	if len(text) == 0 || json.Unmarshal(text, &r) != nil {
		return nil
	}
	return append(r.Roles, r.Inherits...)
}

// nameIn returns the name of a record that may be gone.
func nameIn(before, after []byte) string {
	for _, text := range [][]byte{after, before} {
		var r struct{ Name, Hint string }
		if len(text) > 0 && json.Unmarshal(text, &r) == nil {
			if strings.TrimSpace(r.Name) != "" {
				return r.Name
			}
			if r.Hint != "" {
				return r.Hint
			}
		}
	}
	return ""
}

// changesText returns changes as one text, for a file.
func changesText(all []changed) string {
	var b strings.Builder
	for i, c := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(html.UnescapeString(c.Field) + ": ")
		if len(c.Was) > 0 {
			b.WriteString(strings.Join(c.Was, ", ") + " → ")
		}
		if len(c.Is) > 0 {
			b.WriteString(strings.Join(c.Is, ", "))
		} else {
			b.WriteString("–")
		}
	}
	return b.String()
}
