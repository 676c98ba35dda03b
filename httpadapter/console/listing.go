package console

import (
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// listing is a part of the list of tokens: what it selects, in which order, and where it begins. It is the query of the
// list's URL. A pasted key is never part of it: see search.go.
type listing struct {
	Find     string // as it was typed
	Kind     string // "": every kind of issued token, and with Find every kind; "all": every kind
	State    string
	Expiring string // within so many days
	Unused   string // for so many days
	Role     string // its id or name
	Client   string // its id
	Origin   string // hostOrigin: the host's own
	Sort     string

	place place
}

// place is where a part of a list begins. At most one field is set; none is the beginning.
type place struct {
	After, Before string // a key of the listing's order, as placeOf writes it
	Last          bool   // the end of the list
}

// hostOrigin selects the tokens that no surface made.
const hostOrigin = "-"

// maxListed bounds the texts of a listing, in bytes.
const maxListed = 256

var (
	stateChoices = []choice{{Value: "active", Key: "list.active"}, {Value: "disabled", Key: "list.disabled"},
		{Value: "expired", Key: "list.expired"}, {Value: "not_yet_valid", Key: "list.not-yet"},
		{Value: "revoked", Key: "list.revoked"}}
	expiringDays = []int{7, 30, 90}
	unusedDays   = []int{30, 90, 365}
	sortChoices  = []choice{{Value: "newest", Key: "find.sort-newest"}, {Value: "name", Key: "find.sort-name"},
		{Value: "used", Key: "find.sort-used"}, {Value: "idle", Key: "find.sort-idle"}, {Value: "end", Key: "find.sort-end"}}
)

// readListing reads a query, or a form. It leaves out what no listing has.
func readListing(f *form.Value) listing {
	bounded := func(name string) string {
		if s := text(f, name); len(s) <= maxListed {
			return s
		}
		return ""
	}
	one := func(name string, of []string) string {
		if s := text(f, name); slices.Contains(of, s) {
			return s
		}
		return ""
	}
	l := listing{Find: bounded("q"), State: one("state", valuesOf(stateChoices)),
		Expiring: one("expiring", textsOf(expiringDays)), Unused: one("unused", textsOf(unusedDays)), Role: bounded("role"),
		Client: bounded("client"), Origin: bounded("origin"), Sort: one("sort", valuesOf(sortChoices))}
	var kind latchkey.Kind
	if l.Kind = text(f, "kind"); l.Kind != "all" && kind.UnmarshalText([]byte(l.Kind)) != nil {
		l.Kind = ""
	}
	raw := func(name string) string { // a name in it may begin or end with spaces
		if x := f.Get(name); x != nil && x.Kind == form.Text && len(x.Text) <= 2*maxListed {
			return x.Text
		}
		return ""
	}
	switch after, before := raw("after"), raw("before"); {
	case text(f, "last") != "":
		l.place.Last = true
	case before != "":
		l.place.Before = before
	default:
		l.place.After = after
	}
	return l
}

func valuesOf(choices []choice) (out []string) {
	for _, c := range choices {
		out = append(out, c.Value)
	}
	return out
}

func textsOf(list []int) (out []string) {
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// filters returns the parameters of the listing without its place.
func (l *listing) filters() url.Values {
	u := url.Values{}
	for _, x := range [][2]string{{"q", l.Find}, {"kind", l.Kind}, {"state", l.State}, {"expiring", l.Expiring},
		{"unused", l.Unused}, {"role", l.Role}, {"client", l.Client}, {"origin", l.Origin}, {"sort", l.Sort}} {
		if x[1] != "" {
			u.Set(x[0], x[1])
		}
	}
	return u
}

// more reports whether the listing has a filter of those that the page folds away.
func (l *listing) more() bool {
	return l.Expiring+l.Unused+l.Role+l.Client+l.Origin != ""
}

// at returns the query of the listing's URL, at another place.
func (l *listing) at(p place) url.Values {
	u := l.filters()
	switch {
	case p.Last:
		u.Set("last", "1")
	case p.Before != "":
		u.Set("before", p.Before)
	case p.After != "":
		u.Set("after", p.After)
	}
	return u
}

// unsaid returns the listing without a text that may be a key. The id of a client may look like a key of another
// system, so of the filters only what begins like a token's text is left out.
func (l listing) unsaid() listing {
	if mayBeKey(l.Find) {
		l.Find = ""
	}
	for _, filter := range []*string{&l.Role, &l.Client, &l.Origin} {
		if ownKey(*filter) {
			*filter = ""
		}
	}
	return l
}

// queries returns a query for each filter that may be a key, which selects what the filter names.
func (l *listing) queries() (out []latchkey.TokenQuery) {
	if mayBeKey(l.Role) {
		out = append(out, latchkey.TokenQuery{Role: l.Role})
	}
	if mayBeKey(l.Client) {
		out = append(out, latchkey.TokenQuery{Client: l.Client})
	}
	if mayBeKey(l.Origin) {
		out = append(out, latchkey.TokenQuery{Origin: &l.Origin})
	}
	return out
}

// listLink returns the address of a part of the list, relative to the list.
func listLink(u url.Values) string {
	if len(u) == 0 {
		return "./"
	}
	return "./?" + u.Encode()
}

// live are the states of tokens that may still be used, now or later.
var live = []latchkey.State{latchkey.Active, latchkey.Disabled, latchkey.NotYetValid}

// query returns what the listing selects, without its place. What the store finds and keep refuses is not shown; nil
// keeps all.
func (l *listing) query(now time.Time) (q latchkey.TokenQuery, keep func(*latchkey.Token) bool) {
	q = latchkey.TokenQuery{Now: now, Role: l.Role, Client: l.Client}
	var kind latchkey.Kind
	switch {
	case kind.UnmarshalText([]byte(l.Kind)) == nil:
		q.Kinds = []latchkey.Kind{kind}
	case l.Kind == "" && l.Find+l.Client == "":
		q.Kinds = issuedKinds
	}
	switch l.Origin {
	case "":
	case hostOrigin:
		q.Origin = new(string)
	default:
		q.Origin = &l.Origin
	}
	if l.Expiring != "" {
		q.ExpiresFrom, q.ExpiresTo, q.States = now, now.Add(daysOf(l.Expiring)), live
	}
	if l.Unused != "" {
		q.UnusedSince = now.Add(-daysOf(l.Unused))
		q.CreatedBefore, q.States = q.UnusedSince, live
	}
	for s := latchkey.Active; s <= latchkey.NotYetValid; s++ {
		if s.String() == l.State {
			q.States = []latchkey.State{s}
		}
	}
	switch l.Sort {
	case "newest":
		q.Reverse = true
	case "name":
		q.Order = latchkey.OrderName
	case "used":
		q.Order, q.Reverse = latchkey.OrderUsed, true
	case "idle":
		q.Order = latchkey.OrderUsed
	case "end":
		q.Order = latchkey.OrderEnd
	}
	q.Find, q.Search, keep = storeSearch(l.Find)
	return q, keep
}

func daysOf(days string) time.Duration {
	n, _ := strconv.Atoi(days)
	return time.Duration(n) * 24 * time.Hour
}

// placeOf returns the place of a token, as a URL has it: its id, and in other orders than that of ids what else its key
// has.
func placeOf(q *latchkey.TokenQuery, t *latchkey.Token) string {
	key := q.Key(*t)
	if at := strings.LastIndexByte(key, 0); at >= 0 {
		return key[at+1:] + "." + key[:at]
	}
	return key
}

// keyOf is the reverse of placeOf.
func keyOf(q *latchkey.TokenQuery, place string) string {
	if place == "" || q.Order == latchkey.OrderID {
		return place
	}
	id, rest, _ := strings.Cut(place, ".")
	return rest + "\x00" + id
}

// listPart is a page of the list.
type listPart struct {
	Rows           []row
	Earlier, Later bool // there are tokens before and after it
	// Count is how many tokens the listing selects: maxCount for that many or more. -1: not known.
	Count int
}

// maxCount is how many tokens are counted.
const maxCount = 1000

// readPart reads the part of a listing. It costs one listing of tokens, and where that does not tell how many there are
// one count.
func (v *view) readPart(l *listing) (p listPart, err error) {
	q, keep := l.query(v.now)
	back := l.place.Last || l.place.Before != ""
	if q.After = keyOf(&q, l.place.After); back {
		q.After, q.Reverse = keyOf(&q, l.place.Before), !q.Reverse
	}
	q.Limit = pageSize + 1 // one more tells whether there is another page
	beyond := false
	for t, err := range v.account.Tokens(v.r.Context(), q) {
		if err != nil && !isDamaged(err) {
			return listPart{}, err
		}
		if keep != nil && !keep(&t) {
			continue
		}
		if len(p.Rows) == pageSize {
			beyond = true
			break
		}
		p.Rows = append(p.Rows, row{Token: t, State: v.words.stateOf(&t, v.now)})
	}
	if back {
		slices.Reverse(p.Rows)
		p.Earlier, p.Later = beyond, !l.place.Last
		if !beyond && l.place.Before != "" { // the beginning, which is a page of its own
			l.place = place{}
			return v.readPart(l)
		}
	} else {
		p.Earlier, p.Later = l.place.After != "", beyond
	}
	switch p.Count = -1; {
	case !p.Earlier && !p.Later:
		p.Count = len(p.Rows)
	case keep == nil:
		q.After, q.Order, q.Reverse = "", latchkey.OrderID, false
		p.Count, err = v.account.CountTokens(v.r.Context(), q, maxCount)
	}
	return p, err
}

// listingLetters are the parameters of a listing in the order of its short form, with the letter of each.
var listingLetters = []struct {
	letter byte
	name   string
}{{'q', "q"}, {'k', "kind"}, {'s', "state"}, {'e', "expiring"}, {'u', "unused"}, {'r', "role"}, {'c', "client"},
	{'o', "origin"}, {'t', "sort"}, {'a', "after"}, {'b', "before"}, {'l', "last"}}

// short returns the listing with its place as one short parameter, for the links to the pages of tokens: each row has
// several. "" is the beginning of the unfiltered list. Each part begins with "~" and a letter; a "~" in it is "~.".
func (l *listing) short() string {
	var b strings.Builder
	u := l.at(l.place)
	for _, x := range listingLetters {
		if value := u.Get(x.name); value != "" {
			b.WriteByte('~')
			b.WriteByte(x.letter)
			b.WriteString(strings.ReplaceAll(value, "~", "~."))
		}
	}
	return strings.TrimPrefix(b.String(), "~")
}

// readShort is the reverse of short. What it cannot read is left out.
func readShort(text string) listing {
	u := url.Values{}
	for rest := "~" + text; rest != ""; {
		var part strings.Builder
		name := ""
		if len(rest) > 1 {
			for _, x := range listingLetters {
				if x.letter == rest[1] {
					name = x.name
				}
			}
		}
		if name == "" {
			break
		}
		for rest = rest[2:]; ; {
			i := strings.IndexByte(rest, '~')
			if i < 0 || !strings.HasPrefix(rest[i:], "~.") {
				if i < 0 {
					i = len(rest)
				}
				part.WriteString(rest[:i])
				rest = rest[i:]
				break
			}
			part.WriteString(rest[:i] + "~")
			rest = rest[i+2:]
		}
		u.Set(name, part.String())
	}
	f, err := form.Parse(u.Encode())
	if err != nil {
		return listing{}
	}
	return readListing(f)
}

// opened returns the listing from which the page of a token was opened. Its URL has it, and so has every link and form
// of that page.
func (v *view) opened() listing {
	if x := v.query.Get("list"); x != nil && x.Kind == form.Text && len(x.Text) <= 16*maxListed {
		return readShort(x.Text).unsaid()
	}
	return listing{}
}

// place returns the query that leads the place in the list on to another page of a token, with what introduces it: "?"
// or "&". It is "" without a place.
func (v *view) place(introduce string) template.URL {
	l := v.opened()
	return l.lead(introduce)
}

func (l *listing) lead(introduce string) template.URL {
	if short := l.short(); short != "" {
		// A space is %20, for a template writes "+" as five bytes.
		return template.URL(introduce + "list=" + strings.ReplaceAll(url.QueryEscape(short), "+", "%20"))
	}
	return ""
}

// listURL returns the address of the list as it was opened, relative to the console's first page, with what else its
// query holds.
func (v *view) listURL(with ...string) string {
	l := v.opened()
	u := l.at(l.place)
	for i := 0; i+1 < len(with); i += 2 {
		u.Set(with[i], with[i+1])
	}
	if len(u) == 0 {
		return ""
	}
	return "?" + u.Encode()
}
