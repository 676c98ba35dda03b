package console

import (
	"errors"
	"html/template"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// The parts of a token's text that the list shows. Of a secret, the first hintChars characters and the last three. Of
// a publishable token, the first maskChars and the last five.
const (
	hintChars = 5
	hintEnd   = 3
	maskChars = 8
	wholeKey  = 32 // no text of a token is shorter
)

var (
	keyPrefix    = regexp.MustCompile(`^T?(?:sk|pk|ak|at|ss)_`)
	idText       = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f-]{1,27}$`)
	notPrintable = regexp.MustCompile(`[^!-~]`)
	digit        = regexp.MustCompile(`[0-9]`)
	mixedCase    = regexp.MustCompile(`[a-z].*[A-Z]|[A-Z].*[a-z]`)
)

// ownKey reports whether a text begins like a token's text, and is longer than what the list shows of one. What the
// list shows of a publishable token is longer.
func ownKey(q string) bool {
	shown := hintChars
	if prefix := keyPrefix.FindString(q); prefix == "" {
		return false
	} else if strings.HasSuffix(prefix, "pk_") {
		shown = maskChars
	}
	return len(q) > shown && !strings.Contains(q, "…")
}

// mayBeKey reports whether a text may be a secret, of latchkey or of another system. Such a text must not appear in a
// URL.
func mayBeKey(q string) bool {
	return ownKey(q) || len(q) >= 16 && !notPrintable.MatchString(q) && !idText.MatchString(q) && (digit.MatchString(q) ||
		mixedCase.MatchString(q))
}

// find returns the id of the token with this text, or "" if there is none that the person may see.
func (v *view) find(q string) (id string, err error) {
	if len(q) <= hintChars {
		return "", nil
	}
	t, err := v.account.Find(v.r.Context(), q)
	if errors.Is(err, latchkey.ErrNotFound) {
		return "", nil
	}
	return t.ID, err
}

// search serves the search form of the list. The text of a token redirects to the token. A text that may be a secret
// but is not found is answered at once, without repeating it. Any other text becomes part of a URL.
func (v *view) search(string) error {
	l := readListing(v.form)
	l.Find = text(v.form, "q") // a key may be longer than what is searched for
	id, err := v.find(l.Find)
	if err != nil {
		return err
	}
	if id != "" {
		return v.redirect("token/" + id)
	}
	secret := mayBeKey(l.Find)
	for _, q := range l.queries() { // what names nothing here may be a key
		n, err := v.account.CountTokens(v.r.Context(), q, 1)
		if err != nil && !errors.Is(err, latchkey.ErrInvalid) { // no role has the name
			return err
		}
		secret = secret || n == 0
	}
	if secret {
		l.place = place{}
		return v.showList(l, true)
	}
	if len(l.Find) > maxListed {
		l.Find = ""
	}
	return v.redirect(strings.TrimPrefix(listLink(l.filters()), "./"))
}

// redirectKey redirects away from a URL that holds a secret. It returns false if there is none in it.
func (v *view) redirectKey(q string) (bool, error) {
	if !mayBeKey(q) {
		return false, nil
	}
	v.w.Header().Set("Referrer-Policy", "no-referrer")
	id, err := v.find(q)
	switch {
	case err != nil:
		return true, err
	case id != "":
		return true, v.redirect("token/" + id)
	case !ownKey(q):
		return false, nil // a name
	}
	return true, v.redirect("?" + url.Values{"q": {q[:hintChars]}}.Encode())
}

// storeSearch returns what to search the store for, and what to keep of what it finds; nil keeps all. Of a publishable
// token, the list shows more than the hint that the store searches.
func storeSearch(typed string) (find, prefix string, keep func(*latchkey.Token) bool) {
	begin, end, masked := strings.Cut(typed, "…")
	switch {
	case len(typed) >= wholeKey && ownKey(typed): // looked up by its digest already: only a name can hold it
		return typed, "", nil
	case !keyPrefix.MatchString(typed) || len(begin) <= hintChars && len(end) <= hintEnd:
		return typed, "", nil
	}
	hint := begin[:min(len(begin), hintChars)]
	if masked && len(end) >= hintEnd {
		hint += "…" + end[len(end)-hintEnd:]
	}
	return "", hint, func(t *latchkey.Token) bool {
		switch {
		case hasFold(t.Name, typed):
			return true
		case t.Public == "": // more of a secret is not known
			return !masked && !strings.HasPrefix(begin, "pk_") || t.Hint == typed
		}
		return strings.HasPrefix(t.Public, begin) && strings.HasSuffix(t.Public, end)
	}
}

// hasFold reports whether a token with this name is found by a text.
func hasFold(name, find string) bool {
	var t latchkey.Token
	t.Name = name
	return latchkey.TokenQuery{Find: find}.Match(t)
}

// searchRoles serves the search form of the list of roles.
func (v *view) searchRoles(string) error {
	v.query = v.form
	q := text(v.form, "q")
	switch {
	case q == "":
		return v.redirect("roles")
	case mayBeKey(q):
		return v.showRoles(true)
	}
	return v.redirect("roles?" + url.Values{"q": {q}}.Encode())
}

// noticeOf returns the notice of what was just done, according to the URL. The notice must be true of the stored
// records: a URL can be forged, and can be old.
func (v *view) noticeOf() (template.HTML, error) {
	done, id := text(v.query, "done"), text(v.query, "token")
	if done == "" || id == "" {
		return "", nil
	}
	t, err := v.account.Get(v.r.Context(), id)
	if errors.Is(err, latchkey.ErrNotFound) {
		return "", nil
	}
	if err != nil && !isDamaged(err) {
		return "", err
	}
	return v.noticeFor(done, &t), nil
}

// noticeFor is noticeOf for a token.
func (v *view) noticeFor(done string, t *latchkey.Token) template.HTML {
	revoked := !t.Revoked.IsZero()
	switch {
	case done == "saved" && text(v.query, "version") == versionText(t.Version):
		return v.rich("list.saved", "soon", v.takesEffect())
	case done == "revoked" && revoked:
		return v.rich("list.notice-revoked", "soon", v.takesEffect())
	case done == "disabled" && !revoked && t.Disabled:
		return v.rich("list.notice-disabled", "soon", v.takesEffect())
	case done == "enabled" && !revoked && !t.Disabled:
		return v.rich("list.notice-enabled", "soon", v.takesEffect())
	}
	return ""
}

// roleNotice is noticeOf for roles.
func (v *view) roleNotice() (template.HTML, error) {
	done, id := text(v.query, "done"), text(v.query, "role")
	if done == "" || !wholeID.MatchString(id) {
		return "", nil
	}
	r, err := v.account.Role(v.r.Context(), id)
	missing := errors.Is(err, latchkey.ErrNotFound)
	switch {
	case err != nil && !missing && !isDamaged(err):
		return "", err
	case done == "deleted" && missing:
		return v.rich("roles.deleted"), nil
	case missing:
		return "", nil
	case done == "made" && r.Version == 1:
		return v.rich("roles.made"), nil
	case done == "saved" && text(v.query, "version") == versionText(r.Version):
		return v.rich("roles.saved", "soon", v.takesEffect()), nil
	}
	return "", nil
}

func versionText(n uint64) string { return strconv.FormatUint(n, 10) }

var wholeID = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
