package httpadapter

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestTemplate(t *testing.T) {
	decoded := &Options{PathValuesDecoded: true}
	const (
		bad  = "400" // the caller's fault
		lost = "500" // the program's
	)
	for _, tt := range []struct {
		route, target, template, want string
		opts                          *Options
	}{
		{"/x", "/x", "dataset/orders", "dataset/orders", nil},
		{"/x", "/x", "dataset", "dataset", nil},
		{"/d/{id}", "/d/orders", "dataset/{id}", "dataset/orders", nil},
		{"/d/{id}/{row}", "/d/orders/7", "dataset/{id}/row/{row}", "dataset/orders/row/7", nil},
		{"/d/{id}", "/d/a%2Fb", "dataset/{id}", "dataset/a%2Fb", nil},
		{"/d/{id...}", "/d/a/b", "dataset/{id}", "dataset/a%2Fb", nil},
		{"/d/{id}", "/d/%2A", "dataset/{id}", "dataset/%2A", nil},
		{"/d/{id}", "/d/50%25", "dataset/{id}", "dataset/50%25", nil},
		{"/d/{id}", "/d/%25", "dataset/{id}", "dataset/%25", nil},
		{"/d/{id}", "/d/50%25%20off", "dataset/{id}", "dataset/50%25 off", nil},
		{"/d/{id}", "/d/a+b", "dataset/{id}", "dataset/a+b", nil},
		{"/d/{id}", "/d/a%20b", "dataset/{id}", "dataset/a b", nil},
		{"/d/{id}", "/d/a%20b+c", "dataset/{id}", "dataset/a b+c", nil},
		{"/d/{id}", "/d/...", "dataset/{id}", "dataset/...", nil},
		{"/d/{id}", "/d/a%5Cb", "dataset/{id}", `dataset/a\b`, nil},
		{"/d/{id}", "/d/a%256C", "dataset/{id}", "dataset/a%256C", decoded},
		{"/d/{id...}", "/d/a/%256C", "dataset/{id}", "dataset/a%2F%256C", decoded},

		// Values that could be decoded or cleaned once more.
		{"/d/{id}", "/d/a%256C", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/a%252f", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/%25%25361", "dataset/{id}", bad, nil},
		{"/d/{id...}", "/d/x/a%256C", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/..%2Fother", "dataset/{id}", bad, decoded},
		{"/d/{id}", "/d/a%2F..%2Fother", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/a%5C..%5Cother", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/a%2F%2Fb", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/%2Fa", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/a%2F", "dataset/{id}", bad, nil},
		{"/d/{id...}", "/d/a/", "dataset/{id}", bad, nil},
		{"/d/{id}", "/d/%2E%2E", "dataset/{id}", bad, decoded},
		{"/d/{id}", "/d/%2E", "dataset/{id}", bad, nil},
		{"/d/{id...}", "/d/", "dataset/{id}", bad, nil},

		{"/d/{id}", "/d/%7Bx%7D", "dataset/{id}", "dataset/{x}", nil},

		{"/d/{id}", "/d/orders", "dataset/{ID}", lost, nil},
		{"/d/{id}", "/d/orders", "dataset/{i}", lost, nil},
		{"/d/{id}", "/d/orders", "dataset/{*}", lost, nil},
		{"/x", "/x", "dataset/{id}", lost, nil},
	} {
		tmpl := parseTemplate(tt.template)
		served := false
		mux := http.NewServeMux()
		mux.HandleFunc(tt.route, func(_ http.ResponseWriter, r *http.Request) {
			served = true
			opts := tt.opts
			if opts == nil {
				opts = &Options{}
			}
			got, err := tmpl.resource(r, opts)
			switch tt.want {
			case bad:
				require.ErrorIs(t, err, ErrBadRequest, tt.target)
				require.Empty(t, got)
				require.Equal(t, "id", ProblemOf(err).Field)
			case lost:
				require.ErrorContains(t, err, fmt.Sprintf("resource %q: the route %q has no value for the wildcard",
					tt.template, tt.route))
				require.Empty(t, got)
				require.Equal(t, 500, ProblemOf(err).Status)
			default:
				require.NoError(t, err, tt.target)
				require.Equal(t, tt.want, string(got), tt.target)
			}
		})
		r := httptest.NewRequest("GET", "/", nil)
		path, err := url.PathUnescape(tt.target)
		require.NoError(t, err)
		r.URL.Path, r.URL.RawPath = path, tt.target
		mux.ServeHTTP(httptest.NewRecorder(), r)
		require.True(t, served, tt.target)
	}
}

func TestTemplatePanics(t *testing.T) {
	for _, text := range []string{"", "/", "a/", "/a", "a//b", "*", "a/*", "a/b*", ".", "a/..", "{", "a/{",
		"a/{}", "a/{x", "a/x}",
		"a/b{x}", "a/{x}b", "a/{x}{y}", "a/{{x}}", "a/{x...}", "a/{$}", "a/{x:[0-9]+}", "a/{*x}", "a/{x*}", "a\x00", "a\xff",
		"\x00a", strings.Repeat("a", 513)} {
		require.Panics(t, func() { parseTemplate(text) }, text)
	}
	require.NotPanics(t, func() { parseTemplate(strings.Repeat("a", 512)) })
}

// A router that returns escaped values is detected even if the options state decoded ones. So is one that decodes
// "+".
func TestValuesThatAreNotWhatTheURLSays(t *testing.T) {
	tmpl := parseTemplate("dataset/{id}")
	for _, tt := range []struct {
		target, value string
		opts          *Options
		ok            bool
	}{
		{"/d/payrol%6C", "payroll", &Options{}, true},
		{"/d/payrol%6C", "payrol%6C", &Options{}, false},
		{"/d/payrol%6C", "payrol%6C", &Options{PathValuesDecoded: true}, false},
		{"/d/payrol%256C", "payrol%6C", &Options{}, false},
		{"/d/payrol%256C", "payrol%6C", &Options{PathValuesDecoded: true}, true},
		{"/d/a+%62", "a b", &Options{}, false},
		{"/d/a+%62", "a b", &Options{PathValuesDecoded: true}, false},
		{"/d/a+%62", "a+b", &Options{}, true},
		{"/d/a%20b", "a b", &Options{}, true},
		{"/d/100%25GG", "100%GG", &Options{}, true},
		{"/d/100%25zz", "100%zz", &Options{}, true},
		{"/d/100%25::", "100%::", &Options{}, true},
		{"/d/100%25@@", "100%@@", &Options{}, true},
		{"/d/100%25--", "100%--", &Options{}, true},
		{"/d/100%25%25%20", "100%% ", &Options{}, true},
		{"/d/%25aa", "%aa", &Options{}, false},
		{"/d/%25AA", "%AA", &Options{}, false},
		{"/d/%2500", "%00", &Options{}, false},
		{"/d/%25ff", "%ff", &Options{}, false},
		{"/d/%25FF", "%FF", &Options{}, false},
		{"/d/%2599", "%99", &Options{}, false},
	} {
		opts := *tt.opts
		r := httptest.NewRequest("GET", tt.target, nil)
		r.SetPathValue("id", tt.value)
		_, err := tmpl.resource(r, &opts)
		require.Equal(t, tt.ok, err == nil, "%s: %v", tt.target, err)

		opts.PathValue = func(_ *http.Request, name string) (string, bool) { return tt.value, name == "id" }
		_, err = tmpl.resource(httptest.NewRequest("GET", tt.target, nil), &opts)
		require.Equal(t, tt.ok, err == nil, "by the hook, %s: %v", tt.target, err)
	}
}

func TestHasWildcard(t *testing.T) {
	for _, tt := range []struct {
		route, name string
		want        bool
	}{
		{"GET /d/{id}", "id", true}, {"/d/{id...}", "id", true}, {"/d/{id:[0-9]+}", "id", true}, {"/{ids}/{id}", "id", true},
		{"/d/{ids}", "id", false}, {"/d/{sid}", "id", false}, {"/d/id", "id", false}, {"", "id", false}, {"/d/{id", "id",
			false},
		{"/d/*", "*", true}, {"/d/{id}", "*", false}, {"", "*", false},
	} {
		require.Equal(t, tt.want, hasWildcard(tt.route, tt.name), tt.route)
	}
}

// What a request brings along is never a wildcard of a pattern.
func TestRequestsNameNoWildcards(t *testing.T) {
	for _, value := range []string{"{*}", "{*client}", "*"} {
		var on latchkey.Resource
		mux := http.NewServeMux()
		mux.HandleFunc("GET /file/{id}", func(w http.ResponseWriter, r *http.Request) {
			var err error
			on, err = parseTemplate("file/{id}").resource(r, &Options{})
			require.NoError(t, err)
		})
		r := httptest.NewRequest("GET", "/file/"+url.PathEscape(value), nil)
		mux.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, latchkey.Path("file", value), on)
		require.NoError(t, on.Validate())
		require.False(t, latchkey.Exactly(on).Matches("file/x"))
		require.NotContains(t, string(on), "*")
	}
}
