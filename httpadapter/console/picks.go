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
type picks struct {
	Now      []string // what is ticked
	Had      []string // what the form was drawn with
	From, Of int      // where the part begins, and how long the list is
}

// A part of a list has at most so many things, and so many bytes of text (but one thing at least), so that no page and no
// form grows with what is stored.
const (
	mostPicks     = 60
	mostPickBytes = 3000
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

func newPicks(all []string, from int) picks {
	if from < 0 || from >= len(all) {
		from = 0
	}
	to := part(len(all), from, mostPicks, mostPickBytes, func(i int) int { return len(all[i]) })
	return picks{Now: slices.Clone(all[from:to]), Had: all[from:to], From: from, Of: len(all)}
}

// readPicks reads fields "name" and "had-name". What was drawn stands in one field, one on a line.
func readPicks(f *form.Value, name string) picks {
	p := picks{Now: texts(f, name)}
	for _, list := range texts(f, "had-"+name) {
		for line := range strings.Lines(list) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				p.Had = append(p.Had, line)
			}
		}
	}
	return p
}

// HadText is for the form's hidden field.
func (p picks) HadText() string { return strings.Join(p.Had, "\n") }

// To, Next and Previous are for templates: where the part ends, counted from 1, and where the others begin. Next is 0 at
// the end of the list.
func (p picks) To() int { return p.From + len(p.Had) }

func (p picks) First() int { return p.From + 1 }

func (p picks) Next() int {
	if p.To() < p.Of {
		return p.To()
	}
	return 0
}

func (p picks) Previous() int { return max(0, p.From-mostPicks) }

func (p *picks) add(x string) {
	if !slices.Contains(p.Now, x) {
		p.Now = append(p.Now, x)
	}
}

// over is a stored list with the choice made of it: what was shown and is no longer ticked goes, what is new comes last.
func (p picks) over(stored []string) []string {
	var out []string
	for _, x := range stored {
		if slices.Contains(p.Now, x) || !slices.Contains(p.Had, x) {
			out = append(out, x)
		}
	}
	for _, x := range p.Now {
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
func (p picks) redrawn(stored []string, whole bool) picks {
	p.Of = len(stored)
	if whole {
		p.From, p.Had = 0, stored
		return p
	}
	p.Had = slices.DeleteFunc(slices.Clone(stored), func(x string) bool {
		return !slices.Contains(p.Had, x) && !slices.Contains(p.Now, x)
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
type someRoles struct {
	names map[string]string
	ids   []string // in order
	few   bool     // they are all there are, and all are offered
	cut   bool     // there are more
}

const (
	fewRoles     = 12
	suggestRoles = 30
	longName     = 80 // bytes; a longer one is not suggested
)

// rolesOf reads some roles that who asks may see, and those that are named.
func (v *visit) rolesOf(named []string) (someRoles, error) {
	out := someRoles{names: map[string]string{}, few: true}
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{Page: latchkey.Page{Limit: suggestRoles + 1}}) {
		if err != nil && !spoilt(err) {
			return someRoles{}, err
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
		if err != nil && !spoilt(err) {
			return someRoles{}, err
		}
		out.names[r.ID] = r.Name
	}
	return out, nil
}

func (s *someRoles) name(id string) string {
	if name := s.names[id]; strings.TrimSpace(name) != "" {
		return exact(name)
	}
	return id
}

// roleField is a choice of roles as a page shows it: boxes for a few, else those that are chosen and a field to type.
type roleField struct {
	Picks   picks
	Ticks   []option
	Suggest []string // names; nil: everything is there to tick
	Cut     bool     // there are more than Suggest and Ticks
	Add     string   // what is typed
	Wrong   string
}

func (v *visit) roleField(p picks, typed, wrong, without string) (roleField, error) {
	some, err := v.rolesOf(p.Now)
	if err != nil {
		return roleField{}, err
	}
	f := roleField{Picks: p, Add: typed, Wrong: wrong, Cut: some.cut}
	ids := p.Now
	if some.few {
		ids = some.ids
		for _, id := range p.Now {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	} else {
		for _, id := range some.ids {
			if id == without || slices.Contains(p.Now, id) {
				continue
			}
			if f.Cut = f.Cut || len(some.names[id]) > longName; len(some.names[id]) <= longName {
				f.Suggest = append(f.Suggest, some.names[id])
			}
		}
	}
	for _, id := range ids {
		if id != without {
			f.Ticks = append(f.Ticks, option{Value: id, Text: some.name(id), On: slices.Contains(p.Now, id)})
		}
	}
	return f, nil
}

// addRole finds the role that is typed, by its name or id, and says if there is none.
func (v *visit) addRole(p *picks, typed string) (wrong string, err error) {
	if typed == "" {
		return "", nil
	}
	var found []latchkey.Role
	for _, q := range []latchkey.RoleQuery{{Names: []string{typed}}, {IDs: []string{typed}}} {
		for r, err := range v.account.Roles(v.r.Context(), q) {
			if err != nil && !spoilt(err) {
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
