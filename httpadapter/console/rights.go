package console

import (
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Right is a right that the page of a token can give. Rights with the same Label are given and removed together.
//
// A Pattern may hold names in braces, each a whole segment: "dataset/{WORKSPACE}/{ID}". Such a right is offered as
// chips, one for each data set and Label. The typed name is taken literally, and in upper case if the name in braces
// is. "*" in the last place stands for all. A right with any other Pattern is a switch: "project/{*}/file" is, because
// [latchkey.AnySegment] and [latchkey.ClientSegment] are no names. A Pattern with names holds neither.
type Right struct {
	Label   string // "Core Data Access"; for a chip the text after the name, as in "ACME/CARS – read"
	Action  latchkey.Action
	Pattern latchkey.Pattern
	Default bool // a new publishable token has it; not allowed for chips
}

// maxDeclared bounds the rights of a declared catalogue that a page offers.
const maxDeclared = 60

// rightsOf returns the rights that a host has declared: a switch for an action on one resource, chips for one on a
// kind.
func rightsOf(declared *latchkey.Catalogue) (rights []Right) {
	templates := map[string]string{} // by label
	for _, kind := range declared.Resources {
		name := kind.Name
		if name == "" {
			name = kind.Template
		}
		segments := strings.Split(kind.Template, "/")
		for i, s := range segments {
			if place, ok := placeName(s); ok {
				place = strings.ToLower(strings.TrimSuffix(place, "..."))
				if place == strings.ToUpper(place) { // upper case would change what is typed
					place = "name"
				}
				segments[i] = "{" + place + "}"
			}
		}
		for _, a := range kind.Actions {
			label := name + ": " + declared.Words(a)
			if other, ok := templates[label]; ok && other != kind.Template+string(a) {
				label = kind.Template + ": " + string(a)
			}
			if templates[label] != "" || len(rights) == maxDeclared {
				continue
			}
			templates[label] = kind.Template + string(a)
			rights = append(rights, Right{Label: label, Action: a, Pattern: latchkey.Pattern(strings.Join(segments, "/"))})
		}
	}
	return rights
}

// catalogue is the rights grouped by label, in the order given.
type catalogue []group

type group struct {
	Label   string
	rights  []Right
	places  []string // for chips: the segments of the pattern; nil: a switch
	initial bool
}

func newCatalogue(rights []Right) catalogue {
	var c catalogue
	for _, r := range rights {
		if r.Label == "" {
			panic("console: Options.Catalogue: a right has no Label")
		}
		if err := latchkey.Allow(r.Action).On(r.Pattern).Validate(); err != nil {
			panic(fmt.Sprintf("console: Options.Catalogue: %q: %v", r.Label, err))
		}
		var places []string
		if strings.Contains(string(r.Pattern), "{") {
			places = strings.Split(string(r.Pattern), "/")
			isWild := func(s string) bool {
				return s == string(latchkey.AnySegment) || s == string(latchkey.ClientSegment)
			}
			named := slices.ContainsFunc(places, func(s string) bool {
				_, ok := placeName(s)
				return ok && !isWild(s)
			})
			if slices.ContainsFunc(places, isWild) {
				if named {
					panic(fmt.Sprintf("console: Options.Catalogue: %q: a pattern with names holds no {*} and no {*client}", r.Label))
				}
				places = nil
			}
		}
		i := slices.IndexFunc(c, func(g group) bool { return g.Label == r.Label })
		if i < 0 {
			c = append(c, group{Label: r.Label, places: places})
			i = len(c) - 1
		} else if !slices.Equal(c[i].places, places) {
			panic(fmt.Sprintf("console: Options.Catalogue: the rights labelled %q must have the same segments", r.Label))
		}
		if places != nil && r.Default {
			panic(fmt.Sprintf("console: Options.Catalogue: %q: a right that needs a name cannot be a Default", r.Label))
		}
		c[i].rights = append(c[i].rights, r)
		c[i].initial = c[i].initial || r.Default
	}
	return c
}

// pair is an action on a pattern.
type pair struct {
	action latchkey.Action
	on     latchkey.Pattern
}

// chip is a group's rights to one named resource.
type chip struct {
	Group int
	On    latchkey.Pattern
}

// pairs returns the pairs of a group; on is the pattern of a chip.
func (g *group) pairs(on latchkey.Pattern) []pair {
	out := make([]pair, len(g.rights))
	for i, r := range g.rights {
		out[i] = pair{r.Action, r.Pattern}
		if g.places != nil {
			out[i].on = on
		}
	}
	return out
}

// hint returns the form of a chip's name: "workspace/dataset".
func (g *group) hint() string {
	var names []string
	for _, p := range g.places {
		if name, ok := placeName(p); ok {
			names = append(names, strings.ToLower(name))
		}
	}
	return strings.Join(names, "/")
}

// placeName returns the name in braces of a segment.
func placeName(segment string) (string, bool) {
	name, ok := strings.CutPrefix(segment, "{")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, "}")
}

// fill returns the pattern with the typed names.
func (g *group) fill(typed string) (latchkey.Pattern, error) {
	parts := strings.Split(typed, "/")
	var want int
	for _, p := range g.places {
		if _, ok := placeName(p); ok {
			want++
		}
	}
	if len(parts) != want || slices.Contains(parts, "") {
		return "", fmt.Errorf("%w: write it as %s", latchkey.ErrInvalid, g.hint())
	}
	var segments []string
	all := false
	for i, p := range g.places {
		name, ok := placeName(p)
		if !ok {
			segments = append(segments, p)
			continue
		}
		typed := parts[0]
		parts = parts[1:]
		if name == strings.ToUpper(name) {
			typed = strings.ToUpper(typed)
		}
		if typed == "*" && i == len(g.places)-1 && i > 0 {
			all = true
			continue
		}
		segments = append(segments, typed)
	}
	on := latchkey.Exactly(latchkey.Path(segments...))
	if all {
		on = latchkey.Under(latchkey.Path(segments...))
	}
	if err := on.Validate(); err != nil {
		return "", fmt.Errorf("%w: write it as %s", latchkey.ErrInvalid, g.hint())
	}
	return on, nil
}

// named is the inverse of fill. It returns false if the pattern is not one of the group.
func (g *group) named(on latchkey.Pattern) (string, bool) {
	segments := strings.Split(string(on), "/")
	if g.places == nil || len(segments) != len(g.places) || asSent(string(on), true) != string(on) {
		return "", false
	}
	var names []string
	for i, p := range g.places {
		_, ok := placeName(p)
		switch {
		case !ok && p != segments[i]:
			return "", false
		case ok && segments[i] == "*":
			names = append(names, "*")
		case ok:
			names = append(names, latchkey.Resource(segments[i]).Segments()...)
		}
	}
	text := strings.Join(names, "/")
	again, err := g.fill(text)
	return text, err == nil && again == on // what cannot be typed is shown as a rule
}

// isPlainAllow reports whether a rule is an allow of every row that forces nothing: a set of pairs and no more.
func isPlainAllow(r latchkey.Rule) bool {
	return r.Verb() == latchkey.VerbAllow && r.Condition().IsAllRows() && len(r.Forced()) == 0
}

func pairsOf(r latchkey.Rule) []pair {
	var out []pair
	for _, on := range r.Patterns() {
		for _, a := range r.Actions() {
			out = append(out, pair{a, on})
		}
	}
	return out
}

// read returns which switches are on, which chips there are, and the rules that are neither.
func (c catalogue) read(rules latchkey.Permissions) (on []bool, chips []chip, rest latchkey.Permissions) {
	said := map[pair]bool{}
	var patterns []latchkey.Pattern
	for _, r := range rules {
		if isPlainAllow(r) {
			for _, p := range pairsOf(r) {
				if said[p] = true; !slices.Contains(patterns, p.on) {
					patterns = append(patterns, p.on)
				}
			}
		}
	}
	has := func(pairs []pair) bool {
		return !slices.ContainsFunc(pairs, func(p pair) bool { return !said[p] })
	}
	told := map[pair]bool{}
	on = make([]bool, len(c))
	for i := range c {
		g := &c[i]
		if g.places == nil {
			if on[i] = has(g.pairs("")); on[i] {
				addTo(told, g.pairs(""))
			}
		}
	}
	for _, pattern := range patterns {
		for i := range c {
			g := &c[i]
			if _, ok := g.named(pattern); ok && has(g.pairs(pattern)) {
				chips = append(chips, chip{i, pattern})
				addTo(told, g.pairs(pattern))
			}
		}
	}
	for _, r := range rules {
		if !isPlainAllow(r) || slices.ContainsFunc(pairsOf(r), func(p pair) bool { return !told[p] }) {
			rest = append(rest, r)
		}
	}
	return on, chips, rest
}

func addTo(set map[pair]bool, pairs []pair) {
	for _, p := range pairs {
		set[p] = true
	}
}

// write returns rules with the given switches and chips, and everything else unchanged. New rules go before the first
// rule that is not a plain allow. So denies and conditions that outweighed earlier rules still do.
func (c catalogue) write(rules latchkey.Permissions, on []bool, chips []chip) latchkey.Permissions {
	wasOn, wasChips, _ := c.read(rules)
	before, after := map[pair]bool{}, map[pair]bool{}
	var wanted []pair
	for i := range c {
		if c[i].places != nil {
			continue
		}
		if wasOn[i] {
			addTo(before, c[i].pairs(""))
		}
		if on[i] {
			wanted = append(wanted, c[i].pairs("")...)
		}
	}
	for _, x := range wasChips {
		addTo(before, c[x.Group].pairs(x.On))
	}
	for _, x := range chips {
		wanted = append(wanted, c[x.Group].pairs(x.On)...)
	}
	addTo(after, wanted)
	var out latchkey.Permissions
	special := -1
	for _, r := range rules {
		if !isPlainAllow(r) {
			if special < 0 {
				special = len(out)
			}
			out = append(out, r)
			continue
		}
		pairs := pairsOf(r)
		kept := slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return before[p] && !after[p] })
		if len(kept) == len(pairs) {
			out = append(out, r)
		} else {
			out = append(out, allowRules(kept)...)
		}
	}
	said := map[pair]bool{}
	for _, r := range out {
		if isPlainAllow(r) {
			addTo(said, pairsOf(r))
		}
	}
	var fresh []pair
	for _, p := range wanted {
		if !said[p] {
			said[p] = true
			fresh = append(fresh, p)
		}
	}
	if special < 0 {
		special = len(out)
	}
	return slices.Insert(out, special, allowRules(fresh)...)
}

// allowRules returns rules that allow pairs, one rule for each pattern.
func allowRules(pairs []pair) latchkey.Permissions {
	var out latchkey.Permissions
	for i := 0; i < len(pairs); {
		actions, on := []latchkey.Action{}, pairs[i].on
		for ; i < len(pairs) && pairs[i].on == on; i++ {
			actions = append(actions, pairs[i].action)
		}
		out = append(out, latchkey.Allow(actions...).On(on))
	}
	return out
}

// initial returns the rules of a new publishable token.
func (c catalogue) initial() latchkey.Permissions {
	on := make([]bool, len(c))
	for i := range c {
		on[i] = c[i].initial
	}
	return c.write(nil, on, nil)
}
