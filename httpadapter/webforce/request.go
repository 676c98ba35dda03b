package webforce

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/form"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// request is a parsed call: its query and its body taken together.
type request struct {
	command string
	secret  string
	params  *form.Value
}

// carriers are where a credential may be, besides the query and the form: nowhere. A Bearer token beside auth_token is
// a second credential all the same.
var carriers = httpadapter.Carriers{Basic: httpadapter.BasicIgnored}

// findSecret returns the auth_token of r before the caller is authenticated. It decodes nothing else. It reads the
// body only if the query has no auth_token and exhausted returns nil, and puts the body back.
func findSecret(r *http.Request, exhausted func() error) (string, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return "", refuse("Use GET or POST")
	}
	f, err := form.Find(r.URL.RawQuery, nameToken, true)
	if err != nil {
		return "", malformed("query", err)
	}
	if f.N == 0 {
		if err := exhausted(); err != nil {
			return "", err
		}
		body, err := rawBody(r)
		if err != nil {
			return "", err
		}
		if f, err = form.Find(string(body), nameToken, true); err != nil {
			return "", malformed("form", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	switch {
	case f.N == 0:
		return carriers.Find(r)
	case f.N > 1 || f.Kind == form.List:
		return "", httpadapter.ErrManyCredentials
	case f.Kind != form.Text:
		return "", refuse("auth_token is a text")
	}
	return carriers.Find(r, f.Value)
}

// commandName returns the command that r names if it is a known one, else "". It is for log lines about callers that
// are not authenticated.
func (s *surface) commandName(r *http.Request) string {
	f, err := form.Find(r.URL.RawQuery, nameCommand, false)
	if err == nil && f.N == 0 {
		var body []byte
		if body, err = rawBody(r); err == nil {
			f, err = form.Find(string(body), nameCommand, false)
		}
	}
	if _, known := s.commands[f.Value]; err != nil || f.N != 1 || !known {
		return ""
	}
	return f.Value
}

// readRequest parses all of r, after the caller is authenticated.
func readRequest(r *http.Request) (request, error) {
	query, err := form.Parse(r.URL.RawQuery)
	if err != nil {
		return request{}, malformed("query", err)
	}
	body, err := readBody(r)
	if err != nil {
		return request{}, err
	}
	var secrets []string
	for _, tree := range []*form.Value{query, body} {
		switch v := tree.Get(nameToken); {
		case v == nil:
		case v.Kind == form.Text:
			secrets = append(secrets, v.Text)
		case v.Kind == form.List:
			return request{}, httpadapter.ErrManyCredentials
		default:
			return request{}, refuse("auth_token is a text")
		}
	}
	req := request{}
	if req.secret, err = carriers.Find(r, secrets...); err != nil {
		return request{}, err
	}
	if req.params, err = merge(query, body); err != nil {
		return request{}, err
	}
	switch v := req.params.Get(nameVersion); {
	case v == nil, v.Kind == form.Text && (v.Text == "" || v.Text == "1.0" || v.Text == "1"):
	default:
		return request{}, refuse("Unsupported version: use 1.0")
	}
	req.command, err = text(req.params, nameCommand)
	return req, err
}

// rawBody reads a form without decoding it. It returns nil if there is no body.
func rawBody(r *http.Request) ([]byte, error) {
	body, err := httpadapter.ReadBody(r, form.MaxBytes)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	kind, err := httpadapter.MediaType(r)
	if err != nil {
		return nil, err
	}
	if kind != "" && kind != "application/x-www-form-urlencoded" {
		return nil, httpadapter.ErrMediaType
	}
	return body, nil
}

func readBody(r *http.Request) (*form.Value, error) {
	body, err := rawBody(r)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	tree, err := form.Parse(string(body))
	if err != nil {
		return nil, malformed("form", err)
	}
	return tree, nil
}

// malformed returns the refusal of a text that could not be parsed. Errors of package form hold nothing of the input.
func malformed(what string, err error) error {
	if errors.Is(err, form.ErrTooLarge) {
		return httpadapter.ErrTooLarge
	}
	return refuse("Malformed " + what + strings.TrimPrefix(err.Error(), form.ErrMalformed.Error()))
}

// merge combines query and body. A parameter in both is refused: two readers could use different ones.
func merge(query, body *form.Value) (*form.Value, error) {
	all := &form.Value{Kind: form.Map, Map: map[string]*form.Value{}}
	for _, tree := range []*form.Value{query, body} {
		if tree == nil {
			continue
		}
		for _, name := range tree.Names {
			if all.Map[name] != nil {
				return nil, refuse("A parameter is given both in the query and in the body")
			}
			all.Names = append(all.Names, name)
			all.Map[name] = tree.Map[name]
		}
	}
	return all, nil
}

// text returns a parameter that must be given exactly once.
func text(params *form.Value, name string) (string, error) {
	v := params.Get(name)
	if v == nil {
		return "", refuse("Missing parameter: " + name)
	}
	if v.Kind != form.Text {
		return "", refuse("Parameter " + name + " is given once, as a text")
	}
	return v.Text, nil
}

// maxDepth bounds the nesting of JSON.
const maxDepth = strictjson.MaxDepth

// jsonText returns s as JSON, and refuses a text that is not JSON with exactly one meaning.
func jsonText(what, s string) (json.RawMessage, error) {
	if err := strictjson.Valid([]byte(s), maxDepth); err != nil {
		return nil, refuse(what + " is no valid JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	return json.RawMessage(s), nil
}

// bracketsJSON appends a value that was sent in brackets as JSON; every scalar is a text.
func bracketsJSON(b []byte, v *form.Value) []byte {
	switch v.Kind {
	case form.List:
		b = append(b, '[')
		for i, item := range v.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = bracketsJSON(b, item)
		}
		return append(b, ']')
	case form.Map:
		b = append(b, '{')
		for i, name := range v.Names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, quote(name)...), ':')
			b = bracketsJSON(b, v.Map[name])
		}
		return append(b, '}')
	}
	return append(b, quote(v.Text)...)
}
