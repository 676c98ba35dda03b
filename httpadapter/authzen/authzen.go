package authzen

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// Subject is what a question is about.
type Subject struct {
	Type       string         `json:"type"`
	ID         string         `json:"id"`
	Properties map[string]any `json:"properties,omitempty"` // as the caller sent them; numbers are a json.Number
}

// Action is what the subject would do.
type Action struct {
	Name       string         `json:"name"`
	Properties map[string]any `json:"properties,omitempty"`
}

// Resource is what it would be done to.
type Resource struct {
	Type       string       `json:"type"`
	ID         string       `json:"id"`
	Properties latchkey.Row `json:"properties,omitempty"`
}

// Question is one question, with defaults filled in. In a search, what is searched for has no id, or no name.
type Question struct {
	Subject  Subject        `json:"subject"`
	Action   Action         `json:"action"`
	Resource Resource       `json:"resource"`
	Context  map[string]any `json:"context,omitempty"`
}

// Options configure [Mount] and [Handler]. They must not be changed afterwards. Functions are called concurrently, with
// the context of the request and the account of the caller's owner, which has every right. Their errors become the
// statuses of [httpadapter.ProblemOf], unless said otherwise.
type Options struct {
	// URL identifies this decision point: "https://pdp.example.com". Its metadata says so, and the endpoints are beneath
	// it. It has no query, no fragment and no slash at its end. Its scheme is https; http is allowed for localhost.
	// Required.
	URL string

	// Subjects are subjects of the host's own, by type: "user". The type "token" is latchkey's. Nil: none.
	Subjects map[string]SubjectType

	// Resources says what resources are in rules, by type. A type that is missing is "<type>/<id>". Nil: all are.
	Resources map[string]ResourceType

	// Action returns the action that rules name: "archive" for {"name": "delete", "properties": {"soft": true}}, say. What
	// it returns may be no valid action, and is denied then. Nil: the name.
	Action func(Action) latchkey.Action

	// NoReasons leaves the reason out of decisions. It costs about as much as the decision.
	NoReasons bool
}

// SubjectType is how subjects of a type are known.
type SubjectType struct {
	// Rights returns what q.Subject may do: those of an [latchkey.Account.AssumeWith], say, or of a token. An error that
	// wraps [latchkey.ErrNotFound] or [latchkey.ErrInvalidToken] says that there is no such subject. A caller that may ask
	// about the subject sees rules of these Rights in reasons: see Options.NoReasons. An Assumed Access knows the boundary
	// and the off switch of the owner only after [latchkey.Access.Again]. Required.
	Rights func(ctx context.Context, account latchkey.Account, q Question) (latchkey.Rights, error)

	// List returns the ids of subjects of the type, for subject search: up to page.Size() of them behind page.After, in
	// the order of their bytes. Fewer than that are the last. Nil: subject search finds none.
	List func(ctx context.Context, account latchkey.Account, page latchkey.Page) ([]string, error)
}

// ResourceType is what resources of a type are in rules.
type ResourceType struct {
	// On is the resource in rules. "{id}" as a segment stands for the resource's id: "shop/invoice/{id}". Without it all
	// of the type are rows of that resource: "dataset/orders". "": "<type>/{id}".
	On string

	// Schema is the fields of the row of such a resource, for rules with conditions. Nil: that of On in the Catalogue.
	Schema *latchkey.Schema

	// Row returns the row of q.Resource. An error that wraps [latchkey.ErrNotFound] says that there is no such resource.
	// It is called only where a condition decides. Nil: the row is q.Resource.Properties.
	Row func(ctx context.Context, account latchkey.Account, q Question) (latchkey.Row, error)

	// Actions are the names that action search may return. Nil: the actions of On in the Catalogue.
	Actions []string

	// Search returns resources of the type, for resource search. Nil: resource search finds none. If no type has one,
	// there is no resource search.
	Search func(ctx context.Context, account latchkey.Account, q ResourceQuery) ([]FoundResource, error)
}

// ResourceQuery asks [ResourceType.Search] for resources.
type ResourceQuery struct {
	Question
	// Rows are the rows to return: its SQL goes into the WHERE clause. It may admit more than the subject may act on: each
	// resource is decided about afterwards.
	Rows *latchkey.Predicate
	// Page asks for up to Page.Size() resources behind the id Page.After, in the order of the bytes of their ids. Fewer
	// than that are the last. After comes from the caller: it may be any text.
	Page latchkey.Page
}

// FoundResource is a resource with its row, which must have the fields that conditions name. A nil Row is what
// [ResourceType.Row] returns.
type FoundResource struct {
	ID  string
	Row latchkey.Row
}

const (
	maxBody        = 256 << 10
	maxEvaluations = 100
	maxLooked      = 1000 // candidates of a search
	maxRequestID   = 1024
)

const (
	typeToken  = "token"
	typeClient = "client"
)

// surface is an Adapter and the options it is served with.
type surface struct {
	auth      *httpadapter.Adapter
	opts      Options
	catalogue *latchkey.Catalogue
	kinds     map[string]*kind        // of opts.Resources
	endpoints map[string]http.Handler // by path
}

// Mount registers the endpoints: beneath the path of Options.URL /access/v1/evaluation, /access/v1/evaluations and
// /access/v1/search/subject, …/action and …/resource, and the metadata beneath /.well-known/authzen-configuration. It
// panics on invalid options.
func Mount(mux httpadapter.Mux, auth *httpadapter.Adapter, opts *Options) {
	for path, h := range newSurface(auth, opts).endpoints {
		mount.Handle(mux, path, h)
	}
}

// Handler returns a handler with the endpoints that [Mount] registers, for hosts that route requests themselves. It
// answers every other path with 404.
func Handler(auth *httpadapter.Adapter, opts *Options) http.Handler {
	return adapters.Endpoints(newSurface(auth, opts).endpoints)
}

func newSurface(auth *httpadapter.Adapter, opts *Options) *surface {
	if auth == nil || opts == nil {
		panic("authzen: Mount needs an Adapter, and Options with URL")
	}
	s := &surface{auth: auth, opts: *opts, catalogue: auth.Manager().Catalogue(), kinds: map[string]*kind{}}
	for name, t := range s.opts.Subjects {
		switch {
		case name == "" || name == typeToken:
			panic(fmt.Sprintf("authzen: Options.Subjects: the type %q is not the host's", name))
		case t.Rights == nil:
			panic(fmt.Sprintf("authzen: Options.Subjects: %q has no Rights", name))
		}
	}
	for name, t := range s.opts.Resources {
		s.kinds[name] = newKind(name, t)
	}
	if s.opts.Action == nil {
		s.opts.Action = func(a Action) latchkey.Action { return latchkey.Action(a.Name) }
	}
	base := adapters.CheckURL("authzen", "URL", s.opts.URL).Path
	m := metadata{PDP: s.opts.URL}
	s.endpoints = map[string]http.Handler{}
	add := func(in *string, path string, h http.Handler) {
		*in = s.opts.URL + path
		s.endpoints[base+path] = h
	}
	add(&m.Evaluation, "/access/v1/evaluation", endpoint(s, (*caller).evaluation))
	add(&m.Evaluations, "/access/v1/evaluations", endpoint(s, (*caller).evaluations))
	add(&m.SearchSubject, "/access/v1/search/subject", endpoint(s, (*caller).searchSubject))
	if s.canSearch(func(k *kind) bool { return k.Search != nil }) {
		add(&m.SearchResource, "/access/v1/search/resource", endpoint(s, (*caller).searchResource))
	}
	if s.catalogue != nil || s.canSearch(func(k *kind) bool { return k.Actions != nil }) {
		add(&m.SearchAction, "/access/v1/search/action", endpoint(s, (*caller).searchAction))
	}
	s.endpoints["/.well-known/authzen-configuration"+base] = adapters.Document(m)
	return s
}

func (s *surface) canSearch(can func(*kind) bool) bool {
	for _, k := range s.kinds {
		if can(k) {
			return true
		}
	}
	return false
}

// metadata is the document of §9.
type metadata struct {
	PDP            string `json:"policy_decision_point"`
	Evaluation     string `json:"access_evaluation_endpoint"`
	Evaluations    string `json:"access_evaluations_endpoint"`
	SearchSubject  string `json:"search_subject_endpoint"`
	SearchResource string `json:"search_resource_endpoint,omitempty"`
	SearchAction   string `json:"search_action_endpoint,omitempty"`
}

// kind is a ResourceType, checked. One without segments is for types that Options.Resources does not name.
type kind struct {
	ResourceType
	segments []string
	id       int // which of them is the resource's id; -1: none
}

func newKind(name string, t ResourceType) *kind {
	k := &kind{ResourceType: t}
	if t.On == "" {
		k.segments, k.id = []string{name, ""}, 1
		return k
	}
	k.segments = strings.Split(t.On, "/")
	if k.id = slices.Index(k.segments, "{id}"); k.id >= 0 {
		k.segments[k.id] = "x"
	}
	if err := latchkey.Resource(strings.Join(k.segments, "/")).Validate(); err != nil ||
		strings.ContainsAny(strings.Join(k.segments, ""), "{}") {
		panic(fmt.Sprintf("authzen: Options.Resources: %q: On must be a resource, with one segment {id} or none", name))
	}
	for i, text := range k.segments {
		k.segments[i] = latchkey.Resource(text).Segments()[0] // Path escapes it again
	}
	return k
}

// kind returns what resources of a type are.
func (s *surface) kind(name string) *kind {
	if k, ok := s.kinds[name]; ok {
		return k
	}
	return newKind(name, ResourceType{})
}

// resource returns the resource in rules.
func (k *kind) resource(id string) latchkey.Resource {
	if k.id < 0 {
		return latchkey.Path(k.segments...)
	}
	segments := slices.Clone(k.segments)
	segments[k.id] = id
	return latchkey.Path(segments...)
}

// schema returns the fields of the rows of a resource, nil if it has none.
func (s *surface) schema(k *kind, on latchkey.Resource) *latchkey.Schema {
	if k.Schema != nil {
		return k.Schema
	}
	declared, _ := s.catalogue.Find(on)
	return declared.Schema
}

// endpoint serves POST requests with a JSON object, which is read into a T.
func endpoint[T any](s *surface, answer func(*caller, context.Context, *T) (any, error)) http.Handler {
	authenticated := s.auth.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "use POST", http.StatusMethodNotAllowed)
			return
		}
		var request T
		reply, err := any(nil), readRequest(r, &request)
		if err == nil {
			var c *caller
			if c, err = s.caller(r.Context()); err == nil {
				reply, err = answer(c, r.Context(), &request)
			}
		}
		if err != nil {
			s.auth.WriteError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = json.NewEncoder(w).Encode(reply) // an error means that the client is gone
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := returnRequestID(w.Header(), r.Header["X-Request-Id"]); err != nil {
			s.auth.WriteError(w, r, err)
			return
		}
		authenticated.ServeHTTP(w, r)
	})
}

// returnRequestID sets the X-Request-ID of a reply to that of its request.
func returnRequestID(h http.Header, values []string) error {
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || len(values[0]) > maxRequestID || strings.ContainsFunc(values[0], func(c rune) bool {
		return c < ' ' || c == 0x7f
	}) {
		return httpadapter.BadRequest("X-Request-ID is given twice, too long, or holds control characters")
	}
	if holdsSecret([]byte(values[0])) {
		return httpadapter.BadRequest("X-Request-ID holds the text of a token")
	}
	h["X-Request-Id"] = values[:1:1]
	return nil
}
