package datocms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// checker checks a body against the product's schema and collects the errors, in the format of its messages:
//
//	#/data/attributes: failed schema
//	#/definitions/role/links/0/schema/properties/data/properties/attributes: "x" is not a permitted key.
//
// The message is one line.
type checker struct {
	schema   string // "#/definitions/role/links/0/schema"
	messages []string
}

func newChecker(resource string, update bool) *checker {
	link := 0
	if update {
		link = 1
	}
	return &checker{schema: fmt.Sprintf("#/definitions/%s/links/%d/schema", resource, link)}
}

// fail adds a message, up to maxMessages.
func (c *checker) fail(at, what string) {
	if len(c.messages) == maxMessages {
		return
	}
	schema := c.schema
	for segment := range strings.SplitSeq(strings.TrimPrefix(at, "#"), "/") {
		if _, err := strconv.Atoi(segment); err == nil {
			schema += "/items"
		} else if segment != "" {
			schema += "/properties/" + segment
		}
	}
	c.messages = append(c.messages, at+": failed schema "+schema+": "+what)
}

// err returns INVALID_FORMAT with all messages, or nil if there are none.
func (c *checker) err() error {
	if len(c.messages) == 0 {
		return nil
	}
	return refuseFormat(c.messages...)
}

// object reads an object with these members and no others. It returns nil if raw is not an object.
func (c *checker) object(raw json.RawMessage, at string, required, optional []string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if !begins(raw, '{') || json.Unmarshal(raw, &m) != nil {
		c.fail(at, "not an object.")
		return nil
	}
	for _, name := range required {
		if _, ok := m[name]; !ok {
			c.fail(at, fmt.Sprintf("%q wasn't supplied.", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			c.fail(at, fmt.Sprintf("%.80q is not a permitted key.", name))
		}
	}
	return m
}

// list reads an array of at most most items.
func (c *checker) list(raw json.RawMessage, at string, most int) []json.RawMessage {
	var l []json.RawMessage
	if !begins(raw, '[') || json.Unmarshal(raw, &l) != nil {
		c.fail(at, "not an array.")
		return nil
	}
	if len(l) > most {
		c.fail(at, fmt.Sprintf("more than %d items.", most))
		return nil
	}
	return l
}

// boolean reads true or false. 0, 1, "true" and null are refused.
func (c *checker) boolean(raw json.RawMessage, at string) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "true":
		return true
	case "false":
		return false
	}
	c.fail(at, "not a boolean.")
	return false
}

func (c *checker) text(raw json.RawMessage, at string) string {
	var s string
	if !begins(raw, '"') || json.Unmarshal(raw, &s) != nil {
		c.fail(at, "not a string.")
	}
	return s
}

// oneOf reads one of the given texts.
func (c *checker) oneOf(raw json.RawMessage, at string, of ...string) string {
	s := c.text(raw, at)
	if !slices.Contains(of, s) {
		c.fail(at, "not one of "+strings.Join(of, ", ")+".")
	}
	return s
}

// id reads a valid id.
func (c *checker) id(raw json.RawMessage, at string) string {
	s := c.text(raw, at)
	if !validID(s) {
		c.fail(at, "not an id.")
	}
	return s
}

// link reads {"id": …, "type": …} with that type, and returns the id.
func (c *checker) link(raw json.RawMessage, at, kind string) string {
	m := c.object(raw, at, []string{"id", "type"}, nil)
	if m == nil || m["id"] == nil || m["type"] == nil {
		return ""
	}
	c.oneOf(m["type"], at+"/type", kind)
	return c.id(m["id"], at+"/id")
}

func begins(raw json.RawMessage, with byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == with
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func validID(s string) bool { return s != "" && len(s) <= maxID && !strings.ContainsRune(s, 0) }

// readData reads the "data" of a request's body. It checks its type, and its id in an update.
func readData(r *http.Request, c *checker, kind, id string, required, optional []string) (
	map[string]json.RawMessage, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, ErrJSONBody
	}
	top := c.object(body, "#", []string{"data"}, nil)
	if top == nil || top["data"] == nil {
		return nil, c.err()
	}
	required = append([]string{"type"}, required...)
	if id != "" {
		required = append(required, "id")
	}
	data := c.object(top["data"], "#/data", required, optional)
	if raw, ok := data["type"]; ok {
		c.oneOf(raw, "#/data/type", kind)
	}
	if raw, ok := data["id"]; ok && id != "" && c.text(raw, "#/data/id") != id {
		c.fail("#/data/id", "not the id of the path.")
	}
	return data, nil
}

// readBody reads a JSON body that has exactly one meaning. It returns nil if there is no body.
func readBody(r *http.Request) (json.RawMessage, error) {
	kind, err := httpadapter.MediaType(r)
	if err != nil {
		return nil, refuse(http.StatusUnsupportedMediaType, codeContentType, err)
	}
	body, err := httpadapter.ReadBody(r, maxBody)
	if err != nil {
		return nil, err
	}
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") && (kind != "" || len(body) > 0) {
		return nil, refuse(http.StatusUnsupportedMediaType, codeContentType, httpadapter.ErrMediaType)
	}
	if len(body) == 0 {
		return nil, nil
	}
	if err := strictjson.Valid(body, maxDepth); err != nil {
		return nil, ErrJSONBody
	}
	return body, nil
}
