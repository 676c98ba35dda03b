package console

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// One form makes a whole token: kind, name, client, roles, rights, domains, addresses, end and limits. Nothing is made
// before the review is answered.
func TestATokenInOneGo(t *testing.T) {
	w := newFixture(t, &Options{Catalogue: Apperate(), Variable: "ACME_KEY", Example: "https://api.example.com/v1/x"})
	w.who = must(w.owner.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}))
	reader := w.role(latchkey.Role{Name: "reader",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a/*")}})
	form := w.form("new?kind=api_key")
	require.Equal(t, "api_key", form.Get("kind"))
	for name, value := range map[string]string{"name": "CI", "ends": "30", "add": "acme/cars\r\nacme/boats",
		"clientid": "42", "client": "Ada", "role": reader.ID, "domains": "example.com", "addresses": "192.0.2.0/24",
		"rate": "10", "credits": "100", "do": "review"} {
		form.Set(name, value)
	}
	form["addright"] = []string{"2", "3"}
	rec := w.post("new", form)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	page := unhtml.Replace(rec.Body.String())
	for _, words := range []string{"Create this token?", "CI", "Ada (42)", "reader", "example.com", "192.0.2.0/24",
		"allow read, create, update on dataset/ACME/CARS", "allow read, create, update on dataset/ACME/BOATS",
		w.now.Add(30 * day).Format("2 Jan 2006")} {
		require.Contains(t, page, words)
	}
	require.Zero(t, w.count(), "nothing is made yet")

	again := formOf(rec.Body.String())
	again.Set("do", "change")
	rec = w.post("new", again)
	require.Equal(t, http.StatusOK, rec.Code)
	changed := formOf(rec.Body.String())
	require.Equal(t, []string{"CI", "42", "30"}, []string{changed.Get("name"), changed.Get("clientid"),
		changed.Get("ends")})
	require.Equal(t, []string{"2 dataset/ACME/CARS", "3 dataset/ACME/CARS", "2 dataset/ACME/BOATS",
		"3 dataset/ACME/BOATS"},
		changed["chip"], "what was typed stands as it was understood")
	require.Zero(t, w.count())

	again.Set("do", "create")
	rec = w.post("new", again)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	page = unhtml.Replace(rec.Body.String())
	secret := formOfField(page, "secret")
	require.Contains(t, page, "ACME_KEY="+secret)
	require.Contains(t, page, `curl -H "Authorization: Bearer $ACME_KEY" 'https://api.example.com/v1/x'`)
	require.Equal(t, 2, strings.Count(page, secret), "the command has it from the environment")
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: secret, Referer: "https://example.com/",
		Address: netip.MustParseAddr("192.0.2.9")})
	require.NoError(t, err)
	made := w.token(access.TokenID())
	require.Equal(t, latchkey.Client{ID: "42", Name: "Ada"}, made.Client)
	require.True(t, made.Validity.NotAfter.Equal(w.now.Add(30*day)))
	require.Equal(t, []string{reader.ID}, made.Roles)
	require.True(t, access.Allows(latchkey.Update, "dataset/ACME/BOATS"))
	require.Equal(t, latchkey.Rate{Count: 10, Per: time.Second}, made.Limits.Rate)
}

// What the owner's policy allows is what the form offers, and what it suggests.
func TestTheFormKeepsToThePolicy(t *testing.T) {
	w := newFixture(t, &Options{Kinds: []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindSecret, latchkey.KindSession}})
	page := w.get("new")
	require.NotContains(t, page, `value="publishable"`, "the host does not allow it")
	require.Contains(t, page, `value="never"`)
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Policy = latchkey.OwnerPolicy{MaxLifetime: 40 * day, MaxIdle: 10 * day,
			Kinds: []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindSession}}
		return nil
	}))
	page = w.get("new?kind=secret")
	form := formOf(page)
	require.NotContains(t, page, `value="secret"`)
	require.NotContains(t, page, `value="never"`)
	require.NotContains(t, page, `value="90"`)
	require.Contains(t, page, `value="30"`)
	require.Equal(t, "api_key", form.Get("kind"))
	require.Equal(t, []string{"10", "24h0m0s"}, []string{form.Get("idle"), form.Get("idleunit")})
	for name, c := range map[string]struct{ field, value, wrong string }{
		"a kind that is not allowed":  {"kind", "secret", "kind-e"},
		"a kind of the host's others": {"kind", "publishable", "kind-e"},
		"no end":                      {"ends", "never", "end-e"},
		"an end that is no preset":    {"ends", "3650", "end-e"},
		"a later end than allowed":    {"ends", "90", "end-e"},
		"a date that is missing":      {"ends", "date", "end-e"},
		"idle for longer":             {"idle", "11", "idle-e"},
		"no idle limit":               {"idle", "", "idle-e"},
		"a client without an id":      {"client", "Ada", "clientid-e"},
	} {
		form := w.form("new")
		form.Set(c.field, c.value)
		form.Set("do", "review")
		rec := w.post("new", form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, name)
		require.Contains(t, rec.Body.String(), `id="`+c.wrong+`"`, name)
	}
	form = w.form("new")
	form.Set("do", "create")
	rec := w.post("new", form)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	for tok := range w.acme.Tokens(t.Context(), latchkey.TokenQuery{}) {
		require.True(t, tok.Validity.NotAfter.Equal(w.now.Add(40*day)), "the usual end is cut to the longest")
		require.Equal(t, 10*day, tok.Validity.Idle)
	}
	require.Equal(t, 1, w.count())
}

// The usual end of each kind.
func TestUsualEnds(t *testing.T) {
	for kind, want := range map[latchkey.Kind]time.Duration{latchkey.KindAPIKey: 90 * day, latchkey.KindSecret: 90 * day,
		latchkey.KindSession: day, latchkey.KindPublishable: 0} {
		require.Equal(t, want, usualEnd(&latchkey.OwnerPolicy{}, kind), kind)
		require.Equal(t, max(time.Hour, min(want, time.Hour)), usualEnd(&latchkey.OwnerPolicy{MaxLifetime: time.Hour}, kind))
	}
}

// A secret token has no rules or roles, whatever the form holds; a session always ends.
func TestKindsOfTheForm(t *testing.T) {
	w := newFixture(t, &Options{Catalogue: Apperate()})
	form := w.form("new")
	form.Set("kind", "secret")
	form.Set("do", "review")
	rec := w.post("new", form)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), "May do everything")
	require.NotContains(t, rec.Body.String(), "allow read on core")
	form.Set("kind", "session")
	form.Set("ends", "never")
	require.Equal(t, http.StatusUnprocessableEntity, w.post("new", form).Code)
	form.Set("ends", "")
	form.Set("kind", "api_key")
	form.Del("right")
	require.Contains(t, w.post("new", form).Body.String(), "It may do nothing until it is given rights or roles.")
}
