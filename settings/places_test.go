package settings

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaces(t *testing.T) {
	at := filepath.FromSlash("/etc/app/latchkey.json")
	key, db := filepath.FromSlash("/run/secrets/latchkey.key"), filepath.FromSlash("/etc/app/data/app.db")
	for text, want := range map[string][]Place{
		`{"format": 1, "store": {"engine": "sqlite", "file": "data/app.db"},
			"keyring": {"file": "/run/secrets/latchkey.key"}}`: {
			{Member: "keyring", File: key}, {Member: "store.file", File: db}},
		`{"format": 1, "store": {"engine": "postgres", "dsn": {"env": "DSN"}}, "keyring": {"env": "RING"},
			"legacy": {"peppers": {"b": {"env": "B"}, "a": {"env": "A"}}}}`: {
			{Member: "keyring", Variable: "RING"}, {Member: "store.dsn", Variable: "DSN"},
			{Member: "legacy.peppers.a", Variable: "A"}, {Member: "legacy.peppers.b", Variable: "B"}},
		`{"format": 1, "store": {"engine": "sqlite", "file": "data/app.db"}}`: {{Member: "store.file", File: db}},
	} {
		s, err := Parse(at, []byte(text))
		require.NoError(t, err)
		require.Equal(t, want, s.Places())
	}
}
