package console

import (
	"html/template"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

// reason returns in words why a decision is what it is; names, rules and faults in it have at most most runes. A reason
// that the catalogue lacks is in the Manager's English.
func (v *view) reason(e *latchkey.Explanation, most int) template.HTML {
	text := roleIDs.ReplaceAllString(e.Reason, "")
	switch text {
	case "no rules apply":
		return v.rich("reason.no-rules")
	case "an invalid action is always denied":
		return v.rich("reason.bad-action")
	case "an invalid resource is always denied":
		return v.rich("reason.bad-resource")
	case "* stands for any action in rules only: name one action":
		return v.rich("reason.any-action")
	}
	name := v.layerName(e.Decided)
	rest, ok := strings.CutPrefix(text, e.Decided)
	if !ok || e.Decided == "" {
		return v.inEnglish(shorten(adapters.Sentence(v.named(text)), most))
	}
	switch rest {
	case " may do everything":
		return v.rich("reason.everything", "name", name)
	case " allows every row, and no other layer allows less":
		return v.rich("reason.every-row", "name", name)
	case " allows some rows only":
		return v.rich("reason.some-rows", "name", name)
	case " limits everything to no row":
		return v.rich("reason.no-row", "name", name)
	case ": no rule allows it":
		return v.rich("reason.no-rule", "name", name)
	case " forces other values than the layers before it: no way is left that all allow":
		return v.rich("reason.forces-other", "name", name)
	}
	if fault, ok := strings.CutPrefix(rest, " allows nothing: "); ok {
		return v.rich("reason.fault", "name", name, "fault", v.inEnglish(shorten(fault, most)))
	}
	if roles, ok := strings.CutPrefix(rest, ": no rule allows it, and role "); ok {
		if role, fault, ok := strings.Cut(roles, " gives nothing: "); ok {
			return v.rich("reason.role-fault", "name", name, "role", shorten(role, most), "fault",
				v.inEnglish(shorten(fault, most)))
		}
	}
	if role, ok := strings.CutPrefix(rest, ": no rule allows it but those of role "); ok {
		if role, ok := strings.CutSuffix(role, ", whose boundary does not"); ok {
			return v.rich("reason.role-boundary", "name", name, "role", shorten(role, most))
		}
	}
	if rule, ok := strings.CutPrefix(rest, ": "); ok { // rules are shown as they are written
		return v.rich("reason.rule", "name", name, "rule", shorten(rule, most))
	}
	return v.inEnglish(shorten(adapters.Sentence(v.named(text)), most))
}

// layerName returns the name of a step of a decision: a token by its name, or what it stands for.
func (v *view) layerName(name string) string {
	switch name {
	case "token":
		return v.say("reason.this-token")
	case "owner boundary":
		return v.say("reason.boundary")
	}
	if role, ok := strings.CutPrefix(name, "role "); ok {
		return v.say("reason.role", "name", role)
	}
	return v.named(name)
}
