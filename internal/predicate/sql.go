package predicate

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// The SQL of one comparison, as data: dialect, type, operator. Every template admits exactly the rows that
// comparison.match admits, under any collation and any storage class. The differential tests in e2e check that. In a
// template
//
//	{c}            is the column
//	{o}            is the operator, as SQL writes it
//	{each,SEP}…{end} repeats its inside for every value of a list, with SEP between
//	{A}            is a whole list as one array
//	any other {x}  is a placeholder, with an argument by this code:
//
//	s text               u the least text above every text with the prefix s    n its length in bytes
//	i integer            d decimal text           g ceiling    l floor    f nearest float
//	z 0 or 1             b bool                   t date or time as text    m time as MySQL text
//	e microseconds       p one less               q one more
//	w the day before     x the second day after (of a list: of its least and greatest value)
//
// A fragment is true for the rows it admits, and false or NULL for others. So it must not stand under NOT.

type templates map[Type]map[boundOp]string

const (
	firstDay, lastDay = "1000-01-01", "9999-12-31"
	firstMicro        = -30610224000000000 // 1000-01-01T00:00:00Z
	lastMicro         = 253402300799999999 // 9999-12-31T23:59:59.999999Z
	fenceMicros       = " BETWEEN -30610224000000000 AND 253402300799999999"
)

// spread returns one template for several operators.
func spread(template string, ops ...boundOp) map[boundOp]string {
	m := map[boundOp]string{}
	for _, op := range ops {
		m[op] = strings.ReplaceAll(template, "{o}", sqlOps[op])
	}
	return m
}

var sqlOps = map[boundOp]string{opEq: "=", opNe: "<>", opLt: "<", opLe: "<=", opGt: ">", opGe: ">="}

func joinTemplates(parts ...map[boundOp]string) map[boundOp]string {
	m := map[boundOp]string{}
	for _, p := range parts {
		for op, t := range p {
			m[op] = t
		}
	}
	return m
}

type ops = map[boundOp]string

// exactRange holds every float below exactFloats, and no other.
const exactRange = `{c} BETWEEN -9007199254740991 AND 9007199254740991`

// exactNumber is false for NaN, infinities, and floats of exactFloats and more, which absorb what is added to them. A
// decimal does not: the sum is exact there.
const exactNumber = `(` + exactRange + ` OR {c} + 0.1 <> {c})`

var dialectTemplates = map[Dialect]templates{SQLite: liteTemplates, Postgres: pgTemplates, MySQL: myTemplates}

// sqlText is the text of a shape and where its arguments come from. It holds no value.
type sqlText struct {
	first int
	text  string
	args  []argument
}

type argument struct {
	node  int32 // in Predicate.nodes
	value int32 // in leaf.list, -1 for the single value or the whole list
	code  byte
}

// compiler writes the text of one predicate.
type compiler struct {
	p       *Predicate
	dialect Dialect
	next    int // number of the next placeholder
	text    []byte
	args    []argument
}

func (p *Predicate) writeSQL(d Dialect, first int) *sqlText {
	c := compiler{p: p, dialect: d, next: first, text: make([]byte, 0, 64*len(p.nodes))}
	c.node(0)
	return &sqlText{first: first, text: string(c.text), args: c.args}
}

func (c *compiler) node(i int) {
	n := &c.p.nodes[i]
	c.text = append(c.text, '(')
	switch n.kind {
	case boundEvery:
		c.text = append(c.text, "1=1"...)
	case boundAll:
		c.join(len(n.kids), " AND ", func(k int) { c.node(n.first + k) })
	case boundAny:
		c.join(len(n.kids), " OR ", func(k int) { c.node(n.first + k) })
	case boundLeaf:
		template := dialectTemplates[c.dialect][n.leaf.typ][n.leaf.op]
		if template == "" {
			template = dialectTemplates[c.dialect][0][n.leaf.op]
		}
		c.expand(template, i, -1)
	default:
		c.text = append(c.text, "1=0"...)
	}
	c.text = append(c.text, ')')
}

// join writes n parts. If there are many, it nests them in groups. SQLite counts a chain of n operators as an
// expression n deep, and refuses more than 1,000. A comma is no operator.
func (c *compiler) join(n int, separator string, part func(int)) {
	const width = 16
	var span func(from, to int)
	span = func(from, to int) {
		step := 1
		for separator != "," && step*width < to-from {
			step *= width
		}
		for at := from; at < to; at += step {
			if at > from {
				c.text = append(c.text, separator...)
			}
			if end := min(at+step, to); step == 1 {
				part(at)
			} else {
				c.text = append(c.text, '(')
				span(at, end)
				c.text = append(c.text, ')')
			}
		}
	}
	span(0, n)
}

func (c *compiler) expand(template string, node int, value int32) {
	l := &c.p.nodes[node].leaf
	for {
		before, rest, found := strings.Cut(template, "{")
		c.text = append(c.text, before...)
		if !found {
			return
		}
		name, rest, _ := strings.Cut(rest, "}")
		switch {
		case name == "c":
			c.text = append(c.text, c.p.schema.columns[l.slot.column]...)
		case strings.HasPrefix(name, "each,"):
			inside, after, _ := strings.Cut(rest, "{end}")
			c.join(padded(len(l.list)), name[len("each,"):], func(i int) {
				c.expand(inside, node, int32(i))
			})
			rest = after
		default:
			c.placeholder(argument{node: int32(node), value: value, code: name[0]})
		}
		template = rest
	}
}

func (c *compiler) placeholder(a argument) {
	if c.dialect != Postgres {
		c.args = append(c.args, a)
		c.text = append(c.text, '?')
		return
	}
	number := c.next
	// An argument that one comparison uses twice has one number.
	if last := len(c.args) - 1; last >= 0 && c.args[last] == a {
		number--
	} else {
		c.args = append(c.args, a)
		c.next++
	}
	c.text = strconv.AppendInt(append(c.text, '$'), int64(number), 10)
}

// padded returns how many placeholders a list takes: the next power of two, so that lists of all lengths make few
// texts.
func padded(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// beyondInt64 is above every int64, and its negative below: SQLite compares integers and floats exactly.
const beyondInt64 = 1e19

// argument returns the value of a placeholder.
func (p *Predicate) argument(d Dialect, a argument) any {
	l := &p.nodes[a.node].leaf
	v := &l.value
	if a.value >= 0 {
		v = &l.list[min(int(a.value), len(l.list)-1)] // padding repeats the last
	}
	switch a.code {
	case 's', 'b':
		return v.boxed
	case 'i':
		if _, ok := v.boxed.(int64); ok {
			return v.boxed
		}
		return v.floor
	case 'u':
		return l.successor
	case 'n':
		return int64(len(v.text))
	case 'd':
		return v.decimal()
	case 'g', 'l':
		switch {
		case v.beyond != 0:
			return float64(v.beyond) * beyondInt64
		case v.whole || a.code == 'l':
			if _, ok := v.boxed.(int64); ok {
				return v.boxed
			}
			return v.floor
		case v.floor == math.MaxInt64:
			return beyondInt64
		}
		return v.floor + 1
	case 'f':
		return v.float
	case 'z':
		return v.floor
	case 'e':
		return v.floor
	case 'p':
		return v.floor - 1
	case 'q':
		return v.floor + 1
	case 't':
		if l.typ == Date {
			return v.boxed
		}
		return time.UnixMicro(v.floor).UTC().Format("2006-01-02 15:04:05.999999Z07:00")
	case 'm':
		return time.UnixMicro(v.floor).UTC().Format("2006-01-02 15:04:05.000000")
	case 'w', 'x':
		least, greatest := v.floor, v.floor
		if len(l.list) > 0 {
			least, greatest = l.list[0].floor, l.list[len(l.list)-1].floor // lists are sorted
		}
		if a.code == 'w' {
			return time.UnixMicro(least).UTC().AddDate(0, 0, -1).Format(time.DateOnly)
		}
		if t := time.UnixMicro(greatest).UTC().AddDate(0, 0, 2); t.Year() <= 9999 {
			return t.Format(time.DateOnly)
		}
		return ":" // the byte after "9"
	case 'A':
		return l.array()
	}
	panic("latchkey: no argument for " + string(rune(a.code)))
}

// array returns a whole list for PostgreSQL: []string for text, else an array literal, which every driver passes on.
func (l *comparison) array() any {
	if l.typ == Text {
		texts := make([]string, len(l.list))
		for i := range l.list {
			texts[i] = l.list[i].text
		}
		return texts
	}
	b := []byte{'{'}
	for i := range l.list {
		if i > 0 {
			b = append(b, ',')
		}
		switch v := &l.list[i]; l.typ {
		case Boolean:
			b = strconv.AppendBool(b, v.floor == 1)
		case Date:
			b = append(b, v.text...)
		case DateTime:
			b = time.UnixMicro(v.floor).UTC().AppendFormat(b, `"2006-01-02 15:04:05.999999Z07:00"`)
		case Float:
			b = strconv.AppendFloat(b, v.float, 'g', -1, 64)
		default:
			b = append(b, v.decimal()...)
		}
	}
	return string(append(b, '}'))
}
