package console

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// stock writes n tokens into the store, as many machines over a year would have: id, name and age of token i say so.
func (w *fixture) stock(n int) {
	w.t.Helper()
	began := w.now.AddDate(-1, 0, 0)
	for from := 0; from < n; {
		write := latchkey.Write{Owner: "acme", At: w.now, Silent: true}
		binary.BigEndian.PutUint64(write.ID[:], uint64(from+1))
		for ; len(write.Tokens) < 1000 && from < n; from++ {
			made := began.Add(time.Duration(from) * 40 * time.Minute)
			id := fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", made.UnixMilli()>>16, made.UnixMilli()&0xffff, from&0xfff, from)
			write.Tokens = append(write.Tokens, latchkey.Token{ID: id, Owner: "acme", Kind: latchkey.KindPublishable, Created: made,
				Public: "pk_" + strings.Repeat("A1b2C3d4", 4) + fmt.Sprintf("%05d", from),
				Settings: latchkey.Settings{Name: fmt.Sprintf("Storefront of the customer number %05d", from),
					Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}}})
		}
		_, err := w.reads.Write(w.t.Context(), write)
		require.NoError(w.t, err)
	}
}

// calls is what a page asks of the store. Each of them begins with the owner's record, for what who asks may do could have
// changed.
func (c *counting) calls() []int { return []int{c.tokens, c.usage, c.others} }

func (w *fixture) counted(path string) (page string, calls []int) {
	w.t.Helper()
	w.reads.tokens, w.reads.usage, w.reads.owners, w.reads.others = 0, 0, 0, 0
	rec := w.do("GET", path, "") // which looks at the weight
	require.LessOrEqual(w.t, w.reads.owners, 3, path)
	if rec.Code == http.StatusSeeOther {
		return rec.Header().Get("Location"), w.reads.calls()
	}
	require.Equal(w.t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
	return rec.Body.String(), w.reads.calls()
}

var links = regexp.MustCompile(`<a href="\./([^"]*)"[^>]*>(First|Previous|Next|Last)</a>`)

func linksOf(page string) map[string]string {
	out := map[string]string{}
	for _, m := range links.FindAllStringSubmatch(page, -1) {
		out[m[2]] = unhtml.Replace(m[1])
	}
	return out
}

var numbers = regexp.MustCompile(`number (\d{5})</bdi>`)

func numbersOf(page string) (out []string) {
	for _, m := range numbers.FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

func TestTenThousandTokens(t *testing.T) {
	const n = 10_000
	w := newFixture(t, nil)
	w.stock(n)

	// Every page from the first to the last, by the key of the one before: one reading of tokens, one of usage.
	var seen []string
	path, pages := "", 0
	for {
		page, calls := w.counted(path)
		require.Equal(t, []int{1, 1, 0}, calls, "page %d", pages)
		seen = append(seen, numbersOf(page)...)
		pages++
		next, more := linksOf(page)["Next"]
		if !more {
			break
		}
		path = next
	}
	require.Equal(t, n/pageSize, pages)
	require.Len(t, seen, n)
	require.Equal(t, "00000", seen[0])
	require.Equal(t, "09999", seen[n-1])
	require.True(t, slices.IsSorted(seen), "none twice, none left out")

	// The last page at once, and back from there.
	page, _ := w.counted("")
	to, calls := w.counted(linksOf(page)["Last"])
	require.LessOrEqual(t, calls[0], 60, "a search, not a walk")
	require.Equal(t, []int{0, 0}, calls[1:])
	page, calls = w.counted(strings.TrimPrefix(to, "./"))
	require.Equal(t, []int{1, 1, 0}, calls)
	last := numbersOf(page)
	require.Equal(t, seen[n-len(last):], last)
	require.NotContains(t, linksOf(page), "Next")
	to, _ = w.counted(linksOf(page)["Previous"])
	page, _ = w.counted(strings.TrimPrefix(to, "./"))
	require.Equal(t, seen[n-2*pageSize:n-pageSize], numbersOf(page))

	// Search and filters page by key, too.
	page, calls = w.counted("?q=" + url.QueryEscape("Storefront of the customer number 0777"))
	require.Equal(t, []int{1, 1, 0}, calls)
	require.Equal(t, seen[7770:7780], numbersOf(page))
	page, _ = w.counted("?q=Storefront&state=active")
	page, _ = w.counted(linksOf(page)["Next"])
	require.Equal(t, seen[25:50], numbersOf(page))

	// A new one is at the bottom.
	form := w.form("new")
	form.Set("name", "the newest")
	page = w.get(strings.TrimPrefix(w.post("new", form).Header().Get("Location"), "./"))
	require.Contains(t, page, "the newest")
	require.NotContains(t, linksOf(page), "Next")
}

func TestRolesWithManyRules(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	want := latchkey.Permissions{}
	for i := range 500 {
		want = append(want, latchkey.Allow(latchkey.Read, latchkey.Update).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d", i))).
			Where(latchkey.Where("region", latchkey.Eq, fmt.Sprintf("R%03d", i))))
	}
	long := latchkey.Deny(latchkey.Read).On("dataset/ACME/LONG").Where(latchkey.Where("note", latchkey.Eq, strings.Repeat("so ", 4000)))
	want[33] = long
	role, err := w.acme.CreateRole(ctx, latchkey.Role{Name: "many", Permissions: want})
	require.NoError(t, err)
	stored := func() []string {
		r, err := w.acme.Role(ctx, role.ID)
		require.NoError(t, err)
		return ruleTexts(r.Permissions)
	}
	at := "role/" + role.ID

	// Every part, saved as it was drawn, changes nothing; together they are all.
	read, parts := 0, 0
	for path := at; path != ""; parts++ {
		page := w.get(path)
		read += strings.Count(page, "[verb]") + strings.Count(page, "[kept]")
		require.Equal(t, http.StatusSeeOther, w.post(at, formOf(page)).Code)
		require.Equal(t, ruleTexts(want), stored(), path)
		path = ""
		if m := regexp.MustCompile(`href="(\?at=\d+)" rel="next"`).FindStringSubmatch(page); m != nil {
			path = at + m[1]
		}
	}
	require.Equal(t, 500, read)
	require.Equal(t, 25, parts)

	// A change in the middle, across the border of two parts: the long rule goes up, another goes, a new one comes.
	page := w.get(at + "?at=30")
	require.Contains(t, page, "Rules 30 to 49 of 500")
	require.Contains(t, page, "This form cannot hold it: kept as it is.")
	for _, do := range []string{"up-4", "drop-0", "add"} {
		form := formOf(page)
		form.Set("do", do)
		rec := w.post(at, form)
		require.Equal(t, http.StatusOK, rec.Code)
		page = rec.Body.String()
	}
	form := formOf(page)
	form.Set("rule[19][verb]", "deny")
	form.Set("rule[19][actions]", "delete")
	form.Set("rule[19][on]", "dataset/*")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	order := ruleTexts(want)
	order[32], order[33] = order[33], order[32]
	order = slices.Insert(slices.Delete(order, 29, 30), 48, "deny delete on dataset/*")
	require.Equal(t, order, stored())

	// The second saver is told, and shown that part as it is now.
	mine := w.form(at + "?at=101")
	theirs := w.form(at)
	theirs.Set("do", "drop-0")
	rec := w.post(at, theirs)
	require.Equal(t, http.StatusSeeOther, w.post(at, formOf(rec.Body.String())).Code)
	mine.Set("rule[0][on]", "dataset/ACME/MINE")
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Equal(t, order[1:], stored())
	again := formOf(rec.Body.String())
	require.Equal(t, "dataset/ACME/MINE", again.Get("rule[0][on]"))
	require.Contains(t, unhtml.Replace(rec.Body.String()), stored()[100], "as it is stored now")
	require.Equal(t, http.StatusSeeOther, w.post(at, again).Code)
	require.Len(t, stored(), 499)
	require.Contains(t, stored()[100], "dataset/ACME/MINE")

	// A kept rule that is gone meanwhile is no longer kept.
	mine = w.form(at + "?at=30")
	_, err = w.acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
		r.Permissions = slices.DeleteFunc(r.Permissions, func(r latchkey.Rule) bool { return strings.Contains(r.String(), "LONG") })
		return nil
	})
	require.NoError(t, err)
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	rec = w.post(at, formOf(rec.Body.String()))
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "changed meanwhile")

	// A form with a part that is none is no form of ours.
	for name, change := range map[string][]string{"from": {"-1"}, "to": {"9999", "-3"}, "of": {"3"}} {
		for _, value := range change {
			form := w.form(at)
			form.Set(name, value)
			require.Equal(t, http.StatusConflict, w.post(at, form).Code, "%s %s", name, value)
		}
	}
	w.get(at + "/access")
	w.get("roles")
}

func TestTokensWithMuch(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	var roles []string
	for i := range 200 {
		r, err := w.acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprintf("Role of the department %03d", i)})
		require.NoError(t, err)
		roles = append(roles, r.ID)
	}
	var rules latchkey.Permissions
	for i := range 300 {
		rules = append(rules, latchkey.Allow(latchkey.Read, latchkey.Delete).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d", i))))
		rules = append(rules, latchkey.Deny(latchkey.Any).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%03d/x", i))))
	}
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "much", Roles: roles[100:], Permissions: rules}}).ID
	at := "token/" + id
	want := w.token(id).Settings

	// Every part, saved as it was drawn, changes nothing.
	chips := 0
	for path := at; path != ""; {
		page := w.get(path)
		chips += strings.Count(page, `name="chip"`)
		require.Equal(t, http.StatusSeeOther, w.post(at, formOf(page)).Code)
		require.Equal(t, want, w.token(id).Settings, path)
		path = ""
		if m := regexp.MustCompile(`href="(\?chips=\d+)">Later`).FindStringSubmatch(page); m != nil {
			path = at + m[1]
		}
	}
	require.Equal(t, 600, chips, "each is on one of the pages")
	page := w.get(at)
	require.Contains(t, page, "and 288 more", "rules that no chip stands for")
	require.Contains(t, page, "These are 60 of 100")

	// Taken away and added in a part in the middle; all else stays.
	form := w.form(at + "?chips=60")
	gone := form["chip"][0]
	require.Equal(t, "2 dataset/ACME/SET030", gone)
	form["chip"] = form["chip"][1:]
	form.Set("add", "acme/new")
	form["addright"] = []string{"4"}
	form["role"] = form["role"][1:]
	form.Set("addrole", "Role of the department 007")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	got := w.token(id)
	require.False(t, got.Permissions.Allows(latchkey.Read, "dataset/ACME/SET030"))
	require.True(t, got.Permissions.Allows(latchkey.Delete, "dataset/ACME/SET030"))
	require.True(t, got.Permissions.Allows(latchkey.Delete, "dataset/ACME/NEW"))
	for i := range 300 {
		on := latchkey.Resource(fmt.Sprintf("dataset/ACME/SET%03d", i))
		require.Equal(t, i != 30, got.Permissions.Allows(latchkey.Read, on), on)
		require.False(t, got.Permissions.Allows(latchkey.Read, on+"/x"), on)
	}
	require.Equal(t, append(slices.Clone(roles[101:]), roles[7]), got.Roles)

	// Roles are typed by name; one that is none is said beside the field, and kept.
	for _, button := range []string{"save", "addrole"} {
		form = w.form(at)
		form.Set("addrole", "No such role")
		form.Set("do", button)
		rec := w.post(at, form)
		require.Contains(t, rec.Body.String(), "No role has this name")
		require.Equal(t, "No such role", formOf(rec.Body.String()).Get("addrole"))
	}
	require.Equal(t, got.Roles, w.token(id).Roles)
	form.Set("addrole", roles[8])
	rec := w.post(at, form)
	require.Contains(t, rec.Body.String(), `value="`+roles[8]+`" checked`)

	// Somebody else adds what this form never showed: it stays, and so do my changes.
	mine, theirs := w.form(at), w.form(at)
	theirs.Set("addrole", roles[9])
	require.Equal(t, http.StatusSeeOther, w.post(at, theirs).Code)
	mine.Set("name", "mine")
	rec = w.post(at, mine)
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Equal(t, http.StatusSeeOther, w.post(at, formOf(rec.Body.String())).Code)
	require.Equal(t, "mine", w.token(id).Name)
	require.Contains(t, w.token(id).Roles, roles[9])

	// A role that inherits many.
	up, err := w.acme.CreateRole(ctx, latchkey.Role{Name: "all", Inherits: roles})
	require.NoError(t, err)
	form = w.form("role/" + up.ID)
	form["role"] = form["role"][2:]
	require.Equal(t, http.StatusSeeOther, w.post("role/"+up.ID, form).Code)
	up, err = w.acme.Role(ctx, up.ID)
	require.NoError(t, err)
	require.Equal(t, roles[2:], up.Inherits)
	w.get("token/" + id + "/access")
}

func TestRulesThatNoRightNamesAreKept(t *testing.T) {
	w := newFixture(t, nil)
	special := latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/ACME/ORDERS").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Grant(latchkey.Create).On("dataset/ACME/ORDERS").Where(latchkey.Where("amount", latchkey.Lt, 10)).
			Force(map[string]any{"region": "EU"}),
		latchkey.Deny(latchkey.Any).On("core/SECRET"),
		latchkey.Allow("publish").On("file/*"),
	}
	t0 := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
		Permissions: append(latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}, special...), Extra: []byte(`{"by":"host"}`)}})
	page := w.get("token/" + t0.ID)
	for _, line := range ruleTexts(special) {
		require.Contains(t, unhtml.Replace(page), ">"+line+"</li>", "read aloud")
		require.NotContains(t, page, `value="`+line, "and not to be typed over")
	}
	// Whatever is switched and typed, they stay, in their order.
	for _, change := range []func(url.Values){
		func(f url.Values) { f.Del("right") },
		func(f url.Values) { f["right"] = []string{"0", "1"} },
		func(f url.Values) { f.Set("add", "acme/cars"); f["addright"] = []string{"2", "3", "4"} },
		func(f url.Values) { f.Del("chip") },
		func(f url.Values) { f.Set("name", "x"); f.Set("idle", "3") },
	} {
		form := w.form("token/" + t0.ID)
		change(form)
		require.Equal(t, http.StatusSeeOther, w.post("token/"+t0.ID, form).Code)
		_, _, rest := newCatalogue(Apperate()).read(w.token(t0.ID).Permissions)
		require.Equal(t, ruleTexts(special), ruleTexts(rest))
		require.False(t, w.token(t0.ID).Permissions.Allows(latchkey.Read, "core/SECRET"))
	}
	require.JSONEq(t, `{"by":"host"}`, string(w.token(t0.ID).Extra))
}

func TestAddressesIdleAndFirstDay(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "k"}}).ID
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
	require.Equal(t, "Not yet valid", stateOf(&got, w.now).Word)

	page := w.get("token/" + id)
	require.Contains(t, page, `<details class="more" open>`, "what is set is not hidden")
	form = formOf(page)
	require.Equal(t, "192.0.2.7\n198.51.100.0/24\n2001:db8::/48", form.Get("addresses"))
	require.Equal(t, []string{"36", "1h0m0s"}, []string{form.Get("idle"), form.Get("idleunit")})
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, form).Code)
	require.Equal(t, got.Settings, w.token(id).Settings)

	for field, c := range map[string]struct{ value, says string }{
		"addresses": {"192.0.2.300", "is no address"}, "mintfrom": {"10.0.0.1/8", "write 10.0.0.0/8"},
		"begin": {"2027-06-01", "end before it begins"}, "idle": {"soon", "A whole number"},
	} {
		form := w.form("token/" + id)
		form.Set(field, c.value)
		rec := w.post("token/"+id, form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code, field)
		require.Regexp(t, `id="`+field+`-e" dir="auto">[^<]*`+c.says, rec.Body.String(), "beside the field")
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
		0: {"", "24h0m0s"}, 48 * time.Hour: {"2", "24h0m0s"}, 36 * time.Hour: {"36", "1h0m0s"}, 90 * time.Minute: {"90", "1m0s"},
		90 * time.Second: {"90", "1s"}, 1500 * time.Millisecond: {"1.5", "1s"},
	} {
		count, unit := idleText(idle)
		require.Equal(t, want, [2]string{count, unit}, idle)
	}
}

func TestTestTokens(t *testing.T) {
	w := newFixture(t, nil)
	form := w.form("new")
	form.Set("test", "on")
	require.Equal(t, http.StatusSeeOther, w.post("new", form).Code)
	require.Contains(t, w.get(""), "TEST PUBLISHABLE")
	form = w.form("new?kind=api_key")
	form.Set("test", "on")
	form.Set("name", "kept")
	rec := w.post("new", form)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), `id="test-e"`)
	again := formOf(rec.Body.String())
	require.Equal(t, []string{"on", "kept", "api_key"}, []string{again.Get("test"), again.Get("name"), again.Get("kind")})
	require.Equal(t, 1, w.count())
	for field, value := range map[string]string{"name": strings.Repeat("x", 257), "kind": "access"} {
		form := w.form("new")
		form.Set(field, value)
		rec := w.post("new", form)
		require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
		require.Contains(t, rec.Body.String(), `id="`+field+`-e"`)
	}
	require.Equal(t, 1, w.count())
}

func TestUsageOfMuch(t *testing.T) {
	w := newFixture(t, nil)
	w.stock(40)
	var batch latchkey.UsageBatch
	batch.ID, batch.At = [16]byte{1}, w.now
	i := 0
	for token, err := range w.acme.Tokens(t.Context(), latchkey.TokenQuery{}) {
		require.NoError(t, err)
		for day := range 90 {
			batch.Rows = append(batch.Rows, latchkey.UsageRow{Owner: "acme", TokenID: token.ID, ClientID: fmt.Sprintf("customer number %d", i),
				Meter: fmt.Sprintf("meter %d", i), Endpoint: fmt.Sprintf("GET /a/rather/long/path/to/an/endpoint/%d", i),
				Day: w.now.AddDate(0, 0, -day).Format(time.DateOnly), Count: int64(1_000_000 + i*7919 + day), Credits: 123_456_789_123})
		}
		i++
	}
	require.NoError(t, w.reads.AddUsage(context.Background(), batch))
	for _, path := range []string{"usage?days=90", "usage?days=7"} {
		page := w.get(path)
		require.Contains(t, page, "and 28 more")
	}
}

// TestNoPageIsHeavy fills every list with what is as long as it may be; do looks at the weight.
func TestNoPageIsHeavy(t *testing.T) {
	w := newFixture(t, &Options{Names: func(*http.Request) (out []string) {
		for i := range 500 {
			out = append(out, strings.Repeat("N", 3*maxNameLength/4)+fmt.Sprint(i))
		}
		return append(out, strings.Repeat("N", 500))
	}})
	ctx := t.Context()
	var rules, sets latchkey.Permissions
	for i := range 60 {
		rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/SET%d", i))).
			Where(latchkey.Where("note", latchkey.Eq, strings.Repeat(`"<&`, 5*i))))
		sets = append(sets, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/ACME/%s%d", strings.Repeat("S", 8*i), i))))
	}
	var roles []string
	for i := range 200 {
		r, err := w.acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprint(strings.Repeat("department ", 20), i), Permissions: rules})
		require.NoError(t, err)
		roles = append(roles, r.ID)
	}
	var id string
	for i := range 30 {
		id = w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
			Name: fmt.Sprint(strings.Repeat("customer ", 27), i), Roles: roles[:150], Permissions: append(sets, rules...)}}).ID
	}
	for _, path := range []string{"", "roles", "usage", "token/" + id, "token/" + id + "?chips=45", "token/" + id + "/access", "role/" + roles[0],
		"role/" + roles[0] + "?at=50", "role/" + roles[0] + "/access"} {
		w.get(path)
	}
	// And all of it is saved as it was drawn.
	before := w.token(id).Settings
	require.Equal(t, http.StatusSeeOther, w.post("token/"+id, w.form("token/"+id)).Code)
	require.Equal(t, before, w.token(id).Settings)
	require.Equal(t, http.StatusSeeOther, w.post("role/"+roles[0], w.form("role/"+roles[0]+"?at=50")).Code)
	r, err := w.acme.Role(ctx, roles[0])
	require.NoError(t, err)
	require.Equal(t, ruleTexts(rules), ruleTexts(r.Permissions))
}
