package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/form"
)

const (
	maxBody   = 16 << 10
	maxPairs  = 64 // each costs memory before the client is known
	maxScopes = 64
)

// params are the parameters of a request. Those without a value are as if they were absent (RFC 6749 §3.2).
type params struct {
	one     map[string]string
	targets []string // every resource and audience
}

// isTarget reports whether a parameter may be given more than once (RFC 8707 §2, RFC 8693 §2.1).
func isTarget(name string) bool { return name == "resource" || name == "audience" }

// readRequest reads the form in the body of a request.
func readRequest(r *http.Request) (params, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return params{}, invalidRequest("parameters belong into the body, not into the URL")
	}
	media, err := httpadapter.MediaType(r)
	if err != nil {
		return params{}, err
	}
	if media != "application/x-www-form-urlencoded" {
		return params{}, httpadapter.ErrMediaType
	}
	body, err := httpadapter.ReadBody(r, maxBody)
	if err != nil {
		return params{}, err
	}
	return readForm(string(body))
}

// readForm reads a form in which no name is given twice, but for targets.
func readForm(text string) (params, error) {
	if strings.Count(text, "&") >= maxPairs {
		return params{}, invalidRequest("the body has too many parameters")
	}
	root, err := form.Parse(text)
	if err != nil {
		return params{}, invalidRequest("the body is not a form with one meaning")
	}
	p := params{one: map[string]string{}}
	for _, name := range root.Names {
		v := root.Map[name]
		switch {
		case v.Kind == form.Text && isTarget(name):
			p.targets = appendTarget(p.targets, v)
		case v.Kind == form.Text:
			p.one[name] = v.Text
		case v.Kind == form.List && isTarget(name):
			if f, err := form.Find(text, name, false); err != nil || f.N != len(v.Items) {
				return params{}, invalidRequest("a parameter has brackets in its name")
			}
			for _, item := range v.Items {
				p.targets = appendTarget(p.targets, item)
			}
		default:
			return params{}, invalidRequest("a parameter is given more than once, or has brackets in its name")
		}
	}
	return p, nil
}

func appendTarget(targets []string, v *form.Value) []string {
	if v.Text == "" {
		return targets
	}
	return append(targets, v.Text)
}

// authenticates reports whether a request names a client and proves it, or tries to.
func (p params) authenticates(r *http.Request) bool {
	scheme, _, err := httpadapter.Authorization(r)
	return scheme != "" || err != nil || p.one["client_secret"] != ""
}

// client returns the caller of a request: the one client that it authenticates, or with bearer the token in its
// Authorization header.
func (s *surface) client(r *http.Request, p params, bearer bool) (latchkey.Access, error) {
	scheme, rest, err := httpadapter.Authorization(r)
	if err != nil {
		return latchkey.Access{}, err
	}
	carriers := httpadapter.Carriers{Bearer: bearer, Basic: httpadapter.BasicPassword,
		TrustedOrigins: s.opts.TrustedOrigins}
	basic := strings.EqualFold(scheme, "Basic")
	user := ""
	switch {
	case basic:
		user = basicUser(rest)
		carriers.BasicOther = []string{user}
	case scheme != "" && !strings.EqualFold(scheme, "Bearer"): // a way to authenticate that nobody agreed on
		return latchkey.Access{}, httpadapter.ErrNoCredential
	}
	var inBody []string
	if secret := p.one["client_secret"]; secret != "" {
		inBody = []string{secret}
	}
	text, err := carriers.Find(r, inBody...)
	if err != nil {
		return latchkey.Access{}, err
	}
	id := p.one["client_id"]
	if basic {
		// RFC 6749 §2.3.1: both are form-encoded first.
		given, fine := decodePart(user)
		decoded, fineToo := decodePart(text)
		if !fine || !fineToo {
			return latchkey.Access{}, invalidRequest("Basic: client_id and client_secret must be form-encoded")
		}
		if id != "" && id != given {
			return latchkey.Access{}, invalidRequest("client_id differs from that of the Authorization header")
		}
		id, text = given, decoded
	}
	access, err := s.verify(r, text)
	switch {
	case err != nil:
		return latchkey.Access{}, err
	case id == "" && (basic || inBody != nil):
		return latchkey.Access{}, invalidClient("client_id is missing", nil)
	case id != "" && !s.opts.ClientID(access, id):
		s.gate.Miss(access.Address())
		return latchkey.Access{}, invalidClient("client_id and client_secret do not belong together", nil)
	}
	return access, nil
}

// basicUser returns the user name of Basic credentials as it was sent, "" for malformed ones: Carriers refuses them.
func basicUser(text string) string {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(string(b), ":")
	return user
}

// decodePart decodes one part of client_secret_basic.
func decodePart(s string) (string, bool) {
	text, err := url.QueryUnescape(s)
	return text, err == nil && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// verify verifies the text of a token that came with r.
func (s *surface) verify(r *http.Request, text string) (latchkey.Access, error) {
	p, err := httpadapter.Presented(r, text, s.opts.Proxies)
	if err != nil {
		return latchkey.Access{}, err
	}
	p.Test = s.opts.Test
	var access latchkey.Access
	if s.account == nil {
		access, err = s.manager.Verify(r.Context(), p)
	} else {
		var account latchkey.Account
		if account, err = s.account(r); err == nil {
			access, err = account.Verify(r.Context(), p)
		}
	}
	if err == nil && access.Kind() == latchkey.KindPublishable { // before anything that costs more
		err = badRequest(codeUnauthorizedClient, "a publishable key is no secret", latchkey.ErrDenied)
		access.Refused(r.Context(), err)
		return latchkey.Access{}, err
	}
	return access, err
}
