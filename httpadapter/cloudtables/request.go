package cloudtables

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/form"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// request is a parsed call: its query and its body taken together.
type request struct {
	secret     string
	asToken    bool     // the secret came as "token"
	roles      []string // names, sorted; nil: not given
	conditions []condition
	client     latchkey.Client
	duration   time.Duration // 0: not given
	fields     *form.Value   // data calls: the body, options included
}

// option is one option of one source.
type option[T any] struct {
	value T
	given bool
}

// merge combines the values of one option from two sources: query and body, or two spellings. Different values are
// refused, so that neither can undo what the other asked for.
func merge[T any](name string, a, b option[T], same func(T, T) bool) (option[T], error) {
	switch {
	case !a.given:
		return b, nil
	case b.given && !same(a.value, b.value):
		return a, refuse(name + " is given twice, and differently")
	}
	return a, nil
}

// source holds the options of one source.
type source struct {
	roles      option[[]string]
	conditions option[[]condition]
	texts      map[string]option[string]
}

var textOptions = []string{nameClientID, nameClientName, nameUserID, nameUserName, nameDuration}

// carriers finds a credential beside those that this package finds itself: none. A Bearer token is a second one. The
// text in the header key may be any, so it is not among Carriers.Headers, which restrict it.
var (
	carriers  = httpadapter.Carriers{Basic: httpadapter.BasicIgnored}
	headerKey = http.CanonicalHeaderKey(nameKey)
)

// findSecret returns the one credential of r before the caller is authenticated. It decodes nothing else. It reads
// the body only if no other place holds a credential and exhausted returns nil, and puts the body back.
func findSecret(r *http.Request, data bool, exhausted func() error) (string, error) {
	names := []string{nameKey}
	if data {
		names = []string{nameKey, nameAPIKey, nameToken}
	}
	var secrets []string
	for _, name := range names {
		f, err := form.Find(r.URL.RawQuery, name, true)
		if err != nil {
			return "", malformed("query", err)
		}
		if secrets, err = addSecret(secrets, f); err != nil {
			return "", err
		}
	}
	secrets = append(secrets, r.Header[headerKey]...)
	secret, err := carriers.Find(r, secrets...)
	if !errors.Is(err, httpadapter.ErrNoCredential) {
		return secret, err
	}
	if err := exhausted(); err != nil {
		return "", err
	}
	text, err := httpadapter.ReadBody(r, maxBody)
	if err != nil || len(text) == 0 {
		return "", cmp.Or(err, httpadapter.ErrNoCredential)
	}
	kind, err := httpadapter.MediaType(r)
	if err != nil {
		return "", err
	}
	var f form.Found
	switch kind {
	case "", "application/x-www-form-urlencoded":
		if f, err = form.Find(string(text), nameKey, true); err != nil {
			return "", malformed("form", err)
		}
	case "application/json":
		if f, err = findSecretInJSON(text); err != nil {
			return "", err
		}
	default:
		return "", httpadapter.ErrMediaType
	}
	if secrets, err = addSecret(secrets, f); err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return carriers.Find(r, secrets...)
}

// findSecretInJSON finds the key in a JSON object without decoding the rest.
func findSecretInJSON(text []byte) (form.Found, error) {
	j, err := strictjson.Find(text, nameKey)
	switch {
	case err != nil:
		return form.Found{}, refuse("malformed JSON: not strict JSON")
	case !j.Object:
		return form.Found{}, refuse("the body is a JSON object")
	case strings.IndexByte(j.Text, 0) >= 0:
		return form.Found{}, refuse("malformed JSON: NUL")
	}
	f := form.Found{Value: j.Text, N: j.N}
	switch j.First {
	case '"':
		f.Kind = form.Text
	case '[':
		f.Kind = form.List
	default:
		f.Kind = form.Map // or a number, true, false, null
	}
	return f, nil
}

// addSecret adds a credential that was found in one place to secrets.
func addSecret(secrets []string, f form.Found) ([]string, error) {
	switch {
	case f.N == 0:
		return secrets, nil
	case f.N > 1 || f.Kind == form.List:
		return nil, httpadapter.ErrManyCredentials
	case f.Kind != form.Text: // a number or true must not be compared as a text
		return nil, refuse("the key is a text")
	}
	return append(secrets, f.Value), nil
}

// readRequest parses all of r, after the caller is authenticated. data marks a data call, whose body holds a row's
// fields beside key, role, roles and conditions.
func readRequest(r *http.Request, data bool) (request, error) {
	query, err := form.Parse(r.URL.RawQuery, nameClientMeta)
	if err != nil {
		return request{}, malformed("query", err)
	}
	body, err := readBody(r)
	if err != nil {
		return request{}, err
	}

	var out request
	var secrets []string
	for _, at := range []struct {
		tree *form.Value
		name string
		on   bool
	}{{query, nameKey, true}, {body, nameKey, true}, {query, nameAPIKey, data}, {query, nameToken, data}} {
		v := at.tree.Get(at.name)
		if !at.on || v == nil {
			continue
		}
		if v.Kind == form.List {
			return request{}, httpadapter.ErrManyCredentials
		}
		if v.Kind != form.Text { // a number or true must not be compared as a text
			return request{}, refuse("the key is a text")
		}
		secrets = append(secrets, v.Text)
		out.asToken = out.asToken || at.name == nameToken
	}
	if out.secret, err = carriers.Find(r, append(secrets, r.Header[headerKey]...)...); err != nil {
		return request{}, err
	}
	if !data { // a credential of data calls is a second one here, as a Bearer token is
		for _, name := range []string{nameAPIKey, nameToken} {
			if query.Get(name) != nil || body.Get(name) != nil {
				return request{}, httpadapter.ErrManyCredentials
			}
		}
	}

	fromQuery, err := readSource(query, true, textOptions)
	if err != nil {
		return request{}, err
	}
	inBody := textOptions
	if data {
		inBody = nil // a data point may have the name of such an option
		out.fields = body
	}
	fromBody, err := readSource(body, !data, inBody)
	if err != nil {
		return request{}, err
	}
	roles, err := merge(nameRoles, fromQuery.roles, fromBody.roles, slices.Equal[[]string])
	if err != nil {
		return request{}, err
	}
	conditions, err := merge(nameConditions, fromQuery.conditions, fromBody.conditions, slices.Equal[[]condition])
	if err != nil {
		return request{}, err
	}
	texts := map[string]string{}
	for _, name := range textOptions {
		t, err := merge(name, fromQuery.texts[name], fromBody.texts[name], func(a, b string) bool { return a == b })
		if err != nil {
			return request{}, err
		}
		texts[name] = t.value
	}
	out.roles, out.conditions = roles.value, conditions.value
	out.client = latchkey.Client{ID: texts[nameClientID], Name: texts[nameClientName]}
	if out.client.ID == "" {
		out.client.ID = texts[nameUserID]
	}
	if out.client.Name == "" {
		out.client.Name = texts[nameUserName]
	}
	if out.client.ID == "" {
		out.client.Name = "" // a name without an id is dropped
	}
	if len(out.client.ID) > maxClient || len(out.client.Name) > maxClient {
		return request{}, refuse("clientId and clientName have at most 256 bytes")
	}
	if s := texts[nameDuration]; s != "" {
		if out.duration, err = parseDuration(s); err != nil {
			return request{}, err
		}
	}
	return out, nil
}

// readBody reads a form or JSON object of any method: some clients send a body with GET and DELETE.
func readBody(r *http.Request) (*form.Value, error) {
	text, err := httpadapter.ReadBody(r, maxBody)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	kind, err := httpadapter.MediaType(r)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "", "application/x-www-form-urlencoded":
		body, err := form.Parse(string(text), nameClientMeta)
		if err != nil {
			return nil, malformed("form", err)
		}
		return body, nil
	case "application/json":
		body, err := form.ParseJSON(text, nameClientMeta)
		if err != nil {
			return nil, malformed("JSON", err)
		}
		if body.Kind != form.Map {
			return nil, refuse("the body is a JSON object")
		}
		return body, nil
	}
	return nil, httpadapter.ErrMediaType
}

// malformed returns the refusal of a text that could not be parsed. Errors of package form hold nothing of the input.
func malformed(what string, err error) error {
	if errors.Is(err, form.ErrTooLarge) {
		return httpadapter.ErrTooLarge
	}
	return refuse("malformed " + what + strings.TrimPrefix(err.Error(), form.ErrMalformed.Error()))
}

// readSource reads the options of one source. strict refuses names that differ from a limiting option by case only.
// Ignoring them would make the token wider than was meant.
func readSource(v *form.Value, strict bool, texts []string) (source, error) {
	s := source{texts: map[string]option[string]{}}
	if v == nil {
		return s, nil
	}
	if strict {
		for _, name := range v.Names {
			for _, known := range []string{nameRole, nameRoles, nameCondition, nameConditions, nameDuration} {
				if name != known && strings.EqualFold(name, known) {
					return s, refuse(known + " is written in lower case")
				}
			}
		}
	}
	for _, name := range []string{nameRole, nameRoles} {
		at := v.Get(name)
		if at == nil {
			continue
		}
		names, err := parseRoles(at)
		if err != nil {
			return s, err
		}
		if s.roles, err = merge(nameRoles, s.roles, option[[]string]{names, true}, slices.Equal[[]string]); err != nil {
			return s, err
		}
	}
	for _, name := range []string{nameConditions, nameCondition} {
		at := v.Get(name)
		if at == nil {
			continue
		}
		list, err := parseConditions(at)
		if err != nil {
			return s, err
		}
		s.conditions, err = merge(nameConditions, s.conditions, option[[]condition]{list, true}, slices.Equal[[]condition])
		if err != nil {
			return s, err
		}
	}
	for _, name := range texts {
		at := v.Get(name)
		switch {
		case !isGiven(at) || at.Kind == form.Text && at.Text == "":
		case at.Kind == form.Text || at.Kind == form.Number:
			s.texts[name] = option[string]{at.Text, true}
		default:
			return s, refuse(name + " is given once, as a text or a number")
		}
	}
	return s, nil
}

// parseRoles reads one name or a list of names. The result is sorted, without duplicates, and never empty.
func parseRoles(v *form.Value) ([]string, error) {
	items := v.Items
	if v.Kind == form.Text {
		items = []*form.Value{v}
	} else if v.Kind != form.List || len(items) == 0 {
		return nil, refuse("roles are names")
	}
	if len(items) > maxRoles {
		return nil, refuse("too many roles")
	}
	var names []string
	for _, item := range items {
		if item.Kind != form.Text {
			return nil, refuse("roles are names")
		}
		names = append(names, item.Text)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// parseDuration reads whole seconds, digits only.
func parseDuration(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 32) // accepts no sign, decimal point or space
	d := time.Duration(n) * time.Second
	if err != nil || d < time.Second || d > MaxDuration {
		return 0, refuse("duration is whole seconds from 1 to 31536000")
	}
	return d, nil
}
