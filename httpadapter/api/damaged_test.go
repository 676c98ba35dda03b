package api

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// spoilt is a store in which the records with some ids cannot be read. Of an owner's own record the id is the owner's.
// What is spoilt may change while the store is read.
type spoilt struct {
	latchkey.Store
	now atomic.Pointer[damage]
}

// damage says which records cannot be read, and why.
type damage struct {
	ids  map[string]bool
	bare bool  // nothing is left of them but that they are damaged
	why  error // nil: a *latchkey.DamagedError
}

// in returns the same store over another one, for setup.
func (s *spoilt) in(of latchkey.Store) latchkey.Store {
	s.Store = of
	return s
}

func (s *spoilt) spoil(d damage) { s.now.Store(&d) }

func (s *spoilt) damage() damage {
	if d := s.now.Load(); d != nil {
		return *d
	}
	return damage{}
}

func (d damage) err(err error, kind latchkey.ChangeKind, owner, id string) error {
	if err != nil || !d.ids[id] {
		return err
	}
	if d.why != nil {
		return d.why
	}
	return &latchkey.DamagedError{Kind: kind, Owner: owner, ID: id, Err: errors.New("cut off")}
}

func (s *spoilt) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	d := s.damage()
	f, err := s.Store.Load(ctx, owner, id)
	if err = d.err(err, latchkey.ChangedToken, owner, id); d.ids[id] {
		f.Token = latchkey.Token{ID: id, Owner: owner, Version: f.Token.Version, Kind: f.Token.Kind, Damaged: true}
	}
	if d.bare && d.ids[id] {
		f = latchkey.Found{Token: latchkey.Token{Damaged: true}}
	}
	return f, err
}

func (s *spoilt) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	d := s.damage()
	list, err := s.Store.Secrets(ctx, owner, id)
	return list, d.err(err, latchkey.ChangedToken, owner, id)
}

func (s *spoilt) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	d := s.damage()
	r, err := s.Store.Role(ctx, owner, id)
	if err = d.err(err, latchkey.ChangedRole, owner, id); d.ids[id] {
		r = latchkey.Role{ID: id, Owner: owner, Version: r.Version, Damaged: true}
	}
	if d.bare && d.ids[id] {
		r = latchkey.Role{Damaged: true}
	}
	return r, err
}

func (s *spoilt) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	d := s.damage()
	o, err := s.Store.Owner(ctx, owner)
	if err = d.err(err, latchkey.ChangedOwner, owner, owner); d.ids[owner] {
		o = latchkey.Owner{ID: owner, Version: o.Version, Boundary: latchkey.Permissions{}, Damaged: true}
	}
	if d.bare && d.ids[owner] {
		o = latchkey.Owner{Damaged: true}
	}
	return o, err
}

// What is left of a record that cannot be read is shown, so that it can be ended or replaced. If nothing is left, or if
// the store fails in another way, the record is not available.
func TestWhatIsLeftOfADamagedRecord(t *testing.T) {
	store := &spoilt{}
	h := newHouse(t, setup{store: store.in})
	ids := map[string]bool{h.plainID: true, h.role.ID: true, "acme": true}
	for _, c := range []struct {
		bare bool
		why  error
	}{{}, {bare: true}, {why: latchkey.ErrUnavailable}} {
		store.spoil(damage{ids, c.bare, c.why})
		for target, id := range map[string]string{"/tokens/" + h.plainID: h.plainID, "/roles/" + h.role.ID: h.role.ID,
			"/owner": "acme", "/tokens/" + h.plainID + "/secrets": ""} {
			got := h.do("GET", target, nil)
			if c.why != nil || c.bare && id != "" {
				got.refused(503, "unavailable")
			} else if left := got.ok(200); id == "" {
				require.Len(t, left["items"], 1)
			} else {
				require.Equal(t, id, left["id"])
				require.Equal(t, true, left["damaged"])
			}
		}
	}
}

// A caller whose own record cannot be read any more is told of nothing but itself and the catalogue.
func TestACallerWhoseRecordIsDamaged(t *testing.T) {
	itself := []string{"getMe", "listMyCredits", "listMyReach", "getCatalogue"} // known since it was accepted
	for id, op := range describedOperations() {
		if slices.Contains(itself, id) {
			continue
		}
		store := &spoilt{}
		h := newHouse(t, setup{store: store.in})
		e := h.examples()[id]
		store.spoil(damage{ids: map[string]bool{h.adminID: true}})
		got := h.request(op, e)
		store.spoil(damage{})
		assert.Equal(t, 503, got.Code, "%s: %s", id, got.Body)
	}
}

// Of a holder whose rights come from a record that the caller may not read, the rows are not told. Of one whose rights
// come from a record that cannot be read, nothing is known.
func TestWhoOfHiddenAndDamagedRights(t *testing.T) {
	store := &spoilt{}
	h := newHouse(t, setup{store: store.in})
	_, narrow := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")}})
	who := func(by string) map[string]any {
		t.Helper()
		for _, item := range h.as(by, "GET", "/who?action=read&resource=data/1", nil).ok(200)["items"].([]any) {
			holder := item.(map[string]any)
			if token := holder["token"].(map[string]any); token["id"] == h.token.ID {
				delete(holder, "token")
				return holder
			}
		}
		return nil
	}
	require.Equal(t, map[string]any{"rows": map[string]any{"field": "region", "op": "=", "value": "EU"}}, who(h.admin))
	require.Equal(t, map[string]any{"hidden": true}, who(narrow))
	spoilt := map[string]bool{h.role.ID: true}
	store.spoil(damage{ids: spoilt})
	require.Equal(t, map[string]any{"unknown": true}, who(h.admin))
	store.spoil(damage{ids: spoilt, why: latchkey.ErrUnavailable})
	h.do("GET", "/who?action=read&resource=data/1", nil).refused(503, "unavailable")
}

// A token that cannot be read can be switched off, which is all that a patch of it may say.
func TestPatchOfADamagedToken(t *testing.T) {
	store := &spoilt{}
	h := newHouse(t, setup{store: store.in})
	store.spoil(damage{ids: map[string]bool{h.plainID: true}})
	h.do("PATCH", "/tokens/"+h.plainID, `{"disabled":true,"name":"x"}`).refused(503, "unavailable")
	h.do("PATCH", "/tokens/"+h.plainID, `{"name":"x"}`).refused(503, "unavailable")
	require.Equal(t, true, h.do("PATCH", "/tokens/"+h.plainID, `{"disabled":true}`).ok(200)["disabled"])
}
