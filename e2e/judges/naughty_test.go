package judges

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/settings"
)

type object = map[string]any

// service is the JSON API over a store in memory.
type service struct {
	t       *testing.T
	handler http.Handler
	admin   string
	schemas object // of openapi.json
	paths   object
	made    int // records that target made
}

func newService(t *testing.T) *service {
	t.Helper()
	ctx := t.Context()
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{
		Imported: func(text string) bool { return strings.HasPrefix(text, "imported-") }})
	_, admin, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	s := &service{t: t, handler: api.Handler(httpadapter.New(keys, nil), nil), admin: admin.Reveal()}
	document := s.do("GET", "/openapi.json", nil)
	s.schemas = document.body["components"].(object)["schemas"].(object)
	s.paths = document.body["paths"].(object)
	return s
}

type answer struct {
	status int
	body   object
	text   string
}

func (s *service) do(method, target string, body any) answer {
	s.t.Helper()
	text, err := json.Marshal(body)
	require.NoError(s.t, err)
	r := httptest.NewRequest(method, target, strings.NewReader(string(text)))
	if body == nil {
		r = httptest.NewRequest(method, target, nil)
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+s.admin)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	out := answer{status: w.Code, text: w.Body.String()}
	if w.Body.Len() > 0 {
		require.NoError(s.t, json.Unmarshal(w.Body.Bytes(), &out.body), "%s", w.Body)
	}
	return out
}

// texts returns the places of a schema that take any text, as pointers. An element of a list is 0.
func (s *service) texts(of object, at string, within []string) (out []string) {
	if ref, ok := of["$ref"].(string); ok {
		name := ref[strings.LastIndexByte(ref, '/')+1:]
		if slices.Contains(within, name) { // conditions of conditions: their texts are those of the first
			return nil
		}
		return s.texts(s.schemas[name].(object), at, append(slices.Clone(within), name))
	}
	types := fmt.Sprint(of["type"])
	if strings.Contains(types, "string") && of["enum"] == nil && of["format"] != "date-time" {
		out = append(out, at)
	}
	for name, sub := range object(asObject(of["properties"])) {
		out = append(out, s.texts(sub.(object), at+"/"+name, within)...)
	}
	if items, ok := of["items"].(object); ok {
		out = append(out, s.texts(items, at+"/0", within)...)
	}
	for _, choice := range []string{"oneOf", "anyOf", "allOf"} {
		list, _ := of[choice].([]any)
		for _, sub := range list {
			out = append(out, s.texts(sub.(object), at, within)...)
		}
	}
	return out
}

func asObject(v any) object {
	o, _ := v.(object)
	return o
}

// at returns the value at a pointer.
func at(v any, pointer string) (any, bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch in := v.(type) {
		case object:
			found, ok := in[part]
			if !ok {
				return nil, false
			}
			v = found
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n >= len(in) {
				return nil, false
			}
			v = in[n]
		default:
			return nil, false
		}
	}
	return v, true
}

// with returns v with a value at a pointer. What is missing on the way is made.
func with(v any, pointer string, value any) any {
	if pointer == "" {
		return value
	}
	part, rest, _ := strings.Cut(pointer[1:], "/")
	if rest != "" {
		rest = "/" + rest
	}
	if part == "0" {
		list, _ := v.([]any)
		var first any
		if len(list) > 0 {
			first = list[0]
		}
		return []any{with(first, rest, value)}
	}
	out := object{}
	maps.Copy(out, asObject(v))
	out[part] = with(out[part], rest, value)
	return out
}

// whole returns what must stand beside the text at a pointer.
func whole(pointer string) object {
	rule := func(list string) object {
		return object{list: []any{object{"allow": []any{"read"}, "on": []any{"dataset/a"}}}}
	}
	switch {
	case strings.HasPrefix(pointer, "/boundary/0/"), strings.HasPrefix(pointer, "/permissions/0/"):
		list := strings.SplitN(pointer, "/", 3)[1]
		body := rule(list)
		base := "/" + list + "/0/"
		out := any(body)
		if strings.HasPrefix(pointer, base+"where/") || strings.HasPrefix(pointer, base+"force") {
			out = with(out, base+"where", object{"field": "a", "op": "=", "value": "b"})
		}
		if strings.HasPrefix(pointer, base+"deny/") || strings.HasPrefix(pointer, base+"grant/") {
			delete(out.(object)[list].([]any)[0].(object), "allow")
		}
		return out.(object)
	case strings.HasPrefix(pointer, "/rows/0"):
		return object{"rows": []any{object{"field": "a", "op": "=", "value": "b"}}}
	case strings.HasPrefix(pointer, "/limits/quotas/0/meter"):
		return object{"limits": object{"quotas": []any{object{"amount": 5, "per": "day"}}}}
	case strings.HasPrefix(pointer, "/client/name"):
		return object{"client": object{"id": "7"}}
	case strings.HasPrefix(pointer, "/questions/0"):
		return object{"questions": []any{object{"action": "read", "resource": "dataset/a"}}}
	case strings.HasPrefix(pointer, "/kept/"):
		return object{"kept": object{"hash": "$2b$04$abcdefghijklmnopqrstuuJ8rJ8rJ8rJ8rJ8rJ8rJ8rJ8rJ8rJ8rJ8r", "lookup": "x"}}
	}
	return object{}
}

// freeForm are places that take any JSON, a text too. The document does not call them texts.
var freeForm = []string{"/attributes/team", "/extra", "/permissions/0/where/value", "/permissions/0/force/a",
	"/rows/0/value",
	"/forced/a", "/boundary/0/where/value", "/boundary/0/force/a"}

// bodies are the operations with a body, with what else theirs needs. {id} is a record of the operation's kind.
var bodies = []struct {
	method, path string
	base         object
	status       int
	stored       string // where the reply has the record; "-": it has none
}{
	{"POST", "/tokens", object{"kind": "api_key"}, 201, "/token"},
	{"POST", "/tokens/import", object{"kind": "api_key"}, 201, "/token"},
	{"PATCH", "/tokens/{id}", object{}, 200, ""},
	{"POST", "/roles", object{}, 201, ""},
	{"PATCH", "/roles/{id}", object{}, 200, ""},
	{"PATCH", "/owner", object{}, 200, ""},
	{"POST", "/me/tokens", object{"lifetime": 60_000_000_000}, 201, "/token"},
	{"POST", "/me/explain", object{}, 200, "-"},
	{"POST", "/tokens/{id}/explain", object{}, 200, "-"},
	{"POST", "/roles/{id}/explain", object{}, 200, "-"},
	{"POST", "/tokens/find", object{}, 200, "-"},
	{"POST", "/tokens/disable", object{"client": "nobody"}, 200, "-"},
	{"POST", "/tokens/revoke", object{"client": "nobody"}, 200, "-"},
	{"POST", "/tokens/{id}/rotate", object{}, 200, "-"},
	{"POST", "/tokens/{id}/revoke", object{}, 204, "-"},
}

// TestNaughtyStringsThroughTheAPI puts each text of the Big List of Naughty Strings into every place of every body that
// takes a text, as openapi.json lists them. Each is either refused with a 4xx, or comes back as it was sent: in the
// reply, and when the record is read again.
func TestNaughtyStringsThroughTheAPI(t *testing.T) {
	s := newService(t)
	naughty := naughtyStrings(t)
	described := map[string]bool{}
	for path, operations := range s.paths {
		for method, op := range asObject(operations) {
			if asObject(op)["requestBody"] != nil {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	sent, kept, places := 0, 0, 0
	for i, op := range bodies {
		require.True(t, described[op.method+" "+op.path], "%s %s is not in the document", op.method, op.path)
		delete(described, op.method+" "+op.path)
		content := s.paths[op.path].(object)[strings.ToLower(op.method)].(object)["requestBody"].(object)["content"].(object)
		schema := content["application/json"].(object)["schema"].(object)
		list := s.texts(schema, "", nil)
		for _, free := range freeForm {
			if strings.HasPrefix(op.path, "/roles") && !strings.Contains(op.path, "explain") ||
				op.path == "/tokens" || op.path == "/tokens/import" || op.path == "/tokens/{id}" || op.path == "/owner" ||
				op.path == "/me/tokens" {
				list = append(list, free)
			}
		}
		slices.Sort(list)
		list = slices.Compact(list)
		require.NotEmpty(t, list, op.path)
		keptHere := 0
		for _, place := range list {
			places++
			for n, text := range naughty {
				if !harness.Sampled(12) {
					continue
				}
				body := any(op.base)
				for k, v := range whole(place) {
					body = with(body, "/"+k, v)
				}
				body = with(body, place, text)
				if op.path == "/tokens/import" && !strings.HasPrefix(place, "/kept") && place != "/text" {
					body = with(body, "/text", fmt.Sprintf("imported-%d-%d-%d-abcdefghijklmnop", i, places, n))
				}
				if strings.HasPrefix(op.path, "/roles") && op.method == "POST" && place != "/name" {
					body = with(body, "/name", fmt.Sprintf("role %d %d %d", i, places, n))
				}
				path := s.target(op.path)
				got := s.do(op.method, path, body)
				sent++
				about := fmt.Sprintf("%s %s, %s = %q: %d %s", op.method, path, place, text, got.status, got.text)
				require.True(t, got.status == op.status || got.status >= 400 && got.status < 500, about)
				if got.status != op.status || op.stored == "-" {
					continue
				}
				record := any(got.body)
				if op.stored != "" {
					record, _ = at(record, op.stored)
				}
				require.NotNil(t, record, about)
				back, ok := at(record, place)
				if !ok { // a secret, or a text that means none
					require.True(t, text == "" || strings.HasPrefix(place, "/kept/") || place == "/text", about)
					continue
				}
				if place == "/roles/0" || place == "/inherits/0" { // the id of the role of that name
					require.NotEmpty(t, back, about)
					continue
				}
				require.Equal(t, text, back, about)
				id, _ := at(record, "/id")
				read := path
				if op.method == "POST" {
					read = strings.TrimSuffix(strings.TrimPrefix(path, "/me"), "/import") + "/" + fmt.Sprint(id)
				}
				again := s.do("GET", read, nil)
				require.Equal(t, 200, again.status, "%s: %s", read, again.text)
				back, _ = at(again.body, place)
				require.Equal(t, text, back, about)
				keptHere++
			}
		}
		kept += keptHere
		if op.stored != "-" {
			require.Greater(t, keptHere, 20, "%s %s keeps hardly any text, so nothing was shown", op.method, op.path)
		}
	}
	require.Empty(t, described, "operations with a body that this test does not know")
	require.Greater(t, places, 100)
	t.Logf("%d texts in %d places: %d were kept and came back as they were, the others refused", sent, places, kept)
}

// target returns a path with the id of a new record.
func (s *service) target(path string) string {
	if !strings.Contains(path, "{id}") {
		return path
	}
	s.made++
	if strings.HasPrefix(path, "/roles") {
		made := s.do("POST", "/roles", object{"name": "target " + strconv.Itoa(s.made)})
		require.Equal(s.t, 201, made.status, made.text)
		return strings.Replace(path, "{id}", made.body["id"].(string), 1)
	}
	made := s.do("POST", "/tokens", object{"kind": "api_key"})
	require.Equal(s.t, 201, made.status, made.text)
	return strings.Replace(path, "{id}", made.body["token"].(object)["id"].(string), 1)
}

// TestNaughtyStringsInSettings puts each text into the members of a settings file that hold texts of people. Each is
// refused, or read back as it was.
func TestNaughtyStringsInSettings(t *testing.T) {
	kept := 0
	for _, text := range naughtyStrings(t) {
		require.True(t, utf8.ValidString(text))
		for _, member := range []string{"owner", "prefix", "roles", "catalogue", "max_stale"} {
			file, err := json.Marshal(object{"format": 1, "store": object{"engine": "sqlite", "file": "a.db"}, member: text})
			require.NoError(t, err)
			s, err := settings.Parse("latchkey.json", file)
			if err != nil {
				require.ErrorIs(t, err, latchkey.ErrInvalid, "%s = %q", member, text)
				continue
			}
			if member == "owner" {
				require.Equal(t, text, s.Owner())
				kept++
			}
		}
	}
	require.Greater(t, kept, 100)
	t.Logf("%d owners were kept and came back as they were", kept)
}
