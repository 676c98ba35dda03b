package conformance

import (
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/storetest"
)

// setup is an engine with the settings of a DSN.
type setup struct {
	name     string
	engine   *harness.Engine
	settings map[string]string
}

// With the DSN of a host, and with settings that change what drivers and engines do beneath. Sampled: the versions of
// PostgreSQL divide the cases, so each case runs in one of them, and its poolers divide half of the cases. MariaDB runs
// every case with the DSN that a host would write, and a sixth of them with all set otherwise. LONG=1 runs every case
// in every set-up, and SEED=n repeats a draw.
func TestEnginesConformance(t *testing.T) {
	versions := []setup{{"PostgreSQL", harness.Postgres, nil}}
	for _, e := range harness.Versions() {
		versions = append(versions, setup{e.Name, e, nil})
	}
	plain := []setup{{"MariaDB", harness.MariaDB, nil}}
	if slices.Contains(harness.WithTiDB(), harness.TiDB) {
		plain = append(plain, setup{"TiDB", harness.TiDB, nil})
	}
	poolers := []setup{
		{"PostgreSQL, as behind a pooler", harness.Postgres, map[string]string{
			"default_query_exec_mode": "simple_protocol", "default_transaction_isolation": "serializable"}},
		{"PostgreSQL behind pgbouncer", harness.Pgbouncer, nil},
		{"PostgreSQL 18 behind pgbouncer, another mode of pgx", harness.NewestPooled,
			map[string]string{"default_query_exec_mode": "exec"}},
	}
	otherwise := setup{"MariaDB, all set otherwise", harness.MariaDB,
		map[string]string{"interpolateParams": "true", "clientFoundRows": "true", "parseTime": "true", "loc": "Local",
			"innodb_snapshot_isolation": "1", "tx_isolation": "'SERIALIZABLE'", "idle_write_transaction_timeout": "10"}}

	t.Logf("SEED=%d draws the same cases for the same set-ups", harness.Seed())
	for _, c := range plain {
		conformance(t, c, storetest.Cases())
	}
	for i, part := range harness.Parts("versions", len(versions)) {
		conformance(t, versions[i], part)
	}
	for i, part := range harness.Parts("poolers", 2*len(poolers))[:len(poolers)] {
		conformance(t, poolers[i], part)
	}
	conformance(t, otherwise, harness.Parts("MariaDB", 6)[0])
}

// conformance runs cases in a set-up, beside those of others.
func conformance(t *testing.T, c setup, cases []storetest.Case) {
	t.Run(c.name, func(t *testing.T) {
		t.Parallel()
		places := c.engine.NewPlaces(t, func(dsn string) string {
			for setting, value := range c.settings {
				dsn = c.engine.With(t, dsn, setting, value)
			}
			return dsn
		})
		harness.RunCases(t, cases, func(t *testing.T) latchkey.Store { return places.Store(t) })
	})
}
