package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
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
