package sqlstore

import (
	"context"
	"errors"
	"strings"
)

// A host may run the migrations with a migrator of its own, or change the tables afterwards. These queries select, as
// sentences, what would make a store lie: text that does not compare as bytes, so that one owner's id is another's,
// and tables that forget or half keep what was acknowledged.
const (
	spoiltSQLite = `SELECT tbl_name || ' has a COLLATE in its definition, and its text would not compare as bytes: make it as ' ||
			'the migration does, without one'
		FROM sqlite_master WHERE tbl_name LIKE 'latchkey!_%' ESCAPE '!' AND instr(upper(sql), 'COLLATE') > 0 ORDER BY 1`

	spoiltPostgres = `SELECT CAST(t.relname || '.' || a.attname || ' has the collation ' || c.collname ||
			', and would not compare as bytes: ALTER TABLE ' || t.relname || ' ALTER ' || a.attname || ' TYPE TEXT COLLATE "C"' AS TEXT)
		FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_collation c ON c.oid = a.attcollation
		WHERE t.relkind IN ('r', 'p') AND t.relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(t.oid)
			AND a.attnum > 0 AND NOT a.attisdropped AND c.collname NOT IN ('C', 'POSIX', 'ucs_basic')
		UNION ALL
		SELECT CAST(relname || ' is not logged, and a crash would empty it: ALTER TABLE ' || relname || ' SET LOGGED' AS TEXT)
		FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(oid)
			AND relpersistence = 'u'
		UNION ALL
		SELECT CAST(relname || ' has row security, and hides rows from this user: ALTER TABLE ' || relname ||
			' DISABLE ROW LEVEL SECURITY, or give the user BYPASSRLS' AS TEXT)
		FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'latchkey!_%' ESCAPE '!' AND pg_table_is_visible(oid)
			AND row_security_active(oid)
		ORDER BY 1`

	spoiltMySQL = `SELECT CONCAT(table_name, '.', column_name, ' has the collation ', collation_name,
			', and would not compare as bytes: make it VARBINARY, as the migration does') AS what
		FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name LIKE 'latchkey!_%' ESCAPE '!'
			AND collation_name IS NOT NULL
		UNION ALL
		SELECT CONCAT(table_name, ' is a table of ', engine, ', which has no transactions: ALTER TABLE ', table_name,
			' ENGINE=InnoDB')
		FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'latchkey!_%' ESCAPE '!'
			AND engine <> 'InnoDB'
		UNION ALL
		SELECT 'innodb_flush_log_at_trx_commit is 0, and a crash of the server would take back what was acknowledged: set it to 1'
		WHERE @@GLOBAL.innodb_flush_log_at_trx_commit = 0
		ORDER BY 1`
)

// checkTables refuses what the dialect's query finds.
func checkTables(ctx context.Context, q queryer, dia *dialect) error {
	spoilt, err := queryStrings(ctx, q, dia.spoilt)
	if err != nil || len(spoilt) == 0 {
		return err
	}
	return errors.New(strings.Join(spoilt, "; "))
}
