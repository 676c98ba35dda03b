package surfacetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// still is a store to which nothing is written behind a request, and of which a record can be damaged.
type still struct {
	latchkey.Store
	damaged string // the id of a role, or of the owner when its record is asked for by itself; "": none
	changed bool   // something was written
}

func (s *still) AddUsage(context.Context, latchkey.UsageBatch) error { return nil }

func (s *still) Write(ctx context.Context, w latchkey.Write) error {
	s.changed = true
	return s.Store.Write(ctx, w)
}

func (s *still) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	s.changed = true
	return s.Store.Reserve(ctx, r)
}

func (s *still) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	r, err := s.Store.Role(ctx, owner, id)
	if err == nil && s.spoil(&r) {
		err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id}
	}
	return r, err
}

func (s *still) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	for i := range list {
		s.spoil(&list[i])
	}
	return list, err
}

func (s *still) Owner(ctx context.Context, id string) (latchkey.Owner, error) {
	o, err := s.Store.Owner(ctx, id)
	if err == nil && s.damaged == id {
		o = latchkey.Owner{ID: id, Version: o.Version, Damaged: true}
		err = &latchkey.DamagedError{Kind: latchkey.ChangedOwner, Owner: id, ID: id}
	}
	return o, err
}

func (s *still) spoil(r *latchkey.Role) bool {
	if r.ID != s.damaged {
		return false
	}
	r.Damaged, r.Permissions, r.Boundary = true, nil, nil
	return true
}

// conditions are what may have happened before a request, by the host.
func conditions() map[string]func(t *testing.T, s *served) {
	change := func(name string, edit func(t *latchkey.Token)) func(*testing.T, *served) {
		return func(t *testing.T, s *served) {
			_, err := s.acme.Update(t.Context(), s.names.Replace(name), func(t *latchkey.Token) error { edit(t); return nil })
			require.NoError(t, err)
		}
	}
	return map[string]func(*testing.T, *served){
		"owner disabled": func(t *testing.T, s *served) {
			require.NoError(t, s.acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		},
		"a policy of kinds": func(t *testing.T, s *served) {
			require.NoError(t, s.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
				o.Policy.Kinds = []latchkey.Kind{latchkey.KindPublishable}
				return nil
			}))
		},
		"spare and heirs deleted": func(t *testing.T, s *served) {
			require.NoError(t, s.acme.Delete(t.Context(), s.names.Replace("{spare id}")))
			for _, role := range []string{"{heir}", "{cms heir}", "{spare role}"} {
				require.NoError(t, s.acme.DeleteRole(t.Context(), s.names.Replace(role)))
			}
		},
		"spare revoked": func(t *testing.T, s *served) {
			require.NoError(t, s.acme.Revoke(t.Context(), s.names.Replace("{spare id}"), "gone"))
		},
		"key disabled": change("{key id}", func(t *latchkey.Token) { t.Disabled = true }),
		"key signed":   change("{key id}", func(t *latchkey.Token) { t.Restrictions.Signed = true }),
		"spare damaged": func(t *testing.T, s *served) {
			f, err := s.still.Load(t.Context(), "acme", s.names.Replace("{spare id}"))
			require.NoError(t, err)
			f.Token.Damaged = true
			require.NoError(t, s.still.Write(t.Context(), latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: "acme",
				At: time.Now(), Tokens: []latchkey.Token{f.Token}}))
		},
		"record damaged":   func(_ *testing.T, s *served) { s.still.damaged = "acme" },
		"heir damaged":     func(_ *testing.T, s *served) { s.still.damaged = s.names.Replace("{heir}") },
		"cms role damaged": func(_ *testing.T, s *served) { s.still.damaged = s.names.Replace("{cms}") },
	}
}

// swaps are requests that differ from a deed in one way. What cannot be done to a deed returns it as it is.
func swaps() map[string]func(deed) deed {
	by := func(token string) func(deed) deed {
		return func(d deed) deed {
			if d.token != "" {
				d.token = token
				return d
			}
			for _, part := range []*string{&d.target, &d.body} {
				*part = credentials.ReplaceAllString(*part, "${1}"+token)
			}
			if d.face == "console" {
				d.as = token
			}
			return d
		}
	}
	return map[string]func(deed) deed{
		"by one that may read": by("{looker}"),
		"by one without rules": by("{nobody}"),
		"by a secret key":      by("{admin}"),
		"by an unknown text":   by("lk_3b1f6a52c0d94c2e8f7a3b1f6a52c0d94c2e8f7a00"),
		"with nothing":         by(""),
		"with another field": func(d deed) deed {
			switch {
			case strings.HasPrefix(d.body, "{") && d.body != "{}":
				d.body = `{"zz":1,` + d.body[1:]
			case d.body != "":
				d.body += "&zz=1"
			}
			return d
		},
		"with another parameter": func(d deed) deed {
			if sep := "?"; d.body == "" {
				if strings.Contains(d.target, "?") {
					sep = "&"
				}
				d.target += sep + "zz=1"
			}
			return d
		},
		"with half of a body": func(d deed) deed { d.body = d.body[:len(d.body)/2]; return d },
		"by an odd method":    func(d deed) deed { d.method = "PROPFIND"; return d },
		"of another": func(d deed) deed {
			d.target = ids.ReplaceAllString(d.target, "0191e2d4-0000-7000-8000-00000000")
			return d
		},
	}
}

var (
	credentials = regexp.MustCompile(`((?:token|key|client_secret)=)\{(?:admin|key|access|page|session)\}`)
	ids         = regexp.MustCompile(`\{[a-z ]+\}`)
	uuids       = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	secretTexts = regexp.MustCompile(`\b[a-z]{2}_[0-9A-Za-z_]{16,}`)
	hashes      = regexp.MustCompile(`\b[0-9A-Za-z+/]{40,}={0,2}`)
	etags       = regexp.MustCompile(`\.[0-9A-Za-z_-]{12}"`)
	errorIDs    = regexp.MustCompile(`("id": ?)"[0-9a-f]{6}"`) // of datocms
	cursors     = regexp.MustCompile(`("next": ?"|after=|before=)[0-9A-Za-z_%-]{8,}`)
	requests    = regexp.MustCompile(`Id: [0-9a-f]{32}`)
	hints       = regexp.MustCompile(`\b[a-z]{2}_[0-9A-Za-z]{2,5}…[0-9A-Za-z]{3,5}\b`)
	tags        = regexp.MustCompile(`(?s)<(?:script|style|svg)\b.*?</(?:script|style|svg)>|<[^>]*>`)
	spaces      = regexp.MustCompile(`\s+`)
)

// told writes a reply as one can compare it: without ids and texts that are made at random.
func (s *served) told(d deed, out *httptest.ResponseRecorder, whole bool) string {
	var b strings.Builder
	fmt.Fprint(&b, out.Code)
	h := out.Result().Header
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if whole || name == "Allow" || name == "Www-Authenticate" || name == "Location" || name == "Retry-After" {
			fmt.Fprintf(&b, "\n    %s: %s", name, strings.Join(h[name], " / "))
		}
	}
	body := strings.ReplaceAll(out.Body.String(), "\r\n", "\n")
	var indented strings.Builder
	switch v := any(nil); {
	case d.face == "console" && strings.Contains(h.Get("Content-Type"), "html"):
		if i := strings.Index(body, "<main"); i >= 0 {
			body = body[i:]
		}
		body = spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(body, " ")), " ")
	case json.Unmarshal([]byte(body), &v) == nil && whole:
		e := json.NewEncoder(&indented)
		e.SetEscapeHTML(false)
		e.SetIndent("    ", " ")
		_ = e.Encode(v)
		body = indented.String()
	}
	if body = strings.TrimSpace(body); body != "" {
		b.WriteString("\n    " + strings.ReplaceAll(body, "\n", "\n    "))
	}
	text := uuids.ReplaceAllString(s.unnamed.Replace(b.String()), "UUID")
	text = hashes.ReplaceAllString(secretTexts.ReplaceAllString(text, "SECRET"), "HASH")
	text = etags.ReplaceAllString(text, `.DIGEST"`)
	text = errorIDs.ReplaceAllString(text, `$1"NUMBER"`)
	text = cursors.ReplaceAllString(text, "${1}CURSOR")
	text = requests.ReplaceAllString(text, `Id: NUMBER`)
	text = hints.ReplaceAllString(text, "HINT")
	most := 300
	if whole {
		most = 6000
	}
	if len(text) > most {
		text = fmt.Sprintf("%s… %d bytes %x", strings.ToValidUTF8(text[:most], ""), len(text), sha256.Sum256([]byte(text)))
	}
	return text
}

// testdata/replies.golden has the whole reply to every request of deeds and of refused, and what the same request is
// answered when it differs in one way, or when something happened before it. LATCHKEY_UPDATE=1 rewrites it: read the
// difference as what clients see. Sampled with -short.
func TestRepliesToEveryRequest(t *testing.T) {
	const file = "testdata/replies.golden"
	golden, err := os.ReadFile(file)
	update := os.Getenv("LATCHKEY_UPDATE") != ""
	require.True(t, err == nil || update)
	want := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimSuffix(string(golden), "\n"), "\n\n") {
		name, lines, _ := strings.Cut(part, "\n")
		want[name] = lines
	}
	all, written := map[string]deed{}, []string{}
	for _, d := range append(deeds(), refused()...) {
		name := strings.Join(strings.Fields(fmt.Sprint(d.face, " ", d.method, " ", d.target, " ", d.body, " ", d.token)), " ")
		require.NotContains(t, all, name)
		all[name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if testing.Short() && rand.IntN(10) > 0 {
			continue
		}
		got := repliesTo(t, all[name])
		written = append(written, name+"\n"+got+"\n")
		if !update {
			assert.Equal(t, want[name], got, name)
		}
	}
	if update {
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(written, "\n")), 0o644))
	} else {
		require.Len(t, want, len(all))
	}
}

// refused are requests that are refused for what they say, or say more than those of deeds.
func refused() (all []deed) {
	add := func(face, method, target, body, token string) {
		all = append(all, deed{face: face, method: method, target: target, body: body, token: token})
	}
	for _, target := range []string{"/usage?from=2030-13-01", "/usage?from=2030-01-01&to=2030-01-02&by=token&by=day",
		"/usage?by=colour", "/events?limit=2", "/events?from=2030-01-02T12:00:00Z&reverse=true&limit=1",
		"/events?from=noon", "/tokens?limit=0", "/tokens?limit=2&order=name", "/tokens?after=x", "/tokens?kind=key",
		"/tokens?role=reader", "/tokens?state=active&state=revoked", "/me/credits", "/roles?inherits=reader",
		"/who?action=read", "/tokens/{key id}?" + strings.Repeat("x", 9000), "/" + strings.Repeat("x", 9000), "/nothing"} {
		add("api", "GET", target, "", "{admin}")
	}
	for _, body := range []string{`{"kind":"access"}`, `{"kind":"api_key","name":"` + strings.Repeat("n", 257) + `"}`,
		`{"kind":"api_key","roles":["raeder"]}`, `{"kind":"api_key","permissions":[{"allow":["read"],"on":["a//b"]}]}`,
		`{"kind":"api_key","permissions":[{"allow":["latchkey:give"],"on":["*"]}]}`, `{"kind":7}`, `{"kind":null}`, `[]`,
		`{"kind":"api_key","kind":"secret"}`, `{"kind":"api_key","validity":{"not_after":"2029-01-01T00:00:00Z"}}`} {
		add("api", "POST", "/tokens", body, "{admin}")
	}
	for _, body := range []string{`{"policy":{"tokens":5}}`, `{"boundary":null}`, `{"version":9}`, `{"extra":null}`} {
		add("api", "PATCH", "/owner", body, "{admin}")
	}
	for _, body := range []string{`{"id":"x"}`, `{"roles":null,"permissions":null}`, `{"disabled":"yes"}`, `{}`,
		`{"limits":{"rate":{"count":5,"per":1000000000}}}`} {
		add("api", "PATCH", "/tokens/{key id}", body, "{admin}")
	}
	add("api", "DELETE", "/roles/{reader}", "", "{admin}")
	add("api", "POST", "/roles", `{"name":"reader"}`, "{admin}")
	add("api", "POST", "/tokens/revoke", `{}`, "{admin}")
	add("api", "POST", "/tokens/find", `{"secret":"nothing of the kind"}`, "{admin}")
	add("api", "POST", "/me/tokens", `{"lifetime":60000000000,"roles":["heir"]}`, "{key}")
	add("api", "POST", "/me/tokens", `{"lifetime":-1}`, "{key}")
	for _, body := range []string{`{}`, `{"subject":{"type":"token"}}`, `7`,
		`{"subject":{"type":"x","id":"1"},"action":{"name":"read"},"resource":{"type":"data","id":"x"}}`,
		`{"subject":{"type":"client","id":"7"},"action":{"name":""},"resource":{"type":"data","id":"x"}}`,
		`{"subject":{"type":"client","id":"7"},"action":{"name":"read"},"resource":{"type":"none","id":"x"}}`} {
		add("authzen", "POST", "/access/v1/evaluation", body, "{key}")
		add("authzen", "POST", "/access/v1/search/action", body, "{key}")
	}
	add("authzen", "POST", "/access/v1/evaluations", `{"subject":{"type":"client","id":"7"},"action":{"name":"read"},
		"evaluations":[{"resource":{"type":"data","id":"x"}},{"resource":{"type":"none","id":"x"}},{}]}`, "{key}")
	for _, target := range []string{"usage/rules", "usage/alerts", "usage/rule-records", "usage/messages", "nothing"} {
		add("apperate", "GET", "/v1/account/"+target+"?token={admin}", "", "")
	}
	add("apperate", "GET", "/v1/status", "", "")
	add("apperate", "GET", "/v1/nothing?token={page}", "", "")
	for _, form := range []string{"conditions=x", "duration=1", "duration=-1h", "role=", "role=none", "clientId=",
		"roles%5B%5D=reader&role=heir", "zz=1"} {
		add("cloudtables", "POST", "/api/1/access", form+"&key={key}", "")
	}
	for _, body := range []string{`{"data":{"type":"role","attributes":{"name":"reader"}}}`, `{"data":7}`, `{}`,
		`{"data":{"type":"role","attributes":{}}}`, `{"data":{"type":"x","attributes":{"name":"n"}}}`,
		`{"data":{"type":"role","attributes":{"name":"n","positive_item_type_permissions":[{}]}}}`} {
		add("datocms", "POST", "/roles", body, "{editor}")
	}
	for _, target := range []string{"/access_tokens?page%5Blimit%5D=1", "/access_tokens/0", "/nothing", "/roles?x=1"} {
		add("datocms", "GET", target, "", "{editor}")
	}
	for _, cmd := range []string{"access.get&token_id=0", "access.get", "access.add", "access.add&name=&extra=7",
		"access.update&token_id={app id}", "access.update&token_id={app id}&meta=7", "access.nothing", "",
		"access.add&name=a&extra=%7B%22db%22%3A%5B%7B%7D%5D%7D"} {
		add("webforce", "POST", "/api", "auth_token={session}&cmd="+cmd, "")
	}
	const client = "&client_id={key id}&client_secret={key}"
	for _, body := range []string{"grant_type=password", "", "grant_type=client_credentials&scope=none",
		"grant_type=client_credentials&scope=read&resource=https://other.example.com",
		"grant_type=client_credentials&scope=read&scope=read"} {
		add("oauth", "POST", "/oauth/token", body+client, "")
	}
	add("oauth", "GET", "/.well-known/oauth-authorization-server", "", "")
	for _, target := range []string{"/nothing", "/token/0", "/role/0", "/token/{key id}/nothing", "/usage?from=x",
		"/?state=x", "/usage?from=2030-01-01&to=2030-01-31&by=client", "/audit?object={key id}",
		"/?kind=secret&order=name", "/?client=c1"} {
		add("console", "GET", target, "", "")
	}
	return all
}

// repliesTo writes the replies to a deed. Those that are the same share a line.
func repliesTo(t *testing.T, d deed) string {
	t.Helper()
	s := newServed(t)
	own := s.send(d)
	plain, short := s.told(d, own, true), s.told(d, own, false)
	lines, order := map[string][]string{}, []string{}
	note := func(what, reply string) {
		if reply == short {
			return
		}
		if lines[reply] == nil {
			order = append(order, reply)
		}
		lines[reply] = append(lines[reply], what)
	}
	ways, before := swaps(), conditions()
	for _, what := range slices.Sorted(maps.Keys(ways)) {
		if other := ways[what](d); other != d {
			if s.still.changed {
				s = newServed(t)
			}
			note(what, s.told(other, s.send(other), false))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(before)) {
		s = newServed(t)
		before[what](t, s)
		note(what, s.told(d, s.send(d), false))
	}
	var b strings.Builder
	b.WriteString("  " + plain)
	for _, reply := range order {
		b.WriteString("\n  " + strings.Join(lines[reply], ", ") + ": " + reply)
	}
	return b.String()
}
