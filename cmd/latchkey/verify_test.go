package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A secret whose overlap is over is refused as rotated, and revoke -stdin leaves the token alone: it goes on with a
// newer secret.
func TestSecretThatARotationEnded(t *testing.T) {
	dir := t.TempDir()
	old := must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin")
	var token struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(must(t, dir, "", "list", "-json")), &token))
	fresh := must(t, dir, "", "rotate", token.ID, "-overlap", "1s")

	var r result
	require.Eventually(t, func() bool {
		r = try(t, dir, old, "verify", "-json")
		return r.code != exitDone
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, exitRefused, r.code, r.err)
	require.Contains(t, r.out, `"valid":false,"refused":"rotated","secret_ends":"`)
	r = try(t, dir, old, "verify")
	require.Equal(t, exitRefused, r.code)
	require.Contains(t, r.out, "a rotation ended this secret at ")
	r = try(t, dir, old, "revoke", "-stdin")
	require.Equal(t, exitRefused, r.code)
	require.Contains(t, r.err, "a rotation ended this secret: it lets nobody in")
	must(t, dir, fresh, "verify")
}
