package httpadapter

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// Spend takes n credits of a meter from the caller's quotas before the handler runs, and counts one use: see
// [latchkey.Access.Spend]. A caller that has less left is answered 429 with Retry-After, or 402 if to wait is of no
// use: see [ProblemOf]. Put Spend inside [Adapter.Require], so that a request that is refused costs nothing. It
// authenticates the request as Require does if nothing has before. What the handler replies gives nothing back. If the
// cost is known only afterwards, use [latchkey.Access.Reserve].
//
// The endpoint that is counted is the request's Pattern, with the method if the pattern names none. For a router that
// does not set it, it is the method and the resource that the innermost Require names ("GET dataset/{id}"). Methods
// that are not of RFC 9110, and PATCH, count as OTHER.
//
// The RateLimit fields name each quota as meter, period and, beyond the first day, anchor: "api-day", "api-month-15".
// Of several with the same name it is the one that has least left. They count requests of this price: what is left,
// divided by n, rounded down. In names, "%" and bytes that are no printable ASCII are percent-encoded.
//
// Spend panics if the meter is not 1 to 64 bytes of valid UTF-8 without NUL, and for a negative n. For n = 0 it only
// counts the use.
func (a *Adapter) Spend(meter string, n latchkey.Credits) func(http.Handler) http.Handler {
	if meter == "" || len(meter) > 64 || !utf8.ValidString(meter) || strings.Contains(meter, "\x00") {
		panic(fmt.Sprintf("httpadapter: Spend: the meter %.70q is not 1 to 64 bytes of valid UTF-8 without NUL", meter))
	}
	if n < 0 {
		panic("httpadapter: Spend: a negative number of credits")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.setHeaders(w, r)
			found := newState(r.Context())
			if !a.caller(w, r, found) {
				return
			}
			left, err := found.access.Spend(r.Context(), meter, endpoint(r, found.on), n)
			setQuotaHeaders(w.Header(), found.access.Quotas(meter), meter, n, left, err)
			if err != nil {
				a.WriteError(w, r.WithContext(found), err)
				return
			}
			next.ServeHTTP(w, r.WithContext(found))
		})
	}
}

// endpoint names a route. There are few: clients choose neither the pattern nor, beyond the known ones, the method.
func endpoint(r *http.Request, on string) string {
	if strings.Contains(r.Pattern, " ") {
		return r.Pattern
	}
	method := "OTHER"
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		method = r.Method
	}
	if r.Pattern != "" {
		on = r.Pattern
	}
	return strings.TrimSuffix(method+" "+on, " ")
}

// setQuotaHeaders adds to the RateLimit fields what Spend said of the quotas that hold.
func setQuotaHeaders(h http.Header, quotas []latchkey.Quota, meter string, n latchkey.Credits, left latchkey.Left,
	err error) {
	credits, resets, in, least := left.Credits, left.Resets(), left.ResetsIn(), left.Quota()
	var over *latchkey.OverLimitError
	if errors.As(err, &over) {
		credits, resets, in, least = over.Left, over.Resets, over.RetryAfter(), over.Quota
	}
	if n == 0 || least.Per == "" {
		return
	}
	now := resets.Add(-max(in, 1)) // by the Manager's clock, within the period of least
	if resets.IsZero() {
		now = time.Now()
	}
	names := []string{policyName(meter, least)}
	list := []latchkey.Quota{least}
	for _, q := range quotas {
		name := policyName(meter, q)
		i := slices.Index(names, name)
		switch {
		case i < 0:
			names, list = append(names, name), append(list, q)
		case i > 0:
			list[i].Amount = min(list[i].Amount, q.Amount)
		}
	}
	for i, q := range list {
		policy := names[i] + ";q=" + requests(q.Amount, n)
		if w := window(q, now); w > 0 {
			policy += ";w=" + wholeSeconds(w)
		}
		addField(h, "RateLimit-Policy", policy)
	}
	state := names[0] + ";r=" + requests(credits, n)
	if in > 0 {
		state += ";t=" + wholeSeconds(in)
	}
	addField(h, "RateLimit", state)
}

// addField adds an item to a field that is a list (RFC 9651 §3.1).
func addField(h http.Header, name, item string) {
	if was := h.Get(name); was != "" {
		item = was + ", " + item
	}
	h.Set(name, item)
}

// requests returns how many requests of n credits c is enough for, as an integer of RFC 9651.
func requests(c, n latchkey.Credits) string {
	return strconv.FormatInt(min(int64(c/n), 999_999_999_999_999), 10)
}

// policyName returns the name of a quota as a string of RFC 9651.
func policyName(meter string, q latchkey.Quota) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(meter) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~' || c == '%':
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString("-" + string(q.Per))
	if q.Anchor > 1 {
		b.WriteString("-" + strconv.Itoa(q.Anchor))
	}
	b.WriteByte('"')
	return b.String()
}

// window returns how long the period of a quota is that now lies in, 0 for ever.
func window(q latchkey.Quota, now time.Time) time.Duration {
	switch q.Per {
	case latchkey.Minute:
		return time.Minute
	case latchkey.Hour:
		return time.Hour
	case latchkey.Day:
		return 24 * time.Hour
	case latchkey.Week:
		return 7 * 24 * time.Hour
	case latchkey.Month:
		y, m, d := now.UTC().Date()
		if d < q.Anchor {
			m--
		}
		first := time.Date(y, m, max(q.Anchor, 1), 0, 0, 0, 0, time.UTC)
		return first.AddDate(0, 1, 0).Sub(first)
	}
	return 0
}
