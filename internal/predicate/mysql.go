package predicate

// MySQL and MariaDB. Only binary strings compare byte by byte; the plain = before lets an index work. A column may hold
// invalid days, such as 2026-11-00 and, with sql_mode ALLOW_INVALID_DATES, 2026-02-30. NOT IN loses rows
// through an index, IS NULL finds 0000-00-00, and LIKE misses rows, so the templates do not use them.
const (
	myText     = `CAST(CONVERT({c} USING utf8mb4) AS BINARY)`
	myReal     = ` AND MONTH({c})>0 AND DAYOFMONTH({c}) BETWEEN 1 AND DAYOFMONTH(LAST_DAY({c}))`
	myDays     = `{c} BETWEEN '` + firstDay + `' AND '` + lastDay + `'` + myReal
	myInstants = `{c} BETWEEN '` + firstDay + ` 00:00:00' AND '` + lastDay + ` 23:59:59.999999'` + myReal
)

func myOrdered(code, sqlType, guard, known string) map[boundOp]string {
	arg := `CAST({` + code + `} AS ` + sqlType + `)`
	return joinTemplates(
		spread(`{c} {o} `+arg, opEq),
		spread(`{c} {o} `+arg+guard, opNe, opLt, opLe, opGt, opGe),
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

// myFloats adds a float zero to the argument. That makes a float of a literal that a driver wrote into the text.
func myFloats() map[boundOp]string {
	const arg = `({f}+0e0)`
	return joinTemplates(
		spread(`{c} {o} `+arg, opEq, opNe, opLt, opLe, opGt, opGe),
		ops{
			opIn:    `{c} IN ({each,,}` + arg + `{end})`,
			opNotIn: `({each, AND }{c}<>` + arg + `{end})`,
			opKnown: `{c} IS NOT NULL`,
		})
}

var myTemplates = templates{
	0: {opNull: `{c} <=> NULL`, opNotNull: `{c} IS NOT NULL`, opNever: `1=0`},
	Text: joinTemplates(spread(myText+` {o} CAST({s} AS BINARY)`, opNe, opLt, opLe, opGt, opGe), ops{
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
