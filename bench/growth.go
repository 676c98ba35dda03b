package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// growthSubjects are what make growth measures.
var growthSubjects = []subject{
	{"growth-memstore", "what grows with the number of tokens, on memstore", func(b *bench) error {
		return b.growTokens("memstore", b.tokens, "two Go maps", newBareMaps, func() (latchkey.Store, func(), error) {
			return memstore.New(nil), func() {}, nil
		})
	}},
	{"growth-sqlite", "what grows with the number of tokens, on SQLite", func(b *bench) error {
		return b.growTokens("SQLite", min(b.tokens, b.rows), "a bare table", newBareTable,
			func() (latchkey.Store, func(), error) { return newSQLite(b.ctx) })
	}},
	{"growth-grants", "what grows with the number of grants, on memstore", func(b *bench) error {
		return b.growGrants("memstore", func() (latchkey.Store, func(), error) { return memstore.New(nil), func() {}, nil })
	}},
	{"growth-grants-sqlite", "what grows with the number of grants, on SQLite", func(b *bench) error {
		return b.growGrants("SQLite", func() (latchkey.Store, func(), error) { return newSQLite(b.ctx) })
	}},
}

// newSQLite opens a store on a new file. The caller calls close in any case.
func newSQLite(ctx context.Context) (s latchkey.Store, close func(), err error) {
	db, closeDB, err := newDatabase()
	if err != nil {
		return nil, closeDB, err
	}
	if err := sqlstore.Migrate(ctx, db, latchkey.SQLite); err != nil {
		return nil, closeDB, err
	}
	store, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	if err != nil {
		return nil, closeDB, err
	}
	return store, func() {
		store.Close()
		closeDB()
	}, nil
}

// newDatabase opens a new file of SQLite with the settings of docs/operations.md. The caller calls close in any case.
func newDatabase() (db *sql.DB, close func(), err error) {
	dir, err := os.MkdirTemp("", "latchkey-growth-")
	if err != nil {
		return nil, func() {}, err
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "growth.db")+
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	return db, func() {
		if db != nil {
			db.Close()
		}
		os.RemoveAll(dir)
	}, err
}

// upTo returns the numbers below n.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// control begins the name of work on a bare table.
const control = "control: "

// curve is what some work costs by how many there are of something.
type curve struct {
	store, work, of string
	// whole says that the work goes through all of them. Its time may grow as they do; that of other work should not.
	whole bool
	// beside is the end of the name of the work on a bare table that does the same. "": there is none.
	beside string
	x, y   []float64 // y: ns
}

// verdict says how the cost grows: by the exponent that fits it, and by that of the work on a bare table. It is NaN if
// there is none.
func (c curve) verdict(bare float64) (slope, spread float64, verdict string) {
	slope, spread = measure.Slope(c.x, c.y)
	switch {
	case strings.HasPrefix(c.work, control):
		return slope, spread, ""
	case math.IsNaN(slope) || len(c.x) < 3:
		return slope, spread, "not known"
	case slope > c.most() && slope <= bare+besideBare:
		return slope, spread, "as the control"
	case slope > superLinear:
		return slope, spread, "**super-linear**"
	case c.whole:
		return slope, spread, "linear at most"
	case slope > steady:
		return slope, spread, "**grows**"
	}
	return slope, spread, "steady"
}

// slopeOver is the exponent of a curve over some of its sizes.
func (c curve) slopeOver(sizes []float64) float64 {
	var x, y []float64
	for i := range c.x {
		if slices.Contains(sizes, c.x[i]) {
			x, y = append(x, c.x[i]), append(y, c.y[i])
		}
	}
	slope, _ := measure.Slope(x, y)
	return slope
}

// most is the exponent that needs no explanation.
func (c curve) most() float64 {
	if c.whole {
		return superLinear
	}
	return steady
}

// growthText is above the tables of GROWTH.md.
var growthText = fmt.Sprintf(`
The exponent e fits the times by size^e, with its standard error. Work on all of them, such as a whole listing, may
have an exponent of 1: it is linear. Work on one of them should have none: up to %.1f it is said to be steady. Above
%.1f it is super-linear. A control is the same work on a table that does nothing but keep as many records. Its exponent
is what the machine adds: the larger a table is, the less of it is in the caches. Work that exceeds these bounds, and
the exponent of its control by at most %.1f, grows as the control. A dash stands for work that would have taken longer
than %s by its growth so far.
`, steady, superLinear, besideBare, longest)

// The exponents from which on a cost is said to grow. One that is steady may grow by some hundredths: the larger a
// table, the more of it is outside of the caches, and a tree is deeper.
const (
	superLinear = 1.1
	steady      = 0.3
	besideBare  = 0.1
)

// curveTable writes curves as a table: a row for each, with the times and the exponent.
func curveTable(curves []curve) string {
	var sizes []float64
	for _, c := range curves {
		for _, x := range c.x {
			if !slices.Contains(sizes, x) {
				sizes = append(sizes, x)
			}
		}
	}
	slices.Sort(sizes)
	var t strings.Builder
	fmt.Fprintf(&t, "| %s, by %ss |", curves[0].store, curves[0].of)
	for _, x := range sizes {
		fmt.Fprintf(&t, " %s |", number(x))
	}
	t.WriteString(" exponent | |\n|---|" + strings.Repeat("--:|", len(sizes)) + "--:|---|\n")
	for _, c := range curves {
		fmt.Fprintf(&t, "| %s |", c.work)
		for _, x := range sizes {
			cell := "–"
			if i := slices.Index(c.x, x); i >= 0 {
				cell = nanos(c.y[i])
			}
			fmt.Fprintf(&t, " %s |", cell)
		}
		bare := math.NaN()
		for _, k := range curves {
			if c.beside != "" && strings.HasPrefix(k.work, control) && strings.HasSuffix(k.work, ", "+c.beside) {
				bare = k.slopeOver(c.x)
			}
		}
		slope, spread, verdict := c.verdict(bare)
		fmt.Fprintf(&t, " %s ± %s | %s |\n", exponent(slope), exponent(spread), verdict)
	}
	return t.String()
}

func exponent(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

// grower collects curves by what they measure, in the order of their first points.
type grower struct {
	b         *bench
	store, of string
	curves    []curve
}

func (g *grower) add(work string, whole bool, x int, ns float64) {
	g.b.say("%s: %s %s: %s", g.store, plural(x, g.of), work, nanos(ns))
	for i := range g.curves {
		if c := &g.curves[i]; c.work == work {
			c.x, c.y = append(c.x, float64(x)), append(c.y, ns)
			return
		}
	}
	g.curves = append(g.curves, curve{store: g.store, work: work, of: g.of, whole: whole, beside: besides[work],
		x: []float64{float64(x)}, y: []float64{ns}})
}

// The work that a bare table does as well.
const (
	writeAll = "write all, a thousand at a time"
	listAll  = "list all"
	purgeAll = "purge the half that has ended"
	// firstVerifies goes through half of them.
	firstVerifies = "first Verify of every second one"
	cachedVerify  = "Verify, cached"
)

// besides are the work on a bare table to compare with.
var besides = map[string]string{writeAll: bareWrite, listAll: bareAll, purgeAll: bareRemove, firstVerifies: bareKeep,
	cachedVerify: bareLookUp}

// longest is the longest that work may take which can be left out.
const longest = 2 * time.Minute

// unlessLong is once for work that nothing else needs. It is left out if by its growth so far it would take too long.
func (g *grower) unlessLong(work string, x int, do func() error) error {
	for _, c := range g.curves {
		if n := len(c.y); c.work == work && n > 1 && c.y[n-1]*c.y[n-1]/c.y[n-2] > float64(longest) {
			g.b.say("%s: %s %s: left out, it would take longer than %s", g.store, plural(x, g.of), work, longest)
			return nil
		}
	}
	return g.once(work, x, do)
}

// once times work that goes through everything.
func (g *grower) once(work string, x int, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", work, err)
	}
	g.add(work, true, x, float64(time.Since(began).Nanoseconds()))
	return g.b.ctx.Err()
}

// thrice is once for work that can be done again, and so fast for few that one time says little.
func (g *grower) thrice(work string, x int, do func() error) error {
	var took measure.Series
	for range 3 {
		began := time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
		took = append(took, float64(time.Since(began).Nanoseconds()))
	}
	g.add(work, true, x, took.Median())
	return g.b.ctx.Err()
}

// each times work on some of them. Whole work goes through all of them each time.
func (g *grower) each(x int, whole bool, s measure.Side) error {
	results, err := measure.Compare([]measure.Side{s},
		measure.Options{Each: g.b.each, Rounds: min(g.b.rounds, 5), TimesOnly: true})
	if err != nil {
		return err
	}
	g.add(s.Name, whole, x, results[0].NS.Median())
	return g.b.ctx.Err()
}

// population is the tokens of one owner in a store. Every second has ended two days ago.
type population struct {
	store latchkey.Store
	keys  *latchkey.Manager
	texts texts
	ids   []string
	now   time.Time
}

// token returns the record of token i and its secret.
func (p *population) token(i int) (latchkey.Token, latchkey.SecretChange) {
	t := latchkey.Token{ID: p.ids[i], Owner: owner, Kind: latchkey.KindAPIKey, Created: p.now, Hint: "ak_00…000"}
	t.Name, t.Permissions = "reporting", latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
	if i%2 == 1 {
		t.Created, t.Validity.NotAfter = p.now.AddDate(0, 0, -3), p.now.AddDate(0, 0, -2)
	}
	return t, latchkey.SecretChange{TokenID: t.ID, Add: &latchkey.SecretRecord{
		Digest: sha256.Sum256([]byte(p.texts.at(i))), Hint: t.Hint, Created: t.Created, Used: p.now}}
}

// write writes some tokens, at most a thousand in a transaction.
func (p *population) write(ctx context.Context, which []int) error {
	for some := range slices.Chunk(which, 1000) {
		w := latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: owner, At: p.now, Silent: true}
		for _, i := range some {
			t, s := p.token(i)
			w.Tokens, w.Secrets = append(w.Tokens, t), append(w.Secrets, s)
		}
		if err := p.store.Write(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// newPopulation returns n tokens that no store has yet.
func newPopulation(n int) *population {
	p := &population{texts: newTexts(n, 6), now: time.Now().UTC()}
	for range n {
		p.ids = append(p.ids, uuid.Must(uuid.NewV7()).String())
	}
	return p
}

// growTokens measures stores with 10³, 10⁴ … tokens of one owner, and bare tables with as many records.
func (b *bench) growTokens(name string, most int, bareName string, openBare func(context.Context) (bare, func(), error),
	open func() (latchkey.Store, func(), error)) error {
	g := &grower{b: b, store: name, of: "token"}
	for n := 1000; n <= most; n *= 10 {
		p := newPopulation(n)
		if err := g.controls(p, bareName, openBare); err != nil {
			return fmt.Errorf("%s, %d records: %w", bareName, n, err)
		}
		debug.FreeOSMemory()
		if err := g.lookUps(p); err != nil {
			return fmt.Errorf("%d look-ups: %w", n, err)
		}
		debug.FreeOSMemory()
		store, stop, err := open()
		if err == nil {
			err = g.tokens(store, p)
		}
		stop()
		if err != nil {
			return fmt.Errorf("%d tokens: %w", n, err)
		}
		debug.FreeOSMemory()
	}
	b.note("%s", curveTable(g.curves))
	return nil
}

func (g *grower) tokens(store latchkey.Store, p *population) error {
	ctx, n := g.b.ctx, len(p.ids)
	opts := withinASecond
	p.store, p.keys = store, latchkey.New(store, &opts)
	defer func() { _ = p.keys.Close(context.Background()) }()
	if err := g.once(writeAll, n, func() error { return p.write(ctx, upTo(n)) }); err != nil {
		return err
	}
	acme := p.keys.For(owner)
	if err := g.unlessLong(listAll, n, func() error {
		seen := 0
		for t, err := range acme.Tokens(ctx, latchkey.TokenQuery{}) {
			if err != nil || t.Owner != owner {
				return fmt.Errorf("a token of %q: %w", t.Owner, err)
			}
			seen++
		}
		if seen != n {
			return fmt.Errorf("%d of %d are listed", seen, n)
		}
		return nil
	}); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(7, 7))
	if err := g.each(n, false, measure.Side{Name: "list a page of 100, anywhere", Run: func(times int) error {
		for range times {
			at := r.IntN(n - 101)
			page, err := acme.TokensPage(ctx, latchkey.TokenQuery{Page: latchkey.Page{After: p.ids[at], Limit: 100}})
			if err != nil || len(page.Items) != 100 || page.Items[0].ID != p.ids[at+1] {
				return fmt.Errorf("a page of %d: %w", len(page.Items), err)
			}
		}
		return nil
	}}); err != nil {
		return err
	}
	uncached := latchkey.New(store, &latchkey.Options{MaxStale: time.Second, CacheTokens: -1})
	defer uncached.Close(context.Background())
	for _, mode := range []struct {
		name string
		keys *latchkey.Manager
	}{{"first Verify", uncached}, {cachedVerify, p.keys}} {
		if mode.keys == p.keys {
			if err := g.once(firstVerifies, n, func() error {
				return p.verify(ctx, mode.keys, shuffled(n/2))
			}); err != nil {
				return err
			}
		}
		which, at := shuffled(n/2), 0
		if err := g.each(n, false, measure.Side{Name: mode.name, Run: func(times int) error {
			for range times {
				if err := p.verify(ctx, mode.keys, which[at:at+1]); err != nil {
					return err
				}
				if at++; at == len(which) {
					at = 0
				}
			}
			return nil
		}}); err != nil {
			return err
		}
	}
	// Another one: the last uses of all those tokens are written in the background, and would be measured too.
	if err := errors.Join(uncached.Close(ctx), p.keys.Close(ctx)); err != nil {
		return err
	}
	p.keys = latchkey.New(store, &opts)
	if err := g.each(n, false, p.deletes(ctx, p.keys.For(owner), r)); err != nil {
		return err
	}
	return g.unlessLong(purgeAll, n, func() error {
		removed, err := p.keys.Purge(ctx)
		if err == nil && removed < n/2 {
			err = fmt.Errorf("%d of %d are removed", removed, n/2)
		}
		return err
	})
}

// verify verifies those of the tokens that have not ended, by their number among these.
func (p *population) verify(ctx context.Context, keys *latchkey.Manager, which []int) error {
	for _, i := range which {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: p.texts.at(2 * i)})
		if err != nil || a.TokenID() != p.ids[2*i] {
			return fmt.Errorf("token %q: %w", a.TokenID(), err)
		}
	}
	return nil
}

// deletes deletes tokens that have not ended, anywhere, and writes them again when the time does not count.
func (p *population) deletes(ctx context.Context, acme latchkey.Account, r *rand.Rand) measure.Side {
	var gone []int
	return measure.Side{Name: "delete", Max: 64, Prepare: func(n int) error {
		if err := p.write(ctx, gone); err != nil {
			return err
		}
		gone = gone[:0]
		for len(gone) < n {
			if i := 2 * r.IntN(len(p.ids)/2); !slices.Contains(gone, i) {
				gone = append(gone, i)
			}
		}
		return nil
	}, Run: func(n int) error {
		for _, i := range gone[:n] {
			if err := acme.Delete(ctx, p.ids[i]); err != nil {
				return err
			}
		}
		return nil
	}}
}

// growGrants measures tokens with a role of 1, 10 … 100,000 grants.
func (b *bench) growGrants(name string, open func() (latchkey.Store, func(), error)) error {
	g := &grower{b: b, store: name, of: "grant"}
	for n := 1; n <= min(100_000, b.tokens); n *= 10 {
		store, stop, err := open()
		if err == nil {
			err = g.grants(store, n)
		}
		stop()
		if err != nil {
			return fmt.Errorf("%d grants: %w", n, err)
		}
	}
	b.note("%s", curveTable(g.curves))
	return nil
}

// deleted is the most tokens that the measurement of deletions deletes.
const deleted = 60

func (g *grower) grants(store latchkey.Store, n int) error {
	ctx := g.b.ctx
	opts := atOnce // an edit is seen by the next Verify
	keys := latchkey.New(store, &opts)
	defer func() { keys.Close(context.Background()) }()
	acme := keys.For(owner)
	rules, on := grants(n)
	var role latchkey.Role
	named := 0
	if err := g.thrice("create a role of them", n, func() (err error) {
		named++
		role, err = acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprint("reader ", named), Permissions: rules})
		return err
	}); err != nil {
		return err
	}
	list, err := issueMany(ctx, acme, deleted+1, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
	if err != nil {
		return err
	}
	var access latchkey.Access
	if err := g.thrice("first Verify of a new set", n, func() error {
		fresh := latchkey.New(store, &opts)
		access, err = fresh.Verify(ctx, latchkey.Presented{Secret: list[0]})
		return errors.Join(err, fresh.Close(ctx))
	}); err != nil {
		return err
	}
	if err := g.each(n, true, firstVerify(ctx, store, list)); err != nil {
		return err
	}
	if err := g.each(n, true, byDigest(ctx, store, list)); err != nil {
		return err
	}
	asked := make([]string, 0, hot)
	for _, i := range shuffled(n)[:min(n, hot)] {
		asked = append(asked, string(on[i]))
	}
	if err := g.each(n, false, allowsBy("Allows", access).side(asked)); err != nil {
		return err
	}
	at := 0
	if err := g.each(n, false, measure.Side{Name: "Verify, cached", Run: func(times int) error {
		for range times {
			if _, err := keys.Verify(ctx, latchkey.Presented{Secret: list[0]}); err != nil {
				return err
			}
		}
		return nil
	}}); err != nil {
		return err
	}
	if err := g.each(n, false, measure.Side{Name: "delete a token that has the role", Max: 4, Run: func(times int) error {
		for range times {
			a, err := keys.Verify(ctx, latchkey.Presented{Secret: list[1+at]})
			if err == nil {
				err = acme.Delete(ctx, a.TokenID())
			}
			if err != nil {
				return err
			}
			at++
		}
		return nil
	}}); err != nil {
		return err
	}
	actions := []latchkey.Action{latchkey.Update, latchkey.Delete, latchkey.Create}
	return g.thrice("edit the role, and the next Verify", n, func() error {
		action := actions[0]
		actions = actions[1:]
		if _, err := acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
			// In the place of one, because a role may not have more than 100,000.
			r.Permissions = append(slices.Clone(rules[1:]), latchkey.Grant(action).On("dataset/d000000"))
			return nil
		}); err != nil {
			return err
		}
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: list[0]})
		if err == nil && !a.Allows(action, "dataset/d000000") {
			err = fmt.Errorf("an edit of the role is not seen")
		}
		return err
	})
}
