package latchkey

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Reached is resources on which a caller may do something.
type Reached struct {
	// Pattern is these resources. It may hold [AnySegment]. In place of [ClientSegment] stands the id of the caller's
	// client.
	Pattern Pattern `json:"pattern"`
	// Rows are those that the caller may do it to, with references filled in. [AllRows]: all of them.
	Rows Condition `json:"rows"`
	// Except are resources within Pattern for which this does not hold. What is allowed there is listed by itself, if
	// anything is.
	Except []Pattern `json:"except,omitempty"`
}

const (
	maxReachCells = 20_000
	maxReachSteps = 2_000_000
)

// Reach lists the patterns of resources that the caller may do an action on, or on some of their rows: under itself and
// what lies beneath it, or everything if under is "". It is for pages: to decide, call [Access.Check].
//
// On every resource that Pattern covers and Except does not, Check and [Access.Filter] give the answer of Rows. Every
// resource with something allowed is in such an answer. A Deny on a part of a pattern is an exception of it.
//
// The list is in the order of the patterns, byte for byte. A page holds Page.Size of them, and more reports whether
// others follow. After is the last Pattern of the page before. The error is [ErrInvalid] for a malformed question, and
// for rules that have too many patterns there: name a longer resource then. It is a *[FaultError] if the rules are
// invalid, and therefore allow nothing. [Access.Explain] says why a resource is allowed.
func (a Access) Reach(action Action, under Resource, page Page) (list []Reached, more bool, err error) {
	if !action.concrete() {
		return nil, false, fmt.Errorf("%w: action %.80q: name one action", ErrInvalid, string(action))
	}
	if under != "" {
		if err := under.Validate(); err != nil {
			return nil, false, err
		}
	}
	if a.set == nil {
		return nil, false, nil
	}
	if a.fault() != nil {
		return nil, false, a.denied(action, under)
	}
	client := a.who.client.ID
	r := reach{access: a, action: action, steps: maxReachSteps}
	live := []*patternNode{newPatternTree(a.set.policy.rulesets(), &client)}
	var path []string
	if under != "" {
		path = strings.Split(string(under), "/")
		for _, text := range path {
			live = advance(live, text)
		}
	}
	r.depth = len(path)
	r.root = r.build(path, live)
	for _, c := range r.cells {
		r.add(c)
	}
	if r.steps < 0 {
		return nil, false, fmt.Errorf("%w: the rules have too many patterns beneath %.80q: name a longer resource",
			ErrInvalid, string(under))
	}
	slices.SortFunc(r.list, func(a, b Reached) int { return cmp.Compare(a.Pattern, b.Pattern) })
	first, found := slices.BinarySearchFunc(r.list, Pattern(page.After), func(x Reached, after Pattern) int {
		return cmp.Compare(x.Pattern, after)
	})
	if found {
		first++
	}
	r.list = r.list[first:]
	n := min(len(r.list), page.Size())
	return r.list[:n:n], n < len(r.list), nil
}

// reach divides resources into cells, of which each has one answer.
type reach struct {
	access Access
	action Action
	root   *reachNode
	depth  int     // segments above root
	steps  int     // that are left
	cells  []*cell // a cell stands before all that are within its pattern
	list   []Reached
}

// cell is the resources of a pattern that belong to no narrower one.
type cell struct {
	path    []string // "" is any segment that no pattern names here
	beneath bool     // everything beneath the path that belongs to no other cell; otherwise the resource itself
	rows    Condition
	absent  bool // there is no such resource: it would be too long
	covered bool // another entry of the list says the same
}

// reachNode is a segment in the tree of cells.
type reachNode struct {
	itself   *cell // nil for the root
	beneath  *cell // nil if other is not
	other    *reachNode
	children map[string]*reachNode
	texts    []string // of children, in order
}

// build makes the cells of a path and of all beneath it, which live patterns cover so far.
func (r *reach) build(path []string, live []*patternNode) *reachNode {
	n := &reachNode{}
	if r.steps -= 1 + len(live); r.steps < 0 || len(r.cells) > maxReachCells {
		r.steps = -1
		return n
	}
	if len(path) > 0 {
		n.itself = r.cell(&cell{path: path})
	}
	down := func(text string) []string { return append(slices.Clip(path), text) }
	if next := advance(live, ""); len(next) == 0 {
		n.beneath = r.cell(&cell{path: path, beneath: true})
	} else {
		n.other = r.build(down(""), next)
	}
	n.texts = literals(live)
	n.children = make(map[string]*reachNode, len(n.texts))
	for _, text := range n.texts {
		n.children[text] = r.build(down(text), advance(live, text))
	}
	return n
}

// cell sets the answer of a cell and keeps it.
func (r *reach) cell(c *cell) *cell {
	segments := slices.Clone(c.path)
	if c.beneath {
		segments = append(segments, "")
	}
	for i, text := range segments {
		segments[i] = cmp.Or(text, unmentioned)
	}
	q := r.access.question(r.action, Resource(strings.Join(segments, "/")))
	if c.absent = len(q.on) > maxResource; !c.absent {
		c.rows = rowsOf(withoutFault(r.access.set.policy.evaluate(&q))).resolve(r.access.lookup)
	}
	r.cells = append(r.cells, c)
	return c
}

func (c *cell) pattern() Pattern {
	segments := slices.Clone(c.path)
	for i, text := range segments {
		segments[i] = cmp.Or(text, string(AnySegment))
	}
	if c.beneath {
		segments = append(segments, "*")
	}
	return Pattern(strings.Join(segments, "/"))
}

// add lists a cell, unless nothing is allowed there or another entry says so already.
func (r *reach) add(c *cell) {
	if c.covered || c.rows.IsNoRows() {
		return
	}
	entry := Reached{Pattern: c.pattern(), Rows: c.rows}
	if entry.Pattern.Validate() != nil {
		r.steps = -1 // too long to be written
		return
	}
	within := r.within(c)
	excepted := map[*cell]bool{}
	for _, d := range within {
		if d.rows.Equal(c.rows) || excepted[d] {
			continue
		}
		entry.Except = append(entry.Except, d.pattern())
		for _, e := range r.within(d) {
			excepted[e] = true
		}
	}
	for _, d := range within {
		d.covered = d.covered || !excepted[d]
	}
	slices.Sort(entry.Except)
	r.list = append(r.list, entry)
}

// within returns all cells that hold resources of a cell's pattern, itself among them. One stands before those that are
// within its own pattern.
func (r *reach) within(c *cell) []*cell {
	var out []*cell
	r.walk(r.root, c.path[r.depth:], c.beneath, func(d *cell) {
		if d != nil && !d.absent {
			out = append(out, d)
		}
	})
	return out
}

// walk visits the cells of what lies rest below a node, or beneath that.
func (r *reach) walk(n *reachNode, rest []string, beneath bool, visit func(*cell)) {
	if r.steps--; r.steps < 0 {
		return
	}
	if len(rest) == 0 {
		if !beneath {
			visit(n.itself)
			return
		}
		visit(n.beneath)
		if n.other != nil {
			r.walk(n.other, nil, false, visit)
			r.walk(n.other, nil, true, visit)
		}
		for _, text := range n.texts {
			r.walk(n.children[text], nil, false, visit)
			if !r.reserved(n, text) {
				r.walk(n.children[text], nil, true, visit)
			}
		}
		return
	}
	// What lies rest below some node lies there below each narrower one, too: at least the same patterns are live.
	if rest[0] != "" {
		r.walk(n.children[rest[0]], rest[1:], beneath, visit)
		return
	}
	r.walk(n.other, rest[1:], beneath, visit)
	for _, text := range n.texts {
		if !r.reserved(n, text) || len(rest) == 1 && !beneath {
			r.walk(n.children[text], rest[1:], beneath, visit)
		}
	}
}

// reserved reports whether what lies beneath a child of n is covered by patterns that name it only.
func (r *reach) reserved(n *reachNode, text string) bool {
	return n == r.root && r.depth == 0 && text+"/" == reserved
}
