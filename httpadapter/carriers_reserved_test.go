package httpadapter

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A header field that has a meaning of its own carries no credential.
func TestReservedHeaders(t *testing.T) {
	for _, name := range []string{"Authorization", "Cookie", "Set-Cookie", "Host", "Origin", "Referer", "Connection",
		"Upgrade", "Vary", "Forwarded", "TE", "Trailer", "Transfer-Encoding", "Date", "Expect", "Range", "User-Agent",
		"Keep-Alive", "Via", "Sec-Fetch-Site", "Proxy-Authorization", "Content-Type", "Accept", "Accept-Language",
		"If-Match", "Access-Control-Request-Method", "X-Forwarded-For"} {
		require.True(t, reservedHeader(name), name)
		require.NotEmpty(t, (&Carriers{Headers: []string{name}}).check(), name)
	}
	for _, name := range []string{"X-Api-Key", "Apikey", "X-Auth-Token", "Token", "Dated", "Hostname", "Forwarded-By"} {
		require.False(t, reservedHeader(name), name)
	}
}
