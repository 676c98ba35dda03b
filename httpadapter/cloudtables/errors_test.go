package cloudtables

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func TestWriteError(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{&latchkey.ConditionError{Field: "dp-9", Unknown: true, Reason: "unknown field"}, 400,
			reply("unknownColumn", `{"id":"dp-9"}`)},
		{&latchkey.ConditionError{Field: "dp-9", Reason: "not a number"}, 400,
			reply("invalidCondition", `{"err":"not a number"}`)},
		{&latchkey.DeniedError{Action: latchkey.Read, Resource: "dataset/x"}, 403, noAccess},
		{latchkey.ErrExpired, 401, noAccess},
		{latchkey.ErrUnknownToken, 401, noAccess},
		{httpadapter.ErrNoCredential, 401, noAccess},
		{latchkey.ErrForced, 400, reply("invalidCondition", `{"err":"another value is set already"}`)},
		{latchkey.ErrNotFound, 404, reply("notFound", "")},
		{latchkey.ErrConflict, 409, reply("conflict", "")},
		{latchkey.ErrOverLimit, 402, reply("overLimit", "")},
		{latchkey.ErrRateLimited, 429, reply("rateLimited", "")},
		{latchkey.ErrUnavailable, 503, reply("unavailable", "")},
		{errors.Join(&latchkey.ConditionError{Unknown: true}, latchkey.ErrUnavailable), 503, reply("unavailable", "")},
		{errors.New("pq: SECRET"), 500, reply("internalError", "")},
		{nil, 500, reply("internalError", "")},
	} {
		w := httptest.NewRecorder()
		WriteError(w, nil, tt.err)
		require.Equal(t, tt.want, w.Body.String())
		require.Equal(t, tt.status, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
}
