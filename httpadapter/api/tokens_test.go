package api

import (
	"crypto/sha256"
	"fmt"
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

// An old secret of a token can be ended by itself, its newest one with the token only.
func TestEndingOneSecret(t *testing.T) {
	h := newHouse(t, setup{})
	fresh := h.do("POST", "/tokens/"+h.plainID+"/rotate", `{"overlap":3600000000000}`).ok(200)["secret"].(string)
	list := "/tokens/" + h.plainID + "/secrets"
	secrets := h.do("GET", list, nil).ok(200)["items"].([]any)
	require.Len(t, secrets, 2)
	at := func(i int) string { return list + "/" + secrets[i].(map[string]any)["id"].(string) }
	h.do("DELETE", at(1), nil).refused(409, "last-secret")
	h.do("DELETE", at(0), nil).ok(204)
	h.do("DELETE", at(0), nil).refused(404, "not-found")
	h.as(h.plain, "GET", "/me", nil).refused(401, "invalid-token")
	h.as(fresh, "GET", "/me", nil).ok(200)
	h.do("POST", "/tokens/"+h.plainID+"/revoke", nil).ok(204)
	h.do("DELETE", at(1), nil).refused(409, "last-secret")
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

// A token is made of a text that another system made, or of what that system kept of it: of one of them.
func TestImportOfATextOrOfWhatWasKept(t *testing.T) {
	h := newHouse(t, setup{})
	const first, second, both = "old_1234567890abcdef", "old_234567890abcdefg", "old_34567890abcdefgh"
	digest := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	for _, body := range []string{`{"kind":"api_key","name":"a","text":"` + first + `"}`,
		`{"kind":"api_key","name":"a","kept":{"sha256":"` + digest(second) + `","hint":"old_…efg"}}`} {
		made := h.do("POST", "/tokens/import", body)
		token := made.ok(http.StatusCreated)["token"].(map[string]any)
		require.Equal(t, "a", token["name"])
		require.Equal(t, "../tokens/"+token["id"].(string), made.Header().Get("Location"))
	}
	for _, text := range []string{first, second} {
		require.Equal(t, "a", h.as(text, "GET", "/me", nil).ok(200)["name"])
	}
	for _, body := range []string{`{"kind":"api_key"}`, `{"kind":"api_key","text":""}`,
		`{"kind":"api_key","text":"` + both + `","kept":{"sha256":"` + digest(both) + `"}}`} {
		p := h.do("POST", "/tokens/import", body).refused(400, "bad-request")
		require.Contains(t, p.Detail, "Give text or kept")
	}
	h.do("POST", "/tokens/import", `{"kind":"api_key","kept":{}}`).refused(400, "invalid")
	h.as(both, "GET", "/me", nil).refused(401, "invalid-token")
}
