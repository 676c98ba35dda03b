package console

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// What the list shows of a token's text: of a secret its first hintChars characters and its last three, of a
// publishable token maskChars and the last five.
const (
	hintChars = 5
	maskChars = 8
	wholeKey  = 32 // no text of latchkey's own is shorter
)

var (
	keyPrefix    = regexp.MustCompile(`^T?(?:sk|pk|ak|at|ss)_`)
	idText       = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f-]{1,27}$`)
	notPrintable = regexp.MustCompile(`[^!-~]`)
	digit        = regexp.MustCompile(`[0-9]`)
	mixedCase    = regexp.MustCompile(`[a-z].*[A-Z]|[A-Z].*[a-z]`)
)

// ownKey reports whether a text begins as latchkey's own do, and is longer than what the list shows of one.
func ownKey(q string) bool {
	return keyPrefix.MatchString(q) && len(q) > maskChars && !strings.Contains(q, "…")
}

// mayBeKey reports whether a text may be a key, of latchkey's own form or another: it must not come into an address.
func mayBeKey(q string) bool {
	return ownKey(q) || len(q) >= 16 && !notPrintable.MatchString(q) && !idText.MatchString(q) && (digit.MatchString(q) ||
		mixedCase.MatchString(q))
}

// find is the token that a text belongs to, "" if there is none or who asks may not see it.
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

// search is the form of the list. A key leads to its token; what may be one and is none is answered at once, without
// repeating it; all else gets an address of its own.
func (v *view) search(string) error {
	q := text(v.form, "q")
	id, err := v.find(q)
	if err != nil {
		return err
	}
	if id != "" {
		return v.redirect("token/" + id)
	}
	v.query = v.form
	if mayBeKey(q) {
		return v.showList(true)
	}
	_, keep := v.tokenQuery()
	if len(keep) == 0 {
		return v.redirect("")
	}
	return v.redirect("?" + keep.Encode())
}

// unaddressed leads away from an address that holds a key. It returns false if there is none in it.
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

// sought is how the store is asked for what was typed: what the list shows of a text is more than the store searches.
func storeSearch(q string) string {
	if keyPrefix.MatchString(q) && len(q) > hintChars {
		return q[:hintChars]
	}
	return q
}

// fits reports whether a token that the store found by [sought] is one that was meant.
func matches(t *latchkey.Token, q string) bool {
	if storeSearch(q) == q || strings.HasPrefix(t.Name, q) || strings.HasPrefix(t.Hint, q) {
		return true
	}
	if len(q) >= wholeKey {
		return false // looked up by its digest already
	}
	if t.Public == "" {
		return !strings.Contains(q, "…") && strings.HasPrefix(t.Hint, q[:hintChars])
	}
	begin, end, _ := strings.Cut(q, "…")
	return strings.HasPrefix(t.Public, begin) && strings.HasSuffix(t.Public, end)
}

// searchRoles is the form of the list of roles.
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

// stateWords are the states that the list can be narrowed to.
var stateChoices = []option{{Value: "active", Text: "Active"}, {Value: "disabled", Text: "Disabled"},
	{Value: "expired", Text: "Expired"},
	{Value: "not_yet_valid", Text: "Not yet valid"}, {Value: "revoked", Text: "Revoked"}}

// noticeOf is what was done a moment ago, as the address says: words that hold of the records as they are now, for an
// address can be made up and can grow old.
func (v *view) noticeOf() (string, error) {
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

func (v *view) noticeFor(done string, t *latchkey.Token) string {
	revoked := !t.Revoked.IsZero()
	switch {
	case done == "saved" && text(v.query, "version") == versionText(t.Version):
		return "Saved. It is in force " + v.takesEffect() + "."
	case done == "revoked" && revoked, done == "disabled" && !revoked && t.Disabled, done == "enabled" && !revoked &&
		!t.Disabled:
		return "The token is " + done + ", " + v.takesEffect() + "."
	}
	return ""
}

// roleNotice is noticeOf for roles.
func (v *view) roleNotice() (string, error) {
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
		return "There is no such role now.", nil
	case missing:
		return "", nil
	case done == "made" && r.Version == 1:
		return "The role was made.", nil
	case done == "saved" && text(v.query, "version") == versionText(r.Version):
		return "Saved. Every token that has the role answers by it " + v.takesEffect() + ".", nil
	}
	return "", nil
}

func versionText(n uint64) string { return strconv.FormatUint(n, 10) }

var wholeID = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
