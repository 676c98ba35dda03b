package datocms

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestWhichKindsMayCall(t *testing.T) {
	for kind, may := range map[latchkey.Kind]bool{latchkey.KindAPIKey: true, latchkey.KindSession: true,
		latchkey.KindSecret: true, latchkey.KindPublishable: false, latchkey.KindAccess: false, 0: false} {
		require.Equal(t, may, mayCall(kind), kind)
	}
}
