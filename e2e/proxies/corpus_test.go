package proxies

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// readers take a target for a path as frameworks do. Each returns the path that it would serve.
var readers = map[string]func(target string) string{
	"decodes once":   func(s string) string { return unescape(s) },
	"decodes twice":  func(s string) string { return unescape(unescape(s)) },
	"decodes a plus": func(s string) string { return unescape(strings.ReplaceAll(s, "+", " ")) },
	"removes parameters, then decodes and cleans": func(s string) string {
		parts := strings.Split(s, "/")
		for i := range parts {
			parts[i], _, _ = strings.Cut(parts[i], ";")
		}
		return clean(unescape(strings.Join(parts, "/")))
	},
	"decodes, then removes parameters": func(s string) string {
		parts := strings.Split(unescape(s), "/")
		for i := range parts {
			parts[i], _, _ = strings.Cut(parts[i], ";")
		}
		return strings.Join(parts, "/")
	},
	"cleans, then decodes":     func(s string) string { return unescape(clean(s)) },
	"takes backslashes":        func(s string) string { return clean(strings.ReplaceAll(unescape(s), `\`, "/")) },
	"ends at NUL":              func(s string) string { s, _, _ = strings.Cut(unescape(s), "\x00"); return s },
	"ends at an encoded query": func(s string) string { s, _, _ = strings.Cut(unescape(s), "?"); return s },
	"ends at a fragment":       func(s string) string { s, _, _ = strings.Cut(unescape(s), "#"); return s },
	"drops invalid UTF-8":      func(s string) string { return strings.ToValidUTF8(unescape(s), "") },
	"decodes dots before slash": func(s string) string {
		return unescape(clean(strings.ReplaceAll(strings.ToLower(s),
			"%2e", ".")))
	},
}

// unescape decodes what can be decoded, as lenient frameworks do.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func clean(s string) string {
	if s == "" || s[0] != '/' {
		return s
	}
	out := path.Clean(s)
	if strings.HasSuffix(s, "/") && out != "/" {
		out += "/"
	}
	return out
}

// pathOf is the path of a target in any form.
func pathOf(target string) string {
	if rest, ok := strings.CutPrefix(strings.ToLower(target), "http://"); ok {
		target = target[len(target)-len(rest):]
		if at := strings.IndexByte(target, '/'); at >= 0 {
			target = target[at:]
		}
	}
	target, _, _ = strings.Cut(target, "?")
	return target
}

// judge checks all that reached the backend against what was asked: a request is served only if the same method and
// target were asked about and allowed, no more often than that, and if every reader takes it for what was asked.
func (p *proxy) judge(t testing.TB) (passed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	allowed := map[string][]question{}
	for _, q := range p.asked {
		if q.status == http.StatusOK {
			allowed[q.probe] = append(allowed[q.probe], q)
		}
	}
	for _, s := range p.served {
		// Caddy 2.6 may ask the backend in place of latchkey. What it answers lets nothing pass. Only Caddy itself names
		// the target of a question, and no other.
		asks := s.get("x-forwarded-uri")
		if p.name == "caddy" && s.method == "GET" && s.target == "/auth" && s.get("latchkey-owner") == "" &&
			asks != "" && pathOf(asks) != "/auth" {
			continue
		}
		id := s.get(probe)
		about := fmt.Sprintf("%q %q %q", s.method, s.target, s.headers)
		require.NotEmpty(t, allowed[id], "served, and never allowed: %s", about)
		q := allowed[id][0]
		allowed[id] = allowed[id][1:]
		require.Equal(t, q.method, s.method, about)
		require.Equal(t, q.target, s.target, about)
		want := unescape(pathOf(q.target))
		for name, read := range readers {
			got := read(pathOf(s.target))
			if strings.Contains(name, "ToLower") || name == "decodes dots before slash" {
				require.True(t, strings.EqualFold(want, got), "%s: %q: %s", name, got, about)
				continue
			}
			require.Equal(t, want, got, "%s: %s", name, about)
		}
		require.True(t, strings.HasPrefix(s.target, "/"), about)
		for _, name := range identityHeaders {
			var want []string
			if v := q.identity.Get(name); v != "" {
				want = []string{v}
			}
			got := s.all(name)
			if len(got) == 1 && got[0] == "" {
				got = nil
			}
			require.Equal(t, want, got, "%s: %s", name, about)
		}
		require.Equal(t, "acme", s.get("latchkey-owner"), about)
		for _, h := range s.headers {
			name := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(h[0]))
			require.False(t, strings.HasPrefix(name, "latchkey-") && !strings.Contains(
				"|"+strings.ToLower(strings.Join(identityHeaders, "|"))+"|", "|"+name+"|"), about)
			require.NotContains(t, []string{"x-http-method-override", "x-http-method", "x-method-override", "x-original-url",
				"x-rewrite-url", "authorization"}, name, about)
		}
		require.False(t, s.get("content-length") != "" && s.get("transfer-encoding") != "", "two lengths: %s", about)
		require.LessOrEqual(t, len(s.all("content-length")), 1, about)
		require.Contains(t, []string{"", "chunked"}, s.get("transfer-encoding"), about)
		passed++
	}
	return passed
}

// raw is a request as bytes. {probe}, {key} and {host} stand for what they say.
type raw struct {
	bytes string
	ok    bool // it must be served: a positive control
}

// send sends a request on a connection of its own, and waits until the proxy has closed it or has answered twice as
// many requests as there may be in it.
func (p *proxy) send(t testing.TB, r raw, key string) (id, reply string) {
	t.Helper()
	id = nextProbe()
	conn, err := net.Dial("tcp", p.addr)
	require.NoError(t, err)
	defer conn.Close()
	text := strings.NewReplacer("{probe}", id, "{key}", key, "{host}", p.addr).Replace(r.bytes)
	// A proxy that refuses early closes the connection while it is written.
	go conn.Write([]byte(text))
	// What waits for more than was sent is of no interest. What was served of it is judged at the end.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(map[bool]time.Duration{true: time.Minute,
		false: 2 * time.Second}[r.ok])))
	var b strings.Builder
	in := bufio.NewReader(conn)
	for {
		c, err := in.ReadByte()
		if err != nil {
			return id, b.String()
		}
		b.WriteByte(c)
	}
}

// get is a request for a target, with headers as lines.
func get(target string, lines ...string) string { return request("GET", target, lines...) }

func request(method, target string, lines ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: {host}\r\nX-Probe: {probe}\r\n")
	b.WriteString("Authorization: Bearer {key}\r\nConnection: close\r\n")
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	return b.String() + "\r\n"
}

// second is a request that is smuggled, for what the key may not read, or without a key.
const second = "GET /data/payroll HTTP/1.1\r\nHost: x\r\nX-Probe: {probe}\r\nX-Second: yes\r\n" +
	"Latchkey-Owner: acme\r\n\r\n"

// corpus returns the requests of all tests.
func corpus() (list []raw) {
	for _, target := range []string{"/data/orders", "/data/orders?a=b", "/data/%C3%B6", "/data/a%20b",
		"/data/a!$&'()*,=:@~-._",
		"/files/a/b/c", "/data/orders/public"} {
		list = append(list, raw{get(target), true})
	}
	add := func(texts ...string) {
		for _, text := range texts {
			list = append(list, raw{bytes: text})
		}
	}
	for _, target := range []string{
		// Dots, in every spelling.
		"/data/orders/../payroll", "/data/../data/payroll", "/data/./orders", "/data/orders/.", "/data/orders/..",
		"/data/%2e%2e/data/payroll", "/data/%2E%2E/admin/secret", "/files/%2e%2e/admin/secret", "/files/..%2fadmin/secret",
		"/files/.%2e/admin/secret", "/files/%2e./admin/secret", "/files/a/../../admin/secret",
		"/files/a/..;/..;/admin/secret",
		"/files/..;/admin/secret", "/files/;/../admin/secret", "/files/.;/admin", "/files/..%3b/admin/secret",
		"/../admin/secret",
		"/..", "/.", "/%2e", "/%2e%2e/", "/files/...", "/files/..%00/admin/secret", "/files/..\\admin\\secret",
		"/files/..%5cadmin",
		"/files/%2e%2e%2fadmin%2fsecret", "/files/%252e%252e%252fadmin%252fsecret", "/files/%252e%252e/admin/secret",
		"/files/%c0%ae%c0%ae/admin/secret", "/files/%u002e%u002e/admin/secret", "/files/..%c0%afadmin",
		"/files/..%ef%bc%8fadmin",
		// Slashes.
		"//data/orders", "/data//orders", "/data///payroll", "/data/orders//", "//admin/secret", "/files//admin/secret",
		"///",
		"//", "/data/orders/", "/%2fadmin/secret", "/data%2fpayroll", "/data%2Forders", "/data/a%2fb", "/data/%2f",
		"/\\admin/secret",
		"\\admin\\secret", "/data\\payroll", "/data%5cpayroll", "/data/orders%2f..%2fpayroll", "/data/orders%5c..%5cpayroll",
		"/data/%2e%2e%5cadmin", "/data%252fpayroll", "/data/a%252fb", "/data/%25%32%66", "/data/%2%66", "/data/%%2f",
		"/data/%",
		"/data/%2", "/data/%zz", "/data/%g0", "/data/a%", "/data/%25", "/data/%2525", "/data/%c3%28", "/data/%ff%fe",
		"/data/%ed%a0%80",
		// Parameters, fragments, queries.
		"/data/orders;x", "/data/orders;/../payroll", "/data/payroll;/public", "/data;x/orders", "/data/;/payroll",
		"/;/data/orders",
		"/data/orders%3bx", "/data/payroll%3b/public", "/data/payroll%3f/public", "/data/payroll?/public",
		"/data/payroll#/public",
		"/data/payroll%23/public", "/data/payroll%00/public", "/data/payroll%0a/public", "/data/payroll%0d%0a/public",
		"/data/payroll%20/public", "/data/payroll%09/public", "/data/orders#", "/data/orders#payroll", "/data/orders?#", "/#",
		"/?",
		"/data/orders%20HTTP/1.1%0d%0aX:%20y", "/data/orders?%0d%0aX: y", "/data/orders?a b", "/data/orders\t",
		"/data/or\tders",
		"/data/orders?_method=DELETE", "/data/orders?_method=delete&a=b", "/data/orders?%5fmethod=DELETE", "/data/orders?a;b",
		"/data/orders?a=%", "/data/orders?a=\xff", "/data/orders?a=ö", "/data/orders?", "/data/orders??", "/data/orders?a?b",
		// Needless escapes and other characters.
		"/data/%6frders", "/data/%70ayroll", "/dat%61/payroll", "/%64ata/payroll", "/data/pay%72oll", "/admin%2fsecret",
		"/%61dmin/secret",
		"/data/payroll%2e", "/data/payroll.", "/data/a+b", "/data/a%2bb", "/data/ö", "/data/\xff", "/data/a|b", "/data/a^b",
		"/data/{a}",
		"/data/<a>", "/data/\"a\"", "/data/`a`", "/data/[a]", "/data/a\x00b", "/data/a\x01b", "/data/a\x7fb", "/DATA/orders",
		"/Data/payroll", "/data/PAYROLL", "/ADMIN/secret", "/data/orders/PUBLIC", "/data/payroll/Public",
		"/data/payroll/public/",
		"/data/payroll/public//", "/data/payroll/./public", "/data/payroll/x/../public",
		// Forms of targets.
		"http://{host}/data/orders", "http://{host}/data/payroll", "http://other/data/orders", "HTTP://{host}/data/orders",
		"https://{host}/data/orders", "http://{host}@other/data/orders", "http://{host}//data/orders",
		"http://{host}?/data/orders",
		"http://{host}#/data/orders", "http:/data/orders", "http:data/orders", "ftp://{host}/data/orders", "*", "",
		"data/orders",
		"./data/orders", "?", "#", "@/data/orders", ":80/data/orders", "{host}", "{host}/data/orders", "x:/data/orders",
		"/data/" + strings.Repeat("a", 3000), "/data/" + strings.Repeat("a", 7000), "/data/" + strings.Repeat("a", 20000),
		"/data/" + strings.Repeat("a/", 2000), "/" + strings.Repeat("../", 500) + "admin/secret", "/data/orders?" +
			strings.Repeat("a", 7000),
	} {
		add(get(target))
	}
	// Methods.
	for _, method := range []string{"HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Get", "GETS",
		"G ET",
		"GET\t", "GET\x00", "PROPFIND", "POST\r\nX: GET", " GET", "GET /data/orders HTTP/1.1\r\nX: x\r\n\r\nGET",
		"\x16\x03"} {
		add(request(method, "/data/orders"), request(method, "/data/payroll"))
	}
	add(request("CONNECT", "{host}"), request("CONNECT", "/data/orders"), request("OPTIONS", "*"),
		request("OPTIONS", "/data/orders", "Origin: https://a.example", "Access-Control-Request-Method: GET"))
	// Headers by which the caller speaks for the proxy, or overrides what it asks for.
	for _, name := range []string{"X-Original-URI", "X-Original-Uri", "x-original-uri", "X_Original_URI", "X-Original_URI",
		"X.Original.URI", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X_Forwarded_Uri", "X-Forwarded-URI",
		"X-Forwarded-Path"} {
		add(get("/data/payroll", name+": /data/orders"), get("/data/payroll", name+": /data/orders", name+": /data/orders"),
			get("/data/orders", name+": /data/payroll"))
	}
	for _, name := range []string{"X-Original-Method", "X_Original_Method", "X-Forwarded-Method", "X_Forwarded_Method",
		"X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-Http-Method", "X-Method-Override", "X-METHOD-OVERRIDE"} {
		add(request("DELETE", "/data/orders", name+": GET"), get("/data/orders", name+": DELETE"),
			request("POST", "/data/orders", name+": GET", "Content-Length: 0"))
	}
	for _, name := range []string{"Latchkey-Owner", "latchkey-owner", "LATCHKEY-OWNER", "Latchkey_Owner", "LATCHKEY_OWNER",
		"latchkey.owner", "Latchkey-Owner ", "Latchkey-Token", "Latchkey_Token", "Latchkey-Client", "Latchkey_Client",
		"Latchkey-Rows",
		"Latchkey_Rows", "Latchkey-Roles", "Latchkey-Kind", "Latchkey-Status", "Latchkey-Extra", "Latchkey"} {
		add(get("/data/orders", name+": evil"), get("/other", name+": evil"), get("/data/orders", name+": evil",
			name+": worse"))
	}
	for _, names := range []string{"Latchkey-Owner", "close, Latchkey-Owner", "latchkey-owner, close", "Latchkey-Rows",
		"X-Original-URI",
		"X-Forwarded-Uri, X-Forwarded-Method", "Authorization", "X-Forwarded-For", "close, LATCHKEY-OWNER"} {
		add("GET /data/orders HTTP/1.1\r\nHost: {host}\r\nX-Probe: {probe}\r\nAuthorization: Bearer {key}\r\nConnection: " +
			names +
			"\r\nConnection: close\r\n\r\n")
	}
	for _, line := range []string{"X-Forwarded-For: 203.0.113.1", "X_Forwarded_For: 203.0.113.1",
		"X-Forwarded-For: garbage",
		"Forwarded: for=203.0.113.1", "X-Real-IP: 203.0.113.1", "X-Forwarded-Host: other", "X-Forwarded-Proto: https",
		"X-Forwarded-Prefix: /admin", "Authorization: Bearer other", "Host: other", "Transfer-Encoding: identity",
		"X-Accel-Redirect: /data/payroll", "X-Sendfile: /etc/passwd", "Upgrade: h2c", "Upgrade: websocket",
		"Expect: 100-continue",
		"Content-Length: 0", "Range: bytes=0-1", "TE: trailers", "Trailer: Latchkey-Owner", "If-None-Match: *",
		"Script_Name: /admin"} {
		add(get("/data/orders", line), get("/data/payroll", line))
	}
	// Requests in requests.
	n := strconv.Itoa(len(second))
	body := func(lines string, text string) string {
		return "POST /data/orders HTTP/1.1\r\nHost: {host}\r\nX-Probe: {probe}\r\nAuthorization: Bearer {key}\r\n" + lines +
			"\r\n" + text
	}
	for _, lines := range []string{
		"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: " + n + "\r\n",
		"Content-Length: " + n + "\r\nContent-Length: 0\r\n", "Content-Length: 0\r\nContent-Length: " + n + "\r\n",
		"Content-Length: 0, " + n + "\r\n", "Content-Length: +0\r\n", "Content-Length: -1\r\n", "Content-Length: 0x0\r\n",
		"Content-Length : 0\r\n", "Content-Length:\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding: identity, chunked\r\n",
		"Transfer-Encoding: \tchunked\r\n",
		"Transfer-Encoding:\x0bchunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"Transfer_Encoding: chunked\r\nContent-Length: 0\r\n", "Content_Length: " + n + "\r\n", "X: y\nContent-Length: 0\r\n",
		"X: y\rContent-Length: 0\r\n", " Content-Length: 0\r\n", "X: y\r\n Content-Length: 0\r\n",
		"Transfer-Encoding: chunked\n\r\n",
	} {
		add(body(lines, "0\r\n\r\n"+second), body(lines, second))
	}
	for _, chunk := range []string{"0\r\n\r\n", "0;a=b\r\n\r\n", "0\n\n", "00000000000000000\r\n\r\n", "0x0\r\n\r\n",
		"-1\r\n\r\n", " 0\r\n\r\n",
		"0 \r\n\r\n", "0\r\nLatchkey-Owner: evil\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "ffffffffffffffff\r\n",
		"1;\n\nx\r\n0\r\n\r\n"} {
		add(body("Transfer-Encoding: chunked\r\n", chunk+second))
	}
	add("GET /data/orders\r\n\r\n"+second,
		"GET /data/orders HTTP/1.0\r\nX-Probe: {probe}\r\nAuthorization: Bearer {key}\r\n\r\n",
		"GET /data/orders HTTP/9.9\r\nHost: {host}\r\n\r\n", "GET /data/orders HTTP/1.1\r\n\r\n",
		"\r\n\r\n"+get("/data/payroll"),
		strings.ReplaceAll(get("/data/payroll"), "\r\n", "\n"), "GET  /data/payroll  HTTP/1.1\r\nHost: {host}\r\n\r\n",
		"GET /data/orders HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\nX-Probe: {probe}\r\nAuthorization: Bearer {key}\r\n\r\n",
		"GET /data/orders /data/payroll HTTP/1.1\r\nHost: {host}\r\nX-Probe: {probe}\r\nAuthorization: Bearer {key}\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+second, get("/data/orders", "X: "+strings.Repeat("a", 30000)))
	return list
}

// TestTargets sends raw requests, and a random sample of more, through each real proxy.
func TestTargets(t *testing.T) {
	list := corpus()
	require.Greater(t, len(list), 200)
	seed := rand.Uint64()
	if s := os.Getenv("SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("%d requests; SEED=%d repeats the random ones", len(list), seed)
	random := randomRequests(rand.New(rand.NewPCG(seed, 0)), harness.Rounds(300, 20000))
	onRealProxies(t, func(t *testing.T, p *proxy) {
		_, key := p.issue(latchkey.Settings{})
		work := make(chan raw)
		done := make(chan struct{})
		const workers = 16 // few wait for a deadline
		for range workers {
			go func() {
				defer func() { done <- struct{}{} }()
				for r := range work {
					id, reply := p.send(t, r, key)
					if r.ok && len(p.reached(id)) != 1 {
						t.Errorf("not served: %q: %q", r.bytes, reply)
					}
				}
			}()
		}
		for _, r := range append(list, random...) {
			work <- r
		}
		close(work)
		for range workers {
			<-done
		}
		passed := p.judge(t)
		t.Logf("%s served %d of %d requests, each as it was asked about", p.name, passed, len(list)+len(random))
		require.Greater(t, passed, 10)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, s := range p.served {
			require.NotEqual(t, "/data/payroll", pathOf(s.target))
			require.NotEqual(t, "/admin/secret", pathOf(s.target))
			require.Empty(t, s.get("x-second"), "%s %s", s.method, s.target)
		}
	})
}

// randomRequests puts targets together from pieces that readers differ about.
func randomRequests(r *rand.Rand, n int) (list []raw) {
	pieces := []string{"/", "/", "/", "data", "data", "orders", "payroll", "admin", "secret", "files", "public", "..", ".",
		"%2e",
		"%2f", "%5c", "\\", ";", "%3b", "?", "#", "%23", "%3f", "%00", "%25", "%252e", "+", "%20", " ", "//", "/./", "/../",
		"%c3%b6",
		"%ff", "ö", "A", "=", "&", "_method=", "http://", "{host}", "@", ":", "*", "\t", "%", "%0a"}
	headers := []string{"X-Original-URI: /data/orders", "X-Forwarded-Uri: /data/orders", "X-HTTP-Method-Override: GET",
		"Latchkey-Owner: evil", "Latchkey_Owner: evil", "X_Forwarded_Uri: /data/orders", "Connection: Latchkey-Owner",
		"Content-Length: 0", "X-Rewrite-URL: /data/payroll", "X-Forwarded-Method: GET"}
	for range n {
		var target strings.Builder
		if r.IntN(8) > 0 {
			target.WriteString([]string{"/data/", "/files/", "/"}[r.IntN(3)])
		}
		for range 1 + r.IntN(6) {
			target.WriteString(pieces[r.IntN(len(pieces))])
		}
		var lines []string
		for r.IntN(4) == 0 {
			lines = append(lines, headers[r.IntN(len(headers))])
		}
		list = append(list, raw{bytes: request([]string{"GET", "GET", "GET", "DELETE", "POST", "HEAD"}[r.IntN(6)],
			target.String(), lines...)})
	}
	return list
}
