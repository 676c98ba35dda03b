package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// TestDocumentIsOfTheTable: openapi.json is made of the table of operations and of the types of their bodies.
//
//	go test ./httpadapter/api -run TestDocumentIsOfTheTable -update
func TestDocumentIsOfTheTable(t *testing.T) {
	want := newDocument(t).bytes(t)
	if *update {
		require.NoError(t, os.WriteFile("openapi.json", want, 0o644))
		return
	}
	require.Equal(t, string(want), string(Document()), "run the test with -update, and commit openapi.json")
}

// object is an object of JSON. encoding/json sorts its names.
type object = map[string]any

// documentOf makes an OpenAPI document.
type documentOf struct {
	docs    map[string]string // comments in Go: "latchkey.Token.Name"
	schemas object
	closed  map[string]bool // schemas of requests
	used    map[string]bool // names of descriptions
}

func newDocument(t *testing.T) *documentOf {
	return &documentOf{docs: goComments(t, "../.."), schemas: object{}, closed: map[string]bool{},
		used: map[string]bool{}}
}

func (d *documentOf) bytes(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	require.NoError(t, e.Encode(d.document()))
	return b.Bytes()
}

func (d *documentOf) document() object {
	paths := object{documentPath: object{"get": object{
		"operationId": "getDocument", "summary": "Read this document", "description": "No credential is needed.",
		"tags": []string{"document"}, "security": []any{},
		"responses": object{"200": object{"description": "This document.",
			"content": object{mediaJSON: object{"schema": object{"type": "object"}}}}},
	}}}
	for _, op := range operations() {
		at, _ := paths[op.path].(object)
		if at == nil {
			at = object{}
			paths[op.path] = at
		}
		at[strings.ToLower(op.method)] = d.operation(op)
	}
	problem := d.schema(reflect.TypeFor[httpadapter.Problem](), false)
	d.schemas["Condition"], d.schemas["Rule"] = conditionSchema, ruleSchema
	for name := range d.closed {
		d.schemas[name].(object)["additionalProperties"] = false
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "latchkey", "version": "1", "description": documentText,
			"license": object{"name": "Apache 2.0", "identifier": "Apache-2.0"}},
		"servers":  []any{object{"url": ".", "description": "Where this document is."}},
		"security": []any{object{"bearer": []any{}}},
		"tags":     tags,
		"paths":    paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer",
				"description": "A token of the host's. Where the host says so, it is carried elsewhere, too."}},
			"responses": d.problems(problem),
			"headers":   headers,
		},
	}
}

const documentText = "Tokens, roles and what they may do, as the caller may see and change them. " +
	"Times are RFC 3339 in UTC, to the microsecond. Durations are whole nanoseconds, and credits whole millionths. " +
	"Members and parameters that are not in this document are refused in requests; in replies further ones may come. " +
	"What a caller may not read looks as what does not exist."

var tags = []any{
	object{"name": "me", "description": "The caller itself."},
	object{"name": "token", "description": "Tokens and their secrets."},
	object{"name": "role", "description": "Roles."},
	object{"name": "client", "description": "Clients that tokens belong to."},
	object{"name": "owner", "description": "The account: its boundary, limits and policy."},
	object{"name": "usage", "description": "What was used, refused and changed."},
	object{"name": "document", "description": "This document."},
}

var headers = object{
	"ETag": object{"description": "The version of the record, and a digest of the reply. Send it as If-Match with a " +
		"change.",
		"schema": object{"type": "string"}},
	"Location": object{"description": "The new record, relative to the path of the request.",
		"schema": object{"type": "string", "format": "uri-reference"}},
	"RateLimit": object{"description": "What is left of the token's rate, if it has one: " +
		"draft-ietf-httpapi-ratelimit-headers.",
		"schema": object{"type": "string"}},
	"RateLimit-Policy": object{"description": "The token's rate.", "schema": object{"type": "string"}},
	"Retry-After":      object{"description": "Seconds to wait.", "schema": object{"type": "integer"}},
	"WWW-Authenticate": object{"description": "How to send a credential.", "schema": object{"type": "string"}},
}

// problemTexts say when a status comes.
var problemTexts = map[int]string{
	400: "The request is malformed, or something that was sent cannot be.",
	401: "There is no credential, or it is not valid.",
	403: "The caller may not do this, or the account's policy does not allow it.",
	404: "There is no such record, or the caller may not read it.",
	409: "It contradicts what is there, was carried out before under this Idempotency-Key, or others kept changing " +
		"the record.",
	412: "The record has another version than If-Match says.",
	413: "The body is too long.",
	415: "The body is compressed, or of another media type.",
	422: "Another request was carried out under this Idempotency-Key.",
	428: "If-Match is missing, and the host demands it.",
	429: "The caller asks too often.",
	503: "The store does not answer, or it is not known whether the change was made. Repeat the request.",
}

// problemStatuses returns the statuses of the refusals of an operation.
func problemStatuses(op *operation) []int {
	all := append([]int{400, 401, 403, 429, 503}, op.refuses...)
	if strings.Contains(op.path, "{") && !op.absent {
		all = append(all, 404)
	}
	if op.in != nil {
		all = append(all, 413, 415)
	}
	if op.ifMatch {
		all = append(all, 409, 412, 428)
	}
	if op.once {
		all = append(all, 409, 422)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (d *documentOf) problems(schema object) object {
	out := object{}
	for status, text := range problemTexts {
		hs := []string{"RateLimit", "RateLimit-Policy"} // of a token that has a rate, whatever becomes of its request
		switch status {
		case 400, 403: // RFC 6750 §3.1
			hs = append(hs, "WWW-Authenticate")
		case 401: // there is no token
			hs = []string{"WWW-Authenticate"}
		case 429, 503:
			hs = append(hs, "Retry-After")
		}
		r := object{"description": text, "headers": refs("headers", hs...),
			"content": object{"application/problem+json": object{"schema": schema}}}
		out["Problem"+strconv.Itoa(status)] = r
	}
	return out
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

func refs(kind string, names ...string) object {
	out := object{}
	for _, name := range names {
		out[name] = ref(kind, name)
	}
	return out
}

func (d *documentOf) operation(op *operation) object {
	out := object{"operationId": op.id, "summary": op.summary, "tags": []string{op.tag},
		"description": cmp.Or(op.text, op.summary+".")}
	if list := d.parameters(op); len(list) > 0 {
		out["parameters"] = list
	}
	switch {
	case op.in != nil && op.merge:
		schema := d.schema(op.in, true)
		out["requestBody"] = object{"required": true,
			"content": object{mediaMerge: object{"schema": schema}, mediaJSON: object{"schema": schema}}}
	case op.in != nil:
		schema := d.schema(op.in, false)
		d.close(schema)
		out["requestBody"] = object{"required": !op.optional,
			"content": object{mediaJSON: object{"schema": schema}}}
	}
	replies := object{}
	success := object{"description": "Done."}
	hs := []string{"RateLimit", "RateLimit-Policy"}
	if op.out != nil {
		success["description"] = "The reply."
		success["content"] = object{mediaJSON: object{"schema": d.schema(op.out, false)}}
	}
	if op.media != "" {
		success["content"] = object{op.media: object{"schema": object{"type": "string"}}}
	}
	if op.versioned {
		hs = append(hs, "ETag")
	}
	if op.status == http.StatusCreated {
		success["description"] = "It was made."
		hs = append(hs, "Location")
	}
	success["headers"] = refs("headers", hs...)
	replies[strconv.Itoa(op.status)] = success
	if op.versioned && op.method == http.MethodGet {
		replies["304"] = object{"description": "It is as If-None-Match says.", "headers": refs("headers", "ETag")}
	}
	for _, status := range problemStatuses(op) {
		replies[strconv.Itoa(status)] = ref("responses", "Problem"+strconv.Itoa(status))
	}
	out["responses"] = replies
	return out
}

func (d *documentOf) parameters(op *operation) (list []any) {
	for _, segment := range strings.Split(op.path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			list = append(list, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range op.query {
		out := object{"name": p.name, "in": "query", "description": p.text}
		schema := object{"type": "string"}
		switch p.kind {
		case listParameter:
			item := object{"type": "string"}
			if p.values != nil {
				item["enum"] = p.values
			}
			schema = object{"type": "array", "items": item, "minItems": 1, "maxItems": 100}
			out["style"], out["explode"] = "form", false
		case timeParameter:
			schema["format"] = "date-time"
		case dayParameter:
			schema["format"] = "date"
		case boolParameter:
			schema = object{"type": "boolean"}
		case numberParameter:
			schema = object{"type": "integer", "minimum": 1, "maximum": maxNumber(p.name)}
		default:
			if p.values != nil {
				schema["enum"] = p.values
			}
		}
		if out["schema"] = schema; p.required {
			out["required"] = true
		}
		list = append(list, out)
	}
	header := func(name, text string) {
		list = append(list, object{"name": name, "in": "header", "description": text, "schema": object{"type": "string"}})
	}
	if op.ifMatch {
		header("If-Match", "The ETag of the record as it is known, or *. Required if the host says so.")
	}
	if op.versioned && op.method == http.MethodGet {
		header("If-None-Match", "An ETag that is known.")
	}
	if op.once {
		header("Idempotency-Key", "Names the request, so that it is carried out once though it is sent twice: 1 to 255 "+
			"visible ASCII characters, best a random UUID.")
	}
	return list
}

// close marks the schemas that a request can hold: unknown members are refused.
func (d *documentOf) close(schema any) {
	switch s := schema.(type) {
	case object:
		if to, ok := s["$ref"].(string); ok {
			name := to[strings.LastIndexByte(to, '/')+1:]
			if name == "Rule" || name == "Condition" || d.closed[name] {
				return
			}
			if of, _ := d.schemas[name].(object); of["properties"] != nil {
				d.closed[name] = true
			}
			d.close(d.schemas[name])
			return
		}
		for _, v := range s {
			d.close(v)
		}
	case []any:
		for _, v := range s {
			d.close(v)
		}
	}
}

// schema returns the schema of a type, or a reference to it. Of a patch each member may be null.
func (d *documentOf) schema(t reflect.Type, patch bool) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "Nanoseconds."}
	case reflect.TypeFor[netip.Prefix]():
		return object{"type": "string", "description": "Addresses as CIDR: 192.0.2.0/24."}
	case reflect.TypeFor[netip.Addr]():
		return object{"type": "string"}
	case reflect.TypeFor[json.RawMessage]():
		return object{"description": "Any JSON."}
	case reflect.TypeFor[latchkey.Kind]():
		return object{"type": "string", "enum": kinds}
	case reflect.TypeFor[latchkey.Period]():
		return object{"type": "string", "enum": []string{"minute", "hour", "day", "week", "month", "forever"}}
	case reflect.TypeFor[latchkey.Permissions]():
		return object{"type": "array", "items": ref("schemas", "Rule")}
	case reflect.TypeFor[latchkey.Condition]():
		return ref("schemas", "Condition")
	case reflect.TypeFor[latchkey.Values](), reflect.TypeFor[latchkey.Attributes]():
		return object{"type": "object", "additionalProperties": true}
	case reflect.TypeFor[latchkey.Credits]():
		return object{"type": "integer", "format": "int64", "description": "Millionths of a credit."}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Uint32:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint8:
		return object{"type": "integer"}
	case reflect.Pointer:
		return d.schema(t.Elem(), patch)
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[byte]() {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.schema(t.Elem(), false)}
	case reflect.Map:
		item := d.schema(t.Elem(), false)
		if patch {
			item = nullable(item)
		}
		return object{"type": "object", "additionalProperties": item}
	case reflect.Struct:
		return d.structSchema(t, patch)
	}
	panic(fmt.Sprintf("no schema for %s", t))
}

func nullable(schema object) object {
	if of, ok := schema["type"].(string); ok && schema["enum"] == nil {
		schema["type"] = []string{of, "null"}
		return schema
	}
	if schema["type"] == nil && schema["$ref"] == nil { // anything
		return schema
	}
	return object{"oneOf": []any{schema, object{"type": "null"}}}
}

var generic = regexp.MustCompile(`^List\[.*[./](\w+)\]$`)

func schemaName(t reflect.Type) string {
	if m := generic.FindStringSubmatch(t.Name()); m != nil {
		return m[1] + "List"
	}
	return t.Name()
}

func (d *documentOf) structSchema(t reflect.Type, patch bool) object {
	name := schemaName(t)
	if patch {
		name += "Patch"
	}
	if d.schemas[name] != nil {
		return ref("schemas", name)
	}
	out := object{"type": "object"}
	d.schemas[name] = out // before its members: a type may hold itself
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		schema := d.schema(f.typ, patch)
		switch {
		case patch && !f.required: // null removes it
			schema = nullable(schema)
		case f.required && !patch:
			required = append(required, f.name)
		}
		if text := d.text(t, f); text != "" {
			if unit, _ := schema["description"].(string); unit != "" {
				text = strings.TrimSuffix(text, ".") + ". " + unit
			}
			schema["description"] = text
		}
		properties[f.name] = schema
	}
	out["properties"] = properties
	if len(required) > 0 {
		out["required"] = required
	}
	if patch {
		out["additionalProperties"] = false
	}
	return ref("schemas", name)
}

// text returns the description of a member: that of descriptions, or its comment in Go.
func (d *documentOf) text(t reflect.Type, f field) string {
	parent := t
	for _, i := range f.index[:len(f.index)-1] {
		parent = parent.Field(i).Type
	}
	name, _, _ := strings.Cut(parent.Name(), "[") // of List[Token]
	name = path.Base(parent.PkgPath()) + "." + name + "."
	short := strings.TrimPrefix(name, "latchkey.") + f.name
	if text, ok := descriptions[short]; ok {
		d.used[short] = true
		return text
	}
	return d.docs[name+parent.Field(f.index[len(f.index)-1]).Name]
}

var (
	links = regexp.MustCompile(`\[\*?([A-Z][\w.]*)\]`)
	words = strings.NewReplacer("Empty but not nil is ErrInvalid", "An empty list is refused", "is ErrInvalid",
		"is refused",
		"refused with ErrPolicy", "refused", "is ErrTooMany", "is refused", "nil if", "absent if", "nil:", "absent:", "Nil:",
		"Absent:", "Zero:", "Absent:", "zero:", "absent:")
)

// goComments returns the comments of the fields of structs, those of this package and of those that it uses.
func goComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for pkg, dir := range map[string]string{"latchkey": dir, "httpadapter": filepath.Join(dir, "httpadapter"),
		"api": filepath.Join(dir, "httpadapter", "api")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				s, ok := spec.Type.(*ast.StructType)
				if !ok {
					return true
				}
				for _, f := range s.Fields.List {
					text := f.Doc.Text()
					if text == "" {
						text = f.Comment.Text()
					}
					text = strings.Join(strings.Fields(words.Replace(links.ReplaceAllString(text, "$1"))), " ")
					for _, id := range f.Names {
						out[pkg+"."+spec.Name.Name+"."+id.Name] = text
					}
				}
				return true
			})
		}
	}
	return out
}

// ruleSchema and conditionSchema are those of the types that read and write their JSON themselves.
var ruleSchema = object{
	"type": "object",
	"description": "A rule: one of allow, grant and deny, on patterns of resources. Later rules of a list override " +
		"earlier ones.",
	"properties": object{
		"allow": actions, "grant": actions, "deny": actions,
		"on": object{"type": "array", "items": object{"type": "string"}, "minItems": 1,
			"description": "Patterns: dataset/orders, dataset/*, project/{*}/file."},
		"where": object{"$ref": "#/components/schemas/Condition", "description": "The rows that it is about. Absent: all."},
		"force": object{"type": "object", "additionalProperties": true, "description": "Values that are written into new " +
			"rows."},
	},
	"required":             []string{"on"},
	"additionalProperties": false,
}

var actions = object{"type": "array", "items": object{"type": "string"}, "minItems": 1,
	"description": "Actions, such as read, or * for any."}

var conditionSchema = object{
	"description": "Which rows: true is all, false none.",
	"oneOf": []any{
		object{"type": "boolean"},
		object{"type": "object", "properties": object{"all": conditions}, "required": []string{"all"},
			"additionalProperties": false},
		object{"type": "object", "properties": object{"any": conditions}, "required": []string{"any"},
			"additionalProperties": false},
		object{"type": "object", "properties": object{"not": ref("schemas", "Condition")}, "required": []string{"not"},
			"additionalProperties": false},
		object{"type": "object", "required": []string{"field", "op", "value"}, "additionalProperties": false,
			"properties": object{"field": object{"type": "string"}, "op": object{"type": "string"},
				"value": object{"description": `A value, a list of them, or a reference such as {"ref":"self"}.`}}},
	},
}

var conditions = object{"type": "array", "items": ref("schemas", "Condition")}
