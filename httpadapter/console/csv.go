package console

import (
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// csvFile writes a reply of text/csv (RFC 4180) line by line, so that its size costs no memory.
type csvFile struct {
	v    *view
	w    *csv.Writer
	cell []string
}

// maxExport is how long an export may take.
const maxExport = 10 * time.Minute

// newCSV begins a file with a line of headings. Errors before the first line are answered with a page.
func (v *view) newCSV(name string, headings ...string) *csvFile {
	h := v.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="`+name+`-`+v.now.Format(time.DateOnly)+`.csv"`)
	f := &csvFile{v: v, w: csv.NewWriter(v.w)}
	f.w.UseCRLF = true
	_ = f.w.Write(headings) // kept in memory until Flush, which reports it
	return f
}

// line writes a line. It returns an error once the reader is gone.
func (f *csvFile) line(cells ...string) error {
	f.cell = f.cell[:0]
	for _, c := range cells {
		f.cell = append(f.cell, harmless(c))
	}
	if err := f.w.Write(f.cell); err != nil {
		return err
	}
	return f.v.r.Context().Err()
}

// end ends the file. A file that an error has cut short must not look complete, so the connection is cut, too.
func (f *csvFile) end(err error) error {
	f.w.Flush()
	if err != nil || f.w.Error() != nil {
		if f.v.opts.OnError != nil && err != nil {
			f.v.opts.OnError(f.v.r, err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// exporting bounds the time of an export, and lets the reply take it whatever the server's own bound.
func (v *view) exporting() (cancel func()) {
	ctx, cancel := context.WithTimeout(v.r.Context(), maxExport)
	v.r = v.r.WithContext(ctx)
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(maxExport)) // not all servers can
	return cancel
}

// harmless returns a cell that no spreadsheet takes for a formula (CWE-1236): one that begins like a formula, perhaps
// after spaces, gets an apostrophe before it. Bytes that are not UTF-8 and NUL are replaced.
func harmless(cell string) string {
	if !utf8.ValidString(cell) || strings.Contains(cell, "\x00") {
		cell = strings.ReplaceAll(strings.ToValidUTF8(cell, "\uFFFD"), "\x00", "\uFFFD")
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(cell, " \u00A0\u3000\u200B\uFEFF"))
	if strings.ContainsRune("=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20\u2212|%", first) && first != utf8.RuneError {
		return "'" + cell
	}
	return cell
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func csvNumber(n int64) string { return strconv.FormatInt(n, 10) }
