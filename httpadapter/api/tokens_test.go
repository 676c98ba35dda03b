package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestTokenFromItsIssueToItsEnd(t *testing.T) {
	w := newWorld(t, setup{})
	made := w.do("POST", "/tokens", `{"kind":"api_key","name":"ci","permissions":[{"allow":["read"],"on":["a/*"]}],
		"limits":{"quotas":[{"amount":5000000,"per":"month"}]}}`)
	body := made.ok(http.StatusCreated)
	token := body["token"].(map[string]any)
	id := token["id"].(string)
	require.Equal(t, "tokens/"+id, made.Header().Get("Location"))
	require.Equal(t, "no-store", made.Header().Get("Cache-Control"))
	require.Equal(t, map[string]any{"quotas": []any{map[string]any{"amount": 5e6, "per": "month"}}}, token["limits"])
	got := w.do("GET", "/tokens/"+id, nil)
	got.ok(200)
	tag := got.Header().Get("ETag")
	require.Equal(t, tag, made.Header().Get("ETag"))
	for _, known := range []string{tag, tag + `, "x"`, `"x", ` + tag + `, W/"y"`, "W/" + tag, "*"} {
		require.Equal(t, 304, w.do("GET", "/tokens/"+id, nil, "If-None-Match", known).Code, known)
	}
	require.Equal(t, 200, w.do("GET", "/tokens/"+id, nil, "If-None-Match", `"x", W/"y"`).Code)
	malformed := strings.Trim(tag, `"`)
	require.Equal(t, 200, w.do("GET", "/tokens/"+id, nil, "If-None-Match", malformed).Code, "as if there were none")

	w.as(body["secret"].(string), "GET", "/tokens", nil).ok(200)
	used := w.do("GET", "/tokens/"+id, nil, "If-None-Match", tag)
	used.ok(200)
	require.NotEqual(t, tag, used.Header().Get("ETag"), "the last use is part of the reply")

	edited := w.do("PATCH", "/tokens/"+id, `{"name":"ci 2","permissions":null}`, "If-Match", tag)
	require.Equal(t, "ci 2", edited.ok(200)["name"])
	w.do("PATCH", "/tokens/"+id, `{"name":"ci 3"}`, "If-Match", tag).refused(412, "stale")

	w.do("POST", "/tokens/"+id+"/revoke", `{"reason":"left"}`).ok(204)
	require.Equal(t, "revoked", w.do("GET", "/tokens/"+id, nil).ok(200)["refused"])
	w.do("DELETE", "/tokens/"+id, nil).ok(204)
	w.do("GET", "/tokens/"+id, nil).refused(404, "not-found")
}

func TestWhereARoleIs(t *testing.T) {
	w := newWorld(t, setup{})
	made := w.do("POST", "/roles", `{"name":"reader"}`)
	id := made.ok(http.StatusCreated)["id"].(string)
	require.Equal(t, "roles/"+id, made.Header().Get("Location"))
}

// Usage that cannot be read is no matter of its size.
func TestWhatIsTooMuchForOneReply(t *testing.T) {
	for n, good := range map[int]bool{maxRows: true, maxRows + 1: false} {
		l, err := bounded(make([]int, n), nil)
		require.Equal(t, good, err == nil)
		require.Len(t, l.Items, n)
		_, err = bounded(make([]int, n), latchkey.ErrUnavailable)
		require.Equal(t, latchkey.ErrUnavailable, err)
	}
}

// The key of a request that is done once has a bound, and may stand in quotes.
func TestKeysOfRequests(t *testing.T) {
	long := strings.Repeat("k", maxOnceKey)
	for text, want := range map[string]string{"a": "a", `"a"`: "a", `""`: "", `"`: "", "": "", "a b": "", "a\\": "",
		"~": "~", long: long, long + "k": "", `"` + long + `"`: long} {
		key, ok := onceKey(text)
		require.Equal(t, want != "", ok, text)
		if ok {
			require.Equal(t, want, key)
		}
	}
}
