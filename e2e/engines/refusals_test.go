package engines

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
	"github.com/latchkey-go/latchkey/storetest"
)

func TestEnginesNewRefuses(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		db := e.Open(t, dsn)
		_, err := sqlstore.New(ctx, db, e.Dialect, nil)
		require.ErrorContains(t, err, "run sqlstore.Migrate")
		for d := latchkey.SQLite; d <= latchkey.MySQL; d++ {
			if d == e.Dialect {
				continue
			}
			_, err = sqlstore.New(ctx, db, d, nil)
			require.ErrorContains(t, err, "this is no ", d)
			require.ErrorContains(t, sqlstore.Migrate(ctx, db, d), "this is no ", d)
		}
		require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
		setting := map[*harness.Engine]string{harness.Postgres: "default_transaction_read_only",
			harness.MariaDB: "tx_read_only"}[e]
		readOnly := e.With(t, dsn, setting, "1")
		_, err = sqlstore.New(ctx, e.Open(t, readOnly), e.Dialect, nil)
		require.ErrorContains(t, err, "cannot be written")
		_, err = db.Exec("DELETE FROM latchkey_epoch")
		require.NoError(t, err)
		_, err = sqlstore.New(ctx, db, e.Dialect, nil)
		require.ErrorContains(t, err, "latchkey_epoch is missing")
		db.Close()
		_, err = sqlstore.New(ctx, db, e.Dialect, nil)
		require.ErrorContains(t, err, "cannot be reached")
	})
	t.Run("settings of PostgreSQL", func(t *testing.T) {
		dsn := harness.Postgres.Place(t)
		harness.Postgres.Store(t, dsn)
		_, err := sqlstore.New(ctx, harness.Postgres.Open(t, harness.Postgres.With(t, dsn, "synchronous_commit", "off")),
			latchkey.Postgres, nil)
		require.ErrorContains(t, err, "synchronous_commit is off")
		harness.Postgres.Store(t, harness.Postgres.With(t, dsn, "synchronous_commit", "local"))
	})
	t.Run("settings of MariaDB", func(t *testing.T) {
		dsn := harness.MariaDB.Place(t)
		harness.MariaDB.Store(t, dsn)
		for setting, c := range map[string]struct{ value, says string }{
			"sql_mode":     {"'ANSI'", "STRICT_TRANS_TABLES"},
			"autocommit":   {"0", "autocommit is off"},
			"tx_isolation": {"'READ-UNCOMMITTED'", "READ UNCOMMITTED"},
			// Half of the bytes of a digest would become question marks.
			"collation_connection": {"'latin1_swedish_ci'", "character_set_connection is latin1"},
		} {
			_, err := sqlstore.New(ctx, harness.MariaDB.Open(t, harness.MariaDB.With(t, dsn, setting, c.value)), latchkey.MySQL,
				nil)
			require.ErrorContains(t, err, c.says)
		}
		if harness.MariaDB.Process != nil { // on a server that is not ours nothing is set
			harness.MariaDB.Exec(t, "SET GLOBAL read_only = 1") // a user with enough rights may write all the same
			_, err := sqlstore.New(ctx, harness.MariaDB.Open(t, dsn), latchkey.MySQL, nil)
			harness.MariaDB.Exec(t, "SET GLOBAL read_only = 0")
			require.ErrorContains(t, err, "read_only is on")
		}
		// The character set and the zone of the connection are nobody's business.
		for _, charset := range []string{"utf8mb4", "latin1", "sjis"} {
			for _, c := range storetest.Cases() {
				if slices.Contains([]string{"token/round-trip", "digest/is-32-bytes", "secrets/show-the-token"}, c.Name) {
					c.Run(t, func() latchkey.Store {
						dsn := harness.MariaDB.With(t, harness.MariaDB.Place(t), "time_zone", "'-11:00'")
						return harness.MariaDB.Store(t, harness.MariaDB.With(t, dsn, "charset", charset))
					})
				}
			}
		}
		nowhere, err := harness.MariaDB.In(dsn, "")
		require.NoError(t, err)
		require.ErrorContains(t, sqlstore.Migrate(ctx, harness.MariaDB.Open(t, nowhere), latchkey.MySQL),
			"no database is chosen")
	})
	if slices.Contains(harness.WithTiDB(), harness.TiDB) {
		t.Run("settings of TiDB", func(t *testing.T) {
			dsn := harness.TiDB.Place(t)
			harness.TiDB.Store(t, dsn)
			for setting, says := range map[string]string{"tidb_enable_shared_lock_promotion=0": "=1 to the DSN",
				"tidb_enable_shared_lock_promotion=1&tidb_txn_mode='optimistic'":       "tidb_txn_mode is optimistic",
				"tidb_enable_shared_lock_promotion=1&tidb_read_staleness=-5":           "old data",
				"tidb_enable_shared_lock_promotion=1&tidb_low_resolution_tso=1":        "old data",
				"tidb_enable_shared_lock_promotion=1&tidb_guarantee_linearizability=0": "acknowledged"} {
				db := harness.TiDB.Open(t, strings.Replace(dsn, "tidb_enable_shared_lock_promotion=1", setting, 1))
				_, err := sqlstore.New(ctx, db, latchkey.MySQL, nil)
				require.ErrorContains(t, err, says)
				require.ErrorContains(t, sqlstore.Migrate(ctx, db, latchkey.MySQL), says)
			}
			db := harness.TiDB.Open(t, dsn)
			_, err := db.Exec("CREATE TABLE orders (region VARCHAR(20))")
			require.NoError(t, err)
			require.ErrorContains(t, sqlstore.CheckSchema(ctx, db, latchkey.MySQL, "orders", latchkey.NewSchema(
				latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})), "this is TiDB")
		})
	}
	if harness.Postgres.Process == nil {
		return // on a server that is not ours no databases are made
	}
	_, err := harness.Postgres.Admin.Exec("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc " +
		"TEMPLATE template0")
	require.NoError(t, err)
	ascii := harness.Postgres.Open(t, strings.Replace(harness.Postgres.DSN, "dbname=postgres", "dbname=ascii", 1))
	require.ErrorContains(t, sqlstore.Migrate(ctx, ascii, latchkey.Postgres), "ENCODING 'UTF8'")
	require.ErrorContains(t, sqlstore.CheckSchema(ctx, ascii, latchkey.Postgres, "x", latchkey.NewSchema(nil)), "UTF-8")
}

// An account whose name is not text is refused. It could not be found again to give back what was taken, and Purge
// would fail at it for ever.
func TestReserveRefusesWhatIsNotText(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		s, _ := open()
		for _, account := range []latchkey.CreditAccount{{TokenID: "\xff"}, {Meter: "\xff"}, {Period: "\xff"}} {
			r := world.Reservation(7)
			account.Limit, r.Accounts, r.Until = 100, []latchkey.CreditAccount{account}, world.Noon
			_, err := s.Reserve(ctx, r)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
		}
		_, err := s.Purge(ctx, latchkey.PurgePolicy{Now: world.Noon}, 0)
		require.NoError(t, err)
	})
}

// A value that an engine cannot keep is refused with an error that says so, and nothing of its write is done.
func TestEnginesKeepOrRefuse(t *testing.T) {
	ctx := context.Background()
	test := func(t *testing.T, e *harness.Engine) {
		s := e.Store(t, e.Place(t))
		for i, name := range []string{"bad\xffbytes", "a\x00b", strings.Repeat("n", 1025), strings.Repeat("n", 5000)} {
			w := world.Mint("acme", fmt.Sprintf("t%d", i), i)
			w.Tokens[0].Name = name
			err := s.Write(ctx, w)
			f, loadErr := s.Load(ctx, "acme", w.Tokens[0].ID)
			if err == nil {
				require.NoError(t, loadErr)
				require.Equal(t, name, f.Token.Name)
				continue
			}
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.NotErrorIs(t, err, latchkey.ErrUnavailable)
			require.ErrorIs(t, loadErr, latchkey.ErrNotFound)
		}
		// What the Manager lets through is kept.
		owner, id := strings.Repeat("ü", 128), strings.Repeat("i", 256)
		w := world.Mint(owner, "t", 10)
		w.Tokens[0].Name, w.Tokens[0].Origin = strings.Repeat("n", 256), strings.Repeat("o", 64)
		w.Tokens[0].Reason = strings.Repeat("r", 256)
		w.Tokens[0].Client = latchkey.Client{ID: id, Name: id}
		w.Clients = []latchkey.Client{w.Tokens[0].Client}
		w.Tokens[0].Extra = []byte(`"` + strings.Repeat("x", 1<<20-2) + `"`)
		w.Roles = []latchkey.Role{{ID: id[:64], Owner: owner, Name: strings.Repeat("n", 256),
			Origin: strings.Repeat("o", 64)}}
		w.OwnerRecord, w.Silent = &latchkey.Owner{ID: owner}, false
		w.Events = []latchkey.Event{{At: world.Noon, Actor: "client:" + id, Object: owner, Before: w.Tokens[0].Extra}}
		err := s.Write(ctx, w)
		require.NoError(t, err)
		f, err := s.Load(ctx, owner, "t")
		require.NoError(t, err)
		require.Equal(t, w.Tokens[0].Extra, f.Token.Extra)
		require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: world.WriteID(), At: world.Noon, Rows: []latchkey.UsageRow{
			{Owner: owner, TokenID: id, ClientID: id, Meter: id, Endpoint: strings.Repeat("e", 1024), Day: "2026-11-22",
				Count: 1}}}))
	}
	harness.OnTiDBToo(t, test)
	harness.OnVersions(t, test)
}

// The engine itself refuses what no code path should ever write.
func TestEnginesConstraints(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		e.Store(t, dsn)
		db := e.Open(t, dsn)
		bytes := func(n int) string {
			if e == harness.Postgres {
				return fmt.Sprintf("decode('%s', 'hex')", strings.Repeat("00", n))
			}
			return "x'" + strings.Repeat("00", n) + "'"
		}
		good := []string{
			`INSERT INTO latchkey_credits (owner, token_id, meter, period, used) VALUES ('a', '', 'm', '', 0)`,
			`INSERT INTO latchkey_reservations VALUES ('a', ` + bytes(16) + `, 1, 0, NULL, 0, NULL, 0, '')`,
			`INSERT INTO latchkey_secrets (digest, owner, token_id, signing, not_after, head, found)
				VALUES (` + bytes(32) + `, 'a', 't', 0, NULL, 0, '')`,
		}
		for _, q := range good {
			_, err := db.Exec(q)
			require.NoError(t, err, q)
		}
		for _, q := range append(good, // for they are there
			`INSERT INTO latchkey_credits (owner, token_id, meter, period, used) VALUES ('b', '', 'm', '', -1)`,
			`INSERT INTO latchkey_credits (owner, token_id, meter, period, used)
				VALUES ('b', '', 'm', '', 9223372036854775807 + 1)`,
			`INSERT INTO latchkey_reservations VALUES ('b', `+bytes(16)+`, 0, 0, NULL, 0, NULL, 0, '')`,
			`INSERT INTO latchkey_reservations VALUES ('b', `+bytes(16)+`, 1, 0, 2, 0, NULL, 0, '')`,
			`INSERT INTO latchkey_reservations VALUES ('b', `+bytes(16)+`, 1, 2, NULL, 0, NULL, 0, '')`,
			`INSERT INTO latchkey_usage VALUES ('b', '', '', '', '', '', -1, 0)`,
			`INSERT INTO latchkey_secrets (digest, owner, token_id, signing, not_after, head, found)
				VALUES (`+bytes(31)+`, 'b', 't', 0, NULL, 0, '')`,
			`INSERT INTO latchkey_epoch VALUES (2, 0, 0)`,
			`UPDATE latchkey_epoch SET floor = 1`,
		) {
			_, err := db.Exec(q)
			require.Error(t, err, q)
		}
	})
}

// A record that cannot be read whole is an error, never half a record, and never "not found".
func TestEnginesCorruption(t *testing.T) {
	harness.OnPooledToo(t, func(t *testing.T, e *harness.Engine) {
		world.Corrupt(t, func(t *testing.T) (*sqlstore.Store, *sql.DB) {
			dsn := e.Place(t)
			return e.Store(t, dsn), e.Open(t, dsn)
		}, func(b []byte) string {
			if e.Dialect == latchkey.Postgres {
				return fmt.Sprintf("decode('%x', 'hex')", b)
			}
			return fmt.Sprintf("x'%x'", b)
		})
	})
}

func TestEnginesClosed(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		db := e.Open(t, e.Place(t))
		s := harness.OpenStore(t, db, e.Dialect)
		world.Build(t, s)
		require.NoError(t, s.Close())
		_, err := s.ByDigest(ctx, 0, world.Digest(1))
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		_, err = s.Tokens(ctx, "acme", latchkey.TokenQuery{})
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		err = s.Write(ctx, world.Mint("acme", "x", 5))
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		require.NoError(t, db.Ping(), "the database is the host's")
	})
}

func TestEnginesCheckSchema(t *testing.T) {
	ctx := context.Background()
	type columns map[string][]latchkey.FieldType
	text, number := []latchkey.FieldType{latchkey.Text}, []latchkey.FieldType{latchkey.Integer, latchkey.Number}
	whole := []latchkey.FieldType{latchkey.Integer, latchkey.Number, latchkey.Boolean}
	float := []latchkey.FieldType{latchkey.Number, latchkey.Float}
	day, moment := []latchkey.FieldType{latchkey.Date}, []latchkey.FieldType{latchkey.DateTime}
	tables := map[latchkey.Dialect]struct {
		ddl     []string
		columns columns
	}{
		latchkey.Postgres: {[]string{
			`CREATE DOMAIN shout AS text`,
			`CREATE TABLE orders (region text, "Odd name" varchar(20), loud shout, amount bigint, small smallint,
			price numeric(10,2),
				ratio double precision, single real, endless numeric, open boolean, due date, at timestamptz, naive timestamp,
					padded char(3), data bytea, doc jsonb,
				tags text[], gone text)`,
			`ALTER TABLE orders DROP COLUMN gone`,
			`CREATE VIEW recent AS SELECT region, amount + 1 AS more FROM orders`,
		}, columns{"region": text, "REGION": text, "o.region": text, `"Odd name"`: text, "loud": text, "amount": number,
			"small": number, "price": number, "ratio": float, "single": float, "endless": {latchkey.Number},
			"open": {latchkey.Boolean}, "due": day, "at": moment, "naive": nil, "padded": nil,
			"data": nil, "doc": nil, "tags": nil, "gone": nil, `"odd name"`: nil, `"REGION"`: nil, "missing": nil,
			"amount + 1":    nil,
			"lower(region)": nil, "`region`": nil, "ctid": nil}},
		latchkey.MySQL: {[]string{
			"CREATE TABLE orders (region VARCHAR(20) CHARACTER SET utf8mb4, " +
				"`Odd name` TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, amount BIGINT, small TINYINT, big BIGINT UNSIGNED, " +
				"price DECIMAL(10,2), ratio DOUBLE, single FLOAT, open BOOLEAN, due DATE, at DATETIME(6), " +
				"zoned TIMESTAMP NULL, old VARCHAR(20) CHARACTER SET latin1, narrow TEXT CHARACTER SET utf8mb3, data BLOB, " +
				"bits BIT(3), mood ENUM('a', 'b') CHARACTER SET utf8mb4, clock TIME)",
			`CREATE VIEW recent AS SELECT region, amount + 1 AS more FROM orders`,
		}, columns{"region": text, "REGION": text, "o.region": text, "`Odd name`": text, "`odd NAME`": text, "amount": whole,
			"small": whole, "big": whole, "price": number, "ratio": float, "single": nil, "open": whole, "due": day,
			"at": moment, "zoned": nil,
			"old": nil, "narrow": nil, "data": nil, "bits": nil, "mood": nil, "clock": nil, "missing": nil, "amount + 1": nil,
			`"region"`: nil, "lower(region)": nil}},
	}
	for _, e := range append(harness.Versions(), harness.Engines...) {
		t.Run(e.Name, func(t *testing.T) {
			c := tables[e.Dialect]
			dsn := e.Place(t)
			db := e.Open(t, dsn)
			for _, q := range c.ddl {
				_, err := db.Exec(q)
				require.NoError(t, err, q)
			}
			check := func(db *sql.DB, table, column string, typ latchkey.FieldType) error {
				return sqlstore.CheckSchema(ctx, db, e.Dialect, table,
					latchkey.NewSchema(latchkey.Fields{"field": {Column: column, Type: typ}}))
			}
			for column, fits := range c.columns {
				for typ := latchkey.Text; typ <= latchkey.Float; typ++ {
					err := check(db, "orders", column, typ)
					fit := false
					for _, f := range fits {
						fit = fit || f == typ
					}
					if fit {
						require.NoError(t, err, "%s as %d", column, typ)
					} else {
						require.ErrorContains(t, err, `"field"`, "%s as %d", column, typ)
					}
				}
			}
			var place string
			where := map[latchkey.Dialect]string{latchkey.Postgres: "SELECT current_schema()",
				latchkey.MySQL: "SELECT DATABASE()"}[e.Dialect]
			require.NoError(t, db.QueryRow(where).Scan(&place))
			require.NoError(t, check(db, place+".orders", "region", latchkey.Text))
			require.NoError(t, check(db, "recent", "region", latchkey.Text))
			require.NoError(t, check(db, "recent", "more", latchkey.Integer))
			for _, table := range []string{"nosuch", "nosuch.orders", "orders; DROP TABLE orders", "a.b.c", ""} {
				require.ErrorContains(t, check(db, table, "region", latchkey.Text), "no table", table)
			}
			if e == harness.MariaDB {
				latin := e.Open(t, e.With(t, dsn, "character_set_client", "latin1"))
				require.ErrorContains(t, check(latin, "orders", "region", latchkey.Text), "charset=utf8mb4")
				require.ErrorContains(t, check(db, "orders", "zoned", latchkey.DateTime), "session's zone")
				require.ErrorContains(t, check(db, "orders", "old", latchkey.Text), "latin1")
			} else {
				require.ErrorContains(t, check(db, "orders", "naive", latchkey.DateTime), "timestamp with time zone is needed")
			}
			db.Close()
			require.ErrorContains(t, check(db, "orders", "region", latchkey.Text), "cannot be reached")
		})
	}
}
