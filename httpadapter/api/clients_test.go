package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// broken is a ResponseWriter that takes no body, as that of a connection which the client has left.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, errors.New("the connection is gone") }

// An export whose last part cannot be sent does not end as a whole one does: what stands between the server and the
// client, such as a host's cache, must not keep it.
func TestAnExportIsWholeOrCut(t *testing.T) {
	w := newWorld(t, setup{})
	w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: "c1"}})
	request := func(method string) *http.Request {
		r := httptest.NewRequest(method, "/clients/c1/export", nil)
		r.Header.Set("Authorization", "Bearer "+w.admin)
		return r
	}
	whole := httptest.NewRecorder()
	w.handler.ServeHTTP(whole, request("GET"))
	require.Equal(t, http.StatusOK, whole.Code)
	require.Contains(t, whole.Body.String(), `"c1"`)
	cut := broken{httptest.NewRecorder()}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { w.handler.ServeHTTP(cut, request("GET")) })
	require.NotPanics(t, func() { w.handler.ServeHTTP(cut, request("HEAD")) }, "no body is sent")
}

// headed is a ResponseWriter that counts how often a status was written.
type headed struct {
	*httptest.ResponseRecorder
	times int
}

func (h *headed) WriteHeader(status int) { h.times++; h.ResponseRecorder.WriteHeader(status) }

// An export of more than is held back is what [latchkey.Account.ExportClient] writes, with one status. If the store is
// lost before anything is sent, the reply is a problem. Later the reply breaks off.
func TestALongExport(t *testing.T) {
	var store *latchkeytest.Store
	w := newWorld(t, setup{store: func(s latchkey.Store) latchkey.Store {
		store = &latchkeytest.Store{Store: s}
		return store
	}})
	extra := json.RawMessage(`"` + strings.Repeat("x", heldLines/4) + `"`)
	export := func(method, client string) *headed {
		r := httptest.NewRequest(method, "/clients/"+client+"/export", nil)
		r.Header.Set("Authorization", "Bearer "+w.admin)
		out := &headed{ResponseRecorder: httptest.NewRecorder()}
		w.handler.ServeHTTP(out, r)
		return out
	}
	for client, tokens := range map[string]int{"short": 1, "long": 5} {
		for range tokens {
			w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: client}, Extra: extra})
		}
		var want bytes.Buffer
		require.NoError(t, w.acme.ExportClient(t.Context(), client, &want))
		require.Equal(t, tokens > 2, want.Len() > heldLines)
		for _, method := range []string{"GET", "HEAD"} {
			got := export(method, client)
			require.Equal(t, 1, got.times)
			require.Equal(t, http.StatusOK, got.Code)
			require.Equal(t, mediaLines, got.Header().Get("Content-Type"))
			if method == "GET" {
				require.Equal(t, want.String(), got.Body.String())
			} else {
				require.Empty(t, got.Body.String())
			}
		}
		store.Fail(func(call string) error {
			if call == "Events" { // which are read last
				return latchkey.ErrUnavailable
			}
			return nil
		})
		if client == "long" {
			require.PanicsWithValue(t, http.ErrAbortHandler, func() { export("GET", client) })
		} else {
			reply{export("GET", client).ResponseRecorder, t}.refused(http.StatusServiceUnavailable, "unavailable")
		}
		store.Fail(nil)
	}
}

// So many bytes of an export are held back, and no more. One that cannot be sent ends with the first part.
func TestLinesAreHeldBack(t *testing.T) {
	out := httptest.NewRecorder()
	l := lines{w: out}
	n, err := l.Write(bytes.Repeat([]byte("a"), heldLines))
	require.NoError(t, err)
	require.Equal(t, heldLines, n)
	require.Zero(t, out.Body.Len())
	_, err = l.Write([]byte("b"))
	require.NoError(t, err)
	require.Equal(t, heldLines+1, out.Body.Len())
	_, err = l.Write([]byte("c"))
	require.NoError(t, err)
	require.Equal(t, heldLines+1, out.Body.Len())
	require.NoError(t, l.flush())
	require.Equal(t, strings.Repeat("a", heldLines)+"bc", out.Body.String())

	l = lines{w: broken{httptest.NewRecorder()}}
	_, err = l.Write(bytes.Repeat([]byte("a"), heldLines+1))
	require.ErrorContains(t, err, "the connection is gone")
}
