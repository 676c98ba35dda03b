package authzen

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// The forms of requests. What a form lacks is unknown there, and ignored.
type (
	subjectForm struct {
		Type       *string        `json:"type"`
		ID         *string        `json:"id"`
		Properties map[string]any `json:"properties"`
	}
	actionForm struct {
		Name       *string        `json:"name"`
		Properties map[string]any `json:"properties"`
	}
	resourceForm struct {
		Type       *string      `json:"type"`
		ID         *string      `json:"id"`
		Properties latchkey.Row `json:"properties"`
	}
	// typeForm is what is searched for. An id is ignored there (§8.4.1, §8.5.1). So are properties: they would be those of
	// every candidate.
	typeForm struct {
		Type *string `json:"type"`
	}

	evaluationForm struct {
		Subject  *subjectForm   `json:"subject"`
		Action   *actionForm    `json:"action"`
		Resource *resourceForm  `json:"resource"`
		Context  map[string]any `json:"context"`
	}
	evaluationsForm struct {
		Subject     *subjectForm      `json:"subject"`
		Action      *actionForm       `json:"action"`
		Resource    *resourceForm     `json:"resource"`
		Context     map[string]any    `json:"context"`
		Evaluations []*evaluationForm `json:"evaluations"`
		Options     struct {
			Semantic *string `json:"evaluations_semantic"`
		} `json:"options"`
	}
	subjectSearchForm struct {
		Subject  *typeForm      `json:"subject"`
		Action   *actionForm    `json:"action"`
		Resource *resourceForm  `json:"resource"`
		Context  map[string]any `json:"context"`
		Page     pageForm       `json:"page"`
	}
	resourceSearchForm struct {
		Subject  *subjectForm   `json:"subject"`
		Action   *actionForm    `json:"action"`
		Resource *typeForm      `json:"resource"`
		Context  map[string]any `json:"context"`
		Page     pageForm       `json:"page"`
	}
	actionSearchForm struct {
		Subject  *subjectForm   `json:"subject"`
		Resource *resourceForm  `json:"resource"`
		Context  map[string]any `json:"context"`
		Page     pageForm       `json:"page"`
	}
	pageForm struct {
		Token *string `json:"token"`
		Limit *int64  `json:"limit"`
	}
)

// missingError names a required member that a question lacks.
type missingError string

func (e missingError) Error() string { return "a required member is missing: " + string(e) }

// need reads a required text.
func need(to *string, from *string, name string) error {
	if from == nil || *from == "" {
		return missingError(name)
	}
	*to = *from
	return nil
}

func (f *subjectForm) read(s *Subject) error {
	if f == nil {
		return missingError("subject")
	}
	s.Properties = f.Properties
	return errors.Join(need(&s.Type, f.Type, "subject.type"), need(&s.ID, f.ID, "subject.id"))
}

func (f *typeForm) read(to *string, name string) error {
	if f == nil {
		return missingError(name)
	}
	return need(to, f.Type, name+".type")
}

func (f *actionForm) read(a *Action) error {
	if f == nil {
		return missingError("action")
	}
	a.Properties = f.Properties
	return need(&a.Name, f.Name, "action.name")
}

func (f *resourceForm) read(r *Resource) error {
	if f == nil {
		return missingError("resource")
	}
	r.Properties = f.Properties
	return errors.Join(need(&r.Type, f.Type, "resource.type"), need(&r.ID, f.ID, "resource.id"))
}

// question returns the question of an evaluation.
func (f *evaluationForm) question() (q Question, err error) {
	q.Context = f.Context
	return q, firstMissing(f.Subject.read(&q.Subject), f.Action.read(&q.Action), f.Resource.read(&q.Resource))
}

// question returns the question of a subject search.
func (f *subjectSearchForm) question() (q Question, err error) {
	q.Context = f.Context
	return q, firstMissing(f.Subject.read(&q.Subject.Type, "subject"), f.Action.read(&q.Action),
		f.Resource.read(&q.Resource))
}

// question returns the question of a resource search.
func (f *resourceSearchForm) question() (q Question, err error) {
	q.Context = f.Context
	return q, firstMissing(f.Subject.read(&q.Subject), f.Action.read(&q.Action),
		f.Resource.read(&q.Resource.Type, "resource"))
}

// question returns the question of an action search.
func (f *actionSearchForm) question() (q Question, err error) {
	q.Context = f.Context
	return q, firstMissing(f.Subject.read(&q.Subject), f.Resource.read(&q.Resource))
}

// firstMissing returns the first missingError of some errors.
func firstMissing(errs ...error) error {
	var missing missingError
	if errors.As(errors.Join(errs...), &missing) {
		return missing
	}
	return nil
}

// asBadRequest returns the error of a request for a missing member.
func asBadRequest(err error) error {
	if err != nil {
		return httpadapter.BadRequest(err.Error())
	}
	return nil
}

// readRequest reads the body of a request.
func readRequest(r *http.Request, into any) error {
	media, err := httpadapter.MediaType(r)
	if err == nil && media != "application/json" {
		err = httpadapter.ErrMediaType
	}
	var body []byte
	if err == nil {
		body, err = httpadapter.ReadBody(r, maxBody)
	}
	if errors.Is(err, httpadapter.ErrMediaType) { // §10.1: 400
		return httpadapter.BadRequest("the body must be application/json in UTF-8, not compressed")
	}
	if err != nil {
		return err
	}
	return decode(body, into)
}

// decode reads an object into a pointer to a form.
func decode(body []byte, into any) error {
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return httpadapter.BadRequest("the body must be a JSON object")
	}
	if err := strictjson.UnmarshalOpen(body, into); err != nil {
		var e *strictjson.Error
		if errors.As(err, &e) {
			return httpadapter.BadRequest("the body is no JSON with one meaning, or a member has the wrong type: " + e.Reason)
		}
		return httpadapter.BadRequest("the body is malformed")
	}
	if holdsSecret(body) {
		return httpadapter.BadRequest("the body holds the text of a token. Name a token by its id, never by its text, and " +
			"rotate the one that was sent")
	}
	return nil
}

var secretText = regexp.MustCompile(latchkey.SecretPattern(""))

// holdsSecret reports whether a JSON text holds the text of a token, in whatever place. Publishable ones are no
// secrets.
func holdsSecret(text []byte) bool {
	if bytes.IndexByte(text, '\\') >= 0 { // an escape may hide it, and Marshal writes none for what a token is made of
		var v any
		if json.Unmarshal(text, &v) == nil {
			text, _ = json.Marshal(v)
		}
	}
	for _, m := range secretText.FindAllSubmatch(text, -1) {
		if kind := string(m[1]); kind != "pk" && kind != "Tpk" && latchkey.CheckText(string(m[0])) {
			return true
		}
	}
	return false
}
