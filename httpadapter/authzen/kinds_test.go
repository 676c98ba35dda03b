package authzen

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// The id of a resource stands where its type says, or nowhere.
func TestWhereTheIDStands(t *testing.T) {
	for on, want := range map[string]latchkey.Resource{"": "data/7", "{id}": "7", "{id}/file": "7/file",
		"file/{id}": "file/7", "a/{id}/b": "a/7/b", "a/b": "a/b"} {
		require.Equal(t, want, newKind("data", ResourceType{On: on}).resource("7"), "%q", on)
	}
	require.Equal(t, latchkey.Path("a/b"), newKind("data", ResourceType{On: "{id}"}).resource("a/b"))
}

// The text of a token in a request is told, unless it is no secret.
func TestTextsOfTokensInRequests(t *testing.T) {
	text := func(kind latchkey.Kind, test bool) string {
		spec := latchkey.Spec{Kind: kind, Test: test}
		_, secret, err := latchkey.New(memstore.New(nil), nil).For("acme").Issue(t.Context(), spec)
		require.NoError(t, err)
		return secret.Reveal()
	}
	for _, c := range []struct {
		text string
		want bool
	}{
		{text(latchkey.KindSecret, false), true},
		{text(latchkey.KindSecret, true), true},
		{text(latchkey.KindAPIKey, false), true},
		{text(latchkey.KindPublishable, false), false},
		{text(latchkey.KindPublishable, true), false},
	} {
		for _, form := range []string{`{"id":%q}`, `{"a":["x %s y"]}`, `{%q:1}`, `{"a":"\u0041","id":%q}`} {
			require.Equal(t, c.want, holdsSecret(fmt.Appendf(nil, form, c.text)), form)
		}
		escaped := fmt.Appendf(nil, `{"id":"\u%04x%s"}`, c.text[0], c.text[1:])
		require.Equal(t, c.want, holdsSecret(escaped), "%s", escaped)
	}
}
