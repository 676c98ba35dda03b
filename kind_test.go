package latchkey

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKindText(t *testing.T) {
	for kind, name := range map[Kind]string{
		KindSecret: "secret", KindPublishable: "publishable", KindAPIKey: "api_key", KindAccess: "access", KindSession: "session",
	} {
		assert.True(t, kind.Valid(), name)
		assert.Equal(t, name, kind.String())
		text, err := kind.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, name, string(text))
		var back Kind
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, kind, back)
	}
}

// Whoever cannot read a kind must not take it for another one.
func TestKindUnknown(t *testing.T) {
	for _, kind := range []Kind{0, 6, 255} {
		assert.False(t, kind.Valid(), "%d", kind)
		_, err := kind.MarshalText()
		assert.ErrorIs(t, err, ErrInvalid, "%d", kind)
		_, err = json.Marshal(Token{Kind: kind})
		assert.ErrorIs(t, err, ErrInvalid, "%d", kind)
	}
	assert.Equal(t, "kind(6)", Kind(6).String())
	for _, text := range []string{"", "Secret", "secret ", "apikey", "api-key", "1", "kind(1)"} {
		kind := KindSession
		assert.ErrorIs(t, kind.UnmarshalText([]byte(text)), ErrInvalid, "%q", text)
		assert.Equal(t, KindSession, kind, "%q", text)
	}
}
