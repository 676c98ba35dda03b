package forward

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// route is an entry of the table, with what checks its callers.
type route struct {
	Route
	method  string
	shape   shape
	guarded http.Handler
	rivals  []*route // that a router which ignores case or a slash at the end could take instead
}

// add fills the muxes. There is one for each method, so that none matches the requests of another.
func (h *handler) add(routes []Route) {
	if len(routes) == 0 {
		panic("forward: no routes: every request would be refused")
	}
	all := make([]*route, len(routes))
	for i, r := range routes {
		method, path, ok := strings.Cut(r.Pattern, " ")
		path = strings.TrimLeft(path, " ")
		switch {
		case !ok || method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "":
			panic(fmt.Sprintf(`forward: pattern %q: begin with a method: "GET /data/{id}"`, r.Pattern))
		case method == http.MethodConnect:
			panic(fmt.Sprintf("forward: pattern %q: CONNECT has no path", r.Pattern))
		case path == "" || path[0] != '/':
			panic(fmt.Sprintf("forward: pattern %q: the path must begin with a slash; for several hosts use several handlers",
				r.Pattern))
		case r.Meter == "" && r.Credits != 0:
			panic(fmt.Sprintf("forward: pattern %q: Credits without a Meter", r.Pattern))
		}
		for _, name := range wildcards(r.Resource) {
			if !strings.Contains(path, "{"+name+"}") && !strings.Contains(path, "{"+name+"...}") {
				panic(fmt.Sprintf("forward: pattern %q has no wildcard {%s} for the resource %q", r.Pattern, name, r.Resource))
			}
		}
		e := &route{Route: r, method: method, shape: newShape(path)}
		var guarded http.Handler = http.HandlerFunc(e.pass)
		if r.Meter != "" {
			guarded = h.auth.Spend(r.Meter, r.Credits)(guarded)
		}
		if r.Rows {
			guarded = h.auth.RequireRows(r.Action, r.Resource)(guarded)
		} else {
			guarded = h.auth.Require(r.Action, r.Resource)(guarded)
		}
		e.guarded = guarded
		if h.muxes[method] == nil {
			h.muxes[method] = http.NewServeMux()
		}
		h.muxes[method].Handle(path, e) // panics on a malformed pattern and on two that conflict
		all[i] = e
	}
	for _, e := range all {
		for _, other := range all { // e itself means the same
			if e.method != other.method || e.means(other) || !e.shape.overlaps(other.shape) {
				continue
			}
			switch covered, covers := other.shape.covers(e.shape), e.shape.covers(other.shape); {
			case covered && covers:
				panic(fmt.Sprintf("forward: patterns %q and %q differ only in case or in a slash at the end, which many "+
					"routers ignore, so they must need the same", e.Pattern, other.Pattern))
			case !covered:
				e.rivals = append(e.rivals, other)
			}
		}
	}
}

// means reports whether both entries let the same callers pass, at the same cost.
func (e *route) means(other *route) bool {
	a, b := e.Route, other.Route
	a.Pattern, b.Pattern = "", ""
	return a == b
}

// wildcards returns the names of the wildcards of a resource. [httpadapter.Adapter.Require] checks their form.
func wildcards(resource string) (names []string) {
	for segment := range strings.SplitSeq(resource, "/") {
		if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") {
			names = append(names, segment[1:len(segment)-1])
		}
	}
	return names
}

// ServeHTTP is called by the mux. The writer is the call.
func (e *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := w.(*call)
	c.matched = true
	r.Pattern = e.Pattern // the mux knows the path only
	for _, rival := range e.rivals {
		if rival.shape.matches(r.URL.Path) {
			c.handler.auth.WriteError(c, r, httpadapter.BadRequest(
				"the path means another route to routers that ignore case, or a slash at the end"))
			return
		}
	}
	e.guarded.ServeHTTP(c, r)
}

// pass is the handler behind the guards.
func (e *route) pass(w http.ResponseWriter, r *http.Request) {
	c := callOf(w)
	access, ok := httpadapter.AccessFrom(r.Context())
	if !ok {
		c.handler.auth.WriteError(w, r, errors.New("forward: a guarded request without an Access"))
		return
	}
	rows := "true"
	if e.Rows {
		condition, _ := httpadapter.RowsFrom(r.Context())
		var err error
		if rows, err = rowsText(condition); err != nil {
			c.handler.auth.WriteError(w, r, err)
			return
		}
	}
	c.pass(w, &access, rows)
}

// callOf returns the call beneath the writers of the guards.
func callOf(w http.ResponseWriter) *call {
	for {
		if c, ok := w.(*call); ok {
			return c
		}
		w = w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
	}
}

// shape is a pattern or a path as routers see it that ignore case and a slash at the end.
type shape struct {
	segments []string // "" for a wildcard
	open     bool     // any segments may follow
}

// newShape returns the shape of a pattern without its method.
func newShape(path string) (s shape) {
	path, ends := strings.CutSuffix(path, "{$}")
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		switch {
		case strings.HasSuffix(segment, "...}"):
			s.open = true
			return s
		case strings.HasPrefix(segment, "{"):
			s.segments = append(s.segments, "")
		case segment != "":
			s.segments = append(s.segments, segment)
		}
	}
	s.open = !ends && strings.HasSuffix(path, "/")
	return s
}

// matches reports whether a decoded path has the shape.
func (s shape) matches(path string) bool {
	rest := strings.Trim(path, "/")
	for _, want := range s.segments {
		if rest == "" {
			return false
		}
		var segment string
		if segment, rest, _ = strings.Cut(rest, "/"); want != "" && !strings.EqualFold(segment, want) {
			return false
		}
	}
	return rest == "" || s.open
}

// overlaps reports whether some path has both shapes.
func (s shape) overlaps(t shape) bool {
	for i := range min(len(s.segments), len(t.segments)) {
		if a, b := s.segments[i], t.segments[i]; a != "" && b != "" && !strings.EqualFold(a, b) {
			return false
		}
	}
	return len(s.segments) == len(t.segments) || len(s.segments) < len(t.segments) && s.open ||
		len(s.segments) > len(t.segments) && t.open
}

// covers reports whether every path of shape t has shape s.
func (s shape) covers(t shape) bool {
	if len(s.segments) > len(t.segments) {
		return false
	}
	for i, a := range s.segments {
		if b := t.segments[i]; a != "" && (b == "" || !strings.EqualFold(a, b)) {
			return false
		}
	}
	return s.open || len(s.segments) == len(t.segments) && !t.open
}
