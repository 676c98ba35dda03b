package latchkey_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestConfigureRefuses(t *testing.T) {
	own := fmt.Errorf("my own")
	for name, c := range map[string]struct {
		edit func(*latchkey.Owner) error
		want error
	}{
		"nothing":        {func(*latchkey.Owner) error { return nil }, nil},
		"the id":         {func(o *latchkey.Owner) error { o.ID = "other"; return nil }, latchkey.ErrInvalid},
		"the version":    {func(o *latchkey.Owner) error { o.Version++; return nil }, latchkey.ErrInvalid},
		"when all ended": {func(o *latchkey.Owner) error { o.Since++; return nil }, latchkey.ErrInvalid},
		"a rule": {func(o *latchkey.Owner) error {
			o.Boundary = latchkey.Permissions{{}}
			return nil
		}, latchkey.ErrInvalid},
		"credits": {func(o *latchkey.Owner) error { o.Limits.Credits = -1; return nil }, latchkey.ErrInvalid},
		"much extra": {func(o *latchkey.Owner) error {
			o.Extra = bytes.Repeat([]byte("1"), 1<<20+1)
			return nil
		}, latchkey.ErrInvalid},
		"its own error": {func(o *latchkey.Owner) error { o.Disabled = true; return own }, own},
	} {
		w := newWorld(t)
		before, err := w.acme.Record(w.ctx)
		w.ok(err)
		require.ErrorIs(t, w.acme.Configure(w.ctx, c.edit), c.want, name)
		after, err := w.acme.Record(w.ctx)
		w.ok(err)
		before.Version = after.Version
		assert.Equal(t, before, after, name)
	}
}

func TestTwoConfigureAFreshOwner(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		if calls++; calls == 1 {
			w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		}
		o.Extra = []byte("{}")
		return nil
	}))
	got, err := w.acme.Record(w.ctx)
	w.ok(err)
	assert.True(t, got.Disabled)
	assert.Equal(t, 2, calls)
}

// Erase restarts the versions of an owner's record: a version seen before may then stand for other content.
func TestABoundaryAfterErase(t *testing.T) {
	w := newWorld(t)
	bound := func(on latchkey.Pattern) {
		w.configure(func(o *latchkey.Owner) {
			o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}
		})
	}
	bound("*")
	_, before := w.issue(latchkey.KindSecret, latchkey.Settings{})
	require.True(t, w.access(before).Allows(latchkey.Read, "x"))
	w.ok(w.acme.Erase(w.ctx))
	bound("a")
	_, after := w.issue(latchkey.KindSecret, latchkey.Settings{})
	assert.False(t, w.access(after).Allows(latchkey.Read, "x"))
	assert.True(t, w.access(after).Allows(latchkey.Read, "a"))
}
