package clients

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/memstore"
)

// signer is a program that signs requests: one line in, one line out.
type signer struct {
	in  io.Writer
	out *bufio.Scanner
}

func startSigner(t *testing.T, program, script string) signer {
	cmd := exec.Command(program, script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return signer{in, bufio.NewScanner(out)}
}

func (s signer) sign(t *testing.T, line []byte) string {
	_, err := s.in.Write(append(line, '\n'))
	require.NoError(t, err)
	require.True(t, s.out.Scan(), "the signer has ended")
	return s.out.Text()
}

// Signers in two other languages agree on random requests, and the gateway accepts what they sign, and nothing close to
// it.
func TestApperateForeignSigners(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	signers := []signer{startSigner(t, "node", "sign.js"), startSigner(t, "perl", "sign.pl")}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock, Keyring: ring})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	acme := keys.For("acme")
	spec, err := apperate.PublishableSpec("signed", apperate.Grant{Datasets: []apperate.DatasetGrant{
		{Workspace: "ACME", ID: "CARS", Read: true, Write: true}}})
	require.NoError(t, err)
	spec.Restrictions.Signed = true
	token, text, err := acme.Issue(t.Context(), spec)
	require.NoError(t, err)
	key, err := acme.SigningSecret(t.Context(), token.ID)
	require.NoError(t, err)
	reached := 0
	gateway := apperate.Handler(acme, &apperate.Options{Clock: clock, AddressRate: latchkey.Rate{Count: -1}},
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { reached++ }))

	some := func(alphabet string, most int) string {
		letters, b := []rune(alphabet), strings.Builder{}
		for range r.IntN(most + 1) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	rounds := harness.Rounds(300, 10_000)
	for i := range rounds {
		now = now.Add(time.Second) // each has a date of its own, so none is a repetition
		body := some("abc{}[]\":, \n\r\t\x00é€😀", 40)
		query := "token=" + text.Reveal() + "&q=" + url.QueryEscape(some("ab %&=?#/+é€😀\"'", 12)) + some("&b=1c~-._!*'()", 8)
		request := map[string]string{"method": []string{"GET", "POST"}[r.IntN(2)], "query": query,
			"path":  "/v1/" + []string{"data", "record"}[r.IntN(2)] + "/ACME/CARS",
			"body":  base64.StdEncoding.EncodeToString([]byte(body)),
			"host":  []string{"example.com", "example.com:8443", "[::1]:80", "API.example"}[r.IntN(4)],
			"token": text.Reveal(), "key": key.Reveal(),
			"date": now.Add(time.Duration(r.IntN(1200)-600) * time.Second).Format("20060102T150405Z")}
		if request["method"] == "GET" {
			request["body"], body = "", ""
			request["path"] = "/v1/data/ACME/CARS"
		}
		line, err := json.Marshal(request)
		require.NoError(t, err)
		first, second := signers[0].sign(t, line), signers[1].sign(t, line)
		require.Equal(t, first, second, "%s", line)
		send := func(query, authorization string) int {
			in := httptest.NewRequest(request["method"], "/", strings.NewReader(body))
			in.RequestURI, in.Host = request["path"]+"?"+query, request["host"]
			in.URL, err = url.ParseRequestURI(in.RequestURI)
			require.NoError(t, err)
			in.Header["X-Iex-Date"], in.Header["Authorization"] = []string{request["date"]}, []string{authorization}
			out := httptest.NewRecorder()
			gateway.ServeHTTP(out, in)
			return out.Code
		}
		require.Equal(t, http.StatusForbidden, send(query+"x", first), "%s", line)
		require.Equal(t, i, reached)
		require.Equal(t, http.StatusOK, send(query, first), "%s", line)
		require.Equal(t, i+1, reached)
	}
	t.Logf("%d requests: both signers make the same signatures, and each is accepted", rounds)
}
