package cloudtables

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/form"
)

// Call is a data call: the caller, narrowed to what the call asks for, and the row that was sent.
type Call struct {
	// Access is narrowed by the call's role, roles and conditions. Its Filter returns the condition on rows. Bind it to
	// a schema that knows both the ids and the display names of data points.
	Access latchkey.Access

	// Fields are the row's values as they were sent: texts from a form; text, json.Number, bool or nil from JSON. The
	// options of the call (key, role, roles, conditions, condition) are not included. Pass it to Access.Prepare.
	Fields latchkey.Row

	// Links are the row's links ("l-2"): ids of rows of other data sets. An empty list unlinks.
	Links map[string][]string
}

// Authorize returns a function that authenticates and authorizes a data call of the product. Those are the dataset
// calls under /api/1 and /io/api/1, the loader's and the page's. It mints no token. A call that passes is counted:
// see [Meter].
//
// The call carries exactly one credential:
//
//   - the API key as "key" in the query, in the body of any method, or in a header of that name;
//   - the API key as "apikey" in the query;
//   - a token as "token" in the query.
//
// A key in the place of a token, or the reverse, is refused. role, roles, conditions and condition narrow the call,
// in the query and in the body. clientId and clientName are read in the query, beside a key: a token has the client
// that it was made for.
//
// Set [httpadapter.ForbidStoring] on replies to URLs that hold a credential. [WriteError] does so itself.
//
// Pass errors to [WriteError]. The function reads the request's body.
func Authorize(account latchkey.Account, opts *Options) func(*http.Request) (Call, error) {
	return newSurface(account, opts).authorize
}

func (s *surface) authorize(r *http.Request) (Call, error) {
	r, c, err := s.admit(r, true)
	if err != nil {
		return Call{}, err
	}
	call, err := c.call(r.Context())
	if err != nil {
		httpadapter.Refused(r.Context(), err)
		return Call{}, err
	}
	call.Access.Count(Meter, endpointOf(r.Method, r.URL.Path), 1)
	return call, nil
}

// call returns the data call, narrowed to what the caller may do.
func (c caller) call(ctx context.Context) (call Call, err error) {
	account, access, req := c.account, c.access, c.request
	if call.Fields, call.Links, err = fields(req.fields); err != nil {
		return Call{}, err
	}
	if !mayCall(access.Kind(), req.asToken) {
		return Call{}, refuseAccess()
	}
	if req.asToken {
		req.client = latchkey.Client{} // the token has its own client; rows may depend on it
	}
	n, err := narrowing(ctx, account, access, req)
	if err != nil {
		return Call{}, err
	}
	if call.Access, err = access.Narrow(ctx, n); err != nil {
		return Call{}, mintError(err)
	}
	return call, nil
}

// endpointOf returns the name of a data call in the product's API. Ids are left out: a caller can invent any number
// of them. A path that is not the product's is "other".
func endpointOf(method, path string) string {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if !slices.Contains(methods, method) {
		return "other"
	}
	segments := strings.Split(strings.TrimRight(path, "/"), "/")
	at := slices.IndexFunc(segments, func(s string) bool { return slices.Contains(roots, s) })
	if at < 0 {
		return "other"
	}
	root, rest := segments[at], segments[at+1:]
	switch {
	case root == "datasets" && len(rest) == 0:
		return method + " /datasets"
	case root == "datasets" || len(rest) == 0 || len(rest) > 3:
		return "other"
	case len(rest) == 1:
		return method + " /" + root + "/:id"
	case root == "dataset" && len(rest) == 2 && !slices.Contains(views, rest[1]):
		return method + " /dataset/:id/:row"
	case !slices.Contains(views, rest[1]):
		return "other"
	}
	return method + " /" + root + "/:id/" + rest[1] // the style of a loader is left out, too
}

// The parts of endpoint names.
var (
	methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}
	roots   = []string{"datasets", "dataset", "loader"}
	views   = []string{"data", "schema", "table", "form"}
)

// fields returns the row and the links in a body.
func fields(body *form.Value) (latchkey.Row, map[string][]string, error) {
	var row latchkey.Row
	var links map[string][]string
	if body == nil {
		return nil, nil, nil
	}
	for _, name := range body.Names {
		switch name {
		case nameKey, nameRole, nameRoles, nameConditions, nameCondition:
			continue
		}
		v := body.Map[name]
		if v.Kind == form.List || strings.HasPrefix(name, "l-") {
			ids, err := linkIDs(v)
			if err != nil {
				return nil, nil, err
			}
			if links == nil {
				links = map[string][]string{}
			}
			links[name] = ids
			continue
		}
		if row == nil {
			row = latchkey.Row{}
		}
		switch v.Kind {
		case form.Text:
			row[name] = v.Text
		case form.Number:
			row[name] = json.Number(v.Text)
		case form.Bool:
			row[name] = v.Text == "true"
		case form.Null:
			row[name] = nil
		default:
			return nil, nil, refuse("a field is a text, a number or a list")
		}
	}
	return row, links, nil
}

// linkIDs reads one id or a list of ids. It skips empty ids, which clients send for an empty list.
func linkIDs(v *form.Value) ([]string, error) {
	items := v.Items
	if v.Kind != form.List {
		items = []*form.Value{v}
	}
	ids := []string{}
	for _, item := range items {
		switch {
		case item.Kind == form.Null || item.Kind == form.Text && item.Text == "":
		case item.Kind == form.Text || item.Kind == form.Number:
			ids = append(ids, item.Text)
		default:
			return nil, refuse("a link is an id")
		}
	}
	return ids, nil
}
