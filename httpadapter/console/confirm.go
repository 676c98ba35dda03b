package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// errUnconfirmed is the refusal of a change for which the host wants to ask for the password again.
type errUnconfirmed struct{ ask string }

func (*errUnconfirmed) Error() string { return "console: the host asks who it is once more" }

// confirmed asks the host whether it still knows who the person is. A page redirects to the host's page of its own; a
// form is shown again with the way there, so that nothing that was typed is lost.
func (v *view) confirmed() (redirected bool, err error) {
	if v.opts.Confirm == nil {
		return false, nil
	}
	ask, err := v.opts.Confirm(v.r)
	if err != nil || ask == "" {
		return false, err
	}
	if !isHostPage(ask) {
		return false, errors.New("console: Options.Confirm returned no http URL and no path")
	}
	if v.r.Method == http.MethodPost {
		return false, &errUnconfirmed{ask}
	}
	v.w.Header().Set("Location", ask)
	v.w.WriteHeader(http.StatusSeeOther)
	return true, nil
}

// isHostPage reports whether a text is a URL of http or https, or a path.
func isHostPage(to string) bool {
	u, err := url.Parse(to)
	if err != nil || strings.ContainsAny(to, "\\\r\n\t") {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host != ""
	case "":
		return u.Host == "" && u.Opaque == "" && u.Path != "" && !strings.HasPrefix(u.Path, "//")
	}
	return false
}

// Link is a link of the host in the head of every page.
type Link struct {
	Text string
	URL  string // of http or https, or a path
}

const maxLinks = 6

// hostLinks returns the links of the host for the head of the page.
func (v *view) hostLinks() ([]Link, error) {
	if v.opts.Links == nil {
		return nil, nil
	}
	all := v.opts.Links(v.r)
	all = all[:min(len(all), maxLinks)]
	for _, l := range all {
		if l.Text == "" || !isHostPage(l.URL) {
			return nil, fmt.Errorf("console: Options.Links: %q has no text, or no http URL and no path", l.Text)
		}
	}
	return all, nil
}
