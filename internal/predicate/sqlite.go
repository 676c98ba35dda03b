package predicate

import (
	"strings"
)

// SQLite. typeof guards against other storage classes, and COLLATE BINARY against the collation of the column. A plain
// comparison stands before it where that lets an index on the column work.
const (
	liteText = `typeof({c})='text' AND `
	liteNum  = `typeof({c}) IN ('integer','real') AND `
	liteDate = liteText + `{c} BETWEEN '` + firstDay + `' AND '` + lastDay + `' AND date({c})={c} COLLATE BINARY`

	// The zone of a time: what follows the seconds and their fraction.
	liteZone = `CASE substr({c},20,1) WHEN '.' THEN ltrim(substr({c},21),'0123456789') ELSE substr({c},20) END`
	// Microseconds since 1970 of exactly YYYY-MM-DD[ T]HH:MM:SS[.f{1,6}][Z|±HH:MM], NULL of anything else. SQLite's own
	// functions have milliseconds only, and accept 30 February and 24:00.
	liteInstant = `CASE WHEN typeof({c})='text' AND length({c}) BETWEEN 19 AND 32 AND length({c})=length(CAST({c} AS ` +
		`BLOB))` +
		` AND substr({c},1,19) GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9]'` +
		` AND substr({c},12,2)<'24' AND date(substr({c},1,10))=substr({c},1,10)` +
		` AND (` + liteZone + ` IN ('','Z') OR ` + liteZone + ` GLOB '[+-][01][0-9]:[0-5][0-9]'` +
		` AND substr(` + liteZone + `,2,2)<='14')` +
		` AND (substr({c},20,1)<>'.' OR length({c})-length(` + liteZone + `) BETWEEN 21 AND 26)` +
		` THEN CAST(strftime('%s',substr({c},1,19)||` + liteZone + `) AS INTEGER)*1000000` +
		`+CASE substr({c},20,1) WHEN '.' THEN CAST(substr(substr({c},21,length({c})-length(` + liteZone +
		`)-20)||'000000',1,6) AS INTEGER) ELSE 0 END END`
)

// A row with an integer is compared with the closed interval from ceiling to floor, which is empty for 5.5. A row with
// a real is compared with the nearest float.
const (
	liteWhole = `typeof({c})='integer' AND `
	liteReal  = ` OR typeof({c})='real' AND ` + exactRange
)

var liteNumbers = joinTemplates(
	spread(liteWhole+`{c} {o} {g}`+liteReal+` AND {c} {o} {f}`, opLt, opGe),
	spread(liteWhole+`{c} {o} {l}`+liteReal+` AND {c} {o} {f}`, opLe, opGt),
	ops{
		opEq: liteWhole + `{c} BETWEEN {g} AND {l}` + liteReal + ` AND {c} = {f}`,
		opNe: liteWhole + `{c} NOT BETWEEN {g} AND {l}` + liteReal + ` AND {c} <> {f}`,
		opIn: liteWhole + `({each, OR }{c} BETWEEN {g} AND {l}{end})` + liteReal + ` AND {c} IN ({each,,}{f}{end})`,
		opNotIn: liteWhole + `({each, AND }{c} NOT BETWEEN {g} AND {l}{end})` +
			liteReal + ` AND {c} NOT IN ({each,,}{f}{end})`,
		opKnown: `typeof({c})='integer'` + liteReal,
	})

// A real row needs no cast, so that an index works. SQLite compares an integer with a float exactly, but Float
// does not.
const liteFloat = `typeof({c})='real' AND {c} {o} OR typeof({c})='integer' AND CAST({c} AS REAL) {o}`

var liteFloats = joinTemplates(
	spread(strings.ReplaceAll(liteFloat, "{o}", "{o} {f}"), opEq, opNe, opLt, opLe, opGt, opGe),
	ops{
		opIn:    strings.ReplaceAll(liteFloat, "{o}", "IN ({each,,}{f}{end})"),
		opNotIn: strings.ReplaceAll(liteFloat, "{o}", "NOT IN ({each,,}{f}{end})"),
		opKnown: `typeof({c}) IN ('integer','real')`,
	})

var liteTemplates = templates{
	0: {opNull: `{c} IS NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(spread(liteText+`{c} {o} {s} COLLATE BINARY`, opNe, opLt, opLe, opGt, opGe), ops{
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
	Date: joinTemplates(spread(liteDate+` AND {c} {o} {t}`, opEq, opNe, opLt, opLe, opGt, opGe), ops{
		opIn:    liteDate + ` AND {c} IN ({each,,}{t}{end})`,
		opNotIn: liteDate + ` AND {c} NOT IN ({each,,}{t}{end})`,
		opKnown: liteDate,
	}),
	// The comparison of days lets an index work: an offset moves the written day by at most one.
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
