package latchkey

// size bounds how large the rows that a policy allows anywhere can become, put together. It is an upper bound: what
// fits by it need not be tried.
type size struct {
	nodes, items, depth int
	keys                int // different sets of forced values
	weight              int // of the heaviest of them
}

// fits reports whether no answer can exceed the limits of a composed condition, maxPairs, maxForced, or maxDenied.
func (s size) fits() bool {
	return s.nodes <= composedLimits.nodes && s.items <= composedLimits.items && s.depth <= composedLimits.depth &&
		s.keys <= maxPairs && times(s.keys, s.weight) <= maxForced
}

// noLargerThan reports whether what is built on s instead of other grows in no way.
func (s size) noLargerThan(other size) bool {
	return s.nodes <= other.nodes && s.items <= other.items && s.depth <= other.depth && s.keys <= other.keys &&
		s.weight <= other.weight
}

// maxSize is where sizes stop growing: far beyond every limit, and far below an overflow.
const maxSize = 1 << 30

func add(a, b int) int { return min(a+b, maxSize) }

func times(a, b int) int {
	if a != 0 && b > maxSize/a {
		return maxSize
	}
	return a * b
}

// conditionSize is the size of one condition, forced values left out.
func conditionSize(c Condition) size {
	if c.n == nil || c.n.kind == nodeEvery {
		return size{}
	}
	return size{nodes: c.n.count, items: c.n.items, depth: c.n.depth}
}

// or is the size of the rows of a beside those of b.
func (a size) or(b size) size {
	return size{nodes: add(add(a.nodes, b.nodes), 1), items: add(a.items, b.items), depth: max(a.depth, b.depth) + 2,
		keys: add(a.keys, b.keys), weight: max(a.weight, b.weight)}
}

// and is the size of the meet of a and b: each set of forced values of one with each of the other.
func (a size) and(b size) size {
	ka, kb := max(a.keys, 1), max(b.keys, 1)
	return size{
		nodes:  add(add(times(a.nodes, kb), times(b.nodes, ka)), times(ka, kb)),
		items:  add(times(a.items, kb), times(b.items, ka)),
		depth:  max(a.depth, b.depth) + 4,
		keys:   times(ka, kb),
		weight: add(a.weight, b.weight),
	}
}

// rulesSize is what one list of rules adds to an answer.
type rulesSize struct {
	gives  size // of its Allows and Grants
	takes  size // of its Denies, each with one Not
	denies int
	runs   int // of Allows and Grants behind a Deny
}

func (s *ruleset) measure() {
	plain := false // some rule forces nothing
	var forced map[string]bool
	heaviest, denied := 0, false
	for i := range s.rules {
		r := &s.rules[i]
		if r.verb != VerbDeny {
			if denied {
				s.size.runs++
			}
			denied = false
			heaviest = max(heaviest, weight(r.forced))
			s.size.gives = s.size.gives.beside(conditionSize(r.rows))
			switch {
			case r.key == "":
				plain = true
			case forced == nil:
				forced = map[string]bool{r.key: true}
			default:
				forced[r.key] = true
			}
			continue
		}
		denied = true
		c := conditionSize(r.neg)
		s.size.takes = s.size.takes.beside(c)
		s.size.denies++
	}
	s.size.gives.keys, s.size.gives.weight = len(forced), heaviest
	if plain {
		s.size.gives.keys++
	}
}

// beside is the size of a list of conditions that will stand in one group.
func (a size) beside(b size) size {
	return size{nodes: add(a.nodes, b.nodes), items: add(a.items, b.items), depth: max(a.depth, b.depth), keys: a.keys}
}

// after is the size of an answer that was base before the rules spoke. A Deny is repeated for each run of Grants
// between two Denies, in each set of forced values.
func (r *rulesSize) after(base size) size {
	s := base
	s.nodes, s.items = add(s.nodes, r.gives.nodes), add(s.items, r.gives.items)
	s.depth, s.keys = max(s.depth, r.gives.depth)+4, add(max(s.keys, 1), r.gives.keys)
	s.weight = max(s.weight, r.gives.weight)
	return s.less(r.takes, r.denies)
}

// less is the size of an answer after some Denies.
func (a size) less(takes size, denies int) size {
	if denies == 0 {
		return a
	}
	repeats := times(denies+1, max(a.keys, 1))
	a.nodes = add(add(a.nodes, times(takes.nodes, repeats)), times(2, repeats))
	a.items = add(a.items, times(takes.items, repeats))
	a.depth = max(a.depth, takes.depth) + 4
	return a
}

// size bounds the answers of the whole policy.
func (p *policy) size() size {
	of := make([]size, len(p.nodes))
	for at := range p.nodes { // inherited ones come first
		n := &p.nodes[at]
		if n.broken {
			continue
		}
		var base size
		for _, up := range n.inherits {
			base = base.or(of[up])
		}
		s := n.set.size.after(base)
		if n.again {
			for _, up := range p.ancestors(int32(at)) {
				if set := p.nodes[up].set; set != nil {
					s = s.less(set.size.takes, set.size.denies)
				}
			}
		}
		of[at] = s
	}
	var whole size
	for i := range p.layers {
		l := &p.layers[i]
		var s size
		for _, at := range l.top {
			given := of[at]
			if n := &p.nodes[at]; n.boundary != nil {
				var bounds size
				for _, up := range n.bounds {
					bounds = bounds.or(p.nodes[up].boundary.size.after(size{}))
				}
				given = given.and(bounds)
			}
			s = s.or(given)
		}
		if l.own != nil {
			s = l.own.size.after(s)
		}
		ceiling := conditionSize(l.rows)
		ceiling.weight = weight(l.forced)
		s = s.and(ceiling)
		if i == 0 {
			whole = s
		} else {
			whole = whole.and(s)
		}
	}
	whole.nodes = add(whole.nodes, 1)
	return whole
}

// speaking counts the patterns of rules that cover a resource.
func (s *ruleset) speaking(on string) int {
	n := 0
	hear := func(key string) { n += int(s.cells[key].hits) }
	if s.star {
		hear("")
	}
	for i := range len(on) {
		if on[i] == '/' {
			hear(on[:i+1])
		}
	}
	hear(on)
	return n
}
