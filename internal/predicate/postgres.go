package predicate

// PostgreSQL. COLLATE "C" is byte order; the plain = before it lets a default index work. There NaN is above every
// number, and infinities are below and above every date, hence the guards. A DateTime column is a timestamptz: a
// timestamp would be compared in the zone of the session.
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
		spread(`{c} {o} `+arg, opEq),
		spread(`{c} {o} `+arg+guard, opNe, opLt, opLe, opGt, opGe),
		ops{
			opIn:    `{c} = ANY({A}::` + sqlType + `[])`,
			opNotIn: pgArrayNone + sqlType + `[])` + guard,
			opKnown: known,
		})
}

// pgIntegers is for columns that hold no infinity, which CheckSchema checks.
func pgIntegers() map[boundOp]string {
	return joinTemplates(
		pgOrdered("i", "bigint", pgNumber, `{c}::numeric<>'NaN'::numeric`),
		spread(`{c} {o} {i}::bigint`, opLt, opLe)) // NaN is never below: no guard, one index range
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
		spread(`{c} {o} {f}::float8`, opLt, opLe))
}

var pgTemplates = templates{
	0: {opNull: `{c} IS NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(spread(pgText+` {o} {s}::text`, opNe, opLt, opLe, opGt, opGe), ops{
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
