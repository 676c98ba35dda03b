package oauth

import (
	"errors"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// introspection is the reply of RFC 7662 §2.2.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"` // the token that it was minted from, or itself
	TokenType string `json:"token_type,omitempty"`
	Exp       int64  `json:"exp,omitempty"`
	Iat       int64  `json:"iat,omitempty"`
	Nbf       int64  `json:"nbf,omitempty"`
	Sub       string `json:"sub,omitempty"` // the id of its client
	Aud       string `json:"aud,omitempty"`
	Iss       string `json:"iss,omitempty"`
	Jti       string `json:"jti,omitempty"` // its id
}

// caller returns the caller of an endpoint, with it as the actor of its account, and the parameter token.
func (s *surface) caller(r *http.Request, p params, bearer bool) (*http.Request, latchkey.Account, string, error) {
	access, err := s.client(r, p, bearer)
	if err != nil {
		return r, latchkey.Account{}, "", err
	}
	r = r.WithContext(httpadapter.WithAccess(r.Context(), access))
	text := p.one["token"]
	if text == "" {
		return r, latchkey.Account{}, "", invalidRequest("token is missing")
	}
	as, err := s.manager.For(access.Owner()).As(access)
	return r, as, text, err
}

// introspect serves the introspection endpoint.
func (s *surface) introspect(r *http.Request, p params) (*http.Request, any, error) {
	r, as, text, err := s.caller(r, p, true)
	if err != nil {
		return r, nil, err
	}
	client, _ := httpadapter.AccessFrom(r.Context())
	t, err := as.Find(r.Context(), text) // only what the caller may read
	if errors.Is(err, latchkey.ErrNotFound) {
		return r, introspection{}, nil
	}
	if err != nil {
		return r, nil, err
	}
	// Not the address and the headers of this request: they are the resource server's own. Nor do the tokens that others
	// send it count as credentials of its address.
	ctx := (*httpadapter.Gate)(nil).Watch(r.Context(), client.Address())
	access, err := s.manager.For(t.Owner).Verify(ctx, latchkey.Presented{Secret: text, Test: s.opts.Test})
	if err != nil {
		if httpadapter.ProblemOf(err).Status == http.StatusUnauthorized {
			return r, introspection{}, nil
		}
		return r, nil, err
	}
	scopes, err := s.covered(r.Context(), access)
	if err != nil {
		return r, nil, err
	}
	reply := introspection{Active: true, Scope: strings.Join(scopes, " "), ClientID: t.Parent, TokenType: "Bearer",
		Iat: t.Created.Unix(), Sub: t.Client.ID, Aud: s.resource, Iss: s.opts.Issuer, Jti: t.ID}
	if t.Parent == "" {
		reply.ClientID = t.ID
	}
	ends := access.Ends()
	switch found, err := s.manager.Find(r.Context(), text); {
	case errors.Is(err, latchkey.ErrNotFound):
		return r, introspection{}, nil // it ended meanwhile
	case err != nil:
		return r, nil, err
	case !found.NotAfter.IsZero() && (ends.IsZero() || found.NotAfter.Before(ends)):
		ends = found.NotAfter // this text was rotated away: whoever keeps the reply must not accept it longer
	}
	if !ends.IsZero() {
		reply.Exp = ends.Unix()
	}
	if from := t.Validity.NotBefore; !from.IsZero() {
		reply.Nbf = from.Unix()
	}
	return r, reply, nil
}

// revoke serves the revocation endpoint (RFC 7009).
func (s *surface) revoke(r *http.Request, p params) (*http.Request, any, error) {
	r, as, text, err := s.caller(r, p, false)
	if err != nil {
		return r, nil, err
	}
	client, _ := httpadapter.AccessFrom(r.Context())
	account := s.manager.For(client.Owner())
	t, err := account.Find(r.Context(), text)
	switch {
	case errors.Is(err, latchkey.ErrNotFound):
		return r, nil, nil
	case err != nil:
		return r, nil, err
	}
	if !t.Damaged && t.Origin == Origin && t.Parent == client.TokenID() {
		as = account // what a client got here, it may end: RFC 7009 §2.1
	}
	err = as.Revoke(r.Context(), t.ID, "oauth: by "+client.TokenID())
	if errors.Is(err, latchkey.ErrDenied) {
		// A caller that may read the token hears that it still lives. Others hear the same as for an unknown text, also
		// while the store cannot be asked, or once they are no callers any more.
		if _, unread := as.Find(r.Context(), text); unread != nil {
			err = unread
		}
	}
	if errors.Is(err, latchkey.ErrNotFound) {
		err = nil
	}
	return r, nil, err
}
