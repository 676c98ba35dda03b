package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/console"
)

// session stands for what a host knows of who is signed in.
type session struct{ passwordAt time.Time }

func sessionOf(*http.Request) session { return session{} }

// A host's own page: its colours, its words, the kinds of tokens that it offers, and its password.
func ExampleOptions() {
	english, err := console.English().With(map[string]string{
		"frame.title": "Keys of the harbour",
		"list.create": "Create a key",
	})
	if err != nil {
		panic(err) // an unknown key, or a text that cannot be read
	}
	opts := &console.Options{
		Languages: []*console.Words{english, console.German()},
		Look: console.Look{
			Light: console.Colours{Accent: "#7a1fa2"},
			Dark:  console.Colours{Accent: "#d9a6f0"},
		},
		Links: func(*http.Request) []console.Link {
			return []console.Link{{Text: "Dashboard", URL: "/"}, {Text: "Sign out", URL: "/sign-out"}}
		},
		Kinds: []latchkey.Kind{latchkey.KindPublishable, latchkey.KindAPIKey},
		Confirm: func(r *http.Request) (ask string, err error) {
			if time.Since(sessionOf(r).passwordAt) < 10*time.Minute {
				return "", nil
			}
			return "/password?" + url.Values{"back": {r.RequestURI}}.Encode(), nil
		},
	}
	fmt.Println(len(opts.Languages))
	// Output: 2
}

// A language of a host's own. What is not translated yet stays in English.
func ExampleTranslate() {
	french, err := console.Translate("fr", map[string]string{
		"frame.tokens": "Jetons",
		"usage.span":   "{n, plural, one {# jour} other {# jours}}",
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(french.Language(), len(french.Missing()) > 100)

	_, err = console.Translate("fr", map[string]string{"frame.tokens": "{n} jetons"})
	fmt.Println(err)
	// Output:
	// fr true
	// latchkey: invalid argument: console: text "frame.tokens": the English text has no n
}
