// Package console serves pages where people manage the API tokens of an account. They list, create, edit, rotate,
// disable and revoke tokens, edit roles, and see usage. A host can offer it to its own customers.
//
// For most uses, call [Mount] with a prefix and a function that returns who is signed in. Each change runs with that
// person as the actor ([latchkey.Account.As]). So latchkey decides what the person may do, and the audit trail names
// the person. Every page works without scripts; a little plain JavaScript saves some steps.
//
// Each form has an id, and a form that is sent twice is carried out once, even by another process or after a restart.
// The store keeps the ids for a day ([latchkey.Account.Once]). For half a minute, the process that carried out a form
// repeats its reply, including a new secret. Every other process replies that the form was sent before.
//
// A text in the search field may be a secret. It is looked up by its digest, and appears in no URL, page or log.
package console

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// SignedIn returns the account that a request manages, and the access of the person who is signed in. For a person
// without a token use [latchkey.Account.Assume]. An Access of another owner, of another Manager or of a test token is
// treated as not signed in. An error is answered with a page of its status (see [httpadapter.ProblemOf]). An error that
// wraps [latchkey.ErrInvalid], as that of Assume does, is answered with 500 and logged. To show a sign-in page instead,
// do so before the console is called.
type SignedIn func(*http.Request) (latchkey.Account, latchkey.Access, error)

// Options configure [Mount] and [Handler]. The zero value, and nil, are ready to use.
type Options struct {
	// Title is the name at the top of each page. "": the text "frame.title", which is "API Tokens" in English.
	Title string

	// Languages are the texts of the pages in each language that they are offered in, each language once; the first is
	// the default. Nil: [English] alone.
	Languages []*Words

	// Language returns the tag of the language of a request, such as "de": what the person has chosen in the host. A tag
	// that Languages lacks means the default. Nil: the browser's wish (the Accept-Language header).
	Language func(*http.Request) string

	// Look is how the pages look: the host's colours and logo. The zero value is the console's own.
	Look Look

	// Links returns links of the host for the head of each page, such as to its own dashboard; at most 6 are shown. The
	// request tells the person and the language. Nil: none.
	Links func(*http.Request) []Link

	// Kinds are the kinds of tokens that people may create here: publishable, API key, session or secret. What an owner's
	// policy allows is decided by latchkey besides. Nil: all four. Empty: none.
	Kinds []latchkey.Kind

	// Confirm is asked before a secret is shown and before something ends for good: for the pages that ask whether to, and
	// again when their form arrives. If the host wants to know once more who it is, it returns the URL of a page of its
	// own, which asks for the password and then sends the browser back to the address that was asked for: RequestURI of
	// the request, which the host's page must accept only as a path of this site. Every such form has a page at its own
	// address. A form that has arrived is kept on a page that says so and links to the host's page, and can be sent again.
	// "" means that the host knows. An error is answered with a page of its status. Nil: nothing is asked.
	Confirm func(*http.Request) (ask string, err error)

	// Catalogue lists the rights that the pages of a token can switch, such as [Apperate]. Nil: those of
	// [latchkey.Options.Catalogue], the first 60 of them; without one, there are none. Rules that it does not cover are
	// shown as text and left unchanged.
	Catalogue []Right

	// Names returns suggestions for the name of a chip ("ACME/CARS"); at most 20 are shown. The person signed in sees
	// them, and may type any other name. Nil: no suggestions.
	Names func(*http.Request) []string

	// Schema returns the fields of a resource and the dialect of the SQL that the tester shows. A nil schema: none is
	// known. Nil: the tester shows conditions in words only.
	Schema func(latchkey.Resource) (*latchkey.Schema, latchkey.Dialect)

	// CreditMeter is the meter whose monthly limit the page of a token shows and changes, such as "core". "": that of all
	// meters together.
	CreditMeter string

	// Variable is the name of the environment variable in the line for a new secret that people copy. "": "API_TOKEN".
	Variable string

	// Example is the URL of a request that a new token may send, such as "https://api.example.com/v1/orders". The page of
	// a new secret shows it as a command to copy. "": no command is shown.
	Example string

	// FrameAncestors are origins whose pages may show the console in a frame. Nil: none.
	FrameAncestors []string

	// TrustedOrigins are other origins that may send changes ("https://admin.example.com"), as for
	// [http.CrossOriginProtection.AddTrustedOrigin]. Nil: none.
	TrustedOrigins []string

	// Clock returns the current time. Pass the Manager's clock. Nil: time.Now.
	Clock func() time.Time

	// OnError is called for every refusal with its cause, before the reply is written. [httpadapter.AccessFrom] returns
	// who was refused. Nil: no callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, with their cause. Nil: nothing is logged.
	Logger *slog.Logger
}

type console struct {
	signedIn    SignedIn
	opts        Options
	languages   []*Words
	look        ownLook
	rights      catalogue // of Options.Catalogue
	declared    sync.Map  // the catalogue for each *latchkey.Catalogue
	policy      string    // Content-Security-Policy
	submissions *submissions
}

// Handler serves the console at "/". Use [http.StripPrefix] to serve it under a prefix. Nil options are ready to use.
// It panics if signedIn is nil and on invalid options.
func Handler(signedIn SignedIn, opts *Options) http.Handler {
	if signedIn == nil {
		panic("console: signedIn is nil: pass a function that returns who is signed in")
	}
	c := &console{signedIn: signedIn}
	if opts != nil {
		c.opts = *opts
	}
	c.languages = slices.Clone(c.opts.Languages)
	if len(c.languages) == 0 {
		c.languages = []*Words{English()}
	}
	for i, w := range c.languages {
		if w == nil {
			panic("console: Options.Languages: nil: use English, German or Translate")
		}
		if slices.ContainsFunc(c.languages[:i], func(x *Words) bool { return strings.EqualFold(x.language, w.language) }) {
			panic(fmt.Sprintf("console: Options.Languages: two are %q", w.language))
		}
		w.pages() // a page that cannot be made fails now
	}
	if c.opts.Clock == nil {
		c.opts.Clock = time.Now
	}
	c.rights = newCatalogue(c.opts.Catalogue)
	c.look = newLook(c.opts.Look)
	for _, k := range c.opts.Kinds {
		if !slices.Contains(issuedKinds, k) {
			panic(fmt.Sprintf("console: Options.Kinds: nobody can create a token of the kind %q", k))
		}
	}
	c.submissions = newSubmissions(c.opts.Clock)
	if strings.ContainsAny(c.opts.Variable, " =\"'$\r\n\t") || strings.ContainsAny(c.opts.Example, "'\r\n") {
		panic("console: Options.Variable must be the name of a variable, and Options.Example a URL, without quotes")
	}
	ancestors := "'none'"
	if len(c.opts.FrameAncestors) > 0 {
		for _, origin := range c.opts.FrameAncestors {
			if origin == "" || strings.ContainsAny(origin, " ;,\r\n\t") {
				panic(fmt.Sprintf("console: Options.FrameAncestors: %q is no origin, such as https://admin.example.com", origin))
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

// Mount serves the console under a prefix: "/console" answers at "/console/". "" is the root. For routers that are
// not an [httpadapter.Mux] use [Handler] with [http.StripPrefix].
func Mount(mux httpadapter.Mux, prefix string, signedIn SignedIn, opts *Options) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "" && prefix[0] != '/' {
		panic(fmt.Sprintf("console: Mount: the prefix %q must begin with a slash", prefix))
	}
	mount.Subtree(mux, prefix, "", Handler(signedIn, opts))
}

// header sets the headers of every reply.
func (c *console) header(h http.Header) {
	h.Set("Content-Security-Policy", c.policy)
	if len(c.opts.FrameAncestors) == 0 {
		h.Set("X-Frame-Options", "DENY")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// A stricter policy makes browsers send the Origin "null" with a form. Browsers that send no Sec-Fetch-Site then say
	// nothing else about where a change comes from.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

var (
	errCrossSite = errors.New("console: a change that came from another page")
	errMethod    = errors.New("console: method not allowed")
)

// newView returns the view of a request that is not authenticated yet.
func (c *console) newView(w http.ResponseWriter, r *http.Request) *view {
	// Watched, so that what the Manager reported is not reported again. The host authenticates the person, and limits
	// attempts.
	r = r.WithContext((*httpadapter.Gate)(nil).Watch(r.Context(), netip.Addr{}))
	v := &view{console: c, words: c.wordsFor(r), rights: c.rights, w: w, r: r, now: c.opts.Clock().UTC(), root: "./"}
	v.path = strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if n := len(v.path); n > 1 {
		v.root = strings.Repeat("../", n-1)
	}
	return v
}

func (c *console) serve(w http.ResponseWriter, r *http.Request) {
	v := c.newView(w, r)
	if !strings.HasPrefix(r.URL.Path, "/") { // the prefix without its slash: relative links would break
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

// route calls the page of a request. Changes are POSTs, and nothing else is.
func (v *view) route() error {
	id := ""
	switch n := len(v.path); {
	case n > 3:
		return latchkey.ErrNotFound
	case n > 1:
		if id = v.path[1]; id == "" || v.path[n-1] == "" {
			return latchkey.ErrNotFound
		}
	}
	found, ok := pages[v.at()]
	if !ok {
		return latchkey.ErrNotFound
	}
	v.pasted = found.pasted
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
	if found.confirm {
		if away, err := v.confirmed(); away || err != nil {
			return err
		}
	}
	return do(v, id)
}

// at returns the key of pages for the path of a request.
func (v *view) at() string {
	at := slices.Clone(v.path)
	if len(at) > 1 {
		at[1] = "*"
	}
	return strings.Join(at, "/")
}

// page is the handlers of a path: "token/*/rotate" for "/token/<id>/rotate". confirm: it shows a secret, or ends
// something for good, so that the host may ask who it is once more (Options.Confirm). pasted: its form may hold a key
// that was pasted, so that it is not kept when it is refused.
type page struct {
	get, post func(v *view, id string) error
	confirm   bool
	pasted    bool
}

var pages map[string]page

func init() {
	pages = map[string]page{
		"":                {get: (*view).list, post: (*view).search, pasted: true},
		"new":             {get: (*view).newToken, post: (*view).create, confirm: true},
		"many":            {post: (*view).many, confirm: true},
		"account":         {get: (*view).whole, post: (*view).switchOff, confirm: true},
		"token/*/minted":  {get: (*view).tokenMinted},
		"token/*":         {get: (*view).edit, post: (*view).save},
		"token/*/rotate":  {get: (*view).confirmRotate, post: (*view).rotate, confirm: true},
		"token/*/disable": {get: (*view).confirmDisable, post: (*view).disable},
		"token/*/enable":  {get: (*view).confirmEnable, post: (*view).enable},
		"token/*/revoke":  {get: (*view).confirmRevoke, post: (*view).revoke, confirm: true},
		"token/*/reveal":  {get: (*view).confirmReveal, post: (*view).reveal, confirm: true},
		"token/*/signing": {get: (*view).confirmSigning, post: (*view).signing, confirm: true},
		"token/*/access":  {get: (*view).tokenAccess},
		"token/*/usage":   {get: (*view).tokenUsage},
		"roles":           {get: (*view).roles, post: (*view).searchRoles, pasted: true},
		"role":            {get: (*view).newRole, post: (*view).createRole},
		"role/*":          {get: (*view).editRole, post: (*view).saveRole},
		"role/*/delete":   {get: (*view).confirmDeleteRole, post: (*view).deleteRole, confirm: true},
		"role/*/access":   {get: (*view).roleAccess},
		"usage":           {get: (*view).usage},
		"usage.csv":       {get: (*view).usageCSV},
		"refusals.csv":    {get: (*view).refusalsCSV},
		"tokens.csv":      {get: (*view).tokensCSV},
		"audit":           {get: (*view).audit, post: (*view).filterAudit, pasted: true},
		"audit.csv":       {get: (*view).auditCSV},
		"audit/*":         {get: (*view).auditEvent},
		"leak":            {get: (*view).leakForm, post: (*view).findLeak, pasted: true},
		"token/*/leak":    {get: (*view).leaked},
		"token/*/end":     {get: (*view).confirmEnd, post: (*view).endSecret, confirm: true},
		"token/*/history": {get: (*view).tokenHistory, post: (*view).filterAudit, pasted: true},
		"role/*/history":  {get: (*view).roleHistory, post: (*view).filterAudit, pasted: true},
	}
}
