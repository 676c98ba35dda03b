package engines

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/memstore"
)

// Every exported method of Account, and of Access, is called by one owner with what is another's. It answers as about
// what never existed, shows nothing of the other owner, and leaves that one's records as they are. The statements that
// a store runs meanwhile name the caller's owner, and no other. A method that the tables do not have fails the test.
func TestEnginesTenantWall(t *testing.T) {
	run := func(t *testing.T, s *site) {
		wrong := s.tryAll(t, accountCalls(), accessCalls())
		for _, method := range slices.Sorted(maps.Keys(wrong)) {
			t.Errorf("%s:\n\t%s", method, strings.Join(wrong[method], "\n\t"))
		}
	}
	t.Run("memory", func(t *testing.T) { run(t, newSite(t, memstore.New(nil))) })
	engines := 0
	harness.OnSubjects(t, func(t *testing.T, e harness.Subject) {
		dsn := e.Fresh(t)
		plain := e.Store(t, dsn) // which migrates
		db, statements := faulty.Open(t, e.Open(t, dsn), dsn)
		store := harness.OpenStore(t, db, e.Dialect)
		s := newSite(t, store)
		s.store, s.db, s.dialect, s.statements = plain, e.Open(t, dsn), e.Dialect, statements
		parts := harness.Rounds(4, 1)
		s.only = partOf(engines%parts, parts)
		engines++
		run(t, s)
		require.Greater(t, s.judged, harness.Rounds(250, 500), "statements that were looked at")
	})
}

// partOf returns one of some parts of the methods: without LONG=1 each engine tries a quarter, and the four of them try
// all.
func partOf(part, parts int) (only []string) {
	var all []string
	for typ, calls := range map[string]map[string]entry{"Account.": accountCalls(), "Access.": accessCalls()} {
		for method := range calls {
			all = append(all, typ+method)
		}
	}
	slices.Sort(all)
	for i, method := range all {
		if i%parts == part {
			only = append(only, method)
		}
	}
	return only
}

// site is a Manager whose tenants are tried in pairs.
type site struct {
	keys   *latchkey.Manager
	others *latchkey.Manager // of another deployment: what it makes never existed at keys
	store  latchkey.Store    // what is compared, not what keys uses
	only   []string          // the methods that are tried; nil: all
	nobody names             // what others made; the zero names: nothing yet
	leak   *atomic.Bool      // switches on what is wrong with the store of keys; nil: nothing is

	db         *sql.DB // nil: a store in memory
	dialect    latchkey.Dialect
	statements *faulty.Connector
	judged     int // statements
}

func newSite(t *testing.T, store latchkey.Store) *site {
	manager := func(s latchkey.Store, key string) *latchkey.Manager {
		ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat(key, 32))})
		require.NoError(t, err)
		keys := latchkey.New(s, &latchkey.Options{Keyring: ring, Imported: func(string) bool { return true }})
		t.Cleanup(func() { _ = keys.Close(context.Background()) })
		return keys
	}
	return &site{keys: manager(store, "k"), others: manager(memstore.New(nil), "o"), store: store}
}

// tenant is an owner with records that resemble those of others in all that owners may have alike. What only it has
// says who it is, and is a canary.
type tenant struct {
	names
	account latchkey.Account
	who     string // "mine" or "theirs"
	full    string // the text of a secret key
	secrets []string
}

// names is what a call names. Of each pair of tenants there are four: the caller's own, the other's, those that never
// existed, and those that both have.
type names struct {
	owner, canary            string
	token, secret, text      string // an API key, the id of its older secret, and the text of the newest
	public                   string // a publishable token
	minted, stateless, flash string // a token that token minted, the id of a stateless one, and its text
	disabled                 string
	reader, spare            string // ids of roles; no token has the spare one
	client, request, once    string
	record                   latchkey.Token
	access                   latchkey.Access
	anchor                   latchkey.AuditAnchor
}

const (
	bothClient = "42"
	meter      = "calls"
)

func canary(who string) string { return "canary-" + who }

func everything() latchkey.Permissions {
	return latchkey.Permissions{latchkey.Allow(latchkey.Any, latchkey.Give, latchkey.Exceed).On("*", "latchkey/*")}
}

// build makes the records of a tenant. Both is the id of a token that each tenant of a pair has.
func build(t *testing.T, keys *latchkey.Manager, owner, who, both string) *tenant {
	ctx := t.Context()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	a := keys.For(owner)
	own := canary(who)
	c := &tenant{account: a, who: who, names: names{owner: owner, canary: own, client: "client-" + who,
		request: "request-" + who, once: "once-" + who}}
	extra := json.RawMessage(fmt.Sprintf("{%q:1}", own))
	limits := latchkey.Limits{Quotas: []latchkey.Quota{{Amount: 1000, Per: latchkey.Month}},
		Rate: latchkey.Rate{Count: 1e6, Per: time.Second, Burst: 1e6 - 1}}
	ok(a.Configure(ctx, func(o *latchkey.Owner) error {
		o.Extra, o.Limits, o.Boundary = extra, limits, append(everything(), latchkey.Deny(latchkey.Any).On(
			latchkey.Pattern("denied/"+own)))
		return nil
	}))
	role := func(name string, inherits ...string) string {
		r, err := a.CreateRole(ctx, latchkey.Role{Name: name, Inherits: inherits, Extra: extra,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*", latchkey.Pattern("x/"+own))}})
		ok(err)
		return r.ID
	}
	c.spare = role("spare")
	c.reader = role("reader", role("base"))
	issue := func(spec latchkey.Spec) (latchkey.Token, string) {
		spec.Name, spec.Extra, spec.Limits = cmp.Or(spec.Name, "reporting"), extra, limits
		if spec.Kind == latchkey.KindAPIKey {
			spec.Roles, spec.Attributes = []string{c.reader}, latchkey.Attributes{"team": own}
			spec.ChildAttributes = []string{"shift"}
		}
		token, secret, err := a.Issue(ctx, spec)
		ok(err)
		c.secrets = append(c.secrets, secret.Reveal())
		return token, secret.Reveal()
	}
	shared, sharedText := issue(latchkey.Spec{ID: both, Kind: latchkey.KindAPIKey,
		Client: latchkey.Client{ID: bothClient, Name: own}})
	require.Equal(t, both, shared.ID)
	token, first := issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: c.client, Name: "Ada"}})
	c.token = token.ID
	for _, s := range must(a.Secrets(ctx, c.token)) {
		c.secret = s.ID
	}
	next, err := a.Rotate(ctx, c.token, 20*time.Hour)
	ok(err)
	c.text = next.Reveal()
	c.secrets = append(c.secrets, c.text)
	signing, err := a.SigningSecret(ctx, c.token)
	ok(err)
	c.secrets = append(c.secrets, signing.Reveal())
	public, _ := issue(latchkey.Spec{Kind: latchkey.KindPublishable, Name: "shop"})
	c.public = public.ID
	disabled, off := issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "off", Disabled: true})
	c.disabled = disabled.ID
	_, err = keys.Verify(ctx, latchkey.Presented{Secret: off})
	require.ErrorIs(t, err, latchkey.ErrDisabled)
	_, c.full = issue(latchkey.Spec{Kind: latchkey.KindSecret, Name: "full"})
	access := func(text string) latchkey.Access {
		x, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		ok(err)
		return x
	}
	c.access = access(c.text)
	_ = access(first)
	mint := func(x latchkey.Access, n latchkey.Narrowing) (string, string) {
		n.Lifetime, n.Extra = time.Hour, extra
		token, secret, err := x.Mint(ctx, n)
		ok(err)
		c.secrets = append(c.secrets, secret.Reveal())
		return token.ID, secret.Reveal()
	}
	c.minted, _ = mint(c.access, latchkey.Narrowing{Name: "child"})
	c.stateless, c.flash = mint(c.access, latchkey.Narrowing{Stateless: true})
	x := access(sharedText)
	mint(x, latchkey.Narrowing{Name: "child"})
	x.Count(meter, "GET /"+own, 3)
	_, err = x.Spend(ctx, meter, "GET /", 5)
	ok(err)
	_, err = c.access.Spend(ctx, meter, "GET /", 7)
	ok(err)
	ok(a.Once(ctx, "once-both", time.Now().Add(time.Hour)))
	ok(a.Once(ctx, c.once, time.Now().Add(time.Hour)))
	for _, key := range []string{"request-both", c.request} {
		_, secret, err := a.ForRequest(request(key)).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "once"})
		ok(err)
		c.secrets = append(c.secrets, secret.Reveal())
	}
	c.record = must(a.Get(ctx, c.minted))
	c.anchor = must(a.AuditCheckpoint(ctx))
	return c
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func request(key string) latchkey.Request {
	return latchkey.Request{Key: key, Content: []byte("POST /tokens"), Until: time.Now().Add(time.Hour)}
}

// nowhere returns what never existed, in the forms of what theirs has.
func (s *site) nowhere(t *testing.T, theirs *tenant) names {
	if s.nobody.owner == "" {
		s.nobody = build(t, s.others, "canary-nobody", "nobody", newID()).names
		s.nobody.access = latchkey.Access{}
	}
	n := s.nobody
	n.record.Owner = theirs.owner
	// Listings by id begin at these, as at those of theirs: no record of the caller is between.
	n.token, n.minted = newID(), newID()
	n.record.ID, n.record.Parent = n.minted, n.token
	return n
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// replacer returns what stands for what in an answer, so that answers about two names can be compared.
func (n names) replacer() *strings.Replacer {
	var pairs []string
	for what, text := range map[string]string{"owner": n.owner, "token": n.token, "secret": n.secret, "text": n.text,
		"public": n.public, "minted": n.minted, "stateless": n.stateless, "flash": n.flash, "disabled": n.disabled,
		"reader": n.reader, "spare": n.spare, "client": n.client, "request": n.request, "once": n.once} {
		pairs = append(pairs, text, "<"+what+">")
	}
	return strings.NewReplacer(append(pairs, n.canary, "<canary>")...)
}

// marks returns the texts that must be in no answer to another tenant.
func (c *tenant) marks() []string {
	return append([]string{c.owner, c.canary, c.token, c.secret, c.public, c.minted, c.stateless, c.disabled, c.reader,
		c.spare, c.client, c.request, c.once}, c.secrets...)
}

// tryAll tries each method with tenants of its own, and returns what was wrong, by method.
func (s *site) tryAll(t *testing.T, accounts, accesses map[string]entry) map[string][]string {
	wrong := map[string][]string{}
	try := func(kind reflect.Type, methods []string, do func(name string) []string) {
		for i := range kind.NumMethod() {
			name := kind.Method(i).Name
			if !slices.Contains(methods, name) {
				wrong[kind.Name()+"."+name] = []string{"no entry in the table of methods"}
			}
		}
		for _, name := range methods {
			full := kind.Name() + "." + name
			if _, ok := kind.MethodByName(name); !ok {
				wrong[full] = []string{"an entry without a method"}
				continue
			}
			if s.only != nil && !slices.Contains(s.only, full) {
				continue
			}
			if found := do(name); len(found) > 0 {
				wrong[full] = found
			}
		}
	}
	try(reflect.TypeFor[latchkey.Account](), slices.Sorted(maps.Keys(accounts)), func(name string) []string {
		return s.try(t, "Account."+name, accounts[name])
	})
	try(reflect.TypeFor[latchkey.Access](), slices.Sorted(maps.Keys(accesses)), func(name string) []string {
		return s.try(t, "Access."+name, accesses[name])
	})
	return wrong
}

// try makes the calls of one method, and returns what was wrong.
func (s *site) try(t *testing.T, method string, e entry) (wrong []string) {
	ctx := t.Context()
	both := newID()
	mine := build(t, s.keys, "canary-mine-"+method, "mine", both)
	theirs := build(t, s.keys, "canary-theirs-"+method, "theirs", both)
	nobody := s.nowhere(t, theirs)
	if s.leak != nil {
		s.leak.Store(true)
		defer s.leak.Store(false)
	}
	shared := nobody
	shared.token, shared.client, shared.request, shared.once = both, bothClient, "request-both", "once-both"
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	actor := must(mine.account.As(must(s.keys.Verify(ctx, latchkey.Presented{Secret: mine.full})))).Exceeding()
	type variant struct {
		name    string
		account latchkey.Account
		names
	}
	answers := map[string]string{}
	before := s.records(t, theirs)
	for _, v := range []variant{
		{"nobody", mine.account, nobody}, {"theirs", mine.account, theirs.names},
		{"nobody, by an actor", actor, nobody}, {"theirs, by an actor", actor, theirs.names},
		{"what both have", mine.account, shared}, {"mine", mine.account, mine.names},
	} {
		whole := s.dump(t, mine) // what it is before, if it must not change
		var out answer
		x, _ := s.keys.Verify(ctx, latchkey.Presented{Secret: mine.secrets[0]}) // of the zero Access after an Erase
		n := s.count()
		e.call(ctx, caller{v.account, mine, s, x}, v.names, &out)
		for _, bad := range s.judge(n, mine, theirs, e.foreign) {
			report("%s: %s", v.name, bad)
		}
		text := v.names.replacer().Replace(out.String())
		for _, mark := range theirs.marks() {
			if strings.Contains(text, mark) {
				report("%s: the answer shows %q of the other owner:\n%s", v.name, mark, text)
			}
		}
		if after := s.records(t, theirs); e.uncounted(after) != e.uncounted(before) {
			report("%s: the other owner's records have changed:\n%s", v.name, difference(before, after))
		} else if e.counts != "" && v.name == "theirs" && after == before {
			report("nothing is counted of the other owner, although %s", e.counts)
		}
		before = s.records(t, theirs)
		if strings.HasPrefix(v.name, "theirs") && out.failed > 0 && out.failed == out.calls && e.differs == "" {
			if after := s.dump(t, mine); after != whole {
				report("%s: calls that fail changed the caller's records:\n%s", v.name, difference(whole, after))
			}
		}
		if v.name == "mine" {
			if out.failed > e.fails {
				report("control: of the calls about the caller's own records %d fail, not %d:\n%s", out.failed, e.fails, text)
			}
			if e.shows != strings.Contains(text, "<canary>") {
				report("control: that the caller's own records are shown is %v:\n%s", !e.shows, text)
			}
		}
		answers[v.name] = alike(text)
	}
	for _, by := range []string{"", ", by an actor"} {
		if e.differs == "" && answers["theirs"+by] != answers["nobody"+by] {
			report("about what is another owner's%s it says\n%s\nand about what never existed\n%s", by,
				answers["theirs"+by], answers["nobody"+by])
		}
		if e.differs != "" && answers["theirs"] == answers["nobody"] {
			report("the answers do not differ, although %s", e.differs)
		}
	}
	return wrong
}

var (
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+(Z|( \+0000 UTC)?)`)
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	texts   = regexp.MustCompile(`\b[a-z_]+_[0-9A-Za-z]{20,}\b`)
	hints   = regexp.MustCompile(`[a-z_]+_[0-9A-Za-z]{2,}…[0-9A-Za-z]*`)
	counts  = regexp.MustCompile(`"(version|seq|owner_version|epoch|last|first|events|chained)":\d+`)
	ids     = regexp.MustCompile(`"(id|secret_id|hash|prev|signature)":"[^"<]*"`)
	bigints = regexp.MustCompile(`\b\d{9,}\b`)
)

// alike returns an answer without what each call makes anew: ids, times, texts, numbers that count calls.
func alike(text string) string {
	for _, r := range []struct {
		re  *regexp.Regexp
		new string
	}{{times, "<time>"}, {uuids, "<id>"}, {texts, "<text>"}, {hints, "<hint>"}, {counts, `"$1":<n>`},
		{ids, `"$1":"<id>"`}, {bigints, "<n>"}} {
		text = r.re.ReplaceAllString(text, r.new)
	}
	return text
}

// difference returns the lines that only one of two dumps has.
func difference(before, after string) string {
	var out strings.Builder
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintln(&out, "-", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintln(&out, "+", line)
		}
	}
	return out.String()
}

// records returns what is stored of a tenant, with what the Manager has not written yet.
func (s *site) records(t *testing.T, c *tenant) string {
	_, err := c.account.CountTokens(t.Context(), latchkey.TokenQuery{}, 0) // which writes last uses
	require.NoError(t, err)
	_, err = c.account.Usage(t.Context(), latchkey.UsageQuery{})
	require.NoError(t, err)
	return s.dump(t, c)
}

func (s *site) dump(t *testing.T, c *tenant) string {
	var out bytes.Buffer
	if s.db != nil {
		mark := map[latchkey.Dialect]string{latchkey.SQLite: "?", latchkey.Postgres: "$1", latchkey.MySQL: "?"}[s.dialect]
		for _, table := range append(slices.Clone(world.TenantTables), "latchkey_changes") {
			rows, err := s.db.Query("SELECT * FROM "+table+" WHERE owner = "+mark, c.owner)
			require.NoError(t, err)
			columns, err := rows.Columns()
			require.NoError(t, err)
			var lines []string
			for rows.Next() {
				values, dest := make([]any, len(columns)), make([]any, len(columns))
				for i := range values {
					dest[i] = &values[i]
				}
				require.NoError(t, rows.Scan(dest...))
				lines = append(lines, fmt.Sprintf("%s %v\n", table, values))
			}
			require.NoError(t, rows.Err())
			slices.Sort(lines) // the order of rows is the engine's
			out.WriteString(strings.Join(lines, ""))
		}
		return out.String()
	}
	ctx := t.Context()
	show := func(what string, v any, err error) {
		require.NoError(t, err)
		fmt.Fprintf(&out, "%s %s\n", what, must(json.Marshal(v)))
	}
	o, err := s.store.Owner(ctx, c.owner)
	show("owner", o, err)
	tokens, err := s.store.Tokens(ctx, c.owner, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}})
	for _, token := range tokens {
		show("token", []any{token, token.Attributes, token.Extra}, nil)
		secrets, err := s.store.Secrets(ctx, c.owner, token.ID)
		show("secrets", secrets, err)
	}
	show("tokens", len(tokens), err)
	roles, err := s.store.Roles(ctx, c.owner, latchkey.RoleQuery{})
	for _, role := range roles {
		show("role", role, nil)
	}
	show("roles", len(roles), err)
	clients, err := s.store.Clients(ctx, c.owner, latchkey.Page{})
	show("clients", clients, err)
	events, _, err := s.store.Events(ctx, c.owner, latchkey.EventQuery{Page: latchkey.Page{Limit: 1000}})
	for _, event := range events {
		show("event", event, nil)
	}
	show("events", len(events), err)
	usage, err := s.store.Usage(ctx, c.owner, latchkey.UsageQuery{By: []string{"token", "client", "meter", "endpoint",
		"day"}})
	show("usage", usage, err)
	taken, _, err := s.store.Taken(ctx, c.owner, latchkey.TakenQuery{})
	show("taken", taken, err)
	for after := uint64(0); ; {
		feed, err := s.store.Changes(ctx, s.store.Locate(c.owner).Feed, after, 1000)
		require.NoError(t, err)
		for _, change := range feed.Changes {
			if change.Owner == c.owner {
				show("change", change, nil)
			}
			after = change.Epoch
		}
		if after >= feed.Epoch || len(feed.Changes) == 0 {
			break
		}
	}
	return out.String()
}

// uncounted returns a dump without usage, if the method counts some of another owner.
func (e entry) uncounted(dump string) string {
	if e.counts == "" {
		return dump
	}
	lines := slices.DeleteFunc(strings.Split(dump, "\n"), func(line string) bool {
		return strings.HasPrefix(line, "usage ") || strings.HasPrefix(line, "latchkey_usage ")
	})
	return strings.Join(lines, "\n")
}

// count returns how many statements there have been.
func (s *site) count() int {
	if s.statements == nil {
		return 0
	}
	return s.statements.Count()
}

// presented is how a store looks for the text that was presented: by its digest or its lookup part.
var presented = regexp.MustCompile(`FROM latchkey_epoch e\s+` +
	`LEFT JOIN latchkey_secrets s ON s\.(signing = 0 AND s\.digest|lookup) `)

// judge looks at the statements since the first n, and returns what is wrong with them. Foreign says why the method has
// statements that find a record of another owner.
func (s *site) judge(n int, mine, theirs *tenant, foreign string) (wrong []string) {
	if s.statements == nil {
		return nil
	}
	for _, statement := range s.statements.Statements(n) {
		s.judged++
		if countsEvents.MatchString(statement.Text) {
			continue
		}
		owners, others := []string{mine.owner}, []string{theirs.owner}
		if foreign != "" {
			if presented.MatchString(statement.Text) {
				continue
			}
			owners, others = append(owners, others...), nil
		}
		if bad := world.Ownership(statement.Text, statement.Args, owners, others); bad != "" {
			wrong = append(wrong, bad+":\n"+statement.Text)
		}
	}
	return wrong
}

// countsEvents is what VerifyAudit reads the number of the last event with: the listing of all owners, from just before
// the caller's on, of which it takes the first if that is the caller's.
var countsEvents = regexp.MustCompile(`^SELECT e\.owner, e\.seq, c\.seq FROM latchkey_event_seqs e\s`)

// caller is who makes a call: an Account of mine, with what else the test knows.
type caller struct {
	latchkey.Account
	mine   *tenant
	site   *site
	shared latchkey.Access // of the token whose id both owners have
}

// answer is what the calls of an entry returned, as text.
type answer struct {
	strings.Builder
	calls, failed int
}

// add writes down the results of one call. The last is its error.
func (a *answer) add(results ...any) {
	a.calls++
	last := results[len(results)-1]
	err, isErr := last.(error)
	if err != nil {
		a.failed++
	}
	if isErr || last == nil {
		results = results[:len(results)-1]
	}
	for _, r := range results {
		fmt.Fprintf(a, "%s ", shown(r))
	}
	if err != nil {
		fmt.Fprintf(a, "error %T: %v", err, err)
	}
	fmt.Fprintln(a)
}

func shown(v any) string {
	switch v := v.(type) {
	case latchkey.Secret:
		return v.Reveal()
	case map[string]latchkey.Secret:
		var out []string
		for id, s := range v {
			out = append(out, id+"="+s.Reveal())
		}
		return fmt.Sprint(slices.Sorted(slices.Values(out)))
	case latchkey.Access:
		return fmt.Sprint(v, v.Owner(), v.TokenID(), v.Kind(), v.Name(), v.Client(), v.Roles(), v.RoleNames(),
			string(v.Extra()), shown(v.Rights()))
	case latchkey.Rights:
		e, err := v.Explain(latchkey.Read, "dataset/a")
		return fmt.Sprint(v, v.Owner(), v.TokenID(), shown(e), err)
	case latchkey.Account:
		return v.Owner()
	case latchkey.Lineage:
		return fmt.Sprint(string(must(json.Marshal(v))), " ", v.Refused)
	case map[string]error:
		return fmt.Sprint(v)
	case latchkey.Left:
		return fmt.Sprint(v.Credits)
	case latchkey.Condition:
		return v.String()
	case error:
		return v.Error()
	}
	if b, err := json.Marshal(v); err == nil && string(b) != "{}" {
		return string(b)
	}
	return fmt.Sprintf("%+v", v)
}

// all returns what an iterator yields, with its last error.
func all[T any](seq iter.Seq2[T, error]) (out []any, err error) {
	for v, e := range seq {
		if err = e; err != nil {
			break
		}
		out = append(out, v)
	}
	return []any{fmt.Sprint(shownAll(out))}, err
}

func shownAll(list []any) (out []string) {
	for _, v := range list {
		out = append(out, shown(v))
	}
	return out
}
