package latchkey_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// trail is a store whose database somebody else writes, too: what Events returns is what edit makes of it.
type trail struct {
	latchkey.Store
	edit  func([]latchkey.Event) []latchkey.Event
	count func(uint64) uint64 // of the number of the last event
}

func (s *trail) all(ctx context.Context, owner string) (all []latchkey.Event, err error) {
	for q := (latchkey.EventQuery{Page: latchkey.Page{Limit: 1000}}); ; {
		page, next, err := s.Store.Events(ctx, owner, q)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); next == "" {
			return all, nil
		}
		q.After = next
	}
}

func (s *trail) Events(ctx context.Context, owner string, q latchkey.EventQuery) (
	page []latchkey.Event, next string, err error) {
	if s.edit == nil {
		return s.Store.Events(ctx, owner, q)
	}
	all, err := s.all(ctx, owner)
	if err != nil {
		return nil, "", err
	}
	all = s.edit(all)
	after, from, err := q.Start()
	if err != nil {
		return nil, "", err
	}
	slices.SortStableFunc(all, func(a, b latchkey.Event) int { return int(a.Seq) - int(b.Seq) })
	if q.Reverse {
		slices.Reverse(all)
	}
	for _, e := range all {
		if from && (!q.Reverse && e.Seq <= after || q.Reverse && e.Seq >= after) || !q.Match(e) {
			continue
		}
		if len(page) == q.Size() {
			return page, q.Key(page[len(page)-1]), nil
		}
		page = append(page, e)
	}
	return page, "", nil
}

func (s *trail) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) ([]latchkey.Delivery, string, error) {
	page, next, err := s.Store.Undelivered(ctx, q)
	for i := range page {
		if s.count != nil {
			page[i].Last = s.count(page[i].Last)
		}
	}
	return page, next, err
}

func ring(t *testing.T, ids ...uint32) *latchkey.Keyring {
	t.Helper()
	var keys []latchkey.Key
	for _, id := range ids {
		keys = append(keys, latchkey.Key{ID: id, Secret: bytes.Repeat([]byte{byte(id)}, 32)})
	}
	k, err := latchkey.NewKeyring(keys[0], keys[1:]...)
	require.NoError(t, err)
	return k
}

var anyOfLatchkey = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")}

// audited is an owner with ten events: nine keys are issued, and the first is revoked.
type audited struct {
	*world
	trail *trail
	keys  []latchkey.Token
}

func newAudited(t *testing.T, k *latchkey.Keyring, change ...func(*latchkey.Options)) *audited {
	a := &audited{world: newWorld(t)}
	a.trail = &trail{Store: a.world.store}
	a.use(k, change...)
	for range 9 {
		token, _ := a.key(readAll())
		a.keys = append(a.keys, token)
		a.turn(time.Second)
	}
	a.ok(a.acme.Revoke(a.ctx, a.keys[0].ID, "it leaked"))
	return a
}

// use goes on with another Manager.
func (a *audited) use(k *latchkey.Keyring, change ...func(*latchkey.Options)) {
	o := a.options()
	o.Keyring, o.CreditLease = k, nil
	for _, c := range change {
		c(&o)
	}
	a.world.keys = latchkey.New(a.trail, &o)
	a.acme = a.world.keys.For("acme")
}

func (a *audited) check(anchors ...latchkey.AuditAnchor) latchkey.AuditReport {
	a.Helper()
	r, err := a.acme.VerifyAudit(a.ctx, latchkey.AuditCheck{Anchors: anchors})
	a.ok(err)
	return r
}

func (a *audited) proven(anchors ...latchkey.AuditAnchor) latchkey.AuditReport {
	a.Helper()
	r := a.check(anchors...)
	require.True(a, r.Proven(), "%+v", r)
	return r
}

// faults returns the kinds of faults with the numbers of events.
func faults(r latchkey.AuditReport) []string {
	out := []string{}
	for _, f := range r.Faults {
		out = append(out, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last))
	}
	return out
}

// meddle applies an edit to one event of the trail.
func (a *audited) meddle(seq uint64, edit func(*latchkey.Event)) {
	a.trail.edit = func(all []latchkey.Event) []latchkey.Event {
		for i := range all {
			if all[i].Seq == seq {
				edit(&all[i])
			}
		}
		return all
	}
}

func lacking(seqs ...uint64) func([]latchkey.Event) []latchkey.Event {
	return func(all []latchkey.Event) []latchkey.Event {
		return slices.DeleteFunc(all, func(e latchkey.Event) bool { return slices.Contains(seqs, e.Seq) })
	}
}

func TestAuditTrailIsProven(t *testing.T) {
	for what, k := range map[string]*latchkey.Keyring{"a keyring": ring(t, 1), "no keyring": nil} {
		a := newAudited(t, k)
		anchor, err := a.acme.AuditCheckpoint(a.ctx)
		a.ok(err)
		require.Equal(t, k != nil, anchor.KeyID == 1 && len(anchor.Signature) == 32, what)
		r := a.proven(anchor)
		require.Equal(t, 10, r.Events, what)
		require.Equal(t, 10, r.Chained, what)
		require.Equal(t, []uint64{1, 10, 10}, []uint64{r.First, r.Last, r.Head.Seq}, what)
		require.Equal(t, anchor.Hash, r.Head.Hash, what)
		require.Empty(t, slices.Concat(r.Unchained, r.Unkeyed, r.Unverifiable, r.Removed), what)
	}
	a := newAudited(t, ring(t, 1))
	r, err := a.world.keys.For("nobody").VerifyAudit(a.ctx, latchkey.AuditCheck{})
	a.ok(err)
	require.True(t, r.Proven())
	_, err = a.world.keys.For("nobody").AuditCheckpoint(a.ctx)
	a.is(latchkey.ErrNotFound, err)
}

// Whichever field is edited, the event is named, and no other.
func TestVerifyAuditFindsAnEditOfAnyField(t *testing.T) {
	edits := map[string]func(*latchkey.Event){
		"At":               func(e *latchkey.Event) { e.At = e.At.Add(time.Microsecond) },
		"Actor":            func(e *latchkey.Event) { e.Actor = "another" },
		"Actor, a client":  func(e *latchkey.Event) { e.Actor = "client:" },
		"From":             func(e *latchkey.Event) { e.From = "192.0.2.1" },
		"Action":           func(e *latchkey.Event) { e.Action = "token.issue" },
		"Object":           func(e *latchkey.Event) { e.Object += "x" },
		"Reason":           func(e *latchkey.Event) { e.Reason = "" },
		"Before":           func(e *latchkey.Event) { e.Before = nil },
		"After":            func(e *latchkey.Event) { e.After = append(bytes.Clone(e.After), ' ') },
		"Before and After": func(e *latchkey.Event) { e.Before, e.After = e.After, e.Before },
	}
	tags := func(hash []byte) []byte { return hash[4:32] }
	swaps := map[string]func(e, other *latchkey.Event){
		"the record of another event, with its tag": func(e, other *latchkey.Event) {
			e.Before, e.After, e.Reason = other.Before, other.After, other.Reason
			copy(tags(e.Hash), tags(other.Hash))
		},
		"no record, and no tag": func(e, _ *latchkey.Event) {
			e.Before, e.After, e.Reason = nil, nil, ""
			clear(tags(e.Hash))
		},
	}
	fields := []string{"Seq", "Owner", "Prev", "Hash"} // what the next cases and tests are about
	for name := range edits {
		fields = append(fields, strings.Fields(strings.TrimSuffix(name, ", a client"))[0])
	}
	for i := range reflect.TypeFor[latchkey.Event]().NumField() {
		require.Contains(t, fields, reflect.TypeFor[latchkey.Event]().Field(i).Name)
	}
	for _, k := range []*latchkey.Keyring{ring(t, 1), nil} {
		a := newAudited(t, k)
		a.ok(a.acme.Revoke(a.ctx, a.keys[1].ID, "another"))
		for field, edit := range edits {
			a.meddle(10, edit)
			require.Equal(t, []string{"edited 10-10"}, faults(a.check()), field)
		}
		for what, swap := range swaps {
			a.trail.edit = func(all []latchkey.Event) []latchkey.Event {
				swap(&all[10], &all[9]) // the last one: no other event holds its hash
				return all
			}
			require.Equal(t, []string{"edited 11-11"}, faults(a.check()), what)
		}
		for i := range 56 {
			a.meddle(10, func(e *latchkey.Event) { e.Hash[i] ^= 1 })
			r := a.check()
			require.False(t, r.Proven(), "byte %d of the hash", i)
			if i > 3 {
				require.Equal(t, []string{"edited 10-10"}, faults(r), "byte %d of the hash", i)
			}
		}
		for i := range 64 {
			a.meddle(10, func(e *latchkey.Event) { e.Prev[i] ^= 1 })
			require.Equal(t, []string{"edited 10-10"}, faults(a.check()), "byte %d of Prev", i)
		}
	}
}

func TestVerifyAuditFindsWhatIsGoneOrMoved(t *testing.T) {
	swap := func(x, y uint64) func([]latchkey.Event) []latchkey.Event {
		return func(all []latchkey.Event) []latchkey.Event {
			all[x-1], all[y-1] = all[y-1], all[x-1]
			all[x-1].Seq, all[y-1].Seq = x, y
			return all
		}
	}
	for what, c := range map[string]struct {
		edit  func([]latchkey.Event) []latchkey.Event
		count uint64
		want  []string
	}{
		"nothing":           {nil, 10, []string{}},
		"one deleted":       {lacking(4), 10, []string{"missing 4-4"}},
		"some deleted":      {lacking(4, 5, 7), 10, []string{"missing 4-5", "missing 7-7"}},
		"the first deleted": {lacking(1, 2), 10, []string{"missing 1-2"}},
		"the end deleted":   {lacking(9, 10), 10, []string{"cut 9-10"}},
		"all deleted":       {lacking(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 10, []string{"cut 1-10"}},
		"two swapped":       {swap(3, 7), 10, []string{"edited 3-3", "edited 7-7"}},
		"one deleted, closed": {func(all []latchkey.Event) []latchkey.Event {
			all = slices.Delete(all, 3, 4)
			for i := range all {
				all[i].Seq = uint64(i + 1)
			}
			return all
		}, 9, []string{"edited 4-4", "edited 5-5", "edited 6-6", "edited 7-7", "edited 8-8", "edited 9-9"}},
		"one hash removed": {func(all []latchkey.Event) []latchkey.Event {
			all[4].Prev, all[4].Hash = nil, nil
			return all
		}, 10, []string{"edited 5-5"}},
		"half of a hash removed": {func(all []latchkey.Event) []latchkey.Event {
			all[4].Hash = slices.Clone(all[4].Hash[:len(all[4].Hash)/2])
			return all
		}, 10, []string{"edited 5-5"}},
		"a hash alone removed": {func(all []latchkey.Event) []latchkey.Event {
			all[4].Hash = nil
			return all
		}, 10, []string{"edited 5-5"}},
		"another in its place": {func(all []latchkey.Event) []latchkey.Event {
			all[4] = latchkey.Event{Seq: 5, Owner: "acme", At: all[4].At, Action: "token.issue"}
			return all
		}, 10, []string{"edited 5-5"}},
	} {
		a := newAudited(t, ring(t, 1))
		a.trail.edit, a.trail.count = c.edit, func(uint64) uint64 { return c.count }
		if c.edit == nil {
			a.trail.edit = func(all []latchkey.Event) []latchkey.Event { return all }
		}
		r := a.check()
		require.Equal(t, c.want, faults(r), what)
		require.Equal(t, len(c.want) == 0, r.Proven(), what)
	}
}

// A cut end with the count set back is found by an anchor alone.
func TestAuditAnchorFindsACutEnd(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	early, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	a.key(readAll())
	late, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	a.proven(late, early)
	a.trail.edit, a.trail.count = lacking(10, 11), func(uint64) uint64 { return 9 }
	a.proven() // nobody can know
	require.Equal(t, []string{"cut 10-11"}, faults(a.check(early, late)))
	require.Equal(t, []string{"cut 10-10"}, faults(a.check(early)))

	// All hashes removed: a trail from before there was a chain, but for the anchor.
	a.trail.edit, a.trail.count = func(all []latchkey.Event) []latchkey.Event {
		for i := range all {
			all[i].Prev, all[i].Hash = nil, nil
		}
		return all
	}, nil
	r := a.check()
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 11}}, r.Unchained)
	require.False(t, r.Proven())
	require.Equal(t, []string{"edited 10-10", "edited 11-11"}, faults(a.check(early, late)))

	// Without a Keyring the whole chain can be made anew.
	a = newAudited(t, nil)
	plain, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	forger := newAudited(t, nil)
	all, err := forger.trail.all(a.ctx, "acme")
	a.ok(err)
	a.trail.edit = func([]latchkey.Event) []latchkey.Event { return slices.Clone(all) }
	a.proven()
	require.Equal(t, []string{"edited 10-10"}, faults(a.check(plain)))
	a.use(ring(t, 1)) // with a Keyring such a chain proves nothing
	r = a.check()
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Unkeyed)
	require.False(t, r.Proven())
}

func TestAuditAnchorsAreChecked(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	anchor, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	refused := func(want error, edit func(*latchkey.AuditAnchor)) {
		t.Helper()
		bad := anchor
		bad.Hash, bad.Signature = bytes.Clone(anchor.Hash), bytes.Clone(anchor.Signature)
		edit(&bad)
		_, err := a.acme.VerifyAudit(a.ctx, latchkey.AuditCheck{Anchors: []latchkey.AuditAnchor{bad}})
		a.is(want, err)
	}
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Owner = "globex" })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Seq = 9 })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Seq = 0 })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Hash[20] ^= 1 })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Hash = b.Hash[:55] })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.At = b.At.Add(time.Microsecond) })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Signature[0] ^= 1 })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.Signature = nil })
	refused(latchkey.ErrInvalid, func(b *latchkey.AuditAnchor) { b.KeyID = 0 })
	refused(latchkey.ErrNeedsKeyring, func(b *latchkey.AuditAnchor) { b.KeyID = 2 })

	text, err := json.Marshal(anchor)
	a.ok(err)
	var back latchkey.AuditAnchor
	a.ok(json.Unmarshal(text, &back))
	require.Equal(t, anchor, back)
	a.proven(back)
	events, err := a.trail.all(a.ctx, "acme")
	a.ok(err)
	delivered, ok := events[4].Anchor()
	require.True(t, ok)
	back, err = latchkey.ParseAuditAnchor(delivered.String())
	a.ok(err)
	require.Equal(t, delivered, back)
	a.proven(back)
	back.Hash = bytes.Clone(events[5].Hash)
	require.Equal(t, []string{"edited 5-5"}, faults(a.check(back)))
	back = delivered
	back.Owner = "globex"
	_, err = a.acme.VerifyAudit(a.ctx, latchkey.AuditCheck{Anchors: []latchkey.AuditAnchor{back}})
	a.is(latchkey.ErrInvalid, err)
	_, ok = latchkey.Event{Seq: 1}.Anchor()
	require.False(t, ok)

	// What was edited is not signed.
	a.meddle(10, func(e *latchkey.Event) { e.Reason = "" })
	_, err = a.acme.AuditCheckpoint(a.ctx)
	a.is(latchkey.ErrUnavailable, err)
}

func TestAuditKeysRotate(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	a.use(ring(t, 2, 1))
	a.key(readAll())
	r := a.proven()
	require.Equal(t, []uint32{1, 2}, r.Keys)
	a.meddle(3, func(e *latchkey.Event) { e.From = "192.0.2.1" })
	require.Equal(t, []string{"edited 3-3"}, faults(a.check()))
	a.trail.edit = nil

	a.use(ring(t, 2)) // the old key is dropped
	r = a.check()
	require.Empty(t, r.Faults)
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Unverifiable)
	require.Equal(t, 1, r.Chained)
	require.False(t, r.Proven(), "what cannot be verified is not fine")
	a.trail.edit = lacking(4)
	require.Equal(t, []string{"missing 4-4"}, faults(a.check()))
	// Nobody hides an edit behind a key that nobody has: the next event holds the id of the key.
	a.use(ring(t, 2, 1))
	a.meddle(4, func(e *latchkey.Event) {
		e.From = "192.0.2.1"
		binary.BigEndian.PutUint32(e.Hash, 99)
	})
	require.Equal(t, []string{"edited 4-4"}, faults(a.check()))

	// A program without the keyring writes events that only hold their place.
	a.trail.edit = nil
	a.use(nil)
	a.key(readAll())
	a.use(ring(t, 2, 1))
	a.key(readAll())
	r = a.check()
	require.Empty(t, r.Faults)
	require.Equal(t, []latchkey.AuditRange{{First: 12, Last: 12}}, r.Unkeyed)
	require.False(t, r.Proven())
	a.meddle(12, func(e *latchkey.Event) { e.From = "192.0.2.1" })
	require.Equal(t, []string{"edited 12-12"}, faults(a.check()))
}

// older is the program of a version that knows of no chain.
type older struct{ latchkey.Store }

func (s older) Write(ctx context.Context, w latchkey.Write) error {
	w.Seal = nil
	return s.Store.Write(ctx, w)
}

func TestAuditTrailOfAnOlderVersion(t *testing.T) {
	a := &audited{world: newWorld(t)}
	a.trail = &trail{Store: a.world.store}
	o := a.options()
	before := latchkey.New(older{a.trail}, &o).For("acme")
	issue := func(by latchkey.Account) {
		t.Helper()
		_, _, err := by.Issue(a.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		a.ok(err)
	}
	issue(before)
	issue(before)
	a.use(ring(t, 1))
	r := a.check()
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 2}}, r.Unchained)
	require.False(t, r.Proven(), "there is no chain")
	issue(a.acme)
	r = a.proven()
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 2}}, r.Unchained)
	require.Equal(t, []int{1, 0}, []int{r.Chained, r.Between})

	issue(before) // beside the new one
	issue(a.acme)
	r = a.check()
	require.Empty(t, r.Faults)
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 2}, {First: 4, Last: 4}}, r.Unchained)
	require.Equal(t, 1, r.Between)
	require.False(t, r.Proven())
	a.trail.edit = lacking(4)
	require.Equal(t, []string{"missing 4-4"}, faults(a.check()))
	a.trail.edit = lacking(3, 4)
	require.Equal(t, []string{"missing 3-4"}, faults(a.check()))
}

// What is gone from before the chain is unchained, as what was there: nothing can be known of it.
func TestUnchainedEventsThatAreGone(t *testing.T) {
	a := &audited{world: newWorld(t)}
	a.trail = &trail{Store: a.world.store}
	o := a.options()
	before := latchkey.New(older{a.trail}, &o).For("acme")
	for range 6 {
		_, _, err := before.Issue(a.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		a.ok(err)
	}
	a.use(ring(t, 1))
	_, _, err := a.acme.Issue(a.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	a.ok(err)
	for _, gone := range [][]uint64{{1}, {2, 4}, {6}, {1, 2, 5}, {1, 2, 3, 4, 5, 6}} {
		a.trail.edit = lacking(gone...)
		r := a.proven()
		require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 6}}, r.Unchained, "%v", gone)
		require.Equal(t, 1, r.Chained)
	}
}

// The last event of the chain is found behind many that are unchained, by pages.
func TestAnchorBehindUnchainedEvents(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	want, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	o := a.options()
	before := latchkey.New(older{a.trail}, &o).For("acme")
	for range 25 {
		_, _, err := before.Issue(a.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		a.ok(err)
	}
	got, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	require.Equal(t, want.Seq, got.Seq)
	require.Equal(t, want.Hash, got.Hash)
}

// The place of the chain in the database is no secret and is not protected. What is put there shows.
func TestAuditHeadIsMeddledWith(t *testing.T) {
	for what, c := range map[string]struct {
		head func(head []byte) []byte
		want string
	}{
		"nothing":          {func(head []byte) []byte { return head }, ""},
		"removed":          {func([]byte) []byte { return nil }, "order 11-11"},
		"short":            {func(head []byte) []byte { return head[:63] }, "order 11-11"},
		"another hash":     {func(head []byte) []byte { head[40] ^= 1; return head }, "edited 10-10"},
		"an earlier event": {func(head []byte) []byte { head[7] = 9; return head }, "order 10-10"},
		"a later event":    {func(head []byte) []byte { head[7] = 12; return head }, "order 11-11"},
	} {
		a := newAudited(t, ring(t, 1))
		a.world.store.Store = &headless{a.world.store.Store, c.head}
		a.key(readAll())
		want := []string{c.want}
		if c.want == "" {
			want = []string{}
		}
		require.Equal(t, want, faults(a.check()), what)
	}
}

type headless struct {
	latchkey.Store
	head func([]byte) []byte
}

func (s *headless) Write(ctx context.Context, w latchkey.Write) error {
	if seal := w.Seal; seal != nil {
		w.Seal = func(i int, e *latchkey.Event, head []byte) []byte { return seal(i, e, s.head(bytes.Clone(head))) }
	}
	return s.Store.Write(ctx, w)
}

func TestAuditTrailAfterPurge(t *testing.T) {
	a := newAudited(t, ring(t, 1), func(o *latchkey.Options) { o.KeepEvents = 2 * time.Hour })
	a.turn(time.Hour)
	a.key(readAll())
	anchor, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	events, err := a.trail.all(a.ctx, "acme")
	a.ok(err)
	old, _ := events[3].Anchor()
	_, err = a.world.keys.Purge(a.ctx)
	a.ok(err)
	require.Equal(t, 11, a.proven().Events, "nothing is old enough")
	a.turn(time.Hour + time.Minute)
	n, err := a.world.keys.Purge(a.ctx)
	a.ok(err)
	require.GreaterOrEqual(t, n, 10)
	r := a.proven(anchor, old)
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Removed)
	require.Equal(t, []uint64{11, 12}, []uint64{r.First, r.Last})
	events, err = a.trail.all(a.ctx, "acme")
	a.ok(err)
	require.Equal(t, []string{"audit.purge", "acme"}, []string{events[1].Action, events[1].Object})
	require.JSONEq(t, `{"through":10}`, string(events[1].After))

	// It speaks for what it names, and if it was edited for nothing.
	a.trail.edit = lacking(11)
	require.Equal(t, []string{"missing 11-11"}, faults(a.check()))
	a.meddle(12, func(e *latchkey.Event) { e.After = []byte(`{"through":11}`) })
	require.Equal(t, []string{"edited 12-12", "missing 1-10"}, faults(a.check()))
	a.trail.edit = lacking(12)
	require.Equal(t, []string{"missing 1-10", "cut 12-12"}, faults(a.check()))

	// In the end the trail is the event of the last Purge.
	a.trail.edit = nil
	for range 2 {
		a.turn(3 * time.Hour)
		_, err = a.world.keys.Purge(a.ctx)
		a.ok(err)
		r = a.proven(anchor)
		require.Equal(t, 1, r.Events)
	}
	// Without KeepEvents nothing says so, and Purge removes no event.
	a.use(ring(t, 1))
	a.turn(3 * time.Hour)
	was, err := a.trail.all(a.ctx, "acme")
	a.ok(err)
	_, err = a.world.keys.Purge(a.ctx)
	a.ok(err)
	all, err := a.trail.all(a.ctx, "acme")
	a.ok(err)
	require.Equal(t, was, all)
	_, err = a.world.store.Purge(a.ctx, latchkey.PurgePolicy{Now: a.now().AddDate(1, 0, 0), Events: time.Hour}, 100)
	a.ok(err)
	a.key(readAll())
	require.Equal(t, []string{"missing 1-14"}, faults(a.check()))
}

// An erasure names a client by the tags of its events, under each key that is known. One under a key that is not known
// is not named: nobody could tell that it was that client's.
func TestEraseClientWithoutAnOldKey(t *testing.T) {
	for _, ids := range [][]uint32{{2}, {2, 1}} {
		a := newAudited(t, ring(t, 1))
		who, err := a.acme.Assume(latchkey.Client{ID: "ada"}, anyOfLatchkey)
		a.ok(err)
		by, err := a.acme.As(who)
		a.ok(err)
		_, err = by.CreateRole(a.ctx, latchkey.Role{Name: "made"})
		a.ok(err)
		a.use(ring(t, ids...))
		a.ok(a.acme.EraseClient(a.ctx, "ada"))
		events, err := a.trail.all(a.ctx, "acme")
		a.ok(err)
		named := 0
		for _, e := range events {
			if e.Action == "audit.redact" {
				named++
			}
		}
		require.Equal(t, len(ids), named)
	}
}

func TestAuditTrailAfterErase(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	anchor, err := a.acme.AuditCheckpoint(a.ctx)
	a.ok(err)
	a.ok(a.acme.Erase(a.ctx))
	a.key(readAll())
	r := a.proven(anchor)
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Removed)
	require.Equal(t, 2, r.Events)
	a.meddle(11, func(e *latchkey.Event) { e.From = "192.0.2.1" })
	require.Equal(t, []string{"edited 11-11", "missing 1-10"}, faults(a.check()))
	a.meddle(11, func(e *latchkey.Event) { e.Action, e.Object = "token.issue", "x" })
	require.Equal(t, []string{"edited 11-11", "missing 1-10"}, faults(a.check()))
}

func TestAuditTrailAfterEraseClient(t *testing.T) {
	for _, k := range []*latchkey.Keyring{ring(t, 1), nil} {
		a := newAudited(t, k)
		_, text := a.issue(latchkey.KindSecret, latchkey.Settings{Name: "root"})
		parent := a.access(text)
		a.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "bob", Name: "Bob"}})
		child, _ := a.mint(parent, latchkey.Narrowing{Client: latchkey.Client{ID: "ada", Name: "Ada"}})
		a.update(child, func(t *latchkey.Token) { t.Name = "Ada's" }) // 12
		for _, id := range []string{"ada", "bob"} {                   // 13 and 14
			who, err := a.acme.Assume(latchkey.Client{ID: id}, anyOfLatchkey)
			a.ok(err)
			by, err := a.acme.As(who)
			a.ok(err)
			_, err = by.CreateRole(a.ctx, latchkey.Role{Name: "made by the one of " + strings.ToUpper(id[:1])})
			a.ok(err)
		}
		a.proven()
		a.ok(a.acme.EraseClient(a.ctx, "ada"))
		a.ok(a.acme.EraseClient(a.ctx, "ada"))
		a.key(readAll())
		r := a.proven()
		require.Equal(t, 2, r.Erased)
		events, err := a.trail.all(a.ctx, "acme")
		a.ok(err)
		require.Empty(t, events[11].Before, "the record of Ada's token")
		require.Equal(t, []string{"client:", "client:bob"}, []string{events[12].Actor, events[13].Actor})
		for _, e := range events {
			// Between quotes: an id may end in these letters.
			require.NotContains(t, fmt.Sprintf("%s %s", e.Before, e.After), `"ada"`)
			require.NotEqual(t, "client:ada", e.Actor)
		}

		a.meddle(14, func(e *latchkey.Event) { e.Actor = "client:eve" })
		require.Equal(t, []string{"edited 14-14"}, faults(a.check()))
		// Others are not erased by it.
		a.meddle(14, func(e *latchkey.Event) { e.Actor = "client:" })
		require.Equal(t, []string{"erased 14-14"}, faults(a.check()))
		a.meddle(14, func(e *latchkey.Event) { e.Before, e.After, e.Reason = nil, nil, "" })
		require.Equal(t, []string{"erased 14-14"}, faults(a.check()))
		a.meddle(12, func(e *latchkey.Event) { e.From = "192.0.2.1" })
		require.Equal(t, []string{"edited 12-12"}, faults(a.check()), "an erased event is still protected")
		a.meddle(12, func(e *latchkey.Event) { e.Reason = "invented" })
		require.Equal(t, []string{"edited 12-12"}, faults(a.check()))
		// Nor does what was erased before allow what comes after.
		last := events[len(events)-1].Seq
		a.meddle(last, func(e *latchkey.Event) { e.Before, e.After = nil, nil })
		require.Equal(t, []string{fmt.Sprintf("erased %d-%d", last, last)}, faults(a.check()))
		a.trail.edit = nil
		who, err := a.acme.Assume(latchkey.Client{ID: "ada"}, anyOfLatchkey)
		a.ok(err)
		by, err := a.acme.As(who)
		a.ok(err)
		_, err = by.CreateRole(a.ctx, latchkey.Role{Name: "of the same client, later"})
		a.ok(err)
		last++
		a.proven()
		a.meddle(last, func(e *latchkey.Event) { e.Actor = "client:" })
		require.Equal(t, []string{fmt.Sprintf("erased %d-%d", last, last)}, faults(a.check()))
		// An edited event allows nothing.
		a.trail.edit = func(all []latchkey.Event) []latchkey.Event {
			for i := range all {
				if all[i].Action == "audit.redact" {
					all[i].Actor = "x"
				}
			}
			return all
		}
		require.Contains(t, faults(a.check()), "erased 12-12")
		require.Contains(t, faults(a.check()), "erased 13-13")
	}
}

// Purge and EraseClient read what somebody else may have written. They vouch for nothing that is not as it was written.
func TestNothingIsLaundered(t *testing.T) {
	a := newAudited(t, ring(t, 1), func(o *latchkey.Options) { o.KeepEvents = 2 * time.Hour })
	a.turn(3 * time.Hour)
	a.key(readAll()) // 11, of now
	a.key(readAll())
	a.meddle(11, func(e *latchkey.Event) { e.At = e.At.Add(-2*time.Hour - time.Minute) })
	_, err := a.world.keys.Purge(a.ctx)
	a.ok(err)
	a.trail.edit = lacking(11) // as a store would have removed it
	r := a.check()
	require.Equal(t, []string{"missing 11-11"}, faults(r))
	require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Removed)

	for what, edit := range map[string]func(*latchkey.Event){
		"an edited event": func(e *latchkey.Event) { e.After = []byte(`{"client":{"id":"ada"}}`) },
		"one without a hash": func(e *latchkey.Event) {
			e.After, e.Prev, e.Hash = []byte(`{"client":{"id":"ada"}}`), nil, nil
		},
	} {
		a = newAudited(t, ring(t, 1))
		events, err := a.trail.all(a.ctx, "acme")
		a.ok(err)
		object := events[9].Object // whose event 1 is, too
		a.meddle(10, edit)
		a.ok(a.acme.EraseClient(a.ctx, "ada"))
		a.trail.edit = nil
		all, err := a.trail.all(a.ctx, "acme")
		a.ok(err)
		require.Empty(t, all[0].After, what)
		require.Equal(t, object, all[0].Object)
		require.Equal(t, []string{"erased 1-1", "erased 10-10"}, faults(a.check()), what)
	}

	// Nor for what the row of a token says.
	a = newAudited(t, ring(t, 1))
	a.world.store.Store = &claiming{a.world.store.Store, a.keys[0].ID}
	a.ok(a.acme.EraseClient(a.ctx, "ada"))
	r = a.check()
	require.Empty(t, r.Faults)
	require.Zero(t, r.Erased, "the events of the token are whole")
}

// claiming is a store that says of one token that it is ada's.
type claiming struct {
	latchkey.Store
	id string
}

func (s *claiming) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	client := q.Client
	q.Client = ""
	all, err := s.Store.Tokens(ctx, owner, q)
	if client != "ada" {
		return all, err
	}
	return slices.DeleteFunc(all, func(t latchkey.Token) bool { return t.ID != s.id }), err
}

// With a Keyring, an event without a key allows no erasure and no removal: anybody could have written it.
func TestUnkeyedEventsAllowNothing(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	a.use(nil)
	a.ok(a.acme.Erase(a.ctx))
	a.use(ring(t, 1))
	require.Equal(t, []string{"missing 1-10"}, faults(a.check()))

	a = newAudited(t, ring(t, 1))
	_, text := a.issue(latchkey.KindSecret, latchkey.Settings{})
	child, _ := a.mint(a.access(text), latchkey.Narrowing{Client: latchkey.Client{ID: "ada"}})
	a.update(child, func(t *latchkey.Token) { t.Name = "Ada's" })
	a.use(nil)
	a.ok(a.acme.EraseClient(a.ctx, "ada"))
	a.use(ring(t, 1))
	require.Equal(t, []string{"erased 12-12"}, faults(a.check()))
}

func TestManagerAnchor(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	_, _, err := a.world.keys.For("globex").Issue(a.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	a.ok(err)
	errHost := errors.New("the host's")
	var kept []latchkey.AuditAnchor
	anchor := func(fail string) (int, error) {
		kept = nil
		return a.world.keys.Anchor(a.ctx, "anchors", func(_ context.Context, x latchkey.AuditAnchor) error {
			if x.Owner == fail {
				return errHost
			}
			kept = append(kept, x)
			return nil
		})
	}
	n, err := anchor("acme")
	a.is(errHost, err)
	require.Equal(t, 1, n)
	require.Equal(t, "globex", kept[0].Owner)
	n, err = anchor("")
	a.ok(err)
	require.Equal(t, 1, n, "what failed comes again")
	require.Equal(t, uint64(10), kept[0].Seq)
	a.proven(kept[0])
	n, err = anchor("")
	a.ok(err)
	require.Zero(t, n)
	a.key(readAll())
	n, err = anchor("")
	a.ok(err)
	require.Equal(t, 1, n)
	require.Equal(t, uint64(11), kept[0].Seq)
	_, err = a.world.keys.Anchor(a.ctx, "", func(context.Context, latchkey.AuditAnchor) error { return nil })
	a.is(latchkey.ErrInvalid, err)
}

func TestVerifyAuditNeedsARight(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	for rules, want := range map[latchkey.Resource]error{"latchkey/event": nil, "latchkey/usage": latchkey.ErrDenied} {
		who, err := a.acme.Assume(latchkey.Client{ID: "ada"}, latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On(latchkey.Pattern(rules))})
		a.ok(err)
		by, err := a.acme.As(who)
		a.ok(err)
		_, err = by.VerifyAudit(a.ctx, latchkey.AuditCheck{})
		a.is(want, err)
		_, err = by.AuditCheckpoint(a.ctx)
		a.is(want, err)
	}
}

// The pages of a long trail are verified one by one, and a caller may leave.
func TestVerifyAuditOfALongTrail(t *testing.T) {
	a := newAudited(t, ring(t, 1))
	for range 1200 {
		a.ok(a.acme.Configure(a.ctx, func(o *latchkey.Owner) error { o.Disabled = !o.Disabled; return nil }))
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	var at []uint64
	r, err := a.acme.VerifyAudit(ctx, latchkey.AuditCheck{Progress: func(n, last uint64) {
		require.Equal(t, uint64(1210), last)
		if at = append(at, n); len(at) == 2 {
			cancel()
		}
	}})
	a.is(context.Canceled, err)
	require.Equal(t, []uint64{500, 1000}, at)
	require.Equal(t, 1000, r.Chained)
	require.Equal(t, 1210, a.proven().Chained)
	a.trail.edit = func(all []latchkey.Event) []latchkey.Event {
		for i := range all {
			all[i].From = "192.0.2.1"
		}
		return all
	}
	r = a.check()
	require.Equal(t, []int{1000, 210}, []int{len(r.Faults), r.MoreFaults})
}

func TestKeepEventsIsAtLeastAnHour(t *testing.T) {
	for keep, bad := range map[time.Duration]bool{time.Hour - 1: true, time.Hour: false, 0: false, -1: false} {
		f := func() { latchkey.New(memstore.New(nil), &latchkey.Options{KeepEvents: keep}) }
		if bad {
			require.Panics(t, f)
		} else {
			require.NotPanics(t, f)
		}
	}
}

// An anchor has one spelling. Another one of the same numbers is none.
func TestAnAnchorHasOneSpelling(t *testing.T) {
	hash := base64.RawURLEncoding.EncodeToString(make([]byte, 56))
	sign := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	anchor := func(owner, seq, at, key, sign string) string {
		owner = base64.RawURLEncoding.EncodeToString([]byte(owner))
		return strings.Join([]string{"latchkey-audit-1", owner, seq, hash, at, key, sign}, ":")
	}
	for text, ok := range map[string]bool{
		anchor("acme", "7", "1", "3", sign):                                   true,
		anchor("acme", "7", "0", "0", ""):                                     true,
		anchor(strings.Repeat("o", 256), "7", "1", "3", sign):                 true,
		anchor(strings.Repeat("o", 257), "7", "1", "3", sign):                 false,
		anchor("", "7", "1", "3", sign):                                       false,
		anchor("ac\xff", "7", "1", "3", sign):                                 false,
		anchor("acme", "07", "1", "3", sign):                                  false,
		anchor("acme", "0", "1", "3", sign):                                   false,
		anchor("acme", "7", "+1", "3", sign):                                  false,
		anchor("acme", "7", "-0", "3", sign):                                  false,
		anchor("acme", "7", "1", "03", sign):                                  false,
		anchor("acme", "7", "1", "0", ""):                                     false,
		anchor("acme", "7", "0", "0", sign):                                   false,
		anchor("acme", "7", "1", "3", ""):                                     false,
		anchor("acme", "7", "1", "3", sign[:42]):                              false,
		anchor("acme", "7", "1", "4294967296", sign):                          false,
		anchor("acme", "7", "1", "3", sign) + ":":                             false,
		" " + anchor("acme", "7", "1", "3", sign):                             false,
		strings.Replace(anchor("acme", "7", "1", "3", sign), "-1:", "-2:", 1): false,
	} {
		a, err := latchkey.ParseAuditAnchor(text)
		if ok {
			require.NoError(t, err, text)
			require.Equal(t, text, a.String())
			continue
		}
		require.ErrorIs(t, err, latchkey.ErrInvalid, text)
		require.Zero(t, a, text)
	}
}

func FuzzParseAuditAnchor(f *testing.F) {
	signed := latchkey.AuditAnchor{Owner: "acme", Seq: 7, Hash: bytes.Repeat([]byte{1}, 56), KeyID: 3,
		At: time.UnixMicro(1).UTC(), Signature: bytes.Repeat([]byte{2}, 32)}
	f.Add(signed.String())
	signed.KeyID, signed.Signature, signed.At = 0, nil, time.Time{}
	f.Add(signed.String())
	f.Add("latchkey-audit-1:::::::")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := latchkey.ParseAuditAnchor(text)
		if err != nil {
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.Zero(t, a)
			return
		}
		require.Equal(t, text, a.String())
		require.Len(t, a.Hash, 56)
	})
}
