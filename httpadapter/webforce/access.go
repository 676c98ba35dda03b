package webforce

import (
	"context"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// add issues a token. The session must have every right that it gives.
func (s *surface) add(r *http.Request, c Call) ([]byte, error) {
	name, err := c.Text(nameName)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	var x extra // a token without rights unless extra is given
	if v := c.params.Get(nameExtra); v != nil {
		if x, err = readExtra(v, s.opts.Overlay); err != nil {
			return nil, err
		}
	}
	as, err := c.actor()
	if err != nil {
		return nil, err
	}
	t, secret, err := as.Issue(r.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: Origin,
		Name: name, Permissions: x.permissions, Extra: x.json})
	if err != nil {
		return nil, err
	}
	return tokenJSON(t, secret.Reveal()), nil
}

// get returns one token.
func (s *surface) get(r *http.Request, c Call) ([]byte, error) {
	as, t, err := c.token(r.Context())
	if err != nil {
		return nil, err
	}
	return s.tokenData(r.Context(), as, t)
}

// getAll returns all tokens.
func (s *surface) getAll(r *http.Request, c Call) ([]byte, error) {
	as, err := c.actor()
	if err != nil {
		return nil, err
	}
	var list []latchkey.Token
	var ids []string
	origin := Origin
	for t, err := range as.Tokens(r.Context(), latchkey.TokenQuery{Origin: &origin}) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // it cannot be shown
		} else if err != nil {
			return nil, err
		}
		if isVisible(t) {
			list, ids = append(list, t), append(ids, t.ID)
		}
	}
	texts, err := as.RevealAll(r.Context(), ids...)
	if err != nil {
		return nil, err
	}
	data := []byte{'['}
	for i, t := range list {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, tokenJSON(t, textOrHint(texts, t))...)
	}
	return append(data, ']'), nil
}

// update changes name or extra or both. extra replaces the one before as a whole.
func (s *surface) update(r *http.Request, c Call) ([]byte, error) {
	if c.Has(nameName) || c.Has(nameExtra) {
		return nil, refuse("name and extra belong into meta") // it would be ignored there
	}
	given := c.params.Get(nameMeta)
	if given == nil {
		return nil, refuse("Missing parameter: " + nameMeta)
	}
	m, err := readMeta(given, s.opts.Overlay)
	if err != nil {
		return nil, err
	}
	as, t, err := c.token(r.Context())
	if err != nil {
		return nil, err
	}
	t, err = as.Update(r.Context(), t.ID, func(t *latchkey.Token) error {
		if !isVisible(*t) { // revoked meanwhile
			return errNoToken
		}
		if m.name != nil {
			t.Name = *m.name
		}
		if m.extra != nil {
			t.Permissions, t.Extra = m.extra.permissions, m.extra.json
		}
		return nil
	})
	if err != nil {
		return nil, asNoToken(err)
	}
	return s.tokenData(r.Context(), as, t)
}

// remove deletes a token.
func (s *surface) remove(r *http.Request, c Call) ([]byte, error) {
	as, t, err := c.token(r.Context())
	if err != nil {
		return nil, err
	}
	return nil, asNoToken(as.Delete(r.Context(), t.ID))
}

// actor returns the account with the session as its actor.
func (c Call) actor() (latchkey.Account, error) {
	as, err := c.Account.As(c.Access)
	if err != nil || c.bounded {
		return as, err
	}
	return as.Exceeding(), nil
}

// token returns the token that token_id names. These are not found: a token of another owner, one made elsewhere, a
// revoked one, and one that the caller may not read.
func (c Call) token(ctx context.Context) (latchkey.Account, latchkey.Token, error) {
	fail := func(err error) (latchkey.Account, latchkey.Token, error) {
		return latchkey.Account{}, latchkey.Token{}, err
	}
	id, err := text(c.params, nameTokenID)
	if err != nil {
		return fail(err)
	}
	as, err := c.actor()
	if err != nil {
		return fail(err)
	}
	if id == "" || len(id) > maxTokenID {
		return fail(errNoToken)
	}
	t, err := as.Get(ctx, id)
	if err != nil {
		return fail(asNoToken(err))
	}
	if !isVisible(t) {
		return fail(errNoToken)
	}
	return as, t, nil
}

// isVisible reports whether a token was made here and is not revoked. The API has no word for a revoked token.
func isVisible(t latchkey.Token) bool {
	return t.Origin == Origin && t.Kind == latchkey.KindAPIKey && t.Revoked.IsZero()
}

// asNoToken replaces ErrNotFound by errNoToken.
func asNoToken(err error) error {
	if errors.Is(err, latchkey.ErrNotFound) {
		return errNoToken
	}
	return err
}

// tokenData returns the data of a token, with its text if that is kept and the caller may read it.
func (s *surface) tokenData(ctx context.Context, as latchkey.Account, t latchkey.Token) ([]byte, error) {
	texts, err := as.RevealAll(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	return tokenJSON(t, textOrHint(texts, t)), nil
}

// textOrHint returns the text of a token if it was revealed, else its hint.
func textOrHint(texts map[string]latchkey.Secret, t latchkey.Token) string {
	if secret, ok := texts[t.ID]; ok {
		return secret.Reveal()
	}
	return t.Hint
}

// Has reports whether the call has a parameter.
func (c Call) Has(name string) bool { return c.params.Get(name) != nil }

// Text returns a parameter. It returns an *[Error] for one that is missing, given more than once or given in
// brackets.
func (c Call) Text(name string) (string, error) { return text(c.params, name) }

// JSON returns a structured parameter as JSON: JSON text as it was sent, or a value in brackets, in which every
// scalar is a text. It returns an *[Error] for a parameter that is missing or not valid JSON.
func (c Call) JSON(name string) ([]byte, error) {
	v := c.params.Get(name)
	switch {
	case v == nil:
		return nil, refuse("Missing parameter: " + name)
	case v.Kind == form.Text:
		return jsonText("Parameter "+name, v.Text)
	}
	return bracketsJSON(nil, v), nil
}
