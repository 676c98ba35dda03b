package webforce

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Only a session may call access.*: one of latchkey's, or one that the host assumed.
func TestWhoMayAdminister(t *testing.T) {
	w := newFixture(t, nil)
	require.False(t, mayAdminister(latchkey.Access{}), "the zero Access is nobody's")
	assumed, err := w.acme.Assume(latchkey.Client{ID: "7"}, nil)
	require.NoError(t, err)
	require.True(t, mayAdminister(assumed))
	for kind, may := range map[latchkey.Kind]bool{latchkey.KindSession: true, latchkey.KindAPIKey: false,
		latchkey.KindSecret: false, latchkey.KindPublishable: false} {
		spec := latchkey.Spec{Kind: kind}
		if kind == latchkey.KindSession {
			spec.Validity.NotAfter = w.now().Add(time.Hour)
		}
		_, text := w.issue(w.acme, spec)
		access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: text})
		require.NoError(t, err)
		require.Equal(t, may, mayAdminister(access), kind)
	}
}

// What a page of the host's shows of each kind of resource.
func TestResourceTypesHaveNames(t *testing.T) {
	for _, r := range ResourceTypes() {
		require.NotEmpty(t, r.Name)
		require.NotEmpty(t, r.Actions)
		require.NotEmpty(t, r.Template)
	}
}
