package latchkey_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestDamagedErrorText(t *testing.T) {
	err := error(&latchkey.DamagedError{Kind: latchkey.ChangedOwner, Owner: "acme", ID: "acme", Err: context.Canceled})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err,
		`latchkey: store unavailable: the stored owner record "acme" of owner "acme" cannot be read: context canceled`)
	require.EqualError(t, &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: "x"},
		`latchkey: store unavailable: the stored token "x" of owner "acme" cannot be read`)
}
