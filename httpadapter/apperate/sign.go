package apperate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const (
	signScheme    = "IEX-HMAC-SHA256"
	signTerm      = "iex_request"
	signedHeaders = "host;x-iex-date"
	dateLayout    = "20060102T150405Z"
)

// signed is what a signature covers: the request as it was sent.
type signed struct {
	method, path, query, host, date string
	payload                         [sha256.Size]byte // SHA-256 of the body
}

// signature returns the signature of s with key. It is like AWS's Signature Version 4, with two differences. The key
// of each step is the hex text of the step before, not its bytes. The query is neither sorted nor encoded again.
func (s *signed) signature(key []byte) string {
	stamp := s.date[:8]
	request := sha256.Sum256([]byte(s.method + "\n" + s.path + "\n" + s.query + "\n" +
		"host:" + s.host + "\nx-iex-date:" + s.date + "\n\n" + signedHeaders + "\n" + hex.EncodeToString(s.payload[:])))
	return mac(mac(mac(string(key), stamp), signTerm),
		signScheme+"\n"+s.date+"\n"+stamp+"/"+signTerm+"\n"+hex.EncodeToString(request[:]))
}

func mac(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// credential is an Authorization header of the product's scheme.
type credential struct {
	token, stamp string
	signature    [sha256.Size]byte
}

// parseCredential reads what follows the scheme, only in the form that the product's signers write. A second spelling
// of a signature would be a second nonce.
func parseCredential(text string) (c credential, ok bool) {
	text, ok = strings.CutPrefix(text, "Credential=")
	if !ok {
		return credential{}, false
	}
	scope, rest, ok := strings.Cut(text, ", ")
	if !ok {
		return credential{}, false
	}
	digest, ok := strings.CutPrefix(rest, "SignedHeaders="+signedHeaders+", Signature=")
	if !ok {
		return credential{}, false
	}
	parts := strings.Split(scope, "/")
	if len(parts) != 3 || parts[0] == "" || len(parts[1]) != 8 || parts[2] != signTerm {
		return credential{}, false
	}
	if len(digest) != 2*len(c.signature) || strings.ToLower(digest) != digest {
		return credential{}, false
	}
	if _, err := hex.Decode(c.signature[:], []byte(digest)); err != nil {
		return credential{}, false
	}
	c.token, c.stamp = parts[0], parts[1]
	return c, true
}

// signatureOf returns the signature of r for Verify to check, or nil if r is not signed. For a malformed signature,
// or one that names another token than secret, it returns one that fails. So Verify refuses it in the order of
// refusals. The body is read when the signature is checked.
func signatureOf(r *http.Request, secret string, body func() ([]byte, error), repeat time.Duration) (
	*latchkey.Signature, error) {
	scheme, rest, err := httpadapter.Authorization(r)
	if err != nil || !strings.EqualFold(scheme, signScheme) {
		return nil, err
	}
	bad := &latchkey.Signature{}
	c, ok := parseCredential(rest)
	dates := r.Header["X-Iex-Date"]
	if !ok || c.token != secret || len(dates) != 1 || len(dates[0]) != len(dateLayout) {
		return bad, nil
	}
	s := signed{method: r.Method, date: dates[0]}
	at, err := time.Parse(dateLayout, s.date)
	if err != nil || c.stamp != s.date[:8] {
		return bad, nil
	}
	target := targetOf(r)
	s.path, s.query, ok = strings.Cut(target, "?")
	if ok && s.query == "" {
		return bad, nil // "/x?" and "/x" would have the same signature
	}
	for _, part := range []string{s.method, s.path, s.query, r.Host} {
		if strings.ContainsAny(part, "\r\n") { // they would change the lines that are signed; net/http accepts none
			return bad, nil
		}
	}
	hosts := []string{r.Host}
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
		hosts = append(hosts, name)
	}
	given := []byte(hex.EncodeToString(c.signature[:]))
	return &latchkey.Signature{Key: c.token, Date: at, Once: c.signature, Repeat: repeat, OK: func(key []byte) bool {
		text, err := body()
		if err != nil {
			return false
		}
		s.payload = sha256.Sum256(text)
		good := false
		for _, host := range hosts {
			one := s
			one.host = host
			good = hmac.Equal([]byte(one.signature(key)), given) || good
		}
		return good
	}}, nil
}

// targetOf returns the path and query as they were sent, before any cleaning or decoding.
func targetOf(r *http.Request) string {
	target := r.RequestURI
	if target == "" { // not from a server
		return r.URL.RequestURI()
	}
	if !strings.HasPrefix(target, "/") { // absolute form, as sent to proxies
		if _, rest, ok := strings.Cut(target, "://"); ok {
			if at := strings.IndexAny(rest, "/?"); at >= 0 {
				return rest[at:]
			}
			return "/"
		}
	}
	return target
}
