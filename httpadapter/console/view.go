package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/form"
)

//go:embed assets
var assets embed.FS

// templates returns the pages in no language yet: see Words.pages.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs((&Words{}).funcs()).Funcs(commonFuncs).ParseFS(assets, "assets/*.html"))
})

// commonFuncs are the functions of the templates that are the same in every language.
var commonFuncs = template.FuncMap{
	"val": asTyped, "exact": exact, "shorten": shorten, "brief": brief, "link": link, "links": linksTo,
	"plus": func(n ...int) (sum int) {
		for _, x := range n {
			sum += x
		}
		return sum
	},
	"held": func(facts []fact, more int) any {
		return struct {
			Facts     []fact
			FactsMore int
		}{facts, more}
	},
	"at": func(root string, e event) any {
		return struct {
			Root string
			E    event
		}{root, e}
	},
	"has":  func(list []string, x string) bool { return slices.Contains(list, x) },
	"rule": func(i, n int) any { return struct{ I, N int }{i, n} },
}

// staticFiles are the files that pages refer to, by a name that changes with their content.
var staticFiles, styleName, scriptName, iconName = func() (map[string]string, string, string, string) {
	all := map[string]string{}
	add := func(file string) string {
		text, err := assets.ReadFile("assets/" + file)
		if err != nil {
			panic(err)
		}
		if text = compact(text); strings.HasSuffix(file, ".css") {
			text = bytes.ReplaceAll(text, []byte("\n"), nil)
		}
		sum := sha256.Sum256(text)
		name := hex.EncodeToString(sum[:6]) + "-" + file
		all[name] = string(text)
		return name
	}
	return all, add("console.css"), add("console.js"), add("icon.svg")
}()

// compact returns a file without indentation and without lines that are comments. Files have no text of several lines.
func compact(file []byte) []byte {
	var out []byte
	for line := range bytes.Lines(file) {
		if line = bytes.TrimLeft(line, "\t"); len(line) > 1 && !bytes.HasPrefix(line, []byte("//")) {
			out = append(out, line...)
		}
	}
	return out
}

func (v *view) static() {
	name := strings.Join(v.path[1:], "/")
	text, ok := staticFiles[name]
	if !ok {
		text, ok = v.look.files[name]
	}
	if !ok || v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		v.fail(latchkey.ErrNotFound)
		return
	}
	h := v.w.Header()
	if h.Set("Cache-Control", "public, max-age=31536000, immutable"); v.r.URL.RawQuery != "" {
		h.Set("Cache-Control", "no-store") // the script asks whether the server can be reached
	}
	switch {
	case v.look.types[name] != "":
		h.Set("Content-Type", v.look.types[name])
	case strings.HasSuffix(name, ".css"):
		h.Set("Content-Type", "text/css; charset=utf-8")
	case strings.HasSuffix(name, ".js"):
		h.Set("Content-Type", "text/javascript; charset=utf-8")
	default:
		h.Set("Content-Type", "image/svg+xml")
	}
	_, _ = v.w.Write([]byte(text))
}

// view serves one request.
type view struct {
	*console
	words   *Words
	rights  catalogue           // those that this account's pages offer
	host    *latchkey.Catalogue // what the host calls things; nil: nothing is declared
	w       http.ResponseWriter
	r       *http.Request
	now     time.Time
	path    []string
	root    string // the console's first page, relative to this one
	account latchkey.Account
	access  latchkey.Access
	called  map[string]string // names of tokens by their ids, for answers
	form    *form.Value       // of a POST
	typed   string            // the same, still encoded
	query   *form.Value
	pasted  bool          // the form may hold a pasted key
	unsaid  template.HTML // why such a form selects nothing
}

// signIn authenticates the person who sent the request.
func (v *view) signIn() error {
	account, access, err := v.signedIn(v.r)
	if errors.Is(err, latchkey.ErrInvalid) { // the host's own rules, which Assume refused
		return fmt.Errorf("console: SignedIn: %v", err)
	}
	if err != nil {
		return err
	}
	if account.Owner() == "" || account.Manager() == nil {
		return errors.New("console: SignedIn returned the zero Account")
	}
	if access.Test() { // the console is not a sandbox: it changes live tokens
		return latchkey.ErrTestMode
	}
	v.account, err = account.As(access)
	if err == nil && v.r.Method != http.MethodPost { // the readings of one page
		v.account, err = v.account.Reading(v.r.Context())
	}
	v.access = access
	if v.host = account.Manager().Catalogue(); v.host != nil && v.opts.Catalogue == nil {
		rights, ok := v.declared.Load(v.host)
		if !ok {
			rights, _ = v.declared.LoadOrStore(v.host, newCatalogue(rightsOf(v.host)))
		}
		v.rights = rights.(catalogue)
	}
	return err
}

// readForm parses the query, and the form of a POST.
func (v *view) readForm() error {
	var err error
	if v.query, err = form.Parse(v.r.URL.RawQuery); err != nil {
		return fmt.Errorf("%w: %w", httpadapter.ErrBadRequest, err)
	}
	if v.r.Method != http.MethodPost {
		return nil
	}
	if err := v.readBody(); err != nil {
		return err
	}
	if v.form, err = form.Parse(v.typed); err != nil {
		return fmt.Errorf("%w: %w", httpadapter.ErrBadRequest, err)
	}
	return nil
}

// readBody reads a form that was sent by a page of this site.
func (v *view) readBody() error {
	// Every browser sends one of these with a form. A request with neither hides where it comes from, or is not from a
	// browser.
	if v.r.Header.Get("Sec-Fetch-Site") == "" && v.r.Header.Get("Origin") == "" {
		return errCrossSite
	}
	kind, err := httpadapter.MediaType(v.r)
	if err != nil {
		return err
	}
	if kind != "application/x-www-form-urlencoded" {
		return errCrossSite // only pages of other sites send other types of form
	}
	body, err := httpadapter.ReadBody(v.r, form.MaxBytes)
	if err != nil {
		return err
	}
	v.typed = string(body)
	return nil
}

// keepForm reads the form of a request that is refused, so that it can be sent again. The form is not interpreted.
func (v *view) keepForm() {
	if v.r.Method == http.MethodPost {
		_ = v.readBody() // if it cannot be read, there is nothing to keep
	}
}

const (
	maxResendFields = 400    // fields of a form that is kept
	maxResendBytes  = 34_000 // of the page that keeps it
)

// typedFields returns the form that was sent as hidden fields, without those named, for a page that asks whether to
// carry it out.
func (v *view) typedFields(without ...string) template.HTML {
	var hidden strings.Builder
	for pair := range strings.SplitSeq(v.typed, "&") {
		raw, rawValue, _ := strings.Cut(pair, "=")
		name, ok := appendUnescaped(nil, raw, false)
		value, okValue := appendUnescaped(nil, rawValue, true)
		if ok && okValue && len(value) > 0 && !slices.Contains(without, string(name)) {
			writeHidden(&hidden, string(name), string(value))
		}
	}
	return template.HTML(hidden.String()) // escaped by writeHidden
}

// writeHidden writes a hidden field.
func writeHidden(b *strings.Builder, name, value string) {
	b.WriteString(`<input type="hidden" name="`)
	writeTyped(b, name)
	b.WriteString(`" value="`)
	writeTyped(b, value)
	b.WriteString(`">`)
}

// resendForm returns the form that was sent, to be sent again. It returns "" if there is none, or if it is too large.
// It does not keep the text of a search field, which may be a secret.
func (v *view) resendForm() template.HTML {
	if v.typed == "" || v.pasted {
		return ""
	}
	// The sender may not be authenticated, so the form is decoded into one buffer, without an allocation for each field.
	all := make([]byte, 0, len(v.typed))
	var ends [2 * maxResendFields]int // of name and value, in turn
	fields := 0
	for rest := v.typed; rest != ""; fields += 2 {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		if fields == len(ends) {
			return ""
		}
		for i, raw := range [2]string{name, value} {
			from, ok := len(all), false
			if all, ok = appendUnescaped(all, raw, i == 1); !ok || !utf8.Valid(all[from:]) {
				return ""
			}
			ends[fields+i] = len(all)
		}
	}
	var hidden, seen strings.Builder
	text, at := string(all), 0
	for i := 0; i < fields; i += 2 {
		name, value := text[at:ends[i]], text[ends[i]:ends[i+1]]
		at = ends[i+1]
		writeHidden(&hidden, name, value)
		if value != "" && !slices.Contains(hiddenFields, name) && !strings.HasPrefix(name, "had-") {
			seen.WriteString("<dt>")
			writeHTML(&seen, name)
			seen.WriteString(`</dt><dd dir="auto">`)
			writeHTML(&seen, value)
			seen.WriteString("</dd>")
		}
	}
	if hidden.Len() > maxResendBytes {
		return ""
	}
	words := ""
	if seen.Len() > 0 && hidden.Len()+seen.Len() <= maxResendBytes {
		words = "<details><summary>" + string(v.rich("error.sent")) + "</summary><dl class=\"typed\">" + seen.String() +
			"</dl></details>"
	}
	return template.HTML(hidden.String() + words) // escaped above
}

// appendUnescaped appends the decoded name or value of a form. In values a line break is one character.
func appendUnescaped(b []byte, raw string, value bool) (_ []byte, ok bool) {
	from := len(b)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%':
			var one [1]byte
			if i+2 >= len(raw) {
				return b, false
			}
			if _, err := hex.Decode(one[:], []byte(raw[i+1:i+3])); err != nil {
				return b, false
			}
			c, i = one[0], i+2
		}
		if value && c == '\n' && len(b) > from && b[len(b)-1] == '\r' {
			b = b[:len(b)-1]
		}
		b = append(b, c)
	}
	return b, true
}

// hiddenFields are fields that people do not type.
var hiddenFields = []string{"form", "version", "do", "from", "to", "of", "after"}

// text returns the only value of a name, trimmed, or "" if there is none or more than one.
func text(f *form.Value, name string) string {
	if x := f.Get(name); x != nil && x.Kind == form.Text {
		return strings.TrimSpace(x.Text)
	}
	return ""
}

// texts returns all values of a name.
func texts(f *form.Value, name string) []string {
	x := f.Get(name)
	switch {
	case x == nil:
		return nil
	case x.Kind == form.Text:
		return []string{x.Text}
	}
	var out []string
	for _, item := range x.Items {
		if item.Kind == form.Text {
			out = append(out, item.Text)
		}
	}
	return out
}

// may reports whether the person may do action on a token or role.
func (v *view) may(action latchkey.Action, kind, id string) bool {
	return v.access.Allows(action, latchkey.Path("latchkey", kind, id))
}

// heading is the heading of a page, and its title in the browser.
type heading struct {
	H1, Tab template.HTML
	text    string // if it is a name alone
}

// fieldError is a field of a form that cannot be saved.
type fieldError struct {
	Field, Label string
	Text         template.HTML
}

// ui is what every page shows.
type ui struct {
	Root, Style, Script, Icon string
	OwnStyle, Logo            string // "": none
	LogoIsName                bool
	Links                     []Link
	Theme                     string
	Language, Direction       string
	Product                   string
	Who                       string
	Title                     heading
	Titled                    bool          // the title is not that of the product
	Nav                       string        // the current link of the navigation
	Notice                    template.HTML // what was done
	Errors                    []template.HTML
	FieldErrors               []fieldError
	Focus                     string // the id of the element that gets the focus; "": what there is to say, if anything
	Usage, Audit              bool   // the person may see usage, and the audit trail
	Body                      template.HTML
}

// product returns the name at the top of each page.
func (v *view) product() string {
	if v.opts.Title != "" {
		return v.opts.Title
	}
	return v.say("frame.title")
}

// show writes a page. It sends nothing until the whole page is rendered.
func (v *view) show(status int, name string, page ui, data any) error {
	page.Root, page.Product = v.root, v.product()
	page.Titled = page.Title.text != page.Product
	page.Language, page.Direction = v.words.language, direction(v.words.language)
	page.Style, page.Script, page.Icon = v.root+"static/"+styleName, v.root+"static/"+scriptName, v.root+"static/"+iconName
	if v.look.style != "" {
		page.OwnStyle = v.root + "static/" + v.look.style
	}
	if v.look.logo != "" {
		page.Logo, page.LogoIsName = v.root+"static/"+v.look.logo, v.opts.Look.LogoIsName
	}
	if page.Theme = v.opts.Look.Theme; page.Theme == "" {
		page.Theme = "light dark"
	}
	var err error
	if page.Links, err = v.hostLinks(); err != nil {
		return err
	}
	page.Usage = v.access.Allows(latchkey.Read, "latchkey/usage")
	page.Audit = v.access.Allows(latchkey.Read, "latchkey/event")
	page.Who = v.account.Owner()
	if client := v.access.Client(); client.Name != "" {
		page.Who = client.Name
	} else if client.ID != "" {
		page.Who = client.ID
	}
	pages := v.words.pages()
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name+".html", map[string]any{"Page": page, "Root": v.root, "Now": v.now,
		"FormID": newFormID(), "D": data, "Place": v.place("?"), "PlaceToo": v.place("&"),
		"List": v.listURL()}); err != nil {
		return fmt.Errorf("console: page %s: %w", name, err)
	}
	text := body.String()
	if id := ` id="` + page.Focus + `"`; page.Focus != "" && len(page.Errors) == 0 { // no text that was typed holds this
		text = strings.Replace(text, id, id+" autofocus", 1)
	} else {
		page.Focus = ""
	}
	page.Body = template.HTML(text) // rendered by a template
	var whole bytes.Buffer
	if err := pages.ExecuteTemplate(&whole, "frame.html", page); err != nil {
		return fmt.Errorf("console: frame: %w", err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.words.language)
	v.w.WriteHeader(status)
	_, _ = io.WriteString(v.w, visible(whole.String()))
	return nil
}

// redirect answers a change. The URL is relative, so that it is valid under any prefix. It begins with a dot, so that
// it cannot lead to another site.
func (v *view) redirect(to string) error {
	v.w.Header().Set("Location", v.root+to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// fail answers an error with a page that reveals nothing it should not.
func (v *view) fail(err error) {
	if v.access.Owner() != "" {
		v.r = v.r.WithContext(httpadapter.WithAccess(v.r.Context(), v.access))
		httpadapter.Refused(v.r.Context(), err)
	}
	if v.opts.OnError != nil {
		v.opts.OnError(v.r, err)
	}
	p := httpadapter.ProblemOf(err)
	var unconfirmed *errUnconfirmed
	status, title, detail := p.Status, "", ""
	switch {
	case errors.Is(err, errFormUsed):
		status, title, detail = http.StatusConflict, "error.sent-before", "error.sent-before-about"
	case errors.Is(err, errCrossSite):
		status, title, detail = http.StatusForbidden, "error.not-made", "error.cross-site"
	case errors.As(err, &unconfirmed):
		status, title, detail = http.StatusForbidden, "error.confirm", "error.confirm-about"
	case errors.Is(err, errMethod):
		status, title, detail = http.StatusMethodNotAllowed, "error.method", "error.method-about"
	case status == http.StatusForbidden && !errors.Is(err, latchkey.ErrPolicy):
		title, detail = "error.denied", "error.denied-about"
	case errors.Is(err, latchkey.ErrOwnerDisabled):
		title, detail = "error.disabled", "error.disabled-about"
	case status == http.StatusUnauthorized:
		title, detail = "error.signed-out", "error.signed-out-about"
	case status == http.StatusNotFound:
		title, detail = "error.nothing", "error.nothing-about"
	case isDamaged(err): // a retry cannot succeed
		title, detail = "error.damaged", "error.damaged-about"
	case errors.Is(err, latchkey.ErrNeedsKeyring):
		status, title, detail = http.StatusConflict, "error.no-keyring", "error.no-keyring-about"
	default:
		words := problemWords[strings.TrimPrefix(p.Type, httpadapter.ProblemType)]
		if title, detail = words.title, words.about; title == "" {
			title, detail = "error.internal", "error.internal-about"
		}
	}
	if p.RetryAfter > 0 {
		v.w.Header().Set("Retry-After", p.RetryAfterHeader())
	}
	if status >= 500 && v.opts.Logger != nil {
		args := []any{"method", v.r.Method, "page", v.path[0], "err", err}
		v.opts.Logger.ErrorContext(v.r.Context(), "console: request failed", args...)
	}
	again := template.HTML("")
	switch {
	case errors.Is(err, errCrossSite), errors.Is(err, errMethod), errors.Is(err, errFormUsed):
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusConflict,
		status == http.StatusTooManyRequests, status >= 500:
		again = v.resendForm()
	}
	data := map[string]any{"Detail": v.say(detail), "Again": again, "SignedOut": status == http.StatusUnauthorized,
		"Ask": ""}
	if unconfirmed != nil {
		data["Ask"] = unconfirmed.ask
	}
	if err := v.show(status, "error", ui{Title: v.heading(title)}, data); err != nil {
		http.Error(v.w, "internal error", http.StatusInternalServerError)
	}
}

// problemWords are the title and the text of a page about an error, by the name of its type.
var problemWords = map[string]struct{ title, about string }{
	"unavailable":     {"error.unavailable", "error.unavailable-about"},
	"unknown-outcome": {"error.unavailable", "error.unknown-outcome"},
	"bad-request":     {"error.bad-request", "error.bad-request-about"},
	"condition":       {"error.bad-request", "error.bad-request-about"},
	"invalid":         {"error.bad-request", "error.bad-request-about"},
	"too-large":       {"error.too-large", "error.too-large-about"},
	"media-type":      {"error.bad-request", "error.bad-request-about"},
	"rate-limited":    {"error.rate-limited", "error.rate-limited-about"},
	"over-limit":      {"error.over-limit", "error.over-limit-about"},
	"too-many-tokens": {"error.not-made", "error.too-many"},
	"policy":          {"error.not-made", "error.policy"},
	"exists":          {"error.not-made", "error.taken"},
	"conflict":        {"error.not-made", "error.conflict"},
	"in-use":          {"error.not-made", "error.in-use"},
	"forced":          {"error.not-made", "error.conflict"},
}

// errorText returns an error in words for the person who sent the form, or "" if it is not about the form. What the
// Manager says of a field is in English, and marked as such on a page in another language.
func (v *view) errorText(err error) template.HTML {
	var cond *latchkey.ConditionError
	switch {
	case errors.Is(err, latchkey.ErrTooMany):
		return v.rich("error.too-many")
	case errors.Is(err, latchkey.ErrPolicy) && errors.Is(err, latchkey.ErrDenied):
		return v.rich("error.policy-kind")
	case errors.As(err, &cond):
		return v.inEnglish(adapters.Sentence(strings.TrimPrefix(cond.Error(), latchkey.ErrBadCondition.Error()+": ")))
	case errors.Is(err, latchkey.ErrInvalid):
		_, after, ok := strings.Cut(err.Error(), latchkey.ErrInvalid.Error()+": ")
		if !ok {
			return v.rich("error.invalid")
		}
		return v.inEnglish(adapters.Sentence(after))
	case errors.Is(err, latchkey.ErrExists):
		return v.rich("error.taken")
	}
	return ""
}

// inEnglish returns a text of the Manager, which is in English.
func (v *view) inEnglish(text string) template.HTML {
	if primary, _, _ := strings.Cut(v.words.language, "-"); primary == "en" || text == "" {
		return isolated(text)
	}
	return `<bdi lang="en" dir="ltr">` + said(text) + `</bdi>`
}

// takesEffect says when a change is in force.
func (v *view) takesEffect() own {
	stale := v.account.Manager().MaxStale()
	if stale <= 0 {
		return own(v.say("common.at-once"))
	}
	return own(v.say("common.within", "time", stale))
}
