package visit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type counted struct{ refused int }

func (*counted) Enter(context.Context) error { return nil }
func (*counted) Leave(bool)                  {}
func (c *counted) Refused(any)               { c.refused++ }

func TestFrom(t *testing.T) {
	require.Nil(t, From(t.Context()), "a context without a Visit has none")
	require.Nil(t, From(context.WithValue(t.Context(), Key{}, "text")), "what is no Visit is none")

	var v counted
	ctx := context.WithValue(t.Context(), Key{}, Visit(&v))
	From(ctx).Refused("a refusal")
	require.Equal(t, 1, v.refused)
}
