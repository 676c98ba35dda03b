package frameworks

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// journal is a log that a server writes and a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// denied are the names that the key in these tests may not access. It may access every other one.
var denied = []string{"payroll", "sub/secret", "payrol%6C"}

func issue(t *testing.T, account latchkey.Account, kind latchkey.Kind, p latchkey.Permissions) string {
	t.Helper()
	_, secret, err := account.Issue(context.Background(), latchkey.Spec{Kind: kind,
		Permissions: p})
	require.NoError(t, err)
	return secret.Reveal()
}

func start(t *testing.T, rt router, change func(*httpadapter.Options)) (addr, key, root string, log *journal) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*", "file/*")}
	for _, name := range denied {
		rules = append(rules, latchkey.Deny(latchkey.Any).On(
			latchkey.Pattern(latchkey.Path("dataset", name)), latchkey.Pattern(latchkey.Path("file", name))))
	}
	log = &journal{}
	opts := &httpadapter.Options{PathValue: rt.hook, Logger: slog.New(slog.NewTextHandler(log, nil))}
	change(opts)
	auth := httpadapter.New(keys, opts)
	addr = rt.start(t, guards{
		data: auth.Require(latchkey.Read, "dataset/{id}"),
		file: func(next http.Handler) http.Handler {
			looks := func(w http.ResponseWriter, r *http.Request) {
				_, _ = httpadapter.RowsFrom(r.Context())
				next.ServeHTTP(w, r)
			}
			return auth.RequireRows(latchkey.Read, "file/{"+rt.rest+"}")(http.HandlerFunc(looks))
		},
		lost: auth.Require(latchkey.Read, "dataset/{name}"),
	})
	return addr, issue(t, acme, latchkey.KindAPIKey, rules), issue(t, acme, latchkey.KindSecret, nil), log
}

func readingsOf(t *testing.T, body string) (readings []string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &readings))
	return readings
}

func as(key string) []string { return []string{"Authorization", "Bearer " + key} }

// spellings are targets that name, or could be read as, a denied name.
var spellings = []string{
	"payroll", "payrol%6C", "payrol%6c", "%70ayroll", "%70%61%79%72%6f%6c%6c", "payrol%256C", "payrol%25256C",
	"payrol%25%36%43",
	"%2570ayroll", "payroll/", "payroll%2F", "payroll%2f", "payroll//", "%2Fpayroll", "/payroll", "//payroll", "./payroll",
	"%2E/payroll", "%2e%2fpayroll", "x/../payroll", "x/%2e%2e/payroll", "x%2F..%2Fpayroll", "x%2f%2e%2E%2Fpayroll",
	"x%5C..%5Cpayroll", `x\..\payroll`, "x%252F..%252Fpayroll", "..%2Fdata%2Fpayroll", "%2e%2e/data/payroll",
	"../data/payroll",
	"payroll/.", "payroll%2F.", "payroll/x/..", "payroll?x=1", "payroll;x", "payroll%3Bx", "payroll%00", "PAYROLL",
	"payroll%20",
	"payroll+", "+payroll", "payroll%2B", "pay+%72oll", "pay%20%72oll", "payroll%23", "payroll%3F", "%C3%B1payroll",
	"%FFpayroll",
	"sub/secret", "sub%2Fsecret", "sub%2fsecret", "sub%252Fsecret", "sub//secret", "sub/./secret", "sub/x/../secret",
	"sub/secret/",
	"sub/secre%74", "sub%2Fsecre%74", "/sub/secret", "sub%2F%2Fsecret", "sub%5Csecret", "sub+/secret", "x/../sub/secret",
	".", "..", "%2e", "%2E%2E", "%2F", "%252e", "", "%", "%25", "%zz", "*", "%2A", "{id}", "%7Bid%7D", "a%0Ab", "a%0D%0Ab",
}

// If a request is served, however its target is spelt, all ways to read it agree on one name, which is not denied.
func TestWhatIsServedIsWhatWasAsked(t *testing.T) {
	for _, rt := range routers {
		t.Run(rt.name, func(t *testing.T) {
			addr, key, _, log := start(t, rt, func(*httpadapter.Options) {})
			served := 0
			for _, prefix := range []string{"/data/", "/file/", "/data//", "//data/", "/./data/", "/x/../file/", "/%64ata/",
				"/DATA/", "/fil%65/"} {
				for _, s := range spellings {
					status, body, _ := send(t, addr, "GET", prefix+s, as(key)...)
					require.NotEqual(t, 401, status, s)
					require.NotEqual(t, 418, status, s)
					if status != 200 {
						continue
					}
					served++
					readings := readingsOf(t, body)
					for _, r := range readings {
						require.NotContains(t, denied, r, "%s%s is served", prefix, s)
						if prefix == "/data/" || prefix == "/file/" {
							require.Equal(t, readings[0], r, "%s%s could mean two things", prefix, s)
						}
					}
				}
			}
			require.NotZero(t, served)
			if rt.name != "echo v5, its own WrapMiddleware" { // it cannot detect an empty value
				require.Empty(t, log.take(), "no caller makes the program seem wrong")
			}
		})
	}
}

// A target that can be read in one way only is served, on every router.
func TestPlainValuesPass(t *testing.T) {
	for _, rt := range routers {
		t.Run(rt.name, func(t *testing.T) {
			addr, key, root, _ := start(t, rt, func(*httpadapter.Options) {})
			get := func(target, key string) (int, string) {
				status, body, _ := send(t, addr, "GET", target, as(key)...)
				if status != 200 {
					return status, ""
				}
				return status, readingsOf(t, body)[0]
			}
			for _, name := range []string{"orders", "Orders", "a-b_c.d~e", "a@b", "a:b", "a=b", "a&b", "x...y", "%"} {
				if name == "%" && (rt.escaped || rt.raw) {
					continue // below
				}
				target := strings.ReplaceAll(name, "%", "%25")
				status, value := get("/data/"+target, key)
				require.Equal(t, 200, status, name)
				require.Equal(t, name, value)
			}
			// encoded as Go does
			for target, name := range map[string]string{"caf%C3%A9": "café", "a%20b": "a b", "50%25": "50%"} {
				status, value := get("/data/"+target, key)
				if rt.escaped {
					require.Equal(t, 400, status, target)
					continue
				}
				require.Equal(t, 200, status, target)
				require.Equal(t, name, value)
			}
			for target, name := range map[string]string{"order%73": "orders", "caf%c3%a9": "café", "a%2520b": "",
				"payrol%6C": "payroll", "x%2541": ""} {
				status, value := get("/data/"+target, key)
				switch {
				case rt.raw || name == "":
					require.Equal(t, 400, status, "%s is served as %s", target, value)
				case slices.Contains(denied, name):
					require.Equal(t, 403, status, target)
				default:
					require.Equal(t, 200, status, target)
					require.Equal(t, name, value)
				}
			}
			want := 200
			if rt.decodes == "always" {
				want = 400
			}
			status, _ := get("/data/a+b", key)
			require.Equal(t, want, status, "a plus")
			if rt.decodes != "" {
				status, _ = get("/data/a+%62", key)
				require.Equal(t, 400, status, "a plus that became a space")
			}

			status, _ = get("/data/payroll", key)
			require.Equal(t, 403, status)
			status, _ = get("/data/payroll", root)
			require.Equal(t, 200, status)
			status, value := get("/file/pub/a.txt", key)
			require.Equal(t, 200, status)
			require.Equal(t, "pub/a.txt", value)
			status, _ = get("/file/sub/secret", key)
			require.Equal(t, 403, status)
			status, _ = get("/file/sub/secret", root)
			require.Equal(t, 200, status)
		})
	}
}

// If the host states that values are decoded, literal escapes are ordinary names.
func TestLiteralEscapes(t *testing.T) {
	for _, rt := range routers {
		t.Run(rt.name, func(t *testing.T) {
			addr, key, root, _ := start(t, rt, func(o *httpadapter.Options) { o.PathValuesDecoded = true })
			decodes := !rt.raw && !rt.escaped
			for _, tt := range []struct {
				target, key   string
				decoded, lied int
			}{
				{"/data/x%2541", key, 200, 400},
				{"/data/payrol%256C", key, 403, 400}, // the name "payrol%6C" is denied, too
				{"/data/payrol%256C", root, 200, 400},
				{"/data/payrol%6C", key, 403, 400},
				{"/data/payrol%6C", root, 200, 400},
			} {
				status, _, _ := send(t, addr, "GET", tt.target, as(tt.key)...)
				switch {
				case decodes:
					require.Equal(t, tt.decoded, status, tt.target)
				case rt.escaped || tt.lied == 400 && strings.Contains(tt.target, "%6C"):
					require.Equal(t, 400, status, "%s: the promise is seen to be broken", tt.target)
				}
			}
		})
	}
}

// A wildcard that the route does not have is a bug of the program, for every caller.
func TestLostWildcard(t *testing.T) {
	for _, rt := range routers {
		t.Run(rt.name, func(t *testing.T) {
			addr, key, root, log := start(t, rt, func(*httpadapter.Options) {})
			for _, token := range []string{key, root} {
				status, body, _ := send(t, addr, "GET", "/lost/orders", as(token)...)
				require.Equal(t, 500, status)
				require.NotContains(t, body, "wildcard")
				line := log.take()
				require.Contains(t, line, `no value for the wildcard \"name\"`)
				require.Contains(t, line, "name the wildcard as the route does")
			}
			status, _, _ := send(t, addr, "GET", "/lost/orders")
			require.Equal(t, 401, status)
		})
	}
}

// A framework whose values are not available fails at the first request, with status 500 and a log line, never with
// 403.
func TestForgottenHook(t *testing.T) {
	for _, rt := range routers {
		if rt.hook == nil || rt.name == "chi, values unescaped" {
			continue
		}
		t.Run(rt.name, func(t *testing.T) {
			addr, key, root, log := start(t, rt, func(o *httpadapter.Options) { o.PathValue = nil })
			for _, token := range []string{key, root} {
				status, _, _ := send(t, addr, "GET", "/data/orders", as(token)...)
				require.Equal(t, 500, status)
				require.Contains(t, log.take(), "set Options.PathValue")
			}
		})
	}
}

// Refusals and headers pass through every framework, and a refused request reaches no handler.
func TestRefusals(t *testing.T) {
	for _, rt := range routers {
		t.Run(rt.name, func(t *testing.T) {
			addr, key, _, _ := start(t, rt, func(*httpadapter.Options) {})
			status, body, header := send(t, addr, "GET", "/data/orders")
			require.Equal(t, 401, status)
			require.Equal(t, `Bearer realm="latchkey"`, header.Get("WWW-Authenticate"))
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Contains(t, body, "no-credential")
			status, body, _ = send(t, addr, "GET", "/data/payroll", as(key)...)
			require.Equal(t, 403, status)
			require.Contains(t, body, "problem/denied")
			if rt.name == "fiber v3, its own adaptor" {
				return // it keeps the last of several headers
			}
			status, _, _ = send(t, addr, "GET", "/data/orders", append(as(key), as(key)...)...)
			require.Equal(t, 400, status, "two credentials")
		})
	}
}

func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	m.Run()
}
