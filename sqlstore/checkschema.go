package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// CheckSchema verifies that the fields of s are columns of table, and that each column is of a suitable kind. On a
// suitable column, a condition admits the same rows in SQL as in memory. Call CheckSchema once, when the program
// starts, for each table that conditions are used with. The table may be a view, and its name may include a schema
// ("main.orders"). Every column must have a declared type: what cannot be verified is refused. The error names each
// field that does not fit, with the reason.
//
//	field type  SQLite                        PostgreSQL                 MySQL and MariaDB
//	Text        TEXT, VARCHAR, …              text, varchar, citext      CHAR, VARCHAR, TEXT of utf8mb4
//	Integer     INTEGER, REAL, NUMERIC,       integers, numeric(p,s)     integers, DECIMAL
//	            DECIMAL, …
//	Number      the same                      integers, numeric, real,   integers, DECIMAL, DOUBLE
//	                                          double precision
//	Float       REAL, FLOAT, DOUBLE           real, double precision     DOUBLE
//	Boolean     integers, BOOLEAN             boolean                    integers
//	Date        text, DATE                    date                       DATE
//	DateTime    text, DATETIME, TIMESTAMP     timestamptz                DATETIME
//
// These columns are refused:
//
//   - a timestamp of PostgreSQL and a TIMESTAMP of MySQL, which compare in the session's time zone;
//   - a char(n) of PostgreSQL, whose text differs between SQL and Go;
//   - a FLOAT of MySQL, of which it shows only six digits;
//   - for an Integer, a column that can hold infinity or a rounded integer.
//
// No known driver of SQLite writes a date into a DATE column.
//
// Dates and times are also tried with the driver and DSN in use. CheckSchema writes and reads time.Time values, in a
// transaction that is rolled back, and compares them in SQL and in memory. It refuses session settings with which the
// two differ: character sets, sql_mode, client_encoding, extra_float_digits. Open all connections with the same DSN.
//
// On SQLite a time finer than a microsecond is unknown, in SQL and in memory. The other engines round it when it is
// written.
//
// No check can see some values that drivers convert:
//
//   - On SQLite, drivers read the text 2026-11-22 or a number in a DATETIME column as a time.
//   - On SQLite, drivers read a 2 in a BOOLEAN column as true.
//   - On MySQL, a driver with parseTime reads the date 2026-11-00 as 2026-10-31.
//
// In SQL none of them is such a value. Keep them out with CHECK constraints or NO_ZERO_IN_DATE.
//
// TiDB is refused, though a Store may be kept there: it admits rows that memory does not.
func CheckSchema(ctx context.Context, db *sql.DB, d latchkey.Dialect, table string, s *latchkey.Schema) error {
	dia, err := dialectOf(d)
	if err != nil {
		return err
	}
	var found columns
	parts, ok := dia.identifiers(table)
	if ok && len(parts) <= 2 {
		schema := ""
		if len(parts) == 2 {
			schema = parts[0]
		}
		err = retry(ctx, dia.isRetryable, func() (err error) {
			found, err = dia.columns(ctx, db, schema, parts[len(parts)-1])
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("latchkey/sqlstore: check schema: %w", err)
	}
	if len(found) == 0 {
		return fmt.Errorf("latchkey/sqlstore: check schema: there is no table %q: check its name and schema", table)
	}
	fields := s.Fields()
	var errs []error
	tried := map[probeKey]string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		reason := dia.columnReason(found, fields[name])
		if reason == "" {
			if reason, err = dia.timesReason(ctx, db, found, fields[name], tried); err != nil {
				return fmt.Errorf("latchkey/sqlstore: check schema: table %q, field %q, column %s: %w: %w",
					table, name, fields[name].Column, errNoProbe, err)
			}
		}
		if reason != "" {
			errs = append(errs, fmt.Errorf("latchkey/sqlstore: check schema: table %q, field %q, column %s: %s",
				table, name, fields[name].Column, reason))
		}
	}
	return errors.Join(errs...)
}

// probeKey identifies a probe, which is run once for all its fields.
type probeKey struct {
	of  column
	typ latchkey.FieldType
}

// timesReason returns why a Date or DateTime field must not be compared with this driver and DSN, or "" if it may.
func (d *dialect) timesReason(ctx context.Context, db *sql.DB, in columns, f latchkey.Field,
	tried map[probeKey]string) (reason string, err error) {
	if f.Type != latchkey.Date && f.Type != latchkey.DateTime {
		return "", nil
	}
	column, _, _ := d.findColumn(in, f)
	if known, ok := tried[probeKey{column, f.Type}]; ok {
		return known, nil
	}
	err = retry(ctx, d.isRetryable, func() (err error) {
		reason, err = d.probeReason(ctx, db, column, f.Type)
		return err
	})
	if reason != "" {
		reason = fmt.Sprintf("is declared %s: %s: %s", column.declared, reason, d.timeFix[column.kind])
	}
	tried[probeKey{column, f.Type}] = reason
	return reason, err
}

// columns are those of a table, by name. The name is in lower case where case is ignored.
type columns map[string]column

type column struct {
	declared string
	kind     kind
}

// kind is what a column holds according to its declared type.
type kind string

const (
	kindText      kind = "text"
	kindNumber    kind = "numbers"
	kindUnbounded kind = "unbounded numbers, including infinity" // PostgreSQL only
	kindFloat     kind = "floats"
	kindInteger   kind = "integers"
	kindBoolean   kind = "booleans"
	kindDate      kind = "dates"
	kindDateTime  kind = "times"
	kindBlob      kind = "bytes"
	kindUnknown   kind = "anything"

	// No field may use a column of these kinds.
	kindPadded      kind = "text padded with blanks"
	kindLegacy      kind = "text that is not utf8mb4"
	kindSessionZone kind = "times that compare in the session's zone"
	kindSingleFloat kind = "floats that are read with six digits"
	kindTruncated   kind = "floats that the session's extra_float_digits shortens"
)

// allowedKinds are the kinds of columns that a field may use.
type allowedKinds struct {
	kinds []kind
	want  string
}

// columnReason returns why a field must not be compared in its column, or "" if it may.
func (d *dialect) columnReason(of columns, f latchkey.Field) string {
	column, ok, plain := d.findColumn(of, f)
	switch {
	case !plain:
		return "is not a plain column name, so it cannot be verified"
	case !ok:
		return "does not exist"
	}
	fits, ok := d.fieldKinds[f.Type]
	if !ok {
		return fmt.Sprintf("has the unknown field type %d", f.Type)
	}
	if !slices.Contains(fits.kinds, column.kind) {
		return fmt.Sprintf("is declared %s, which holds %s; %s is needed",
			cmp.Or(column.declared, "without a type"), column.kind, fits.want)
	}
	return ""
}

// findColumn returns the column of a field. plain is false if the field names an expression, not a column.
func (d *dialect) findColumn(in columns, f latchkey.Field) (of column, ok, plain bool) {
	parts, plain := d.identifiers(f.Column)
	if !plain {
		return column{}, false, false
	}
	name := parts[len(parts)-1]
	if !d.foldsUnquoted {
		name = fold(name) // case is ignored
	}
	of, ok = in[name]
	return of, ok, true
}

// identifiers splits a name as written in SQL: a, "a b", t.a, "t"."a".
func (d *dialect) identifiers(name string) (parts []string, ok bool) {
	for {
		var part string
		if closing, quoted := d.quotes[(name + " ")[0]]; quoted {
			end := strings.IndexByte(name[1:], closing)
			if end <= 0 {
				return nil, false
			}
			part, name = name[1:end+1], name[end+2:]
		} else {
			end := 0
			for end < len(name) && (name[end] == '_' || name[end] >= 0x80 || name[end] == '$' && end > 0 ||
				'0' <= name[end] && name[end] <= '9' && end > 0 ||
				'a' <= name[end] && name[end] <= 'z' || 'A' <= name[end] && name[end] <= 'Z') {
				end++
			}
			if end == 0 {
				return nil, false
			}
			part, name = name[:end], name[end:]
			if d.foldsUnquoted {
				part = fold(part)
			}
		}
		parts = append(parts, part)
		if name == "" {
			return parts, true
		}
		if name[0] != '.' {
			return nil, false // an expression or a doubled quote, which cannot be verified
		}
		name = name[1:]
	}
}

// fold converts ASCII letters to lower case.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

func sqliteColumns(ctx context.Context, db *sql.DB, schema, table string) (columns, error) {
	if err := checkSQLite(ctx, db); err != nil {
		return nil, err
	}
	found := columns{}
	// Hidden columns of virtual tables (1) are not part of a row. Generated columns (2 and 3) are.
	rows, err := db.QueryContext(ctx, `SELECT name, type FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1`,
		table, cmp.Or(schema, "main"))
	return found, eachRow(rows, err, func(rows *sql.Rows) error {
		var name, declared string
		err := rows.Scan(&name, &declared)
		declared = strings.ToUpper(declared)
		found[fold(name)] = column{declared, sqliteKind(declared)}
		return err
	})
}

var sqliteFieldKinds = map[latchkey.FieldType]allowedKinds{
	latchkey.Text:     {[]kind{kindText}, "text"},
	latchkey.Integer:  {[]kind{kindInteger, kindNumber, kindFloat}, "INTEGER"},
	latchkey.Number:   {[]kind{kindInteger, kindNumber, kindFloat}, "a number"},
	latchkey.Float:    {[]kind{kindFloat}, "REAL"},
	latchkey.Boolean:  {[]kind{kindBoolean, kindInteger}, "BOOLEAN"},
	latchkey.Date:     {[]kind{kindText, kindDate}, "text"},
	latchkey.DateTime: {[]kind{kindText, kindDateTime}, "text"},
}

// sqliteKind first looks for names that mean more than an affinity. Then it follows SQLite's rules of affinity, in
// their order.
func sqliteKind(declared string) kind {
	word, _, _ := strings.Cut(strings.TrimSpace(declared), "(")
	switch strings.TrimSpace(word) {
	case "":
		return kindUnknown
	case "BOOL", "BOOLEAN":
		return kindBoolean
	case "DATE":
		return kindDate
	case "DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE":
		return kindDateTime
	case "NUMERIC", "DECIMAL":
		return kindNumber
	}
	has := func(s string) bool { return strings.Contains(declared, s) }
	switch {
	case has("INT"):
		return kindInteger
	case has("CHAR"), has("CLOB"), has("TEXT"):
		return kindText
	case has("BLOB"):
		return kindBlob
	case has("REAL"), has("FLOA"), has("DOUB"):
		return kindFloat
	}
	return kindUnknown // NUMERIC affinity by accident (STRING, JSON, TIME …), or ANY
}

func postgresColumns(ctx context.Context, db *sql.DB, schema, table string) (columns, error) {
	var version, encoding, client string
	var digits int
	err := db.QueryRowContext(ctx, `SELECT version(), current_setting('server_encoding'),
		current_setting('client_encoding'), CAST(current_setting('extra_float_digits') AS INTEGER)`).
		Scan(&version, &encoding, &client, &digits)
	switch {
	case err != nil:
		return nil, fmt.Errorf("this is no PostgreSQL database, or it cannot be reached: %w", err)
	case !strings.HasPrefix(version, "PostgreSQL "):
		return nil, wrongEngine("PostgreSQL", version)
	case encoding != "UTF8":
		return nil, fmt.Errorf("the database's encoding is %s: conditions compare the bytes of UTF-8", encoding)
	case client != "UTF8":
		return nil, fmt.Errorf("the session's client_encoding is %s, so text would be converted: set it to UTF8",
			client)
	}
	found := columns{}
	rows, err := db.QueryContext(ctx, `SELECT CAST(a.attname AS TEXT), format_type(a.atttypid, a.atttypmod),
			CAST(COALESCE(b.typname, t.typname) AS TEXT),
			CASE WHEN t.typtype = 'd' AND a.atttypmod < 0 THEN t.typtypmod ELSE a.atttypmod END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
		JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
		WHERE c.relname = CAST($1 AS TEXT) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
			AND CASE CAST($2 AS TEXT) WHEN '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = CAST($2 AS TEXT) END`,
		table, schema)
	return found, eachRow(rows, err, func(rows *sql.Rows) error {
		var name, declared, base string
		var modifier int
		err := rows.Scan(&name, &declared, &base, &modifier)
		kind := cmp.Or(postgresKinds[base], kindUnknown)
		switch {
		case kind == kindNumber && modifier < 0:
			kind = kindUnbounded
		case kind == kindFloat && digits < 1:
			kind = kindTruncated
		}
		found[name] = column{declared, kind}
		return err
	})
}

var postgresKinds = map[string]kind{
	"text": kindText, "varchar": kindText, "citext": kindText, "bpchar": kindPadded,
	"int2": kindInteger, "int4": kindInteger, "int8": kindInteger,
	"numeric": kindNumber, "float4": kindFloat, "float8": kindFloat,
	"bool": kindBoolean, "date": kindDate, "timestamptz": kindDateTime, "timestamp": kindSessionZone, "bytea": kindBlob,
}

var postgresFieldKinds = map[latchkey.FieldType]allowedKinds{
	latchkey.Text:     {[]kind{kindText}, "text"},
	latchkey.Integer:  {[]kind{kindInteger, kindNumber}, "bigint, or a field of type Number,"},
	latchkey.Number:   {[]kind{kindInteger, kindNumber, kindUnbounded, kindFloat}, "numeric"},
	latchkey.Float:    {[]kind{kindFloat}, "double precision"},
	latchkey.Boolean:  {[]kind{kindBoolean}, "boolean"},
	latchkey.Date:     {[]kind{kindDate}, "date"},
	latchkey.DateTime: {[]kind{kindDateTime}, "timestamp with time zone"},
}

const (
	postgresTimeFix = "remove settings of TimeZone and DateStyle from the DSN, or use a driver that returns time.Time"
	mysqlTimeFix    = "the driver or the session converts to another zone: set loc=UTC in the DSN, and no time_zone"
)

// incompatibleModes are the sql_modes in which a condition admits other rows than in memory.
var incompatibleModes = map[string]string{
	"EMPTY_STRING_IS_NULL":    "an empty text is NULL",
	"PAD_CHAR_TO_FULL_LENGTH": "a CHAR is padded with blanks",
	"ORACLE":                  "SQL has another meaning",
}

// checkMySQLSession refuses engines and sessions in which a condition admits other rows than in memory.
func checkMySQLSession(ctx context.Context, db *sql.DB) error {
	var version, comment, client, connection, results, mode string
	if err := db.QueryRowContext(ctx, `SELECT VERSION()`).Scan(&version); err != nil {
		return fmt.Errorf("this is no MySQL or MariaDB database, or it cannot be reached: %w", err)
	}
	if err := refuseTiDB(version); err != nil {
		return err
	}
	err := db.QueryRowContext(ctx, `SELECT @@version_comment, @@SESSION.character_set_client,
		@@SESSION.character_set_connection, COALESCE(@@SESSION.character_set_results, ''), @@SESSION.sql_mode`).
		Scan(&comment, &client, &connection, &results, &mode)
	switch {
	case err != nil:
		return fmt.Errorf("this is no MySQL or MariaDB database, or it cannot be reached: %w", err)
	case refuseTiDB(comment) != nil: // TiDB can be configured to report another version
		return refuseTiDB(comment)
	case client != "utf8mb4":
		return fmt.Errorf("the connection's character set is %s: set charset=utf8mb4 in the DSN", client)
	case connection != "utf8mb4":
		return fmt.Errorf("character_set_connection is %s, which converts the text of arguments: set charset=utf8mb4 in "+
			"the DSN, and no other character set", connection)
	case results != "utf8mb4" && results != "" && results != "binary":
		return fmt.Errorf("character_set_results is %s, which converts the text of results: set charset=utf8mb4 in the "+
			"DSN, and no other character set", results)
	}
	for _, word := range strings.Split(mode, ",") {
		if why, ok := incompatibleModes[word]; ok {
			return fmt.Errorf("sql_mode has %s, so that %s: remove it on the server or in the DSN", word, why)
		}
	}
	return nil
}

func mysqlColumns(ctx context.Context, db *sql.DB, schema, table string) (columns, error) {
	if err := checkMySQLSession(ctx, db); err != nil {
		return nil, err
	}
	found := columns{}
	rows, err := db.QueryContext(ctx, `SELECT column_name, data_type, column_type, COALESCE(character_set_name, '')
		FROM information_schema.columns WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?`,
		schema, table)
	return found, eachRow(rows, err, func(rows *sql.Rows) error {
		var name, base, declared, charset string
		err := rows.Scan(&name, &base, &declared, &charset)
		kind := cmp.Or(mysqlKinds[fold(base)], kindUnknown)
		if kind == kindText && charset != "utf8mb4" {
			kind, declared = kindLegacy, declared+" of "+charset
		}
		found[fold(name)] = column{declared, kind}
		return err
	})
}

var mysqlKinds = map[string]kind{
	"char": kindText, "varchar": kindText, "tinytext": kindText, "text": kindText, "mediumtext": kindText,
	"longtext": kindText,
	"tinyint":  kindInteger, "smallint": kindInteger, "mediumint": kindInteger, "int": kindInteger, "bigint": kindInteger,
	"decimal": kindNumber, "float": kindSingleFloat, "double": kindFloat,
	"date": kindDate, "datetime": kindDateTime, "timestamp": kindSessionZone,
	"binary": kindBlob, "varbinary": kindBlob, "tinyblob": kindBlob, "blob": kindBlob, "mediumblob": kindBlob,
	"longblob": kindBlob,
}

var mysqlFieldKinds = map[latchkey.FieldType]allowedKinds{
	latchkey.Text:     {[]kind{kindText}, "text of utf8mb4"},
	latchkey.Integer:  {[]kind{kindInteger, kindNumber}, "BIGINT, or a field of type Number,"},
	latchkey.Number:   {[]kind{kindInteger, kindNumber, kindFloat}, "DECIMAL"},
	latchkey.Float:    {[]kind{kindFloat}, "DOUBLE"},
	latchkey.Boolean:  {[]kind{kindInteger}, "BOOLEAN"},
	latchkey.Date:     {[]kind{kindDate}, "DATE"},
	latchkey.DateTime: {[]kind{kindDateTime}, "DATETIME(6)"},
}
