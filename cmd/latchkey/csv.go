package main

import (
	"encoding/csv"
	"strings"
)

// csvOut prints rows as CSV (RFC 4180), with a header.
type csvOut struct{ w *csv.Writer }

func (c *call) csv(header ...string) (*csvOut, error) {
	out := &csvOut{csv.NewWriter(c.std.out)}
	return out, out.w.Write(header)
}

// row prints a row. A spreadsheet takes a text that begins like a formula for one, and names come from whoever made a
// record. So an apostrophe is put before such a text.
func (o *csvOut) row(values ...string) error {
	for i, v := range values {
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			values[i] = "'" + v
		}
	}
	return o.w.Write(values)
}

func (o *csvOut) end() error {
	o.w.Flush()
	return o.w.Error()
}
