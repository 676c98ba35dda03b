package datocms

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// fixture is an account with an administrator's role and token, the management calls, and a delivery endpoint.
type fixture struct {
	t       *testing.T
	time    atomic.Int64 // µs; background writes read it
	store   *failingStore
	keys    *latchkey.Manager
	acme    latchkey.Account
	other   latchkey.Account
	role    latchkey.Role // of the administrator
	admin   string        // the text of the administrator's token
	adminID string
	mux     *http.ServeMux
	cda     http.Handler
	opts    Options
	errs    []error
}

// failingStore is a store that can be made to fail. As databases do, it has no answer about an id with a NUL.
type failingStore struct {
	latchkey.Store
	down, downRoles, downWrite error
	damaged                    string               // the id of a role
	taken                      int                  // so many writes find that what they make is there
	loaded                     func(tokenID string) // before each Load; nil: nothing
}

var errNUL = errors.New("a text with a NUL")

func (s *failingStore) Load(ctx context.Context, owner, tokenID string) (latchkey.Found, error) {
	if strings.ContainsRune(tokenID, 0) {
		return latchkey.Found{}, errNUL
	}
	if s.loaded != nil {
		s.loaded(tokenID)
	}
	return s.Store.Load(ctx, owner, tokenID)
}

func (s *failingStore) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	if strings.ContainsRune(id, 0) {
		return latchkey.Role{}, errNUL
	}
	r, err := s.Store.Role(ctx, owner, id)
	if err == nil && id == s.damaged {
		err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id}
	}
	return r, err
}

func (s *failingStore) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	if s.downRoles != nil {
		return nil, s.downRoles
	}
	roles, err := s.Store.Roles(ctx, owner, q)
	for i := range roles {
		roles[i].Damaged = roles[i].ID == s.damaged
	}
	return roles, err
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.down != nil {
		return latchkey.Found{}, s.down
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *failingStore) Write(ctx context.Context, w latchkey.Write) error {
	if s.downWrite != nil {
		return s.downWrite
	}
	if s.taken > 0 {
		s.taken--
		return latchkey.ErrExists
	}
	return s.Store.Write(ctx, w)
}

func newFixture(t *testing.T, opts *Options) *fixture { return newFixtureWith(t, opts, true) }

func (w *fixture) now() time.Time          { return time.UnixMicro(w.time.Load()).UTC() }
func (w *fixture) set(t time.Time)         { w.time.Store(t.UnixMicro()) }
func (w *fixture) advance(d time.Duration) { w.set(w.now().Add(d)) }

func newFixtureWith(t *testing.T, opts *Options, keyring bool) *fixture {
	w := &fixture{t: t}
	w.set(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)) // a Wednesday
	w.store = &failingStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	o := latchkey.Options{Clock: w.now, CacheTokens: -1}
	if keyring {
		key, err := latchkey.GenerateKey(nil, 1)
		require.NoError(t, err)
		o.Keyring, err = latchkey.NewKeyring(key)
		require.NoError(t, err)
	}
	w.keys = latchkey.New(w.store, &o)
	w.acme, w.other = w.keys.For("acme"), w.keys.For("other")
	w.role = w.makeRole(w.acme, AdminRole("Admin", "main"))
	w.adminID, w.admin = w.issue(w.acme, TokenSpec("Full access", w.role.ID, true, true, true))
	if opts != nil {
		w.opts = *opts
	}
	if w.opts.Rate == (latchkey.Rate{}) { // tests call faster than clients may
		w.opts.Rate = latchkey.Rate{Count: 1000, Per: time.Second, Burst: 9999}
	}
	w.opts.Clock = w.now
	w.opts.OnError = func(_ *http.Request, err error) { w.errs = append(w.errs, err) }
	w.mux = http.NewServeMux()
	Mount(w.mux, w.acme, &w.opts)
	w.cda = Delivery(w.acme, &w.opts)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, ok := httpadapter.AccessFrom(r.Context())
		d, ok2 := DeliveredFrom(r.Context())
		require.True(t, ok && ok2)
		_ = json.NewEncoder(rw).Encode(d)
	}))
	return w
}

func (w *fixture) makeRole(a latchkey.Account, r latchkey.Role) latchkey.Role {
	w.t.Helper()
	r, err := a.CreateRole(w.t.Context(), r)
	require.NoError(w.t, err)
	return r
}

func (w *fixture) issue(a latchkey.Account, spec latchkey.Spec) (id, text string) {
	w.t.Helper()
	t, secret, err := a.Issue(w.t.Context(), spec)
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

func (w *fixture) verify(text string) latchkey.Access {
	w.t.Helper()
	a, err := w.acme.Verify(w.t.Context(), latchkey.Presented{Secret: text})
	require.NoError(w.t, err)
	return a
}

// clientHeaders returns the headers that the real client sets on every call.
func clientHeaders(token string) http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "X-Api-Version": {"3"},
		"Authorization": {"Bearer " + token}}
}

func (w *fixture) raw(method, path, body string, h http.Header) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	r.Header = h
	out := httptest.NewRecorder()
	w.mux.ServeHTTP(out, r)
	return out
}

// send makes a call as the real client does.
func (w *fixture) send(token, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	out := w.raw(method, path, body, clientHeaders(token))
	require.Equal(w.t, "application/json; charset=utf-8", out.Header().Get("Content-Type"), out.Body.String())
	require.Equal(w.t, "nosniff", out.Header().Get("X-Content-Type-Options"))
	require.Equal(w.t, "3", out.Header().Get("X-Api-Version"))
	require.Regexp(w.t, `^[0-9a-f]{32}$`, out.Header().Get("X-Request-Id"))
	require.Equal(w.t, itoa(1+w.opts.Rate.Burst), out.Header().Get("X-RateLimit-Limit"))
	require.Equal(w.t, out.Code == 401, out.Header().Get("WWW-Authenticate") != "")
	require.Equal(w.t, out.Code == 429, out.Header().Get("X-RateLimit-Reset") != "")
	require.Contains(w.t, out.Header().Get("Cache-Control"), "no-store")
	return out
}

// ok makes a call as the administrator, requires the status, and decodes data.
func (w *fixture) ok(status int, method, path, body string, into any) {
	w.t.Helper()
	w.okAs(w.admin, status, method, path, body, into)
}

func (w *fixture) okAs(token string, status int, method, path, body string, into any) {
	w.t.Helper()
	out := w.send(token, method, path, body)
	require.Equal(w.t, status, out.Code, out.Body.String())
	var doc struct{ Data json.RawMessage }
	require.NoError(w.t, json.Unmarshal(out.Body.Bytes(), &doc))
	require.NoError(w.t, json.Unmarshal(doc.Data, into))
}

// refused makes a call that must fail in the product's format with this code. It returns the details.
func (w *fixture) refused(token string, status int, code, method, path, body string) string {
	w.t.Helper()
	return refusedReply(w.t, w.send(token, method, path, body), status, code)
}

func refusedReply(t *testing.T, out *httptest.ResponseRecorder, status int, code string) string {
	t.Helper()
	require.Equal(t, status, out.Code, out.Body.String())
	var doc struct {
		Data []struct {
			ID, Type   string
			Attributes struct {
				Code    string
				Details json.RawMessage
				DocURL  string `json:"doc_url"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(out.Body.Bytes(), &doc))
	require.Len(t, doc.Data, 1)
	e := doc.Data[0]
	require.Regexp(t, `^[0-9a-f]{6}$`, e.ID)
	require.Equal(t, "api_error", e.Type)
	require.Equal(t, code, e.Attributes.Code, out.Body.String())
	require.Equal(t, docURL+code, e.Attributes.DocURL)
	require.True(t, begins(e.Attributes.Details, '{'), "clients index into details")
	require.Contains(t, out.Header().Get("Cache-Control"), "no-cache")
	return string(e.Attributes.Details)
}

// gotToken and gotRole are resources as a client reads them.
type gotToken struct {
	ID, Type   string
	Attributes struct {
		Name             string
		Token, Hardcoded *string
		CDA              bool   `json:"can_access_cda"`
		Preview          bool   `json:"can_access_cda_preview"`
		CMA              bool   `json:"can_access_cma"`
		LastCMA          string `json:"last_cma_access"`
		LastCDA          string `json:"last_cda_access"`
	}
	Relationships struct {
		Role struct{ Data *linkage }
	}
}

type gotRole struct {
	ID, Type      string
	Attributes    map[string]json.RawMessage
	Relationships struct {
		Inherits struct{ Data []linkage } `json:"inherits_permissions_from"`
	}
	Meta struct {
		Final map[string]json.RawMessage `json:"final_permissions"`
	}
}

func tokenBodyText(id, name, role string, flags ...bool) string {
	text := func(b bool) string { return map[bool]string{true: "true", false: "false"}[b] }
	for len(flags) < 3 {
		flags = append(flags, false)
	}
	s := `{"data":{"type":"access_token",`
	if id != "" {
		s += `"id":"` + id + `",`
	}
	s += `"attributes":{"name":"` + name + `","can_access_cda":` + text(flags[0]) + `,"can_access_cda_preview":` +
		text(flags[1]) + `,"can_access_cma":` + text(flags[2]) + `}`
	if role != "" {
		s += `,"relationships":{"role":{"data":{"id":"` + role + `","type":"role"}}}`
	}
	return s + `}}`
}

func (w *fixture) newToken(name, role string, flags ...bool) gotToken {
	w.t.Helper()
	var got gotToken
	w.ok(201, "POST", "/access_tokens", tokenBodyText("", name, role, flags...), &got)
	require.NotNil(w.t, got.Attributes.Token)
	return got
}

// newRole makes a role with these attributes besides its name, and these parents.
func (w *fixture) newRole(name, attributes string, parents ...string) gotRole {
	w.t.Helper()
	var got gotRole
	w.ok(201, "POST", "/roles", roleBodyText("", `"name":"`+name+`"`+comma(attributes), parents), &got)
	return got
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return "," + s
}

func roleBodyText(id, attributes string, parents []string) string {
	s := `{"data":{"type":"role"`
	if id != "" {
		s += `,"id":"` + id + `"`
	}
	if attributes != "" {
		s += `,"attributes":{` + attributes + `}`
	}
	if parents != nil {
		var links []string
		for _, p := range parents {
			links = append(links, `{"type":"role","id":"`+p+`"}`)
		}
		s += `,"relationships":{"inherits_permissions_from":{"data":[` + strings.Join(links, ",") + `]}}`
	}
	return s + `}}`
}

// models and uploads return a pair of lists as attributes.
func models(pos, neg string) string {
	return `"positive_item_type_permissions":[` + pos + `],"negative_item_type_permissions":[` + neg + `]`
}

func uploads(pos, neg string) string {
	return `"positive_upload_permissions":[` + pos + `],"negative_upload_permissions":[` + neg + `]`
}

var (
	uuidText   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	secretText = regexp.MustCompile(`ak_[0-9A-Za-z]{40}`)
)

// plain replaces random values by their order of appearance.
func plain(text string) string {
	ids := map[string]string{}
	text = uuidText.ReplaceAllStringFunc(text, func(id string) string {
		if ids[id] == "" {
			ids[id] = "ID" + itoa(len(ids)+1)
		}
		return ids[id]
	})
	return secretText.ReplaceAllString(text, "SECRET")
}
