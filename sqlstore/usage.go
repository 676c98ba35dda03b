package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// AddUsage implements latchkey.Store.
func (s *Store) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if b.ID == ([16]byte{}) {
		return mapError(ctx, "add usage", contractError(latchkey.ErrInvalid, "a usage batch needs an ID"))
	}
	rows, last := slices.Clone(b.Rows), slices.Clone(b.Last)
	for _, r := range rows {
		if r.Count < 0 || r.Credits < 0 {
			return mapError(ctx, "add usage", contractError(latchkey.ErrInvalid, "a usage row has a negative count or "+
				"negative credits"))
		}
	}
	// Sorted: two batches always take their locks in the same order. A Manager's are.
	sortUnlessSorted(rows, compareUsage)
	sortUnlessSorted(last, func(x, y latchkey.LastUsed) int {
		return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.TokenID, y.TokenID))
	})
	sums := sumUsage(rows)
	return s.write(ctx, "add usage", func(t *tx) error {
		if len(sums) > 0 { // to raise last uses twice is harmless
			if added, err := t.addUsage(b.ID, b.At, sums); err != nil || !added {
				return err
			}
		}
		return t.raiseLastUsed(last)
	})
}

// compareUsage orders rows by their key.
func compareUsage(x, y latchkey.UsageRow) int {
	return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.Day, y.Day), cmp.Compare(x.TokenID, y.TokenID),
		cmp.Compare(x.ClientID, y.ClientID), cmp.Compare(x.Meter, y.Meter), cmp.Compare(x.Endpoint, y.Endpoint))
}

func sortUnlessSorted[T any](list []T, compare func(x, y T) int) {
	if !slices.IsSortedFunc(list, compare) {
		slices.SortStableFunc(list, compare)
	}
}

// addUsage adds rows, unless a batch with that id was added before.
func (t *tx) addUsage(id [16]byte, at time.Time, rows [][]any) (added bool, err error) {
	if t.dialect().arrays {
		return t.addUsageArrays(id, at, rows)
	}
	n, err := t.insert(`INSERT INTO latchkey_batches (id, at) VALUES (?, ?)`, id[:], at.UnixMicro())
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.insertRows(bulkRows{usageRows, rows})
}

// addUsageArrays is addUsage in one statement, which is one round trip.
func (t *tx) addUsageArrays(id [16]byte, at time.Time, rows [][]any) (added bool, err error) {
	text := `WITH b AS (INSERT INTO latchkey_batches (id, at) VALUES (?, ?)` + t.dialect().ifAbsent +
		` RETURNING 1), u AS (` + t.insertFromArrays(usageRows, ` WHERE EXISTS (SELECT FROM b)`) + `) SELECT count(*) FROM b`
	n := 0
	_, err = t.row(text, append([]any{id[:], at.UnixMicro()}, arraysOf(bulkRows{usageRows, rows})...), &n)
	return n > 0, err
}

// sumUsage returns sorted rows as they are inserted, with each key once. A statement may touch a row only once.
func sumUsage(rows []latchkey.UsageRow) (out [][]any) {
	for i := 0; i < len(rows); {
		r := rows[i]
		key := r
		key.Count, key.Credits = 0, 0
		for i++; i < len(rows); i++ {
			other := rows[i]
			count, credits := other.Count, other.Credits
			if other.Count, other.Credits = 0, 0; other != key {
				break
			}
			r.Count, r.Credits = addSaturating(r.Count, count), addSaturating(r.Credits, credits)
		}
		out = append(out, []any{r.Owner, r.Day, r.TokenID, r.ClientID, r.Meter, r.Endpoint, r.Count, int64(r.Credits)})
	}
	return out
}

// addSaturating adds, and returns the largest value on overflow.
func addSaturating[N ~int64](a, b N) N {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// usageRows are added to existing ones. A count stops at the end of its range, because overflow would make it negative.
var usageRows = newBulkTable("latchkey_usage", `owner text, day text, token_id text, client_id text, meter text,
	endpoint text, count bigint, credits bigint`, func(d *dialect) string {
	return d.onConflictUpdate("owner, day, token_id, client_id, meter, endpoint",
		`count = CASE WHEN latchkey_usage.count > 9223372036854775807 - excluded.count THEN 9223372036854775807
			ELSE latchkey_usage.count + excluded.count END,
		credits = CASE WHEN latchkey_usage.credits > 9223372036854775807 - excluded.credits THEN 9223372036854775807
			ELSE latchkey_usage.credits + excluded.credits END`)
})

var usageColumns = map[string]string{
	"token": "token_id", "client": "client_id", "meter": "meter", "endpoint": "endpoint", "day": "day",
}

// Usage implements latchkey.Store.
func (s *Store) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) (out []latchkey.UsageRow, err error) {
	var columns []string
	for _, by := range q.By {
		column, ok := usageColumns[by]
		if !ok || slices.Contains(columns, column) {
			return nil, mapError(ctx, "sum usage", contractError(latchkey.ErrInvalid, "cannot group usage by %q", by))
		}
		columns = append(columns, column)
	}
	var f filter
	if len(q.TokenIDs) > 0 {
		f.and("token_id IN ?", anySlice(q.TokenIDs, asAny)...)
	}
	if len(q.Meters) > 0 {
		f.and("meter IN ?", anySlice(q.Meters, asAny)...)
	}
	if len(q.ExceptMeters) > 0 {
		f.and("meter NOT IN ?", anySlice(q.ExceptMeters, asAny)...)
	}
	if q.ClientID != "" {
		f.and("client_id = ?", q.ClientID)
	}
	from, to := q.Bounds()
	if from != "" {
		f.and("day >= ?", from)
	}
	if to != "" {
		f.and("day <= ?", to)
	}
	var text strings.Builder
	// The upper and lower halves are summed separately, so that no engine's sum overflows. The joined sum stops at the end
	// of its range, as in AddUsage.
	text.WriteString(`SELECT COALESCE(SUM(count >> 32), 0), COALESCE(SUM(count & 4294967295), 0),
		COALESCE(SUM(credits >> 32), 0), COALESCE(SUM(credits & 4294967295), 0)`)
	for _, column := range columns {
		text.WriteString(", " + column)
	}
	text.WriteString(" FROM latchkey_usage WHERE owner = ?" + f.text.String())
	if len(columns) > 0 {
		list := strings.Join(columns, ", ")
		text.WriteString(" GROUP BY " + list + " ORDER BY " + list)
	}
	args := append([]any{owner}, f.args...)
	err = s.read(ctx, "sum usage", func() error {
		out = nil
		return s.eachUnprepared(ctx, text.String(), args, func(rows *sql.Rows) error {
			row := latchkey.UsageRow{Owner: owner}
			var count, credits [2]int64
			dest := []any{&count[0], &count[1], &credits[0], &credits[1]}
			for _, column := range columns {
				dest = append(dest, map[string]*string{"token_id": &row.TokenID, "client_id": &row.ClientID, "meter": &row.Meter,
					"endpoint": &row.Endpoint, "day": &row.Day}[column])
			}
			err := rows.Scan(dest...)
			row.Count, row.Credits = joinHalves(count), latchkey.Credits(joinHalves(credits))
			out = append(out, row)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// joinHalves joins the sums of upper and lower halves.
func joinHalves(halves [2]int64) int64 {
	high := halves[0] + halves[1]>>32
	if high > math.MaxInt32 {
		return math.MaxInt64
	}
	return high<<32 | halves[1]&math.MaxUint32
}
