package console

import (
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// message is a text that was parsed: see [Words].
type message []messagePart

// messagePart is one of: plain text, a placeholder, a choice by number, the number of such a choice, and a tag around
// a message.
type messagePart struct {
	text   string
	name   string // of a placeholder, or of the number of a choice
	forms  []pluralForm
	number bool // "#"
	tag    string
	inner  message
}

type pluralForm struct {
	is   string // a category, or "=" and a number
	text message
}

const (
	maxMessage      = 2000 // bytes
	maxMessageDepth = 4
)

var pluralCategories = []string{"zero", "one", "two", "few", "many", "other"}

func parseMessage(text string) (message, error) {
	if len(text) > maxMessage {
		return nil, fmt.Errorf("longer than %d bytes", maxMessage)
	}
	p := messageParser{rest: text}
	m, err := p.message(0, false)
	if err == nil && p.rest != "" {
		err = fmt.Errorf("%.1q is not expected here", p.rest)
	}
	return m, err
}

type messageParser struct{ rest string }

// message parses until the end of the text, or of what it is in: a form or a tag. inPlural: "#" is the number.
func (p *messageParser) message(depth int, inPlural bool) (out message, err error) {
	if depth > maxMessageDepth {
		return nil, errors.New("nested too deeply")
	}
	special := "{}<"
	if inPlural {
		special += "#"
	}
	for p.rest != "" {
		if i := strings.IndexAny(p.rest, special); i != 0 {
			if i < 0 {
				i = len(p.rest)
			}
			out = append(out, messagePart{text: p.rest[:i]})
			p.rest = p.rest[i:]
			continue
		}
		switch {
		case p.rest[0] == '}', strings.HasPrefix(p.rest, "</"):
			return out, nil
		case p.rest[0] == '#':
			p.rest = p.rest[1:]
			out = append(out, messagePart{number: true})
		case p.rest[0] == '{':
			part, err := p.placeholder(depth)
			if err != nil {
				return nil, err
			}
			out = append(out, part)
		default:
			p.rest = p.rest[1:]
			tag := p.word()
			if tag == "" || !p.eat(">") {
				return nil, errors.New("a < begins a tag, such as <link>")
			}
			inner, err := p.message(depth+1, inPlural)
			if err != nil {
				return nil, err
			}
			if !p.eat("</" + tag + ">") {
				return nil, fmt.Errorf("<%s> has no </%s>", tag, tag)
			}
			out = append(out, messagePart{tag: tag, inner: inner})
		}
	}
	return out, nil
}

func (p *messageParser) placeholder(depth int) (messagePart, error) {
	p.eat("{")
	name := p.word()
	if name == "" {
		return messagePart{}, errors.New("a { begins a placeholder, such as {name}")
	}
	if p.eat("}") {
		return messagePart{name: name}, nil
	}
	if !p.eat(",") || p.space() != "plural" || !p.eat(",") {
		return messagePart{}, fmt.Errorf("{%s is neither {%s} nor {%s, plural, ...}", name, name, name)
	}
	part := messagePart{name: name}
	for {
		is := p.space()
		if is == "" && p.eat("}") {
			break
		}
		if is == "" && p.eat("=") {
			if is = "=" + p.word(); !isCount(is[1:]) {
				return messagePart{}, fmt.Errorf("{%s: = needs a number", name)
			}
		} else if !slices.Contains(pluralCategories, is) {
			return messagePart{}, fmt.Errorf("{%s: %.20q is no category, such as one or other", name, is)
		}
		if p.space(); !p.eat("{") {
			return messagePart{}, fmt.Errorf("{%s: %s needs a text in braces", name, is)
		}
		text, err := p.message(depth+1, true)
		if err != nil {
			return messagePart{}, err
		}
		if !p.eat("}") {
			return messagePart{}, fmt.Errorf("{%s: the text of %s has no end", name, is)
		}
		part.forms = append(part.forms, pluralForm{is, text})
	}
	if !slices.ContainsFunc(part.forms, func(f pluralForm) bool { return f.is == "other" }) {
		return messagePart{}, fmt.Errorf("{%s has no text for other", name)
	}
	return part, nil
}

func isCount(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// word reads letters and digits.
func (p *messageParser) word() string {
	i := 0
	for i < len(p.rest) && (p.rest[i] >= 'a' && p.rest[i] <= 'z' || p.rest[i] >= '0' && p.rest[i] <= '9') {
		i++
	}
	word := p.rest[:i]
	p.rest = p.rest[i:]
	return word
}

// space skips spaces, and reads the word after them.
func (p *messageParser) space() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	return p.word()
}

func (p *messageParser) eat(s string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, s)
	return ok
}

// names returns the placeholders of a message, and its tags as "<tag>", each once and in order.
func (m message) names() []string {
	var out []string
	for _, part := range m {
		if part.name != "" {
			out = append(out, part.name)
		}
		if part.tag != "" {
			out = append(out, "<"+part.tag+">")
		}
		out = append(out, part.inner.names()...)
		for _, f := range part.forms {
			out = append(out, f.text.names()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fits returns an error if a message has a placeholder or a tag that its model lacks. It may lack some.
func (m message) fits(model message) error {
	known := model.names()
	for _, name := range m.names() {
		if !slices.Contains(known, name) {
			return fmt.Errorf("the English text has no %s", name)
		}
	}
	return nil
}

// element is what a tag of a text becomes.
type element struct{ open, end template.HTML }

// elements are the tags that need no argument.
var elements = map[string]element{
	"b":     {"<b>", "</b>"},
	"small": {"<small>", "</small>"},
	"mono":  {`<span class="mono" translate="no">`, "</span>"},
}

// link returns a link to another page of the console, for a tag of a text. The URL is relative.
func link(url string) element {
	if !strings.HasPrefix(url, "./") && !strings.HasPrefix(url, "../") && !strings.HasPrefix(url, "?") &&
		!strings.HasPrefix(url, "#") {
		url = "#"
	}
	return element{template.HTML(`<a href="` + template.HTMLEscapeString(url) + `">`), "</a>"}
}

// linksTo returns links to the pages of some options, separated by commas.
func linksTo(root, page string, to []option) template.HTML {
	var b strings.Builder
	for i, o := range to {
		if i > 0 {
			b.WriteString(", ")
		}
		e := link(root + page + o.Value)
		b.WriteString(string(e.open + isolated(o.Text) + e.end))
	}
	return template.HTML(b.String())
}

// own is a text of the catalogue as an argument of another: it is not isolated as a name is.
type own string

// writer writes a message.
type writer struct {
	strings.Builder
	words *Words
	as    textKind
	args  []any
}

// textKind is where a text is written. In each, names are kept apart from the text around them as far as that place
// allows.
type textKind uint8

const (
	plainText textKind = iota // a string: the template escapes it
	richText                  // HTML: see Words.rich
	titleText                 // the title of a page, as HTML without elements
)

func (w *writer) arg(name string) any {
	for i := 0; i+1 < len(w.args); i += 2 {
		if w.args[i] == name {
			return w.args[i+1]
		}
	}
	return nil
}

// message writes a message; number is what "#" stands for.
func (w *writer) message(m message, number string) {
	for i := range m {
		part := &m[i]
		switch {
		case part.number:
			w.text(number)
		case part.tag != "":
			e, ok := w.arg(part.tag).(element)
			if !ok {
				e = elements[part.tag]
			}
			if w.as != richText {
				e = element{}
			}
			w.WriteString(string(e.open))
			w.message(part.inner, number)
			w.WriteString(string(e.end))
		case part.forms != nil:
			n := countOf(w.arg(part.name))
			w.message(part.form(n, w.words.plural), w.words.number(n))
		case part.name != "":
			w.value(w.arg(part.name))
		default:
			w.text(part.text)
		}
	}
}

func (p *messagePart) form(n int64, plural func(int64) string) message {
	var category, other message
	for _, f := range p.forms {
		switch f.is {
		case "=" + strconv.FormatInt(n, 10):
			return f.text
		case plural(n):
			category = f.text
		case "other":
			other = f.text
		}
	}
	if category != nil {
		return category
	}
	return other
}

func (w *writer) text(s string) {
	if w.as == plainText {
		w.WriteString(s)
	} else {
		writeHTML(&w.Builder, s)
	}
}

func (w *writer) value(x any) {
	switch x := x.(type) {
	case nil:
	case template.HTML:
		w.WriteString(string(x))
	case string:
		w.isolated(x)
	case own:
		w.text(string(x))
	case latchkey.Credits:
		w.text(w.words.credits(x))
	case time.Duration:
		w.text(w.words.duration(x))
	case time.Time:
		if w.as == richText {
			w.WriteString(string(w.words.moment(x)))
		} else {
			w.text(w.words.stamp(x))
		}
	case int, int64, uint64:
		w.text(w.words.number(countOf(x)))
	default:
		w.isolated(fmt.Sprint(x))
	}
}

func (w *writer) isolated(s string) {
	switch w.as {
	case plainText:
		w.WriteString(s)
	case richText:
		w.WriteString("<bdi>")
		writeHTML(&w.Builder, s)
		w.WriteString("</bdi>")
	case titleText:
		w.WriteString("&#x2068;")
		writeHTML(&w.Builder, s)
		w.WriteString("&#x2069;")
	}
}

func countOf(x any) int64 {
	switch x := x.(type) {
	case int:
		return int64(x)
	case int64:
		return x
	case uint64:
		return int64(x)
	}
	return 0
}
