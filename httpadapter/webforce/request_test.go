package webforce

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryWayToSendIt(t *testing.T) {
	w := newFixture(t, nil)
	all := encode("auth_token", w.session, "name", "app", "extra", `{"stock_images":"1"}`)
	for name, r := range map[string]reply{
		"GET":                w.send(httptest.NewRequest("GET", "/api?cmd=access.add&"+all, nil)),
		"GET with version":   w.send(httptest.NewRequest("GET", "/api?cmd=access.add&version=1.0&noCache=1764&"+all, nil)),
		"POST":               w.send(post("cmd=access.add&" + all)),
		"POST, no type":      w.send(httptest.NewRequest("POST", "/api", strings.NewReader("cmd=access.add&"+all))),
		"empty pairs":        w.send(post("&cmd=access.add&&" + all + "&")),
		"reseller's api_key": w.send(post("cmd=access.add&api_key=x&login=y&" + all)),
	} {
		require.Equal(t, "app", w.ok(r).Name, name)
	}
	r := post(all)
	r.URL.RawQuery = "cmd=access.add&version=1.0"
	h := w.ok(w.send(r))
	r = httptest.NewRequest("GET", "/api?cmd=access.remove&token_id="+h.ID+"&auth_token="+w.session, nil)
	w.ok(w.send(r))
	require.Len(t, w.list(w.call("access.get_all")), 6)

	long := strings.Repeat("x", maxName)
	require.Equal(t, long, w.ok(w.call("access.add", "name", long)).Name)
	h = w.ok(w.call("access.add", "name", "no extra"))
	require.Equal(t, "{}", string(h.Extra))
	require.Empty(t, has(w.verified(h.Token), "7"))
}

func TestBadRequests(t *testing.T) {
	w := newFixture(t, nil)
	a := w.add("app", `{}`)
	tok := "auth_token=" + w.session
	for body, want := range map[string]string{
		tok:                                     "Missing parameter: cmd",
		tok + "&cmd=":                           "Unknown command",
		tok + "&cmd=access.ADD":                 "Unknown command",
		tok + "&cmd=access":                     "Unknown command",
		tok + "&cmd=db.get":                     "Unknown command",
		tok + "&cmd=access.add&cmd=access.get":  "Parameter cmd is given once, as a text",
		tok + "&cmd[]=access.add":               "Parameter cmd is given once, as a text",
		tok + "&cmd=access.get_all&version=2.0": "Unsupported version: use 1.0",
		tok + "&cmd=access.get_all&version[]=1": "Unsupported version: use 1.0",
		tok + "&cmd=access.add":                 "Missing parameter: name",
		tok + "&cmd=access.add&name[]=x":        "Parameter name is given once, as a text",
		tok + "&cmd=access.add&name=" + strings.Repeat("x", 257): "name has at most 256 bytes, and no NUL",
		tok + "&cmd=access.add&name=%00":                         "Malformed form: NUL",
		tok + "&cmd=access.add&name=%ff":                         "Malformed form: invalid UTF-8",
		tok + "&cmd=access.add&name=%zz":                         "Malformed form: bad percent encoding",
		tok + "&cmd=access.add;name=x": `Malformed form: ";" separates nothing: ` +
			`write %3B`,
		tok + "&cmd=access.get": "Missing parameter: token_id",
		tok + "&cmd=access.get&token_id=1&token_id=1": "Parameter token_id is given once, as a " +
			"text",
		tok + "&cmd=access.get&token_id=":                               "No such token",
		tok + "&cmd=access.get&token_id=17":                             "No such token",
		tok + "&cmd=access.get&token_id=*":                              "No such token",
		tok + "&cmd=access.get&token_id=" + a.ID + "%20":                "No such token",
		tok + "&cmd=access.get&token_id=" + strings.ToUpper(a.ID):       "No such token",
		tok + "&cmd=access.get&token_id=" + a.Token:                     "No such token",
		tok + "&cmd=access.get&token_id=" + strings.Repeat("1", 10_000): "No such token",
		tok + "&cmd=access.remove":                                      "Missing parameter: token_id",
		tok + "&cmd=access.update&meta={}":                              "meta holds name, extra or both",
		tok + `&cmd=access.update&meta={"name":"x"}`:                    "Missing parameter: token_id",
		tok + "&cmd=access.update&token_id=" + a.ID:                     "Missing parameter: meta",
		tok + "&cmd=access.update&token_id=" + a.ID +
			`&meta=`: "meta is no valid JSON: at byte 0: unexpected end",
		"cmd=access.get_all":                                                       "Access denied",
		"cmd=access.get_all&auth_token=":                                           "Access denied",
		"cmd=access.get_all&auth_token[a]=x":                                       "auth_token is a text",
		"cmd=access.get_all&" + tok + "&" + tok:                                    "More than one credential",
		"cmd=access.get_all&" + tok + "&auth_token=":                               "More than one credential",
		"cmd=access.get_all&auth_token[]=" + w.session:                             "More than one credential",
		"x=" + strings.Repeat("x", 64<<10):                                         "Request too large",
		strings.Repeat("a=&", 1001):                                                "Malformed form: too many pairs",
		tok + `&cmd=access.update&name=x&token_id=` + a.ID + `&meta={"extra":{}}`:  "name and extra belong into meta",
		tok + `&cmd=access.update&extra={}&token_id=` + a.ID + `&meta={"name":""}`: "name and extra belong into meta",
	} {
		w.fails(want, w.send(post(body)))
		if strings.HasPrefix(want, "Malformed form") {
			want = strings.Replace(want, " form", " query", 1)
		}
		r := httptest.NewRequest("GET", "/api", nil)
		r.URL.RawQuery = body
		w.fails(want, w.send(r))
	}
	for name, tt := range map[string]struct{ meta, want string }{
		"list":           {`[]`, "meta is a JSON object"},
		"null":           {`null`, "meta is a JSON object"},
		"text":           {`"x"`, "meta is a JSON object"},
		"null name":      {`{"name":null}`, "meta.name is a text"},
		"number":         {`{"name":1}`, "meta.name is a text"},
		"NUL":            {`{"name":"\u0000"}`, "name has at most 256 bytes, and no NUL"},
		"null extra":     {`{"name":"x","extra":null}`, "extra is a JSON object"},
		"extra list":     {`{"extra":[]}`, "extra is a JSON object"},
		"empty extra":    {`{"extra":""}`, "extra is no valid JSON: at byte 0: unexpected end"},
		"case":           {`{"name":"x","Extra":{}}`, "meta holds name, extra or both, and nothing else"},
		"other":          {`{"name":"x","disabled":true}`, "meta holds name, extra or both, and nothing else"},
		"twice":          {`{"name":"x","name":"y"}`, `meta is no valid JSON: at byte 12: the same name twice`},
		"trailing":       {`{"name":"x"}{}`, "meta is no valid JSON: at byte 12: trailing data"},
		"long":           {`{"name":"` + strings.Repeat("x", 257) + `"}`, "name has at most 256 bytes, and no NUL"},
		"bad extra":      {`{"name":"y","extra":{"stock_images":2}}`, "stock_images is 0 or 1"},
		"extra in extra": {`{"extra":"\"{}\""}`, "extra is a JSON object"},
	} {
		r := w.call("access.update", "token_id", a.ID, "meta", tt.meta)
		require.Equal(t, "FAILURE", r.Code, name)
		if name != "twice" {
			w.fails(tt.want, r)
		}
	}
	for pairs, want := range map[string]string{
		"meta[name][]=x":                 "Parameter name is given once, as a text",
		"meta[name]=x&meta[disabled]=1":  "meta holds name, extra or both, and nothing else",
		"meta[name]=x&meta[extra]=":      "extra is no valid JSON: at byte 0: unexpected end",
		"meta[name]=x&meta[extra][]=":    "extra is given once, as a JSON object",
		"meta={}&meta={}":                "meta is given once, as a JSON object",
		"meta[]={}":                      "meta is given once, as a JSON object",
		`meta={"name":"x"}&meta[name]=y`: "Malformed form: one name used in two ways",
	} {
		w.fails(want, w.send(post(encode("cmd", "access.update", "auth_token", w.session, "token_id", a.ID)+"&"+pairs)))
	}
	got := w.ok(w.call("access.get", "token_id", a.ID))
	require.Equal(t, "app", got.Name)
	require.Equal(t, "{}", string(got.Extra))

	// Outside the form.
	ok := "cmd=access.get_all&" + tok
	r := post(ok)
	r.URL.RawQuery = tok
	w.fails("More than one credential", w.send(r))
	r = post(ok)
	r.URL.RawQuery = "cmd=access.get_all"
	w.fails("A parameter is given both in the query and in the body", w.send(r))
	r = post(ok)
	r.Header.Set("Authorization", "Bearer "+w.session)
	w.fails("More than one credential", w.send(r))
	r = post("cmd=access.get_all")
	r.Header.Set("Authorization", "Bearer "+w.session)
	w.fails("Access denied", w.send(r))
	r = post(ok)
	r.Header["Authorization"] = []string{"Basic x", "Basic y"}
	w.fails("More than one credential", w.send(r))
	r = post(ok)
	r.Header["Referer"] = []string{"http://a/", "http://b/"}
	w.fails("Invalid request", w.send(r))
	for _, kind := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain",
		"application/x-www-form-urlencoded; charset=iso-8859-1", "x"} {
		r = post(ok)
		r.Header.Set("Content-Type", kind)
		w.fails("Unsupported content type", w.send(r))
	}
	r = post(ok)
	r.Header.Set("Content-Encoding", "gzip")
	w.fails("Unsupported content type", w.send(r))
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
		r = post(ok)
		r.Method = method
		w.fails("Use GET or POST", w.send(r))
	}
	require.Empty(t, w.log.String(), "none of this is trouble of ours")
	require.NotEmpty(t, w.errs, "OnError hears of each")
	for _, err := range w.errs {
		require.NotContains(t, err.Error(), w.session)
		require.NotContains(t, err.Error(), a.Token)
	}
}
