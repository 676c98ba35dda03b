package httpadapter

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestReadBody(t *testing.T) {
	body := func(s string, headers ...string) *http.Request {
		r := httptest.NewRequest("POST", "/", strings.NewReader(s))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	chunked := func(s string) *http.Request {
		r := body(s)
		r.ContentLength = -1
		return r
	}
	for _, tt := range []struct {
		name string
		r    *http.Request
		err  error
	}{
		{"fits", body("12345678"), nil},
		{"too long", body("123456789"), ErrTooLarge},
		{"too long, no length", chunked("123456789"), ErrTooLarge},
		{"fits, no length", chunked("12345678"), nil},
		{"compressed", body("1", "Content-Encoding", "gzip"), ErrMediaType},
		{"plain", body("1", "Content-Encoding", "identity"), nil},
	} {
		_, err := ReadBody(tt.r, 8)
		require.ErrorIs(t, err, tt.err, tt.name)
	}
	got, err := ReadBody(&http.Request{}, 8)
	require.NoError(t, err, "a request that a program made may have no body")
	require.Empty(t, got)
	broken := chunked("")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("1234"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	got, err = ReadBody(broken, 8)
	require.ErrorIs(t, err, ErrBadRequest, "a part of a body is none")
	require.Empty(t, got)
	for length, most := range map[int64]int64{9: 0, -1: 9} { // one byte tells that there is more
		endless := body("")
		read := &counted{}
		endless.Body, endless.ContentLength = io.NopCloser(read), length
		_, err := ReadBody(endless, 8)
		require.ErrorIs(t, err, ErrTooLarge)
		require.Equal(t, most, read.n)
	}
	limited := chunked("12345678")
	limited.Body = http.MaxBytesReader(httptest.NewRecorder(), limited.Body, 4)
	_, err = ReadBody(limited, 8)
	require.ErrorIs(t, err, ErrTooLarge)
}

// counted never ends, and gives a byte at a time.
type counted struct{ n int64 }

func (c *counted) Read(b []byte) (int, error) {
	b[0] = 'x'
	c.n++
	return 1, nil
}

func TestMediaType(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"application/json":                "application/json",
		"Application/JSON; charset=UTF-8": "application/json",
		"application/x-www-form-urlencoded; charset=utf-8": "application/x-www-form-urlencoded",
		"application/json; charset=utf-7":                  "error",
		"application/json" + strings.Repeat(" ", 300):      "error",
		"application/json" + strings.Repeat(" ", 240):      "application/json",
		"application/json" + strings.Repeat(" ", 241):      "error",
		"application/json; charset":                        "error",
		"undefined/":                                       "error",
	} {
		got, err := MediaType(get("/", "Content-Type", in))
		if want == "error" {
			require.ErrorIs(t, err, ErrMediaType, in)
			continue
		}
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	_, err := MediaType(get("/", "Content-Type", "application/json", "Content-Type", "text/plain"))
	require.ErrorIs(t, err, ErrBadRequest)
}
