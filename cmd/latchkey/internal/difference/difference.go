// Package difference shows to people how two JSON texts differ: records of latchkey before and after a change. Rules
// and conditions are shown as latchkey prints them, one a line, in their order, because order decides.
package difference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Line is one line of a difference.
type Line struct {
	// Op is '+' for what was added, '-' for what was removed, ' ' for what stayed the same and stands there to show the
	// place of the others, and '~' for the name of a list or an object that differs.
	Op   byte
	Deep int // how far it is indented, from 0
	Text string
}

// String returns the line, indented by two spaces for each level.
func (l Line) String() string { return strings.Repeat("  ", l.Deep) + string(l.Op) + " " + l.Text }

// maxCells bounds the work of comparing two lists: beyond it, all of one is shown as removed and all of the other as
// added.
const maxCells = 1 << 22

// Of returns how after differs from before. Nil is a record that there is not. Equal texts have no lines, whatever
// their spaces and the order of their members. Members are in the order of names. A text that is not JSON is shown as
// it is.
func Of(before, after json.RawMessage) []Line {
	x, ok := decode(before)
	y, ok2 := decode(after)
	if !ok || !ok2 {
		if bytes.Equal(before, after) {
			return nil
		}
		return []Line{{'-', 0, fmt.Sprintf("%q", before)}, {'+', 0, fmt.Sprintf("%q", after)}}
	}
	return compare(nil, 0, "", x, y)
}

// missing is the value of a member that there is not. It is not null.
type missing struct{}

func decode(text json.RawMessage) (v any, ok bool) {
	if len(text) == 0 {
		return missing{}, true
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return v, d.Decode(&v) == nil
}

// compare adds the lines of a member. Name is "" for the whole text.
func compare(out []Line, deep int, name string, x, y any) []Line {
	if canonical(x) == canonical(y) {
		return out
	}
	if lists, ok := asLists(name, x, y); ok {
		out = append(out, Line{'~', deep, name + ":" + note(name, x, y)})
		return append(out, compareLists(lists[0], lists[1], deep+1)...)
	}
	was, wasObject := x.(map[string]any)
	is, isObject := y.(map[string]any)
	if !wasObject && !isObject || x != (missing{}) && !wasObject || y != (missing{}) && !isObject {
		return append(out, scalars(deep, name, x, y)...)
	}
	if name != "" {
		out, deep = append(out, Line{'~', deep, name + ":"}), deep+1
	}
	var names []string
	for n := range was {
		names = append(names, n)
	}
	for n := range is {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		out = compare(out, deep, n, member(was, n), member(is, n))
	}
	return out
}

func member(of map[string]any, name string) any {
	if v, ok := of[name]; ok {
		return v
	}
	return missing{}
}

// note says what an empty list means, and one that there is not, where the difference matters.
func note(name string, x, y any) string {
	word := func(v any) string {
		list, ok := v.([]any)
		switch {
		case !ok:
			return "none"
		case len(list) == 0:
			return "an empty list"
		}
		return ""
	}
	was, is := word(x), word(y)
	switch {
	case was != "" && is != "":
		return " " + was + " → " + is
	case name != "boundary": // of the others, none and an empty one mean the same
		return ""
	case was != "":
		return " " + was + " before"
	case is != "":
		return " " + is + " now"
	}
	return ""
}

func scalars(deep int, name string, x, y any) (out []Line) {
	prefix := ""
	if name != "" {
		prefix = name + ": "
	}
	if x != (missing{}) {
		out = append(out, Line{'-', deep, prefix + shown(name, x)})
	}
	if y != (missing{}) {
		out = append(out, Line{'+', deep, prefix + shown(name, y)})
	}
	return out
}

// asLists returns the texts of the items of two lists, if both are lists, or one is and the other is not there.
func asLists(name string, x, y any) (lists [2][]string, ok bool) {
	for i, v := range []any{x, y} {
		list, isList := v.([]any)
		if !isList && v != (missing{}) {
			return lists, false
		}
		ok = ok || isList
		for _, item := range list {
			lists[i] = append(lists[i], shown(name, item))
		}
	}
	return lists, ok
}

// compareLists shows two lists. What stayed the same between what did not is shown, so that the order can be seen.
func compareLists(was, is []string, deep int) (out []Line) {
	add := func(op byte, at int, text string) {
		out = append(out, Line{op, deep, fmt.Sprintf("%2d  %s", at+1, text)})
	}
	first := 0
	for first < len(was) && first < len(is) && was[first] == is[first] {
		first++
	}
	last := 0
	for last < len(was)-first && last < len(is)-first && was[len(was)-1-last] == is[len(is)-1-last] {
		last++
	}
	for i := range first {
		add(' ', i, was[i])
	}
	x, y := was[first:len(was)-last], is[first:len(is)-last]
	i, j := 0, 0
	if len(x)*len(y) <= maxCells {
		length := common(x, y)
		for i < len(x) && j < len(y) {
			switch {
			case x[i] == y[j]:
				add(' ', first+j, y[j])
				i, j = i+1, j+1
			case length[i+1][j] >= length[i][j+1]:
				add('-', first+i, x[i])
				i++
			default:
				add('+', first+j, y[j])
				j++
			}
		}
	}
	for ; i < len(x); i++ {
		add('-', first+i, x[i])
	}
	for ; j < len(y); j++ {
		add('+', first+j, y[j])
	}
	for i := len(is) - last; i < len(is); i++ {
		add(' ', i, is[i])
	}
	return out
}

// common returns the length of the longest common subsequence of x[i:] and y[j:].
func common(x, y []string) [][]int32 {
	length := make([][]int32, len(x)+1)
	for i := range length {
		length[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	return length
}

// shown returns a value as people read it. The name of its member tells what it is.
func shown(name string, v any) string {
	text := canonical(v)
	switch name {
	case "permissions", "boundary":
		var r latchkey.Rule
		if json.Unmarshal([]byte(text), &r) == nil {
			return r.String()
		}
	case "rows":
		var c latchkey.Condition
		if json.Unmarshal([]byte(text), &c) == nil {
			return c.String()
		}
	}
	return text
}

// canonical returns the JSON of a value, with the members of objects in order, and "" for one that is not there.
func canonical(v any) string {
	if v == (any)(missing{}) {
		return ""
	}
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v) // it was decoded from JSON, so it cannot be
	}
	return strings.TrimSuffix(out.String(), "\n")
}
