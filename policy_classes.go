package latchkey

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// unmentioned is a segment, and an action, that no valid pattern or rule holds.
const unmentioned = "\x00"

// theClient and anotherClient are clients, and the segments that they fill, that no valid pattern holds.
const (
	theClient     = "\x00\x00"
	anotherClient = "\x00\x00\x00"
)

// class is the resources that no pattern of some policies tells apart, however the client's id is chosen.
type class struct {
	on       string
	segments []classSegment // nil if no pattern holds a wildcard of one segment
	work     int            // of finding it, in steps
}

// classSegment is one segment of the resources of a class.
type classSegment struct {
	text   string // "": any segment that no pattern names here
	client bool   // some pattern has ClientSegment here
}

// representedActions returns actions that stand for all others. Those that [Any] does not include are among them if a
// rule names them, and if a layer starts from everything: it has them without a rule.
func representedActions(policies ...*policy) []Action {
	actions := []Action{unmentioned, Create}
	known := map[Action]bool{Create: true}
	add := func(list []Action) {
		for _, a := range list {
			if !known[a] {
				known[a] = true
				actions = append(actions, a)
			}
		}
	}
	for _, p := range policies {
		for _, s := range p.rulesets() {
			add(s.actions)
		}
		if slices.ContainsFunc(p.layers, func(l compiledLayer) bool { return l.full }) {
			add(namedActions[:])
		}
	}
	return actions
}

// representatives returns every class of resources that the patterns of some policies tell apart. Without wildcards of
// one segment there are as many as patterns. With them there may be far more, so that the caller counts their work.
func representatives(policies ...*policy) iter.Seq[class] {
	var sets []*ruleset
	wild := false
	for _, p := range policies {
		for _, s := range p.rulesets() {
			sets = append(sets, s)
			wild = wild || len(s.shapes) > 0
		}
	}
	if wild {
		return func(yield func(class) bool) {
			w := classWalk{yield: yield}
			w.visit([]*patternNode{newPatternTree(sets, nil)})
		}
	}
	resources := map[string]struct{}{unmentioned: {}, reserved + unmentioned: {}}
	for _, s := range sets {
		for i := range s.entries {
			key := s.entries[i].key
			if key == "" || strings.HasSuffix(key, "/") {
				key += unmentioned
			}
			resources[key] = struct{}{}
		}
	}
	return func(yield func(class) bool) {
		for on := range resources {
			if !yield(class{on: on, work: 1}) {
				return
			}
		}
	}
}

// refersToClient reports whether a pattern in p holds ClientSegment.
func (p *policy) refersToClient() bool {
	return slices.ContainsFunc(p.rulesets(), func(s *ruleset) bool {
		return slices.ContainsFunc(s.shapes, shape.refersToClient)
	})
}

// maxClientChoices bounds the segments of a class that may each be the client's id or not.
const maxClientChoices = 6

// questions returns one question for each way in which the client's id can be related to the segments of the class. A
// policy without ClientSegment does not distinguish them. It returns false if there are too many.
func (c *class) questions(refersToClient bool) (out []question, ok bool) {
	out = []question{{on: c.on}} // no client
	var choices []int
	named := map[string]bool{}
	if refersToClient {
		for i, s := range c.segments {
			switch {
			case s.client && s.text == "":
				choices = append(choices, i)
			case s.client:
				named[s.text] = true
			}
		}
	}
	if len(choices) > maxClientChoices {
		return nil, false
	}
	if len(choices)+len(named) == 0 {
		return out, true
	}
	out = append(out, question{on: c.on, client: anotherClient})
	add := func(client, segment string, set int) {
		segments := strings.Split(c.on, "/")
		for bit, i := range choices {
			if set&(1<<bit) != 0 {
				segments[i] = segment
			}
		}
		out = append(out, question{on: strings.Join(segments, "/"), client: client})
	}
	for set := range 1 << len(choices) {
		if set != 0 {
			add(theClient, theClient, set)
		}
		for _, text := range slices.Sorted(maps.Keys(named)) {
			id := Resource(text).Segments()[0]
			if id != "" && string(Path(id)) == text { // other segments are no client's
				add(id, text, set)
			}
		}
	}
	return out, true
}

// patternNode is a node of the tree of patterns, by segment.
type patternNode struct {
	children    map[string]*patternNode
	any, client *patternNode
}

func (n *patternNode) child(text string) *patternNode {
	if n.children[text] == nil {
		if n.children == nil {
			n.children = map[string]*patternNode{}
		}
		n.children[text] = &patternNode{}
	}
	return n.children[text]
}

// newPatternTree returns the tree of all patterns in sets. If client is not nil, it is the caller's client: its id
// stands in place of ClientSegment, and "" means that there is none.
func newPatternTree(sets []*ruleset, client *string) *patternNode {
	root := &patternNode{}
	root.child(strings.TrimSuffix(reserved, "/"))
	for _, s := range sets {
		for i := range s.entries {
			key := strings.TrimSuffix(s.entries[i].key, "/")
			if key == "" {
				continue
			}
			n := root
			for segment := range strings.SplitSeq(key, "/") {
				n = n.step(segment, client)
			}
		}
	}
	return root
}

// step returns the node beneath n for a segment of a key of an index, and makes it if there is none.
func (n *patternNode) step(segment string, client *string) *patternNode {
	at := &n.any
	switch {
	case segment == string(byte(anyByte)):
	case segment != "\xff" && segment != "\xfe":
		return n.child(segment)
	case client == nil:
		at = &n.client
	case *client != "":
		return n.child(string(Path(*client)))
	}
	if *at == nil {
		*at = &patternNode{}
	}
	return *at
}

// literals returns the segments that live patterns name next, in order.
func literals(live []*patternNode) []string {
	if len(live) == 1 {
		return slices.Sorted(maps.Keys(live[0].children))
	}
	var texts []string
	for _, n := range live {
		texts = slices.AppendSeq(texts, maps.Keys(n.children))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// advance returns the patterns that are live after one more segment; "": one that none of them names.
func advance(live []*patternNode, text string) (next []*patternNode) {
	for _, n := range live {
		for _, at := range [...]*patternNode{n.any, n.client} {
			if at != nil {
				next = append(next, at)
			}
		}
		if child := n.children[text]; child != nil {
			next = append(next, child)
		}
	}
	return next
}

// classWalk visits the classes of resources that a tree of patterns tells apart.
type classWalk struct {
	yield func(class) bool
	path  []classSegment
	on    []byte
}

// visit visits what lies beneath the path, which live patterns cover so far. It returns false if yield did.
func (w *classWalk) visit(live []*patternNode) bool {
	if len(live) == 0 {
		return true // deeper resources belong to the class of this one
	}
	client := slices.ContainsFunc(live, func(n *patternNode) bool { return n.client != nil })
	for _, text := range literals(live) {
		if !w.into(text, client, live) {
			return false
		}
	}
	return w.into("", client, live)
}

// into visits one segment, and what lies beneath it.
func (w *classWalk) into(text string, client bool, live []*patternNode) bool {
	path, on := len(w.path), len(w.on)
	defer func() { w.path, w.on = w.path[:path], w.on[:on] }()
	if path > 0 {
		w.on = append(w.on, '/')
	}
	w.path = append(w.path, classSegment{text, client})
	w.on = append(w.on, cmp.Or(text, unmentioned)...)
	if len(w.on) > maxResource {
		return true // there is no such resource: any other has longer segments
	}
	next := advance(live, text)
	return w.yield(class{string(w.on), slices.Clone(w.path), 1 + len(next)}) && w.visit(next)
}
