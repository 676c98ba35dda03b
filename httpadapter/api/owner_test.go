package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// A change of the account is answered with the record as it is stored then, also if it ended its caller.
func TestOwnerAfterAChange(t *testing.T) {
	h := newHouse(t, setup{})
	const extra = `{ "plan" : "gold" }`
	require.NoError(t, h.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Extra, o.Limits.Rate = []byte(extra), latchkey.Rate{Count: 9, Per: time.Second, Burst: 9}
		return nil
	}))
	stored := func() latchkey.Owner {
		t.Helper()
		o, err := h.acme.Record(t.Context())
		require.NoError(t, err)
		return o
	}
	same := h.do("PATCH", "/owner", `{"disabled":false}`)
	require.EqualValues(t, 2, same.ok(200)["version"])
	read := h.do("GET", "/owner", nil)
	read.ok(200)
	require.Equal(t, read.Header().Get("ETag"), same.Header().Get("ETag"))
	require.Equal(t, extra, string(stored().Extra), "what a patch does not name stays byte for byte")
	require.EqualValues(t, 3, h.do("PATCH", "/owner", `{"extra":{"plan":null,"a":1}}`).ok(200)["version"])
	require.JSONEq(t, `{"a":1}`, string(stored().Extra))

	over := h.do("PATCH", "/owner", `{"not_before":"2026-11-30T12:00:00Z"}`).ok(200)
	now := stored()
	require.Equal(t, h.clock.now(), now.NotBefore)
	require.Equal(t, map[string]any{"id": "acme", "version": float64(now.Version), "not_before": "2026-11-30T12:00:00Z",
		"extra":  map[string]any{"a": 1.},
		"limits": map[string]any{"rate": map[string]any{"count": 9., "per": 1e9, "burst": 9.}}}, over)
	h.do("GET", "/owner", nil).refused(401, "invalid-token")
}

// A refusal says what only the host may do to a caller that may do the rest, and to no other.
func TestOwnerThatOnlyTheHostChanges(t *testing.T) {
	h := newHouse(t, setup{})
	for _, patch := range []string{`{"boundary":[]}`, `{"limits":{"rate":{"count":1,"per":1000000000}}}`,
		`{"policy":{"tokens":9}}`, `{"policy":{"tokens":9},"disabled":true}`} {
		require.Contains(t, h.do("PATCH", "/owner", patch).refused(403, "denied").Detail, "Only the host")
	}
	_, reader := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/*")}})
	p := h.as(reader, "PATCH", "/owner", `{"boundary":[]}`).refused(403, "denied")
	require.NotContains(t, p.Detail, "Only the host")

	h = newHouse(t, setup{adapter: httpadapter.Options{Test: true}})
	_, test := h.issue(latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	p = h.as(test, "PATCH", "/owner", `{"extra":1}`).refused(403, "denied")
	require.NotContains(t, p.Detail, "Only the host", "the record holds for other tokens, too")
}
