package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// printJSON prints one line of JSON. Texts are not escaped for HTML.
func (c *call) printJSON(v any) error {
	e := json.NewEncoder(c.std.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note prints a line for people to standard error, but not with -json.
func (c *call) note(format string, args ...any) {
	if !c.flags.json {
		fmt.Fprintln(c.std.err, visibleLines(fmt.Sprintf(format, args...)))
	}
}

// libraryNames are those that errors begin with, also within others: "latchkey: ", "latchkey/sqlstore: ".
var libraryNames = regexp.MustCompile(`(^|: )(?:latchkey(?:/[a-z]+)?: )+`)

// plainText returns an error without the names of the library.
func plainText(err error) string { return libraryNames.ReplaceAllString(err.Error(), "$1") }

// oneLine returns a text of several lines, such as that of a driver, as one.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " ")
}

// A cell is one value in a table.
type cell struct {
	text  string
	style style
	lines []string // in place of text, in a record: one below the other
}

// These make cells. A zero moment is empty.
func text(s string) cell                { return cell{text: s} }
func styled(s string, style style) cell { return cell{text: s, style: style} }
func moment(t time.Time) cell           { return cell{text: momentText(t)} }
func number[T int | int64](n T) cell    { return cell{text: fmt.Sprint(n)} }
func list(items []string) cell          { return cell{text: strings.Join(items, ", ")} }
func lines(items []string) cell         { return cell{lines: items} }

// momentText returns a time to the second, in UTC, or "".
func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// listing prints rows: as a table for people, or with -json each as a line of JSON.
type listing struct {
	c      *call
	header []string
	rows   [][]cell
	widths []int
	shown  bool
	n      int
}

// listing returns an empty one. The header names its columns.
func (c *call) listing(header ...string) *listing {
	return &listing{c: c, header: header}
}

// tableRows is how many rows decide the widths of the columns. More are not kept in memory.
const tableRows = 1000

// row adds a row: v for -json, and the cells for people.
func (l *listing) row(v any, cells ...cell) error {
	l.n++
	if l.c.flags.json {
		return l.c.printJSON(v)
	}
	for i := range cells {
		cells[i].text = visible(cells[i].text)
	}
	if l.rows = append(l.rows, cells); len(l.rows) == tableRows {
		return l.flush()
	}
	return nil
}

// end prints what is left. An empty table says so to standard error.
func (l *listing) end() error {
	if l.n == 0 {
		l.c.note("none")
		return nil
	}
	return l.flush()
}

func (l *listing) flush() error {
	if len(l.rows) == 0 {
		return nil
	}
	on := colours(l.c.std.out)
	var b strings.Builder
	if !l.shown {
		l.measure()
		head := make([]cell, len(l.header))
		for i, h := range l.header {
			head[i] = styled(h, strong)
		}
		l.write(&b, head, on)
		l.shown = true
	}
	for _, row := range l.rows {
		l.write(&b, row, on)
	}
	l.rows = l.rows[:0]
	_, err := l.c.std.out.WriteString(b.String())
	return err
}

// gap is how many spaces stand between columns.
const gap = 2

// measure sets the widths of the columns. On a terminal that is too narrow, empty columns are left out, and then the
// widest ones are cut. The first column, which holds ids, never is.
func (l *listing) measure() {
	l.widths = make([]int, len(l.header))
	for _, row := range l.rows {
		for i := range row {
			l.widths[i] = max(l.widths[i], columns(row[i].text))
		}
	}
	empty := make([]bool, len(l.header))
	for i, h := range l.header {
		empty[i] = l.widths[i] == 0
		l.widths[i] = max(l.widths[i], columns(h))
	}
	room := terminalWidth(l.c.std.out)
	if room == 0 {
		return
	}
	for i := len(l.widths) - 1; i >= 0 && l.total() > room; i-- {
		if empty[i] {
			l.widths[i] = 0
		}
	}
	const least = 5
	for l.total() > room {
		widest := 0
		for i, w := range l.widths {
			if i > 0 && w > least && (widest == 0 || w > l.widths[widest]) {
				widest = i
			}
		}
		if widest == 0 {
			return
		}
		l.widths[widest]--
	}
}

// total is the width of the whole table.
func (l *listing) total() (n int) {
	for _, w := range l.widths {
		if w > 0 {
			n += w + gap
		}
	}
	return n - gap
}

func (l *listing) write(to *strings.Builder, row []cell, on bool) {
	cutTo := terminalWidth(l.c.std.out) > 0
	var b strings.Builder
	for i, cell := range row {
		text := cell.text
		if cutTo {
			if l.widths[i] == 0 {
				continue
			}
			text = cut(text, l.widths[i])
		}
		b.WriteString(cell.style.of(text, on))
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", max(l.widths[i]-columns(text), 0)+gap))
		}
	}
	to.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}

// A field is a line of a record.
type field struct {
	name  string
	value cell
}

// record prints one record for people: a name and a value a line. Empty values are left out.
func (c *call) record(fields ...field) error {
	width := 0
	for _, f := range fields {
		if f.value.text != "" || len(f.value.lines) > 0 {
			width = max(width, columns(f.name))
		}
	}
	on := colours(c.std.out)
	var b strings.Builder
	for _, f := range fields {
		values := f.value.lines
		if f.value.text != "" {
			values = []string{f.value.text}
		}
		name := f.name
		for _, value := range values {
			b.WriteString(faint.of(name, on) + strings.Repeat(" ", width-columns(name)+2) +
				f.value.style.of(visible(value), on) + "\n")
			name = ""
		}
	}
	_, err := c.std.out.WriteString(b.String())
	return err
}
