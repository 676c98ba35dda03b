package latchkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/compact"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// parentStore has one token, with its records, and a history in which nothing changes.
type parentStore struct {
	Store
	found  Found
	asked  atomic.Int64 // for revocations
	during func()       // while they are read; nil: nothing
}

func (s *parentStore) Feeds() []FeedID { return []FeedID{0} }

func (s *parentStore) Locate(string) Location { return Location{} }

func (s *parentStore) Load(_ context.Context, owner, id string) (Found, error) {
	if owner != s.found.Token.Owner || id != s.found.Token.ID {
		return Found{}, ErrNotFound
	}
	return s.found, nil
}

func (s *parentStore) Changes(context.Context, FeedID, uint64, int) (Feed, error) { return Feed{}, nil }

func (s *parentStore) Revocations(context.Context, RevocationQuery) ([]Change, string, error) {
	s.asked.Add(1)
	if s.during != nil {
		s.during()
	}
	return nil, "", nil
}

func (s *parentStore) AddUsage(context.Context, UsageBatch) error { return nil }

// lentTokens are stateless tokens of one parent, whose claims a test writes.
type lentTokens struct {
	*testing.T
	m      *Manager
	store  *parentStore
	now    time.Time
	claims claims
	nonces byte
}

// newLentTokens returns them for a parent that works, which edit may change.
func newLentTokens(t *testing.T, edit func(*Found)) *lentTokens {
	w := &lentTokens{T: t, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	parent := Token{ID: "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f", Owner: "acme", Version: 3, Kind: KindAPIKey,
		Created: w.now.Add(-time.Hour), OwnerVersion: 5,
		Settings: Settings{Permissions: Permissions{Allow(Read).On("team").Where(Where("team", Eq, Attr("team")))}}}
	w.store = &parentStore{found: Found{Token: parent, Owner: Owner{ID: "acme", Version: 5}}}
	if edit != nil {
		edit(&w.store.found)
	}
	f := &w.store.found.Token
	w.claims = claims{owner: f.Owner, parent: uuidv7.Parse(f.ID), parentVersion: f.Version,
		parentCreated: micros(f.Created), ownerVersion: 5, created: micros(w.now), ends: micros(w.now.Add(time.Hour)),
		full: true}
	w.m = w.process()
	return w
}

// process returns a Manager that knows nothing yet.
func (w *lentTokens) process() *Manager {
	ring, err := NewKeyring(Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(w, err)
	m := New(w.store, &Options{Clock: func() time.Time { return w.now }, Keyring: ring})
	w.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// verify returns what a Manager says of a text, which it has not seen before, and whether it knew all that it asked.
func (w *lentTokens) verify(m *Manager, plain []byte, p Presented) (a Access, known bool, err error) {
	var nonce [textNonceSize]byte
	w.nonces++
	nonce[0] = w.nonces
	sum := sha256.Sum256(nonce[:])
	_, known, err = m.verifyKnown(w.Context(), &p, "", string(plain), &nonce, &sum)
	require.NoError(w, err)
	p.Secret, err = m.opts.Keyring.sealText(tokentext.SealedHead(m.opts.Prefix), &nonce, plain)
	require.NoError(w, err)
	a, err = m.Verify(w.Context(), p)
	return a, known, err
}

// seal returns the record of a token that the parent mints.
func (w *lentTokens) seal(feed *follower) (Token, error) {
	f := &w.store.found
	made := Token{Owner: "acme", Kind: KindAccess, Parent: f.Token.ID, Full: true,
		Settings: Settings{Validity: Validity{NotAfter: w.now.Add(time.Hour)}}}
	_, err := w.m.sealToken(&made, f, feed, w.m.readClock())
	return made, err
}

func (c *claims) plain() []byte { return c.append(nil) }

// A text whose rights are known is let in without a look at its records only if they would let it in. Each of these
// differs in one thing from a text that is let in so, and gets the answer of a process that knows nothing.
func TestKnownRightsAskWhatTheRecordsSay(t *testing.T) {
	ancestor := func(f *Found) {
		top := f.Token
		top.ID, top.Version = "0198c2a5-7b1e-7c3d-8f00-000000000001", 1
		f.Ancestors = []Token{top}
		f.Token.Kind, f.Token.Parent, f.Token.Depth, f.Token.Full = KindAccess, top.ID, 1, true
		f.Token.Permissions = nil
		f.Token.Validity.NotAfter = f.Token.Created.Add(9 * time.Hour)
	}
	client := func(f *Found) { f.Token.Client = Client{ID: "42"} }
	for name, c := range map[string]struct {
		parent func(*Found) // nil: as it is
		test   bool
		edit   func(w *lentTokens, c *claims)
		plain  func(c *claims) []byte // nil: as claims are written
		known  bool                   // it is let in without a look, too
		err    error
	}{
		"nothing": {edit: func(*lentTokens, *claims) {}, known: true},
		"the parent is not valid yet, as the clock was set back": {
			parent: func(f *Found) { f.Token.Validity.NotBefore = f.Token.Created.Add(59 * time.Minute) },
			edit:   func(w *lentTokens, _ *claims) { w.now = w.now.Add(-2 * time.Minute) }, err: ErrParent},
		"nor is an ancestor": {
			parent: func(f *Found) {
				ancestor(f)
				f.Ancestors[0].Validity.NotBefore = f.Token.Created.Add(59 * time.Minute)
			},
			edit: func(w *lentTokens, _ *claims) { w.now = w.now.Add(-2 * time.Minute) }, err: ErrParent},
		"the parent begins just now": {
			parent: func(f *Found) { f.Token.Validity.NotBefore = f.Token.Created.Add(time.Hour) },
			edit:   func(*lentTokens, *claims) {}, known: true},
		"it was made before the owner's NotBefore": {
			parent: func(f *Found) { f.Owner.NotBefore = f.Token.Created },
			edit:   func(_ *lentTokens, c *claims) { c.created = c.parentCreated - 1 }, err: ErrRevoked},
		"it was made at the owner's NotBefore": {
			parent: func(f *Found) { f.Owner.NotBefore = f.Token.Created },
			edit:   func(_ *lentTokens, c *claims) { c.created = c.parentCreated }, known: true},
		"it was committed before the owner's Since": {
			parent: func(f *Found) { f.Owner.Since = 5 },
			edit:   func(_ *lentTokens, c *claims) { c.ownerVersion = 4 }, err: ErrRevoked},
		"it was committed with the owner's Since": {
			parent: func(f *Found) { f.Owner.Since = 5 }, edit: func(*lentTokens, *claims) {}, known: true},
		"the parent's client": {parent: client, known: true,
			edit: func(_ *lentTokens, c *claims) { c.client = Client{ID: "42", Name: "Ada"} }},
		"another client than the parent's": {parent: client,
			edit: func(_ *lentTokens, c *claims) { c.client = Client{ID: "43"} }, err: ErrParent},
		"a client of a parent without one": {edit: func(_ *lentTokens, c *claims) { c.client = Client{ID: "43"} },
			known: true},
		"another parent with this id": {edit: func(_ *lentTokens, c *claims) { c.parentCreated-- }, err: ErrParent},
		"a later parent":              {edit: func(_ *lentTokens, c *claims) { c.parentVersion++ }, err: ErrParent},
		"a test token of another parent": {test: true,
			edit: func(_ *lentTokens, c *claims) { c.test = true }, err: ErrParent},
		"a parent that idles": {parent: func(f *Found) { f.Token.Validity.Idle = 24 * time.Hour },
			edit: func(*lentTokens, *claims) {}},
		"an ancestor that idles": {parent: func(f *Found) { ancestor(f); f.Ancestors[0].Validity.Idle = 24 * time.Hour },
			edit: func(*lentTokens, *claims) {}},
		"attributes of its own": {parent: func(f *Found) { f.Token.ChildAttributes = []string{"team"} },
			edit: func(_ *lentTokens, c *claims) { c.attributes = Attributes{"team": "red"} }},
		"attributes that its parent does not give": {
			edit: func(_ *lentTokens, c *claims) { c.attributes = Attributes{"team": "red"} }, err: ErrParent},
		"a name that is said to be there and is empty": {edit: func(*lentTokens, *claims) {},
			plain: func(c *claims) []byte {
				named := *c
				named.name = "x"
				b := named.plain() // the name is the last part of these claims
				return append(b[:len(b)-len(compact.AppendText(nil, "x"))], compact.AppendText(nil, "")...)
			}, err: ErrUnknownToken},
		"a part that is not known": {edit: func(*lentTokens, *claims) {},
			plain: func(c *claims) []byte {
				return append(compact.AppendUint(nil, c.flags()|claimEnd), c.plain()[1:]...)
			}, err: ErrUnknownToken},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLentTokens(t, c.parent)
			_, known, err := w.verify(w.m, w.claims.plain(), Presented{})
			require.NoError(t, err)
			require.False(t, known)
			if !idles(&w.store.found) {
				_, known, err = w.verify(w.m, w.claims.plain(), Presented{})
				require.NoError(t, err)
				require.True(t, known, "control: the rights are known")
			}
			one := w.claims
			c.edit(w, &one)
			plain := one.plain()
			if c.plain != nil {
				plain = c.plain(&one)
			}
			a, known, err := w.verify(w.m, plain, Presented{Test: c.test})
			require.Equal(t, c.known, known)
			b, _, want := w.verify(w.process(), plain, Presented{Test: c.test})
			require.ErrorIs(t, want, c.err)
			require.Equal(t, want, err)
			if err != nil {
				return
			}
			require.Equal(t, b.Client(), a.Client())
			require.Equal(t, b.Ends(), a.Ends())
			rows, want := b.Filter(Read, "team")
			got, err := a.Filter(Read, "team")
			require.Equal(t, want == nil, err == nil)
			require.Equal(t, rows.String(), got.String())
		})
	}
}

// A token whose rights are known ends with its claims, or with its parent, whichever is first.
func TestKnownRightsEndWithTheParent(t *testing.T) {
	for name, c := range map[string]struct{ parent, claims, want time.Duration }{
		"its own end":      {2 * time.Hour, time.Hour, time.Hour},
		"the parent's end": {30 * time.Minute, time.Hour, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLentTokens(t, func(f *Found) {
				f.Token.Validity.NotAfter = f.Token.Created.Add(time.Hour + c.parent)
			})
			w.claims.ends = micros(w.now.Add(c.claims))
			for _, known := range []bool{false, true} {
				a, is, err := w.verify(w.m, w.claims.plain(), Presented{})
				require.NoError(t, err)
				require.Equal(t, known, is)
				require.Equal(t, w.now.Add(c.want), fromMicros(a.ends))
				require.Equal(t, w.now.Add(c.want), a.Ends())
			}
		})
	}
}

// The store is asked for all revocations once. What is revoked later its feed tells.
func TestRevocationsAreReadOnce(t *testing.T) {
	w := newLentTokens(t, nil)
	for range 5 {
		_, _, err := w.verify(w.m, w.claims.plain(), Presented{})
		require.NoError(t, err)
		require.EqualValues(t, 1, w.store.asked.Load())
	}
}

// What is read of a history that is no more does not count. Where that happens again and again nothing is known, and
// no stateless token works.
func TestRevocationsOfAHistoryThatKeepsChanging(t *testing.T) {
	for _, c := range []struct {
		changes, asked int64
		err            error
	}{{0, 1, nil}, {1, 2, nil}, {3, 4, nil}, {4, 4, errHistory}, {9, 4, errHistory}} {
		w := newLentTokens(t, nil)
		feed, err := w.m.feedOf("acme")
		require.NoError(t, err)
		_, err = feed.ensureFresh(t.Context())
		require.NoError(t, err)
		w.store.during = func() {
			if w.store.asked.Load() <= c.changes {
				feed.revoked.forget()
			}
		}
		_, err = feed.knowRevocations(t.Context())
		require.Equal(t, c.err, err)
		require.Equal(t, c.asked, w.store.asked.Load())
		require.Equal(t, c.err == nil, feed.revoked.reaches(0))
	}
	w := newLentTokens(t, nil)
	feed, err := w.m.feedOf("acme")
	require.NoError(t, err)
	w.store.during = feed.revoked.forget
	text, err := w.m.opts.Keyring.sealText(tokentext.SealedHead(w.m.opts.Prefix), &[textNonceSize]byte{}, w.claims.plain())
	require.NoError(t, err)
	_, err = w.m.Verify(t.Context(), Presented{Secret: text})
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotErrorIs(t, err, ErrInvalidToken)
	w.store.during = nil
	_, err = w.m.Verify(t.Context(), Presented{Secret: text})
	require.NoError(t, err)
}

// While the revocations are not known no stateless token is made, and none is revoked with others: either would be
// dated by what is left of them.
func TestNothingIsDatedByUnknownRevocations(t *testing.T) {
	w := newLentTokens(t, nil)
	feed, err := w.m.feedOf("acme")
	require.NoError(t, err)
	seal := func() error {
		_, err := w.seal(feed)
		return err
	}
	require.ErrorIs(t, seal(), ErrUnavailable)
	_, err = feed.lastRevoked("acme")
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = feed.ensureFresh(t.Context())
	require.NoError(t, err)
	_, err = feed.knowRevocations(t.Context())
	require.NoError(t, err)
	require.NoError(t, seal())
	_, err = feed.lastRevoked("acme")
	require.NoError(t, err)
	feed.revoked.forget()
	require.ErrorIs(t, seal(), ErrUnavailable)
	_, err = feed.lastRevoked("acme")
	require.ErrorIs(t, err, ErrUnavailable)
}

// A revocation lies behind what another machine may have dated, and behind earlier ones of the owner that spare some.
// It is kept until the last of what it names has ended by every clock. That of one token reads nothing and spares none.
func TestDatesOfRevocations(t *testing.T) {
	w := newLentTokens(t, nil)
	now := w.now
	parent := func(before time.Time) Revocation { return Revocation{Of: RevokedParent, ID: "p", Before: before} }
	date := func(r Revocation) Revocation {
		all := []Revocation{r}
		require.NoError(t, w.m.dateRevocations(t.Context(), "acme", all))
		return all[0]
	}
	one := Revocation{ID: uuidv7.Text(statelessID(micros(now.Add(-time.Hour)), &[textNonceSize]byte{}))}
	got := date(one)
	require.Zero(t, got.Before)
	made := fromMicros(uuidv7.Time(uuidv7.Parse(one.ID)))
	require.WithinDuration(t, now.Add(-time.Hour), made, time.Millisecond)
	require.Equal(t, made.Add(MaxStateless+2*aheadBound), got.Until)
	require.Zero(t, w.store.asked.Load())

	behind := now.Add(aheadBound + time.Microsecond)
	for asked, before := range map[time.Time]time.Time{
		{}: behind, behind.Add(-time.Hour): behind.Add(-time.Hour), behind: behind, behind.Add(1000): behind,
	} {
		got := date(parent(asked))
		require.Equal(t, before, got.Before)
		require.Equal(t, behind.Add(MaxStateless+aheadBound), got.Until)
	}

	feed, err := w.m.feedOf("acme")
	require.NoError(t, err)
	later := behind.Add(time.Hour)
	for i, c := range []struct {
		change Change
		counts bool
	}{
		{Change{Owner: "globex", Of: RevokedParent, ID: "q", Before: later}, false},
		{Change{Owner: "acme", Of: RevokedToken, ID: one.ID, Before: later}, false},
		{Change{Owner: "acme", Of: RevokedClient, ID: "all of a client"}, false},
		{Change{Owner: "acme", Of: RevokedClient, ID: "c", Before: later}, true},
	} {
		c.change.Kind, c.change.Until = ChangedRevocation, later.Add(MaxStateless)
		feed.revoked.follow(uint64(i), []Change{c.change}, uint64(i+1), micros(now))
		want := behind
		if c.counts {
			want = later.Add(time.Microsecond)
		}
		require.Equal(t, want, date(parent(time.Time{})).Before, "%+v", c.change)
	}
	require.EqualValues(t, 1, w.store.asked.Load())
}

// A token is not among those that were revoked before it was made, also where the machine that revoked them is ahead.
// What no machine can have dated lets none be made.
func TestATokenIsDatedBehindARevocation(t *testing.T) {
	for _, c := range []struct {
		before, made time.Duration // after now
		refused      bool
	}{
		{before: -time.Second},
		{before: 0},
		{before: time.Microsecond, made: time.Microsecond},
		{before: 3 * aheadBound, made: 3 * aheadBound},
		{before: 3*aheadBound + time.Microsecond, refused: true},
	} {
		w := newLentTokens(t, nil)
		feed, err := w.m.feedOf("acme")
		require.NoError(t, err)
		_, err = feed.ensureFresh(t.Context())
		require.NoError(t, err)
		_, err = feed.knowRevocations(t.Context())
		require.NoError(t, err)
		feed.revoked.follow(0, []Change{{Owner: "acme", Kind: ChangedRevocation, Of: RevokedOwner,
			Before: w.now.Add(c.before), Until: w.now.Add(48 * time.Hour)}}, 1, micros(w.now))
		made, err := w.seal(feed)
		if c.refused {
			require.ErrorIs(t, err, ErrDenied)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, w.now.Add(c.made), made.Created, "%v", c.before)
	}
}

// roleStore has some roles, and keeps which were asked for.
type roleStore struct {
	parentStore
	roles map[string]Role
	fails error
	reads []string
}

func (s *roleStore) Role(_ context.Context, _, id string) (Role, error) {
	s.reads = append(s.reads, id)
	r, ok := s.roles[id]
	if !ok {
		return r, cmp.Or(s.fails, ErrNotFound)
	}
	return r, nil
}

// The roles that a stateless token names beside those of its parent are read once each, with what they inherit, also
// where they inherit each other. No store is asked for a role of Options.Roles. One that is gone is left out.
func TestRolesBesideThoseOfTheParent(t *testing.T) {
	s := &roleStore{roles: map[string]Role{}}
	for id, inherits := range map[string][]string{"b": {"c", "a", "b"}, "c": {"b", "gone", "code:x"}, "code:x": {"d"}} {
		s.roles[id] = Role{ID: id, Owner: "acme", Inherits: inherits}
	}
	m := New(s, &Options{Roles: []Role{{Name: "x"}}})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	mine := append(make([]Role, 0, 8), Role{ID: "a"})
	got, err := m.rolesBeside(t.Context(), "acme", mine, []string{"b", "code:x", "code:lacks", "a"})
	require.NoError(t, err)
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
	}
	require.ElementsMatch(t, []string{"a", "b", "c"}, ids)
	require.ElementsMatch(t, []string{"b", "c", "gone"}, s.reads)
	require.Empty(t, mine[:2][1].ID, "those of the parent are not changed")
	s.fails = ErrUnavailable
	_, err = m.rolesBeside(t.Context(), "acme", mine, []string{"gone"})
	require.ErrorIs(t, err, ErrUnavailable)
}

// A parent that may name any role lacks the stored ones that it does not have itself. Another one lacks none: what it
// does not have gives its token nothing.
func TestRolesThatTheReadingOfAParentLacks(t *testing.T) {
	anyOf := &Found{Token: Token{Kind: KindSession}, Roles: []Role{{ID: "a"}}}
	other := &Found{Token: Token{Kind: KindAPIKey, Settings: Settings{Roles: []string{"a"}}}, Roles: anyOf.Roles}
	require.True(t, anyRole(anyOf))
	require.False(t, anyRole(other))
	for _, c := range []struct{ names, lacks []string }{
		{nil, nil},
		{[]string{"a"}, nil},
		{[]string{"code:x"}, nil},
		{[]string{"b"}, []string{"b"}},
		{[]string{"a", "b", "code:x", "c"}, []string{"b", "c"}},
	} {
		require.Equal(t, c.lacks, rolesLacking(&claims{roles: c.names}, anyOf))
		require.Nil(t, rolesLacking(&claims{roles: c.names}, other))
	}
}
