package latchkeymcp_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

const denied = 403

func TestToolsAreChecked(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))

	ok := post(t, url, token, tool("read", `{"id":"orders"}`))
	require.Equal(t, 200, ok.Status, ok.Body)
	require.Equal(t, "read orders for acme", ok.text())

	for name, body := range map[string]string{
		"another dataset":           tool("read", `{"id":"payroll"}`),
		"another action":            tool("drop", `{"id":"orders"}`),
		"no rule":                   tool("unmapped", `{"id":"orders"}`),
		"no such tool":              tool("nosuch", `{"id":"orders"}`),
		"another case":              tool("Read", `{"id":"orders"}`),
		"case of the argument":      tool("read", `{"id":"Orders"}`),
		"a look-alike (Cyrillic е)": tool("rеad", `{"id":"orders"}`),
		"full width":                tool("ｒead", `{"id":"orders"}`),
		"an invisible character":    tool("read\u200b", `{"id":"orders"}`),
		"a space":                   tool(" read", `{"id":"orders"}`),
		"no name":                   tool("", `{"id":"orders"}`),
		"an unknown method":         method("tools/execute", `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			got := post(t, url, token, body)
			if got.Status == 400 { // a method that the SDK does not have
				require.Contains(t, body, "tools/execute")
				return
			}
			require.Equal(t, denied, got.code(), got.Body)
			require.Equal(t, "Forbidden", got.Error.Message)
			require.Equal(t, 403, got.Error.Data.Status)
			require.Empty(t, got.Result)
		})
	}
}

// What is denied, what no rule names and what does not exist are answered alike.
func TestDenialsDoNotTellWhatExists(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme")
	first := post(t, url, token, tool("read", `{"id":"orders"}`))
	require.Equal(t, denied, first.code(), first.Body)
	for _, name := range []string{"drop", "unmapped", "nosuch"} {
		require.Equal(t, first.Body, post(t, url, token, tool(name, `{"id":"orders"}`)).Body, name)
	}
}

func TestArgumentsThatMeanTwoThingsAreRefused(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/*"))
	require.Equal(t, "read a b for acme", post(t, url, token, tool("read", `{"id":"a b"}`)).text())
	require.Equal(t, "read 100% for acme", post(t, url, token, tool("read", `{"id":"100%"}`)).text())

	for name, arguments := range map[string]string{
		"missing":               `{}`,
		"null":                  `{"id":null}`,
		"of another case":       `{"ID":"orders"}`,
		"empty":                 `{"id":""}`,
		"a dot":                 `{"id":"."}`,
		"two dots":              `{"id":"a/../orders"}`,
		"two dots, backslash":   `{"id":"a\\..\\orders"}`,
		"an empty segment":      `{"id":"a//b"}`,
		"a slash at the end":    `{"id":"a/"}`,
		"escaped":               `{"id":"a%2Fb"}`,
		"a bool":                `{"id":true}`,
		"a list":                `{"id":["orders"]}`,
		"an object":             `{"id":{"id":"orders"}}`,
		"a fraction":            `{"id":1.0}`,
		"an exponent":           `{"id":1e3}`,
		"minus zero":            `{"id":-0}`,
		"54 bits":               `{"id":9007199254740993}`,
		"arguments in a string": `"{\"id\":\"orders\"}"`,
		"arguments in a list":   `[{"id":"orders"}]`,
		"no arguments":          `null`,
	} {
		t.Run(name, func(t *testing.T) {
			got := post(t, url, token, tool("read", arguments))
			require.Equal(t, -32602, got.code(), got.Body)
			require.Equal(t, 400, got.Error.Data.Status)
			require.NotEmpty(t, got.Error.Data.Field)
			require.NotEmpty(t, got.Error.Data.Detail)
		})
	}
}

// An integer is read alike by everybody, and names what the same text names.
func TestIntegerArguments(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Tools["count"] = latchkeymcp.Rule{Action: latchkey.Read, Resource: "order/{filter.id}/{n}"}
	server := newServer()
	var raw string
	addRaw(server, "count", &raw)
	url := start(t, guarded(kit, opts, server))
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("order/7/-12", "order/a b/9007199254740991"))
	for arguments, allowed := range map[string]bool{
		`{"filter":{"id":7},"n":-12}`:                      true,
		`{"filter":{"id":"7"},"n":"-12"}`:                  true,
		`{"n":9007199254740991,"filter":{"id":"a b"}}`:     true,
		`{"n":-12,"filter":{"id":8}}`:                      false,
		`{"n":-12,"filter.id":7,"filter":{"id":8}}`:        false, // a name with a dot is another one
		`{"n":-12,"id":7,"filter":{"id":{"id":7}}}`:        false,
		`{"n":-12,"filter":"7"}`:                           false,
		`{"n":-12,"filter":null}`:                          false,
		`{"n":-12,"filter":{}}`:                            false,
		`{"n":-12}`:                                        false,
		`{"n":-12,"filter":[{"id":7}]}`:                    false,
		`{"n":[-12],"filter":{"id":7}}`:                    false,
		`{"n":-12,"filter":{"id":7,"Id":8}}`:               false, // encoding/json would take either
		`{"n":-12,"filter":{"id":7},"x":{"a":1,"a":2}}`:    false, // what the check does not read, too
		`{"n":-12,"filter":{"id":7},"x":"\ud800"}`:         false, // a lone surrogate
		`{"n":-12,"filter":{"id":7},"x":` + deep(31) + `}`: true,
		`{"n":-12,"filter":{"id":7},"x":` + deep(32) + `}`: false,
	} {
		raw = ""
		got := post(t, url, token, tool("count", arguments))
		if allowed {
			require.Equal(t, "counted", got.text(), "%s: %s", arguments, got.Body)
			require.JSONEq(t, arguments, raw, "the tool reads what was checked")
			continue
		}
		require.Empty(t, raw, "%s: the tool must not run: %s", arguments, got.Body)
		require.Empty(t, got.Result, arguments)
	}
}

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// The HTTP side refuses these before the SDK reads them: two readers could take them for different requests.
func TestMessagesThatMeanTwoThingsAreRefused(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := serve(t, kit, rules())
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	good := tool("read", `{"id":"orders"}`)
	require.Equal(t, 200, post(t, url, token, good).Status)
	for name, body := range map[string]string{
		"two ids of a dataset":    tool("read", `{"id":"orders","id":"payroll"}`),
		"two names":               method("tools/call", `{"name":"read","name":"drop","arguments":{"id":"orders"}}`),
		"two arguments":           method("tools/call", `{"name":"read","arguments":{"id":"orders"},"arguments":{"id":"x"}}`),
		"two methods":             strings.Replace(good, `"method"`, `"method":"ping","method"`, 1),
		"methods of two cases":    strings.Replace(good, `"method"`, `"Method":"ping","method"`, 1),
		"an escaped second name":  strings.Replace(good, `"name"`, `"n\u0061me":"drop","name"`, 1),
		"a batch of one":          "[" + good + "]",
		"a batch":                 " \n[" + good + "," + good + "]",
		"trailing data":           good + good,
		"invalid UTF-8":           tool("read", "{\"id\":\"orders\xff\"}"),
		"a byte order mark":       "\ufeff" + good,
		"nothing":                 "",
		"a text":                  `"ping"`,
		"a method that is a list": `{"jsonrpc":"2.0","id":1,"method":["ping"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := post(t, url, token, body)
			require.Equal(t, 400, got.Status, got.Body)
			require.Contains(t, got.Header.Get("Content-Type"), "application/problem+json")
			require.Equal(t, strings.Contains(name, "batch"), strings.Contains(got.Body, "Batches are not accepted"), got.Body)
		})
	}
	t.Run("huge", func(t *testing.T) {
		pad := strings.Repeat("x", 4<<20)
		require.Equal(t, 413, post(t, url, token, tool("read", `{"id":"orders","pad":"`+pad+`"}`)).Status)
		require.Equal(t, 200, post(t, url, token, tool("read", `{"id":"orders"}`)+strings.Repeat(" ", 3<<20)).Status)
	})
	t.Run("another type", func(t *testing.T) {
		inner := start(t, latchkeymcp.New(kit.Manager, rules()).Authenticate(http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })))
		require.Equal(t, 418, post(t, inner, token, good).Status)
		require.Equal(t, 415, post(t, inner, token, good, header("Content-Type", "text/plain")).Status)
	})
}

func TestResourcesAndPromptsAreChecked(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	url := serve(t, kit, opts)
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("doc/a", "doc/a b"))
	for _, c := range []struct {
		name, method, params string
		code                 int
	}{
		{"read", "resources/read", `{"uri":"doc://a/text"}`, 0},
		{"read another", "resources/read", `{"uri":"doc://b/text"}`, denied},
		{"read a constant one", "resources/read", `{"uri":"doc://index"}`, denied},
		{"read without a rule", "resources/read", `{"uri":"hidden://x"}`, denied},
		{"read what does not exist", "resources/read", `{"uri":"nosuch://x"}`, denied},
		{"scheme in capitals", "resources/read", `{"uri":"DOC://a/text"}`, denied},
		{"an escaped URI", "resources/read", `{"uri":"doc://a%20b/text"}`, -32602},
		{"an escape that hides a slash", "resources/read", `{"uri":"doc://a%2Fb/text"}`, -32602},
		{"dots", "resources/read", `{"uri":"doc://../text"}`, -32602},
		{"two values", "resources/read", `{"uri":"doc://a,b/text"}`, -32602},
		{"no value", "resources/read", `{"uri":"doc:///text"}`, -32602},
		{"a prompt", "prompts/get", `{"name":"summary","arguments":{"id":"a"}}`, 0},
		{"a prompt on another", "prompts/get", `{"name":"summary","arguments":{"id":"b"}}`, denied},
		{"a prompt without its argument", "prompts/get", `{"name":"summary"}`, -32602},
		{"a prompt without a rule", "prompts/get", `{"name":"nosuch","arguments":{"id":"a"}}`, denied},
		{"completion", "completion/complete",
			completing("prompt", "name", "summary", "a"), 0},
		{"completion on another", "completion/complete",
			completing("prompt", "name", "summary", "b"), denied},
		{"completion of what the check needs", "completion/complete",
			`{"ref":{"type":"ref/prompt","name":"summary"},"argument":{"name":"id","value":""}}`, -32602},
		{"completion of a resource", "completion/complete",
			completing("resource", "uri", "doc://{id}/text", "a"), 0},
		{"completion of another resource", "completion/complete",
			completing("resource", "uri", "doc://{id}/text", "b"), denied},
		{"completion without a rule", "completion/complete",
			`{"ref":{"type":"ref/resource","uri":"hidden://x"},"argument":{"name":"x","value":""}}`, denied},
		{"subscribe", "resources/subscribe", `{"uri":"doc://a/text"}`, 0},
		{"subscribe to another", "resources/subscribe", `{"uri":"doc://b/text"}`, denied},
		{"ping", "ping", `{}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, url, token, method(c.method, c.params))
			require.NotContains(t, got.Body, `"cacheScope":"public"`, "what was checked for one is not for others")
			require.Equal(t, c.code, got.code(), got.Body)
			require.Equal(t, c.code == 0, got.Result != nil, got.Body)
		})
	}
}

// completing are the params of a completion, where the argument id is known.
func completing(kind, member, of, id string) string {
	return `{"ref":{"type":"ref/` + kind + `","` + member + `":"` + of + `"},"argument":{"name":"x","value":""},` +
		`"context":{"arguments":{"id":"` + id + `"}}}`
}

// A URI that two templates match must pass the rules of both.
func TestOverlappingTemplates(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Resources["doc://{+path}"] = latchkeymcp.Rule{Action: latchkey.Read, Resource: "any"}
	url := serve(t, kit, opts)
	uri := method("resources/read", `{"uri":"doc://a/text"}`)
	both := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("doc/a", "any"))
	require.Zero(t, post(t, url, both, uri).code())
	require.Equal(t, denied, post(t, url, key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("doc/a")), uri).code())
	require.Equal(t, denied, post(t, url, key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("any")), uri).code())
}

// The handler gets one condition. So templates with Rows must not overlap, and the server says so.
func TestOverlappingTemplatesWithRows(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Resources = map[string]latchkeymcp.Rule{
		"doc://{id}/text": {Action: latchkey.Read, Resource: "doc/{id}", Rows: true},
		"doc://{+path}":   {Action: latchkey.Read, Resource: "any", Rows: true},
	}
	var log strings.Builder
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	url := serve(t, kit, opts)
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("*"))
	require.Equal(t, -32603, post(t, url, token, method("resources/read", `{"uri":"doc://a/text"}`)).code())
	require.Contains(t, log.String(), "several templates")
	require.Equal(t, denied, post(t, url, key(t, kit, "acme"), method("resources/read", `{"uri":"doc://a/text"}`)).code())
}

func TestListsShowWhatTheCallerMayUse(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	names := func(r reply) (all []string) {
		var result struct {
			Tools, Prompts    []struct{ Name string }
			Resources         []struct{ URI string }
			ResourceTemplates []struct{ URITemplate string }
			CacheScope        string
		}
		require.NoError(t, json.Unmarshal(r.Result, &result), r.Body)
		require.Equal(t, "private", result.CacheScope, "what depends on the caller must not be cached for others")
		for _, x := range append(result.Tools, result.Prompts...) {
			all = append(all, x.Name)
		}
		for _, x := range result.Resources {
			all = append(all, x.URI)
		}
		for _, x := range result.ResourceTemplates {
			all = append(all, x.URITemplate)
		}
		return all
	}
	url := serve(t, kit, rules())
	reader := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	writer := key(t, kit, "acme", latchkey.Allow(latchkey.Any).On("*"))
	rowsOnly := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders").Where(
		latchkey.Where("region", latchkey.Eq, "EU")))
	deeper := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders/part"))
	nothing := key(t, kit, "acme")
	for _, c := range []struct {
		list, token string
		want        []string
	}{
		{"tools/list", reader, []string{"read", "whoami"}},
		{"tools/list", writer, []string{"drop", "read", "whoami"}},
		{"tools/list", rowsOnly, []string{"whoami"}},
		{"tools/list", deeper, []string{"whoami"}},
		{"tools/list", nothing, []string{"whoami"}},
		{"prompts/list", reader, nil},
		{"prompts/list", writer, []string{"summary"}},
		{"resources/list", reader, nil},
		{"resources/list", writer, []string{"doc://index"}},
		{"resources/templates/list", reader, nil},
		{"resources/templates/list", writer, []string{"doc://{id}/text"}},
	} {
		got := post(t, url, c.token, method(c.list, `{}`))
		assert.Equal(t, c.want, names(got), c.list)
		assert.NotContains(t, got.Body, "null", "a list must not be null")
	}
	opts := rules()
	opts.ListAll = true
	all := serve(t, kit, opts)
	require.Equal(t, []string{"drop", "read", "unmapped", "whoami"},
		names(post(t, all, nothing, method("tools/list", `{}`))))
	require.Equal(t, []string{"doc://index", "hidden://x"}, names(post(t, all, nothing, method("resources/list", `{}`))))
	require.Equal(t, denied, post(t, all, nothing, tool("unmapped", `{"id":"x"}`)).code(), "listed is not allowed")
}
