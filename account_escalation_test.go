package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	lk "github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// TestNoEscalationByAnySequence runs random sequences of calls by actors of many kinds. The host acts between them and
// within them. After each commit the test checks these laws with the evaluator:
//
//	answers    the library answers what the algebra says: never more, and the same where nothing exceeds a limit
//	gain       what may do more after an actor's commit than right before it gained nothing that the actor has not
//	made       what the actor made or changed lies within the actor, by what its rules mean
//	held       so do the tokens and roles that hold or inherit a role the actor changed
//	regained   no answer of the library grew by something that the actor does not have
//	asked      the actor had the right to the call itself
//	size       what was just made answers what it means: nothing is saved that is too large to be evaluated
//	sandbox    a test actor changed no live token's answer and touched nothing of one
//	outlives   what the actor made ends, reaches and spends no further, unless Exceed allows it
//	owner      the actor changed no more of the owner's record than it may
//	identity   it gave no client and no attribute that it lacks and may not give, and changed none
//	lent       at each moment at which the actor loses a role, nobody may do by its call what it may not do then
//
// A failure prints the seed of its world and the shortest sequence that was found. SEED=n runs one world, LONG=1 at
// least 200,000 steps. LAWS=gain,regained checks some of the laws only; FIRST=1 stops at the first failure.
func TestNoEscalationByAnySequence(t *testing.T) {
	seeds, steps := uint64(45), 0
	first := uint64(1)
	long := os.Getenv("LONG") != ""
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		first, seeds = n, 1
	} else if n, err := strconv.ParseUint(os.Getenv("WORLDS"), 10, 64); err == nil {
		seeds = n
	} else if testing.Short() {
		seeds = 5
	}
	count := callCounts{}
	found := map[string]finding{}
	world := func(seed uint64) {
		if len(found) > 0 && os.Getenv("FIRST") != "" {
			return
		}
		w := newEscalation(t, seed)
		w.run(all(worldSteps))
		steps += w.steps
		count.join(w.count)
		if w.violation != nil {
			f := found[w.violation.law]
			if f.n++; f.n == 1 {
				f.seed, f.steps, f.text = seed, w.steps, w.violation.text
			}
			found[w.violation.law] = f
		}
	}
	for seed := first; seed < first+seeds || long && steps < 200_000 && len(found) == 0; seed++ {
		world(seed)
	}
	if os.Getenv("SEED") == "" && os.Getenv("SEEDS") != "fixed" { // as the run of mutants sets it
		fresh := rand.Uint64()
		t.Logf("fresh seed %d", fresh)
		world(fresh)
	}
	t.Logf("%d steps: %v", steps, count)
	for _, law := range slices.Sorted(maps.Keys(found)) {
		f := found[law]
		t.Errorf("%s broken in %d worlds, first in that of seed %d at step %d: %s\n%s", law, f.n, f.seed, f.steps, f.text,
			strings.Join(shortest(t, f.seed, law), "\n"))
	}
	if len(found) == 0 && seeds >= 15 && !testing.Short() { // in few worlds some calls succeed by chance alone
		count.suffice(t, int(seeds)/10)
	}
}

type finding struct {
	n, steps int
	seed     uint64
	text     string
}

const worldSteps = 60

func all(n int) (steps []int) {
	for i := range n {
		steps = append(steps, i)
	}
	return steps
}

// shortest removes steps for as long as the law stays broken, and returns the log of what is left.
func shortest(t *testing.T, seed uint64, law string) []string {
	play := func(steps []int) *escalation {
		w := newEscalation(t, seed)
		w.run(steps)
		if w.violation == nil || w.violation.law != law {
			return nil
		}
		return w
	}
	best := play(all(worldSteps))
	if best == nil {
		return []string{"(it does not come again: something in the test is not decided by the seed)"}
	}
	steps := all(best.steps)
	for n := max(1, len(steps)/2); n > 0; n /= 2 {
		for i := 0; i+n <= len(steps); {
			fewer := slices.Delete(slices.Clone(steps), i, i+n)
			if w := play(fewer); w != nil {
				steps, best = fewer[:min(len(fewer), w.steps)], w
			} else {
				i += n
			}
		}
	}
	return append(best.log, "→ "+best.violation.law+": "+best.violation.text)
}

// callCounts counts calls by kind: how many were tried, and how many succeeded.
type callCounts map[string]*[2]int

func (c callCounts) add(kind string, ok bool) {
	if c[kind] == nil {
		c[kind] = &[2]int{}
	}
	c[kind][0]++
	if ok {
		c[kind][1]++
	}
}

func (c callCounts) join(o callCounts) {
	for k, n := range o {
		if c[k] == nil {
			c[k] = &[2]int{}
		}
		c[k][0] += n[0]
		c[k][1] += n[1]
	}
}

func (c callCounts) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%s %d of %d, ", k, c[k][1], c[k][0])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// suffice is the positive control: calls of each kind succeed this often, and one call in five in all.
func (c callCounts) suffice(t *testing.T, least int) {
	tried, done := 0, 0
	for _, kind := range []string{"issue", "import", "import digest", "update token", "rotate", "end secret", "reveal",
		"signing secret", "revoke", "revoke all", "disable all", "delete token", "create role", "update role",
		"delete role", "mint", "twin", "twin asked", "narrow", "configure", "meanwhile", "lent"} {
		if assert.NotNil(t, c[kind], kind) {
			assert.GreaterOrEqual(t, c[kind][1], least, "%s succeeded too seldom", kind)
			tried, done = tried+c[kind][0], done+c[kind][1]
		}
	}
	assert.GreaterOrEqual(t, 100*done, 20*tried, "too few calls succeed: %v", c)
}

// escalation is a world of one owner, with actors.
type escalation struct {
	t      *testing.T
	ctx    context.Context
	rand   *rand.Rand
	passed atomic.Int64 // µs
	store  *watched
	keys   *lk.Manager // through which all calls go
	acme   lk.Account
	e      *universe
	ask    []question
	exact  bool // nothing in this world exceeds a limit

	forcesRefs bool // some rule in this world forces a reference

	texts   map[string]string // of tokens
	twins   map[string]string // by the id of a minted token: the text of a stateless one of the same parent and Narrowing
	nearby  *lk.Manager       // is asked about twins, and keeps what it has read
	people  []person
	made    []string // ids of tokens, in the order they were made
	roles   []string // ids of roles, the same
	heavy   []string // those that were given more than fits
	focus   string   // the role that the host is about to change between an actor's check and its write
	targets []string // tokens that can do much, or could if their rights were not too large
	n       int      // of names

	meant, answers map[string]rights // by mark
	presented      map[string]bool   // by mark and text
	watcher        *lk.Manager

	actor     *acting // the actor now; nil: the host
	steps     int
	log       []string
	count     callCounts
	violation *violation
	laws      string
}

type violation struct{ law, text string }

// person is a caller that the host authenticated itself.
type person = lk.Caller

// acting is one call by an actor.
type acting struct {
	kind    string // of the call
	name    string
	token   string // "": a person
	person  person
	narrow  *lk.Narrowing
	commits int
	raced   bool // the host came between its check and its write
}

var (
	addresses = []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.9.0.1"),
		netip.MustParseAddr("192.0.2.7")}
	hosts     = []string{"", "a.example", "b.example"}
	someRates = []lk.Rate{{}, {Count: 600, Per: time.Minute, Burst: 599}, {Count: 1200, Per: time.Minute, Burst: 1199}}
)

// places is every address with every host.
var places = func() (all []place) {
	for _, at := range addresses {
		for _, h := range hosts {
			all = append(all, place{at, h})
		}
	}
	return all
}()

// knowsExceed reports whether the library has the right: Any does not include it.
var knowsExceed = !lk.Permissions{lk.Allow(lk.Any).On("latchkey/token/*")}.Allows(exceed, "latchkey/token/t")

// lockedRand is the same bytes for the same seed; background work takes some, too.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

var firstMoment = time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)

func newEscalation(t *testing.T, seed uint64) *escalation {
	w := &escalation{t: t, ctx: context.Background(), exact: true,
		texts: map[string]string{}, twins: map[string]string{}, meant: map[string]rights{}, answers: map[string]rights{},
		presented: map[string]bool{}, count: callCounts{},
		rand: rand.New(rand.NewPCG(seed, 0)), laws: os.Getenv("LAWS")}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	random := &lockedRand{r: rand.NewChaCha8(key)}
	ringKey, err := lk.GenerateKey(random, 1)
	require.NoError(t, err)
	ring, err := lk.NewKeyring(ringKey)
	require.NoError(t, err)
	w.store = &watched{Store: memstore.New(&memstore.Options{Clock: w.now}), w: w}
	w.keys = lk.New(w.store, &lk.Options{Clock: w.now, Rand: random, Keyring: ring, Imported: importedText})
	w.acme = w.keys.For("acme")
	w.newWatcher(ring)
	w.setUp(seed)
	return w
}

func importedText(s string) bool { return strings.HasPrefix(s, "imported-") }

// newWatcher is a Manager without a cache, which knows no rate.
func (w *escalation) newWatcher(ring *lk.Keyring) {
	w.watcher = lk.New(w.store.Store, &lk.Options{Clock: w.now, Keyring: ring, Imported: importedText, CacheTokens: -1})
	w.nearby = lk.New(w.store.Store, &lk.Options{Clock: w.now, Keyring: ring, Imported: importedText})
}

func (w *escalation) now() time.Time {
	return firstMoment.Add(time.Duration(w.passed.Load()) * time.Microsecond)
}

// watched looks at the store right before and right after each commit of an actor.
type watched struct {
	lk.Store
	w      *escalation
	before func() // runs between what the actor checked and what it writes
	quiet  bool
}

func (s *watched) Write(ctx context.Context, wr lk.Write) error {
	if s.quiet || s.w.actor == nil {
		return s.Store.Write(ctx, wr)
	}
	s.quiet = true
	defer func() { s.quiet = false }()
	if f := s.before; f != nil {
		s.before = nil
		actor := s.w.actor
		actor.raced = true
		s.w.actor = nil
		f()
		s.w.actor = actor
	}
	old, texts := s.w.look(), maps.Clone(s.w.texts)
	for _, x := range wr.Secrets {
		if x.Retire != ([32]byte{}) {
			delete(s.w.texts, x.TokenID) // the new one is not out yet
		}
	}
	err := s.Store.Write(ctx, wr)
	if err != nil {
		s.w.texts = texts // the old one is still the newest
	} else {
		s.w.actor.commits++
		s.w.judge(old, s.w.look(), &wr)
	}
	return err
}

// AddUsage forgets last uses: no token of these worlds idles out within one.
func (s *watched) AddUsage(context.Context, lk.UsageBatch) error { return nil }

func (w *escalation) fail(law, format string, args ...any) {
	if w.violation == nil && (w.laws == "" || slices.Contains(strings.Split(w.laws, ","), law)) {
		w.violation = &violation{law, fmt.Sprintf(format, args...)}
	}
}

// look reads the store, and compares the library's answers about everything that is different from before.
func (w *escalation) look() *records {
	r, err := readRecords(w.ctx, w.store.Store, "acme", w.now())
	require.NoError(w.t, err)
	e := evaluator{w.e, r}
	for _, id := range r.ids {
		if _, ok := w.e.symbols[id]; !ok && r.tokens[id].Parent == "" {
			w.e.symbols[id] = fmt.Sprint("fresh", len(w.e.symbols)%2)
		}
	}
	for _, id := range r.named {
		w.askRole(e, id)
	}
	for _, id := range r.ids {
		w.askToken(e, id)
	}
	return r
}

// mark names everything that the answer of a subject depends on.
func (w *escalation) mark(r *records, strata []stratum, tokens ...lk.Token) string {
	var b strings.Builder
	for _, x := range r.owner.Boundary {
		fmt.Fprint(&b, x, ";")
	}
	fmt.Fprint(&b, r.owner.Boundary == nil)
	for _, t := range tokens {
		fmt.Fprint(&b, " ", t.ID, ":", t.Version)
	}
	seen := map[string]bool{}
	for _, x := range strata {
		fmt.Fprint(&b, " ", len(x.roles)) // which of them have not ended
		if x.has != nil {
			fmt.Fprint(&b, " ", *x.has)
		}
		for todo := slices.Clone(x.roles); len(todo) > 0; todo = todo[1:] {
			if id := todo[0]; !seen[id] {
				seen[id] = true
				fmt.Fprint(&b, " ", id, ":", r.roles[id].Version)
				todo = append(todo, r.roles[id].Inherits...)
			}
		}
	}
	return b.String()
}

// means is what a subject may do by the algebra. What is the same has the same mark.
func (w *escalation) means(r *records, s subject, mark string) rights {
	if known, ok := w.meant[mark]; ok {
		return known
	}
	known := evaluator{w.e, r}.rights(s, w.ask)
	w.meant[mark] = known
	return known
}

func (w *escalation) tokenMark(r *records, id string) string {
	chain, _ := r.chain(id)
	s := r.token(id)
	return w.mark(r, s.strata, chain...) + " of " + id
}

func (w *escalation) roleMark(r *records, id string) string {
	return w.mark(r, []stratum{{roles: []string{id}}}) + " of " + id
}

// tokenMeans and roleMeans are what rules mean, when nothing is damaged. They leave the owner's boundary out: it
// holds for the actor alike.
func (w *escalation) tokenMeans(r *records, id string) rights {
	return w.means(r.repaired(), r.repaired().token(id).unbounded(), w.tokenMark(r, id)+" unbounded")
}

func (w *escalation) roleMeans(r *records, id string) rights {
	return w.means(r.repaired(), r.repaired().role(id).unbounded(), w.roleMark(r, id)+" unbounded")
}

// tokenAnswers is what the library lets a token do now: nothing if it is not alive.
func (w *escalation) tokenAnswers(r *records, id string) rights {
	if !r.alive(id, w.now()) {
		return make(rights, len(w.ask))
	}
	return w.answers[w.tokenMark(r, id)]
}

func (w *escalation) roleAnswers(r *records, id string) rights { return w.answers[w.roleMark(r, id)] }

// compare is the law of answers.
func (w *escalation) compare(got, want rights, who string) {
	switch {
	case !got.more(want).none():
		w.fail("answers", "%s: the library gives more than the algebra: %s", who, w.e.show(got.more(want), w.ask))
	case w.exact && !want.more(got).none():
		w.fail("answers", "%s: the library gives less than the algebra: %s", who, w.e.show(want.more(got), w.ask))
	}
}

// askRole takes the library's answers about a role, unless it has them.
func (w *escalation) askRole(e evaluator, id string) {
	mark := w.roleMark(e.records, id)
	if _, ok := w.answers[mark]; ok {
		return
	}
	ask := make([]lk.Question, len(w.ask))
	for i, q := range w.ask {
		ask[i] = lk.Question{Action: q.action, Resource: q.resource}
	}
	loose := false
	out := make(rights, len(w.ask))
	got, err := w.watcher.For("acme").ExplainRole(w.ctx, id, ask...)
	who := asker{anybody: true, owner: "acme"}
	if err == nil {
		for i, x := range got {
			var gs givens
			for _, g := range x.Grants {
				f, _ := e.forced(g.Forced, who)
				gs.add(given{e.judge(g.Rows, who, nil).yes, false, f})
				loose = loose || slices.Contains(f.field[:], anyText)
			}
			out[i] = e.right(gs, w.ask[i].action)
			if rows := e.judge(x.Rows, who, nil).yes; !rows.without(out[i].rows).empty() {
				out[i].rows = out[i].rows.or(rows)
			}
		}
	} else if !errors.Is(err, lk.ErrInvalid) && !errors.Is(err, lk.ErrUnavailable) {
		w.t.Fatalf("ExplainRole: %v", err)
	}
	w.answers[mark] = out
	exact := w.exact
	w.exact = exact && !loose && !w.forcesRefs // two references agree for some callers, and the library cannot know
	w.compare(out, w.means(e.records, e.role(id), mark), "role "+e.records.roles[id].Name)
	w.exact = exact
}

// askToken presents a token and takes the library's answers, unless nothing has changed since the last time.
func (w *escalation) askToken(e evaluator, id string) {
	mark := w.tokenMark(e.records, id)
	t := e.tokens[id]
	text, known := w.texts[id]
	if !known {
		if _, asked := w.answers[mark]; !asked { // just made: it is presented when its text is out
			w.answers[mark] = w.explained(e, id)
			w.compare(w.answers[mark], w.means(e.records, e.token(id), mark), "the token just made")
		}
		return
	}
	mark2 := mark + text
	asked := w.presented[mark2]
	alive := e.alive(id, w.now())
	if asked && alive {
		return
	}
	p := lk.Presented{Secret: text, Test: t.Test}
	to := e.reachOf(id, addresses, hosts)
	w.presented[mark2] = true
	if !alive {
		for _, p := range places {
			if !to.places[p] {
				continue
			}
			_, err := w.watcher.Verify(w.ctx, lk.Presented{Secret: text, Test: t.Test, Address: p.address,
				Referer: refererOf(p.referer), Signature: w.signature(t)})
			if err == nil {
				w.fail("answers", "%s is not alive, and let in", w.called(id))
			}
			if twin := w.twin(t); twin != "" {
				for _, keys := range []*lk.Manager{w.watcher, w.nearby} {
					if _, err := keys.Verify(w.ctx, lk.Presented{Secret: twin, Test: t.Test, Address: p.address,
						Referer: refererOf(p.referer)}); err == nil {
						w.fail("answers", "the stateless twin of %s is let in, which is not alive", w.called(id))
					}
				}
			}
			break
		}
		return
	}
	var access lk.Access
	got, from := false, p
	for _, at := range places {
		ok := to.places[at]
		p.Address, p.Referer = at.address, refererOf(at.referer)
		if p.Signature = nil; to.signed {
			if _, err := w.watcher.Verify(w.ctx, p); err == nil {
				w.fail("answers", "%s is let in unsigned", w.called(id))
			}
			if p.Signature = w.signature(t); p.Signature == nil {
				continue
			}
		}
		a, err := w.watcher.Verify(w.ctx, p)
		if errors.Is(err, lk.ErrRateLimited) || to.signed && errors.Is(err, lk.ErrSignature) {
			continue // a rotation has ended the secret that signs
		}
		if (err == nil) != ok {
			w.fail("answers", "%s from %v by way of %q: let in: %v (%v), want %v", w.called(id), at.address, at.referer,
				err == nil, err, ok)
		}
		if err == nil {
			access, got, from = a, true, p
		}
		if got && to.unrestricted() {
			break
		}
	}
	s := e.token(id)
	if got {
		w.answers[mark] = w.answer(access, s, e)
		if twin := w.twin(t); twin != "" {
			w.compareTwin(twin, access, from, s, e, w.answers[mark])
		}
	} else {
		w.answers[mark] = w.explained(e, id)
	}
	w.compare(w.answers[mark], w.means(e.records, s, mark), w.called(id))
}

// twin returns the text of the stateless twin of a minted token that is as it was minted, or "".
func (w *escalation) twin(t lk.Token) string {
	if t.Version != 1 {
		return "" // its own record has changed, which the other one does not have
	}
	return w.twins[t.ID]
}

// mintTwin mints a stateless token for the same Narrowing as a stored one, if there can be one. So what the laws say of
// the one holds for the other: what it may do is compared with it from then on.
func (w *escalation) mintTwin(access lk.Access, t lk.Token, n lk.Narrowing) {
	n.Stateless = true
	twin, text, err := access.Mint(w.ctx, n)
	if w.count.add("twin", err == nil); err != nil {
		return
	}
	w.twins[t.ID] = text.Reveal()
	if twin.Client != t.Client || twin.Parent != t.Parent || !twin.Validity.NotAfter.Equal(t.Validity.NotAfter) {
		w.fail("answers", "the stateless twin of %s has another client, parent or end", w.called(t.ID))
	}
}

// compareTwin compares what a twin may do with what the stored token may do, which was let in where p says. One Manager
// reads everything each time. The other has it in its cache the second time.
func (w *escalation) compareTwin(text string, stored lk.Access, p lk.Presented, s subject, e evaluator, want rights) {
	p.Secret, p.Signature = text, nil
	for i, keys := range []*lk.Manager{w.watcher, w.nearby, w.nearby, w.nearby} {
		a, err := keys.Verify(w.ctx, p)
		if errors.Is(err, lk.ErrRateLimited) {
			continue
		}
		if w.count.add("twin asked", err == nil); err != nil {
			w.fail("answers", "the stateless twin of %s is refused (%d): %v", w.called(stored.TokenID()), i, err)
			return
		}
		if got := w.answer(a, s, e); !got.more(want).none() || !want.more(got).none() {
			w.fail("answers", "the stateless twin of %s may do something else (%d): %s, or not: %s",
				w.called(stored.TokenID()), i, e.show(got.more(want), w.ask), e.show(want.more(got), w.ask))
		}
	}
}

// unrestricted reports that a token may be used from anywhere.
func (r reach) unrestricted() bool {
	for _, ok := range r.places {
		if !ok {
			return false
		}
	}
	return true
}

// signature is one that is good for a token with a signing secret.
func (w *escalation) signature(t lk.Token) *lk.Signature {
	if !t.Restrictions.Signed {
		return nil
	}
	return &lk.Signature{Key: w.texts[t.ID], Date: w.now(), OK: func([]byte) bool { return true }}
}

// answer is what an Access allows, row by row.
func (w *escalation) answer(a lk.Access, s subject, e evaluator) rights {
	out := make(rights, len(w.ask))
	rows := w.e.rowsFor(s.who.self)
	for i, q := range w.ask {
		c, err := a.Filter(q.action, q.resource)
		whole := a.Allows(q.action, q.resource)
		if whole != c.IsAllRows() {
			w.fail("answers", "Filter and Allows differ about %s on %s", q.action, q.resource)
		}
		if err != nil {
			continue
		}
		out[i].rows = w.matching(c, rows)
		if q.action != lk.Create {
			continue
		}
		if strings.HasPrefix(string(q.resource), "latchkey/") { // no rows of those are prepared
			out[i].writes = w.means1(e, s, q).writes.and(out[i].rows)
			continue
		}
		gs := e.ask(s, q.action, q.resource)
		forcing := slices.ContainsFunc(gs.list, func(g given) bool { return g.forced != forced{} })
		if !forcing {
			out[i].writes = out[i].rows
		}
		for n, row := range rows {
			if !forcing && n%16 != i {
				continue // what forces nothing writes what it is given
			}
			to, err := a.Prepare(q.action, q.resource, w.e.schema, nil, row)
			want := w.e.prepare(gs, n)
			if err == nil {
				at, z := w.find(to, rows)
				if at >= 0 && z == 0 {
					out[i].writes.add(at)
				}
				if w.exact && (want.denied || want.differ || want.row != at || want.z != z) {
					w.fail("answers", "Prepare of %v gives %v", row, to)
				}
			} else if w.exact && !want.denied && !want.differ {
				w.fail("answers", "Prepare of %v: %v", row, err)
			}
		}
	}
	return out
}

func (w *escalation) means1(e evaluator, s subject, q question) right {
	return e.right(e.ask(s, q.action, q.resource), q.action)
}

// find is the place of a row in the universe, and its z plus 1.
func (w *escalation) find(row lk.Row, rows []lk.Row) (at int, z int32) {
	row = maps.Clone(row)
	if v, ok := row["z"]; ok {
		z = int32(v.(int64)) + 1
		delete(row, "z")
	}
	return slices.IndexFunc(rows, func(r lk.Row) bool { return maps.Equal(r, row) }), z
}

func (w *escalation) matching(c lk.Condition, rows []lk.Row) (set rowSet) {
	if c.IsAllRows() {
		return w.e.all
	}
	p, err := w.e.schema.Bind(c)
	if err != nil {
		return set
	}
	for i, row := range rows {
		if p.Match(row) {
			set.add(i)
		}
	}
	return set
}

// explained is what the library says about a token without its text.
func (w *escalation) explained(e evaluator, id string) rights {
	ask := make([]lk.Question, len(w.ask))
	for i, q := range w.ask {
		ask[i] = lk.Question{Action: q.action, Resource: q.resource}
	}
	out := make(rights, len(w.ask))
	got, err := w.watcher.For("acme").Explain(w.ctx, id, ask...)
	if err != nil {
		return out
	}
	s := e.token(id)
	rows := w.e.rowsFor(s.who.self)
	for i, x := range got {
		out[i].rows = w.matching(x.Rows, rows)
		out[i].writes = w.means1(e, s, w.ask[i]).writes.and(out[i].rows)
	}
	return out
}

// called is how the log calls a token or a role.
func (w *escalation) called(id string) string {
	if i := slices.Index(w.made, id); i >= 0 {
		return fmt.Sprintf("token %d", i)
	}
	if i := slices.Index(w.roles, id); i >= 0 {
		return fmt.Sprintf("role %d", i)
	}
	return "the one just made"
}

// subject is what the actor may do, as the records say.
func (w *escalation) subject(r *records, a *acting) subject {
	var s subject
	if a.token != "" {
		s = r.token(a.token)
	} else {
		s = r.assumed(a.person)
	}
	if a.narrow != nil {
		s = r.narrow(s, *a.narrow)
	}
	return s
}

// judge checks every law on one commit of the actor.
func (w *escalation) judge(old, new *records, wr *lk.Write) {
	a := w.actor
	e := evaluator{w.e, old}
	s := w.subject(old, a)
	if a.narrow != nil { // what it makes outlives the narrowing: it has no client and no attribute by that
		whole := *a
		whole.narrow = nil
		of := w.subject(old, &whole).who
		s.who.client, s.who.attributes = of.client, of.attributes
	}
	// A mint may be for a client, and set what ChildAttributes name: it is within what its parent would be with them.
	as := func(s subject) subject {
		if a.kind == "mint" {
			s.who.client, s.who.attributes = wr.Tokens[0].Client.ID, wr.Tokens[0].Attributes
		}
		return s
	}
	mine, bounded := e.rights(as(s.unbounded()), w.ask), e.rights(as(s), w.ask)
	if a.kind == "mint" { // what is damaged above is damaged below
		mine = evaluator{w.e, old.repaired()}.rights(as(w.subject(old.repaired(), a).unbounded()), w.ask)
	}
	from := anyPlace(addresses, hosts)
	if a.token != "" {
		from = old.reachOf(a.token, addresses, hosts)
	}
	if a.narrow != nil {
		from.confine(a.narrow.Restrictions.Addresses)
	}

	touched := map[string]bool{} // tokens
	for _, t := range wr.Tokens {
		touched[t.ID] = true
	}
	for _, x := range wr.Secrets {
		touched[x.TokenID] = true
	}
	for _, x := range wr.DeleteTokens {
		touched[x.ID] = true
	}
	if a.kind == "reveal" || a.kind == "signing secret" {
		for _, x := range wr.RequireTokens {
			if strings.Contains(eventObjects(wr), x.ID) {
				touched[x.ID] = true
			}
		}
	}
	changed := map[string]bool{} // roles
	for _, r := range wr.Roles {
		changed[r.ID] = true
	}
	for _, x := range wr.DeleteRoles {
		changed[x.ID] = true
	}

	w.judgeAsked(e, s, a, touched, changed)
	for _, id := range new.ids {
		if new.ended(id) {
			continue
		}
		now, was := w.tokenMeans(new, id), make(rights, len(w.ask))
		if _, ok := old.tokens[id]; ok && !old.ended(id) {
			was = w.tokenMeans(old, id)
		}
		if g := now.more(was).more(mine); !g.none() {
			w.fail("gain", "%s got more than the actor has: %s", w.called(id), w.e.show(g, w.ask))
		}
		gave := make(rights, len(w.ask))
		if _, ok := old.tokens[id]; ok {
			gave = w.tokenAnswers(old, id)
		}
		if g := w.tokenAnswers(new, id).more(gave).more(bounded); !g.none() {
			w.fail("regained", "%s now does what the actor cannot: %s", w.called(id), w.e.show(g, w.ask))
		}
		if touched[id] && !now.more(mine).none() && !onlySwitchedOff(old.tokens[id], new.tokens[id]) {
			w.fail("made", "%s may do more than the actor: %s", w.called(id), w.e.show(now.more(mine), w.ask))
		}
	}
	for id := range touched {
		if _, ok := old.tokens[id]; !ok || old.ended(id) {
			continue
		}
		if a.raced && new.ended(id) {
			continue // to end it needs no unchanged roles: it has none afterwards
		}
		more := w.tokenMeans(old, id).more(mine)
		// To end a token, or to switch it off, passes no right on: a secret key may end one that has Exceed.
		if new.ended(id) || onlySwitchedOff(old.tokens[id], new.tokens[id]) {
			for i := range more {
				if w.ask[i].action == exceed || w.ask[i].action == lk.Give {
					more[i] = right{}
				}
			}
		}
		if !more.none() {
			w.fail("made", "%s could do more than the actor before: %s", w.called(id), w.e.show(more, w.ask))
		}
	}
	for _, id := range new.named {
		now, was, gave := w.roleMeans(new, id), make(rights, len(w.ask)), make(rights, len(w.ask))
		if _, ok := old.roles[id]; ok {
			was, gave = w.roleMeans(old, id), w.roleAnswers(old, id)
		}
		if g := now.more(was).more(mine); !g.none() {
			w.fail("gain", "%s got more than the actor has: %s", w.called(id), w.e.show(g, w.ask))
		}
		if g := w.roleAnswers(new, id).more(gave).more(bounded); !g.none() {
			w.fail("regained", "%s now gives what the actor does not have: %s", w.called(id), w.e.show(g, w.ask))
		}
		if changed[id] && !now.more(mine).none() {
			w.fail("made", "%s gives more than the actor has: %s", w.called(id), w.e.show(now.more(mine), w.ask))
		}
	}
	w.judgeHeld(new, changed, mine)
	w.judgeSize(old, new)
	if a.token != "" && old.tokens[a.token].Test {
		w.judgeSandbox(old, new, touched, changed)
	}
	w.judgeReach(e, s, old, new, touched, from)
	w.judgeOwner(old, new)
	w.judgeIdentity(e, s, old, new)
	w.judgeLent(old, new, touched)
}

// onlySwitchedOff reports whether all that happened to a token is that it was disabled.
func onlySwitchedOff(was, now lk.Token) bool {
	was.Version, was.Disabled = now.Version, true
	return now.Disabled && reflect.DeepEqual(was, now)
}

// judgeLent is the law of roles that end.
func (w *escalation) judgeLent(old, new *records, touched map[string]bool) {
	a := w.actor
	if a.kind == "mint" {
		return // what is minted lies within its parent at every moment
	}
	moments := map[int64]bool{}
	chain, _ := old.chain(a.token)
	for _, t := range chain {
		for _, end := range t.RoleEnds {
			moments[end.UnixMicro()] = true
		}
	}
	if a.narrow != nil {
		for _, end := range a.narrow.RoleEnds {
			moments[end.UnixMicro()] = true
		}
	}
	gets := slices.Contains([]string{"issue", "import", "import digest", "rotate", "reveal", "signing secret"}, a.kind)
	for m := range moments {
		if m <= old.now {
			continue
		}
		w.count.add("lent", true)
		was, now := old.at(m).repaired(), new.at(m).repaired()
		mine := evaluator{w.e, old.at(m)}.rights(w.subject(old.at(m), a).unbounded(), w.ask)
		for _, id := range new.ids {
			if new.ended(id) || now.past(id) {
				continue
			}
			has := w.means(now, now.token(id).unbounded(), w.tokenMark(now, id)+" unbounded")
			had := make(rights, len(w.ask))
			of, existed := old.tokens[id]
			revived := of.Disabled && !new.tokens[id].Disabled ||
				new.tokens[id].Validity.NotBefore.Before(of.Validity.NotBefore)
			if existed && !old.ended(id) && !was.past(id) && !(touched[id] && (gets || revived)) {
				had = w.means(was, was.token(id).unbounded(), w.tokenMark(was, id)+" unbounded")
			}
			if g := has.more(had).more(mine); !g.none() {
				w.fail("lent", "%s may do at %s what the actor may not then: %s", w.called(id),
					time.UnixMicro(m).UTC().Format("15:04"), w.e.show(g, w.ask))
			}
		}
	}
}

// judgeIdentity is the law of clients and attributes.
func (w *escalation) judgeIdentity(e evaluator, s subject, old, new *records) {
	var child []string // of the actor
	if w.actor.token != "" {
		child = old.tokens[w.actor.token].ChildAttributes
	}
	for _, id := range new.ids {
		t := new.tokens[id]
		if was, ok := old.tokens[id]; ok {
			if t.Client.ID != was.Client.ID || !maps.EqualFunc(t.Attributes, was.Attributes, sameAttribute) ||
				!slices.Equal(t.ChildAttributes, was.ChildAttributes) {
				w.fail("identity", "%s is somebody else now", w.called(id))
			}
			continue
		}
		give := func(kind, name string) bool { return e.allows(s, lk.Give, lk.Path("latchkey", kind, name)) }
		minted := w.actor.kind == "mint"
		if c := t.Client.ID; c != s.who.client && (minted && s.who.client != "" || !minted && c != "" && !give("client", c)) {
			w.fail("identity", "%s got client %q of an actor with %q", w.called(id), c, s.who.client)
		}
		for name, v := range t.Attributes {
			own, has := s.who.attributes[name]
			if has && sameAttribute(own, v) || !minted && give("attribute", name) ||
				minted && !has && slices.Contains(child, name) {
				continue
			}
			w.fail("identity", "%s got %s = %v of an actor with %v", w.called(id), name, v, s.who.attributes)
		}
		for name := range s.who.attributes {
			if _, has := t.Attributes[name]; minted && !has {
				w.fail("identity", "%s lost its parent's %s", w.called(id), name)
			}
		}
		for _, name := range t.ChildAttributes {
			if !minted && !give("attribute", name) || minted && !slices.Contains(child, name) {
				w.fail("identity", "%s may set %s, and the actor may not let it", w.called(id), name)
			}
		}
	}
}

func sameAttribute(a, b any) bool { return reflect.DeepEqual(a, b) }

func eventObjects(wr *lk.Write) string {
	var b strings.Builder
	for _, e := range wr.Events {
		b.WriteString(e.Object)
		b.WriteByte(' ')
	}
	return b.String()
}

// judgeAsked is the law of rights to the call itself.
func (w *escalation) judgeAsked(e evaluator, s subject, a *acting, touched, changed map[string]bool) {
	may := func(action lk.Action, on ...string) {
		if resource := lk.Path(append([]string{"latchkey"}, on...)...); !e.allows(s, action, resource) {
			w.fail("asked", "the actor has no %s on %s", action, resource)
		}
	}
	action := map[string]lk.Action{"issue": lk.Create, "import": lk.Create, "import digest": lk.Create,
		"update token": lk.Update, "disable all": lk.Update,
		"rotate": lk.Rotate, "end secret": lk.Rotate, "reveal": lk.Reveal, "signing secret": lk.Reveal,
		"revoke": lk.Delete, "revoke all": lk.Delete, "delete token": lk.Delete,
		"create role": lk.Create, "update role": lk.Update, "delete role": lk.Delete}[a.kind]
	if action != "" {
		for id := range touched {
			may(action, "token", id)
		}
		for id := range changed {
			may(action, "role", id)
		}
	}
	if a.kind == "configure" {
		may(lk.Update, "owner")
	}
	if len(touched) > 0 && a.token != "" && e.tokens[a.token].Kind == lk.KindAccess &&
		(action == lk.Create || action == lk.Rotate || action == lk.Reveal) {
		w.fail("asked", "a minted token made a secret that outlives it")
	}
}

// judgeHeld is the law of holders and heirs.
func (w *escalation) judgeHeld(r *records, changed map[string]bool, mine rights) {
	for id := range changed {
		held := r.heirs(id)
		for heir := range held {
			if g := w.roleMeans(r, heir).more(mine); !g.none() {
				w.fail("held", "%s inherits a role that was changed, and gives more than the actor has: %s", w.called(heir),
					w.e.show(g, w.ask))
			}
		}
		held[id] = true
		for _, t := range r.ids {
			// What was minted lies within its parents, and gains nothing but what they and the role have.
			holds := slices.ContainsFunc(r.tokens[t].Roles, func(x string) bool { return held[x] })
			if holds && r.tokens[t].Parent == "" && !r.ended(t) {
				if g := w.tokenMeans(r, t).more(mine); !g.none() {
					w.fail("held", "%s holds a role that was changed, and may do more than the actor: %s", w.called(t),
						w.e.show(g, w.ask))
				}
			}
		}
	}
}

// judgeSize is the law of size. The owner's boundary, which is the host's, does not count when records are saved.
func (w *escalation) judgeSize(old, new *records) {
	if new.owner.Boundary != nil {
		return
	}
	for _, id := range new.ids {
		if _, ok := old.tokens[id]; !ok && new.alive(id, w.now()) {
			means := w.means(new, new.token(id), w.tokenMark(new, id))
			if less := means.more(w.tokenAnswers(new, id)); !less.none() {
				w.fail("size", "a token was saved that cannot be evaluated: %s", w.e.show(less, w.ask))
			}
		}
	}
	for _, id := range new.named {
		if _, ok := old.roles[id]; !ok {
			means := w.means(new, new.role(id), w.roleMark(new, id))
			if less := means.more(w.roleAnswers(new, id)); !less.none() {
				w.fail("size", "a role was saved that cannot be evaluated: %s", w.e.show(less, w.ask))
			}
		}
	}
}

// judgeSandbox is the law of test actors.
func (w *escalation) judgeSandbox(old, new *records, touched, changed map[string]bool) {
	for _, r := range []*records{old, new} {
		for id := range changed {
			held := r.heirs(id)
			held[id] = true
			for _, t := range r.ids {
				if !r.tokens[t].Test && !r.ended(t) &&
					slices.ContainsFunc(r.tokens[t].Roles, func(x string) bool { return held[x] }) {
					w.fail("sandbox", "a test token changed %s, which the live %s has", w.called(id), w.called(t))
				}
			}
		}
		for id := range touched {
			if t, ok := r.tokens[id]; ok && !t.Test {
				w.fail("sandbox", "a test token touched the live %s", w.called(id))
			}
		}
	}
	for _, id := range old.ids {
		if old.tokens[id].Test || old.ended(id) {
			continue
		}
		was, now := w.tokenAnswers(old, id), w.tokenAnswers(new, id)
		if !was.more(now).none() || !now.more(was).none() {
			w.fail("sandbox", "a test token changed what the live %s answers", w.called(id))
		}
	}
	if o := old.owner; o.Disabled != new.owner.Disabled || !o.NotBefore.Equal(new.owner.NotBefore) ||
		string(o.Extra) != string(new.owner.Extra) {
		w.fail("sandbox", "a test token changed the owner's record")
	}
}

// judgeReach is the law of what an actor makes: it does not outlive, outspend or outrange the actor's token. A token
// that was wider before may stay so when its settings are changed, unless it could not be used.
func (w *escalation) judgeReach(e evaluator, s subject, old, new *records, touched map[string]bool, from reach) {
	a := w.actor
	for id := range touched {
		to, was, before := new.reachOf(id, addresses, hosts), nowhere, reach{}
		t, existed := old.tokens[id]
		if existed {
			before = old.reachOf(id, addresses, hosts)
		}
		if new.tokens[id].Kind == lk.KindPublishable {
			to.mints = nil
		}
		switch a.kind {
		case "mint":
			to.mints = nil // MintFrom is not inherited
			if why := to.farther(from, was); why != "" {
				w.fail("outlives", "%s, minted: it %s than the actor", w.called(id), why)
			}
			continue
		case "update token":
			chain, _ := old.chain(a.token)
			if slices.ContainsFunc(chain, func(t lk.Token) bool { return t.ID == id }) {
				if why := to.farther(before, was); why != "" {
					w.fail("outlives", "the actor loosened itself: %s %s", w.called(id), why)
				}
			}
			if now := new.tokens[id]; (now.Disabled || !t.Disabled) && !now.Validity.NotBefore.Before(t.Validity.NotBefore) {
				was = before
			}
		case "issue", "import", "import digest", "rotate", "reveal", "signing secret":
		default:
			continue
		}
		if knowsExceed && e.allows(s, exceed, lk.Path("latchkey", "token", id)) {
			continue
		}
		chain, _ := new.chain(id)
		if id != a.token && slices.ContainsFunc(chain, func(t lk.Token) bool { return t.ID == a.token }) {
			to.mints = nil // the actor minted it, and could mint another one
		}
		if why := to.farther(from, was); why != "" {
			w.fail("outlives", "%s: %s: it %s than the actor", a.kind, w.called(id), why)
		}
		if why := to.dearer(from); why != "" {
			w.fail("outlives", "%s: %s: it %s than the actor", a.kind, w.called(id), why)
		}
		bound := slices.ContainsFunc(chain, func(t lk.Token) bool { return t.ID == a.token })
		if !bound && a.kind != "update token" && (from.idle || from.limited()) {
			w.fail("outlives", "%s of %s by a token with limits, or one that ends when it is not used", a.kind, w.called(id))
		}
		if existed && from.limited() && to.dearer(before) != "" {
			w.fail("outlives", "a token with limits raised those of %s: it %s", w.called(id), to.dearer(before))
		}
	}
}

// judgeOwner is the law of the owner's record.
func (w *escalation) judgeOwner(old, new *records) {
	if fmt.Sprint(old.owner.Boundary) != fmt.Sprint(new.owner.Boundary) || !old.owner.Limits.Equal(new.owner.Limits) ||
		new.owner.NotBefore.Before(old.owner.NotBefore) {
		w.fail("owner", "the actor changed what is the host's")
	}
}
