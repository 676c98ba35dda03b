package cloudtables

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestWhichKindsMayCallAndMint(t *testing.T) {
	type may struct{ asKey, asToken, mint, mintWithRoles bool }
	for kind, want := range map[latchkey.Kind]may{
		latchkey.KindSecret:      {asKey: true, mintWithRoles: true},
		latchkey.KindPublishable: {asKey: true},
		latchkey.KindAPIKey:      {asKey: true, mint: true, mintWithRoles: true},
		latchkey.KindSession:     {asKey: true, mint: true, mintWithRoles: true},
		latchkey.KindAccess:      {asToken: true},
		0:                        {},
	} {
		got := may{mayCall(kind, false), mayCall(kind, true), mayMint(kind, false), mayMint(kind, true)}
		require.Equal(t, want, got, kind)
	}
}

func TestTheTextOfARefusal(t *testing.T) {
	require.EqualError(t, refuse("why"), "cloudtables: "+msgNoAccess+": why")
	require.EqualError(t, &refusal{msg: "x"}, "cloudtables: x")
	require.EqualError(t, &refusal{msg: "x", data: &refusalData{ID: "7"}}, "cloudtables: x")
}
