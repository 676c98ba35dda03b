package httpadapter

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

// request makes a request of a method from the names and values of its headers, as they are.
func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "https://api.example.com/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return r
}

// Hostile and odd requests: each is refused, or has the one meaning that is given here.
func TestFindInEveryCarrier(t *testing.T) {
	header := Carriers{Bearer: true, Headers: []string{"x-api-key"}}
	user := Carriers{Basic: BasicUser}
	password := Carriers{Basic: BasicPassword, BasicOther: []string{"", "api"}}
	cookie := Carriers{Cookie: "__Host-key"}
	all := Carriers{Bearer: true, Basic: BasicUser, Headers: []string{"X-API-Key", "X-Other"}, Cookie: "key",
		Query: []string{"token"}}
	alone := all
	alone.CookieAlone = true
	ignored := Carriers{Headers: []string{"X-API-Key"}, Basic: BasicIgnored}
	bad, many, none := ErrBadRequest, ErrManyCredentials, ErrNoCredential
	long := strings.Repeat("k", maxCarried)
	other := strings.Repeat("o", 2*maxCarried/4*3-len("K:")) // in base64, which makes four characters of three
	either := Carriers{Basic: BasicUser, BasicOther: []string{other, other + "o"}}
	for _, tt := range []struct {
		name     string
		carriers Carriers
		r        *http.Request
		want     string
		err      error
	}{
		{"header", header, get("/", "X-API-Key", "K"), "K", nil},
		{"header, Bearer", header, get("/", "Authorization", "Bearer K"), "K", nil},
		{"header, longest", header, get("/", "X-API-Key", long), long, nil},
		{"header, odd characters", header, get("/", "X-API-Key", `a:b/c+d=="e"`), `a:b/c+d=="e"`, nil},
		{"header, too long", header, get("/", "X-API-Key", long+"k"), "", bad},
		{"header, space", header, get("/", "X-API-Key", "a b"), "", bad},
		{"header, space before", header, get("/", "X-API-Key", " a"), "", bad},
		{"header, tab after", header, get("/", "X-API-Key", "a\t"), "", bad},
		{"header, no-break space", header, get("/", "X-API-Key", "a\u00a0"), "", bad},
		{"header, folded", header, get("/", "X-API-Key", "a\r\n b"), "", bad},
		{"header, NUL", header, get("/", "X-API-Key", "a\x00"), "", bad},
		{"header, DEL", header, get("/", "X-API-Key", "a\x7f"), "", bad},
		{"header, joined", header, get("/", "X-API-Key", "a, b"), "", bad},
		{"header, joined without a space", header, get("/", "X-API-Key", "a,b"), "", bad},
		{"header, empty", header, get("/", "X-API-Key", ""), "", none},
		{"header twice", header, get("/", "X-API-Key", "K", "X-API-Key", "K"), "", many},
		{"header twice, one empty", header, get("/", "X-API-Key", "", "X-API-Key", "K"), "", many},
		{"header and Bearer", header, get("/", "X-API-Key", "K", "Authorization", "Bearer K"), "", many},
		{"header and unread Basic", header, get("/", "X-API-Key", "K", "Authorization", basic("K:")), "", many},
		{"header and ignored Basic", ignored, get("/", "X-API-Key", "K", "Authorization", basic("a:b")), "K", nil},
		{"header and unread Bearer", ignored, get("/", "X-API-Key", "K", "Authorization", "Bearer K"), "", many},
		{"header and another scheme", header, get("/", "X-API-Key", "K", "Authorization", "Digest x"), "K", nil},
		{"header and malformed Authorization", header, get("/", "X-API-Key", "K", "Authorization", ": x"), "", bad},
		{"two headers", all, get("/", "X-API-Key", "K", "X-Other", "K"), "", many},
		{"underscores beside it", header, request("GET", "X-Api-Key", "K", "X_api_key", "K"), "", many},
		{"dots beside it", header, request("GET", "X-Api-Key", "K", "X.api.key", "K"), "", many},
		{"another case beside it", header, request("GET", "X-Api-Key", "K", "x-api-key", "K"), "", many},
		{"underscores alone", header, request("GET", "X_api_key", "K"), "", none},
		{"underscores and Bearer", header, request("GET", "X_api_key", "K", "Authorization", "Bearer K"), "", many},
		{"a name that is not the same", header, request("GET", "X-Api-Key", "K", "X-Api-Keys", "L"), "K", nil},
		{"Connection names the header", header, get("/", "X-API-Key", "K", "Connection", "close, x-api_key"), "", bad},
		{"Connection names Authorization", header, get("/", "Authorization", "Bearer K", "Connection", "AUTHORIZATION"), "",
			bad},
		{"Connection names the cookie", cookie, get("/", "Cookie", "__Host-key=K", "Connection", "Cookie"), "", bad},
		{"Connection names others", header, get("/", "X-API-Key", "K", "Connection", "keep-alive, Cookie"), "K", nil},

		{"user", user, get("/", "Authorization", basic("K:")), "K", nil},
		{"user, scheme in any case", user, get("/", "Authorization", "b"+basic("K:")[1:]), "K", nil},
		{"password", password, get("/", "Authorization", basic(":K")), "K", nil},
		{"password, name", password, get("/", "Authorization", basic("api:K")), "K", nil},
		{"user, password there", user, get("/", "Authorization", basic("K:x")), "", latchkey.ErrInvalidToken},
		{"wrong Basic and header", all, get("/", "Authorization", basic("K:x"), "X-API-Key", "K"), "", many},
		{"malformed Basic and header", all, get("/", "Authorization", "Basic x", "X-API-Key", "K"), "", many},
		{"Connection names Authorization, which is not read", ignored, get("/", "X-API-Key", "K", "Connection",
			"Authorization"), "K", nil},
		{"two keys", user, get("/", "Authorization", basic("K:K")), "", latchkey.ErrInvalidToken},
		{"password, another name", password, get("/", "Authorization", basic("apis:K")), "", latchkey.ErrInvalidToken},
		{"password, name in another case", password, get("/", "Authorization", basic("API:K")), "", latchkey.ErrInvalidToken},
		{"user, in the password", user, get("/", "Authorization", basic(":K")), "", none},
		{"both empty", user, get("/", "Authorization", basic(":")), "", none},
		{"no colon", user, get("/", "Authorization", basic("K")), "", bad},
		{"nothing", user, get("/", "Authorization", basic("")), "", bad},
		{"two colons", password, get("/", "Authorization", basic("api:K:L")), "", bad},
		{"Basic, not UTF-8", password, get("/", "Authorization", basic("\xff:K")), "", bad},
		{"Basic, NUL", password, get("/", "Authorization", basic("api\x00:K")), "", bad},
		{"Basic, newline", user, get("/", "Authorization", basic("K\n:")), "", bad},
		{"Basic, control character of Latin-1", user, get("/", "Authorization", basic("K:\u0085")), "", bad},
		{"Basic, space in the key", user, get("/", "Authorization", basic("K :")), "", bad},
		{"Basic, key not ASCII", user, get("/", "Authorization", basic("ké:")), "", bad},
		{"Basic, key with a comma", user, get("/", "Authorization", basic("a,b:")), "", bad},
		{"Basic, no padding", user, get("/", "Authorization", "Basic S0s6Og"), "", bad},
		{"Basic, other alphabet", user, get("/", "Authorization", "Basic Pz8_Og=="), "", bad},
		{"Basic, bits behind the end", user, get("/", "Authorization", "Basic Szq="), "", bad},
		{"Basic, the same without them", user, get("/", "Authorization", "Basic Szo="), "K", nil},
		{"Basic, line break in base64", user, get("/", "Authorization", "Basic Sz\r\no="), "", bad},
		{"Basic, two spaces", user, get("/", "Authorization", "Basic  Szo="), "", bad},
		{"Basic, comma", user, get("/", "Authorization", "Basic Szo=, Basic Szo="), "", bad},
		{"Basic, too long", user, get("/", "Authorization", basic(long+"k:")), "", bad},
		{"Basic, much too long", user, get("/", "Authorization", basic(strings.Repeat(long, 9)+":")), "", bad},
		{"Basic, the longest other part", either, get("/", "Authorization", basic("K:"+other)), "K", nil},
		{"Basic, a longer one", either, get("/", "Authorization", basic("K:"+other+"o")), "", bad},
		{"Basic, the other part much too long", user, get("/", "Authorization", basic("K:"+strings.Repeat(long, 9))), "",
			bad},
		{"two Basic", user, get("/", "Authorization", basic("K:"), "Authorization", basic("K:")), "", many},
		{"Bearer where Basic is read", user, get("/", "Authorization", "Bearer K"), "", none},
		{"Basic where Bearer is read", Carriers{Bearer: true}, get("/", "Authorization", basic("K:")), "", none},
		{"Basic and header", all, get("/", "Authorization", basic("K:"), "X-API-Key", "K"), "", many},
		{"Basic and query", all, get("/?token=K", "Authorization", basic("K:")), "", many},

		{"cookie", cookie, get("/", "Cookie", "__Host-key=K"), "K", nil},
		{"cookie among others", cookie, get("/", "Cookie", `a={"b":"c, d"}; __Host-key=K; e="f"; g`), "K", nil},
		{"cookie in a second line", cookie, get("/", "Cookie", "a=b", "Cookie", "__Host-key=K"), "K", nil},
		{"cookie, empty", cookie, get("/", "Cookie", "__Host-key="), "", none},
		{"cookie, no equals sign", cookie, get("/", "Cookie", "__Host-key"), "", none},
		{"cookie of another case", cookie, get("/", "Cookie", "__host-key=K"), "", none},
		{"cookie of a longer name", cookie, get("/", "Cookie", "x__Host-key=K; __Host-keys=K"), "", none},
		{"no-break space before the name", cookie, get("/", "Cookie", "\u00a0__Host-key=K"), "", none},
		{"cookie, spaces before", cookie, get("/", "Cookie", " \t__Host-key=K"), "K", nil},
		{"cookie, space after", cookie, get("/", "Cookie", "__Host-key=K ; a=b"), "", bad},
		{"cookie, space before the equals sign", cookie, get("/", "Cookie", "__Host-key =K"), "", bad},
		{"cookie, space behind the equals sign", cookie, get("/", "Cookie", "__Host-key= K"), "", bad},
		{"cookie twice", cookie, get("/", "Cookie", "__Host-key=K; __Host-key=K"), "", many},
		{"cookie twice, one empty", cookie, get("/", "Cookie", "__Host-key=; __Host-key=K"), "", many},
		{"cookie in two lines", cookie, get("/", "Cookie", "__Host-key=K", "Cookie", "__Host-key=L"), "", many},
		{"cookie after a comma", cookie, get("/", "Cookie", "__Host-key=K; a=b, __Host-key=L"), "", many},
		{"cookie after a comma only", cookie, get("/", "Cookie", "a=b,__Host-key=L"), "", none},
		{"cookie in quotes", cookie, get("/", "Cookie", `__Host-key="K"`), "", bad},
		{"cookie within the quotes of another", cookie, get("/", "Cookie", `a="b; __Host-key=K; c"`), "", bad},
		{"cookie behind quotes that do not end", cookie, get("/", "Cookie", `a="b; __Host-key=K`), "", bad},
		{"cookie behind an escaped quote", cookie, get("/", "Cookie", `a="b\"; __Host-key=K; c"`), "", bad},
		{"cookie behind quotes that end", cookie, get("/", "Cookie", `a="b;c"; __Host-key=K`), "K", nil},
		{"cookie behind quotes of the line before", cookie, get("/", "Cookie", `a="b`, "Cookie", "__Host-key=K"), "", bad},
		{"cookie behind quotes that begin after a comma", cookie, get("/", "Cookie", `a=b, c="; __Host-key=K`), "", bad},
		{"cookie behind quotes of one reading", cookie, get("/", "Cookie", `a=b, c="; d="e; __Host-key=K`), "", bad},
		{"cookie without a name", header, get("/", "Cookie", "=K"), "", none},
		{"cookie between quotes of another", cookie, get("/", "Cookie", `x="a; y=b; __Host-key=K`), "", bad},
		{"cookie, percent", cookie, get("/", "Cookie", "__Host-key=%4B"), "", bad},
		{"cookie, space", cookie, get("/", "Cookie", "__Host-key=a b"), "", bad},
		{"cookie, comma", cookie, get("/", "Cookie", "__Host-key=a,b"), "", bad},
		{"cookie, backslash", cookie, get("/", "Cookie", `__Host-key=a\b`), "", bad},
		{"cookie, longest", cookie, get("/", "Cookie", "__Host-key="+long), long, nil},
		{"cookie, too long", cookie, get("/", "Cookie", "__Host-key=k"+long), "", bad},
		{"Set-Cookie is none", cookie, get("/", "Set-Cookie", "__Host-key=K"), "", none},

		// Browsers send cookies with everything. A program's own header counts, whatever the cookie is.
		{"cookie and Bearer", all, get("/", "Cookie", "key=C", "Authorization", "Bearer K"), "K", nil},
		{"cookie and header", all, get("/", "Cookie", "key=C", "X-API-Key", "K"), "K", nil},
		{"two cookies and Bearer", all, get("/", "Cookie", "key=C; key=D", "Authorization", "Bearer K"), "K", nil},
		{"malformed cookie and Bearer", all, get("/", "Cookie", `key="`, "Authorization", "Bearer K"), "K", nil},
		{"cookie and empty header", all, get("/", "Cookie", "key=C", "X-API-Key", ""), "", none},
		{"cookie and malformed Bearer", all, get("/", "Cookie", "key=C", "Authorization", "Bearer"), "", bad},
		{"cookie and another spelling of the header", all, request("GET", "Cookie", "key=C", "X_api_key", "K"), "", many},
		{"cookie and unread Bearer", cookie, get("/", "Cookie", "__Host-key=C", "Authorization", "Bearer K"), "", many},
		{"cookie and Basic", all, get("/", "Cookie", "key=C", "Authorization", basic("K:")), "", many},
		{"cookie and unread Basic", cookie, get("/", "Cookie", "__Host-key=C", "Authorization", basic("K:")), "", many},
		{"cookie and query", all, get("/?token=K", "Cookie", "key=C"), "", many},
		{"cookie, header and Bearer", all, get("/", "Cookie", "key=C", "X-API-Key", "K", "Authorization", "Bearer K"), "",
			many},
		{"cookie alone", alone, get("/", "Cookie", "key=C"), "C", nil},
		{"cookie alone, Bearer alone", alone, get("/", "Authorization", "Bearer K"), "K", nil},
		{"cookie alone and Bearer", alone, get("/", "Cookie", "key=C", "Authorization", "Bearer K"), "", many},
		{"cookie alone and header", alone, get("/", "Cookie", "key=C", "X-API-Key", "K"), "", many},
		{"cookie alone, empty, and header", alone, get("/", "Cookie", "key=", "X-API-Key", "K"), "", many},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.carriers.Find(tt.r)
			if tt.err == nil {
				require.NoError(t, err)
			} else {
				p := ProblemOf(err)
				require.Equal(t, map[error]int{bad: 400, many: 400, none: 401, latchkey.ErrInvalidToken: 401}[tt.err], p.Status)
				if tt.err != latchkey.ErrInvalidToken {
					require.ErrorIs(t, err, tt.err)
				}
			}
			require.Equal(t, tt.want, got)
			if tt.want != "" {
				_, err := tt.carriers.Find(tt.r, tt.want)
				require.ErrorIs(t, err, bad, "beside the same in a body: many, or a malformed cookie")
			}
		})
	}
}

// What a browser adds by itself is taken from pages of the same origin and of trusted ones. A link may read.
func TestOrigins(t *testing.T) {
	cookie := Carriers{Bearer: true, Headers: []string{"X-API-Key"}, Cookie: "key",
		TrustedOrigins: []string{"https://app.example.com"}}
	user := Carriers{Basic: BasicUser, TrustedOrigins: cookie.TrustedOrigins}
	const own, app, evil = "https://api.example.com", "https://app.example.com", "https://evil.example"
	navigate := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	with := func(more ...string) []string { return append(navigate[:len(navigate):len(navigate)], more...) }
	const pass, link, refuse = "pass", "link", "refuse"
	for _, tt := range []struct {
		name    string
		headers []string
		safe    string // GET and HEAD
		unsafe  string
	}{
		{"no browser", nil, pass, pass},
		{"own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, pass, pass},
		{"own page behind a proxy that rewrites Host", []string{"Sec-Fetch-Site", "same-origin", "Origin",
			"https://x.example"}, pass, pass},
		{"bookmark", []string{"Sec-Fetch-Site", "none"}, pass, pass},
		{"own page, older browser", []string{"Origin", own}, pass, pass},
		{"sibling", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://www.example.com"}, refuse, refuse},
		{"trusted", []string{"Sec-Fetch-Site", "same-site", "Origin", app}, pass, pass},
		{"trusted, older browser", []string{"Origin", app}, pass, pass},
		{"trusted by another scheme", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://app.example.com"}, refuse,
			refuse},
		{"trusted, with a port", []string{"Sec-Fetch-Site", "cross-site", "Origin", app + ":8443"}, refuse, refuse},
		{"longer", []string{"Sec-Fetch-Site", "cross-site", "Origin", app + ".evil.example"}, refuse, refuse},
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site", "Origin", evil}, refuse, refuse},
		{"own host by another scheme", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://api.example.com"}, refuse,
			refuse},
		{"a document that is not navigated to", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors",
			"Sec-Fetch-Dest", "document"}, refuse, refuse},
		{"cross-site, older browser", []string{"Origin", evil}, refuse, refuse},
		{"own host in another origin", []string{"Origin", "https://api.example.com.evil.example"}, refuse, refuse},
		{"own host as a scheme", []string{"Origin", "api.example.com"}, refuse, refuse},
		{"null", []string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, refuse, refuse},
		{"null, older browser", []string{"Origin", "null"}, refuse, refuse},
		{"image", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, refuse,
			refuse},
		{"unknown site", []string{"Sec-Fetch-Site", "same-planet"}, refuse, refuse},
		{"site in another case", []string{"Sec-Fetch-Site", "Same-Origin"}, refuse, refuse},
		{"link", navigate, link, refuse},
		{"link from a sibling", append([]string{"Sec-Fetch-Site", "same-site"}, navigate[2:]...), link, refuse},
		{"form", with("Origin", evil), refuse, refuse},
		{"frame", append([]string{"Sec-Fetch-Dest", "iframe"}, navigate[:4]...), refuse, refuse},
		{"link that upgrades", with("Upgrade", "websocket"), refuse, refuse},
		{"WebSocket", []string{"Origin", evil, "Upgrade", "websocket", "Connection", "Upgrade"}, refuse, refuse},
		{"WebSocket of the own page", []string{"Origin", own, "Upgrade", "websocket", "Connection", "Upgrade"}, pass, pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "LIST"} {
				want := tt.unsafe
				if method == "GET" || method == "HEAD" {
					want = tt.safe
				}
				for _, by := range []struct {
					carriers Carriers
					name     string
					value    string
				}{{cookie, "Cookie", "key=K"}, {user, "Authorization", basic("K:")}} {
					r := request(method, append([]string{by.name, by.value}, tt.headers...)...)
					found, err := by.carriers.find(r, nil, nil)
					got := pass
					switch {
					case err != nil:
						require.ErrorIs(t, err, ErrCrossOrigin)
						require.Equal(t, credential{}, found)
						got = refuse
					case found.linked:
						got = link
					}
					require.Equal(t, want, got, "%s by %s", method, by.name)

					// Nothing passes that the standard library refuses.
					standard := http.NewCrossOriginProtection()
					require.NoError(t, standard.AddTrustedOrigin(app))
					if standard.Check(r) != nil {
						require.Equal(t, refuse, got, "%s by %s", method, by.name)
					}
				}
				// A page sets these itself, which needs CORS.
				for _, by := range [][]string{{"Authorization", "Bearer K"}, {"X-Api-Key", "K"}} {
					r := request(method, append(append([]string{"Cookie", "key=C"}, by...), tt.headers...)...)
					text, err := cookie.Find(r)
					require.NoError(t, err)
					require.Equal(t, "K", text)
				}
			}
		})
	}
	nameless := request("POST", "Cookie", "key=K", "Origin", "null")
	nameless.Host = "" // HTTP/1.0
	_, err := cookie.Find(nameless)
	require.ErrorIs(t, err, ErrCrossOrigin, "an origin without a host is not that of a request without one")
	for _, twice := range []string{"Sec-Fetch-Site", "Origin"} {
		_, err := cookie.Find(request("GET", "Cookie", "key=K", twice, "same-origin", twice, "same-origin"))
		require.ErrorIs(t, err, ErrBadRequest)
	}
}

func TestChallenges(t *testing.T) {
	denied, noCredential := ProblemOf(latchkey.ErrDenied), ProblemOf(ErrNoCredential)
	badToken, badRequest := ProblemOf(latchkey.ErrUnknownToken), ProblemOf(ErrManyCredentials)
	crossOrigin, missing := ProblemOf(ErrCrossOrigin), ProblemOf(latchkey.ErrNotFound)
	const bearer, basic = `Bearer realm="r"`, `Basic realm="r", charset="UTF-8"`
	all := Carriers{Bearer: true, Basic: BasicUser, Headers: []string{"X-API-Key"}, Cookie: "key",
		Query: []string{"token"}}
	quiet := all
	quiet.BasicQuiet = true
	for _, tt := range []struct {
		name     string
		carriers Carriers
		p        Problem
		want     []string
	}{
		{"Bearer", Carriers{Bearer: true}, noCredential, []string{bearer}},
		{"Bearer", Carriers{Bearer: true}, badToken, []string{bearer + `, error="invalid_token"`}},
		{"Bearer", Carriers{Bearer: true}, denied, []string{bearer + `, error="insufficient_scope"`}},
		{"Bearer", Carriers{Bearer: true}, badRequest, []string{bearer + `, error="invalid_request"`}},
		{"Bearer", Carriers{Bearer: true}, crossOrigin, nil},
		{"Bearer", Carriers{Bearer: true}, missing, nil},
		{"all", all, noCredential, []string{bearer, basic, `ApiKey realm="r", in="header", name="X-API-Key"`,
			`ApiKey realm="r", in="cookie", name="key"`}},
		{"all", all, badToken, []string{bearer + `, error="invalid_token"`, basic,
			`ApiKey realm="r", in="header", name="X-API-Key", error="invalid_token"`,
			`ApiKey realm="r", in="cookie", name="key", error="invalid_token"`}},
		{"all", all, denied, []string{bearer + `, error="insufficient_scope"`}},
		{"quiet", quiet, noCredential, []string{bearer, `ApiKey realm="r", in="header", name="X-API-Key"`,
			`ApiKey realm="r", in="cookie", name="key"`}},
		{"Basic", Carriers{Basic: BasicPassword}, noCredential, []string{basic}},
		{"Basic", Carriers{Basic: BasicPassword}, denied, nil},
		{"only quiet", Carriers{Basic: BasicUser, BasicQuiet: true}, noCredential, []string{`ApiKey realm="r"`}},
		{"ignored", Carriers{Basic: BasicIgnored, Query: []string{"token"}}, noCredential, []string{`ApiKey realm="r"`}},
	} {
		require.Equal(t, tt.want, tt.carriers.Challenges(tt.p, "r"), tt.name)
	}
}

func TestCarriersThatContradictThemselves(t *testing.T) {
	keys := newKeys()
	for text, c := range map[string]Carriers{
		"reads no carrier":       {Basic: BasicIgnored},
		"is 7: use":              {Bearer: true, Basic: 7},
		"set Basic":              {Bearer: true, BasicQuiet: true},
		"are for BasicUser":      {Bearer: true, Basic: BasicIgnored, BasicOther: []string{"x"}},
		"BasicOther is empty":    {Basic: BasicUser, BasicOther: []string{}},
		`BasicOther has "a:b"`:   {Basic: BasicUser, BasicOther: []string{"a:b"}},
		`BasicOther has "\xff"`:  {Basic: BasicUser, BasicOther: []string{"\xff"}},
		`BasicOther has "\n"`:    {Basic: BasicUser, BasicOther: []string{"\n"}},
		"CookieAlone is for":     {Bearer: true, CookieAlone: true},
		"TrustedOrigins is for":  {Bearer: true, TrustedOrigins: []string{"https://a.example"}},
		`Cookie "a b"`:           {Cookie: "a b"},
		`Cookie "a=b"`:           {Cookie: "a=b"},
		`Headers has ""`:         {Headers: []string{""}},
		`Headers has "a b"`:      {Headers: []string{"a b"}},
		`Headers has "cookie"`:   {Headers: []string{"cookie"}},
		`has "Authorization"`:    {Headers: []string{"Authorization"}},
		`has "Content-Type"`:     {Headers: []string{"Content-Type"}},
		`"X-Forwarded-For"`:      {Headers: []string{"X-Forwarded-For"}},
		"another spelling of it": {Headers: []string{"X-API-Key", "x_api_key"}},
		`Query has ""`:           {Query: []string{""}},
		"there twice":            {Query: []string{"a", "a"}},
		`"https://a.example/"`:   {Cookie: "key", TrustedOrigins: []string{"https://a.example/"}},
		`TrustedOrigins has "*"`: {Cookie: "key", TrustedOrigins: []string{"*"}},
	} {
		said := panicText(func() { New(keys, &Options{Carriers: c}) })
		require.Contains(t, said, "httpadapter: Options.Carriers")
		require.Contains(t, said, text)
	}
	// What is set without a carrier is not taken for nothing, which means Bearer.
	for _, c := range []Carriers{{BasicOther: []string{"api"}}, {BasicQuiet: true}, {CookieAlone: true},
		{TrustedOrigins: []string{"https://a.example"}}} {
		require.Contains(t, panicText(func() { New(keys, &Options{Carriers: c}) }), "reads no carrier", "%+v", c)
	}
	for _, c := range []Carriers{
		{Headers: []string{"X-API-Key", "Api-Key", "key"}},
		{Basic: BasicUser, BasicOther: []string{"", "é"}, TrustedOrigins: []string{"https://a.example", "http://[::1]:8080"}},
		{Bearer: true, Basic: BasicIgnored},
		{Cookie: "__Host-key", CookieAlone: true},
		{Query: []string{"a"}},
		{Query: []string{"a", "b"}},
	} {
		require.NotPanics(t, func() { New(keys, &Options{Carriers: c}) })
	}
}

// panicText returns what f panics with, "" if it does not.
func panicText(f func()) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint(p)
		}
	}()
	f()
	return ""
}

func newKeys() *latchkey.Manager { return latchkey.New(memstore.New(nil), nil) }

// The lists of Options are copied.
func TestCarriersAreCopied(t *testing.T) {
	headers := []string{"x-api-key"}
	a := New(newKeys(), &Options{Carriers: Carriers{Headers: headers}})
	headers[0] = "Authorization"
	require.Equal(t, []string{"X-Api-Key"}, a.reading.Headers)
}

// FuzzBasic checks that credentials have one meaning at most: the one by which they are written again, byte for byte,
// and that of the standard library.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"K:", ":K", "api:K", ":", "", "a:b:c", "\xff:K", "K\x00:", "k\u0085:"} {
		f.Add(basic(s))
	}
	f.Add("Basic Szq=")
	f.Add("Basic Sz\r\no=")
	f.Add("basic  Szo=")
	f.Fuzz(func(t *testing.T, value string) {
		r := request("GET", "Authorization", value)
		for part, c := range map[string]Carriers{"user": {Basic: BasicUser, BasicOther: []string{"", "api"}},
			"password": {Basic: BasicPassword, BasicOther: []string{"", "api"}}} {
			key, err := c.Find(r)
			if err != nil {
				require.Empty(t, key)
				continue
			}
			require.True(t, isCarried(key))
			require.NotContains(t, key, ":")
			user, password, ok := r.BasicAuth()
			require.True(t, ok, "the standard library reads it, too")
			want, other := user, password
			if part == "password" {
				want, other = password, user
			}
			require.Equal(t, want, key)
			require.Contains(t, []string{"", "api"}, other)
			require.Equal(t, basic(user + ":" + password)[6:], value[6:], "other bytes would mean the same")
		}
	})
}

// FuzzCookie checks that a cookie that is found is the only one of its name by four readings: the standard library's,
// one that separates at commas, and each with and without quotes.
func FuzzCookie(f *testing.F) {
	for _, s := range []string{"key=K", "a=b; key=K", "key=K; key=L", `a="b; key=K; c"`, `key="K"`, "a=b, key=K", "key =K",
		`a="\"; key=K`, `a="b,key=L"; key=K`, "key=K;key", "key", "key=%4B", "\tkey=K", `a=b"; key=K; c="`} {
		f.Add(s, "")
	}
	f.Add("a=b", "key=K")
	f.Add(`a="b`, "key=K")
	f.Add(`a=b,c="; key=K`, "")
	f.Add(`a=b, c="; d="e; key=K`, "")
	f.Fuzz(func(t *testing.T, one, two string) {
		lines := []string{one}
		if two != "" {
			lines = append(lines, two)
		}
		c := Carriers{Cookie: "key"}
		r := request("GET")
		r.Header["Cookie"] = lines
		key, err := c.Find(r)
		if err != nil {
			require.Empty(t, key)
			return
		}
		require.True(t, isCookieText(key))
		named := r.CookiesNamed("key")
		if len(named) > 0 { // the standard library drops cookies that it does not like
			require.Len(t, named, 1)
			require.Equal(t, key, named[0].Value)
		}
		for _, separators := range []string{";", ";,"} {
			for _, quotes := range []bool{false, true} {
				require.Equal(t, []string{key}, otherReading(strings.Join(lines, "; "), separators, quotes),
					"%q, quotes: %v", separators, quotes)
			}
		}
	})
}

// otherReading is how another reader finds the cookies named key: by these separators, and not within quotes if it
// knows them.
func otherReading(line, separators string, quotes bool) (values []string) {
	for line != "" {
		end := endOfPair(line, separators, quotes)
		name, value, _ := strings.Cut(line[:end], "=")
		if strings.Trim(name, cookieSpaces) == "key" {
			values = append(values, strings.Trim(value, cookieSpaces))
		}
		line = line[min(end+1, len(line)):]
	}
	return values
}

func endOfPair(line, separators string, quotes bool) int {
	value, quoted := 0, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\\':
			i++
		case quoted:
			quoted = c != '"'
		case quotes && c == '"' && value > 0 && strings.Trim(line[value:i], cookieSpaces) == "":
			quoted = true
		case strings.IndexByte(separators, c) >= 0:
			return i
		case c == '=' && value == 0:
			value = i + 1
		}
	}
	return len(line)
}
