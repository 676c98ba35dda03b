package apperate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

type vector struct {
	Name, Method, Host, Path, Query, Payload, IEXDate, AccessKey, Secret      string
	CanonicalRequest, StringToSign, KDate, KSigning, Signature, Authorization string
}

func vectors(t testing.TB) []vector {
	text, err := os.ReadFile("testdata/signing_vectors.json")
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(text, &all))
	require.NotEmpty(t, all)
	return all
}

func (v *vector) request() *http.Request {
	r := request(v.Method, v.Path+"?"+v.Query, v.Payload, "X-Iex-Date", v.IEXDate, "Authorization", v.Authorization)
	r.Host = v.Host
	return r
}

// made reports whether the signature of a request was made with key.
func made(t testing.TB, r *http.Request, token, body, key string) bool {
	t.Helper()
	s, err := signatureOf(r, token, reads([]byte(body)), 0)
	if err != nil {
		require.ErrorIs(t, err, httpadapter.ErrBadRequest)
		return false
	}
	require.NotNil(t, s, "it reads as if it were not signed")
	return s.OK != nil && s.OK([]byte(key))
}

func TestSigningVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			s := signed{v.Method, v.Path, v.Query, v.Host, v.IEXDate, sha256.Sum256([]byte(v.Payload))}
			require.Equal(t, v.Signature, s.signature([]byte(v.Secret)))
			require.Equal(t, v.KSigning, mac(mac(v.Secret, v.IEXDate[:8]), "iex_request"))
			require.True(t, made(t, v.request(), v.AccessKey, v.Payload, v.Secret))
			require.False(t, made(t, v.request(), v.AccessKey, v.Payload, v.Secret+"x"))
			require.False(t, made(t, v.request(), v.AccessKey, v.Payload, ""))
		})
	}
}

// AWS chains the bytes of each step, not their hex text. Such a signature is refused.
func TestRawByteChainIsRefused(t *testing.T) {
	v := vectors(t)[0]
	raw := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	aws := hex.EncodeToString(raw(raw(raw([]byte(v.Secret), v.IEXDate[:8]), "iex_request"), v.StringToSign))
	require.Equal(t, "b1b4b183779032b66e857d4121505e790a5c53191734642158c760489adc100c", aws)
	v.Authorization = authorization(v.AccessKey, v.IEXDate[:8], aws)
	require.False(t, made(t, v.request(), v.AccessKey, v.Payload, v.Secret))
}

// A signature is invalid if one byte is added, removed or changed in anything that is signed.
func TestEveryByteIsSigned(t *testing.T) {
	v := vectors(t)[2]
	parts := map[string]func(*vector) *string{
		"method": func(v *vector) *string { return &v.Method }, "path": func(v *vector) *string { return &v.Path },
		"query": func(v *vector) *string { return &v.Query }, "host": func(v *vector) *string { return &v.Host },
		"date": func(v *vector) *string { return &v.IEXDate }, "body": func(v *vector) *string { return &v.Payload },
		"authorization": func(v *vector) *string { return &v.Authorization },
	}
	tried := 0
	for name, part := range parts {
		whole := *part(&v)
		for i := range len(whole) + 1 {
			for _, text := range []string{flip(whole, i), cut(whole, i), whole[:i] + "1" + whole[i:]} {
				if text == whole || text == "" || !plain(text) || name == "authorization" && i <= len(signScheme) {
					continue // not a request, or another scheme: such a request is not signed
				}
				changed := v
				*part(&changed) = text
				r := changed.rawRequest()
				tried++
				require.False(t, made(t, r, v.AccessKey, changed.Payload, v.Secret), "%s: %q", name, text)
			}
		}
	}
	require.Greater(t, tried, 800)
}

// rawRequest parses a request from text: no client would send some of them.
func (v *vector) rawRequest() *http.Request {
	r := request("GET", "/", v.Payload)
	r.Method, r.Host, r.RequestURI = v.Method, v.Host, v.Path+"?"+v.Query
	r.Header["X-Iex-Date"], r.Header["Authorization"] = []string{v.IEXDate}, []string{v.Authorization}
	return r
}

func flip(s string, i int) string {
	if i == len(s) {
		return s
	}
	return s[:i] + string(s[i]^1) + s[i+1:]
}

func cut(s string, i int) string {
	if i == len(s) {
		return s
	}
	return s[:i] + s[i+1:]
}

func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// Requests that differ must not have the same signature.
func TestNothingElseIsSignedAlike(t *testing.T) {
	v := vectors(t)[0]
	target := func(text string) func(*http.Request) { return func(r *http.Request) { r.RequestURI = text } }
	auth := func(old, text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, text, 1))
		}
	}
	for name, change := range map[string]func(*http.Request){
		"no query":                         target(v.Path + "?"),
		"the parameters in another order":  target(v.Path + "?a=1&" + v.Query),
		"an escaped slash":                 target(strings.Replace(v.Path, "stock/", "stock%2F", 1) + "?" + v.Query),
		"a slash more":                     target("/" + v.Path + "?" + v.Query),
		"a slash at the end":               target(v.Path + "/?" + v.Query),
		"a fragment of lines in the host":  func(r *http.Request) { r.Host += "\nx-iex-date:" + v.IEXDate },
		"another host":                     func(r *http.Request) { r.Host = "evil." + v.Host },
		"two dates":                        func(r *http.Request) { r.Header.Add("X-Iex-Date", v.IEXDate) },
		"no date":                          func(r *http.Request) { r.Header.Del("X-Iex-Date") },
		"a date with a fraction":           func(r *http.Request) { r.Header.Set("X-Iex-Date", "20230127T093708.0Z") },
		"a date of another day":            func(r *http.Request) { r.Header.Set("X-Iex-Date", "20230128T093708Z") },
		"other signed headers":             auth("host;x-iex-date", "x-iex-date"),
		"more signed headers":              auth("host;x-iex-date", "accept;host;x-iex-date"),
		"another term":                     auth("iex_request", "aws4_request"),
		"a signature in upper case":        auth(v.Signature, strings.ToUpper(v.Signature)),
		"a signature cut short":            auth(v.Signature, v.Signature[:62]),
		"no signature":                     auth(", Signature="+v.Signature, ""),
		"two signatures":                   auth(v.Signature, v.Signature+", Signature="+v.Signature),
		"something behind it":              auth(v.Signature, v.Signature+" "),
		"a credential of another token":    auth("pk_0", "pk_1"),
		"a credential that is another day": auth("/20230127/", "/20230126/"),
	} {
		r := v.request()
		change(r)
		require.False(t, made(t, r, v.AccessKey, v.Payload, v.Secret), name)
	}
	// No query and an empty one have the same signature: only the first is accepted.
	bare := signed{method: v.Method, path: v.Path, host: v.Host, date: v.IEXDate, payload: sha256.Sum256(nil)}
	for query, ok := range map[string]bool{"": true, "?": false} {
		r := v.request()
		r.RequestURI = v.Path + query
		r.Header.Set("Authorization", authorization(v.AccessKey, v.IEXDate[:8], bare.signature([]byte(v.Secret))))
		require.Equal(t, ok, made(t, r, v.AccessKey, "", v.Secret), query)
	}
	// The product's signers connect to names without a port, and sign the name.
	r := v.request()
	r.Host += ":8443"
	require.True(t, made(t, r, v.AccessKey, v.Payload, v.Secret))
	r.RequestURI = "http://" + v.Host + v.Path + "?" + v.Query
	require.True(t, made(t, r, v.AccessKey, v.Payload, v.Secret), "absolute form")
}

// A credential is read in the one form that signers write. Of any other text nothing is read.
func TestParseCredential(t *testing.T) {
	signature := strings.Repeat("0a", sha256.Size)
	good := strings.TrimPrefix(authorization("pk_0", "20230127", signature), signScheme+" ")
	c, ok := parseCredential(good)
	require.True(t, ok)
	require.Equal(t, credential{"pk_0", "20230127", [32]byte(bytes.Repeat([]byte{10}, sha256.Size))}, c)
	for name, change := range map[string][2]string{
		"nothing":                {good, ""},
		"no name":                {"Credential=", ""},
		"another name":           {"Credential", "credential"},
		"the scope alone":        {good[strings.Index(good, ", "):], ""},
		"no space":               {", Signed", ",Signed"},
		"other headers":          {"host;x-iex-date", "host"},
		"no signature":           {", Signature=" + signature, ""},
		"an empty signature":     {signature, ""},
		"a short signature":      {signature, signature[2:]},
		"a long signature":       {signature, signature + "00"},
		"upper case":             {signature, strings.ToUpper(signature)},
		"no hex":                 {signature, strings.Repeat("0g", sha256.Size)},
		"no token":               {"pk_0", ""},
		"a slash in the token":   {"pk_0", "pk/0"},
		"no stamp":               {"/20230127", ""},
		"a short stamp":          {"20230127", "2023012"},
		"a long stamp":           {"20230127", "202301270"},
		"another term":           {signTerm, "aws4_request"},
		"something behind":       {signature, signature + ", "},
		"something in the scope": {signTerm, signTerm + "/"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, text, name)
		c, ok := parseCredential(text)
		require.False(t, ok, name)
		require.Empty(t, c.token, name)
	}
}

const carsPath = "/v1/data/ACME/CARS"

func TestSignedRequests(t *testing.T) {
	w := newFixture(t, nil)
	key := w.signingKey(w.signedPK)
	query := "token=" + w.signedPK
	fresh := func(key string, at time.Time) *http.Request {
		return sign("GET", carsPath, query, "example.com", "", w.signedPK, key, at)
	}
	w.ok(w.send(fresh(key, w.now())))
	w.requireFault(SignatureRequired, w.get(carsPath, w.signedPK))
	// the secret token is not a signing secret
	w.requireFault(SignatureInvalid, w.send(fresh(w.sk, w.now().Add(time.Second))))
	w.requireFault(SignatureInvalid, w.send(fresh(w.signedPK, w.now())))
	w.requireFault(SignatureInvalid, w.send(sign("GET", carsPath, query, "example.com", "", w.pk, key, w.now())))

	// A token that need not sign may sign, but must then sign correctly.
	w.requireFault(SignatureInvalid, w.send(sign("GET", carsPath, "token="+w.pk, "example.com", "", w.pk, key, w.now())))
	w.ok(w.send(sign("GET", carsPath, "token="+w.pk, "example.com", "", w.pk, w.signingKey(w.pk), w.now())))

	// The signature names the token, but is not a carrier of it.
	r := sign("GET", carsPath, "a=1", "example.com", "", w.signedPK, key, w.now())
	w.requireFault(NoKey, w.send(r))
	r = fresh(key, w.now().Add(3*time.Second))
	r.Header.Add("Authorization", r.Header.Get("Authorization"))
	w.requireFault(BadRequest, w.send(r))

	// The body is signed, and the handler receives the same bytes.
	at := w.now().Add(4 * time.Second)
	write := func(body string) *http.Request {
		return sign("POST", "/v1/record/ACME/TRUCKS", query, "example.com", body, w.signedPK, key, at)
	}
	r = write(`[{"a":1}]`)
	r.Body = http.NoBody
	w.requireFault(SignatureInvalid, w.send(r))
	out := w.send(write(`[{"a":1}]`))
	w.ok(out)
	require.Contains(t, out.Body.String(), `[{\"a\":1}]`)

	// Skew: 15 minutes either way, inclusive.
	for d, fault := range map[time.Duration]Fault{
		15 * time.Minute: "", -15 * time.Minute: "", 15*time.Minute + time.Second: SignatureInvalid,
		-15*time.Minute - time.Second: SignatureInvalid, 24 * time.Hour: SignatureInvalid,
	} {
		out := w.send(fresh(key, w.now().Add(d)))
		if fault == "" {
			w.ok(out)
		} else {
			w.requireFault(fault, out)
		}
	}
}

func TestReplay(t *testing.T) {
	w := newFixture(t, nil)
	key, query := w.signingKey(w.signedPK), "token="+w.signedPK
	began := w.now()
	first := func() *http.Request {
		return sign("GET", carsPath, query, "example.com", "", w.signedPK, key, began)
	}
	w.ok(w.send(first()))
	w.requireFault(SignatureInvalid, w.send(first()))
	w.advance(time.Millisecond)
	w.requireFault(SignatureInvalid, w.send(first()))
	r := first()
	r.Host = "example.com:443"
	w.requireFault(SignatureInvalid, w.send(r)) // the same signature with another spelling of the host

	for _, d := range []time.Duration{time.Minute, 14 * time.Minute, 16 * time.Minute, 74 * time.Minute, // and put back:
		14 * time.Minute, 0} {
		w.micros.Store(began.Add(d).UnixMicro())
		_, err := w.keys.Purge(context.Background())
		require.NoError(t, err)
		w.requireFault(SignatureInvalid, w.send(first()))
	}

	// Another process on the same store refuses it, too.
	sealed, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	again := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: sealed})
	w.serve = Handler(again.For("acme"), &Options{Clock: w.now}, http.NotFoundHandler())
	w.requireFault(SignatureInvalid, w.send(first()))

	// A signature that cannot be stored is refused.
	w.store.downOnce = latchkey.ErrUnavailable
	out := w.send(sign("GET", carsPath, query, "example.com", "", w.signedPK, key, began.Add(time.Second)))
	w.requireFault(Unavailable, out)
	require.Equal(t, "1", out.Header().Get("Retry-After"))
}

func TestRepeatReads(t *testing.T) {
	w := newFixture(t, &Options{RepeatReads: true})
	key, query := w.signingKey(w.signedPK), "token="+w.signedPK
	began := w.now()
	send := func(method, path string) int {
		return w.send(sign(method, path, query, "example.com", "", w.signedPK, key, began)).Code
	}
	for range 3 {
		require.Equal(t, 200, send("GET", carsPath))
		require.Equal(t, 200, send("HEAD", carsPath))
	}
	require.Equal(t, 200, send("POST", "/v1/record/ACME/TRUCKS"))
	require.Equal(t, 403, send("POST", "/v1/record/ACME/TRUCKS"), "a write never repeats")
	w.advance(999 * time.Millisecond)
	require.Equal(t, 200, send("GET", carsPath))
	w.advance(time.Millisecond)
	require.Equal(t, 403, send("GET", carsPath), "its second is over")
}

// Two signatures of one request, sent many times at once: each passes once.
func TestReplayAtOnce(t *testing.T) {
	w := newFixture(t, nil)
	w.serve = Handler(w.acme, &Options{Clock: w.now, AddressRate: latchkey.Rate{Count: -1}},
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { WriteJSON(rw, 1) }))
	key, query := w.signingKey(w.signedPK), "token="+w.signedPK
	codes := make(chan int, 64)
	for range cap(codes) {
		go func() {
			codes <- w.send(sign("GET", carsPath, query, "example.com", "", w.signedPK, key, w.now())).Code
		}()
	}
	passed := 0
	for range cap(codes) {
		if <-codes == 200 {
			passed++
		}
	}
	require.Equal(t, 1, passed)
}

func TestSigningNeedsAKeyring(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	_, sk, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	spec, err := PublishableSpec("page", Grant{})
	require.NoError(t, err)
	_, pk, err := acme.Issue(t.Context(), spec)
	require.NoError(t, err)
	w := &fixture{t: t, serve: Handler(acme, nil, http.NotFoundHandler())}
	w.requireFault(SignatureRestricted, w.send(request("POST", "/v1/account/signed",
		fmt.Sprintf(`{"token":%q,"tokenToSign":%q}`, sk.Reveal(), pk.Reveal()))))
}

func FuzzSignature(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Method, v.Path+"?"+v.Query, v.Host, v.IEXDate, v.Authorization, []byte(v.Payload))
	}
	f.Add("GET", "http://h/p", "[::1]:80", "20230127T093708Z",
		"iex-hmac-sha256 Credential=a/20230127/iex_request", []byte(nil))
	f.Fuzz(func(t *testing.T, method, target, host, date, auth string, body []byte) {
		r := request("GET", "/", "")
		r.Method, r.RequestURI, r.Host = method, target, host
		r.Header["X-Iex-Date"], r.Header["Authorization"] = []string{date}, []string{auth}
		const token = "pk_0123456789abcdef0123456789abcdef"
		s, err := signatureOf(r, token, reads(body), 0)
		if err != nil || s == nil || s.OK == nil {
			if s != nil && s.OK == nil && (s.Key != "" || !s.Date.IsZero() || s.Once != [32]byte{}) {
				t.Fatal("half a signature")
			}
			return
		}
		// An accepted credential has one spelling, and the request is signed as it was sent.
		if s.Key != token || s.Date.Format(dateLayout) != date || len(auth) < len(signScheme) ||
			auth[len(signScheme):] != authorization(token, date[:8], hex.EncodeToString(s.Once[:]))[len(signScheme):] {
			t.Fatalf("another spelling: %q", auth)
		}
		const key = "a signing secret"
		one := signed{method: method, host: host, date: date, payload: sha256.Sum256(body)}
		one.path, one.query, _ = strings.Cut(targetOf(r), "?")
		r.Header["Authorization"] = []string{authorization(token, date[:8], one.signature([]byte(key)))}
		good, err := signatureOf(r, token, reads(body), 0)
		if err != nil || !good.OK([]byte(key)) || good.OK([]byte(key+"x")) {
			t.Fatal("what was signed just now is not")
		}
		other, err := signatureOf(r, token, reads(append(bytes.Clone(body), 0)), 0)
		if err != nil || other.OK([]byte(key)) {
			t.Fatal("another body has the same signature")
		}
	})
}

func reads(body []byte) func() ([]byte, error) { return func() ([]byte, error) { return body, nil } }
