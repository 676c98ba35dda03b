package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey"
)

// served is the server without a listener.
type served struct {
	handler http.Handler
	app     *app
	credentials
}

func serveForTest(t *testing.T, edit func(*config)) *served {
	t.Helper()
	dir := t.TempDir()
	cfg, err := parseFlags([]string{"-db", filepath.Join(dir, "x.db")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cfg.base, cfg.url = "http://127.0.0.1:8080", "http://127.0.0.1:8080"
	if edit != nil {
		edit(&cfg)
	}
	a, err := open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close() })
	s := &served{handler: a.routes(cfg), app: a}
	text, err := os.ReadFile(cfg.credentials)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s.credentials); err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends a request with pairs of header names and values.
func (s *served) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8080"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func TestHomePageLoadsNothingElse(t *testing.T) {
	s := serveForTest(t, nil)
	w := s.do("GET", "/", "")
	page := w.Body.String()
	nonce := regexp.MustCompile(`<style nonce="([A-Z2-7]+)">`).FindStringSubmatch(page)
	if w.Code != 200 || nonce == nil {
		t.Fatalf("%d %s", w.Code, page)
	}
	want := "default-src 'none'; img-src data:; style-src 'nonce-" + nonce[1] + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if policy := w.Header().Get("Content-Security-Policy"); policy != want {
		t.Error(policy)
	}
	if again := s.do("GET", "/", "").Body.String(); strings.Contains(again, nonce[1]) {
		t.Error("two pages have one nonce")
	}
	for _, attribute := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if attribute[1] == "data:," {
			continue
		}
		if strings.Contains(attribute[1], ":") || strings.HasPrefix(attribute[1], "//") {
			t.Errorf("the page names %s", attribute[1])
			continue
		}
		if w := s.do("GET", attribute[1], ""); w.Code != 200 && w.Code != 303 || w.Header().Get("Www-Authenticate") != "" {
			t.Errorf("%s: %d", attribute[1], w.Code)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("a script")
	}
	for _, secret := range []string{s.Secret, s.APIKey, s.CMAToken, s.Session, s.Publishable} {
		if strings.Contains(page, secret) {
			t.Error("the page shows a secret")
		}
	}
	if w := s.do("GET", "/nowhere", ""); w.Code != 404 {
		t.Errorf("/nowhere: %d", w.Code)
	}
}

func TestPenguinsOfAKey(t *testing.T) {
	s := serveForTest(t, nil)
	count := func(text string) int {
		var reply struct{ Items []struct{ ID int64 } }
		w := s.do("GET", "/penguins", "", "Authorization", "Bearer "+text)
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || w.Code != 200 {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		return len(reply.Items)
	}
	if n := count(s.APIKey); n != 344 {
		t.Errorf("%d rows", n)
	}
	access, err := s.app.account.Verify(t.Context(), latchkey.Presented{Secret: s.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	_, child, err := access.Mint(t.Context(), latchkey.Narrowing{Roles: []string{"biscoe"}, Lifetime: 1e12})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(child.Reveal()); n != 168 {
		t.Errorf("%d rows on Biscoe", n)
	}
	if w := s.do("GET", "/penguins", ""); w.Code != 401 {
		t.Errorf("without a key: %d", w.Code)
	}
	if w := s.do("GET", "/penguins", "", "Authorization", "Bearer "+s.Publishable); w.Code != 403 {
		t.Errorf("without a right: %d", w.Code)
	}
}

func TestOAuthNeedsAURL(t *testing.T) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"penguins:read"}}.Encode()
	ask := func(s *served) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(s.APIKeyID, s.APIKey)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w
	}
	s := serveForTest(t, nil)
	var token struct {
		Text string `json:"access_token"`
	}
	if w := ask(s); w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &token) != nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/penguins", "", "Authorization", "Bearer "+token.Text); w.Code != 200 {
		t.Errorf("its token: %d %s", w.Code, w.Body)
	}
	if w := s.do("DELETE", "/io/api/1/dataset/"+datasetID+"/1", "", "key", token.Text); w.Code < 400 {
		t.Errorf("its token deletes: %d %s", w.Code, w.Body)
	}
	s = serveForTest(t, func(c *config) { c.url = "" })
	if w := ask(s); w.Code < 400 {
		t.Errorf("without a URL: %d %s", w.Code, w.Body)
	}
	if strings.Contains(s.do("GET", "/", "").Body.String(), "oauth") {
		t.Error("the page names what is not there")
	}
}

func TestDecisionsAboutPenguins(t *testing.T) {
	s := serveForTest(t, nil)
	biscoe, _, err := s.app.account.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{"biscoe"}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(s *served, key, path, resource string) string {
		body := `{"subject":{"type":"token","id":"` + biscoe.ID + `"},"action":{"name":"read"},"resource":` + resource + `}`
		return s.do("POST", "/access/v1/"+path, body, "Content-Type", "application/json",
			"Authorization", "Bearer "+key).Body.String()
	}
	for _, c := range []struct {
		key, resource string
		yes           bool
	}{
		{s.Secret, `{"type":"penguin","id":"21"}`, true},                                  // on Biscoe
		{s.Secret, `{"type":"penguin","id":"1"}`, false},                                  // on Torgersen
		{s.Secret, `{"type":"penguin","id":"1","properties":{"island":"Biscoe"}}`, false}, // only the database knows
		{s.Secret, `{"type":"penguin","id":"9999"}`, false},
		{s.Secret, `{"type":"penguin","id":"x"}`, false},
		{s.APIKey, `{"type":"penguin","id":"21"}`, false}, // may not ask about others
	} {
		if got := ask(s, c.key, "evaluation", c.resource); strings.Contains(got, `"decision":true`) != c.yes {
			t.Errorf("%s: %s", c.resource, got)
		}
	}
	search := ask(s, s.Secret, "search/action", `{"type":"penguin","id":"21"}`)
	if !strings.Contains(search, `[{"name":"read"}]`) {
		t.Error(search)
	}
	if w := s.do("GET", apiPrefix+"/catalogue", "", "Authorization", "Bearer "+s.Secret); w.Code != 200 ||
		!strings.Contains(w.Body.String(), `"body mass"`) {
		t.Errorf("the catalogue: %d %s", w.Code, w.Body)
	}
	s = serveForTest(t, func(c *config) { c.url = "" })
	if w := s.do("POST", "/access/v1/evaluation", "{}", "Authorization", "Bearer "+s.Secret); w.Code != 404 {
		t.Errorf("without a URL: %d %s", w.Code, w.Body)
	}
}

func TestOAuthOfAnAddress(t *testing.T) {
	for _, c := range []struct{ ip, flag, url string }{
		{"127.0.0.1", "", "http://127.0.0.1:8080"}, {"::1", "", "http://[::1]:8080"},
		{"0.0.0.0", "", ""}, {"::", "", ""}, {"192.0.2.7", "", ""},
		{"0.0.0.0", "https://demo.example.com", "https://demo.example.com"},
	} {
		cfg := config{url: c.flag}
		if cfg.listenOn(&net.TCPAddr{IP: net.ParseIP(c.ip), Port: 8080}); cfg.url != c.url {
			t.Errorf("%+v: %q", c, cfg.url)
		}
	}
}

func TestURLFlag(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "https://demo.example.com": true, "https://demo.example.com:8443": true, "http://localhost:8080": true,
		"http://127.0.0.1": true, "http://[::1]:80": true,
		"http://demo.example.com": false, "https://demo.example.com/": false, "https://demo.example.com/x": false,
		"demo.example.com": false, "https://u:p@demo.example.com": false, "https://demo.example.com?x": false,
		"https://": false, "ftp://localhost": false, "https://a b": false, "http://0.0.0.0": false,
	} {
		if err := checkURL(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLeaksAreReported(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	document, err := json.Marshal(map[string]any{
		"public_keys": []map[string]any{{"key_identifier": "k1", "key": text, "is_current": true}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveForTest(t, func(c *config) {
		if c.github, err = readPublicKeys(file); err != nil {
			t.Fatal(err)
		}
	})
	issue := func() string {
		_, secret, err := s.app.account.Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles: []string{"viewer"}})
		if err != nil {
			t.Fatal(err)
		}
		return secret.Reveal()
	}
	works := func(text string) bool {
		return s.do("GET", "/penguins", "", "Authorization", "Bearer "+text).Code == 200
	}

	pasted := issue()
	plain := []string{"Content-Type", "text/plain", "Authorization", "Bearer "}
	if w := s.do("POST", "/leaks", pasted, append(plain[:3:3], plain[3]+s.APIKey)...); w.Code != 403 || !works(pasted) {
		t.Errorf("without the right: %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/leaks", pasted, append(plain[:3:3], plain[3]+s.Secret)...); w.Code != 200 || works(pasted) {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	pushed := issue()
	body := `[{"token":"` + pushed + `","type":"latchkey","url":"https://github.com/o/r","source":"commit"}]`
	digest := sha256.Sum256([]byte(body))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signed := []string{"Content-Type", "application/json", "Github-Public-Key-Identifier", "k1",
		"Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(signature)}
	if w := s.do("POST", "/leaks/github", body+" ", signed...); w.Code != 403 || !works(pushed) {
		t.Errorf("another body: %d %s", w.Code, w.Body)
	}
	if w := s.do("POST", "/leaks/github", body, signed...); w.Code != 200 || works(pushed) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := serveForTest(t, nil).do("POST", "/leaks/github", body, signed...); w.Code != 404 {
		t.Errorf("without keys of GitHub: %d %s", w.Code, w.Body)
	}
	for name, text := range map[string]string{"no file": "", "no JSON": "x", "no keys": "{}"} {
		bad := filepath.Join(t.TempDir(), "keys.json")
		if text != "" {
			if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := readPublicKeys(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
