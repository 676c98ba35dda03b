package nodes

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// written changes each Write before the store gets it.
type written struct {
	latchkey.Store
	edit func(*latchkey.Write)
}

func (s written) Write(ctx context.Context, w latchkey.Write) error {
	s.edit(&w)
	return s.Store.Write(ctx, w)
}

// audits are the Managers of a test over one database.
type audits struct {
	*testing.T
	db             *sql.DB
	store          latchkey.Store
	keys           *latchkey.Manager
	older, earlier *latchkey.Manager // without a chain; two hours ago
	anotherKeyring *latchkey.Manager
}

func newAudits(t *testing.T, e *harness.NodeEngine) *audits {
	db := e.Open(t, e.Place(t))
	store, err := sqlstore.New(t.Context(), db, e.Dialect, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	manager := func(key byte, s latchkey.Store) *latchkey.Manager {
		ring, err := latchkey.NewKeyring(latchkey.Key{ID: uint32(key), Secret: bytes.Repeat([]byte{key}, 32)})
		require.NoError(t, err)
		m := latchkey.New(s, &latchkey.Options{Keyring: ring, KeepEvents: time.Hour})
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m
	}
	return &audits{T: t, db: db, store: store, keys: manager(1, store), anotherKeyring: manager(2, store),
		older: manager(1, written{store, func(w *latchkey.Write) { w.Seal = nil }}),
		earlier: manager(1, written{store, func(w *latchkey.Write) {
			for i := range w.Events {
				w.Events[i].At = w.Events[i].At.Add(-2 * time.Hour)
			}
		}})}
}

// fill writes n events of an owner, the last of which ends a token for a reason.
func (a *audits) fill(m *latchkey.Manager, owner string, n int) {
	a.Helper()
	var last latchkey.Token
	for range n - 1 {
		var err error
		last, _, err = m.For(owner).Issue(a.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(a, err)
	}
	require.NoError(a, m.For(owner).Revoke(a.Context(), last.ID, "it leaked"))
}

// exec runs statements, in which OF stands for the condition on the owner.
func (a *audits) exec(owner, statements string) {
	a.Helper()
	for _, text := range strings.Split(statements, ";") {
		_, err := a.db.Exec(strings.ReplaceAll(text, "OF", "owner = '"+owner+"'"))
		require.NoError(a, err, text)
	}
}

func (a *audits) anchor(owner string) latchkey.AuditAnchor {
	a.Helper()
	anchor, err := a.keys.For(owner).AuditCheckpoint(a.Context())
	require.NoError(a, err)
	return anchor
}

func (a *audits) check(owner string, anchors ...latchkey.AuditAnchor) (r latchkey.AuditReport, faults []string) {
	a.Helper()
	r, err := a.keys.For(owner).VerifyAudit(a.Context(), latchkey.AuditCheck{Anchors: anchors})
	require.NoError(a, err)
	for _, f := range r.Faults {
		faults = append(faults, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last))
	}
	return r, faults
}

// Somebody who writes the database, and lacks the keyring, is found out, on each engine.
func TestAuditTrailIsTamperEvident(t *testing.T) {
	attacks := map[string]struct {
		sql      string   // EDIT stands for the beginning of an UPDATE of events
		alone    []string // what is found without an anchor
		anchored []string // what is found beside that with one
	}{
		"nothing":    {},
		"a reason":   {sql: "EDIT reason = 'none' WHERE OF AND seq = 10", alone: []string{"edited 10-10"}},
		"no reason":  {sql: "EDIT reason = '' WHERE OF AND seq = 10", alone: []string{"edited 10-10"}},
		"who":        {sql: "EDIT actor = 'x' WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"what":       {sql: "EDIT action = 'x' WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"when":       {sql: "EDIT at = at + 1 WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"from where": {sql: "EDIT origin = 'x' WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"to what":    {sql: "EDIT object = 'x' WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"before":     {sql: "EDIT old = new WHERE OF AND seq = 10", alone: []string{"edited 10-10"}},
		"after":      {sql: "EDIT new = NULL WHERE OF AND seq = 10", alone: []string{"edited 10-10"}},
		"the record": {sql: "EDIT old = NULL, new = NULL, reason = '' WHERE OF AND seq = 10",
			alone: []string{"erased 10-10"}},
		"a hash":        {sql: "EDIT hash = prev WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"a place":       {sql: "EDIT prev = hash WHERE OF AND seq = 4", alone: []string{"edited 4-4"}},
		"one deleted":   {sql: "DELETE FROM latchkey_events WHERE OF AND seq = 4", alone: []string{"missing 4-4"}},
		"the beginning": {sql: "DELETE FROM latchkey_events WHERE OF AND seq < 4", alone: []string{"missing 1-3"}},
		"the end":       {sql: "DELETE FROM latchkey_events WHERE OF AND seq > 8", alone: []string{"cut 9-10"}},
		"all":           {sql: "DELETE FROM latchkey_events WHERE OF", alone: []string{"cut 1-10"}},
		"two swapped": {sql: `UPDATE latchkey_events SET seq = 1000 WHERE OF AND seq = 3;
			UPDATE latchkey_events SET seq = 3 WHERE OF AND seq = 7; UPDATE latchkey_events SET seq = 7 WHERE OF AND seq = 1000`,
			alone: []string{"edited 3-3", "edited 7-7"}},
		"the end, and the count": {sql: `UPDATE latchkey_event_seqs SET seq = 8, head = (SELECT prev FROM latchkey_events
			WHERE OF AND seq = 9) WHERE OF; DELETE FROM latchkey_events WHERE OF AND seq > 8`, anchored: []string{"cut 9-10"}},
		"the owner's row": {sql: `DELETE FROM latchkey_event_seqs WHERE OF; DELETE FROM latchkey_events WHERE OF`,
			anchored: []string{"cut 1-10"}},
	}
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			a := newAudits(t, e)
			n := 0
			for what, attack := range attacks {
				n++
				owner := fmt.Sprint("owner", n)
				a.fill(a.keys, owner, 10)
				anchor := a.anchor(owner)
				if attack.sql != "" {
					a.exec(owner, strings.ReplaceAll(attack.sql, "EDIT", "UPDATE latchkey_events SET"))
				}
				r, got := a.check(owner)
				require.Equal(t, attack.alone, got, what)
				require.Equal(t, len(got) == 0, r.Proven(), what)
				_, got = a.check(owner, anchor)
				if attack.anchored != nil {
					require.Equal(t, attack.anchored, got, what)
				} else {
					require.Subset(t, append(got, ""), attack.alone, what)
				}
			}

			t.Run("the end, and then it goes on", func(t *testing.T) {
				a.fill(a.keys, "gone", 10)
				anchor := a.anchor("gone")
				a.exec("gone", attacks["the end, and the count"].sql)
				a.fill(a.keys, "gone", 3)
				r, _ := a.check("gone")
				require.True(t, r.Proven(), "only the anchor knows")
				_, got := a.check("gone", anchor)
				require.Equal(t, []string{"edited 10-10"}, got)
			})
			t.Run("the place of the chain", func(t *testing.T) {
				for what, c := range map[string][2]string{
					"removed": {"UPDATE latchkey_event_seqs SET head = NULL WHERE OF", "order 11-11"},
					"put back": {`UPDATE latchkey_event_seqs SET head = (SELECT prev FROM latchkey_events WHERE OF AND seq = 9)
						WHERE OF`, "order 9-10"},
				} {
					owner := "place" + what[:3]
					a.fill(a.keys, owner, 10)
					a.exec(owner, c[0])
					a.fill(a.keys, owner, 2)
					_, got := a.check(owner)
					require.Equal(t, []string{c[1]}, got, what)
				}
			})
			t.Run("all hashes", func(t *testing.T) {
				a.fill(a.keys, "bare", 10)
				anchor := a.anchor("bare")
				a.exec("bare", `UPDATE latchkey_events SET prev = NULL, hash = NULL WHERE OF;
					UPDATE latchkey_event_seqs SET head = NULL WHERE OF`)
				r, got := a.check("bare")
				require.Empty(t, got)
				require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 10}}, r.Unchained)
				require.False(t, r.Proven())
				_, got = a.check("bare", anchor)
				require.Equal(t, []string{"edited 10-10"}, got)
			})
			t.Run("purge", func(t *testing.T) {
				a.fill(a.earlier, "old", 5)
				a.fill(a.keys, "old", 5)
				anchor := a.anchor("old")
				_, err := a.keys.Purge(t.Context())
				require.NoError(t, err)
				r, got := a.check("old", anchor)
				require.Empty(t, got)
				require.True(t, r.Proven())
				require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 5}}, r.Removed)
				require.Equal(t, []uint64{6, 11}, []uint64{r.First, r.Last})
				a.exec("old", "DELETE FROM latchkey_events WHERE OF AND seq = 6")
				_, got = a.check("old", anchor)
				require.Equal(t, []string{"missing 6-6"}, got)
			})
			t.Run("erase", func(t *testing.T) {
				a.fill(a.keys, "erased", 5)
				anchor := a.anchor("erased")
				require.NoError(t, a.keys.For("erased").Erase(t.Context()))
				a.fill(a.keys, "erased", 2)
				r, got := a.check("erased", anchor)
				require.Empty(t, got)
				require.True(t, r.Proven())
				require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 5}}, r.Removed)
				a.exec("erased", "DELETE FROM latchkey_events WHERE OF AND seq = 6")
				_, got = a.check("erased", anchor)
				require.Equal(t, []string{"missing 1-6"}, got)
			})
			t.Run("erase of a client", func(t *testing.T) {
				ctx, acme := t.Context(), a.keys.For("clients")
				all := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")}
				for _, id := range []string{"ada", "bob"} {
					_, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: id}})
					require.NoError(t, err)
					who, err := acme.Assume(latchkey.Client{ID: id}, all)
					require.NoError(t, err)
					by, err := acme.As(who)
					require.NoError(t, err)
					_, err = by.CreateRole(ctx, latchkey.Role{Name: "of " + id})
					require.NoError(t, err)
				}
				require.NoError(t, acme.EraseClient(ctx, "ada"))
				r, got := a.check("clients")
				require.Empty(t, got)
				require.True(t, r.Proven())
				require.Equal(t, 2, r.Erased)
				a.exec("clients", "UPDATE latchkey_events SET actor = 'client:' WHERE OF AND seq = 4")
				_, got = a.check("clients")
				require.Equal(t, []string{"erased 4-4"}, got)
			})
			t.Run("a program of an earlier version", func(t *testing.T) {
				a.fill(a.older, "mixed", 3)
				a.fill(a.keys, "mixed", 3)
				r, got := a.check("mixed")
				require.Empty(t, got)
				require.True(t, r.Proven())
				a.fill(a.older, "mixed", 2)
				a.fill(a.keys, "mixed", 2)
				r, got = a.check("mixed")
				require.Empty(t, got)
				require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 3}, {First: 7, Last: 8}}, r.Unchained)
				require.False(t, r.Proven())
			})
			t.Run("another keyring", func(t *testing.T) {
				a.fill(a.keys, "keys", 3)
				a.fill(a.anotherKeyring, "keys", 2)
				r, got := a.check("keys")
				require.Empty(t, got)
				require.Equal(t, []latchkey.AuditRange{{First: 4, Last: 5}}, r.Unverifiable)
				require.False(t, r.Proven())
			})
			t.Run("many at once", func(t *testing.T) {
				done := make(chan error)
				for range 4 {
					go func() {
						var err error
						for i := 0; i < 10 && err == nil; i++ {
							_, _, err = a.keys.For("busy").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
						}
						done <- err
					}()
				}
				for range 4 {
					require.NoError(t, <-done)
				}
				r, got := a.check("busy")
				require.Empty(t, got)
				require.True(t, r.Proven())
				require.Equal(t, 40, r.Chained)
			})
		})
	}
}
