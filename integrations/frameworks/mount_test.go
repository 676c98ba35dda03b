package frameworks

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/memstore"
)

// surfaces holds an account, the handlers that are mounted, and the credentials of their callers.
type surfaces struct {
	acme                    latchkey.Account
	signedIn                console.SignedIn
	data                    http.Handler // behind the gateway
	tokenID, roleID         string
	root, cma, key, session string
}

func newSurfaces(t *testing.T) *surfaces {
	ctx := context.Background()
	s := &surfaces{acme: latchkey.New(memstore.New(nil), nil).For("acme")}
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
	s.signedIn = func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "ada" { // in place of the program's own session
			return latchkey.Account{}, latchkey.Access{}, latchkey.ErrInvalidToken
		}
		return s.acme, must(s.acme.Assume(latchkey.Client{ID: "ada"}, everything)), nil
	}
	s.data = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call, _ := apperate.CallFrom(r.Context())
		apperate.WriteJSON(w, []any{call.Datasets, call.Keys, r.URL.Path})
	})
	issued := func(spec latchkey.Spec) (id, text string) {
		token, secret, err := s.acme.Issue(ctx, spec)
		require.NoError(t, err)
		return token.ID, secret.Reveal()
	}
	s.tokenID, s.root = issued(latchkey.Spec{Kind: latchkey.KindSecret})
	admin, err := s.acme.CreateRole(ctx, datocms.AdminRole("Admin", "main"))
	require.NoError(t, err)
	s.roleID = admin.ID
	_, s.cma = issued(datocms.TokenSpec("Full access", admin.ID, true, true, true))
	_, s.key = issued(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: everything})
	_, s.session = issued(latchkey.Spec{Kind: latchkey.KindSession,
		Permissions: everything, Validity: latchkey.Validity{NotAfter: time.Now().Add(time.Hour)}})
	return s
}

// mount registers all surfaces on a *http.ServeMux or on chi.
func (s *surfaces) mount(m httpadapter.Mux) {
	console.Mount(m, "/console", s.signedIn, nil)
	apperate.Mount(m, s.acme, nil, s.data)
	datocms.Mount(m, s.acme, &datocms.Options{Environments: []string{"main"}})
	cloudtables.Mount(m, s.acme, nil)
	webforce.Mount(m, s.acme, nil)
}

// each calls at with every handler, for routers that are not a Mux. A path that ends in a slash stands for all beneath
// it.
func (s *surfaces) each(at func(path string, h http.Handler)) {
	at("/console/", http.StripPrefix("/console", console.Handler(s.signedIn, nil)))
	at("/v1/", apperate.Handler(s.acme, nil, s.data))
	dato := datocms.Handler(s.acme, &datocms.Options{Environments: []string{"main"}})
	for _, path := range []string{"/access_tokens", "/access_tokens/", "/roles", "/roles/", "/environments"} {
		at(path, dato)
	}
	tables := cloudtables.Handler(s.acme, nil)
	at("/io/api/1/access", tables)
	at("/api/1/access", tables)
	at("/api", webforce.Handler(s.acme, nil))
}

// step is one request to a surface, and its answer.
type step struct {
	method, target string
	headers        []string
	body           string
	status         int
	contains       string
}

const formType = "application/x-www-form-urlencoded"

// walk sends requests to every surface, for each of its kinds of paths: calls that its product documents, and refusals.
func (s *surfaces) walk(t *testing.T, addr, base string) {
	dato := []string{"Authorization", "Bearer " + s.cma, "X-Api-Version", "3"}
	datoSends := append([]string{"Content-Type", "application/vnd.api+json"}, dato...)
	for surface, steps := range map[string][]step{
		"apperate": {
			{"GET", "/v1/status", nil, "", 200, `"up"`},
			{"GET", "/v1/data/acme/CARS/F-150?token=" + s.root, nil, "", 200, `["F-150"],"/data/ACME/CARS/F-150"`},
			{"GET", "/v1/data/acme/CARS/F%2D150?token=" + s.root, nil, "", 200, `["F-150"],"/data/ACME/CARS/F-150"`},
			{"GET", "/v1/data/ACME//CARS?token=" + s.root, nil, "", 200, "/data/ACME/CARS"},
			{"HEAD", "/v1/data/ACME/CARS", nil, "", 401, ""},
			{"GET", "/v1/data/ACME/CARS", nil, "", 401, "API key is required"},
			{"GET", "/v1/data/ACME/CARS?token=x", nil, "", 403, "API key"},
			{"OPTIONS", "/v1/data/ACME/CARS", nil, "", 200, ""},
		},
		"datocms": {
			{"GET", "/roles", dato, "", 200, `"Admin"`},
			{"GET", "/roles/" + s.roleID, dato, "", 200, `"Admin"`},
			{"GET", "/roles/none", dato, "", 404, "NOT_FOUND"},
			{"GET", "/roles/a%2Fb", dato, "", 404, ""},
			{"GET", "/roles/x/y/z", dato, "", 404, "INVALID_ENDPOINT"},
			{"GET", "/access_tokens", dato, "", 200, `"Full access"`},
			{"POST", "/access_tokens", datoSends, `{"data":{"type":"access_token","attributes":{"name":"site",` +
				`"can_access_cda":true,"can_access_cda_preview":false,"can_access_cma":false},"relationships":{"role":` +
				`{"data":{"type":"role","id":"` + s.roleID + `"}}}}}`, 201, `"site"`},
			{"POST", "/access_tokens", datoSends, "{", 415, "INVALID_JSON_BODY"},
			{"GET", "/access_tokens/", dato, "", 404, "INVALID_ENDPOINT"},
			{"GET", "/access_tokens/none/regenerate_token", dato, "", 404, "INVALID_ENDPOINT"},
			{"POST", "/access_tokens/none/regenerate_token", dato, "", 404, "NOT_FOUND"},
			{"GET", "/environments", dato, "", 200, `"main"`},
			{"GET", "/roles", nil, "", 401, "INVALID_AUTHORIZATION_HEADER"},
		},
		"cloudtables": {
			{"POST", "/io/api/1/access", []string{"Content-Type", formType}, "key=" + s.key, 200, `"token"`},
			{"POST", "/api/1/access", []string{"Content-Type", formType}, "key=" + s.key, 200, `"token"`},
			{"POST", "/api/1/access", []string{"Content-Type", formType}, "key=x", 401, "noAccess"},
		},
		"webforce": {
			{"GET", "/api?cmd=access.get_all&version=1.0&auth_token=" + s.session, nil, "", 200, "SUCCESS"},
			{"POST", "/api", []string{"Content-Type", formType},
				"cmd=access.get_all&version=1.0&auth_token=" + s.session, 200, "SUCCESS"},
			{"GET", "/api?cmd=access.get_all&version=1.0&auth_token=x", nil, "", 200, "Access denied"},
		},
	} {
		t.Run(surface, func(t *testing.T) {
			for _, step := range steps {
				status, body, _ := sendBody(t, addr, step.method, base+step.target, step.body, step.headers...)
				if strings.Contains(step.target, "//") && status == http.StatusTemporaryRedirect {
					continue // http.ServeMux redirects: see apperate.Handler
				}
				require.Equal(t, step.status, status, "%s %s%s: %s", step.method, base, step.target, body)
				require.Contains(t, body, step.contains, "%s%s", base, step.target)
			}
		})
	}
	t.Run("console", func(t *testing.T) { s.walkConsole(t, addr, base) })
}

var (
	styleLink = regexp.MustCompile(`href="\./(static/[0-9a-f]+-console\.css)"`)
	formID    = regexp.MustCompile(`name="form" value="([^"]+)"`)
)

// walkConsole reads the pages, and sends a form as a browser does.
func (s *surfaces) walkConsole(t *testing.T, addr, base string) {
	cookie := []string{"Cookie", "session=ada"}
	status, page, header := send(t, addr, "GET", base+"/console/", cookie...)
	require.Equal(t, 200, status)
	require.Contains(t, header.Get("Content-Type"), "text/html")
	style := styleLink.FindStringSubmatch(page)
	require.Len(t, style, 2, "the front page names its styles")
	for _, step := range []step{
		{"GET", "/console/" + style[1], nil, "", 200, "{"},
		{"GET", "/console/", nil, "", 401, "<html"},
		{"GET", "/console/token/" + s.tokenID, nil, "", 401, "<html"},
		{"GET", "/console/roles", cookie, "", 200, "<html"},
		{"GET", "/console/usage", cookie, "", 200, "<html"},
		{"GET", "/console/token/" + s.tokenID, cookie, "", 200, "<html"},
		{"GET", "/console/role/" + s.roleID, cookie, "", 200, "<html"},
		{"GET", "/console/nothing", cookie, "", 404, "There is nothing here"},
		{"GET", "/console/token/%2F", cookie, "", 404, "There is nothing here"},
		{"GET", "/console/token/" + s.tokenID + "%2Fdisable", cookie, "", 200, "<html"}, // as the path without the escape
		{"DELETE", "/console/token/" + s.tokenID, cookie, "", 405, "<html"},
	} {
		status, body, _ := sendBody(t, addr, step.method, base+step.target, step.body, step.headers...)
		require.Equal(t, step.status, status, "%s %s%s: %s", step.method, base, step.target, body)
		require.Contains(t, body, step.contains, "%s%s", base, step.target)
	}

	id := s.spare(t)
	disabled := func() bool {
		token, err := s.acme.Get(context.Background(), id)
		require.NoError(t, err)
		return token.Disabled
	}
	at := base + "/console/token/" + id + "/disable"
	status, page, _ = send(t, addr, "GET", at, cookie...)
	require.Equal(t, 200, status)
	form := formID.FindStringSubmatch(page)
	require.Len(t, form, 2, "the page has a form")
	post := func(want int, headers ...string) http.Header {
		status, body, header := sendBody(t, addr, "POST", at, "form="+form[1], append(headers, "Content-Type", formType)...)
		require.Equal(t, want, status, body)
		return header
	}
	post(403, append(cookie, "Origin", "https://evil.example")...)
	post(403, append(cookie, "Sec-Fetch-Site", "cross-site")...)
	post(403, cookie...)
	post(401, "Sec-Fetch-Site", "same-origin")
	require.False(t, disabled())
	to := post(303, append(cookie, "Sec-Fetch-Site", "same-origin")...).Get("Location")
	require.True(t, disabled())
	here, err := url.Parse("http://" + addr + at)
	require.NoError(t, err)
	there, err := here.Parse(to)
	require.NoError(t, err)
	require.Truef(t, strings.HasPrefix(there.Path, base+"/console/"), "%s leads out of the console", to)
	status, page, _ = send(t, addr, "GET", there.RequestURI(), cookie...)
	require.Equal(t, 200, status, to)
	require.Contains(t, page, "<html")

	if base == "/deep" {
		return // http.ServeMux redirects by itself, without the prefix that StripPrefix removed
	}
	status, _, header = send(t, addr, "GET", base+"/console")
	require.Contains(t, []int{301, 307}, status)
	require.Regexp(t, "^("+base+`/console/|\./console/)$`, header.Get("Location"))
}

// spare issues a token for a test to change.
func (s *surfaces) spare(t *testing.T) (id string) {
	token, _, err := s.acme.Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	return token.ID
}

func TestMount(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, s *surfaces) (h http.Handler, base string){
		"ServeMux": func(t *testing.T, s *surfaces) (http.Handler, string) {
			m := http.NewServeMux()
			s.mount(m)
			return m, ""
		},
		"ServeMux beneath StripPrefix": func(t *testing.T, s *surfaces) (http.Handler, string) {
			m := http.NewServeMux()
			s.mount(m)
			return http.StripPrefix("/deep", m), "/deep"
		},
		"chi": func(t *testing.T, s *surfaces) (http.Handler, string) {
			c := chi.NewRouter()
			s.mount(c)
			return c, ""
		},
		"chi, Route": func(t *testing.T, s *surfaces) (http.Handler, string) {
			c := chi.NewRouter()
			c.Route("/t/{tenant}", func(c chi.Router) { s.mount(c) })
			return c, "/t/acme"
		},
		"chi, Mount in Mount": func(t *testing.T, s *surfaces) (http.Handler, string) {
			inner, middle, outer := chi.NewRouter(), chi.NewRouter(), chi.NewRouter()
			s.mount(inner)
			middle.Mount("/console", inner)
			outer.Mount("/v1", middle)
			return outer, "/v1/console"
		},
		"chi, Group and With": func(t *testing.T, s *surfaces) (http.Handler, string) {
			c := chi.NewRouter()
			c.Group(func(c chi.Router) {
				c.Use(func(next http.Handler) http.Handler { return next })
				s.mount(c.With(func(next http.Handler) http.Handler { return next }))
			})
			return c, ""
		},
		"huma on ServeMux": func(t *testing.T, s *surfaces) (http.Handler, string) {
			m := http.NewServeMux()
			humago.New(m, huma.DefaultConfig("x", "1"))
			s.mount(m)
			return m, ""
		},
		"huma on chi": func(t *testing.T, s *surfaces) (http.Handler, string) {
			c := chi.NewRouter()
			humachi.New(c, huma.DefaultConfig("x", "1"))
			s.mount(c)
			return c, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfaces(t)
			h, base := start(t, s)
			s.walk(t, listen(t, h), base)
		})
	}
}

// The console at the root of a chi router leaves other routes to the host.
func TestMountAtRoot(t *testing.T) {
	s := newSurfaces(t)
	c := chi.NewRouter()
	console.Mount(c, "", s.signedIn, nil)
	c.Get("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	addr := listen(t, c)
	for target, want := range map[string]int{"/": 200, "/roles": 200, "/health": 204, "/none": 404} {
		status, _, _ := send(t, addr, "GET", target, "Cookie", "session=ada")
		require.Equal(t, want, status, target)
	}
}

func TestHandlerOnEveryRouter(t *testing.T) {
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	beneath := func(path string) bool { return strings.HasSuffix(path, "/") }
	for name, start := range map[string]func(t *testing.T, s *surfaces) (addr string){
		"before any router": func(t *testing.T, s *surfaces) string {
			m := http.NewServeMux()
			s.each(m.Handle)
			m.Handle("/", httprouter.New()) // the program's own
			return listen(t, m)
		},
		"chi": func(t *testing.T, s *surfaces) string {
			c := chi.NewRouter()
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					c.Handle(path+"*", h)
					return
				}
				c.Handle(path, h)
			})
			c.Handle("/console", http.RedirectHandler("/console/", http.StatusTemporaryRedirect))
			return listen(t, c)
		},
		"gorilla/mux": func(t *testing.T, s *surfaces) string {
			m := mux.NewRouter().SkipClean(true)
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					m.PathPrefix(path).Handler(h)
					return
				}
				m.Handle(path, h)
			})
			m.Handle("/console", http.RedirectHandler("/console/", http.StatusTemporaryRedirect))
			return listen(t, m)
		},
		"httprouter": func(t *testing.T, s *surfaces) string {
			m := httprouter.New()
			m.HandleOPTIONS = false
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					path += "*rest"
				}
				for _, method := range methods {
					m.Handler(method, path, h)
				}
			})
			return listen(t, m)
		},
		"gin": func(t *testing.T, s *surfaces) string {
			gin.SetMode(gin.ReleaseMode)
			e := gin.New()
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					path += "*rest"
				}
				e.Any(path, gin.WrapH(h))
			})
			return listen(t, e)
		},
		"echo v4": func(t *testing.T, s *surfaces) string {
			e := echo4.New()
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					path += "*"
				}
				e.Any(path, echo4.WrapHandler(h))
			})
			e.GET("/console", func(c echo4.Context) error { return c.Redirect(http.StatusTemporaryRedirect, "/console/") })
			return listen(t, e)
		},
		"echo v5": func(t *testing.T, s *surfaces) string {
			e := echo5.New()
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					path += "*"
				}
				e.Any(path, echo5.WrapHandler(h))
			})
			e.GET("/console", func(c *echo5.Context) error { return c.Redirect(http.StatusTemporaryRedirect, "/console/") })
			return listen(t, e)
		},
		"fiber v3": func(t *testing.T, s *surfaces) string {
			app := fiber.New(fiber.Config{StrictRouting: true})
			app.Get("/console", func(c fiber.Ctx) error { // first: "/console/*" takes it, too
				return c.Redirect().Status(http.StatusTemporaryRedirect).To("/console/")
			})
			s.each(func(path string, h http.Handler) {
				if beneath(path) {
					path += "*"
				}
				app.All(path, FiberHandler(h))
			})
			return listenFiber(t, app)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfaces(t)
			s.walk(t, start(t, s), "")
		})
	}
}

// fasthttp reuses the memory of a request for the next one. Strings that were kept must not change.
func TestFiberKeepsNoMemoryOfRequests(t *testing.T) {
	s := newSurfaces(t)
	app := fiber.New()
	app.All("/io/api/1/access", FiberHandler(cloudtables.Handler(s.acme, nil)))
	addr := listenFiber(t, app)
	for _, client := range []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"} {
		status, body, _ := sendBody(t, addr, "POST", "/io/api/1/access?clientId="+client, "key="+s.key,
			"Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, 200, status, body)
	}
	var clients []string
	for token, err := range s.acme.Tokens(context.Background(),
		latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAccess}}) {
		require.NoError(t, err)
		clients = append(clients, token.Client.ID)
	}
	require.ElementsMatch(t, []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"}, clients)
}

// must returns v. It panics if there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
