package webforce

import (
	"context"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// add makes a token. The session must hold every right that it gives.
func (s *surface) add(r *http.Request, c Call) ([]byte, error) {
	name, err := c.Text(nameName)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	var x extra // a token for nothing, unless something is said
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
		Settings: latchkey.Settings{Name: name, Permissions: x.permissions, Extra: x.json}})
	if err != nil {
		return nil, err
	}
	return tokenJSON(t, secret.Reveal()), nil
}

func (s *surface) get(r *http.Request, c Call) ([]byte, error) {
	as, t, err := c.token(r.Context())
	if err != nil {
		return nil, err
	}
	return s.tokenData(r.Context(), as, t)
}

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
			continue // nothing of it can be shown
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

// update changes name or extra or both; extra replaces the one before as a whole.
func (s *surface) update(r *http.Request, c Call) ([]byte, error) {
	if c.Has(nameName) || c.Has(nameExtra) {
		return nil, refuse("name and extra belong into meta") // not obeyed there, they might be believed to be
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

func (s *surface) remove(r *http.Request, c Call) ([]byte, error) {
	as, t, err := c.token(r.Context())
	if err != nil {
		return nil, err
	}
	return nil, asNoToken(as.Delete(r.Context(), t.ID))
}

// acting is the account acted on by the session.
func (c Call) actor() (latchkey.Account, error) {
	as, err := c.Account.As(c.Access)
	if err != nil || c.bounded {
		return as, err
	}
	return as.Exceeding(), nil
}

// token reads the token that token_id names. One of another owner, one that another surface made, one that was revoked
// and one that the caller may not read are missing, all alike.
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

// ours says whether a token was made here and not ended elsewhere. The API has no word for a revoked token.
func isVisible(t latchkey.Token) bool {
	return t.Origin == Origin && t.Kind == latchkey.KindAPIKey && t.Revoked.IsZero()
}

func asNoToken(err error) error {
	if errors.Is(err, latchkey.ErrNotFound) {
		return errNoToken
	}
	return err
}

// shown describes a token with its text, if that can be read again and the caller may.
func (s *surface) tokenData(ctx context.Context, as latchkey.Account, t latchkey.Token) ([]byte, error) {
	texts, err := as.RevealAll(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	return tokenJSON(t, textOrHint(texts, t)), nil
}

func textOrHint(texts map[string]latchkey.Secret, t latchkey.Token) string {
	if secret, ok := texts[t.ID]; ok {
		return secret.Reveal()
	}
	return t.Hint
}

// Has says whether the call gives a parameter.
func (c Call) Has(name string) bool { return c.params.Get(name) != nil }

// Text is a parameter. One that is missing, given more than once or given in brackets is an *[Error].
func (c Call) Text(name string) (string, error) { return text(c.params, name) }

// JSON is a structured parameter: JSON text as it was sent, or what was sent in brackets, as JSON in which every value is
// a text. A parameter that is missing, or no valid JSON, is an *[Error].
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
