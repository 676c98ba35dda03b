package sqlstore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatementForRows(t *testing.T) {
	const list = ` unnest(CAST(? AS text[]), CAST(? AS bigint[])) AS v (c0, c1)`
	for text, want := range map[string]string{
		"UPDATE a SET b = ?\n\tWHERE c = ? AND EXISTS (SELECT 1 FROM d WHERE e = f)": "UPDATE a SET b = v.c0 FROM" + list +
			"\n\tWHERE c = v.c1 AND EXISTS (SELECT 1 FROM d WHERE e = f)",
		`DELETE FROM a WHERE b = ? AND c <> ALL (CAST(? AS BIGINT[]))`: `DELETE FROM a USING` + list +
			` WHERE b = v.c0 AND c <> ALL (CAST(v.c1 AS BIGINT[]))`,
		`SELECT 1 FROM a WHERE b = ? AND c = ?`:    `SELECT 1 FROM a,` + list + ` WHERE b = v.c0 AND c = v.c1`,
		`INSERT INTO a (b, c, d) VALUES (?, 1, ?)`: `INSERT INTO a (b, c, d) SELECT v.c0, 1, v.c1 FROM` + list,
		`INSERT INTO a (b) VALUES (?, ?) ON CONFLICT DO NOTHING`: `INSERT INTO a (b) SELECT v.c0, v.c1 FROM` + list +
			` ON CONFLICT DO NOTHING`,
		`INSERT INTO a SELECT CAST(? AS TEXT), unnest(CAST(? AS TEXT[])) ON CONFLICT DO NOTHING`: `INSERT INTO a SELECT ` +
			`CAST(v.c0 AS TEXT), unnest(CAST(v.c1 AS TEXT[])) FROM` + list + ` ON CONFLICT DO NOTHING`,
	} {
		require.Equal(t, want, statementForRows(text, []string{"text", "bigint"}))
	}
}

// What a statement for several changes touched is that of each of them, or nobody knows whose it is.
func TestChecksOfASharedStatement(t *testing.T) {
	missing := errors.New("missing")
	one := func(n int64) error {
		if n != 1 {
			return missing
		}
		return nil
	}
	none := func(n int64) error {
		if n != 0 {
			return missing
		}
		return nil
	}
	for _, c := range []struct {
		check   func(int64) error
		touched int64
		want    error
	}{
		{one, 3, nil}, {one, 0, missing}, {one, 2, errUneven}, {one, 4, errUneven},
		{none, 0, nil}, {none, 3, missing}, {none, 1, errUneven}, {nil, 2, nil},
	} {
		m := mergedStatement{rows: make([][]any, 3), checks: []func(int64) error{c.check, c.check, c.check}}
		require.Equal(t, c.want, m.check(c.touched), "%d rows", c.touched)
	}
	alone := mergedStatement{rows: make([][]any, 1), checks: []func(int64) error{one}}
	require.NoError(t, alone.check(1))
	require.Equal(t, missing, alone.check(0))
}
