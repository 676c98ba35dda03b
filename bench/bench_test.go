package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/bench/internal/plot"
)

// quick are flags under which a run takes seconds: it shows that all sides work and agree, and nothing about speed.
var quick = []string{"-each", "10us", "-rounds", "2", "-tokens", "1000", "-only", "."}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), quick, &out, io.Discard))
	text := out.String()
	for _, want := range []string{
		"| Verify, cached, 1,000 tokens |", "golang-jwt HS256, ", "golang-jwt EdDSA |", "go-paseto v4.local |", "macaroon.v2",
		"fosite HMAC", "scs memstore", "map by SHA-256", "casbin Enforce", "casbin CachedEnforcer",
		"cedar-go", "OPA, prepared",
		"cel-go", "expr", "goqu", "SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "SHA-256 of 48 bytes",
		"one dependent cache miss", "| processor |", "verify.svg", "check.svg",
	} {
		require.Contains(t, text, want)
	}
	for _, s := range subjects {
		require.Contains(t, text, sentence(s.what), "a section for each subject")
	}
}

func TestRunOfGrowth(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), append([]string{"-growth"}, quick...), &out, io.Discard))
	for _, want := range []string{"# Growth", "| memstore, by tokens | 1,000 |", "| SQLite, by tokens |", "| delete |",
		"| control: two Go maps, half of it removed |", "| control: a bare table, each copied |",
		"| control: a Go map, one looked up |",
		"| purge the half that has ended |", "| SQLite, by grants | 1 | 10 | 100 | 1,000 |", "| Allows |"} {
		require.Contains(t, out.String(), want)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"an argument":      {"verify"},
		"no round":         {"-rounds", "0"},
		"no time":          {"-each", "0s"},
		"too few tokens":   {"-tokens", "10"},
		"no pattern":       {"-only", "("},
		"an unknown one":   {"-only", "nothing"},
		"an unknown flag":  {"-fast"},
		"a cancelled wait": append([]string{"-only", "match"}, quick[:6]...),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if name == "a cancelled wait" {
			cancel()
		}
		require.Error(t, run(ctx, args, io.Discard, io.Discard), name)
		cancel()
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &out, io.Discard))
	require.Len(t, strings.Split(strings.TrimSpace(out.String()), "\n"), len(subjects))
}

// A peer that answers differently fails the run before anything is timed.
func TestPeersThatAnswerDifferentlyAreRefused(t *testing.T) {
	ctx := t.Context()
	keys := newTexts(200, 1)
	issued := map[string]bool{}
	for i := range keys.len() {
		issued[keys.at(i)] = true
	}
	right := func(text string) (string, error) {
		if !issued[text] {
			return "", errUnknown
		}
		return owner, nil
	}
	require.NoError(t, verifier{name: "right", verify: right}.agree(keys))
	for name, v := range map[string]verifier{
		"accepts everything":    {verify: func(string) (string, error) { return owner, nil }},
		"refuses everything":    {verify: func(string) (string, error) { return "", errUnknown }},
		"names another owner":   {verify: func(text string) (string, error) { _, err := right(text); return "globex", err }},
		"lets the ended in":     {verify: right, ended: keys.at(0)},
		"knows none of its own": {verify: right, texts: []string{"another text"}},
	} {
		require.Error(t, v.agree(keys), name)
	}

	on := []string{"dataset/a", "dataset/b"}
	require.NoError(t, mapDecider(on).agree(on))
	for name, allows := range map[string]func(action, resource string) (bool, error){
		"denies":           func(string, string) (bool, error) { return false, nil },
		"any action":       func(_, r string) (bool, error) { return r == on[0] || r == on[1], nil },
		"any resource":     func(a, _ string) (bool, error) { return a == "read", nil },
		"fails":            func(string, string) (bool, error) { return true, errors.New("failed") },
		"the first of all": func(a, r string) (bool, error) { return a == "read" && r == on[0], nil },
	} {
		require.Error(t, decider{name: name, allows: allows}.agree(on), name)
	}

	list, err := matchers()
	require.NoError(t, err)
	_, err = agreeOnRows(list, orderRows())
	require.NoError(t, err)
	_, err = agreeOnRows(append(list, matcher{"wrong", func(r latchkey.Row) (bool, error) {
		return r["region"] == "EU", nil
	}}), orderRows())
	require.ErrorContains(t, err, "wrong")
	_, err = agreeOnRows(list, orderRows()[:2])
	require.ErrorContains(t, err, "do not try")

	statements, err := writers(&bench{ctx: ctx})
	require.NoError(t, err)
	require.NoError(t, agreeOnStatements(statements[1:]))
	require.ErrorContains(t, agreeOnStatements(append(statements[1:], writer{"wrong", func() (string, []any, error) {
		return "SELECT id FROM orders WHERE region = ?", []any{"EU"}, nil
	}})), "wrong")

	i := 0
	for name, m := range map[string]maker{
		"the same text": {make: func() (string, error) { return keys.at(0), nil }, verify: func(string) error { return nil }},
		"no token": {make: func() (string, error) { i++; return keys.at(i), nil },
			verify: func(string) error { return errUnknown }},
		"forgeries are tokens": {make: func() (string, error) { i++; return keys.at(i), nil },
			verify: func(string) error { return nil }},
	} {
		require.Error(t, m.agree(), name)
	}

	open := guarded{name: "open", handler: behindMux(http.HandlerFunc(serve)), reader: keys.at(0), other: keys.at(1)}
	require.ErrorContains(t, open.agree(), "open answers 200")
	require.Error(t, counter{"loses one", func() {}, func() (int64, error) { return 10_000, nil }}.agree())
}

func TestTextsAreTokensInForm(t *testing.T) {
	require.True(t, latchkey.CheckText(newTextsOf(mintedPrefix, 1, 1).at(0)))
	list := newTexts(500, 1)
	require.Equal(t, 500, list.len())
	seen := map[string]bool{}
	for i := range list.len() {
		require.True(t, latchkey.CheckText(list.at(i)), list.at(i))
		require.False(t, latchkey.CheckText(altered(list.at(i))))
		seen[list.at(i)] = true
	}
	require.Len(t, seen, 500)
	again := inOrder(list, shuffled(500))
	require.Equal(t, 500, again.len())
	require.NotEqual(t, list.at(0)+list.at(1), again.at(0)+again.at(1))
	for i := range again.len() {
		require.True(t, seen[again.at(i)])
		delete(seen, again.at(i))
	}
}

// Each text of a vouching store is a token of its own, with the rights of the pattern as they are now.
func TestVouching(t *testing.T) {
	ctx, list := t.Context(), newTexts(2, 1)
	keys, store, err := vouch(ctx, atOnce, plainKey(ctx), func(f *latchkey.Found, number uint64) {
		f.Token.Client = latchkey.Client{ID: time.Duration(number).String()}
	})
	require.NoError(t, err)
	a, err := keys.Verify(ctx, latchkey.Presented{Secret: list.at(0)})
	require.NoError(t, err)
	other, err := keys.Verify(ctx, latchkey.Presented{Secret: list.at(1)})
	require.NoError(t, err)
	require.NotEqual(t, a.TokenID(), other.TokenID())
	require.NotEqual(t, a.Client(), other.Client())
	require.True(t, a.Allows(latchkey.Read, "dataset/orders"))
	require.False(t, a.Allows(latchkey.Read, "news/today"))
	roles, err := keys.For(owner).RolesPage(ctx, latchkey.RoleQuery{})
	require.NoError(t, err)
	_, err = keys.For(owner).UpdateRole(ctx, roles.Items[0].ID, func(r *latchkey.Role) error {
		r.Permissions = nil
		return nil
	})
	require.NoError(t, err)
	a, err = keys.Verify(ctx, latchkey.Presented{Secret: list.at(0)})
	require.NoError(t, err)
	require.False(t, a.Allows(latchkey.Read, "dataset/orders"))
	require.NoError(t, keys.For(owner).Delete(ctx, store.pattern))
	_, err = store.ByDigest(ctx, 0, [32]byte{1})
	require.ErrorIs(t, err, latchkey.ErrNotFound)
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1,234",
		1_234_567: "1,234,567", -1234: "-1,234", 35_000: "35,000", 4: "4"} {
		require.Equal(t, want, number(v))
	}
	for ns, want := range map[float64]string{45: "45 ns", 1234: "1,234 ns", 45_000: "45 µs", 2e6: "2 ms",
		3.5e9: "3.50 s"} {
		require.Equal(t, want, nanos(ns))
	}
	require.Equal(t, "1 grant", plural(1, "grant"))
	require.Equal(t, "10,000 grants", plural(10_000, "grant"))
}

// measured is a run in which everything was measured, and each time is as given.
func measured(ours, peer float64) *bench {
	b := &bench{ctx: context.Background(), began: time.Now(), subject: "verify"}
	r := func(name string, ns float64) measure.Result {
		return measure.Result{Name: name, NS: measure.Series{ns, ns, ns}}
	}
	for _, l := range [][2]string{
		{"Verify, cached, 1,000 tokens", "golang-jwt HS256"}, {"Verify, cached, 1,000,000 tokens", "golang-jwt HS256"},
		{"Allows, hot, 10,000 grants", "casbin CachedEnforcer"}, {"Allows, hot, 10,000 grants", "casbin Enforce"},
		{"Match, 3 terms", "cel-go"}, {"Filter + Bind + SQL, as a statement", "goqu"}, {"Mint, memstore", "golang-jwt HS256"},
		{"Require with a wildcard, over the bare mux", "golang-jwt HS256 middleware"},
	} {
		b.faster(l[0], r("latchkey", ours), r(l[1], peer), atLeast(10))
	}
	b.within("Verify, cached, 1,000,000 tokens", r("latchkey", ours), limitName,
		measure.Series{peer, peer, peer}, atMost(1.8))
	b.time("Allows, hot, 1 grant", measure.Series{ours}, atMost(45))
	b.amount("Cache memory a token", 134, "B", atMost(140))
	b.sections = []section{{name: "verify", title: "verify", tables: []table{
		{"some tokens", []measure.Result{r("latchkey", ours)}}}}}
	b.plots = []picture{{"verify.svg", plot.Plot{Title: "Verify"}}}
	return b
}

func TestReport(t *testing.T) {
	text := measured(50, 600).report().text
	for _, want := range []string{
		"| Mint, memstore | 50 ns | golang-jwt HS256, 600 ns | 12 (12 to 12) | ≥ 10 | yes |",
		"| Verify, cached, 1,000,000 tokens | 50 ns | SHA-256 and one miss, 600 ns | 0.08 (0.08 to 0.08) | ≤ 1.80 | yes |",
		"| Allows, hot, 1 grant | 50 ns (50 ns to 50 ns) |  |  | ≤ 45 ns | no |",
		"| Cache memory a token | 134 B |  |  | ≤ 140 B | yes |",
		"| latchkey | 50 ns | 50 ns to 50 ns | 0 | 0 | 0 ns |",
		"![Verify](verify.svg)",
	} {
		require.Contains(t, text, want)
	}
	require.Contains(t, measured(100, 600).report().text, "| ≥ 10 | no |")
	b := measured(50, 600)
	b.amount("Verify: allocations", 0, "", atMost(0))
	b.amount("Verify: allocations", 1, "", atMost(0))
	b.amount("Verify: bytes", 1, "B", goal{})
	text = b.report().text
	require.Contains(t, text, "| Verify: allocations | 0 |  |  | ≤ 0 | yes |")
	require.Contains(t, text, "| Verify: allocations | 1 |  |  | ≤ 0 | no |")
	require.Contains(t, text, "| Verify: bytes | 1 B |  |  |  |  |")

	dir := t.TempDir()
	require.NoError(t, measured(50, 600).report().write(dir, "RESULTS.md"))
	for file, want := range map[string]string{"RESULTS.md": "# Results", "verify.svg": "<svg"} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.Contains(t, string(data), want)
	}
}

func TestQuote(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "docs"), 0o755))
	for name := range quoted { // the documents of this repository have their block
		data, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	require.NoError(t, measured(50, 600).quote(dir))
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(readme), "- `Mint` takes 50 ns in memory, 12 times as fast as golang-jwt signs; ")
	page, err := os.ReadFile(filepath.Join(dir, "docs/performance.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "| Match, 3 terms | 50 ns | cel-go, 600 ns | 12 |")
	require.NotContains(t, string(page), "| "+limitName, "a limit is no peer")
	require.NoError(t, measured(50, 600).quote(dir), "a block is replaced")

	b := measured(50, 600)
	b.lines = b.lines[1:]
	require.ErrorContains(t, b.quote(dir), "nothing was measured")
	_, err = replaceBlock("no block", "text")
	require.Error(t, err)
	_, err = replaceBlock(blockBegins+"old", "text")
	require.Error(t, err)
}

func TestVerdictOfACurve(t *testing.T) {
	noBare := math.NaN()
	x := []float64{1e3, 1e4, 1e5, 1e6}
	for name, c := range map[string]struct {
		curve
		want string
		bare float64
	}{
		"one look-up":              {curve{x: x, y: []float64{100, 150, 220, 330}}, "steady", 0},
		"a walk for each":          {curve{x: x, y: []float64{1e3, 1e4, 1e5, 1e6}}, "**grows**", 0},
		"a walk of all":            {curve{whole: true, x: x, y: []float64{1e3, 1e4, 1e5, 1e6}}, "linear at most", 0},
		"a walk of all by all":     {curve{whole: true, x: x, y: []float64{1, 100, 1e4, 1e6}}, "**super-linear**", 0},
		"a walk of all for one":    {curve{x: x, y: []float64{1, 100, 1e4, 1e6}}, "**super-linear**", 0},
		"as long as a bare one":    {curve{whole: true, x: x, y: []float64{1, 15, 225, 3375}}, "as the control", 1.1},
		"longer than a bare one":   {curve{whole: true, x: x, y: []float64{1, 20, 400, 8000}}, "**super-linear**", 1.1},
		"no bare one":              {curve{whole: true, x: x, y: []float64{1, 15, 225, 3375}}, "**super-linear**", noBare},
		"linear beside a bare one": {curve{whole: true, x: x, y: []float64{1, 10, 100, 1000}}, "linear at most", 1.2},
		"a look-up as a bare one":  {curve{x: x, y: []float64{100, 250, 600, 1500}}, "as the control", 0.3},
		"slower than a bare one":   {curve{x: x, y: []float64{100, 400, 1600, 6400}}, "**grows**", 0.3},
		"the bare one":             {curve{work: control + "a table", x: x, y: []float64{1, 20, 400, 8000}}, "", noBare},
		"one size":                 {curve{x: x[:1], y: []float64{1}}, "not known", 0},
		"two sizes":                {curve{x: x[:2], y: []float64{1, 100}}, "not known", 0},
	} {
		_, _, verdict := c.verdict(c.bare)
		require.Equal(t, c.want, verdict, name)
	}
}

// Work that grows too fast is left out where it would take minutes, and is told by what was measured.
func TestGrowthLeavesOutWhatTakesTooLong(t *testing.T) {
	b := &bench{ctx: t.Context(), progress: io.Discard, began: time.Now()}
	g := &grower{b: b, store: "memstore", of: "token", curves: []curve{{store: "memstore", work: "purge", of: "token",
		whole: true, x: []float64{1e3, 1e4}, y: []float64{1e7, 1e9}}}}
	done := 0
	do := func() error { done++; return nil }
	require.NoError(t, g.unlessLong("list", 100_000, do))
	require.NoError(t, g.unlessLong("purge", 100_000, do)) // 100 s
	require.Equal(t, 2, done)
	g.curves[0].x, g.curves[0].y = []float64{1e3, 1e4}, []float64{1e7, 2e9} // 400 s
	require.NoError(t, g.unlessLong("purge", 100_000, do))
	require.Equal(t, 2, done)
	g.curves[0].x, g.curves[0].y = append(g.curves[0].x, 1e5), append(g.curves[0].y, 4e11)
	require.Contains(t, curveTable(g.curves), "**super-linear**")
}
