package httpadapter

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/form"
)

// Carriers lists where a request may carry a credential. The zero value reads none; in [Options] it stands for Bearer
// alone. A credential in a body is found by the code that parses the body, and passed to [Carriers.Find].
//
// A browser adds cookies by itself, and Basic credentials once its user has typed them, also to requests that a page of
// another site makes. So these two are not taken from such requests: see TrustedOrigins. It adds no Bearer token and no
// other header by itself.
type Carriers struct {
	// Bearer reads "Authorization: Bearer <token>" (RFC 6750 §2.1).
	Bearer bool

	// Basic reads "Authorization: Basic <base64>" (RFC 7617), and says which part is the credential. Zero: it is not
	// read, and beside another credential it is a second one.
	Basic BasicPart
	// BasicOther lists what the other part may be, exactly: []string{"", "api"} for "api:<key>" and ":<key>". No entry
	// may hold a colon or a control character. Nil: it must be empty.
	BasicOther []string
	// BasicQuiet leaves Basic out of WWW-Authenticate. Browsers then show no password dialog.
	BasicQuiet bool

	// Headers are names of header fields whose whole value is a credential: "X-API-Key". Case is ignored. A second
	// spelling that some proxies take for the same name (X_API_Key) is a second credential. A value is 1 to 4096 visible
	// ASCII characters without commas. Do not list Authorization or Cookie.
	Headers []string

	// Cookie is the name of a cookie whose whole value is a credential. The value is 1 to 4096 characters of RFC 6265
	// without quotes and percent signs. Choose a name that begins with "__Host-", so that no other host can set the
	// cookie, and set it with Secure, HttpOnly, Path=/ and SameSite=Lax or Strict. "": no cookie is read.
	//
	// Beside a Bearer token or one of Headers, where these are read, the cookie is ignored, also if that other credential
	// is invalid: browsers send cookies with every request, and only a program sets such a header. Beside any other
	// credential it is a second one. See CookieAlone.
	Cookie string
	// CookieAlone makes the cookie a second credential beside every other one. Set it if something behind the Adapter
	// reads the cookie, too.
	CookieAlone bool

	// TrustedOrigins are the origins ("https://app.example.com") whose pages may use Cookie and Basic, besides those of
	// the request's own host. From all others such a request is [ErrCrossOrigin], whatever its method: a form, a script,
	// an image, a WebSocket. It passes only if it is a link or a redirect (a top-level navigation by GET or HEAD), and
	// then for [latchkey.Read] only. [Carriers.Find] and [Adapter.Authenticate] know no action: a handler behind them
	// must change nothing for GET.
	//
	// A request without the headers Sec-Fetch-Site and Origin is taken for one that no page has made. Browsers leave
	// Sec-Fetch-Site out on http, except to localhost, and Origin for images and links: use https.
	// Where Sec-Fetch-Site is absent, the request's own host is its Host header: behind a proxy that rewrites that, name
	// the site's own origin here.
	TrustedOrigins []string

	// Query are parameters of the URL, by exact name. Use them only where no header can be set, or where a documented
	// API requires them: URLs end up in logs and histories. [Adapter] sets [ForbidStoring] on all replies then; other
	// callers must.
	Query []string
}

// BasicPart says which part of Basic credentials is a latchkey credential.
type BasicPart uint8

const (
	// BasicUser: the user name is the credential, as in "curl -u KEY:".
	BasicUser BasicPart = iota + 1
	// BasicPassword: the password is the credential, as in "curl -u :KEY".
	BasicPassword
	// BasicIgnored: Basic is no credential at all. A proxy before the host checks it, and passes it on.
	BasicIgnored
)

// maxCarried bounds the text of a credential in a header field or cookie: a cookie of a browser is no longer.
const maxCarried = 4096

// credential is what Carriers found in a request.
type credential struct {
	text string
	// linked: a page of another origin made the browser follow a link, and the browser added the credential.
	linked bool
}

// Find returns the one credential of a request. inBody are the credentials that the caller found elsewhere, in the
// body, including empty ones.
//
// No carrier at all is [ErrNoCredential]. Two carriers are [ErrManyCredentials] even if they are equal: two readers
// of such a request could take it for two different callers. A Bearer token or Basic counts as a carrier even where it
// is not read, and so does an empty value. What a cookie beside another carrier is, Carriers.Cookie says. A malformed
// credential is [ErrBadRequest] (RFC 6750 §3.1), and so is one in a header that Connection names: the next hop would
// not see it. A cookie or Basic from a page of another origin is [ErrCrossOrigin].
func (c Carriers) Find(r *http.Request, inBody ...string) (string, error) {
	found, err := c.find(r, nil, inBody)
	return found.text, err
}

// find is Find. Origins that cors allows with credentials are trusted, too. Nil: none.
func (c *Carriers) find(r *http.Request, cors *corsPolicy, inBody []string) (credential, error) {
	found, n := "", len(inBody)
	if n > 0 {
		found = inBody[0]
	}
	ambient := false  // found is something that browsers add by themselves
	explicit := false // found is something that only a program sets
	var wrong error   // what is wrong with Basic credentials
	scheme, rest, err := Authorization(r)
	switch {
	case err != nil:
		return credential{}, err
	case strings.EqualFold(scheme, "Bearer"):
		if n++; c.Bearer {
			if !isB64Token(rest) {
				return credential{}, badRequest("malformed Bearer token")
			}
			found, explicit = rest, true
		}
	case c.Basic != BasicIgnored && strings.EqualFold(scheme, "Basic"):
		if n++; c.Basic != 0 {
			found, wrong = c.basic(rest)
			ambient = true
		}
	}
	for _, name := range c.Headers {
		name = http.CanonicalHeaderKey(name)
		for _, v := range r.Header[name] {
			if v != "" && !isCarried(v) {
				return credential{}, badRequest("a credential in a header has a comma, a space, another character that " +
					"is not visible ASCII, or is too long")
			}
			found, explicit, n = v, true, n+1
		}
		for other := range r.Header {
			if other != name && sameVariable(other, name) {
				n += len(r.Header[other])
			}
		}
	}
	for _, name := range c.Query {
		// Unlike url.ParseQuery, form.Find decodes only the parameter that is asked for.
		f, err := form.Find(r.URL.RawQuery, name, false)
		if err != nil {
			return credential{}, badRequest("malformed query")
		}
		if f.N > 0 {
			found, n = f.Value, n+f.N
		}
	}
	if c.Cookie != "" && (n != 1 || !explicit || c.CookieAlone) { // else the cookie is ignored
		value, cookies, err := findCookie(r.Header["Cookie"], c.Cookie)
		if err != nil {
			return credential{}, err
		}
		if cookies > 0 {
			found, ambient, n = value, true, n+cookies
		}
	}
	switch {
	case n > 1:
		return credential{}, ErrManyCredentials
	case wrong != nil:
		return credential{}, wrong
	case n == 0 || found == "":
		return credential{}, ErrNoCredential
	}
	if err := c.checkConnection(r); err != nil {
		return credential{}, err
	}
	linked := false
	if ambient {
		if linked, err = c.checkOrigin(r, cors); err != nil {
			return credential{}, err
		}
	}
	return credential{found, linked}, nil
}

// basic returns the credential in the text after "Basic " (RFC 7617 §2), "" if both parts are empty.
func (c *Carriers) basic(text string) (string, error) {
	if len(text) > 2*maxCarried {
		return "", badRequest("Basic credentials are too long")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return "", badRequest("malformed Basic credentials: not base64")
	}
	s := string(b)
	user, password, ok := strings.Cut(s, ":")
	switch {
	case !utf8.ValidString(s):
		return "", badRequest("malformed Basic credentials: not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", badRequest("malformed Basic credentials: a control character")
	case !ok:
		return "", badRequest("malformed Basic credentials: no colon")
	case strings.Contains(password, ":"): // some readers cut at the last one
		return "", badRequest("malformed Basic credentials: more than one colon")
	}
	key, other, name := user, password, "password"
	if c.Basic == BasicPassword {
		key, other, name = password, user, "user name"
	}
	if key == "" {
		return "", nil
	}
	if !isCarried(key) {
		return "", badRequest("a credential in Basic has a comma, a space, another character that is not visible ASCII, " +
			"or is too long")
	}
	if !slices.Contains(c.BasicOther, other) && (other != "" || c.BasicOther != nil) {
		return "", &otherPartError{name}
	}
	return key, nil
}

// otherPartError: the part of Basic beside the credential is not what it must be. It is a 401, so that a browser asks
// its user again.
type otherPartError struct{ part string }

func (e *otherPartError) Error() string {
	return fmt.Sprintf("httpadapter: the %s beside the key is not as agreed", e.part)
}

// isCarried reports whether s is 1 to maxCarried visible ASCII characters without commas: intermediaries join two
// fields of one name with a comma.
func isCarried(s string) bool {
	if s == "" || len(s) > maxCarried {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == ',' {
			return false
		}
	}
	return true
}

// cookieSpaces are trimmed around the name of a cookie. Line breaks never arrive over HTTP.
const cookieSpaces = " \t\r\n"

// findCookie returns the value of a cookie, and how many the request has of that name, by any reading: of RFC 6265, by
// which ";" always separates, and of RFC 2109, by which "," does, too, and neither within quotes.
func findCookie(lines []string, name string) (value string, n int, err error) {
	// By RFC 2109 a quoted value is not over yet, if commas separate and if they do not.
	var quoted, quotedToo bool
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			key, v, hasValue := strings.Cut(pair, "=")
			key, v = strings.Trim(key, cookieSpaces), strings.Trim(v, cookieSpaces)
			within := quoted || quotedToo
			quotedToo = quotedAfter(quotedToo, pair)
			for part := range strings.SplitSeq(pair, ",") {
				quoted = quotedAfter(quoted, part)
			}
			if key != name {
				n += countBetweenCommas(pair, name)
				continue
			}
			exact := strings.TrimLeft(pair, " \t") == key+"="+v // readers differ in which spaces belong to the value
			if n++; within || hasValue && !exact || v != "" && !isCookieText(v) {
				return "", 0, badRequest("malformed Cookie header: quotes, spaces, or a character that a credential does not have")
			}
			value = v
		}
	}
	return value, n, nil
}

// quotedAfter reports whether a quoted value is not over after a pair. quoted is whether one was not before it.
func quotedAfter(quoted bool, pair string) bool {
	if quoted {
		return !closesQuotes(pair)
	}
	_, v, _ := strings.Cut(pair, "=")
	v, opens := strings.CutPrefix(strings.TrimLeft(v, cookieSpaces), `"`)
	return opens && !closesQuotes(v)
}

// closesQuotes reports whether s has a quote without a backslash before it.
func closesQuotes(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return true
		}
	}
	return false
}

// countBetweenCommas counts the cookies of a name that a reader finds in pair who takes "," for a separator.
func countBetweenCommas(pair, name string) (n int) {
	for part := range strings.SplitSeq(pair, ",") {
		if key, _, _ := strings.Cut(part, "="); strings.Trim(key, cookieSpaces) == name {
			n++
		}
	}
	return n
}

// isCookieText reports whether s is 1 to maxCarried cookie-octets (RFC 6265 §4.1.1) without a percent sign, which some
// readers decode.
func isCookieText(s string) bool { return isCarried(s) && !strings.ContainsAny(s, `"\;%`) }

// sameVariable reports whether a and b are one name to software that maps header names to variables. Case is ignored,
// and "-", "_" and "." are equal.
func sameVariable(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldHeaderByte(a[i]) != foldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

func foldHeaderByte(c byte) byte {
	switch {
	case c == '_' || c == '.':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// checkConnection refuses a request whose Connection header tells the next hop to remove what carries the credential.
func (c *Carriers) checkConnection(r *http.Request) error {
	for _, line := range r.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			if c.readsAuthorization() && strings.EqualFold(name, headerAuthorization) ||
				c.Cookie != "" && strings.EqualFold(name, "Cookie") ||
				slices.ContainsFunc(c.Headers, func(h string) bool { return sameVariable(h, name) }) {
				return badRequest("Connection names a header that carries the credential")
			}
		}
	}
	return nil
}

// checkOrigin returns ErrCrossOrigin if a page of another origin made the browser send r, and that is not trusted.
// linked reports a top-level navigation: a page of another origin made the browser follow a link, by a safe method.
//
// For unsafe methods the rules are those of [http.CrossOriginProtection]. Safe methods are checked, too: a WebSocket
// begins with a GET, and a script or an image tells a page of another origin something of its content.
func (c *Carriers) checkOrigin(r *http.Request, cors *corsPolicy) (linked bool, err error) {
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	if len(sites) > 1 || len(origins) > 1 {
		return false, badRequest("a header given twice")
	}
	site, origin := "", ""
	if len(sites) > 0 {
		site = sites[0]
	}
	if len(origins) > 0 {
		origin = origins[0]
	}
	switch {
	case site == "same-origin" || site == "none": // none: the user's own doing, such as a bookmark
		return false, nil
	case site == "" && origin == "": // no browser, or one that does not tell
		return false, nil
	case site == "" && ofHost(origin, r.Host):
		return false, nil
	case origin != "" && (slices.Contains(c.TrustedOrigins, origin) || cors.trusts(r, origin)):
		return false, nil
	case origin == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		one(r.Header["Sec-Fetch-Mode"]) == "navigate" && one(r.Header["Sec-Fetch-Dest"]) == "document" &&
		len(r.Header["Upgrade"]) == 0:
		return true, nil
	}
	return false, ErrCrossOrigin
}

// one returns the one value of a header, "" if there are none or several.
func one(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// ofHost reports whether origin is of the host that the request was sent to. The scheme is not known here.
func ofHost(origin, host string) bool {
	_, after, ok := strings.Cut(origin, "://")
	return ok && after != "" && strings.EqualFold(after, host)
}

// readsBasic reports whether c reads Basic.
func (c *Carriers) readsBasic() bool { return c.Basic == BasicUser || c.Basic == BasicPassword }

// readsAuthorization reports whether c reads the Authorization header.
func (c *Carriers) readsAuthorization() bool { return c.Bearer || c.readsBasic() }

// reads reports whether c reads anything.
func (c *Carriers) reads() bool {
	return c.readsAuthorization() || len(c.Headers) > 0 || c.Cookie != "" ||
		len(c.Query) > 0
}

// clone returns a copy that the host cannot change.
func (c Carriers) clone() Carriers {
	c.BasicOther, c.Headers = slices.Clone(c.BasicOther), slices.Clone(c.Headers)
	c.TrustedOrigins, c.Query = slices.Clone(c.TrustedOrigins), slices.Clone(c.Query)
	return c
}

// canonical returns a copy with which find allocates nothing for names of headers.
func (c Carriers) canonical() Carriers {
	c.Headers = slices.Clone(c.Headers)
	for i, name := range c.Headers {
		c.Headers[i] = http.CanonicalHeaderKey(name)
	}
	return c
}

// isZero reports whether nothing is set.
func (c *Carriers) isZero() bool {
	return !c.reads() && c.Basic == 0 && c.BasicOther == nil && !c.BasicQuiet && !c.CookieAlone && c.TrustedOrigins == nil
}

// check returns what is wrong with c and what to do, or "".
func (c *Carriers) check() string {
	if !c.reads() {
		return "Carriers reads no carrier: set Bearer or another one"
	}
	switch {
	case c.Basic > BasicIgnored:
		return fmt.Sprintf("Carriers.Basic is %d: use BasicUser, BasicPassword or BasicIgnored", c.Basic)
	case !c.readsBasic() && (c.BasicOther != nil || c.BasicQuiet):
		return "Carriers.BasicOther and BasicQuiet are for BasicUser and BasicPassword: set Basic"
	case c.BasicOther != nil && len(c.BasicOther) == 0:
		return "Carriers.BasicOther is empty: nothing could pass. Leave it nil for an empty other part"
	case c.CookieAlone && c.Cookie == "":
		return "Carriers.CookieAlone is for a Cookie: name one"
	case c.TrustedOrigins != nil && c.Cookie == "" && !c.readsBasic():
		return "Carriers.TrustedOrigins is for Cookie and Basic, of which neither is set: all other carriers are taken " +
			"from any page"
	case c.Cookie != "" && !isHTTPToken(c.Cookie):
		return fmt.Sprintf("Carriers.Cookie %q is no cookie name: use letters, digits, - and _", c.Cookie)
	}
	for _, other := range c.BasicOther {
		if strings.Contains(other, ":") || !utf8.ValidString(other) || strings.ContainsFunc(other, unicode.IsControl) {
			return fmt.Sprintf("Carriers.BasicOther has %q: use UTF-8 without colons and control characters", other)
		}
	}
	for i, name := range c.Headers {
		if !isHTTPToken(name) {
			return fmt.Sprintf("Carriers.Headers has %q: it is no name of a header field", name)
		}
		if reservedHeader(name) {
			return fmt.Sprintf("Carriers.Headers has %q, which has a meaning of its own: use Bearer, Basic or Cookie, or "+
				"another name", name)
		}
		if slices.ContainsFunc(c.Headers[:i], func(h string) bool { return sameVariable(h, name) }) {
			return fmt.Sprintf("Carriers.Headers has %q and another spelling of it: keep one", name)
		}
	}
	for i, name := range c.Query {
		if name == "" || slices.Contains(c.Query[:i], name) {
			return fmt.Sprintf("Carriers.Query has %q, which is empty or there twice", name)
		}
	}
	for _, origin := range c.TrustedOrigins {
		if why := badOrigin(origin); why != "" {
			return fmt.Sprintf("Carriers.TrustedOrigins has %q: %s", origin, why)
		}
	}
	return ""
}

// reservedHeader reports whether a header field has a meaning that a credential must not share.
func reservedHeader(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "authorization", "cookie", "set-cookie", "host", "origin", "referer", "connection", "upgrade", "vary",
		"forwarded", "te", "trailer", "transfer-encoding", "date", "expect", "range", "user-agent", "keep-alive", "via":
		return true
	}
	for _, prefix := range []string{"sec-", "proxy-", "content-", "accept", "if-", "access-control-", "x-forwarded-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Challenges returns the values of WWW-Authenticate for p, one for each carrier that is read (RFC 9110 §11.6.1). Send
// each as a field of its own.
//
//   - Bearer, with the error code of RFC 6750 if p has one;
//   - Basic, for a 401, unless BasicQuiet is set: browsers show a dialog then;
//   - ApiKey for each of Headers and for Cookie, for a 401. No RFC defines that scheme. Its parameters are those of the
//     security scheme "apiKey" of OpenAPI: ApiKey realm="latchkey", in="header", name="X-API-Key".
//
// Query parameters are named only if nothing else is. Every 401 has one challenge at least.
func (c Carriers) Challenges(p Problem, realm string) []string {
	if p.Code == "" && p.Status != http.StatusUnauthorized {
		return nil
	}
	suffix := ""
	if p.Code != "" {
		suffix = `, error="` + p.Code + `"`
	}
	realm = ` realm="` + realm + `"`
	var all []string
	if c.Bearer {
		all = append(all, "Bearer"+realm+suffix)
	}
	if p.Status != http.StatusUnauthorized { // only RFC 6750 says what a challenge in another reply is
		return all
	}
	if c.readsBasic() && !c.BasicQuiet {
		all = append(all, "Basic"+realm+`, charset="UTF-8"`)
	}
	for _, name := range c.Headers {
		all = append(all, "ApiKey"+realm+`, in="header", name="`+name+`"`+suffix)
	}
	if c.Cookie != "" {
		all = append(all, "ApiKey"+realm+`, in="cookie", name="`+c.Cookie+`"`+suffix)
	}
	if all == nil {
		all = []string{"ApiKey" + realm + suffix}
	}
	return all
}

// carriedBy returns the headers that c reads, for Vary, "" if they are Authorization alone: RFC 9111 §3.5 sees to that.
func (c *Carriers) carriedBy() string {
	if len(c.Headers) == 0 && c.Cookie == "" {
		return ""
	}
	var names []string
	if c.readsAuthorization() {
		names = append(names, headerAuthorization)
	}
	names = append(names, c.Headers...)
	if c.Cookie != "" {
		names = append(names, "Cookie")
	}
	return strings.Join(names, ", ")
}
