package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/transfer"
	"github.com/latchkey-go/latchkey/memstore"
)

// side is a store with a Manager.
type side struct {
	*testing.T
	store latchkey.Store
	keys  *latchkey.Manager
	at    *time.Time
}

func ring(t *testing.T, ids ...uint32) *latchkey.Keyring {
	t.Helper()
	var keys []latchkey.Key
	for _, id := range ids {
		keys = append(keys, latchkey.Key{ID: id, Secret: bytes.Repeat([]byte{byte(id)}, 32)})
	}
	r, err := latchkey.NewKeyring(keys[0], keys[1:]...)
	require.NoError(t, err)
	return r
}

func newSide(t *testing.T, r *latchkey.Keyring, at *time.Time) *side {
	clock := func() time.Time { return *at }
	store := memstore.New(&memstore.Options{Clock: clock})
	keys := latchkey.New(store, &latchkey.Options{Clock: clock, Keyring: r})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	return &side{t, store, keys, at}
}

// owners yields names.
func owners(names ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
	}
}

func (s *side) export(r *latchkey.Keyring, names ...string) []byte {
	s.Helper()
	var out bytes.Buffer
	sum, err := transfer.Export(s.Context(), s.store, &out, transfer.ExportOptions{Owners: owners(names...), Keyring: r,
		Now: *s.at})
	require.NoError(s, err)
	require.Empty(s, sum.Changed)
	return out.Bytes()
}

func (s *side) importOptions(r *latchkey.Keyring) transfer.ImportOptions {
	return transfer.ImportOptions{Keyring: r, Now: func() time.Time { return *s.at }}
}

func (s *side) imports(file []byte, r *latchkey.Keyring) (transfer.Summary, error) {
	s.Helper()
	contents, err := transfer.Check(s.Context(), bytes.NewReader(file), r)
	require.NoError(s, err)
	sum, err := transfer.Import(s.Context(), s.store, bytes.NewReader(file), s.importOptions(r))
	if err == nil && sum.Tokens > 0 {
		require.Equal(s, contents.Tokens, sum.Tokens)
	}
	return sum, err
}

// world is an owner with one of everything.
type world struct {
	secrets map[string]string // by what they are
	ids     map[string]string
}

func fill(s *side) world {
	ctx, w := s.Context(), world{map[string]string{}, map[string]string{}}
	acme := s.keys.For("acme")
	ok := func(err error) { s.Helper(); require.NoError(s, err) }
	base, err := acme.CreateRole(ctx, latchkey.Role{Name: "base", Extra: json.RawMessage(`{"b":  1}`),
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*").Where(
			latchkey.Where("region", latchkey.Eq, latchkey.Attr("region")))}})
	ok(err)
	heir, err := acme.CreateRole(ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}, InheritDenies: true,
		Boundary: latchkey.Permissions{}, Origin: "datocms"})
	ok(err)
	issue := func(what string, spec latchkey.Spec) latchkey.Token {
		spec.Name = what
		t, secret, err := acme.Issue(ctx, spec)
		ok(err)
		w.secrets[what], w.ids[what] = secret.Reveal(), t.ID
		return t
	}
	ok(acme.Configure(ctx, func(o *latchkey.Owner) error { o.Extra = json.RawMessage(`1`); return nil }))
	issue("ended by mass revocation", latchkey.Spec{Kind: latchkey.KindSecret})
	ok(acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.NotBefore = *s.at
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*", "latchkey/*")}
		o.Policy.Tokens, o.Extra = 50, json.RawMessage(`"x"`)
		return nil
	}))
	key := issue("key", latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{base.ID, heir.ID},
		Client:     latchkey.Client{ID: "c1", Name: "Ada"},
		Attributes: latchkey.Attributes{"region": "EU", "n": 9007199254740993},
		RoleEnds:   map[string]time.Time{heir.ID: s.at.Add(time.Hour)},
		Limits:     latchkey.Limits{Quotas: []latchkey.Quota{{Amount: 5, Per: latchkey.Day}}, Rate: latchkey.PerSecond(3)},
		Validity:   latchkey.Validity{NotAfter: s.at.Add(48 * time.Hour), Idle: 24 * time.Hour},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			Domains: []string{"example.org"}}})
	issue("page", latchkey.Spec{Kind: latchkey.KindPublishable, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("dataset/a").Force(map[string]any{"by": latchkey.Self})}})
	off := issue("off", latchkey.Spec{Kind: latchkey.KindAPIKey, Disabled: true})
	gone := issue("revoked", latchkey.Spec{Kind: latchkey.KindAPIKey})
	ok(acme.Revoke(ctx, gone.ID, "leaked"))
	root := issue("root", latchkey.Spec{Kind: latchkey.KindSecret})
	_ = off
	access, err := s.keys.Verify(ctx, latchkey.Presented{Secret: w.secrets["root"],
		Address: netip.MustParseAddr("192.0.2.9")})
	ok(err)
	child, secret, err := access.Mint(ctx, latchkey.Narrowing{Name: "child", Lifetime: time.Hour,
		Rows: []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}})
	ok(err)
	w.secrets["child"], w.ids["child"] = secret.Reveal(), child.ID
	w.secrets["old"] = w.secrets["key"]
	fresh, err := acme.Rotate(ctx, key.ID, time.Hour)
	ok(err)
	w.secrets["key"] = fresh.Reveal()
	signing, err := acme.SigningSecret(ctx, root.ID)
	ok(err)
	w.secrets["signing"] = signing.Reveal()
	issue("prepaid", latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{Quotas: []latchkey.Quota{
		{Amount: 100, Per: latchkey.Forever}, {Meter: "calls", Amount: 50, Per: latchkey.Day}}}})
	prepaid, err := s.keys.Verify(ctx, latchkey.Presented{Secret: w.secrets["prepaid"]})
	ok(err)
	_, err = prepaid.Spend(ctx, "calls", "list", 30)
	ok(err)
	_, err = prepaid.Spend(ctx, "mails", "send", 7)
	ok(err)
	access.Count("calls", "list", 3, 2*latchkey.Credit)
	_, err = s.keys.Verify(ctx, latchkey.Presented{Secret: w.secrets["revoked"]})
	require.Error(s, err) // a refusal that is counted
	ok(s.keys.Close(ctx))
	return w
}

var ids = []string{"acme", "globex"}

func TestMoveKeepsKeysWorking(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	old, r := newSide(t, ring(t, 1), &at), ring(t, 2, 1)
	w := fill(old)
	_, other, err := old.keys.For("globex").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret, Name: "other"})
	require.NoError(t, err)
	file := old.export(ring(t, 1), ids...)
	for what, secret := range w.secrets {
		if what != "page" { // it is public
			require.NotContains(t, string(file), secret, what)
		}
	}

	fresh := newSide(t, r, &at)
	sum, err := fresh.imports(file, r)
	require.NoError(t, err)
	require.Equal(t, transfer.Summary{Owners: 2, Roles: 2, Clients: 1, Tokens: 9, Secrets: 11, Events: 15, Usage: 4,
		Credits: 3}, sum)

	from := latchkey.Presented{Address: netip.MustParseAddr("192.0.2.1"), Referer: "https://example.org/"}
	for what, secret := range w.secrets {
		p := from
		p.Secret = secret
		_, want := old.keys.Verify(t.Context(), p)
		a, got := fresh.keys.Verify(t.Context(), p)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), what)
		if want == nil {
			require.Equal(t, what == "old" || what == "key", a.Name() == "key", what)
		}
	}
	prepaid, err := fresh.keys.Verify(t.Context(), latchkey.Presented{Secret: w.secrets["prepaid"]})
	require.NoError(t, err)
	for _, c := range []struct {
		meter  string
		amount latchkey.Credits
		ok     bool
	}{{"calls", 21, false}, {"calls", 20, true}, {"mails", 94, false}, {"mails", 93, true}} {
		_, err := prepaid.Spend(t.Context(), c.meter, "", c.amount)
		require.Equal(t, !c.ok, errors.Is(err, latchkey.ErrOverLimit), "a quota goes on where it was: %v", c)
	}
	_, err = fresh.keys.Verify(t.Context(), latchkey.Presented{Secret: other.Reveal()})
	require.NoError(t, err)
	acme := fresh.keys.For("acme")
	for _, what := range []string{"key", "root"} {
		shown, err := acme.Reveal(t.Context(), w.ids[what])
		require.NoError(t, err)
		require.Equal(t, w.secrets[what], shown.Reveal(), "sealed secrets open")
	}
	signing, err := acme.SigningSecret(t.Context(), w.ids["root"])
	require.NoError(t, err)
	require.Equal(t, w.secrets["signing"], signing.Reveal())
	used, err := acme.Secrets(t.Context(), w.ids["root"])
	require.NoError(t, err)
	require.Equal(t, "192.0.2.9", used[0].UsedFrom.String(), "the last use of a secret")
	made, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, err = fresh.keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err, "what is made after a mass revocation that was moved lives")
	require.NoError(t, acme.Delete(t.Context(), made.ID))
}

func TestMoveLosesNothing(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := ring(t, 1)
	old, fresh, again := newSide(t, r, &at), newSide(t, r, &at), newSide(t, r, &at)
	fill(old)
	_, err := fresh.imports(old.export(r, "acme"), r)
	require.NoError(t, err)
	require.Equal(t, records(old), records(fresh))
	_, err = again.imports(fresh.export(r, "acme"), r)
	require.NoError(t, err)
	require.Equal(t, records(old), records(again), "moved twice")
}

// records is what a store holds of acme, but for what a move alters: versions, numbers of events and the events of
// the move.
func records(s *side) (out []string) {
	file := s.export(nil, "acme")
	for text := range strings.Lines(string(file)) {
		var l map[string]map[string]any
		if json.Unmarshal([]byte(text), &l) != nil {
			l = nil
			var t map[string]any
			require.NoError(s, json.Unmarshal([]byte(text), &t))
			if t["token"] == nil {
				continue // the first line
			}
			tok := t["token"].(map[string]any)
			delete(tok, "version")
			delete(tok, "owner_version")
			text = fmt.Sprint(t)
			out = append(out, text)
			continue
		}
		if e := l["event"]; l["end"] != nil || e != nil && e["action"] == "owner.import" {
			continue
		}
		for _, record := range l {
			delete(record, "version")
			delete(record, "since")
			for _, placed := range []string{"seq", "prev", "hash"} { // they are of the other store
				delete(record, placed)
			}
		}
		out = append(out, fmt.Sprint(l))
	}
	return out
}

var errCut = errors.New("the process is gone")

// cut fails every write after some.
type cut struct {
	latchkey.Store
	left int
}

func (c *cut) Write(ctx context.Context, w latchkey.Write) error {
	if c.left--; c.left < 0 {
		return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, errCut)
	}
	return c.Store.Write(ctx, w)
}

func (c *cut) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if c.left--; c.left < 0 {
		return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, errCut)
	}
	return c.Store.AddUsage(ctx, b)
}

func (c *cut) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if c.left--; c.left < 0 {
		return latchkey.Reserved{}, fmt.Errorf("%w: %w", latchkey.ErrUnavailable, errCut)
	}
	return c.Store.Reserve(ctx, r)
}

func (c *cut) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if c.left--; c.left < 0 {
		return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, errCut)
	}
	return c.Store.Settle(ctx, owner, key, actual)
}

func TestImportGoesOnWhereItWasInterrupted(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := ring(t, 1)
	old := newSide(t, r, &at)
	w := fill(old)
	for i := range 450 { // more than two batches of events and of tokens
		_, _, err := old.keys.For("globex").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: fmt.Sprint("k", i)})
		require.NoError(t, err)
	}
	file := old.export(r, ids...)
	whole := newSide(t, r, &at)
	_, err := whole.imports(file, r)
	require.NoError(t, err)

	stops := 0
	parts := newSide(t, r, &at)
	for n := 1; ; n++ { // each try gets one write further than the one before
		_, err := transfer.Import(t.Context(), &cut{parts.store, n}, bytes.NewReader(file), parts.importOptions(r))
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errCut)
		stops++
		_, err = parts.keys.Verify(t.Context(), latchkey.Presented{Secret: w.secrets["root"]})
		if record, _ := parts.store.Owner(t.Context(), "acme"); record.Disabled {
			require.Error(t, err, "nobody is let in while the import is not complete")
		}
	}
	require.Greater(t, stops, 4)
	require.Equal(t, records(whole), records(parts))
	_, err = parts.keys.Verify(t.Context(), latchkey.Presented{Secret: w.secrets["root"]})
	require.NoError(t, err)
	before, err := parts.store.Changes(t.Context(), 0, 0, 0)
	require.NoError(t, err)
	_, err = parts.imports(file, r)
	require.NoError(t, err, "once more")
	after, err := parts.store.Changes(t.Context(), 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, before.Epoch, after.Epoch, "it is complete, and nothing is written")
}

func TestImportOverwritesNothing(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := ring(t, 1)
	old := newSide(t, r, &at)
	w := fill(old)
	file := old.export(r, "acme")
	_, err := old.imports(file, r)
	require.ErrorIs(t, err, latchkey.ErrExists, "into the store that it came from")
	for name, does := range map[string]func(a latchkey.Account) error{
		"a role": func(a latchkey.Account) error {
			_, err := a.CreateRole(t.Context(), latchkey.Role{Name: "x"})
			return err
		},
		"a token": func(a latchkey.Account) error {
			_, _, err := a.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
			return err
		},
		"a record": func(a latchkey.Account) error {
			return a.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil })
		},
	} {
		to := newSide(t, r, &at)
		require.NoError(t, does(to.keys.For("acme")))
		_, err := to.imports(file, r)
		require.ErrorIs(t, err, latchkey.ErrExists, name)
		require.ErrorContains(t, err, "overwrites nothing")
		require.NoError(t, to.keys.For("acme").Erase(t.Context()))
		_, err = to.imports(file, r)
		require.NoError(t, err, "after the owner was erased")
	}

	silent := newSide(t, r, &at) // by a program that leaves no event
	require.NoError(t, silent.store.Write(t.Context(), latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: at,
		OwnerRecord: &latchkey.Owner{ID: "acme"}}))
	_, err = silent.imports(file, r)
	require.ErrorIs(t, err, latchkey.ErrExists)
	require.ErrorContains(t, err, "overwrites nothing")

	later := newSide(t, r, &at)
	_, err = transfer.Import(t.Context(), &cut{later.store, 2}, bytes.NewReader(file), later.importOptions(r))
	require.ErrorIs(t, err, errCut)
	require.NoError(t, later.store.Write(t.Context(), latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: at, Silent: true,
		Events: []latchkey.Event{{At: at, Action: "token.use", Object: "x"}}}))
	_, err = later.imports(file, r)
	require.ErrorIs(t, err, latchkey.ErrConflict)
	require.ErrorContains(t, err, "the owner's audit trail has gone on since")

	begun := newSide(t, r, &at)
	_, err = transfer.Import(t.Context(), &cut{begun.store, 3}, bytes.NewReader(file), begun.importOptions(r))
	require.ErrorIs(t, err, errCut)
	_, err = begun.keys.For("acme").CreateRole(t.Context(), latchkey.Role{Name: "meanwhile"})
	require.NoError(t, err)
	_, err = begun.imports(file, r)
	require.ErrorIs(t, err, latchkey.ErrConflict, "something else wrote while it was imported")

	taken := newSide(t, r, &at)
	_, err = taken.keys.For("other").Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey}, w.secrets["key"])
	if err == nil { // the digest is another owner's
		_, err = taken.imports(file, r)
		require.ErrorIs(t, err, latchkey.ErrExists)
	}
}

func TestCheckRefuses(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := ring(t, 1)
	old := newSide(t, r, &at)
	fill(old)
	file := string(old.export(r, "acme"))
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	last := len(lines) - 1
	owner := `{"owner":{"id":"acme","version":0}}` + "\n"
	swapped := func(i, j int) string {
		out := append([]string{}, lines...)
		out[i], out[j] = out[j], out[i]
		return strings.Join(out, "")
	}
	other, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: bytes.Repeat([]byte("o"), 32)})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		file string
		ring *latchkey.Keyring
		want string
	}{
		"nothing":              {"", r, "empty"},
		"text":                 {"hello\n", r, "line 1"},
		"half a line":          {file[:len(file)/2], r, "cut off"},
		"no last line":         {strings.Join(lines[:last], ""), r, "cut off"},
		"a line less":          {strings.Join(append(append([]string{}, lines[:3]...), lines[4:]...), ""), r, "altered"},
		"a line twice":         {strings.Join(slices.Concat(lines[:4], lines[3:]), ""), r, "in its place"},
		"two lines swapped":    {swapped(2, 3), r, "in its place"},
		"an altered record":    {strings.Replace(file, `"kind":"publishable"`, `"kind":"secret"`, 1), r, "altered"},
		"an unknown member":    {strings.Replace(file, `{"event":{`, `{"event":{"x":1,`, 1), r, "line 3"},
		"a member twice":       {strings.Replace(file, `{"event":{`, `{"event":{"seq":1,`, 1), r, "line 3"},
		"a later format":       {strings.Replace(file, `"format":1`, `"format":2`, 1), r, "later version"},
		"something at the end": {file + lines[2], r, "follows the last"},
		"no keyring":           {file, nil, "which the keyring lacks"},
		"another key":          {file, ring(t, 2), "key 1, which the keyring lacks"},
		"a key of the same id": {file, other, "is another key"},
		"a record of no owner": {lines[0] + lines[2], r, "in its place"},
		"credits below zero":   {sealed(owner + `{"credits":{"meter":"a","taken":-1}}`), r, "nothing is taken"},
		"credits twice": {sealed(owner + `{"credits":{"meter":"a","taken":1}}` + "\n" +
			`{"credits":{"meter":"a","taken":1}}`), r, "in its place"},
		"usage below zero": {sealed(owner + `{"usage":{"owner":"acme","day":"2026-11-22","count":-1,"credits":0}}`), r,
			"below zero"},
		"a role of another owner": {sealed(owner + `{"role":{"id":"x","owner":"globex","version":1,"name":"a"}}`), r,
			"in its place"},
		"a damaged role": {sealed(owner + `{"role":{"id":"x","owner":"acme","version":1,"name":"a","damaged":true}}`), r,
			"in its place"},
		"a minted token without a parent": {sealed(owner + `{"token":{"id":"01a22f0e-75a5-7d64-94ab-59a7f279e43f",` +
			`"owner":"acme","version":1,"kind":"access","created":"2026-11-22T09:00:00Z","hint":""}}`), r, "no parent"},
		"a token with an id of another form": {sealed(owner + `{"token":{"id":"x","owner":"acme","version":1,` +
			`"kind":"api_key","created":"2026-11-22T09:00:00Z","hint":""}}`), r, "UUIDv7"},
		"a line that is no end": {strings.Join(lines[:last], "") + "{}\n", r, "not one record"},
	} {
		_, err := transfer.Check(t.Context(), strings.NewReader(c.file), c.ring)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err = transfer.Check(t.Context(), strings.NewReader(file), ring(t, 3, 1))
	require.NoError(t, err)
}

// changing changes an owner while its clients are listed.
type changing struct {
	latchkey.Store
	does func()
}

func (c *changing) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	c.does()
	return c.Store.Clients(ctx, owner, p)
}

func TestExportNamesWhatChangedMeanwhile(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for owner, want := range map[string][]string{"acme": {"acme"}, "other": nil} {
		s := newSide(t, nil, &at)
		_, _, err := s.keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		store := &changing{s.store, func() {
			_, err := s.keys.For(owner).CreateRole(t.Context(), latchkey.Role{Name: "meanwhile"})
			require.NoError(t, err)
		}}
		var out bytes.Buffer
		o := transfer.ExportOptions{Owners: owners("acme"), Now: at}
		sum, err := transfer.Export(t.Context(), store, &out, o)
		require.Equal(t, want != nil, errors.Is(err, latchkey.ErrConflict))
		require.Equal(t, want, sum.Changed)
		if want != nil {
			_, err = transfer.Check(t.Context(), &out, nil)
			require.Error(t, err, "the file is not complete")
		}
		out.Reset()
		o.AllowChanges = true
		store.does = func() {
			_, err := s.keys.For(owner).CreateRole(t.Context(), latchkey.Role{Name: "again"})
			require.NoError(t, err)
		}
		_, err = transfer.Export(t.Context(), store, &out, o)
		require.NoError(t, err)
		contents, err := transfer.Check(t.Context(), &out, nil)
		require.NoError(t, err)
		require.Equal(t, want, contents.Changed)
	}
}

// A reservation that an interrupted import left lapses, and the next import takes the credits anew.
func TestCreditsOfAnInterruptedImport(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := ring(t, 1)
	old := newSide(t, r, &at)
	fill(old)
	file := old.export(r, "acme")
	taken := func(s *side) (out []latchkey.TakenCredits) {
		page, _, err := s.store.Taken(t.Context(), "acme", latchkey.TakenQuery{})
		require.NoError(t, err)
		for _, c := range page {
			if c.Taken != 0 {
				out = append(out, c)
			}
		}
		return out
	}
	want := taken(old)
	require.Len(t, want, 3)
	for n := range 12 { // wherever it was interrupted
		for _, later := range []time.Duration{0, 25 * time.Hour, 90 * 24 * time.Hour} {
			now := at
			s := newSide(t, r, &now)
			_, err := transfer.Import(t.Context(), &cut{s.store, n}, bytes.NewReader(file), s.importOptions(r))
			if err != nil {
				require.ErrorIs(t, err, errCut)
			}
			now = now.Add(later)
			_, err = s.store.Purge(t.Context(), latchkey.PurgePolicy{Now: now, Expired: -1, Revoked: -1}, 1000)
			require.NoError(t, err)
			_, err = transfer.Import(t.Context(), s.store, bytes.NewReader(file), s.importOptions(r))
			require.NoError(t, err, "%d writes, and %s later", n, later)
			if later == 0 {
				require.Equal(t, want, taken(s), "%d writes, and %s later", n, later)
			} else { // accounts of periods that are over may be gone
				require.LessOrEqual(t, len(taken(s)), len(want))
				for _, c := range taken(s) {
					require.Contains(t, want, c, "%d writes, and %s later", n, later)
				}
			}
			open, _, err := s.store.Taken(t.Context(), "acme", latchkey.TakenQuery{})
			require.NoError(t, err)
			require.NotEmpty(t, open)
		}
	}
}
