package oauth

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const (
	grantClientCredentials = "client_credentials"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken        = "urn:ietf:params:oauth:token-type:access_token"
)

// granted is the reply of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1).
type granted struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"`
	Scope           string `json:"scope"`
}

// token serves the token endpoint.
func (s *surface) token(r *http.Request, p params) (*http.Request, any, error) {
	var parent latchkey.Access
	var issued string
	var err error
	switch p.one["grant_type"] {
	case "":
		return r, nil, invalidRequest("grant_type is missing")
	case grantClientCredentials:
		parent, err = s.client(r, p, false)
	case grantTokenExchange:
		issued = typeAccessToken
		parent, err = s.subject(r, p)
	default:
		return r, nil, badRequest(codeUnsupportedGrantType, "use client_credentials or token exchange (RFC 8693)", nil)
	}
	if err != nil {
		return r, nil, err
	}
	r = r.WithContext(httpadapter.WithAccess(r.Context(), parent))
	for _, target := range p.targets {
		if target != s.resource {
			return r, nil, badRequest(codeInvalidTarget, "resource and audience must be this server's", nil)
		}
	}
	scopes, err := s.scopes(r.Context(), parent, p.one["scope"])
	if err != nil {
		return r, nil, err
	}
	t, secret, err := parent.Mint(r.Context(), latchkey.Narrowing{Origin: Origin, Permissions: s.rules(scopes),
		Lifetime: s.opts.Lifetime})
	if err != nil {
		return r, nil, subjectError(err, issued != "")
	}
	left := int64(t.Validity.NotAfter.Sub(t.Created) / time.Second)
	if left < 1 { // some clients take 0 for "it never ends"
		return r, nil, badRequest(codeInvalidGrant, "the token ends within a second", nil)
	}
	return r, granted{AccessToken: secret.Reveal(), IssuedTokenType: issued, TokenType: "Bearer", ExpiresIn: left,
		Scope: strings.Join(scopes, " ")}, nil
}

// subject returns the Access of the subject token of a token exchange.
func (s *surface) subject(r *http.Request, p params) (latchkey.Access, error) {
	fail := func(why string) (latchkey.Access, error) { return latchkey.Access{}, invalidRequest(why) }
	switch requested := p.one["requested_token_type"]; {
	case p.one["actor_token"] != "" || p.one["actor_token_type"] != "":
		return fail("actor_token is not supported")
	case p.one["subject_token"] == "":
		return fail("subject_token is missing")
	case p.one["subject_token_type"] != typeAccessToken:
		return fail("subject_token_type must be " + typeAccessToken)
	case requested != "" && requested != typeAccessToken:
		return fail("requested_token_type must be " + typeAccessToken)
	}
	owner := ""
	if p.authenticates(r) {
		client, err := s.client(r, p, false)
		if err != nil {
			return latchkey.Access{}, err
		}
		owner = client.Owner()
	}
	access, err := s.verify(r, p.one["subject_token"])
	if err == nil && owner != "" && access.Owner() != owner {
		err = latchkey.ErrUnknownToken
	}
	if err != nil {
		return latchkey.Access{}, subjectError(err, true)
	}
	return access, nil
}

// subjectError returns err for a client, or if a subject token is not valid what RFC 8693 §2.2.2 says.
func subjectError(err error, subject bool) error {
	if subject && httpadapter.ProblemOf(err).Status == http.StatusUnauthorized {
		return badRequest(codeInvalidRequest, "subject_token is not valid here", err)
	}
	return err
}

// scopes returns the scopes that a token minted from parent gets, in order, each once: those that the parameter scope
// names, or without one all that parent covers.
func (s *surface) scopes(ctx context.Context, parent latchkey.Access, scope string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	if scope == "" {
		scopes, err := s.covered(ctx, parent)
		if err == nil && len(scopes) == 0 {
			err = badRequest(codeInvalidScope, "the token covers no scope", nil)
		}
		return scopes, err
	}
	names := strings.Split(scope, " ")
	for _, name := range names {
		if _, ok := s.opts.Scopes[name]; !ok {
			return nil, badRequest(codeInvalidScope, "scope names an unknown scope, or is malformed", nil)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if !parent.Covers(ctx, s.rules(names)) {
		return nil, notCovered(ctx, badRequest(codeInvalidScope, "the token does not cover the scopes", nil))
	}
	return names, nil
}

// covered returns the scopes that a token covers, in order.
func (s *surface) covered(ctx context.Context, access latchkey.Access) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience) // rules can be made that take a second for each scope
	defer cancel()
	var scopes []string
	for _, name := range s.names {
		if access.Covers(ctx, s.opts.Scopes[name]) {
			scopes = append(scopes, name)
		}
	}
	return scopes, notCovered(ctx, nil)
}

// notCovered returns err, or that of a context that has ended: Covers then knows nothing.
func notCovered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &refusal{http.StatusServiceUnavailable, codeUnavailable,
			"the token could not be compared with the scopes in time", ctx.Err()}
	}
	return err
}
