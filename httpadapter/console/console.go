// Package console is a page where people manage the API tokens of an account: list, create, edit, rotate, disable, revoke,
// roles, and what was used. It is made to be shipped to a host's own customers.
//
// For most uses, call [Mount] with a prefix and a function that says who is signed in. Each change runs as that person
// ([latchkey.Account.As]), so latchkey itself decides what they may do, and the audit trail has their name. Every page
// works without scripts; a little plain JavaScript saves some steps.
//
// Each form carries an id of its own, and a form sent twice is carried out once, also when another process is asked
// or this one was started anew: the store remembers the ids for a day ([latchkey.Account.Once]). Within half a minute
// the process that carried a form out answers it again as it did, a new secret included; any other says that it was
// sent before.
//
// What somebody pastes into the search field may be a key. It is looked up by its digest, and stands in no address,
// page or log.
package console

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// SignedIn says whose tokens a request is about and who is asking, as the host's own sign-in knows it. Somebody without a
// token is [latchkey.Account.Assume]. An Access of another owner, of another Manager or of a test token is answered
// like nobody's. An error is answered with a page of its status (see [httpadapter.ProblemOf]); a host that would rather
// show its sign-in page does so before it calls the console.
type SignedIn func(*http.Request) (latchkey.Account, latchkey.Access, error)

// Options configure [Mount] and [Handler]. The zero value, and nil, are ready to use.
type Options struct {
	// Title names the console at the top of each page. "": "API Tokens".
	Title string

	// Catalogue is what the pages of a token offer to switch. Nil: [Apperate]. Rules that it does not name are shown as
	// text and kept as they are.
	Catalogue []Right

	// Names are suggestions for what a chip asks for ("ACME/CARS"), for who sent the request; 30 are shown at most. They are
	// no secret to the person signed in, and no bound: others may be typed. Nil: none.
	Names func(*http.Request) []string

	// Schema gives the fields of a resource and the dialect for the SQL that the tester shows; a nil schema: none is
	// known. Nil: the tester shows conditions in words only.
	Schema func(latchkey.Resource) (*latchkey.Schema, latchkey.Dialect)

	// CreditMeter is the meter whose credits the limit of a token is shown against. "": "core".
	CreditMeter string

	// FrameAncestors are origins whose pages may show the console in a frame. Nil: none.
	FrameAncestors []string

	// TrustedOrigins are other origins that may send changes ("https://admin.example.com"), as for
	// [http.CrossOriginProtection.AddTrustedOrigin]. Nil: none.
	TrustedOrigins []string

	// Clock tells the time; nil: time.Now. Give it the Manager's.
	Clock func() time.Time

	// OnError hears of every refusal with its cause, before the reply is written. Who was refused tells
	// [httpadapter.AccessFrom]. Nil: nobody listens.
	OnError func(r *http.Request, err error)

	// Logger hears of replies of 500 and above, with their cause. Nil: nobody listens.
	Logger *slog.Logger
}

type console struct {
	signedIn    SignedIn
	opts        Options
	rights      catalogue
	policy      string // Content-Security-Policy
	submissions *submissions
}

// Handler serves the console at "/": put [http.StripPrefix] before it to have it elsewhere. It panics without signedIn and
// on options that cannot work.
func Handler(signedIn SignedIn, opts *Options) http.Handler {
	if signedIn == nil {
		panic("console: Handler needs a function that says who is signed in")
	}
	c := &console{signedIn: signedIn}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Title == "" {
		c.opts.Title = "API Tokens"
	}
	if c.opts.Catalogue == nil {
		c.opts.Catalogue = Apperate()
	}
	if c.opts.CreditMeter == "" {
		c.opts.CreditMeter = "core"
	}
	if c.opts.Clock == nil {
		c.opts.Clock = time.Now
	}
	c.rights = newCatalogue(c.opts.Catalogue)
	c.submissions = newSubmissions(c.opts.Clock)
	ancestors := "'none'"
	if len(c.opts.FrameAncestors) > 0 {
		for _, origin := range c.opts.FrameAncestors {
			if origin == "" || strings.ContainsAny(origin, " ;,\r\n\t") {
				panic(fmt.Sprintf("console: Options.FrameAncestors: %q is no origin", origin))
			}
		}
		ancestors = strings.Join(c.opts.FrameAncestors, " ")
	}
	c.policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; " +
		"base-uri 'none'; frame-ancestors " + ancestors
	guard := http.NewCrossOriginProtection()
	for _, origin := range c.opts.TrustedOrigins {
		if err := guard.AddTrustedOrigin(origin); err != nil {
			panic("console: Options.TrustedOrigins: " + err.Error())
		}
	}
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.newView(w, r).fail(errCrossSite)
	}))
	serve := guard.Handler(http.HandlerFunc(c.serve))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.header(w.Header())
		serve.ServeHTTP(w, r)
	})
}

// Mount serves the console beneath a prefix: "/console" answers at "/console/". "" is the root. For routers that are no
// [httpadapter.Mux] use [Handler] with [http.StripPrefix].
func Mount(mux httpadapter.Mux, prefix string, signedIn SignedIn, opts *Options) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "" && prefix[0] != '/' {
		panic(fmt.Sprintf("console: Mount: the prefix %q does not begin with a slash", prefix))
	}
	mount.Subtree(mux, prefix, "", Handler(signedIn, opts))
}

func (c *console) header(h http.Header) {
	h.Set("Content-Security-Policy", c.policy)
	if len(c.opts.FrameAncestors) == 0 {
		h.Set("X-Frame-Options", "DENY")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// With less, browsers send the Origin "null" with a form, and where they send no Sec-Fetch-Site nothing else says where
	// a change comes from.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

var (
	errCrossSite = errors.New("console: a change that came from another page")
	errMethod    = errors.New("console: method not allowed")
)

// start is a visit of which nothing is known yet.
func (c *console) newView(w http.ResponseWriter, r *http.Request) *view {
	// Watched, so that what the Manager reported is not reported again. Who is signed in is the host's to find out,
	// and to bound.
	r = r.WithContext((*httpadapter.Gate)(nil).Watch(r.Context(), netip.Addr{}))
	v := &view{console: c, w: w, r: r, now: c.opts.Clock().UTC(), root: "./"}
	v.path = strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if n := len(v.path); n > 1 {
		v.root = strings.Repeat("../", n-1)
	}
	return v
}

func (c *console) serve(w http.ResponseWriter, r *http.Request) {
	v := c.newView(w, r)
	if !strings.HasPrefix(r.URL.Path, "/") { // the prefix without its slash: relative links would lead elsewhere
		v.fail(latchkey.ErrNotFound)
		return
	}
	if v.path[0] == "static" {
		v.static()
		return
	}
	if err := v.route(); err != nil {
		v.fail(err)
	}
}

// route finds what a request is about. What changes anything is a POST, and nothing else is.
func (v *view) route() error {
	page := v.path[0]
	id, action := "", ""
	switch n := len(v.path); {
	case n > 3:
		return latchkey.ErrNotFound
	case n > 1:
		id = v.path[1]
		if n == 3 {
			action = v.path[2]
		}
		if id == "" || n == 3 && action == "" {
			return latchkey.ErrNotFound
		}
	}
	at := page
	if id != "" {
		at += "/*"
	}
	if action != "" {
		at += "/" + action
	}
	found, ok := pages[at]
	if !ok {
		return latchkey.ErrNotFound
	}
	do := found.get
	switch v.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		do = found.post
	default:
		do = nil
	}
	if do == nil {
		allow := http.MethodGet + ", " + http.MethodHead
		switch {
		case found.get == nil:
			allow = http.MethodPost
		case found.post != nil:
			allow += ", " + http.MethodPost
		}
		v.w.Header().Set("Allow", allow)
		return errMethod
	}
	if err := v.signIn(); err != nil {
		v.keepForm()
		return err
	}
	if err := v.readForm(); err != nil {
		return err
	}
	return do(v, id)
}

// page is what is served at a path: "token/*/rotate" for "/token/<id>/rotate".
type page struct {
	get, post func(v *view, id string) error
}

var pages map[string]page

func init() {
	pages = map[string]page{
		"":                {get: (*view).list, post: (*view).search},
		"seek":            {get: (*view).seek},
		"new":             {get: (*view).newToken, post: (*view).create},
		"token/*":         {get: (*view).edit, post: (*view).save},
		"token/*/rotate":  {get: (*view).confirmRotate, post: (*view).rotate},
		"token/*/disable": {get: (*view).confirmDisable, post: (*view).disable},
		"token/*/enable":  {get: (*view).confirmEnable, post: (*view).enable},
		"token/*/revoke":  {get: (*view).confirmRevoke, post: (*view).revoke},
		"token/*/reveal":  {get: (*view).confirmReveal, post: (*view).reveal},
		"token/*/signing": {get: (*view).confirmSigning, post: (*view).signing},
		"token/*/access":  {get: (*view).tokenAccess},
		"token/*/usage":   {get: (*view).tokenUsage},
		"roles":           {get: (*view).roles, post: (*view).searchRoles},
		"role":            {get: (*view).newRole, post: (*view).createRole},
		"role/*":          {get: (*view).editRole, post: (*view).saveRole},
		"role/*/delete":   {get: (*view).confirmDeleteRole, post: (*view).deleteRole},
		"role/*/access":   {get: (*view).roleAccess},
		"usage":           {get: (*view).usage},
	}
}
