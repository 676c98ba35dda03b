// Package adapters holds code that httpadapter and the packages beneath it share.
package adapters

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Account returns a function that returns the account of a request: that of pick, or fixed if pick is nil. A is
// latchkey.Account. It panics if there is neither; pkg begins the message. The function returns pick's error, and an
// error for the zero account.
func Account[A interface{ Owner() string }](pkg string, fixed A, pick func(*http.Request) (A, error)) func(
	*http.Request) (A, error) {
	if pick == nil {
		if fixed.Owner() == "" {
			panic(pkg + ": no account: pass manager.For(owner), or set Options.Account")
		}
		return func(*http.Request) (A, error) { return fixed, nil }
	}
	return func(r *http.Request) (A, error) {
		account, err := pick(r)
		if err == nil && account.Owner() == "" {
			err = fmt.Errorf("%s: Options.Account returned the zero Account", pkg)
		}
		return account, err
	}
}

// CheckProxies panics if Options.Proxies holds an invalid prefix; pkg begins the message.
func CheckProxies(pkg string, proxies []netip.Prefix) {
	for i, p := range proxies {
		if !p.IsValid() {
			panic(fmt.Sprintf("%s: Options.Proxies[%d] is the zero Prefix: set it with netip.ParsePrefix", pkg, i))
		}
	}
}

// ErrNotProxy is wrapped by the refusal of a question that does not come from one of the Adapter's Proxies. The Adapter
// logs it, because it usually is a mistake of the host.
var ErrNotProxy = errors.New("the question does not come from one of the Adapter's Proxies")

// Sentence begins s with a capital letter and ends it with a full stop: "not a number" becomes "Not a number." "" stays
// empty. A first letter that is not ASCII stays as it is.
func Sentence(s string) string {
	if s == "" {
		return ""
	}
	if s[0] < utf8.RuneSelf {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
