package predicate

import (
	"cmp"
	"sort"
	"strings"
)

// Comparison is a comparison of some field with a value, as [Binder.Compare] takes it.
type Comparison struct {
	Op      string
	Value   any
	Negated bool
}

// Implies reports whether h admits every row that g admits, whatever the type of their field is. True is certain.
//
// The type is not known, so it must hold for each that takes g. If one takes g but not h, the answer is false: there h
// admits no row. So = 1 does not imply < 1000, because the field may be a Boolean.
func Implies(g, h Comparison) bool {
	for typ := Text; typ <= Float; typ++ {
		var x, y comparison
		if _, reason := x.bind(typ, g.Op, g.Value, g.Negated); reason != "" || x.op == opNever {
			continue // g admits no row there
		}
		if _, reason := y.bind(typ, h.Op, h.Value, h.Negated); reason != "" || !x.implies(&y) {
			return false
		}
	}
	return true
}

// implies is Implies for a known type.
func (l *comparison) implies(m *comparison) bool {
	switch {
	case m.op == opNever:
		return false
	case l.op == opNull || m.op == opNull:
		return l.op == m.op
	case m.op == opNotNull:
		return true // what a comparison admits is known, and therefore not NULL
	case l.op == opNotNull:
		return false // a value that does not fit is not NULL, and unknown
	case m.op == opKnown:
		return true
	case l.op == opKnown:
		return false
	}
	if l.typ == Text {
		return l.impliesOrdered(m, textOrder) || l.impliesText(m)
	}
	// A row with a float compares by the nearest floats of the values, and any other row exactly. The two orders differ:
	// 0.1 is less than 0.10000000000000000001, but not as floats.
	switch l.typ {
	case Integer, Number:
		return l.impliesOrdered(m, l.typ.order) && l.impliesOrdered(m, floatOrder)
	}
	return l.impliesOrdered(m, l.typ.order)
}

type order func(a, b *operand) int

func textOrder(a, b *operand) int  { return strings.Compare(a.text, b.text) }
func floatOrder(a, b *operand) int { return cmp.Compare(a.float, b.float) }

// impliesOrdered decides by an order of values. Lists are sorted by the exact order, from which by differs at most in
// what it takes for equal.
func (l *comparison) impliesOrdered(m *comparison, by order) bool {
	switch l.op {
	case opEq:
		return m.admitsOperand(&l.value, by)
	case opIn:
		for i := range l.list {
			if !m.admitsOperand(&l.list[i], by) {
				return false
			}
		}
		return true
	case opLt, opLe, opGt, opGe:
		return m.holdsBeyond(l.op, &l.value, by)
	case opNe:
		return m.op == opNe && by(&l.value, &m.value) == 0 ||
			m.op == opNotIn && by(&m.list[0], &l.value) == 0 && by(&m.list[len(m.list)-1], &l.value) == 0
	case opNotIn:
		switch m.op {
		case opNe:
			return l.inList(&m.value, by)
		case opNotIn:
			for i := range m.list {
				if !l.inList(&m.list[i], by) {
					return false
				}
			}
			return true
		}
	}
	return false
}

// inList reports whether a value is in the list.
func (l *comparison) inList(v *operand, by order) bool {
	_, found := sort.Find(len(l.list), func(i int) int { return by(v, &l.list[i]) })
	return found
}

// admitsOperand reports whether m admits a value that equals v.
func (m *comparison) admitsOperand(v *operand, by order) bool {
	switch m.op {
	case opIn:
		return m.inList(v, by)
	case opNotIn:
		return !m.inList(v, by)
	case opContains:
		return strings.Contains(v.text, m.value.text)
	case opNotContains:
		return !strings.Contains(v.text, m.value.text)
	case opPrefix:
		return strings.HasPrefix(v.text, m.value.text)
	case opNotPrefix:
		return !strings.HasPrefix(v.text, m.value.text)
	}
	c := by(v, &m.value)
	switch m.op {
	case opEq:
		return c == 0
	case opNe:
		return c != 0
	case opLt:
		return c < 0
	case opLe:
		return c <= 0
	case opGt:
		return c > 0
	case opGe:
		return c >= 0
	}
	return false
}

// holdsBeyond reports whether m admits every value that is less or greater than v, as op says.
func (m *comparison) holdsBeyond(op boundOp, v *operand, by order) bool {
	below := op == opLt || op == opLe
	includes := op == opLe || op == opGe
	least := m.op == opGt || m.op == opGe
	most := m.op == opLt || m.op == opLe
	switch {
	case below && most, !below && least:
		c := by(v, &m.value)
		if !below {
			c = -c
		}
		return c < 0 || c == 0 && (!includes || m.op == opLe || m.op == opGe)
	case m.op == opNe:
		return outside(op, v, &m.value, by)
	case m.op == opNotIn:
		for i := range m.list {
			if !outside(op, v, &m.list[i], by) {
				return false
			}
		}
		return true
	}
	return false
}

// outside reports whether w does not meet the comparison op with v.
func outside(op boundOp, v, w *operand, by order) bool {
	c := by(w, v)
	switch op {
	case opLt:
		return c >= 0
	case opLe:
		return c > 0
	case opGt:
		return c <= 0
	}
	return c < 0
}

// impliesText decides what prefixes and parts of texts say.
func (l *comparison) impliesText(m *comparison) bool {
	p, q := l.value.text, m.value.text
	switch l.op {
	case opPrefix:
		// Of all texts with the prefix p, p itself is the least, and none is the greatest.
		switch m.op {
		case opPrefix:
			return strings.HasPrefix(p, q)
		case opContains:
			return strings.Contains(p, q)
		case opNotPrefix:
			return !strings.HasPrefix(p, q) && !strings.HasPrefix(q, p)
		case opGe:
			return p >= q
		case opGt:
			return p > q
		case opLt, opLe:
			return p < q && !strings.HasPrefix(q, p)
		case opNe:
			return !strings.HasPrefix(q, p)
		case opNotIn:
			for i := range m.list {
				if strings.HasPrefix(m.list[i].text, p) {
					return false
				}
			}
			return true
		}
	case opContains:
		return m.op == opContains && strings.Contains(p, q) || m.excludes(func(text string) bool {
			return !strings.Contains(text, p)
		})
	case opNotContains:
		switch m.op {
		case opNotContains, opNotPrefix:
			return strings.Contains(q, p)
		}
		return m.excludes(func(text string) bool { return strings.Contains(text, p) })
	case opNotPrefix:
		return m.op == opNotPrefix && strings.HasPrefix(q, p) || m.excludes(func(text string) bool {
			return strings.HasPrefix(text, p)
		})
	case opLt:
		return m.op == opNotPrefix && q >= p
	case opLe:
		return m.op == opNotPrefix && q > p
	case opGt, opGe:
		return m.op == opNotPrefix && q < p && !strings.HasPrefix(p, q)
	}
	return false
}

// excludes reports whether m admits every text but some, and f holds for those.
func (m *comparison) excludes(f func(text string) bool) bool {
	switch m.op {
	case opNe:
		return f(m.value.text)
	case opNotIn:
		for i := range m.list {
			if !f(m.list[i].text) {
				return false
			}
		}
		return true
	}
	return false
}
