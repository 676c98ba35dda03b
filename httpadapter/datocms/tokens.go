package datocms

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/form"
)

type tokenResource struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Attributes    tokenAttributes `json:"attributes"`
	Relationships struct {
		Role relationship `json:"role"`
	} `json:"relationships"`
}

type tokenAttributes struct {
	Name      string  `json:"name"`
	Token     *string `json:"token"`
	Hardcoded *string `json:"hardcoded_type"`
	CDA       bool    `json:"can_access_cda"`
	Preview   bool    `json:"can_access_cda_preview"`
	CMA       bool    `json:"can_access_cma"`
	LastCMA   string  `json:"last_cma_access"`
	LastCDA   string  `json:"last_cda_access"`
}

// isVisible reports whether this surface shows a token. It never shows a revoked one.
func isVisible(t latchkey.Token) bool {
	return t.Origin == Origin && t.Kind == latchkey.KindAPIKey && t.Revoked.IsZero()
}

// hardcoded returns the mark of a host's factory tokens in Token.Extra: {"hardcoded_type": "…"}. Nil: none.
func hardcoded(t latchkey.Token) *string {
	var extra struct {
		Type *string `json:"hardcoded_type"`
	}
	if json.Unmarshal(t.Extra, &extra) != nil {
		return nil
	}
	return extra.Type
}

// render returns tokens as resources. If secret is set, it is that of the only token, which was just made. Otherwise
// secrets are revealed to callers that may reveal them, and are null for all others.
func (c *call) render(secret *latchkey.Secret, tokens ...latchkey.Token) ([]tokenResource, error) {
	seen, err := lastAccess(c.r.Context(), c.account, c.s.opts.Clock(), tokens)
	if err != nil {
		return nil, err
	}
	texts, err := c.reveal(secret, tokens)
	if err != nil {
		return nil, err
	}
	list := []tokenResource{}
	for _, t := range tokens {
		out := tokenResource{ID: t.ID, Type: "access_token", Attributes: tokenAttributes{
			Name: t.Name, Hardcoded: hardcoded(t),
			CDA:     t.Permissions.Allows(latchkey.Use, apiCDA),
			Preview: t.Permissions.Allows(latchkey.Use, apiPreview),
			CMA:     t.Permissions.Allows(latchkey.Use, apiCMA),
			LastCMA: seen[usageKey{t.ID, MeterCMA}], LastCDA: seen[usageKey{t.ID, MeterCDA}],
		}}
		if len(t.Roles) == 1 {
			out.Relationships.Role.Data = linkage{t.Roles[0], "role"}
		}
		if known, ok := texts[t.ID]; ok {
			text := known.Reveal()
			out.Attributes.Token = &text
		}
		list = append(list, out)
	}
	return list, nil
}

// reveal returns the texts of tokens by id, as far as they are kept and the caller may read them. A caller without
// can_manage_access_tokens gets none. The text of a token that may do more than the caller, or that was made without
// a Keyring, is left out.
func (c *call) reveal(secret *latchkey.Secret, tokens []latchkey.Token) (map[string]latchkey.Secret, error) {
	if secret != nil {
		return map[string]latchkey.Secret{tokens[0].ID: *secret}, nil
	}
	account, err := c.admin(latchkey.Reveal, "token", "")
	if errors.Is(err, latchkey.ErrDenied) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range tokens {
		ids = append(ids, t.ID)
	}
	return account.RevealAll(c.r.Context(), ids...)
}

func (c *call) oneToken(status int, secret *latchkey.Secret, t latchkey.Token) (int, any, error) {
	list, err := c.render(secret, t)
	if err != nil {
		return 0, nil, err
	}
	return status, list[0], nil
}

// token returns the token that the path names.
func (c *call) token() (latchkey.Token, error) {
	if !validID(c.id) {
		return latchkey.Token{}, latchkey.ErrNotFound
	}
	t, err := c.account.Get(c.r.Context(), c.id)
	if err == nil && !isVisible(t) {
		err = latchkey.ErrNotFound
	}
	return t, err
}

func (c *call) listTokens() (int, any, error) {
	origin := Origin
	var tokens []latchkey.Token
	q := latchkey.TokenQuery{Origin: &origin, Kinds: []latchkey.Kind{latchkey.KindAPIKey}}
	for t, err := range c.account.Tokens(c.r.Context(), q) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // it cannot be shown
		} else if err != nil {
			return 0, nil, err
		}
		if isVisible(t) {
			tokens = append(tokens, t)
		}
	}
	list, err := c.render(nil, tokens...)
	return http.StatusOK, list, err
}

func (c *call) findToken() (int, any, error) {
	t, err := c.token()
	if err != nil {
		return 0, nil, err
	}
	return c.oneToken(http.StatusOK, nil, t)
}

// tokenBody is the body of create and update.
type tokenBody struct {
	name              string
	cda, preview, cma bool
	roleID            string // "": not given
}

func (c *call) readToken(id string) (b tokenBody, err error) {
	check := newChecker("access_token", id != "")
	required, optional := []string{"attributes", "relationships"}, []string(nil)
	if id != "" {
		required, optional = required[:1], required[1:]
	}
	data, err := readData(c.r, check, "access_token", id, required, optional)
	if err != nil {
		return b, err
	}
	if raw, ok := data["attributes"]; ok {
		const at = "#/data/attributes"
		m := check.object(raw, at, []string{"name", "can_access_cda", "can_access_cda_preview", "can_access_cma"}, nil)
		for name, into := range map[string]*bool{"can_access_cda": &b.cda, "can_access_cda_preview": &b.preview,
			"can_access_cma": &b.cma} {
			if raw, ok := m[name]; ok {
				*into = check.boolean(raw, at+"/"+name)
			}
		}
		if raw, ok := m["name"]; ok {
			b.name = check.text(raw, at+"/name")
		}
	}
	if raw, ok := data["relationships"]; ok {
		required, optional := []string{"role"}, []string(nil)
		if id != "" {
			required, optional = nil, required
		}
		m := check.object(raw, "#/data/relationships", required, optional)
		if raw, ok := m["role"]; ok {
			role := check.object(raw, "#/data/relationships/role", []string{"data"}, nil)
			if raw, ok := role["data"]; ok {
				b.roleID = check.link(raw, "#/data/relationships/role/data", "role")
			}
		}
	}
	if err := check.err(); err != nil {
		return b, err
	}
	if err := checkName("AccessToken", b.name); err != nil {
		return b, err
	}
	if b.roleID != "" {
		if _, err := c.role(b.roleID); errors.Is(err, latchkey.ErrNotFound) {
			return b, refuseField("AccessToken", "role", fieldInvalid)
		} else if err != nil {
			return b, err
		}
	}
	return b, nil
}

func checkName(record, name string) error {
	switch {
	case name == "":
		return refuseField(record, "name", fieldRequired)
	case len(name) > maxName:
		return refuseField(record, "name", fieldLength)
	case strings.ContainsRune(name, 0):
		return refuseField(record, "name", fieldInvalid)
	}
	return nil
}

func (c *call) createToken() (int, any, error) {
	account, err := c.admin(latchkey.Create, "token", "")
	if err != nil {
		return 0, nil, err
	}
	b, err := c.readToken("")
	if err != nil {
		return 0, nil, err
	}
	t, secret, err := account.Issue(c.r.Context(), TokenSpec(b.name, b.roleID, b.cda, b.preview, b.cma))
	if err != nil {
		return 0, nil, tokenError(err)
	}
	return c.oneToken(http.StatusCreated, &secret, t)
}

// tokenError maps an error of the account. Invalid requests were refused before, so the role was deleted meanwhile.
func tokenError(err error) error {
	if errors.Is(err, latchkey.ErrInvalid) && !errors.Is(err, latchkey.ErrPolicy) {
		return refuseField("AccessToken", "role", fieldInvalid)
	}
	return err
}

func (c *call) updateToken() (int, any, error) {
	t, err := c.token()
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Update, "token", t.ID)
	if err != nil {
		return 0, nil, err
	}
	b, err := c.readToken(t.ID)
	if err != nil {
		return 0, nil, err
	}
	t, err = account.Update(c.r.Context(), t.ID, func(t *latchkey.Token) error {
		if !isVisible(*t) {
			return latchkey.ErrNotFound
		}
		if hardcoded(*t) != nil {
			return refuse(http.StatusUnauthorized, codeNonEditable, latchkey.ErrDenied)
		}
		t.Name, t.Permissions = b.name, apiRules(b.cda, b.preview, b.cma)
		if b.roleID != "" {
			t.Roles = []string{b.roleID}
		}
		return nil
	})
	if err != nil {
		return 0, nil, tokenError(err)
	}
	return c.oneToken(http.StatusOK, nil, t)
}

func (c *call) regenerateToken() (int, any, error) {
	t, err := c.token()
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Rotate, "token", t.ID)
	if err != nil {
		return 0, nil, err
	}
	if _, err := readBody(c.r); err != nil {
		return 0, nil, err
	}
	secret, err := account.Rotate(c.r.Context(), t.ID, 0)
	if errors.Is(err, latchkey.ErrInvalid) { // revoked meanwhile
		err = latchkey.ErrNotFound
	}
	if err != nil {
		return 0, nil, err
	}
	return c.oneToken(http.StatusOK, &secret, t)
}

// errDryRun ends an update that only checks the caller's rights.
var errDryRun = errors.New("datocms: dry run")

var destinationTypes = []string{"account", "organization", "user", "access_token", "sso_user"}

func (c *call) destroyToken() (int, any, error) {
	t, err := c.token()
	if err != nil {
		return 0, nil, err
	}
	account, err := c.admin(latchkey.Delete, "token", t.ID)
	if err != nil {
		return 0, nil, err
	}
	if _, err := readBody(c.r); err != nil {
		return 0, nil, err
	}
	if t.ID == c.access.TokenID() {
		return 0, nil, refuse(http.StatusUnprocessableEntity, codeSelf, latchkey.ErrDenied)
	}
	to, err := destination(c.r)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.render(nil, t)
	if err != nil {
		return 0, nil, err
	}
	if c.s.opts.Reassign != nil {
		// Check that the caller may delete the token before its property is reassigned: with an update that is not made.
		_, err := account.Update(c.r.Context(), t.ID, func(*latchkey.Token) error { return errDryRun })
		if !errors.Is(err, errDryRun) {
			return 0, nil, err
		}
		if err := c.s.opts.Reassign(c.r, t.ID, to); err != nil {
			return 0, nil, err
		}
	}
	if err := account.Delete(c.r.Context(), t.ID); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, out[0], nil
}

// destination returns the destination that the query names, or zero. The host decides whether it exists.
func destination(r *http.Request) (to Destination, err error) {
	query, err := form.Parse(r.URL.RawQuery)
	if err != nil {
		return to, httpadapter.ErrBadRequest
	}
	errType := refuse(http.StatusUnprocessableEntity, codeDestinationType, latchkey.ErrInvalid)
	if kind := query.Get("destination_user_type"); kind != nil {
		if kind.Kind != form.Text || !slices.Contains(destinationTypes, kind.Text) {
			return to, errType
		}
		to.Type = kind.Text
	}
	if id := query.Get("destination_user_id"); id != nil {
		if id.Kind != form.Text || !validID(id.Text) {
			return to, ErrDestination
		}
		to.ID = id.Text
	}
	switch {
	case to.Type == "" && to.ID != "":
		return to, errType
	case to.Type != "" && to.ID == "":
		return to, ErrDestination
	}
	return to, nil
}
