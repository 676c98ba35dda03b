package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// guarded is a handler behind http.ServeMux that answers whoever may read what the path names.
type guarded struct {
	name    string
	handler http.Handler
	reader  string // the text of a token that may read
	other   string // the text of one that may not
}

const guardedPath = "/data/orders"

// serve answers as a handler of an API does.
func serve(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") == "" {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func behindMux(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /data/{id}", h)
	return mux
}

// latchkeyGuarded is guarded by Require with a wildcard of the route.
func latchkeyGuarded(ctx context.Context) (guarded, error) {
	opts := withinASecond
	keys := latchkey.New(memstore.New(nil), &opts)
	g := guarded{name: "latchkey Require, a wildcard", handler: behindMux(
		httpadapter.New(keys, nil).Require(latchkey.Read, "dataset/{id}")(http.HandlerFunc(serve)))}
	for text, on := range map[*string]latchkey.Pattern{&g.reader: "dataset/*", &g.other: "news/*"} {
		_, s, err := keys.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}})
		if err != nil {
			return g, err
		}
		*text = s.Reveal()
	}
	return g, nil
}

type claimsKey struct{}

// jwtGuarded is guarded as people write it with golang-jwt: the claims are verified, looked at and given to the handler
// by the context.
func jwtGuarded() (guarded, error) {
	parse := parseJWT(jwt.SigningMethodHS256, hmacKey)
	reads := newClaims(1, time.Now().Add(time.Hour))
	other := reads
	other.Scope = "news:read"
	var texts [2]string
	for i, c := range []claims{reads, other} {
		var err error
		if texts[i], err = jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(hmacKey); err != nil {
			return guarded{}, err
		}
	}
	return guarded{name: "golang-jwt HS256 middleware", reader: texts[0], other: texts[1],
		handler: behindMux(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			c, err := parse(text)
			if err != nil {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if !strings.Contains(c.Scope, "dataset:read") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			serve(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, c)))
		}))}, nil
}

// discarded is a response whose body and headers nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

func get(text string) *http.Request {
	r := httptest.NewRequest("GET", guardedPath, nil)
	if text != "" {
		r.Header.Set("Authorization", "Bearer "+text)
	}
	return r
}

// agree checks who is let in.
func (g guarded) agree() error {
	for text, want := range map[string]int{g.reader: 200, g.other: 403, altered(g.reader): 401, "": 401} {
		w := httptest.NewRecorder()
		g.handler.ServeHTTP(w, get(text))
		if w.Code != want {
			return fmt.Errorf("%s answers %d instead of %d", g.name, w.Code, want)
		}
	}
	return nil
}

func (g guarded) side() measure.Side {
	r, w := get(g.reader), &discarded{header: http.Header{}}
	return measure.Side{Name: g.name, Run: func(n int) error {
		for range n {
			clear(w.header)
			g.handler.ServeHTTP(w, r)
			if w.status != http.StatusOK {
				return fmt.Errorf("refused with %d", w.status)
			}
		}
		return nil
	}}
}

func benchHTTP(b *bench) error {
	ours, err := latchkeyGuarded(b.ctx)
	if err != nil {
		return err
	}
	peer, err := jwtGuarded()
	if err != nil {
		return err
	}
	bare := guarded{name: "http.ServeMux, bare", handler: behindMux(http.HandlerFunc(serve))}
	for _, g := range []guarded{ours, peer} {
		if err := g.agree(); err != nil {
			return err
		}
	}
	results, err := b.compare("a request", ours.side(), peer.side(), bare.side())
	if err != nil {
		return err
	}
	over := func(r measure.Result) measure.Result {
		return measure.Result{Name: r.Name, NS: r.NS.Minus(results[2].NS)}
	}
	b.faster("Require with a wildcard, over the bare mux", over(results[0]), over(results[1]), atLeast(14))
	b.amount("Require with a wildcard, over the bare mux: allocations", results[0].Allocs-results[2].Allocs, "", atMost(3))
	return nil
}
