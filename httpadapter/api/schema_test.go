package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// served is openapi.json as a client reads it.
var served = sync.OnceValue(func() object {
	var doc object
	if err := json.Unmarshal(Document(), &doc); err != nil {
		panic(err)
	}
	return doc
})

// servedOperation is an operation of openapi.json.
type servedOperation struct {
	object
	method, path string
}

// describedOperations returns those of openapi.json but for the document itself, by operationId.
func describedOperations() map[string]servedOperation {
	out := map[string]servedOperation{}
	for path, item := range served()["paths"].(object) {
		for method, op := range item.(object) {
			if path != documentPath {
				o := op.(object)
				out[o["operationId"].(string)] = servedOperation{o, strings.ToUpper(method), path}
			}
		}
	}
	return out
}

// describedAt returns the operation of a request, as a client finds it in the document.
func describedAt(method, path string) (servedOperation, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	best, fixed := servedOperation{}, -1
	for _, op := range describedOperations() {
		want, got := strings.Split(op.path, "/"), strings.Split(path, "/")
		if op.method != method || len(want) != len(got) {
			continue
		}
		same := 0
		for i := range want {
			if want[i] == got[i] {
				same++
			} else if !strings.HasPrefix(want[i], "{") || got[i] == "" {
				same = -1
				break
			}
		}
		if same > fixed {
			best, fixed = op, same
		}
	}
	return best, fixed >= 0
}

// statuses returns the statuses that are described.
func (d servedOperation) statuses() []int {
	var out []int
	for text := range d.object["responses"].(object) {
		n, _ := strconv.Atoi(text)
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// deref follows a reference within the document.
func deref(of object) object {
	to, ok := of["$ref"].(string)
	if !ok {
		return of
	}
	at := any(served())
	for _, name := range strings.Split(strings.TrimPrefix(to, "#/"), "/") {
		at = at.(object)[name]
	}
	return deref(at.(object))
}

// checkTruth fails a test whose request and reply are not as the document says.
func checkTruth(t *testing.T, r *http.Request, sent []byte, w *httptest.ResponseRecorder) {
	t.Helper()
	op, ok := describedAt(r.Method, r.URL.EscapedPath())
	if !ok {
		require.Contains(t, []int{404, 405, 204, 401, 403, 400, 429, 503, 200}, w.Code)
		return
	}
	if r.Method == http.MethodOptions {
		return
	}
	at := fmt.Sprintf("%s %s: %d", r.Method, op.path, w.Code)
	described, ok := op.object["responses"].(object)[strconv.Itoa(w.Code)].(object)
	require.True(t, ok, "%s is no described status: %s", at, w.Body)
	reply := deref(described)
	for name := range w.Header() {
		switch name {
		case "Etag", "Location", "Ratelimit", "Ratelimit-Policy", "Retry-After", "Www-Authenticate":
			found := false
			headers, _ := reply["headers"].(object)
			for known := range headers {
				found = found || http.CanonicalHeaderKey(known) == name
			}
			if name != "Ratelimit" && name != "Ratelimit-Policy" { // of every reply to a token with a rate
				require.True(t, found, "%s: the header %s is not described", at, name)
			}
		}
	}
	content, _ := reply["content"].(object)
	if content == nil {
		require.Empty(t, w.Body.String(), at)
	} else if r.Method != http.MethodHead {
		media, _ := content[w.Header().Get("Content-Type")].(object)
		require.NotNil(t, media, "%s: the type %q is not described", at, w.Header().Get("Content-Type"))
		if w.Header().Get("Content-Type") != mediaLines {
			var body any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), "%s: %s", at, w.Body)
			require.Empty(t, violations("", media["schema"].(object), body, true), "%s: %s", at, w.Body)
		}
	}
	if w.Code < 300 && len(sent) > 0 {
		body, ok := op.object["requestBody"].(object)
		require.True(t, ok, "%s took a body that is not described", at)
		sentAs, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		media := body["content"].(object)[sentAs].(object)
		var v any
		require.NoError(t, json.Unmarshal(sent, &v))
		require.Empty(t, violations("", media["schema"].(object), v, false), "%s took %s", at, sent)
	}
}

// violations returns what is wrong with a value by a schema. Whole: members that the schema does not name are wrong,
// too, because a schema of replies is to be complete.
func violations(at string, schema object, v any, whole bool) (wrong []string) {
	schema = deref(schema)
	bad := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	if list, ok := schema["oneOf"].([]any); ok {
		fits := 0
		for _, s := range list {
			if len(violations(at, s.(object), v, whole)) == 0 {
				fits++
			}
		}
		if fits != 1 {
			bad("fits %d of oneOf", fits)
		}
		return wrong
	}
	if types := typesOf(schema); types != nil && !slices.Contains(types, typeOf(v)) &&
		!(typeOf(v) == "integer" && slices.Contains(types, "number")) {
		bad("is %s, not %v", typeOf(v), types)
		return wrong
	}
	if list, ok := schema["enum"].([]any); ok && v != nil && !slices.Contains(list, v) {
		bad("%v is not of the enum", v)
	}
	switch v := v.(type) {
	case string:
		if schema["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				bad("no time: %s", v)
			}
		}
	case []any:
		if items, ok := schema["items"].(object); ok {
			for i, item := range v {
				wrong = append(wrong, violations(at+"/"+strconv.Itoa(i), items, item, whole)...)
			}
		}
		if least, ok := schema["minItems"].(float64); ok && len(v) < int(least) {
			bad("has %d items", len(v))
		}
	case object:
		properties, _ := schema["properties"].(object)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				bad("lacks %s", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if p, ok := properties[name].(object); ok {
				wrong = append(wrong, violations(at+"/"+name, p, v[name], whole)...)
				continue
			}
			switch more := schema["additionalProperties"].(type) {
			case object:
				wrong = append(wrong, violations(at+"/"+name, more, v[name], whole)...)
			case bool:
				if !more {
					bad("has %s", name)
				}
			case nil:
				if whole && properties != nil {
					bad("has %s, which is not described", name)
				}
			}
		}
	}
	return wrong
}

func typesOf(schema object) (out []string) {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		for _, s := range t {
			out = append(out, s.(string))
		}
	}
	return out
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// The validator would pass everything if it found nothing wrong: each kind of mistake is one.
func TestViolations(t *testing.T) {
	schema := object{"type": "object", "required": []any{"a"}, "properties": object{
		"a": object{"type": "integer"}, "b": object{"type": []any{"string", "null"}, "enum": []any{"x"}},
		"c": object{"type": "array", "items": object{"type": "boolean"}, "minItems": 1.0},
		"d": object{"oneOf": []any{object{"type": "string"}, object{"type": "null"}}},
		"e": object{"type": "string", "format": "date-time"},
	}}
	for text, fits := range map[string]bool{
		`{"a":1}`: true, `{"a":1,"b":null,"c":[true],"d":null,"e":"2026-11-30T12:00:00Z"}`: true,
		`{"a":1,"b":"x","d":"t"}`: true,
		`{}`:                      false, `{"a":"1"}`: false, `{"a":1.5}`: false,
		`{"a":1,"b":"y"}`: false, `{"a":1,"c":[]}`: false,
		`{"a":1,"c":[1]}`: false, `{"a":1,"d":1}`: false, `{"a":1,"e":"noon"}`: false, `{"a":1,"f":1}`: false, `[]`: false,
	} {
		var v any
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		require.Equal(t, fits, len(violations("", schema, v, true)) == 0, text)
	}
}
