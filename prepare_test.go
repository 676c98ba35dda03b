package latchkey

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var modelSchema = NewSchema(Fields{"x": {"x", Integer}, "y": {"y", Integer}})

// modelConsistent reports whether the row has the forced values already.
func modelConsistent(row Row, forced map[string]any) bool {
	for k, v := range forced {
		if got, ok := row[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func modelRow(row Row) (i int) {
	if x := row["x"]; x != nil {
		i += int(x.(int64)) + 1
	}
	if y := row["y"]; y != nil {
		i += 4 * (int(y.(int64)) + 1)
	}
	return i
}

func TestPrepareNeverWritesOutsideRows(t *testing.T) {
	created, updated, deleted, denied, disagreed := 0, 0, 0, 0, 0
	eachWorld(t, 800, func(t *testing.T, r *rand.Rand) {
		w := randomWorld(r)
		if r.IntN(2) == 0 { // many grants that force
			w.layers = w.layers[:1]
			for range 4 {
				w.layers[0].rules = append(w.layers[0].rules, modelRule{VerbGrant, []Action{Create, Update}, []Pattern{"*"},
					randomCond(r, 0), randomForced(r, 1)})
			}
		}
		p := w.policy()
		for range 12 {
			on, a := modelResources[r.IntN(len(modelResources))], []Action{Create, Create, Update, Read}[r.IntN(4)]
			gs, want := p.grants(a, on), w.ask(a, on)
			rows := admitted(t, p.rows(a, on))
			caller, old := modelRows[r.IntN(16)], modelRows[r.IntN(16)]

			// Create: what the model's grants would write.
			results, stands := map[int]bool{}, false
			for _, g := range want {
				row := Row{}
				for k, v := range caller {
					row[k] = v
				}
				for k, v := range g.forced {
					row[k] = v
				}
				if g.rows&(1<<modelRow(row)) != 0 {
					results[modelRow(row)] = true
					stands = stands || modelConsistent(caller, g.forced)
				}
			}
			row, err := prepare(gs, a, on, modelSchema, nil, caller)
			switch {
			case err == nil:
				created++
				require.NotZero(t, rows&(1<<modelRow(row)), "%s %s wrote %v outside %v", a, on, row, p.rows(a, on))
				require.True(t, results[modelRow(row)])
				require.True(t, stands && modelRow(row) == modelRow(caller) || !stands && len(results) == 1)
			case len(results) == 0:
				denied++
				require.Nil(t, row)
				require.ErrorIs(t, err, ErrDenied)
				var d *DeniedError
				require.ErrorAs(t, err, &d)
				require.Equal(t, DeniedError{a, on, len(gs) > 0}, *d)
			default:
				disagreed++
				require.Nil(t, row)
				require.ErrorIs(t, err, ErrForced)
				require.True(t, !stands && len(results) > 1)
			}

			row, err = prepare(gs, a, on, modelSchema, old, caller)
			if fine := rows&(1<<modelRow(old)) != 0 && rows&(1<<modelRow(caller)) != 0; fine {
				updated++
				require.NoError(t, err)
				require.Equal(t, caller, row, "an update forces nothing")
			} else {
				require.ErrorIs(t, err, ErrDenied)
				require.Nil(t, row)
			}

			row, err = prepare(gs, a, on, modelSchema, old, nil)
			require.Nil(t, row)
			if rows&(1<<modelRow(old)) != 0 {
				deleted++
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrDenied)
			}
		}
	})
	for name, n := range map[string]int{"created": created, "updated": updated, "deleted": deleted, "denied": denied,
		"disagreed": disagreed} {
		require.Greater(t, n, 5, name)
	}
}

func TestPrepare(t *testing.T) {
	orders := NewSchema(Fields{"region": {"o.region", Text}, "area": {"o.region", Text}, "amount": {"o.amount", Integer},
		"by": {"o.by", Text}})
	grants := func(p ...Rule) []grant { return newPolicy([]layer{{rules: p}}, nil).grants(Create, "orders") }
	force := func(k string, v any) map[string]any { return map[string]any{k: v} }
	plain := grants(Allow(Create).On("orders"))
	eu := grants(Allow(Create).On("orders").Where(inEU))
	forcedEU := grants(Allow(Create).On("orders").Where(inEU).Force(force("region", "EU")))
	either := grants(Grant(Create).On("orders").Where(inEU).Force(force("region", "EU")),
		Grant(Create).On("orders").Where(Where("region", Eq, "US")).Force(force("region", "US")))

	for name, c := range map[string]struct {
		gs            []grant
		before, after Row
		want          Row
		err           error
	}{
		"every row":                 {gs: plain, after: Row{"amount": "3"}, want: Row{"amount": int64(3)}},
		"outside":                   {gs: eu, after: Row{"region": "US"}, err: ErrDenied},
		"unknown is outside":        {gs: eu, after: Row{"amount": 3}, err: ErrDenied},
		"forced in":                 {gs: forcedEU, after: Row{"amount": 3}, want: Row{"amount": int64(3), "region": "EU"}},
		"forced over":               {gs: forcedEU, after: Row{"region": "US"}, want: Row{"region": "EU"}},
		"forced over another name":  {gs: forcedEU, after: Row{"area": "US"}, want: Row{"area": "EU"}},
		"two ways, the row decides": {gs: either, after: Row{"region": "US"}, want: Row{"region": "US"}},
		"two ways, nothing decides": {gs: either, after: Row{"amount": 3}, err: ErrForced},
		"no way":                    {gs: nil, after: Row{}, err: ErrDenied},
		"neither before nor after":  {gs: plain, err: ErrInvalid},
		"unknown field":             {gs: plain, after: Row{"color": 1}, err: ErrBadCondition},
		"unfit value":               {gs: plain, after: Row{"amount": "many"}, err: ErrBadCondition},
		"two names, two values":     {gs: plain, after: Row{"region": "EU", "area": "US"}, err: ErrBadCondition},
		"update forces nothing":     {gs: forcedEU, before: Row{"region": "EU"}, after: Row{"region": "US"}, err: ErrDenied},
		"update within": {gs: either, before: Row{"region": "EU"}, after: Row{"region": "US"},
			want: Row{"region": "US"}},
		"update what is not ours":   {gs: eu, before: Row{"region": "US"}, after: Row{"region": "EU"}, err: ErrDenied},
		"update with unknown field": {gs: plain, before: Row{"color": 1}, after: Row{}, err: ErrBadCondition},
		"delete":                    {gs: eu, before: Row{"region": "EU"}},
		"delete what is not ours":   {gs: eu, before: Row{"region": "US"}, err: ErrDenied},
		"a condition of other fields": {gs: grants(Grant(Create).On("orders"), Grant(Create).On("orders").
			Where(isOpen).Force(force("by", "x"))), after: Row{}, err: ErrBadCondition},
		"forcing other fields": {gs: grants(Grant(Create).On("orders"), Grant(Create).On("orders").
			Force(force("color", "red"))), after: Row{}, err: ErrBadCondition},
	} {
		row, err := prepare(c.gs, Create, "orders", orders, c.before, c.after)
		if c.err != nil {
			require.ErrorIs(t, err, c.err, name)
			require.Nil(t, row, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, row, name)
	}
	_, err := prepare(plain, Create, "orders", nil, nil, Row{})
	require.ErrorIs(t, err, ErrInvalid)

	in := Row{"amount": "3"}
	_, err = prepare(forcedEU, Create, "orders", orders, nil, in)
	require.NoError(t, err)
	require.Equal(t, Row{"amount": "3"}, in, "the caller's row stays as it was")
}

func BenchmarkPrepare(b *testing.B) {
	s := NewSchema(Fields{"region": {"region", Text}, "amount": {"amount", Integer}})
	gs := newPolicy([]layer{{rules: Permissions{
		Allow(Create).On("orders").Where(inEU).Force(map[string]any{"region": "EU"}),
	}}}, nil).grants(Create, "orders")
	row := Row{"amount": 3}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := prepare(gs, Create, "orders", s, nil, row); err != nil {
			b.Fatal(err)
		}
	}
}
