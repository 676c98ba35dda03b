package conformance

import (
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/storetest"
)

// With the DSN that a host would write, and with settings that change what drivers and engines do beneath.
func TestEnginesConformance(t *testing.T) {
	type setup struct {
		name     string
		engine   *harness.Engine
		settings map[string]string
	}
	setups := []setup{
		{"PostgreSQL", harness.Postgres, nil},
		{"PostgreSQL, as behind a pooler", harness.Postgres, map[string]string{
			"default_query_exec_mode": "simple_protocol", "default_transaction_isolation": "serializable"}},
		{"PostgreSQL behind pgbouncer", harness.Pgbouncer, nil},
		{"PostgreSQL 18 behind pgbouncer, another mode of pgx", harness.NewestPooled,
			map[string]string{"default_query_exec_mode": "exec"}},
		{"MariaDB", harness.MariaDB, nil},
		{"MariaDB, all set otherwise", harness.MariaDB,
			map[string]string{"interpolateParams": "true", "clientFoundRows": "true", "parseTime": "true", "loc": "Local",
				"innodb_snapshot_isolation": "1", "tx_isolation": "'SERIALIZABLE'", "idle_write_transaction_timeout": "10"}},
	}
	for _, e := range harness.Versions() {
		setups = append(setups, setup{e.Name, e, nil})
	}
	if slices.Contains(harness.WithTiDB(), harness.TiDB) {
		setups = append(setups, setup{"TiDB", harness.TiDB, nil})
	}
	for _, c := range setups {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			places := c.engine.NewPlaces(t, func(dsn string) string {
				for setting, value := range c.settings {
					dsn = c.engine.With(t, dsn, setting, value)
				}
				return dsn
			})
			storetest.Run(t, func(t *testing.T) latchkey.Store { return places.Store(t) })
		})
	}
}
