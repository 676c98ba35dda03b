package engines

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

func TestEnginesSmoke(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		ctx := context.Background()
		s := e.Store(t, e.Place(t))
		world.Build(t, s)
		f, err := s.ByDigest(ctx, 0, world.Digest(2))
		require.NoError(t, err)
		require.Equal(t, world.ChildID, f.Token.ID)
		require.Len(t, f.Ancestors, 1)
		require.Len(t, f.Roles, 2)
		_, err = s.ByDigest(ctx, 0, world.Digest(3))
		require.ErrorIs(t, err, latchkey.ErrNotFound)
	})
}
