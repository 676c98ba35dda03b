package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed home.html
var homeHTML string

var homePage = template.Must(template.New("home").Parse(homeHTML))

// serveHome serves the page at "/", which says what is there. It loads nothing else.
func (a *app) serveHome(cfg config) http.HandlerFunc {
	about := struct {
		Nonce, Base, Prefix, Credentials, Dataset string
		OAuth, GitHub                             bool
	}{Base: cfg.base, Prefix: apiPrefix, Credentials: cfg.credentials, Dataset: datasetID, OAuth: cfg.url != "",
		GitHub: cfg.github != nil}
	return func(w http.ResponseWriter, r *http.Request) {
		about := about
		about.Nonce = rand.Text()
		h := w.Header()
		h.Set("Cache-Control", "no-store") // the nonce is of this reply
		h.Set("X-Content-Type-Options", "nosniff")
		var text bytes.Buffer
		if err := homePage.Execute(&text, about); err != nil {
			a.logError(r, err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'nonce-"+about.Nonce+"'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Write(text.Bytes())
	}
}
