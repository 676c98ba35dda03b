package latchkey

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/internal/predicate"
)

// ParseCondition reads what [Condition.String] writes, such as
//
//	region = "EU" and (amount < 1000 or not closed = true)
//
// It is for what people type. Programs use JSON. Of what String returned it makes an equal condition. White space and
// the case of words between values do not count, and parentheses may stand around any part.
//
//   - A comparison is a field, an operator and a value: an [Op], "is null" or "is not null". A field that is no plain
//     word, or is one of and, every, no, not and or, stands in double quotes.
//   - A value is a text in double quotes, as in Go, a decimal number, true or false, self, self_roles, client_id,
//     owner_id or attr("name"). In takes a list of the first three: [1, 2].
//   - Parts are joined by and or by or. Where both occur, parentheses are needed: none of them binds more.
//   - "every row" is [AllRows] and "no row" is the zero Condition.
//
// The error is a *[ConditionError] that says at which character the text is wrong, and does not repeat the text. It
// also refuses what [Condition.Validate] refuses. The result is then the zero Condition, which admits no row.
func ParseCondition(text string) (Condition, error) {
	p := conditionParser{text: text}
	c, err := p.whole()
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Condition{}, err
	}
	if c.n == neverRow {
		return Condition{}, nil
	}
	return c, nil
}

// ParseValues reads forced values as [Rule.String] writes them: region = "EU", tier = 3, note = null. A field and a
// value are written as for [ParseCondition]. The empty text is no values. A name may not occur twice. The error is as
// that of ParseCondition.
func ParseValues(text string) (Values, error) {
	p := conditionParser{text: text}
	read, err := p.values()
	if err != nil {
		return nil, err
	}
	return normaliseValues(read)
}

// Bounds of a text that is parsed.
const (
	maxConditionText  = 1 << 20 // in bytes
	maxConditionDepth = 100     // of parentheses and nots; those around nothing but a part are not in the JSON form
)

// conditionParser reads a condition from left to right, one token ahead. The grammar is LL(1): printName quotes the
// words that begin anything but a comparison.
type conditionParser struct {
	text  string
	at    int // in bytes: where the token begins
	end   int // where it ends
	token tokenKind
	word  string // of a token that is a word, in lower case
	str   string // of a token that is a text
	count int    // comparisons so far
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenText
	tokenNumber
	tokenSign // an operator, a bracket or a comma
)

// fail returns an error at the current token.
func (p *conditionParser) fail(reason string) error {
	return &ConditionError{Reason: fmt.Sprintf("character %d: %s", utf8.RuneCountInString(p.text[:p.at])+1, reason)}
}

// next reads the next token.
func (p *conditionParser) next() error {
	p.at = p.end
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	p.end, p.word, p.str = p.at, "", ""
	if p.at == len(p.text) {
		p.token = tokenEnd
		return nil
	}
	rest := p.text[p.at:]
	switch c := rest[0]; {
	case c == '"':
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return p.fail("this text in double quotes does not end, or has a malformed escape")
		}
		if p.str, err = strconv.Unquote(quoted); err != nil {
			return p.fail("this text in double quotes is malformed")
		}
		p.token, p.end = tokenText, p.at+len(quoted)
	case c == '-' || c >= '0' && c <= '9':
		n := 1
		for n < len(rest) && (isWordByte(rest[n]) || rest[n] == '+') {
			n++
		}
		p.token, p.end = tokenNumber, p.at+n
	case isWordByte(c):
		n := wordLength(rest)
		p.token, p.end, p.word = tokenWord, p.at+n, strings.ToLower(rest[:n])
	case strings.IndexByte("()[],", c) >= 0:
		p.token, p.end = tokenSign, p.at+1
	case strings.IndexByte("=!<>", c) >= 0:
		n := 1
		for n < len(rest) && strings.IndexByte("=!<>", rest[n]) >= 0 {
			n++
		}
		p.token, p.end = tokenSign, p.at+n
	case c == '\'' || c == '`' || strings.HasPrefix(rest, "“") || strings.HasPrefix(rest, "”"):
		return p.fail(`write a text in double quotes: "EU"`)
	default:
		return p.fail("this character has no meaning outside double quotes")
	}
	return nil
}

// is reports whether the token is this word, or this sign.
func (p *conditionParser) is(word string) bool {
	return p.token == tokenWord && p.word == word || p.token == tokenSign && p.text[p.at:p.end] == word
}

// skip reads the next token if this one is the word or the sign.
func (p *conditionParser) skip(word string) (bool, error) {
	if !p.is(word) {
		return false, nil
	}
	return true, p.next()
}

func (p *conditionParser) begin() error {
	if len(p.text) > maxConditionText {
		return &ConditionError{Reason: "the text is longer than 1 MiB"}
	}
	if !utf8.ValidString(p.text) {
		return &ConditionError{Reason: "the text is not valid UTF-8"}
	}
	return p.next()
}

func (p *conditionParser) whole() (Condition, error) {
	if err := p.begin(); err != nil {
		return Condition{}, err
	}
	if p.token == tokenEnd {
		return Condition{}, p.fail(`the condition is empty: write a comparison, or "every row"`)
	}
	var c Condition
	every, err := p.skip("every")
	switch {
	case err != nil:
	case every:
		c, err = AllRows, p.row("every")
	default:
		c, err = p.condition(0)
	}
	if err != nil {
		return Condition{}, err
	}
	if p.token != tokenEnd {
		return Condition{}, p.fail(`expected "and", "or", or the end`)
	}
	return c, nil
}

// row reads the word after every or no.
func (p *conditionParser) row(after string) error {
	if row, err := p.skip("row"); err != nil || row {
		return err
	}
	return p.fail(fmt.Sprintf(`expected "row" after "%s"; a field of this name stands in double quotes`, after))
}

// condition reads parts joined by and, or by or.
func (p *conditionParser) condition(depth int) (Condition, error) {
	first, err := p.part(depth)
	if err != nil {
		return Condition{}, err
	}
	parts, kind := []Condition{first}, nodeAll
	join := "and"
	if p.is("or") {
		kind, join = nodeAny, "or"
	}
	for {
		more, err := p.skip(join)
		if err != nil {
			return Condition{}, err
		}
		if !more {
			break
		}
		part, err := p.part(depth)
		if err != nil {
			return Condition{}, err
		}
		parts = append(parts, part)
	}
	if p.is("and") || p.is("or") {
		return Condition{}, p.fail(`"and" and "or" stand beside each other: put parentheses around what belongs together`)
	}
	c := first
	if len(parts) > 1 {
		c = group(kind, parts)
	}
	if c.n == nil { // inside another, what admits no row stays
		c = Condition{neverRow}
	}
	return c, nil
}

func (p *conditionParser) part(depth int) (Condition, error) {
	if depth > maxConditionDepth {
		return Condition{}, p.fail("nested too deeply")
	}
	for _, word := range []string{"not", "(", "no"} {
		found, err := p.skip(word)
		if err != nil {
			return Condition{}, err
		}
		if !found {
			continue
		}
		switch word {
		case "not":
			c, err := p.part(depth + 1)
			return not(c), err
		case "no":
			return Condition{neverRow}, p.row("no")
		}
		c, err := p.condition(depth + 1)
		if err != nil {
			return Condition{}, err
		}
		if closed, err := p.skip(")"); err != nil || !closed {
			if err == nil {
				err = p.fail(`expected "and", "or", or ")"`)
			}
			return Condition{}, err
		}
		return c, nil
	}
	return p.comparison()
}

// name reads the name of a field.
func (p *conditionParser) name() (string, error) {
	name := p.str
	switch {
	case p.token == tokenWord && isReserved(p.word):
		return "", p.fail(`expected a field; one of this name stands in double quotes`)
	case p.token == tokenWord:
		name = p.text[p.at:p.end]
	case p.token != tokenText:
		return "", p.fail("expected a field")
	}
	if reason := predicate.CheckName(name); reason != "" {
		return "", p.fail(reason)
	}
	return name, p.next()
}

func (p *conditionParser) comparison() (Condition, error) {
	if p.count++; p.count > givenLimits.nodes {
		return Condition{}, p.fail(fmt.Sprintf("more than %d comparisons", givenLimits.nodes))
	}
	field, err := p.name()
	if err != nil {
		return Condition{}, err
	}
	if is, err := p.skip("is"); err != nil || is {
		return p.null(field, err)
	}
	op := Op(strings.ToLower(p.text[p.at:p.end]))
	switch op {
	case Eq, Ne, Lt, Le, Gt, Ge, In, Contains, StartsWith:
	case IsNull:
		return Condition{}, p.fail(`write "is null" or "is not null"`)
	default:
		return Condition{}, p.fail("expected an operator: =, !=, <, <=, >, >=, in, contains, starts-with, or is null")
	}
	if err := p.next(); err != nil {
		return Condition{}, err
	}
	at := p.at
	value, err := p.value(true)
	if err != nil {
		return Condition{}, err
	}
	c := leaf(field, op, value)
	if c.n.kind == nodeFault {
		p.at = at
		return Condition{}, p.fail(c.n.fault.Reason)
	}
	return c, nil
}

// null reads the rest of "is null" and "is not null".
func (p *conditionParser) null(field string, err error) (Condition, error) {
	if err != nil {
		return Condition{}, err
	}
	isNot, err := p.skip("not")
	if err != nil {
		return Condition{}, err
	}
	if null, err := p.skip("null"); err != nil || !null {
		if err == nil {
			err = p.fail(`expected "null" or "not null" after "is"`)
		}
		return Condition{}, err
	}
	return leaf(field, IsNull, !isNot), nil
}

// value reads a value; with lists set, also a list or a reference.
func (p *conditionParser) value(lists bool) (any, error) {
	var v any
	switch {
	case p.token == tokenText:
		v = p.str
	case p.token == tokenNumber:
		v = json.Number(p.text[p.at:p.end])
	case p.is("true"), p.is("false"):
		v = p.word == "true"
	case lists && p.is("["):
		return p.list()
	case lists && p.is("attr"):
		return p.attribute()
	default:
		for ref, name := range refNames {
			if lists && name != "" && p.is(name) {
				return RefVar(ref), p.next()
			}
		}
		return nil, p.fail(`expected a value: a text in double quotes, a number, true or false`)
	}
	v, reason := canonical(v)
	if reason != "" {
		return nil, p.fail(reason)
	}
	return v, p.next()
}

func (p *conditionParser) list() (any, error) {
	list := []any{}
	if err := p.next(); err != nil {
		return nil, err
	}
	for !p.is("]") {
		if len(list) > 0 {
			if comma, err := p.skip(","); err != nil || !comma {
				if err == nil {
					err = p.fail(`expected "," or "]"`)
				}
				return nil, err
			}
		}
		if len(list) == maxListItems {
			return nil, p.fail("the list is longer than 1,000 values")
		}
		v, err := p.value(false)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, p.next()
}

// attribute reads attr("name").
func (p *conditionParser) attribute() (any, error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	if open, err := p.skip("("); err != nil || !open || p.token != tokenText {
		if err == nil {
			err = p.fail(`expected attr("name")`)
		}
		return nil, err
	}
	ref := Attr(p.str)
	if reason := checkAttributeName(ref.name); reason != "" {
		return nil, p.fail(reason)
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if closed, err := p.skip(")"); err != nil || !closed {
		if err == nil {
			err = p.fail(`expected ")"`)
		}
		return nil, err
	}
	return ref, nil
}

// values reads the whole text as forced values.
func (p *conditionParser) values() (map[string]any, error) {
	if err := p.begin(); err != nil || p.token == tokenEnd {
		return nil, err
	}
	out := map[string]any{}
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if _, twice := out[name]; twice {
			return nil, p.fail("this field has a value already")
		}
		if equals, err := p.skip("="); err != nil || !equals {
			if err == nil {
				err = p.fail(`expected "="`)
			}
			return nil, err
		}
		null, err := p.skip("null")
		if err != nil {
			return nil, err
		}
		var v any
		if !null {
			if p.is("[") {
				return nil, p.fail("a list cannot be forced")
			}
			if v, err = p.value(true); err != nil {
				return nil, err
			}
		}
		if out[name] = v; len(out) > maxListItems {
			return nil, p.fail("too many values")
		}
		if p.token == tokenEnd {
			return out, nil
		}
		if comma, err := p.skip(","); err != nil || !comma {
			if err == nil {
				err = p.fail(`expected "," or the end`)
			}
			return nil, err
		}
	}
}

// isReserved reports whether a word, in lower case, begins something else than a comparison.
func isReserved(word string) bool {
	switch word {
	case "and", "every", "no", "not", "or":
		return true
	}
	return false
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// wordLength returns how many bytes at the beginning of s are a word: a letter or "_", then also digits, "-" and ".".
func wordLength(s string) int {
	n := 0
	for n < len(s) && isWordByte(s[n]) && (n > 0 || s[n] != '-' && s[n] != '.' && (s[n] < '0' || s[n] > '9')) {
		n++
	}
	return n
}

// printName writes the name of a field: plain if it is a word that begins nothing else, or in double quotes.
func printName(b *strings.Builder, name string) {
	if n := wordLength(name); n == len(name) && !isReserved(strings.ToLower(name)) {
		b.WriteString(name)
		return
	}
	b.WriteString(strconv.Quote(name))
}
