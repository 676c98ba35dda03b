package frameworks

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/adapters/humahttprouter"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"
	"github.com/danielgtaylor/huma/v2/autopatch"
	"github.com/danielgtaylor/huma/v2/sse"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// humaServers are APIs of huma on its adapters over net/http.
var humaServers = map[string]func(huma.Config) (huma.API, http.Handler){
	"humago": func(c huma.Config) (huma.API, http.Handler) {
		m := http.NewServeMux()
		return humago.New(m, c), m
	},
	"humachi": func(c huma.Config) (huma.API, http.Handler) {
		r := chi.NewRouter()
		return humachi.New(r, c), r
	},
	"humagin": func(c huma.Config) (huma.API, http.Handler) {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		return humagin.New(e, c), e
	},
	"humaecho": func(c huma.Config) (huma.API, http.Handler) {
		e := echo4.New()
		return humaecho.New(e, c), e
	},
	"humamux": func(c huma.Config) (huma.API, http.Handler) {
		m := mux.NewRouter()
		return humamux.New(m, c), m
	},
	"humahttprouter": func(c huma.Config) (huma.API, http.Handler) {
		m := httprouter.New()
		return humahttprouter.New(m, c), m
	},
}

// asked is the input of an operation that says how it reads its path.
type asked struct {
	path   string
	params map[string]string
}

func (a *asked) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	a.path, a.params = u.Path, map[string]string{}
	for _, name := range []string{"id", "tenant", "rest", "*"} {
		a.params[name] = ctx.Param(name)
	}
	return nil
}

// startHuma serves the routes of values_test.go. file is the path of the catch-all, and rest its name.
func startHuma(on, file, rest string) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		api, h := humaServers[on](huma.DefaultConfig("x", "1"))
		type out struct{ Body []byte }
		op := func(id, path string, m Middleware) huma.Operation {
			return huma.Operation{OperationID: id, Method: "GET", Path: path,
				Middlewares: huma.Middlewares{Huma(m)}}
		}
		huma.Register(api, op("data", "/data/{id}", g.data), func(_ context.Context, in *asked) (*out, error) {
			return &out{[]byte(reading{in.params["id"], in.path}.answer("/data/"))}, nil
		})
		huma.Register(api, op("file", file, g.file), func(_ context.Context, in *asked) (*out, error) {
			value := strings.TrimPrefix(in.params[rest], "/")
			if rest == "*" {
				value = in.params[rest]
			}
			return &out{[]byte(reading{value, in.path}.answer("/file/"))}, nil
		})
		huma.Register(api, op("lost", "/lost/{id}", g.lost), func(context.Context, *struct{}) (*out, error) {
			return &out{}, nil
		})
		return listen(t, h)
	}
}

func init() {
	routers = append(routers,
		router{name: "huma on ServeMux", rest: "rest", start: startHuma("humago", "/file/{rest...}", "rest")},
		router{name: "huma on chi", rest: "*", start: startHuma("humachi", "/file/*", "*")},
		router{name: "huma on gin", rest: "rest", start: startHuma("humagin", "/file/*rest", "rest")},
		router{name: "huma on echo v4", rest: "*", raw: true, start: startHuma("humaecho", "/file/*", "*")},
		router{name: "huma on gorilla/mux", rest: "rest", start: startHuma("humamux", "/file/{rest:.*}", "rest")},
		router{name: "huma on httprouter", rest: "rest", start: startHuma("humahttprouter", "/file/*rest", "rest")},
	)
}

type humaRows struct {
	Count string `header:"X-Total-Count"`
	Body  []byte
}

// huma is what a handler of huma does behind RequireRows.
func (b behaviour) huma(ctx context.Context, _ *struct{}) (*humaRows, error) {
	b.before(ctx)
	defer func() { b.after(ctx) }()
	switch {
	case b.fails, b.refuses:
		return nil, huma.Error404NotFound("nothing")
	case b.silent:
		return nil, nil
	}
	return &humaRows{"17", []byte(everyRow)}, nil
}

// startHumaRows starts an API whose operation is behind RequireRows.
func startHumaRows(on string) func(*testing.T, Middleware, behaviour) string {
	return func(t *testing.T, guard Middleware, b behaviour) string {
		api, h := humaServers[on](huma.DefaultConfig("x", "1"))
		huma.Register(api, huma.Operation{OperationID: "rows", Method: "GET", Path: "/rows/{id}",
			Middlewares: huma.Middlewares{Huma(guard)}}, b.huma)
		return listen(t, h)
	}
}

// shopAPI is an API of huma with one operation of each kind.
type shopAPI struct {
	keys    *latchkey.Manager
	api     huma.API
	addr    string
	stored  string // what PUT wrote
	reader  string
	writer  string
	partial string
}

func newShopAPI(t *testing.T, on string, change func(*huma.Config)) *shopAPI {
	s := &shopAPI{keys: latchkey.New(memstore.New(nil), nil), stored: "first"}
	config := huma.DefaultConfig("Shop", "1.0.0")
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		HumaScheme: {Type: "http", Scheme: "bearer"}}
	HumaGuardAll(&config)
	change(&config)
	api, h := humaServers[on](config)
	s.api = api
	auth := httpadapter.New(s.keys, &httpadapter.Options{Problem: HumaProblem(api)})
	type item struct {
		Body struct {
			Text string `json:"text"`
		}
	}
	type putting struct {
		ID   string `path:"id"`
		Body struct {
			Text string `json:"text"`
		}
	}
	huma.Get(api, "/item/{id}", func(context.Context, *struct {
		ID string `path:"id"`
	}) (*item, error) {
		out := &item{}
		out.Body.Text = s.stored
		return out, nil
	}, HumaRequire(auth, latchkey.Read, "item/{id}"))
	huma.Put(api, "/item/{id}", func(_ context.Context, in *putting) (*item, error) {
		s.stored = in.Body.Text
		return &item{Body: in.Body}, nil
	}, HumaRequire(auth, latchkey.Update, "item/{id}"))
	huma.Get(api, "/public", func(context.Context, *struct{}) (*item, error) { return &item{}, nil },
		func(op *huma.Operation) { op.Security = []map[string][]string{} })
	events := huma.Operation{OperationID: "events", Method: "GET", Path: "/events"}
	HumaRequireRows(auth, latchkey.Read, "events")(&events)
	sse.Register(api, events,
		map[string]any{"message": item{}.Body},
		func(ctx context.Context, _ *struct{}, send sse.Sender) {
			_, _ = httpadapter.RowsFrom(ctx)
			_ = send.Data(item{}.Body)
		})
	s.addr = listen(t, h)
	acme := s.keys.For("acme")
	s.reader = issue(t, acme, latchkey.KindAPIKey, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("item/*", "events")})
	s.writer = issue(t, acme, latchkey.KindAPIKey, latchkey.Permissions{
		latchkey.Allow(latchkey.Read, latchkey.Update).On("item/*")})
	s.partial = issue(t, acme, latchkey.KindAPIKey, latchkey.Permissions{
		latchkey.Allow(latchkey.Update).On("item/*")})
	return s
}

func humaNames() (names []string) {
	for name := range humaServers {
		names = append(names, name)
	}
	return names
}

func TestHumaRefusesInItsOwnFormat(t *testing.T) {
	for _, on := range humaNames() {
		t.Run(on, func(t *testing.T) {
			s := newShopAPI(t, on, func(*huma.Config) {})
			read := func(status int, headers ...string) (huma.ErrorModel, http.Header) {
				code, body, header := send(t, s.addr, "GET", "/item/1", headers...)
				require.Equal(t, status, code, body)
				var model huma.ErrorModel
				require.NoError(t, json.Unmarshal([]byte(body), &model), body)
				return model, header
			}
			model, header := read(401)
			require.Equal(t, httpadapter.ProblemType+"no-credential", model.Type)
			require.Equal(t, 401, model.Status)
			require.Equal(t, "Credential required", model.Title)
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Equal(t, `Bearer realm="latchkey"`, header.Get("WWW-Authenticate"))
			require.Contains(t, header.Get("Link"), "ErrorModel", "the API's own transformers run")
			model, header = read(403, as(s.partial)...)
			require.Equal(t, httpadapter.ProblemType+"denied", model.Type)
			require.Contains(t, header.Get("WWW-Authenticate"), "insufficient_scope")
			strict := newShopAPI(t, on, func(c *huma.Config) { c.NoFormatFallback = true })
			status, body, header := send(t, strict.addr, "GET", "/item/1", "Accept", "application/x-unknown")
			require.Equal(t, 401, status, "a refusal is more than a type that is not to be had")
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Contains(t, body, "problem/no-credential")
			_, _ = read(200, as(s.reader)...)

			code, body, header := send(t, s.addr, "GET", "/events", as(s.reader)...)
			require.Equal(t, 200, code, body)
			require.Equal(t, "text/event-stream", header.Get("Content-Type"))
			require.Contains(t, body, "data: ")
			code, _, _ = send(t, s.addr, "GET", "/events", as(s.writer)...)
			require.Equal(t, 403, code)
			code, _, _ = send(t, s.addr, "GET", "/public")
			require.Equal(t, 200, code)
		})
	}
}

// The body is read and validated for callers that may send it only.
func TestHumaChecksBeforeItReadsTheBody(t *testing.T) {
	s := newShopAPI(t, "humago", func(*huma.Config) {})
	headers := append(as(s.reader), "Content-Type", "application/json")
	code, body, _ := sendBody(t, s.addr, "PUT", "/item/1", `{"text":`, headers...)
	require.Equal(t, 403, code, body)
	code, body, _ = sendBody(t, s.addr, "PUT", "/item/1", `{"text":7}`, append(as(s.writer),
		"Content-Type", "application/json")...)
	require.Equal(t, 422, code, body)
	require.Equal(t, "first", s.stored)
}

// The description of the API says what each operation demands.
func TestHumaDescribesItsGuards(t *testing.T) {
	s := newShopAPI(t, "humago", func(*huma.Config) {})
	code, body, _ := send(t, s.addr, "GET", "/openapi.json")
	require.Equal(t, 200, code)
	var api struct {
		Paths map[string]map[string]struct {
			Security []map[string][]string `json:"security"`
		} `json:"paths"`
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme string } `json:"securitySchemes"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &api))
	require.Equal(t, "http", api.Components.SecuritySchemes[HumaScheme].Type)
	require.Equal(t, "bearer", api.Components.SecuritySchemes[HumaScheme].Scheme)
	require.Equal(t, []map[string][]string{{HumaScheme: {"read item/{id}"}}}, api.Paths["/item/{id}"]["get"].Security)
	require.Equal(t, []map[string][]string{{HumaScheme: {"update item/{id}"}}}, api.Paths["/item/{id}"]["put"].Security)

	// Each alternative that the operation has needs the guard as well, and none shares memory with the caller's.
	shared := []map[string][]string{{"mtls": {}}, {"other": {"a"}}}
	op := huma.Operation{Security: shared}
	auth := httpadapter.New(s.keys, nil)
	HumaRequire(auth, latchkey.Read, "a")(&op)
	HumaRequireRows(auth, latchkey.Update, "b")(&op)
	require.Equal(t, []map[string][]string{{"mtls": {}, HumaScheme: {"read a", "update b"}},
		{"other": {"a"}, HumaScheme: {"read a", "update b"}}}, op.Security)
	require.Len(t, op.Middlewares, 2)
}

// An operation without a guard does not start. Neither does one whose Security is documentation only.
func TestHumaGuardAll(t *testing.T) {
	h := func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }
	for name, security := range map[string][]map[string][]string{
		"none": nil, "documentation only": {{HumaScheme: {"read a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShopAPI(t, "humago", func(*huma.Config) {})
			require.PanicsWithValue(t, "latchkeyhuma: the operation GET /bare has no guard: use Require or "+
				"RequireRows, or set Security to []map[string][]string{} if it is public", func() {
				huma.Get(s.api, "/bare", h, func(op *huma.Operation) { op.Security = security })
			})
			require.PanicsWithValue(t, "latchkeyhuma: the operation PATCH /item/{id} has no guard: use Require or "+
				"RequireRows, or set Security to []map[string][]string{} if it is public", func() {
				huma.Patch(s.api, "/item/{id}", h, func(op *huma.Operation) { op.Security = security })
			})
		})
	}
}

// autopatch adds an operation that no middleware of huma is around. It calls the guarded ones.
func TestHumaAutoPatchIsGuarded(t *testing.T) {
	for _, on := range humaNames() {
		t.Run(on, func(t *testing.T) {
			s := newShopAPI(t, on, func(*huma.Config) {})
			autopatch.AutoPatch(s.api)
			patch := func(status int, headers ...string) {
				t.Helper()
				code, body, _ := sendBody(t, s.addr, "PATCH", "/item/1", `{"text":"second"}`,
					append(headers, "Content-Type", "application/merge-patch+json")...)
				require.Equal(t, status, code, body)
			}
			patch(401)
			patch(403, as(s.reader)...)
			patch(403, as(s.partial)...)
			require.Equal(t, "first", s.stored)
			patch(200, as(s.writer)...)
			require.Equal(t, "second", s.stored)
		})
	}
}

// A handler cannot go around the check of its rows by the writer that an adapter unwraps. Without rows it may unwrap.
func TestHumaUnwrap(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, nil)
	key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")})
	for _, rows := range []bool{true, false} {
		m := http.NewServeMux()
		api := humago.New(m, huma.DefaultConfig("x", "1"))
		guard := auth.Require(latchkey.Read, "a")
		if rows {
			guard = auth.RequireRows(latchkey.Read, "a")
		}
		var status int
		var caught any
		recovers := func(ctx huma.Context, next func(huma.Context)) {
			defer func() {
				if caught = recover(); caught != nil {
					huma.WriteErr(api, ctx, 500, "caught")
				}
				status = ctx.Status()
			}()
			next(ctx)
		}
		huma.Register(api, huma.Operation{OperationID: "a", Method: "GET", Path: "/a",
			Middlewares: huma.Middlewares{recovers, Huma(guard), func(ctx huma.Context, next func(huma.Context)) {
				next(huma.WithValue(ctx, "k", "v"))
			}}},
			func(context.Context, *struct{}) (*huma.StreamResponse, error) {
				return &huma.StreamResponse{Body: func(ctx huma.Context) {
					_, w := humago.Unwrap(ctx)
					_, _ = io.WriteString(w, everyRow)
				}}, nil
			})
		code, body, _ := send(t, listen(t, m), "GET", "/a", as(key)...)
		if rows {
			require.Equal(t, 500, code)
			require.NotContains(t, body, everyRow)
			require.NotNil(t, caught)
			require.Equal(t, 500, status)
			continue
		}
		require.Equal(t, 200, code)
		require.Equal(t, everyRow, body)
		require.Nil(t, caught)
	}
}

// A handler that streams sends each part at once, and none before it has looked at its rows.
func TestHumaStreams(t *testing.T) {
	for _, on := range humaNames() {
		t.Run(on, func(t *testing.T) {
			keys := latchkey.New(memstore.New(nil), nil)
			auth := httpadapter.New(keys, nil)
			key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("a")})
			api, h := humaServers[on](huma.DefaultConfig("x", "1"))
			read := make(chan struct{})
			stream := func(path string, looks bool) {
				huma.Get(api, path, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
					return &huma.StreamResponse{Body: func(ctx huma.Context) {
						if looks {
							_, _ = httpadapter.RowsFrom(ctx.Context())
						}
						flusher, ok := ctx.BodyWriter().(http.Flusher)
						if !ok {
							return
						}
						flusher.Flush()
						_, _ = io.WriteString(ctx.BodyWriter(), "one")
						flusher.Flush()
						if looks {
							<-read
						}
						_, _ = io.WriteString(ctx.BodyWriter(), "two")
					}}, nil
				}, HumaRequireRows(auth, latchkey.Read, "a"))
			}
			stream("/looks", true)
			stream("/blind", false)
			addr := listen(t, h)

			r, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+addr+"/looks", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+key)
			reply, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			defer func() { _ = reply.Body.Close() }()
			one := make([]byte, 3)
			_, err = io.ReadFull(reply.Body, one) // while the handler waits
			require.NoError(t, err)
			require.Equal(t, "one", string(one))
			close(read)
			rest, err := io.ReadAll(reply.Body)
			require.NoError(t, err)
			require.Equal(t, "two", string(rest))

			code, body, _ := send(t, addr, "GET", "/blind", as(key)...)
			require.Equal(t, 500, code)
			require.NotContains(t, body, "one")
		})
	}
}

// A middleware of huma around the guard hears the status of a refusal.
func TestHumaStatusForMiddlewareAround(t *testing.T) {
	for _, on := range humaNames() {
		t.Run(on, func(t *testing.T) {
			var seen int
			api, h := humaServers[on](huma.DefaultConfig("x", "1"))
			api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
				next(ctx)
				seen = ctx.Status()
			})
			keys := latchkey.New(memstore.New(nil), nil)
			auth := httpadapter.New(keys, &httpadapter.Options{Problem: HumaProblem(api)})
			huma.Get(api, "/a", func(context.Context, *struct{}) (*struct{}, error) { return nil, nil },
				HumaRequireRows(auth, latchkey.Read, "a"))
			code, _, _ := send(t, listen(t, h), "GET", "/a")
			require.Equal(t, 401, code)
			require.Equal(t, 401, seen)
		})
	}
}

// Errors of latchkey that a handler returns have their status and headers, and are reported as the guard's are.
func TestHumaError(t *testing.T) {
	for name, start := range humaServers {
		t.Run(name, func(t *testing.T) {
			var refused, heard []string
			keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
				Refused: func(_ context.Context, r latchkey.Refusal) { refused = append(refused, r.Err.Error()) }}})
			auth := httpadapter.New(keys, &httpadapter.Options{
				Carriers: httpadapter.Carriers{Headers: []string{"X-API-Key"}},
				OnError: func(r *http.Request, err error) {
					heard = append(heard, r.Method+" "+r.URL.Path+" "+err.Error())
				}})
			api, h := start(huma.DefaultConfig("x", "1"))
			operation := func(path string, guard func(*huma.Operation), fail func(latchkey.Access) error) {
				huma.Get(api, path, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
					access, _ := httpadapter.AccessFrom(ctx)
					return nil, HumaError(ctx, auth, fail(access))
				}, guard)
			}
			operation("/a", HumaRequire(auth, latchkey.Read, "a"),
				func(access latchkey.Access) error { return access.Check(latchkey.Read, "b") })
			operation("/rows", HumaRequireRows(auth, latchkey.Read, "a"), func(latchkey.Access) error {
				return latchkey.ErrUnknownToken
			})
			operation("/open", func(*huma.Operation) {}, func(latchkey.Access) error { return latchkey.ErrUnavailable })
			key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")})
			addr := listen(t, h)

			code, body, header := send(t, addr, "GET", "/a", "X-API-Key", key)
			require.Equal(t, 403, code, body)
			require.Contains(t, body, "problem/denied")
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Empty(t, header["Www-Authenticate"], "Bearer is off")
			require.Equal(t, []string{`latchkey: denied read on "b"`}, refused)
			require.Equal(t, []string{`GET /a latchkey: denied read on "b"`}, heard)
			code, body, header = send(t, addr, "GET", "/rows", "X-API-Key", key)
			require.Equal(t, 401, code, body)
			require.Equal(t, []string{`ApiKey realm="latchkey", in="header", name="X-API-Key", error="invalid_token"`},
				header["Www-Authenticate"])
			code, body, header = send(t, addr, "GET", "/open")
			require.Equal(t, 503, code, body)
			require.Equal(t, "1", header.Get("Retry-After"))
			require.Len(t, heard, 3)
			require.Len(t, refused, 2)
		})
	}
}
