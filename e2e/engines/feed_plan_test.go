package engines

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// A connection that reads the feed often keeps its plan, however much is in the feed: to plan would take longer than to
// read what is new. The plan reads the index from where the reader is.
func TestThePlanOfTheFeedIsKept(t *testing.T) {
	e := harness.Postgres
	db := e.Open(t, e.Place(t))
	db.SetMaxOpenConns(1)
	s := harness.OpenStore(t, db, e.Dialect)
	for _, text := range []string{
		`INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, at)
			SELECT i, 0, 'acme', 1, 'id ' || i, 0 FROM generate_series(1, 100000) i`,
		`UPDATE latchkey_epoch SET epoch = 100000`,
		`ANALYZE latchkey_changes`,
	} {
		_, err := db.Exec(text)
		require.NoError(t, err)
	}
	for range 12 {
		feed, err := s.Changes(t.Context(), 0, 99_990, 1000)
		require.NoError(t, err)
		require.Len(t, feed.Changes, 10)
		require.Equal(t, "id 99991", feed.Changes[0].ID)
	}
	const of = ` FROM pg_prepared_statements WHERE strpos(statement, 'string' || '_agg') > 0` // not this text itself
	require.Equal(t, []string{"5 7"}, world.Column(t, db, `SELECT custom_plans || ' ' || generic_plans`+of))
	for _, text := range []string{"SET plan_cache_mode = force_generic_plan",
		"PREPARE feed AS " + world.Column(t, db, "SELECT statement"+of)[0]} {
		_, err := db.Exec(text)
		require.NoError(t, err)
	}
	plan := strings.Join(world.Column(t, db, "EXPLAIN EXECUTE feed (NULL, NULL, NULL, NULL, NULL)"), "\n")
	require.Regexp(t, `Index Scan using \S+ on latchkey_changes`, plan)
	require.NotContains(t, plan, "Sort")
}
