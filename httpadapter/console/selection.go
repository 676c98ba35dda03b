package console

import (
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// picks are things of a list that a form lets one keep, take away and add. A long list is shown in part, so a form says
// what it showed: all else of the list stays.
type selection struct {
	Ticked   []string // what is ticked
	Shown    []string // what the form was drawn with
	From, Of int      // where the part begins, and how long the list is
}

// A part of a list has at most so many things, and so many bytes of text (but one thing at least), so that no page and no
// form grows with what is stored.
const (
	maxSelection      = 60
	maxSelectionBytes = 3000
)

// part is where a part of a list that begins with number from ends.
func part(n, from, most, mostBytes int, size func(i int) int) (to int) {
	for to = from; to < n && to-from < most; to++ {
		if mostBytes -= size(to); mostBytes < 0 && to > from {
			break
		}
	}
	return to
}

func newSelection(all []string, from int) selection {
	if from < 0 || from >= len(all) {
		from = 0
	}
	to := part(len(all), from, maxSelection, maxSelectionBytes, func(i int) int { return len(all[i]) })
	return selection{Ticked: slices.Clone(all[from:to]), Shown: all[from:to], From: from, Of: len(all)}
}

// readPicks reads fields "name" and "had-name". What was drawn stands in one field, one on a line.
func readSelection(f *form.Value, name string) selection {
	p := selection{Ticked: texts(f, name)}
	for _, list := range texts(f, "had-"+name) {
		for line := range strings.Lines(list) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				p.Shown = append(p.Shown, line)
			}
		}
	}
	return p
}

// HadText is for the form's hidden field.
func (p selection) ShownText() string { return strings.Join(p.Shown, "\n") }

// To, Next and Previous are for templates: where the part ends, counted from 1, and where the others begin. Next is 0 at
// the end of the list.
func (p selection) To() int { return p.From + len(p.Shown) }

func (p selection) First() int { return p.From + 1 }

func (p selection) Next() int {
	if p.To() < p.Of {
		return p.To()
	}
	return 0
}

func (p selection) Previous() int { return max(0, p.From-maxSelection) }

func (p *selection) add(x string) {
	if !slices.Contains(p.Ticked, x) {
		p.Ticked = append(p.Ticked, x)
	}
}

// over is a stored list with the choice made of it: what was shown and is no longer ticked goes, what is new comes last.
func (p selection) applyTo(stored []string) []string {
	var out []string
	for _, x := range stored {
		if slices.Contains(p.Ticked, x) || !slices.Contains(p.Shown, x) {
			out = append(out, x)
		}
	}
	for _, x := range p.Ticked {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	if slices.Equal(out, stored) {
		return stored // be it nil or empty
	}
	return out
}

// redrawn is the choice as a form that shows it again must have it when the list is stored otherwise by now: sending that
// form makes of the list what the form shows. Of a list that was shown in part, the rest is left alone.
func (p selection) rebase(stored []string, whole bool) selection {
	p.Of = len(stored)
	if whole {
		p.From, p.Shown = 0, stored
		return p
	}
	p.Shown = slices.DeleteFunc(slices.Clone(stored), func(x string) bool {
		return !slices.Contains(p.Shown, x) && !slices.Contains(p.Ticked, x)
	})
	return p
}

// value is a chip as a form has it: a pattern holds no line break.
func (x chip) value() string { return strconv.Itoa(x.Group) + " " + string(x.On) }

// chips are those that values stand for; what can be none is left out.
func (c catalogue) chips(values []string) []chip {
	var out []chip
	for _, x := range values {
		at, on, _ := strings.Cut(x, " ")
		i, err := strconv.Atoi(at)
		if err != nil || i < 0 || i >= len(c) {
			continue
		}
		if _, ok := c[i].named(latchkey.Pattern(on)); ok {
			out = append(out, chip{i, latchkey.Pattern(on)})
		}
	}
	return out
}

func (c catalogue) chipName(x chip) string {
	name, _ := c[x.Group].named(x.On)
	return name + " – " + c[x.Group].Label
}

func chipValues(chips []chip) []string {
	var out []string
	for _, x := range chips {
		out = append(out, x.value())
	}
	return out
}

// someRoles are roles by name: as many as are offered as boxes to tick, or, if there are more, as suggestions to type.
type roleNames struct {
	names map[string]string
	ids   []string // in order
	few   bool     // they are all there are, and all are offered
	cut   bool     // there are more
}

const (
	fewRoles      = 12
	suggestRoles  = 30
	maxNameLength = 80 // bytes; a longer one is not suggested
)

// rolesOf reads some roles that who asks may see, and those that are named.
func (v *view) roleNamesOf(named []string) (roleNames, error) {
	out := roleNames{names: map[string]string{}, few: true}
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{Page: latchkey.Page{Limit: suggestRoles + 1}}) {
		if err != nil && !isDamaged(err) {
			return roleNames{}, err
		}
		if out.cut = len(out.ids) == suggestRoles; out.cut {
			break
		}
		out.names[r.ID] = r.Name
		out.ids = append(out.ids, r.ID)
	}
	out.few = len(out.ids) <= fewRoles
	var rest []string
	for _, id := range named {
		if _, known := out.names[id]; !known {
			rest = append(rest, id)
		}
	}
	if len(rest) == 0 {
		return out, nil
	}
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{IDs: rest}) {
		if err != nil && !isDamaged(err) {
			return roleNames{}, err
		}
		out.names[r.ID] = r.Name
	}
	return out, nil
}

func (s *roleNames) name(id string) string {
	if name := s.names[id]; strings.TrimSpace(name) != "" {
		return exact(name)
	}
	return id
}

// roleField is a choice of roles as a page shows it: boxes for a few, else those that are chosen and a field to type.
type roleField struct {
	Selection selection
	Ticks     []option
	Suggest   []string // names; nil: everything is there to tick
	Cut       bool     // there are more than Suggest and Ticks
	Add       string   // what is typed
	Wrong     string
}

func (v *view) roleField(p selection, typed, wrong, without string) (roleField, error) {
	some, err := v.roleNamesOf(p.Ticked)
	if err != nil {
		return roleField{}, err
	}
	f := roleField{Selection: p, Add: typed, Wrong: wrong, Cut: some.cut}
	ids := p.Ticked
	if some.few {
		ids = some.ids
		for _, id := range p.Ticked {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	} else {
		for _, id := range some.ids {
			if id == without || slices.Contains(p.Ticked, id) {
				continue
			}
			if f.Cut = f.Cut || len(some.names[id]) > maxNameLength; len(some.names[id]) <= maxNameLength {
				f.Suggest = append(f.Suggest, some.names[id])
			}
		}
	}
	for _, id := range ids {
		if id != without {
			f.Ticks = append(f.Ticks, option{Value: id, Text: some.name(id), On: slices.Contains(p.Ticked, id)})
		}
	}
	return f, nil
}

// addRole finds the role that is typed, by its name or id, and says if there is none.
func (v *view) addRole(p *selection, typed string) (wrong string, err error) {
	if typed == "" {
		return "", nil
	}
	var found []latchkey.Role
	for _, q := range []latchkey.RoleQuery{{Names: []string{typed}}, {IDs: []string{typed}}} {
		for r, err := range v.account.Roles(v.r.Context(), q) {
			if err != nil && !isDamaged(err) {
				return "", err
			}
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return "No role has this name.", nil
	case 1:
		p.add(found[0].ID)
		return "", nil
	}
	return "Several roles have this name: write the id of the one you mean.", nil
}
