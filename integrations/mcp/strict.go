package latchkeymcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth is how deep a tool's arguments may be nested.
const maxDepth = 32

// strictly returns why two parsers may read a JSON text differently, or "" if they cannot. encoding/json takes the last
// of several equal names, matches names to fields in any case, and replaces invalid Unicode. Others do not. RFC 7493
// (I-JSON) has none of it.
func strictly(raw []byte, depth int) (reason string) {
	switch {
	case !utf8.Valid(raw):
		return "it is not valid UTF-8"
	case !json.Valid(raw):
		return "it is malformed"
	case hasLoneSurrogate(raw):
		return "it has half of a surrogate pair"
	}
	type level struct {
		names map[string]bool // nil: an array
		value bool            // the next token is a value, not a name
	}
	var levels []level
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return ""
		} else if err != nil {
			return "it is malformed"
		}
		if d, ok := token.(json.Delim); ok && (d == '}' || d == ']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].names != nil {
			in := &levels[n-1]
			if in.value = !in.value; in.value { // a name
				name, _ := token.(string)
				if folded := fold(name); in.names[folded] {
					return "a name is there twice, or in two cases"
				} else {
					in.names[folded] = true
				}
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		}
		if len(levels) > depth {
			return "it is nested too deep"
		}
	}
}

// fold returns the same text for all names that encoding/json takes for one field.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// hasLoneSurrogate reports whether a valid JSON text has an escape that stands for half a character.
func hasLoneSurrogate(raw []byte) bool {
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		if raw[i+1] != 'u' {
			i += 2
			continue
		}
		switch unit := escapedUnit(raw[i:]); {
		case unit>>10 == 0xDC00>>10:
			return true
		case unit>>10 == 0xD800>>10:
			if i += 6; escapedUnit(raw[i:])>>10 != 0xDC00>>10 {
				return true
			}
		}
		i += 6
	}
	return false
}

// escapedUnit returns the UTF-16 unit of an escape that raw begins with, 0 if it begins with none.
func escapedUnit(raw []byte) uint64 {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return unit
}

// sentence begins a reason with a capital letter and ends it with a full stop.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
