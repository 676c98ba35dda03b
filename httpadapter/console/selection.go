package console

import (
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// selection is a part of a list that a form can keep, remove from and add to. A long list is shown in parts. The form
// says which part it showed, so that the rest of the list stays.
type selection struct {
	Ticked   []string // the ticked entries
	Shown    []string // the entries that the form showed
	From, Of int      // where the part begins, and the length of the list
}

// Bounds of a part of a list, in entries and in bytes of text. It has at least one entry. So pages and forms do not
// grow with what is stored.
const (
	maxSelection      = 60
	maxSelectionBytes = 3000
)

// part returns where a part of a list ends that begins at index from.
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

// readSelection reads the fields name and "had-"+name. The second has the entries that were shown, one per line.
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

// ShownText is the value of the form's hidden field.
func (p selection) ShownText() string { return strings.Join(p.Shown, "\n") }

// To, First, Next and Previous are for templates: the last and first entry of the part, counted from 1, and where the
// other parts begin. Next is 0 at the end of the list.
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

// applyTo returns a stored list with the selection applied: entries that were shown and are no longer ticked are
// removed, and new ones are appended.
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
		return stored // keep nil or empty as it was
	}
	return out
}

// rebase returns the selection for a form that is shown again after the stored list changed. Sending that form makes
// the list what the form shows. If the list was shown in part, the rest is left unchanged.
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

// value returns a chip as a form has it. A pattern holds no line break.
func (x chip) value() string { return strconv.Itoa(x.Group) + " " + string(x.On) }

// chips returns the chips of values, without invalid ones.
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

// roleNames are the names of some roles. A few are offered as checkboxes, more as suggestions to type.
type roleNames struct {
	names map[string]string
	ids   []string // in the order of the list
	few   bool     // these are all roles, and all are offered
	cut   bool     // there are more roles
}

const (
	fewRoles      = 12
	suggestRoles  = 30
	maxNameLength = 80 // in bytes; a longer one is not suggested
)

// roleNamesOf reads some roles that the person may see, and the named ones.
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

// roleField is the field of a page that selects roles: checkboxes for a few roles, else the selected ones and a text
// field.
type roleField struct {
	Selection selection
	Ticks     []option
	Suggest   []string // names; nil: all roles have a checkbox
	Cut       bool     // there are more roles than in Suggest and Ticks
	Add       string   // the text in the field
	Wrong     template.HTML
}

func (v *view) roleField(p selection, typed string, wrong template.HTML, without string) (roleField, error) {
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

// addRole adds the role whose name or id is typed. wrong says why there is no such role.
func (v *view) addRole(p *selection, typed string) (wrong template.HTML, err error) {
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
		return v.rich("role.unknown-name"), nil
	case 1:
		p.add(found[0].ID)
		return "", nil
	}
	return v.rich("role.several"), nil
}
