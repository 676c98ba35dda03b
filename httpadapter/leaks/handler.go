package leaks

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const (
	maxBody      = 1 << 20
	defaultLimit = 1000
)

// handler is what both surfaces share.
type handler struct {
	manager *latchkey.Manager
	opts    Options
	serve   func(*handler, http.ResponseWriter, *http.Request)
}

func newHandler(name string, m *latchkey.Manager, opts *Options,
	serve func(*handler, http.ResponseWriter, *http.Request)) *handler {
	if m == nil {
		panic("leaks: " + name + " needs a Manager")
	}
	h := &handler{manager: m, serve: serve}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Limit < 0 {
		panic("leaks: Options.Limit is negative")
	}
	if h.opts.Limit == 0 {
		h.opts.Limit = defaultLimit
	}
	return h
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	httpadapter.ForbidStoring(w.Header())
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, "use POST")
		return
	}
	h.serve(h, w, r)
}

// body reads a body of a type, or refuses the request.
func (h *handler) body(w http.ResponseWriter, r *http.Request, want string) ([]byte, bool) {
	media, err := httpadapter.MediaType(r)
	if err == nil && media != want {
		err = httpadapter.ErrMediaType
	}
	var body []byte
	if err == nil {
		body, err = httpadapter.ReadBody(r, maxBody)
	}
	switch {
	case err == nil:
		return body, true
	case errors.Is(err, httpadapter.ErrTooLarge):
		h.refuse(w, http.StatusRequestEntityTooLarge, "the body is longer than 1 MiB")
	case errors.Is(err, httpadapter.ErrMediaType):
		h.refuse(w, http.StatusUnsupportedMediaType, "the body must be "+want+", not compressed")
	default:
		h.refuse(w, http.StatusBadRequest, "the body cannot be read")
	}
	return nil, false
}

// end acts upon reports. If it cannot do so for each of them, it answers the request.
func (h *handler) end(w http.ResponseWriter, r *http.Request, reports []Report) ([]Result, bool) {
	if len(reports) > h.opts.Limit {
		h.refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("at most %d texts in one request", h.opts.Limit))
		return nil, false
	}
	results := End(r.Context(), h.manager, reports, &h.opts)
	var errs []error
	for i := range results {
		if err := results[i].Err; err != nil && len(errs) < 8 { // the log needs no more of the same
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		h.unavailable(w, r, errors.Join(errs...))
		return nil, false
	}
	return results, true
}

func (h *handler) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encode(w, v)
}

func (h *handler) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if h.opts.Logger != nil {
		h.opts.Logger.ErrorContext(r.Context(), "leaks: a report was not acted upon in full", "error", err)
	}
	w.Header().Set("Retry-After", "60")
	h.refuse(w, http.StatusServiceUnavailable, "some reports could not be acted upon: send all of them again")
}

func (h *handler) refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	encode(w, httpadapter.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

// encode writes v. An error means that the client is gone.
func encode(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// lineEnds makes every line end of Unicode (UAX #14) a line feed.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n",
	"\u2029", "\n")

// invisible reports whether c is white space, or a format character: a byte order mark, a zero-width space.
func invisible(c rune) bool { return unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) }

// List answers a list of texts: text/plain with one text on each line, as other scanners print them. A line ends with
// any line end of Unicode. Around a text, white space, byte order marks and zero-width characters are left out, and so
// are empty lines. Guard it with [httpadapter.Adapter.Require], or serve it where only the host's own programs can
// reach it.
//
// The answer is 200 when each was acted upon: a JSON array in the order of the lines, with line (from 1 on), known,
// owner, token, name, kind and action. It holds no text. Other answers are those of [GitHub], which never include 403
// here. Nil options are ready to use. List panics if m is nil.
func List(m *latchkey.Manager, opts *Options) http.Handler {
	return newHandler("List", m, opts, func(h *handler, w http.ResponseWriter, r *http.Request) {
		body, ok := h.body(w, r, "text/plain")
		if !ok {
			return
		}
		if !utf8.Valid(body) {
			h.refuse(w, http.StatusBadRequest, "the body is not valid UTF-8")
			return
		}
		var reports []Report
		var lines []int
		for i, line := range strings.Split(lineEnds.Replace(string(body)), "\n") {
			if len(reports) > h.opts.Limit {
				break // it is refused
			}
			if text := strings.TrimFunc(line, invisible); text != "" {
				reports, lines = append(reports, Report{Text: text}), append(lines, i+1)
			}
		}
		results, ok := h.end(w, r, reports)
		if !ok {
			return
		}
		answer := make([]listed, len(results))
		for i := range results {
			answer[i] = listed{Line: lines[i], Known: results[i].Known}
			if leak := &results[i].Leak; results[i].Known {
				answer[i].Owner, answer[i].Token, answer[i].Name = leak.Token.Owner, leak.Token.ID, leak.Token.Name
				answer[i].Kind, answer[i].Action = leak.Token.Kind.String(), leak.Action.String()
			}
		}
		h.answer(w, answer)
	})
}

// listed is what List answers for a line.
type listed struct {
	Line   int    `json:"line"`
	Known  bool   `json:"known"`
	Owner  string `json:"owner,omitempty"`
	Token  string `json:"token,omitempty"`
	Name   string `json:"name,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Action string `json:"action,omitempty"`
}
