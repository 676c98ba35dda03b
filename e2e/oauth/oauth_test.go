// Package oauth tests httpadapter/oauth with published OAuth clients: npm's oauth4webapi and openid-client, and
// golang.org/x/oauth2. It needs Node and the npm packages.
package oauth

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
	"github.com/latchkey-go/latchkey/memstore"
)

// server is the endpoints and a resource on https, with a client's key and one of a resource server.
type server struct {
	*httptest.Server
	id, secret             string
	readerID, readerSecret string
}

func start(t *testing.T) *server {
	t.Helper()
	keys := latchkey.New(memstore.New(nil), nil)
	mux := http.NewServeMux()
	s := &server{Server: httptest.NewUnstartedServer(mux)}
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	oauth.Mount(mux, keys, &oauth.Options{Issuer: "https://127.0.0.1:" + port, Scopes: map[string]latchkey.Permissions{
		"read":  {latchkey.Grant(latchkey.Read).On("data/*")},
		"write": {latchkey.Grant(latchkey.Update).On("data/*")},
		"all":   {latchkey.Grant(latchkey.Read, latchkey.Update, latchkey.Delete).On("data/*")},
	}})
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	auth := httpadapter.New(keys, nil)
	mux.Handle("GET /data/{id}", auth.Require(latchkey.Read, "data/{id}")(ok))
	mux.Handle("PUT /data/{id}", auth.Require(latchkey.Update, "data/{id}")(ok))
	s.StartTLS()
	t.Cleanup(s.Close)
	issue := func(rules ...latchkey.Rule) (id, secret string) {
		tok, text, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
		require.NoError(t, err)
		return tok.ID, text.Reveal()
	}
	s.id, s.secret = issue(latchkey.Grant(latchkey.Read, latchkey.Update).On("data/*"))
	s.readerID, s.readerSecret = issue(latchkey.Grant(latchkey.Read).On("latchkey/token/*"))
	return s
}

func TestNpmClients(t *testing.T) {
	_, err := os.Stat(filepath.Join("node_modules", "oauth4webapi"))
	require.NoError(t, err, "the npm packages are missing: run `make install`")
	s := start(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(ca, block, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "clients.mjs")
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca, "ISSUER="+s.URL, "CLIENT_ID="+s.id,
		"CLIENT_SECRET="+s.secret, "READER_ID="+s.readerID, "READER_SECRET="+s.readerSecret)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	const of = `["urn:ietf:params:oauth:token-type:access_token","bearer","read"]`
	require.JSONEq(t, `{
		"metadata": [true, ["all","read","write"], ["all","read","write"]],
		"basic": ["bearer", 900, "read write"], "post": ["bearer", 900, "read write"],
		"basicAll": "read write", "postAll": "read write",
		"basicScope": ["ResponseBodyError", 400, "invalid_scope"], "postScope": ["ResponseBodyError", 400, "invalid_scope"],
		"basicExchange": `+of+`, "postExchange": `+of+`,
		"basicWiden": ["ResponseBodyError", 400, "invalid_scope"], "postWiden": ["ResponseBodyError", 400, "invalid_scope"],
		"basicNoClient": "read", "postNoClient": "read",
		"basicActive": [true, "read", true, "number"], "postActive": [true, "read", true, "number"],
		"basicRevoked": [{"active":false}, {"active":false}], "postRevoked": [{"active":false}, {"active":false}],
		"wrongBasic": ["WWWAuthenticateChallengeError", 401, ["basic latchkey"]],
		"openid": ["write", true, "write", true, "write", {"active":false}],
		"openidScope": ["ResponseBodyError", 400, "invalid_scope"],
		"openidTarget": ["ResponseBodyError", 400, "invalid_target"]
	}`, string(got))
}

func TestGoClient(t *testing.T) {
	s := start(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, s.Client())
	styles := []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect}
	for _, style := range styles {
		config := &clientcredentials.Config{ClientID: s.id, ClientSecret: s.secret, TokenURL: s.URL + "/oauth/token",
			Scopes: []string{"read"}, AuthStyle: style}
		tok, err := config.Token(ctx)
		require.NoError(t, err)
		require.Equal(t, "Bearer", tok.TokenType)
		require.Equal(t, "read", tok.Extra("scope"))
		require.Equal(t, 900., tok.Extra("expires_in"))
		require.False(t, tok.Expiry.IsZero())
		// The client sends the token by itself.
		client := config.Client(ctx)
		reply, err := client.Get(s.URL + "/data/1")
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, reply.StatusCode)
		require.NoError(t, reply.Body.Close())
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/data/1", nil)
		require.NoError(t, err)
		reply, err = client.Do(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, reply.StatusCode, "the key may write, the token may not")
		require.NoError(t, reply.Body.Close())

		for change, code := range map[string]string{"scope": "invalid_scope", "secret": "invalid_client"} {
			bad := *config
			if change == "scope" {
				bad.Scopes = []string{"all"}
			} else {
				bad.ClientSecret = "wrong"
			}
			_, err = bad.Token(ctx)
			var refused *oauth2.RetrieveError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, code, refused.ErrorCode)
		}
	}
}
