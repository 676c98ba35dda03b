package console

import (
	"errors"
	"fmt"
	"html/template"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// Words are the texts of the pages in one language: labels, messages, and how numbers and moments are written. Each
// text has a key, such as "edit.name". Words are immutable, and safe for use by several goroutines.
//
// [English] and [German] are complete. [Translate] makes another language of a host's own texts, and [Words.With]
// replaces some, such as what the host calls a token.
//
// # Texts
//
// A text may hold the placeholders that the English one holds. {name} stands for a value. {n, plural, one {# token}
// other {# tokens}} chooses by a number, which # stands for: by a number of its own ("=0 {none}"), or by one of the
// categories zero, one, two, few, many and other of Unicode CLDR. Tags, as in "see <link>the next ones</link>", mark
// what is a link or stands out. Nothing else in a text is markup.
type Words struct {
	language string
	source   map[string]string
	messages map[string]message
	plural   func(int64) string
	missing  []string
	pages    func() *template.Template
}

// phrase is a text of the console in the languages that it comes with.
type phrase struct{ English, German string }

// phrases are texts by key.
type phrases map[string]phrase

var (
	english = sync.OnceValue(func() *Words { return shipped("en", func(p phrase) string { return p.English }) })
	german  = sync.OnceValue(func() *Words { return shipped("de", func(p phrase) string { return p.German }) })
)

// English returns the texts of the console in English.
func English() *Words { return english() }

// German returns the texts of the console in German. They address nobody directly.
func German() *Words { return german() }

func shipped(language string, of func(phrase) string) *Words {
	texts := map[string]string{}
	for _, page := range catalogues {
		for key, p := range page {
			if _, ok := texts[key]; ok {
				panic("console: two pages have the text " + key)
			}
			texts[key] = of(p)
		}
	}
	w, err := makeWords(language, texts, nil)
	if err != nil {
		panic(err)
	}
	return w
}

// Translate returns the texts of another language, by key. Texts that are missing are in English; [Words.Missing] names
// them. Language is a tag of BCP 47, such as "fr" or "pt-BR". It returns an error for an unknown key, for a text that
// cannot be read, and for a placeholder or a tag that the English text does not have.
func Translate(language string, texts map[string]string) (*Words, error) {
	if !isLanguage(language) {
		return nil, fmt.Errorf("%w: console: %.40q is no language, such as fr or pt-BR", latchkey.ErrInvalid, language)
	}
	w, err := English().merged(language, texts)
	if err != nil {
		return nil, err
	}
	w.missing = nil
	for key := range w.source {
		if _, ok := texts[key]; !ok {
			w.missing = append(w.missing, key)
		}
	}
	slices.Sort(w.missing)
	return w, nil
}

// With returns the same texts with some of them replaced. It returns an error as [Translate] does.
func (w *Words) With(texts map[string]string) (*Words, error) {
	out, err := w.merged(w.language, texts)
	if err != nil {
		return nil, err
	}
	for _, key := range w.missing {
		if _, ok := texts[key]; !ok {
			out.missing = append(out.missing, key)
		}
	}
	return out, nil
}

func (w *Words) merged(language string, texts map[string]string) (*Words, error) {
	all := maps.Clone(w.source)
	for key, text := range texts {
		if _, ok := all[key]; !ok {
			return nil, fmt.Errorf("%w: console: there is no text %.80q", latchkey.ErrInvalid, key)
		}
		all[key] = text
	}
	return makeWords(language, all, English().messages)
}

// makeWords parses texts, and compares their placeholders with those of model. Nil: there is nothing to compare with.
func makeWords(language string, texts map[string]string, model map[string]message) (*Words, error) {
	w := &Words{language: language, source: texts, messages: make(map[string]message, len(texts)),
		plural: pluralRule(language)}
	var errs []error
	for key, text := range texts {
		m, err := parseMessage(text)
		if err == nil && model != nil {
			err = m.fits(model[key])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: console: text %q: %w", latchkey.ErrInvalid, key, err))
		}
		w.messages[key] = m
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	w.pages = sync.OnceValue(func() *template.Template {
		return template.Must(templates().Clone()).Funcs(w.funcs())
	})
	return w, nil
}

// Language returns the tag of the language, such as "en".
func (w *Words) Language() string { return w.language }

// Missing returns the keys of texts that [Translate] found in English only, in order.
func (w *Words) Missing() []string { return slices.Clone(w.missing) }

// Texts returns the texts by key, in the order of the keys.
func (w *Words) Texts() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(w.source)) {
			if !yield(key, w.source[key]) {
				return
			}
		}
	}
}

// say returns a text. The arguments are names of placeholders and their values, in turn.
func (w *Words) say(key string, args ...any) string {
	return w.write(key, plainText, args)
}

// rich returns a text as HTML. Values that are strings are escaped, and isolated from the text around them: names may
// be in a script of the other direction. Moments become elements that the script shows in the reader's zone. A tag is
// written as the element that is its argument.
func (w *Words) rich(key string, args ...any) template.HTML {
	return template.HTML(w.write(key, richText, args)) // escaped by write
}

func (w *Words) write(key string, as textKind, args []any) string {
	m, ok := w.messages[key]
	if !ok {
		return key // a test finds it
	}
	out := writer{words: w, as: as, args: args}
	out.message(m, "")
	return out.String()
}

// say and rich return a text in the language of the request: see [Words.say] and [Words.rich].
func (v *view) say(key string, args ...any) string         { return v.words.say(key, args...) }
func (v *view) rich(key string, args ...any) template.HTML { return v.words.rich(key, args...) }

// heading returns a heading whose text is in the catalogue.
func (v *view) heading(key string, args ...any) heading {
	return heading{v.rich(key, args...), template.HTML(v.words.write(key, titleText, args)), ""}
}

// nameHeading returns a heading that is a name.
func nameHeading(name string) heading {
	safe := template.HTMLEscapeString(name)
	return heading{template.HTML("<bdi>" + safe + "</bdi>"), template.HTML("&#x2068;" + safe + "&#x2069;"), name}
}

// isolated returns a text that a person typed as HTML.
func isolated(text string) template.HTML {
	if text == "" {
		return ""
	}
	return "<bdi>" + said(text) + "</bdi>"
}

// said returns a text that is not in the catalogue, such as one of the host, as HTML.
func said(text string) template.HTML { return template.HTML(template.HTMLEscapeString(text)) }

// wordsFor returns the texts for a request.
func (c *console) wordsFor(r *http.Request) *Words {
	if len(c.languages) == 1 {
		return c.languages[0]
	}
	if c.opts.Language != nil {
		if w := matchLanguage(c.languages, c.opts.Language(r)); w != nil {
			return w
		}
		return c.languages[0]
	}
	for _, tag := range acceptedLanguages(r.Header.Get("Accept-Language")) {
		if w := matchLanguage(c.languages, tag); w != nil {
			return w
		}
	}
	return c.languages[0]
}

// matchLanguage returns the texts in a language: of exactly this tag, or else of the same primary language. Nil: none.
func matchLanguage(all []*Words, tag string) *Words {
	primary, _, _ := strings.Cut(tag, "-")
	var near *Words
	for _, w := range all {
		if strings.EqualFold(w.language, tag) {
			return w
		}
		if own, _, _ := strings.Cut(w.language, "-"); near == nil && strings.EqualFold(own, primary) {
			near = w
		}
	}
	return near
}
