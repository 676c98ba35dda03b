package main

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/console"
)

// mountConsole serves the console at /console/. Every visitor of this server is signed in as demo, which may do
// everything. A real host asks its own session system here.
func (a *app) mountConsole(mux *http.ServeMux) {
	demo, err := a.account.Assume(latchkey.Client{ID: "demo", Name: "demo"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*"), // all that a secret key may
	})
	signedIn := func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
		// There is no authentication, so a page of another site must not reach this by DNS rebinding.
		if !ownHost(r.Host) {
			return latchkey.Account{}, latchkey.Access{}, latchkey.ErrDenied
		}
		return a.account, demo, err
	}
	sets := a.apperateSets()
	console.Mount(mux, "/console", signedIn, &console.Options{
		// IEX's own page: its words, its switches and chips, which are rights that the gateway under /v1/ checks, and its
		// meter. Browsers that ask for German get the console's own German.
		Languages:   []*console.Words{console.ApperateWords(), console.German()},
		Catalogue:   console.Apperate(),
		CreditMeter: "core",
		Names: func(*http.Request) (names []string) {
			for _, id := range slices.Sorted(maps.Keys(sets)) {
				names = append(names, workspace+"/"+id)
			}
			return names
		},
		Schema: func(on latchkey.Resource) (*latchkey.Schema, latchkey.Dialect) {
			if on == datasetResource {
				return penguinSchema, a.db.engine.dialect
			}
			for _, set := range sets {
				if on == set.on {
					return set.schema, latchkey.SQLite
				}
			}
			return nil, 0
		},
		Logger: a.log,
	})
}

// ownHost reports whether a Host header is an address or "localhost", which no other site can use as a name.
func ownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}
