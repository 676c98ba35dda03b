package console

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestEveryFieldIsKept(t *testing.T) {
	w := newFixture(t, nil)
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "reader"})
	require.NoError(t, err)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: " odd ", Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Any).On("core/x"),
			latchkey.Allow(latchkey.Read).On("core/*")},
		Limits:   latchkey.Limits{Quotas: monthly(1), Rate: latchkey.Rate{Count: 7, Per: 90 * time.Second, Burst: 3}},
		Validity: latchkey.Validity{NotAfter: w.now.Add(time.Hour + 1500*time.Millisecond), Idle: time.Hour},
		Extra:    []byte(`{"a": 1}`)}).ID
	before := w.token(id)
	rec := w.post("token/"+id, w.form("token/"+id))
	require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
	after := w.token(id)
	after.Name = before.Name // spaces around a name are trimmed
	require.Equal(t, before.Settings, after.Settings)
}

func TestBadEntriesAreKeptAndExplained(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindPublishable, Name: "site"}).ID
	for field, c := range map[string]struct{ value, says string }{
		"name":    {strings.Repeat("x", 257), "at most 256 bytes"},
		"domains": {"exa mple.com/../x", "it has no valid host|segment"},
		"credits": {"ten", "Write a number"},
		"rate":    {"-1", "Write whole numbers"},
		"end":     {"2020-01-01T00:00", "This time is past"},
		"add":     {"nothing", "Choose what to allow"},
	} {
		form := w.form("token/" + id)
		form.Set("name", "kept & shown")
		form.Set(field, c.value)
		rec := w.post("token/"+id, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		require.Regexp(t, c.says, rec.Body.String(), field)
		require.Contains(t, rec.Body.String(), `class="wrong"`)
		again := formOf(rec.Body.String())
		require.Equal(t, c.value, again.Get(field), "what was typed is still there")
		if field != "name" {
			require.Equal(t, "kept & shown", again.Get("name"))
		}
		require.Equal(t, "site", w.token(id).Name, "nothing was saved")
	}
}

func TestAddressesIdleAndFirstDay(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	form := w.form("token/" + id)
	form.Set("addresses", "192.0.2.7 198.51.100.0/24\r\n2001:db8::/48")
	form.Set("mintfrom", "203.0.113.9")
	form.Set("begin", "2026-12-01T08:00")
	form.Set("end", "2027-01-01")
	form.Set("idle", "36")
	form.Set("idleunit", "1h0m0s")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, form).Code)
	got := w.token(id)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("2001:db8::/48")}, got.Restrictions.Addresses)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}, got.Restrictions.MintFrom)
	require.Equal(t, latchkey.Validity{NotBefore: time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC),
		NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Idle: 36 * time.Hour}, got.Validity)
	require.Equal(t, "Not yet valid", English().stateOf(&got, w.now).Word)

	page := w.get("token/" + id)
	require.Contains(t, page, `<details class="more" open>`, "what is set is not hidden")
	form = formOf(page)
	require.Equal(t, "192.0.2.7\n198.51.100.0/24\n2001:db8::/48", form.Get("addresses"))
	require.Equal(t, []string{"36", "1h0m0s"}, []string{form.Get("idle"), form.Get("idleunit")})
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, form).Code)
	require.Equal(t, got.Settings, w.token(id).Settings)

	for field, c := range map[string]struct{ value, says string }{
		"addresses": {"192.0.2.300", "is no address"}, "mintfrom": {"10.0.0.1/8", "write 10.0.0.0/8"},
		"begin": {"2027-06-01", "end before it begins"}, "idle": {"soon", "Write a whole number"},
	} {
		form := w.form("token/" + id)
		form.Set(field, c.value)
		rec := w.post("token/"+id, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		_, beside, _ := strings.Cut(rec.Body.String(), `id="`+field+`-e" dir="auto">`)
		beside, _, _ = strings.Cut(beside, "</span>")
		require.Contains(t, textOf(beside), c.says, "beside the field")
		require.Equal(t, c.value, formOf(rec.Body.String()).Get(field))
		require.Equal(t, got.Settings, w.token(id).Settings)
	}
	for _, value := range []string{"0.0.0.0/0", "fe80::1%eth0", "::ffff:10.0.0.1", "0", "-1", "99999999999999999999"} {
		field := "addresses"
		if !strings.ContainsAny(value, ".:") {
			field = "idle"
		}
		form := w.form("token/" + id)
		form.Set(field, value)
		require.Equal(t, http.StatusUnprocessableEntity, w.post("token/"+id, form).Code, value)
	}

	form.Set("addresses", "")
	form.Set("mintfrom", "")
	form.Set("begin", "")
	form.Set("end", "")
	form.Set("idle", "")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, withVersion(form, w.token(id))).Code)
	got = w.token(id)
	require.Empty(t, got.Restrictions.Addresses)
	require.Empty(t, got.Restrictions.MintFrom)
	require.Equal(t, latchkey.Validity{}, got.Validity)
}

func withVersion(form url.Values, t latchkey.Token) url.Values {
	form.Set("version", fmt.Sprint(t.Version))
	return form
}

func TestIdleIsShownAsItIs(t *testing.T) {
	for idle, want := range map[time.Duration][2]string{
		0: {"", "24h0m0s"}, 48 * time.Hour: {"2", "24h0m0s"}, 36 * time.Hour: {"36", "1h0m0s"},
		90 * time.Minute: {"90", "1m0s"},
		90 * time.Second: {"90", "1s"}, 1500 * time.Millisecond: {"1.5", "1s"},
	} {
		count, unit := idleText(idle)
		require.Equal(t, want, [2]string{count, unit}, idle)
	}
}

// The form shows and changes the quota of a calendar month. It names all others, and keeps them.
func TestOtherQuotasAreKept(t *testing.T) {
	w := newFixture(t, nil)
	others := []latchkey.Quota{{Meter: "api", Amount: 7 * latchkey.Credit, Per: latchkey.Week, Anchor: 2,
		Carry: 3 * latchkey.Credit}, {Amount: 0, Per: latchkey.Forever, Meter: "mail"}}
	month := latchkey.Quota{Meter: "core", Amount: 5 * latchkey.Credit, Per: latchkey.Month, Carry: latchkey.Credit}
	tok := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k",
		Limits: latchkey.Limits{Quotas: append(others[:2:2], month)}})
	page := w.get("token/" + tok.ID)
	require.Contains(t, page, "<bdi>7 of “api” in a week from Tuesday, with at most 3 carried over</bdi>")
	require.Contains(t, page, "<bdi>none of “mail”</bdi>")
	form := w.form("token/" + tok.ID)
	require.Equal(t, "5", form.Get("credits"))
	for _, typed := range []string{"6", "0", ""} {
		form = w.form("token/" + tok.ID)
		form.Set("credits", typed)
		require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
		want := others
		if n, ok := English().parseCredits(typed); ok {
			month.Amount = n
			want = append(others[:2:2], month)
		}
		require.Equal(t, want, w.token(tok.ID).Limits.Quotas, typed)
	}
	form = w.form("token/" + tok.ID)
	form.Set("credits", "8")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Equal(t, append(others[:2:2], monthly(8*latchkey.Credit)...), w.token(tok.ID).Limits.Quotas)
}

// A limit of no credits is typed as 0, shown as 0, and kept by an unchanged form.
func TestALimitOfNothing(t *testing.T) {
	w := newFixture(t, nil)
	tok := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	form := w.form("token/" + tok.ID)
	form.Set("credits", "0")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Equal(t, monthly(0), w.token(tok.ID).Limits.Quotas)
	form = w.form("token/" + tok.ID)
	require.Equal(t, "0", form.Get("credits"))
	form.Set("name", "other")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Equal(t, monthly(0), w.token(tok.ID).Limits.Quotas)
	form = w.form("token/" + tok.ID)
	form.Set("credits", "")
	require.Equal(t, 303, w.post("token/"+tok.ID, form).Code)
	require.Empty(t, w.token(tok.ID).Limits.Quotas)
}
