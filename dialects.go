package latchkey

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// The SQL of one comparison, as data: dialect, type, operator. Every template admits exactly the rows that leaf.match
// admits, under any collation and any storage class; the differential tests in e2e keep it so. In a template
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
// A fragment is true for the rows it admits; for others it is false or NULL, whatever comes handy. Hence no NOT.

type templates map[FieldType]map[boundOp]string

const (
	firstDay, lastDay = "1000-01-01", "9999-12-31"
	firstMicro        = -30610224000000000 // 1000-01-01T00:00:00Z
	lastMicro         = 253402300799999999 // 9999-12-31T23:59:59.999999Z
	fenceMicros       = " BETWEEN -30610224000000000 AND 253402300799999999"
)

// comparisons spreads one template over several operators.
func comparisons(template string, ops ...boundOp) map[boundOp]string {
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

// SQLite. typeof guards against foreign storage classes; COLLATE BINARY against the column's collation, with a plain
// comparison before it where that lets an index on the column work.
const (
	liteText = `typeof({c})='text' AND `
	liteNum  = `typeof({c}) IN ('integer','real') AND `
	liteDate = liteText + `{c} BETWEEN '` + firstDay + `' AND '` + lastDay + `' AND date({c})={c} COLLATE BINARY`

	// The zone of a time: what follows the seconds and their fraction.
	liteZone = `CASE substr({c},20,1) WHEN '.' THEN ltrim(substr({c},21),'0123456789') ELSE substr({c},20) END`
	// Microseconds since 1970 of exactly YYYY-MM-DD[ T]HH:MM:SS[.f{1,6}][Z|±HH:MM], NULL of anything else. SQLite's own
	// functions know milliseconds only, and take 30 February and 24:00 for times.
	liteInstant = `CASE WHEN typeof({c})='text' AND length({c}) BETWEEN 19 AND 32 AND length({c})=length(CAST({c} AS BLOB))` +
		` AND substr({c},1,19) GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9]'` +
		` AND substr({c},12,2)<'24' AND date(substr({c},1,10))=substr({c},1,10)` +
		` AND (` + liteZone + ` IN ('','Z') OR ` + liteZone + ` GLOB '[+-][01][0-9]:[0-5][0-9]'` +
		` AND substr(` + liteZone + `,2,2)<='14')` +
		` AND (substr({c},20,1)<>'.' OR length({c})-length(` + liteZone + `) BETWEEN 21 AND 26)` +
		` THEN CAST(strftime('%s',substr({c},1,19)||` + liteZone + `) AS INTEGER)*1000000` +
		`+CASE substr({c},20,1) WHEN '.' THEN CAST(substr(substr({c},21,length({c})-length(` + liteZone +
		`)-20)||'000000',1,6) AS INTEGER) ELSE 0 END END`
)

// exactRange holds every float below exactFloats, and no other.
const exactRange = `{c} BETWEEN -9007199254740991 AND 9007199254740991`

// exactNumber is false for NaN, infinities, and floats of exactFloats and more, which absorb what is added to them. A
// decimal does not: the sum is exact there.
const exactNumber = `(` + exactRange + ` OR {c} + 0.1 <> {c})`

// Of numbers, an integer row lies in the closed interval from ceiling to floor, which is empty for 5.5; a real row is
// compared with the nearest float.
const (
	liteWhole = `typeof({c})='integer' AND `
	liteReal  = ` OR typeof({c})='real' AND ` + exactRange
)

var liteNumbers = joinTemplates(
	comparisons(liteWhole+`{c} {o} {g}`+liteReal+` AND {c} {o} {f}`, opLt, opGe),
	comparisons(liteWhole+`{c} {o} {l}`+liteReal+` AND {c} {o} {f}`, opLe, opGt),
	ops{
		opEq: liteWhole + `{c} BETWEEN {g} AND {l}` + liteReal + ` AND {c} = {f}`,
		opNe: liteWhole + `{c} NOT BETWEEN {g} AND {l}` + liteReal + ` AND {c} <> {f}`,
		opIn: liteWhole + `({each, OR }{c} BETWEEN {g} AND {l}{end})` + liteReal + ` AND {c} IN ({each,,}{f}{end})`,
		opNotIn: liteWhole + `({each, AND }{c} NOT BETWEEN {g} AND {l}{end})` +
			liteReal + ` AND {c} NOT IN ({each,,}{f}{end})`,
		opKnown: `typeof({c})='integer'` + liteReal,
	})

// A real row needs no cast, so that an index works. SQLite compares an integer with a float exactly, which Float does
// not.
const liteFloat = `typeof({c})='real' AND {c} {o} OR typeof({c})='integer' AND CAST({c} AS REAL) {o}`

var liteFloats = joinTemplates(
	comparisons(strings.ReplaceAll(liteFloat, "{o}", "{o} {f}"), opEq, opNe, opLt, opLe, opGt, opGe),
	ops{
		opIn:    strings.ReplaceAll(liteFloat, "{o}", "IN ({each,,}{f}{end})"),
		opNotIn: strings.ReplaceAll(liteFloat, "{o}", "NOT IN ({each,,}{f}{end})"),
		opKnown: `typeof({c}) IN ('integer','real')`,
	})

var liteTemplates = templates{
	0: {opNull: `{c} IS NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(comparisons(liteText+`{c} {o} {s} COLLATE BINARY`, opNe, opLt, opLe, opGt, opGe), ops{
		opEq:          liteText + `{c} = {s} AND {c} COLLATE BINARY = {s}`,
		opIn:          liteText + `{c} IN ({each,,}{s}{end}) AND {c} COLLATE BINARY IN ({each,,}{s}{end})`,
		opNotIn:       liteText + `{c} COLLATE BINARY NOT IN ({each,,}{s}{end})`,
		opContains:    liteText + `instr(CAST({c} AS BLOB),CAST({s} AS BLOB))>0`,
		opNotContains: liteText + `instr(CAST({c} AS BLOB),CAST({s} AS BLOB))=0`,
		opPrefix: liteText + `{c}>={s} COLLATE BINARY AND {c}<{u} COLLATE BINARY` +
			` AND substr(CAST({c} AS BLOB),1,{n})=CAST({s} AS BLOB)`,
		// IS NOT, for substr of an empty blob is NULL.
		opNotPrefix: liteText + `substr(CAST({c} AS BLOB),1,{n}) IS NOT CAST({s} AS BLOB)`,
		opKnown:     `typeof({c})='text'`,
	}),
	Integer: liteNumbers,
	Number:  liteNumbers,
	Float:   liteFloats,
	Boolean: {
		opEq:    liteNum + `{c} = {z}`,
		opNe:    liteNum + `{c} <> {z} AND {c} IN (0,1)`,
		opIn:    liteNum + `{c} IN ({each,,}{z}{end})`,
		opNotIn: liteNum + `{c} NOT IN ({each,,}{z}{end}) AND {c} IN (0,1)`,
		opKnown: liteNum + `{c} IN (0,1)`,
	},
	Date: joinTemplates(comparisons(liteDate+` AND {c} {o} {t}`, opEq, opNe, opLt, opLe, opGt, opGe), ops{
		opIn:    liteDate + ` AND {c} IN ({each,,}{t}{end})`,
		opNotIn: liteDate + ` AND {c} NOT IN ({each,,}{t}{end})`,
		opKnown: liteDate,
	}),
	// The days are there for an index: an offset moves the written day by at most one.
	DateTime: {
		opEq:    `{c}>={w} AND {c}<{x} AND ` + liteInstant + `={e}`,
		opNe:    liteInstant + `<>{e} AND ` + liteInstant + fenceMicros,
		opLt:    `{c}<{x} AND ` + liteInstant + ` BETWEEN -30610224000000000 AND {p}`,
		opLe:    `{c}<{x} AND ` + liteInstant + ` BETWEEN -30610224000000000 AND {e}`,
		opGt:    `{c}>={w} AND ` + liteInstant + ` BETWEEN {q} AND 253402300799999999`,
		opGe:    `{c}>={w} AND ` + liteInstant + ` BETWEEN {e} AND 253402300799999999`,
		opIn:    `{c}>={w} AND {c}<{x} AND ` + liteInstant + ` IN ({each,,}{e}{end})`,
		opNotIn: liteInstant + ` NOT IN ({each,,}{e}{end}) AND ` + liteInstant + fenceMicros,
		opKnown: liteInstant + fenceMicros,
	},
}

// PostgreSQL. COLLATE "C" is byte order; the plain = before it lets a default index work. NaN is above every number and
// infinity around every date there, hence the guards. A DateTime column is a timestamptz: a timestamp would be compared
// in the zone of the session.
const (
	pgText      = `{c}::text COLLATE "C"`
	pgNumber    = ` AND {c}::numeric<>'NaN'::numeric`
	pgDays      = `{c} BETWEEN date '` + firstDay + `' AND date '` + lastDay + `'`
	pgInstants  = `{c} BETWEEN timestamptz '` + firstDay + ` 00:00:00Z' AND timestamptz '` + lastDay + ` 23:59:59.999999Z'`
	pgArrayNone = `{c} <> ALL({A}::`
)

func pgOrdered(code, sqlType, guard, known string) map[boundOp]string {
	arg := `{` + code + `}::` + sqlType
	return joinTemplates(
		comparisons(`{c} {o} `+arg, opEq),
		comparisons(`{c} {o} `+arg+guard, opNe, opLt, opLe, opGt, opGe),
		ops{
			opIn:    `{c} = ANY({A}::` + sqlType + `[])`,
			opNotIn: pgArrayNone + sqlType + `[])` + guard,
			opKnown: known,
		})
}

// pgIntegers is for columns that hold no infinity; CheckSchema sees to it.
func pgIntegers() map[boundOp]string {
	return joinTemplates(
		pgOrdered("i", "bigint", pgNumber, `{c}::numeric<>'NaN'::numeric`),
		comparisons(`{c} {o} {i}::bigint`, opLt, opLe)) // NaN is never below: no guard, one index range
}

func pgNumbers() map[boundOp]string {
	return joinTemplates(
		pgOrdered("d", "numeric", ` AND `+exactNumber, exactNumber),
		ops{
			opEq: `{c} = {d}::numeric AND ` + exactNumber,
			opIn: `{c} = ANY({A}::numeric[]) AND ` + exactNumber,
		})
}

func pgFloats() map[boundOp]string {
	const known = `{c}<>'NaN'::float8`
	return joinTemplates(
		pgOrdered("f", "float8", ` AND `+known, known),
		comparisons(`{c} {o} {f}::float8`, opLt, opLe))
}

var pgTemplates = templates{
	0: {opNull: `{c} IS NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(comparisons(pgText+` {o} {s}::text`, opNe, opLt, opLe, opGt, opGe), ops{
		opEq:          `{c} = {s}::text AND ` + pgText + ` = {s}::text`,
		opIn:          `{c} = ANY({A}::text[]) AND ` + pgText + ` = ANY({A}::text[])`,
		opNotIn:       pgText + ` <> ALL({A}::text[])`,
		opContains:    `strpos(` + pgText + `,{s}::text)>0`,
		opNotContains: `strpos(` + pgText + `,{s}::text)=0`,
		opPrefix:      pgText + `>={s}::text AND ` + pgText + `<{u}::text`,
		opNotPrefix:   pgText + `<{s}::text OR ` + pgText + `>={u}::text`,
		opKnown:       `{c} IS NOT NULL`,
	}),
	Integer: pgIntegers(),
	Number:  pgNumbers(),
	Float:   pgFloats(),
	Boolean: {
		opEq:    `{c} = {b}::boolean`,
		opNe:    `{c} <> {b}::boolean`,
		opIn:    `{c} = ANY({A}::boolean[])`,
		opNotIn: pgArrayNone + `boolean[])`,
		opKnown: `{c} IS NOT NULL`,
	},
	Date:     pgOrdered("t", "date", ` AND `+pgDays, pgDays),
	DateTime: pgOrdered("t", "timestamptz", ` AND `+pgInstants, pgInstants),
}

// MySQL and MariaDB. Only binary strings compare byte by byte; the plain = before lets an index work. A column may hold
// days that are none, such as 2026-11-00 and, by sql_mode ALLOW_INVALID_DATES, 2026-02-30. NOT IN loses rows
// through an index, IS NULL finds 0000-00-00, LIKE misses rows: none of them occurs.
const (
	myText     = `CAST(CONVERT({c} USING utf8mb4) AS BINARY)`
	myReal     = ` AND MONTH({c})>0 AND DAYOFMONTH({c}) BETWEEN 1 AND DAYOFMONTH(LAST_DAY({c}))`
	myDays     = `{c} BETWEEN '` + firstDay + `' AND '` + lastDay + `'` + myReal
	myInstants = `{c} BETWEEN '` + firstDay + ` 00:00:00' AND '` + lastDay + ` 23:59:59.999999'` + myReal
)

func myOrdered(code, sqlType, guard, known string) map[boundOp]string {
	arg := `CAST({` + code + `} AS ` + sqlType + `)`
	return joinTemplates(
		comparisons(`{c} {o} `+arg, opEq),
		comparisons(`{c} {o} `+arg+guard, opNe, opLt, opLe, opGt, opGe),
		ops{
			opIn:    `{c} IN ({each,,}` + arg + `{end})`,
			opNotIn: `({each, AND }{c}<>` + arg + `{end})` + guard,
			opKnown: known,
		})
}

func myNumbers() map[boundOp]string {
	return joinTemplates(
		myOrdered("d", "DECIMAL(65,30)", ` AND `+exactNumber, exactNumber),
		ops{
			opEq: `{c} = CAST({d} AS DECIMAL(65,30)) AND ` + exactNumber,
			opIn: `{c} IN ({each,,}CAST({d} AS DECIMAL(65,30)){end}) AND ` + exactNumber,
		})
}

// myFloats adds a float zero, which makes a float of a literal that a driver wrote into the text.
func myFloats() map[boundOp]string {
	const arg = `({f}+0e0)`
	return joinTemplates(
		comparisons(`{c} {o} `+arg, opEq, opNe, opLt, opLe, opGt, opGe),
		ops{
			opIn:    `{c} IN ({each,,}` + arg + `{end})`,
			opNotIn: `({each, AND }{c}<>` + arg + `{end})`,
			opKnown: `{c} IS NOT NULL`,
		})
}

var myTemplates = templates{
	0: {opNull: `{c} <=> NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(comparisons(myText+` {o} CAST({s} AS BINARY)`, opNe, opLt, opLe, opGt, opGe), ops{
		opEq:          `({c}={s}) AND ` + myText + ` = CAST({s} AS BINARY)`,
		opIn:          `({each, OR }{c}={s}{end}) AND ` + myText + ` IN ({each,,}CAST({s} AS BINARY){end})`,
		opNotIn:       myText + ` NOT IN ({each,,}CAST({s} AS BINARY){end})`,
		opContains:    `LOCATE(CAST({s} AS BINARY),` + myText + `)>0`,
		opNotContains: `LOCATE(CAST({s} AS BINARY),` + myText + `)=0`,
		opPrefix:      `LEFT(` + myText + `,CAST({n} AS SIGNED))=CAST({s} AS BINARY)`,
		opNotPrefix:   `LEFT(` + myText + `,CAST({n} AS SIGNED))<>CAST({s} AS BINARY)`,
		opKnown:       `{c} IS NOT NULL`,
	}),
	Integer: myOrdered("i", "SIGNED", "", `{c} IS NOT NULL`),
	Number:  myNumbers(),
	Float:   myFloats(),
	Boolean: {
		opEq:    `{c} = CAST({z} AS SIGNED)`,
		opNe:    `{c} <> CAST({z} AS SIGNED) AND {c} IN (0,1)`,
		opIn:    `{c} IN ({each,,}CAST({z} AS SIGNED){end})`,
		opNotIn: `({each, AND }{c}<>CAST({z} AS SIGNED){end}) AND {c} IN (0,1)`,
		opKnown: `{c} IN (0,1)`,
	},
	Date:     myOrdered("t", "DATE", ` AND `+myDays, myDays),
	DateTime: myOrdered("m", "DATETIME(6)", ` AND `+myInstants, myInstants),
}

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

func (p *Predicate) compile(d Dialect, first int) *sqlText {
	c := compiler{p: p, dialect: d, next: first, text: make([]byte, 0, 64*len(p.nodes))}
	c.node(0)
	return &sqlText{first: first, text: string(c.text), args: c.args}
}

func (c *compiler) node(i int) {
	n := &c.p.nodes[i]
	c.text = append(c.text, '(')
	switch n.kind {
	case nodeEvery:
		c.text = append(c.text, "1=1"...)
	case nodeAll:
		c.join(len(n.kids), " AND ", func(k int) { c.node(n.first + k) })
	case nodeAny:
		c.join(len(n.kids), " OR ", func(k int) { c.node(n.first + k) })
	case nodeLeaf:
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

// join writes n parts. Many stand in nested groups, for SQLite takes a chain of n for an expression n deep and refuses
// more than 1,000; a comma is no operator.
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
			c.text = append(c.text, c.p.schema.columns[l.column]...)
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
	// One number for what one comparison says twice.
	if last := len(c.args) - 1; last >= 0 && c.args[last] == a {
		number--
	} else {
		c.args = append(c.args, a)
		c.next++
	}
	c.text = strconv.AppendInt(append(c.text, '$'), int64(number), 10)
}

// padded is how many placeholders a list takes: the next power of two, so that lists of all lengths make few texts.
func padded(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// beyondInt64 is above every int64, and its negative below: SQLite compares integers and floats exactly.
const beyondInt64 = 1e19

// argument is the value of a placeholder.
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

// array is a whole list for PostgreSQL: []string for text, else an array literal, which every driver passes on.
func (l *leafTest) array() any {
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
