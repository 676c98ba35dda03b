package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
)

//go:embed embed/loader.js
var loaderJS string

//go:embed embed/page.html
var pageHTML string

// loaderStyles are the styling frameworks of CloudTables. Here each is only a class name.
var loaderStyles = map[string]bool{
	"d": true, "auto": true, "bs": true, "bs4": true, "bs5": true, "bm": true, "dt": true, "zf": true, "ju": true,
	"se": true, "no": true,
}

func (a *app) mountEmbedding(mux *http.ServeMux) {
	table := a.serveTable(cloudtables.Authorize(a.account, nil))
	for _, prefix := range []string{"/io", ""} { // self-hosted and cloud form
		handle(mux, "GET "+prefix+"/loader/{dataset}/table/{style}", serveLoader)
		handle(mux, "GET "+prefix+"/dataset/{dataset}/table", table)
		handle(mux, "OPTIONS "+prefix+"/dataset/{dataset}/table", preflightTable)
	}
	mux.HandleFunc("GET /embed", a.serveEmbed)
}

// loader returns the script with the names of the data set and its columns. Only the rows need a token.
var loader = func() []byte {
	type named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var about struct {
		named
		Columns []named `json:"columns"`
	}
	about.named = named{datasetID, datasetName}
	for _, p := range points {
		about.Columns = append(about.Columns, named{p.ID, p.Name})
	}
	text, err := json.Marshal(about) // escapes <, > and &: safe in a script
	if err != nil {
		panic(err)
	}
	return []byte(strings.Replace(loaderJS, "__DATASET__", string(text), 1))
}()

func serveLoader(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("dataset") != datasetID || !loaderStyles[r.PathValue("style")] {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // pages of other sites embed it
	w.Write(loader)
}

// serveTable replies to an embedded table with the rows that its token may read.
func (a *app) serveTable(authorize func(*http.Request) (cloudtables.Call, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// The page belongs to another site. The token is the only credential: there is no cookie or session.
		w.Header().Set("Access-Control-Allow-Origin", "*")
		httpadapter.ForbidStoring(w.Header())
		access, at, err := tableRequest(r, authorize)
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		rows, err := a.visibleRows(access, r.PathValue("dataset"), latchkey.Read)
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		found, err := a.penguins.list(r.Context(), rows, at)
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, reply{true, rowReplies(found, false)})
	}
}

// preflightTable replies to the preflight of a page of another site that reads a table. The loader causes none, but
// libraries that pages use add a header of their own.
func preflightTable(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "accept, content-type, x-requested-with")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// tableRequest returns the Access of the token in the request of a table, and the page of rows it asks for.
func tableRequest(r *http.Request,
	authorize func(*http.Request) (cloudtables.Call, error)) (latchkey.Access, page, error) {
	c, err := authorize(r)
	if err != nil {
		return latchkey.Access{}, page{}, err
	}
	// A page shows its token to all visitors. An API key there is a mistake and must not work.
	if c.Access.Kind() != latchkey.KindAccess {
		return latchkey.Access{}, page{}, &latchkey.DeniedError{Action: latchkey.Read, Resource: datasetResource}
	}
	query, at := r.URL.Query(), everything // authorize refused a malformed query
	if err := pageNumber(query, "start", 0, &at.start); err != nil {
		return latchkey.Access{}, page{}, err
	}
	if err := pageNumber(query, "length", -1, &at.limit); err != nil { // -1: no limit, as in DataTables
		return latchkey.Access{}, page{}, err
	}
	return c.Access, at, nil
}

func pageNumber(query url.Values, name string, least int64, into *int64) error {
	values := query[name]
	if len(values) == 0 {
		return nil
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || n < least || len(values) > 1 {
		return badParameter(fmt.Sprintf("%s must be one whole number from %d on", name, least))
	}
	*into = n
	return nil
}

// embedder mints tokens for the page below, from the API key of the first start.
type embedder struct {
	keyID, roleID string

	mu     sync.Mutex
	access latchkey.Access // of the API key, once it was verified
	known  bool
}

// token mints a token that may read. A key that was revoked, or lost its role, mints no more.
func (e *embedder) token(ctx context.Context, keys *latchkey.Manager, account latchkey.Account) (string, error) {
	access, err := e.verify(ctx, keys, account)
	if err != nil {
		return "", err
	}
	_, secret, err := access.Mint(ctx, latchkey.Narrowing{
		Name:     "embed",
		Roles:    []string{e.roleID},
		Client:   latchkey.Client{ID: "embed", Name: "Visitor of /embed"},
		Lifetime: 24 * time.Hour,
		Idle:     20 * time.Minute,
	})
	return secret.Reveal(), err
}

func (e *embedder) verify(ctx context.Context, keys *latchkey.Manager,
	account latchkey.Account) (latchkey.Access, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known {
		return e.access.Again(ctx)
	}
	secret, err := account.Reveal(ctx, e.keyID)
	if errors.Is(err, latchkey.ErrNotFound) || errors.Is(err, latchkey.ErrInvalid) { // deleted, or revoked
		return latchkey.Access{}, fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	}
	if err != nil {
		return latchkey.Access{}, err
	}
	e.access, err = account.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	e.known = err == nil
	return e.access, err
}

var embedPage = template.Must(template.New("embed").Parse(pageHTML))

// serveEmbed serves a page as another site could have it: one script tag with a token in it. Every visitor of this
// server gets a token that may read. That suits a public demonstration. A real site decides it by its own log-in.
func (a *app) serveEmbed(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	token, err := a.embedder.token(r.Context(), a.keys, a.account)
	if err != nil {
		problem := httpadapter.ProblemOf(err)
		a.logError(r, err)
		http.Error(w, "No token can be made for this page: "+strings.ToLower(problem.Title)+".", problem.Status)
		return
	}
	nonce := rand.Text()
	var text bytes.Buffer
	err = embedPage.Execute(&text, struct{ Dataset, Nonce, Token string }{datasetID, nonce, token})
	if err != nil {
		a.logError(r, err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; "+
		"style-src 'nonce-"+nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Write(text.Bytes())
}
