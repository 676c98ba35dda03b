package sqlite

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Each statement of the audit trail searches by an index that has the order of the page: none sorts, and none looks at
// more than it is asked for. Only the search for the next event of a time reads a range, of index entries.
func TestEventsPlans(t *testing.T) {
	ctx := context.Background()
	db, f := faulty.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.SQLite))
	s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	var events []latchkey.Event
	for i := range 5000 {
		events = append(events, latchkey.Event{At: world.Noon.Add(time.Duration(i) * time.Second), Action: "token.use",
			Object: "o",
			Actor:  "a"})
	}
	require.NoError(t, s.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Events: events}))
	actor := "a"
	const (
		byKey    = "SEARCH latchkey_events USING INDEX sqlite_autoindex_latchkey_events_1 (owner=? AND seq"
		byObject = "SEARCH latchkey_events USING INDEX latchkey_events_object (owner=? AND object=? AND seq"
		byActor  = "SEARCH latchkey_events USING INDEX latchkey_events_actor (owner=? AND actor=? AND seq"
		byTime   = "SEARCH latchkey_events USING COVERING INDEX latchkey_events_time (owner=? AND at>? AND at<?)"
		rows     = "SEARCH latchkey_events USING INDEX sqlite_autoindex_latchkey_events_1 (owner=? AND seq=?)"
	)
	for name, c := range map[string]struct {
		q    latchkey.EventQuery
		want []string
	}{
		"all":              {latchkey.EventQuery{}, []string{byKey}},
		"object":           {latchkey.EventQuery{Object: "o"}, []string{byObject}},
		"actor":            {latchkey.EventQuery{Actor: &actor}, []string{byActor}},
		"object and actor": {latchkey.EventQuery{Object: "o", Actor: &actor}, []string{byObject, rows}},
		"action":           {latchkey.EventQuery{Action: "token."}, []string{byKey, rows}},
		"action of actor":  {latchkey.EventQuery{Action: "token.", Actor: &actor}, []string{byActor, rows}},
		// All of the first events that are looked at lie outside of the time.
		"time": {latchkey.EventQuery{From: world.Noon.Add(4990 * time.Second)}, []string{byKey, byTime, byKey,
			rows}},
		"time of object": {latchkey.EventQuery{From: world.Noon.Add(4990 * time.Second), Object: "o"}, []string{byObject,
			byTime, byObject, rows}},
		"time without": {latchkey.EventQuery{From: world.Noon.Add(time.Hour * 24)}, []string{byKey, byTime}},
	} {
		for _, reverse := range []bool{false, true} {
			q := c.q
			if q.Reverse = reverse; reverse && !q.From.IsZero() {
				q.To, q.From = world.Noon.Add(5*time.Second), time.Time{}
				if name == "time without" {
					q.To = world.Noon
				}
			}
			before := f.Count()
			page, _, err := s.Events(ctx, "acme", q)
			require.NoError(t, err)
			require.Equal(t, name == "time without", len(page) == 0)
			var got []string
			for _, l := range f.Statements(before) {
				if !strings.Contains(l.Text, "latchkey_events") {
					continue
				}
				for _, step := range world.Plan(t, db, l.Text) {
					require.NotContains(t, step, "TEMP B-TREE", "%s: %s", name, l.Text)
					got = append(got, step)
				}
			}
			require.Len(t, got, len(c.want), "%s: %q", name, got)
			for i := range got {
				require.True(t, strings.HasPrefix(got[i], c.want[i]), "%s: %s", name, got[i])
			}
		}
	}
}
