package rows

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// The largest conditions that are accepted must also run: engines limit the depth of an expression and the number of
// placeholders.
func TestLargestConditionsRun(t *testing.T) {
	for _, e := range rowEngines {
		t.Run(e.name, func(t *testing.T) {
			db := e.open(t)
			_, err := db.Exec("CREATE TABLE plain (id INTEGER PRIMARY KEY, s TEXT, i INTEGER, n NUMERIC)")
			require.NoError(t, err)
			for i := range 20 {
				_, err := db.Exec(fmt.Sprintf("INSERT INTO plain VALUES (%d, 's%d', %d, %d)", i, i, i, i))
				require.NoError(t, err)
			}
			schema := latchkey.NewSchema(latchkey.Fields{"s": {Column: "s", Type: latchkey.Text},
				"i": {Column: "i", Type: latchkey.Integer}, "n": {Column: "n", Type: latchkey.Number}})

			var leaves, lists []latchkey.Condition
			var numbers, halves []any
			for i := range 1000 {
				numbers = append(numbers, i+7)
				halves = append(halves, float64(i)+0.5)
				leaves = append(leaves, latchkey.Where("i", latchkey.Ne, i+7))
			}
			for i := range 4 {
				lists = append(lists, latchkey.Where("i", latchkey.In, append([]any{-i - 1}, numbers[:999]...)))
			}
			deep := latchkey.Where("i", latchkey.Lt, 7)
			for i := 0; ; i++ {
				next := latchkey.All(latchkey.Where("s", latchkey.Ne, fmt.Sprint("no", i)),
					latchkey.AnyOf(latchkey.Where("s", latchkey.Eq, fmt.Sprint("no", i)), deep))
				if next.Validate() != nil {
					break
				}
				deep = next
			}
			for name, c := range map[string]latchkey.Condition{
				"all":      latchkey.All(leaves[:999]...),
				"any, not": latchkey.Not(latchkey.AnyOf(negated(leaves[:499])...)),
				"not in":   latchkey.Not(latchkey.Where("i", latchkey.In, numbers)),
				"not in, n": latchkey.All(latchkey.Not(latchkey.Where("n", latchkey.In, numbers)),
					latchkey.Not(latchkey.Where("n", latchkey.In, halves))),
				"not of many": latchkey.Not(latchkey.AnyOf(lists...)),
				"deep":        deep,
			} {
				require.NoError(t, c.Validate(), name)
				p, err := schema.Bind(c)
				require.NoError(t, err, name)
				where, args := p.SQL(e.dialect, 1)
				require.Len(t, queryIDs(t, db, "SELECT id FROM plain WHERE "+where, args...), 7, name)
				require.True(t, p.Match(latchkey.Row{"i": 6, "n": 6, "s": "s6"}), name)
				require.False(t, p.Match(latchkey.Row{"i": 7, "n": 7, "s": "s7"}), name)
			}
		})
	}
}

func negated(conditions []latchkey.Condition) []latchkey.Condition {
	out := make([]latchkey.Condition, len(conditions))
	for i, c := range conditions {
		out[i] = latchkey.Not(c)
	}
	return out
}
