package cloudtables

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestAccess(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t, nil)
			req, err := readRequest(tt.request(), false)
			require.NoError(t, err)
			for _, path := range paths {
				c := tt.wire
				c.target = path + c.target
				out := w.send(c)
				require.Equal(t, 200, out.Code, out.Body.String())
				var body struct{ Token string }
				require.NoError(t, json.Unmarshal(out.Body.Bytes(), &body))
				require.Equal(t, `{"token":"`+body.Token+`","success":true}`, out.Body.String())
				got, err := w.acme.Get(context.Background(), w.verified(body.Token).TokenID())
				require.NoError(t, err)

				require.Equal(t, latchkey.KindAccess, got.Kind)
				require.Equal(t, w.keyID, got.Parent)
				require.Equal(t, Origin, got.Origin)
				require.Equal(t, req.client, got.Client)
				require.Equal(t, req.roles == nil, got.Full)
				var want []string
				for _, name := range req.roles {
					want = append(want, w.roles[name].ID)
				}
				require.ElementsMatch(t, want, got.Roles)
				require.Len(t, got.Rows, len(req.conditions))
				for i, c := range filters(req.conditions) {
					require.True(t, c.Equal(got.Rows[i]))
				}
				force, err := forced(req.conditions)
				require.NoError(t, err)
				require.Len(t, got.Forced, len(force))
				for point, v := range force {
					require.Equal(t, v, got.Forced[point])
				}
				idle, lifetime := DefaultIdle, DefaultCap
				if req.duration != 0 {
					idle, lifetime = req.duration, max(DefaultCap, req.duration)
				}
				require.Equal(t, idle, got.Validity.Idle)
				require.Equal(t, w.now().Add(lifetime), got.Validity.NotAfter)
			}
		})
	}
}

func TestRefusalsMakeNothing(t *testing.T) {
	w := newFixture(t, nil)
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			w.errs = nil
			w.refused(tt.status, tt.want, tt.wire)
			require.Len(t, w.errs, 1)
			require.NotContains(t, w.errs[0].Error(), w.key)
		})
	}
	w.t = t
	require.Empty(t, w.log.String())
}

func TestRoles(t *testing.T) {
	w := newFixture(t, nil)
	w.role(w.other, latchkey.Role{Name: "theirs"})
	gone := w.role(w.acme, latchkey.Role{Name: "gone"})
	require.NoError(t, w.acme.DeleteRole(context.Background(), gone.ID))

	require.Equal(t, "it, front desk, Front of house, one, a, b", w.can(w.mint(`key=K`)))
	require.Equal(t, "it", w.can(w.mint(`key=K&role=it`)))
	require.Equal(t, "it, a", w.can(w.mint(`key=K&roles[]=a&roles[]=it`)))

	for _, body := range []string{
		`key=K&role=admin`, `key=K&roles[0]=it&roles[1]=admin`, `key=K&roles=admin&roles=it`,
		`key=K&role=theirs`, `key=K&role=gone`,
		`key=K&role=IT`, `key=K&role=it%20`, `key=K&role=%20it`, `key=K&role=`, `key=K&roles[0]=`,
		`key=K&roles[]=it&roles[]=`,
		`key=K&role=*`, `key=K&role=` + w.roles["it"].ID, `key=K&role=it%2Ca`, `key=K&role=["it"]`, `{"key":"K","role":"ıt"}`,
		`key=K&role=` + strings.Repeat("x", 10_000),
	} {
		w.refused(403, noAccess, wire{body: body})
	}

	// Two of the key's roles have the same name: the request is ambiguous.
	twin := w.role(w.acme, latchkey.Role{Name: "it", Origin: "datocms"})
	_, err := w.acme.Update(context.Background(), w.keyID, func(tok *latchkey.Token) error {
		tok.Roles = append(tok.Roles, twin.ID)
		return nil
	})
	require.NoError(t, err)
	w.refused(403, noAccess, wire{body: `key=K&role=it`})
	require.Equal(t, "a", w.can(w.mint(`key=K&role=a`)))

	// A role that cannot be read gives nothing, and whoever names it gets no token. The others are as before.
	w.store.damaged = "b"
	w.refused(403, noAccess, wire{body: `key=K&role=b`})
	require.Equal(t, "a", w.can(w.mint(`key=K&role=a`)))

	// A key without roles can name none, whatever roles the owner has.
	_, w.key = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.refused(403, noAccess, wire{body: `key=K&role=a`})
	require.Equal(t, "", w.can(w.mint(`key=K`)))
}

func TestKeys(t *testing.T) {
	ctx := context.Background()
	w := newFixture(t, nil)
	good := w.key
	role := []string{w.roles["it"].ID}
	hour := latchkey.Validity{NotAfter: w.now().Add(time.Hour)}
	key := func(a latchkey.Account, spec latchkey.Spec) string {
		_, text := w.issue(a, spec)
		return text
	}
	revokedID, revoked := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, w.acme.Revoke(ctx, revokedID, ""))
	deletedID, deleted := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, w.acme.Delete(ctx, deletedID))
	expired := key(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Validity: latchkey.Validity{NotAfter: w.now().Add(time.Second)}})
	w.advance(time.Second)

	secret := key(w.acme, latchkey.Spec{Kind: latchkey.KindSecret})
	session := key(w.acme, latchkey.Spec{Kind: latchkey.KindSession, Roles: role, Validity: hour})
	for _, tt := range []struct {
		name, key, more string
		status          int
	}{
		{"an API key", good, "", 200},
		{"a session", session, "", 200},
		{"a session, with its role", session, "&role=it", 200},
		{"a session, with another role", session, "&role=a", 403},
		{"a secret key that names roles", secret, "&role=it", 200},
		{"a secret key that names none", secret, "", 403},
		{"a secret key, unknown role", secret, "&role=nobody", 403},
		{"a publishable key", key(w.acme, latchkey.Spec{Kind: latchkey.KindPublishable, Roles: role}), "", 403},
		{"a minted token", w.mint(`key=K`), "", 403},
		{"unknown", good[:len(good)-1] + string(good[len(good)-1]^1), "", 401}, // always another character
		{"truncated", good[:len(good)-1], "", 401},
		{"longer", good + "0", "", 401},
		{"another case", strings.ToLower(good), "", 401},
		{"a space behind", good + "%20", "", 401},
		{"rubbish", "0", "", 401},
		{"long", strings.Repeat("k", 10_000), "", 401},
		{"revoked", revoked, "", 401},
		{"deleted", deleted, "", 401},
		{"expired", expired, "", 401},
		{"not yet", key(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Validity: latchkey.Validity{NotBefore: w.now().Add(time.Hour)}}), "", 401},
		{"disabled", key(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Disabled: true}), "", 401},
		{"another owner's", key(w.other, latchkey.Spec{Kind: latchkey.KindAPIKey}), "", 401},
		{"another owner's secret key", key(w.other, latchkey.Spec{Kind: latchkey.KindSecret}), "&role=it", 401},
		{"a test key", key(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true}), "&role=it", 401},
		{"from elsewhere", key(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}), "", 401},
		{"may not mint from here", key(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{
			MintFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}), "", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			w.key = tt.key
			body := "key=K" + tt.more
			if tt.status == 200 {
				w.mint(body)
				return
			}
			w.refused(tt.status, noAccess, wire{body: body})
		})
	}
}

func TestSandbox(t *testing.T) {
	w := newFixture(t, &Options{Test: true})
	w.refused(401, noAccess, wire{body: `key=K`})
	_, w.key = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.mint(`key=K&role=it`)
}

func TestProxies(t *testing.T) {
	for forwarded, status := range map[string]int{"203.0.113.5": 200, "203.0.113.5, 198.51.100.1": 401,
		"nonsense": 400, "": 401} {
		w := newFixture(t, &Options{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}) // httptest's peer
		_, w.key = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}})
		c := wire{body: `key=K`}
		if forwarded != "" {
			c.headers = []string{"X-Forwarded-For", forwarded}
		}
		require.Equal(t, status, w.send(c).Code, forwarded)
	}
}

// TestWhatTheKeyLosesTheTokenLoses: at the next verification, without a change to the token.
func TestWhatTheKeyLosesTheTokenLoses(t *testing.T) {
	ctx := context.Background()
	t.Run("revoked", func(t *testing.T) {
		w := newFixture(t, nil)
		token := w.mint(`key=K`)
		require.NoError(t, w.acme.Revoke(ctx, w.keyID, "lost"))
		_, err := w.verify(token)
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	})
	t.Run("a role taken", func(t *testing.T) {
		w := newFixture(t, nil)
		all, one := w.mint(`key=K`), w.mint(`key=K&role=it`)
		_, err := w.acme.Update(ctx, w.keyID, func(tok *latchkey.Token) error {
			tok.Roles = slices.DeleteFunc(tok.Roles, func(id string) bool { return id == w.roles["it"].ID })
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, "front desk, Front of house, one, a, b", w.can(all))
		require.Equal(t, "", w.can(one))
		w.refused(403, noAccess, wire{body: `key=K&role=it`})
	})
	t.Run("a role edited", func(t *testing.T) {
		w := newFixture(t, nil)
		token := w.mint(`key=K&role=it`)
		_, err := w.acme.UpdateRole(ctx, w.roles["it"].ID, func(r *latchkey.Role) error {
			r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, "a", w.can(token))
	})
	t.Run("idle", func(t *testing.T) {
		w := newFixture(t, nil)
		token := w.mint(`key=K`)
		w.advance(DefaultIdle - time.Second)
		w.verified(token)
		w.advance(DefaultIdle - time.Minute) // used meanwhile
		w.verified(token)
		w.advance(DefaultIdle)
		_, err := w.verify(token)
		require.ErrorIs(t, err, latchkey.ErrExpired)
	})
	t.Run("capped, however much it is used", func(t *testing.T) {
		w := newFixture(t, &Options{Idle: time.Hour, Cap: 3 * time.Hour})
		token := w.mint(`key=K`)
		for range 5 {
			w.advance(30 * time.Minute)
			w.verified(token)
		}
		w.advance(30 * time.Minute)
		_, err := w.verify(token)
		require.ErrorIs(t, err, latchkey.ErrExpired)
	})
	t.Run("the key's end", func(t *testing.T) {
		w := newFixture(t, nil)
		_, w.key = w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Validity: latchkey.Validity{NotAfter: w.now().Add(10 * time.Minute)}})
		token := w.mint(`key=K&duration=31536000`)
		w.advance(10*time.Minute - time.Microsecond)
		w.verified(token)
		w.advance(time.Microsecond)
		_, err := w.verify(token)
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	})
}

func TestDurationReplacesIdle(t *testing.T) {
	w := newFixture(t, nil)
	token := w.mint(`key=K&duration=2`)
	w.advance(2 * time.Second)
	_, err := w.verify(token)
	require.ErrorIs(t, err, latchkey.ErrExpired)
}

func TestNewestClientNameWins(t *testing.T) {
	w := newFixture(t, nil)
	w.mint(`key=K&clientId=42&clientName=Ada`)
	w.mint(`key=K&clientId=7&clientName=Bo`)
	w.mint(`key=K&clientId=42&clientName=Ada%20L.`)
	w.mint(`key=K&clientId=42`)
	w.refused(403, noAccess, wire{body: `key=K&clientId=42&clientName=Eve&role=admin`})
	var got []latchkey.Client
	for c, err := range w.acme.Clients(context.Background()) {
		require.NoError(t, err)
		got = append(got, c)
	}
	require.Equal(t, []latchkey.Client{{ID: "42", Name: "Ada L."}, {ID: "7", Name: "Bo"}}, got)
	for c, err := range w.other.Clients(context.Background()) {
		t.Fatal("another owner has clients", c, err)
	}
}

func TestStoreTrouble(t *testing.T) {
	unavailable := reply("unavailable", "")
	trouble := errors.Join(latchkey.ErrUnavailable, errors.New("dial tcp: SECRET-HOST refused"))
	w := newFixture(t, nil)
	for _, tt := range []struct {
		name string
		at   *error
		err  error
	}{
		{"verify", &w.store.down, trouble},
		{"roles", &w.store.downRoles, trouble},
		{"write", &w.store.downWrite, trouble},
		{"write, unknown outcome", &w.store.downWrite, latchkey.ErrUnknownOutcome},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			*tt.at = tt.err
			defer func() { *tt.at = nil }()
			out := w.send(wire{body: `key=K&role=it`})
			require.Equal(t, 503, out.Code)
			require.Equal(t, unavailable, out.Body.String())
			require.Equal(t, "1", out.Header().Get("Retry-After"))
		})
	}
	require.NotEmpty(t, w.log.String())
	w.store.downRoles = errors.New("disk on fire")
	out := w.send(wire{body: `key=K&role=it`})
	require.Equal(t, 500, out.Code)
	require.Equal(t, reply("internalError", ""), out.Body.String())
	require.Contains(t, w.log.String(), "disk on fire")
	w.store.downRoles = nil
	require.NotContains(t, w.log.String(), w.key)
	require.Equal(t, 1, w.count())
}

func TestMethodsAndPaths(t *testing.T) {
	w := newFixture(t, nil)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
		c := wire{method: method, target: "?key=K"}
		w.refused(405, reply("methodNotAllowed", ""), c)
		require.Equal(t, "POST", w.send(c).Header().Get("Allow"))
	}
	w.serve = Handler(w.acme, nil)
	w.mint(`key=K`)
	for _, path := range []string{"/", "/access", "/api/1/access//", "/api/1/Access", "/io/io/api/1/access",
		"/api/2/access"} {
		w.refused(404, reply("notFound", ""), wire{target: path, body: `key=K`})
	}
}

func TestManyAccounts(t *testing.T) {
	w := newFixture(t, nil)
	w.serve = Handler(latchkey.Account{}, &Options{Account: func(r *http.Request) (latchkey.Account, error) {
		switch r.Host {
		case "acme.example":
			return w.acme, nil
		case "other.example":
			return w.other, nil
		case "zero.example":
			return latchkey.Account{}, nil
		}
		return latchkey.Account{}, latchkey.ErrNotFound
	}})
	for host, status := range map[string]int{"acme.example": 200, "other.example": 401, "nobody.example": 404,
		"zero.example": 500} {
		r := wire{body: `key=` + w.key}.request()
		r.Host = host
		out := httptest.NewRecorder()
		w.serve.ServeHTTP(out, r)
		require.Equal(t, status, out.Code, host)
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	w := newFixture(t, nil)
	require.Panics(t, func() { Handler(latchkey.Account{}, nil) })
	require.Panics(t, func() { Handler(w.acme, &Options{Idle: -1}) })
	require.Panics(t, func() { Handler(w.acme, &Options{Cap: time.Millisecond}) })
	require.Panics(t, func() { Handler(w.acme, &Options{Proxies: []netip.Prefix{{}}}) })
}

// The documented path with a trailing slash is the same call. There is nothing beneath it.
func TestAccessCallWithASlash(t *testing.T) {
	w := newFixture(t, nil)
	handler := Handler(w.acme, nil)
	for _, path := range []string{"/io/api/1/access/", "/api/1/access/"} {
		for _, h := range []http.Handler{w.mux, handler} {
			w.serve = h
			out := w.send(wire{target: path, body: "key=K"})
			require.Equal(t, 200, out.Code, out.Body.String())
			out = w.send(wire{method: "GET", target: path + "?key=K"})
			require.Equal(t, 405, out.Code)
			require.Equal(t, "POST", out.Header().Get("Allow"))
		}
		w.serve = handler
		require.Equal(t, 404, w.send(wire{target: path + "x", body: "key=K"}).Code)
		out := httptest.NewRecorder()
		w.mux.ServeHTTP(out, httptest.NewRequest("POST", path+"x", strings.NewReader("key="+w.key)))
		require.Equal(t, 404, out.Code, "the host's own")
	}
}

// The owner's policy refuses a mint: the product has a word for a key that may not, and none for how many.
func TestThePolicyRefusesAToken(t *testing.T) {
	w := newFixture(t, nil)
	set := func(p latchkey.OwnerPolicy) {
		require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Policy = p; return nil }))
	}
	const noAccess = `{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}`
	set(latchkey.OwnerPolicy{Children: 1})
	w.mint(`{"key":"` + w.key + `"}`)
	w.refused(403, noAccess, wire{body: `{"key":"` + w.key + `"}`})
	set(latchkey.OwnerPolicy{Kinds: []latchkey.Kind{latchkey.KindAPIKey}})
	w.refused(403, noAccess, wire{body: `{"key":"` + w.key + `"}`})
	set(latchkey.OwnerPolicy{MintRight: true})
	w.refused(403, noAccess, wire{body: `{"key":"` + w.key + `"}`})
	set(latchkey.OwnerPolicy{ClientRight: true})
	w.refused(403, noAccess, wire{body: `{"key":"` + w.key + `","clientId":"42"}`})
	w.mint(`{"key":"` + w.key + `"}`)
	set(latchkey.OwnerPolicy{})
	w.mint(`{"key":"` + w.key + `","clientId":"42"}`)
}
