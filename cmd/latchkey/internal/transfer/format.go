// Package transfer moves owners from one store to another: as lines of JSON, with digests and sealed secrets, so that
// the keys go on working. No line holds a plain secret. The text of a publishable token is none.
//
// A file is made by [Export], and read by [Check] and [Import]. Its first line says what it is, its last one how many
// lines there are and their SHA-256. So a file that was cut off, or altered, is refused as a whole. Between them stand
// the owners, one after the other, each with a line for itself and then one for each record:
//
//	{"latchkey":"export","format":1,"id":"…","at":"…","keys":[{"id":1,"check":"…"}]}
//	{"owner":{"id":"acme",…}}
//	{"event":{…}}             the audit trail, in its order
//	{"usage":{…}}
//	{"credits":{…}}           what is taken of an account: quotas go on where they were
//	{"role":{…}}              by id
//	{"client":{…}}            by id
//	{"token":{…},"secrets":[…]}   by id: what was minted comes after what it was minted from
//	{"end":{"lines":7,"sha256":"…","keys":[1]}}
package transfer

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

const (
	format  = 1
	maxLine = 32 << 20 // bytes: an event holds two records
)

// head is the first line.
type head struct {
	Latchkey string     `json:"latchkey"` // "export"
	Format   int        `json:"format"`
	ID       string     `json:"id"` // of this export: an import that was interrupted goes on by it
	At       time.Time  `json:"at"`
	Keys     []keyCheck `json:"keys,omitempty"` // of the keyring that the export was made with
}

// keyCheck tells whether two keys with the same id are the same key, and nothing else about it.
type keyCheck struct {
	ID    uint32 `json:"id"`
	Check string `json:"check"`
}

// end is the last line.
type end struct {
	Lines  int      `json:"lines"`  // before this one
	SHA256 string   `json:"sha256"` // of these, in hex
	Keys   []uint32 `json:"keys"`   // ids of the keys that secrets were made under
	// Changed are owners that changed while they were read, 20 at most. The copy may mix two states of one.
	Changed []string `json:"changed,omitempty"`
}

// line is any other line. One member is set, or Token and Secrets.
type line struct {
	Owner   *latchkey.Owner        `json:"owner,omitempty"`
	Event   *latchkey.Event        `json:"event,omitempty"`
	Usage   *latchkey.UsageRow     `json:"usage,omitempty"`
	Credits *latchkey.TakenCredits `json:"credits,omitempty"`
	Role    *latchkey.Role         `json:"role,omitempty"`
	Client  *latchkey.Client       `json:"client,omitempty"`
	Token   *latchkey.Token        `json:"token,omitempty"`
	Secrets []secret               `json:"secrets,omitempty"`
	End     *end                   `json:"end,omitempty"`
}

// secret is a latchkey.SecretRecord with bytes in base64.
type secret struct {
	Digest    []byte     `json:"digest"`
	KeyID     uint32     `json:"key_id,omitempty"`
	Sealed    []byte     `json:"sealed,omitempty"`
	Signing   bool       `json:"signing,omitempty"`
	Hint      string     `json:"hint"`
	Created   time.Time  `json:"created"`
	NotAfter  time.Time  `json:"not_after,omitzero"`
	Algorithm string     `json:"algorithm,omitempty"`
	Lookup    string     `json:"lookup,omitempty"`
	Hash      []byte     `json:"hash,omitempty"`
	Used      time.Time  `json:"used,omitzero"`
	UsedFrom  netip.Addr `json:"used_from,omitzero"`
}

func newSecret(r latchkey.SecretRecord) secret {
	return secret{r.Digest[:], r.KeyID, r.Sealed, r.Signing, r.Hint, r.Created, r.NotAfter, r.Algorithm, r.Lookup, r.Hash,
		r.Used, r.UsedFrom}
}

func (s *secret) record() (latchkey.SecretRecord, error) {
	r := latchkey.SecretRecord{KeyID: s.KeyID, Sealed: s.Sealed, Signing: s.Signing, Hint: s.Hint, Created: s.Created,
		NotAfter: s.NotAfter, Algorithm: s.Algorithm, Lookup: s.Lookup, Hash: s.Hash, Used: s.Used, UsedFrom: s.UsedFrom}
	if copy(r.Digest[:], s.Digest); len(s.Digest) != len(r.Digest) {
		return r, errors.New("a digest has 32 bytes")
	}
	return r, r.Validate()
}

// checks returns what tells the keys of a keyring from others with the same ids. Nil: no keys. A check is derived from
// the key by HKDF, under a name of its own, and does not help to find the key.
func checks(ring *latchkey.Keyring) (out []keyCheck, err error) {
	if ring == nil {
		return nil, nil
	}
	for text := range strings.Lines(ring.Export().Reveal()) {
		parts := strings.Split(strings.TrimSpace(text), ":")
		if len(parts) != 3 {
			return nil, errors.New("a keyring of an unknown form")
		}
		id, err := strconv.ParseUint(parts[1], 10, 32)
		if err != nil {
			return nil, errors.New("a keyring of an unknown form")
		}
		key, err := base64.StdEncoding.DecodeString(parts[2])
		if err != nil {
			return nil, errors.New("a keyring of an unknown form")
		}
		sum, err := hkdf.Key(sha256.New, key, nil, "latchkey 1 export check", 16)
		if err != nil {
			return nil, err
		}
		out = append(out, keyCheck{uint32(id), hex.EncodeToString(sum)})
	}
	return out, nil
}

// writer writes lines, and counts and sums them.
type writer struct {
	w     *bufio.Writer
	sum   hash.Hash
	lines int
}

func newWriter(w io.Writer) *writer {
	return &writer{w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
}

func (w *writer) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxLine {
		return fmt.Errorf("a record of %d bytes: more than an export holds", len(text))
	}
	text = append(text, '\n')
	w.sum.Write(text)
	w.lines++
	_, err = w.w.Write(text)
	return err
}

// close writes the last line.
func (w *writer) close(e end) error {
	e.Lines, e.SHA256 = w.lines, hex.EncodeToString(w.sum.Sum(nil))
	if err := w.write(line{End: &e}); err != nil {
		return err
	}
	return w.w.Flush()
}

// reader reads lines, and counts and sums them.
type reader struct {
	r     *bufio.Reader
	sum   hash.Hash
	lines int
	ended bool
}

func newReader(r io.Reader) *reader {
	return &reader{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
}

// fail returns an error that names the line that was read last. It repeats nothing of it.
func (r *reader) fail(format string, args ...any) error {
	return fmt.Errorf("line %d of the export: "+format, append([]any{r.lines}, args...)...)
}

// text returns the next line. It returns io.EOF at the end of the text.
func (r *reader) text() ([]byte, error) {
	var text []byte
	for {
		part, err := r.r.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(text) <= maxLine:
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			r.lines++
			return nil, r.fail("it is cut off")
		case errors.Is(err, bufio.ErrBufferFull):
			r.lines++
			return nil, r.fail("it has more than %d bytes", maxLine)
		case err != nil:
			return nil, err
		}
		r.lines++
		return text, nil
	}
}

// head reads the first line.
func (r *reader) head() (h head, err error) {
	text, err := r.text()
	if errors.Is(err, io.EOF) {
		return h, errors.New("the export is empty")
	}
	if err != nil {
		return h, err
	}
	var peek struct {
		Latchkey string `json:"latchkey"`
		Format   int    `json:"format"`
	}
	if json.Unmarshal(text, &peek) == nil && peek.Latchkey == "export" && peek.Format > format {
		return h, r.fail("format %d: a later version of latchkey wrote it", peek.Format)
	}
	if err := strictjson.Unmarshal(bytes.TrimSuffix(text, []byte("\n")), &h); err != nil {
		return h, r.fail("it is not the first line of an export: %w", err)
	}
	if h.Latchkey != "export" || h.Format != format || len(h.ID) != 36 {
		return h, r.fail("it is not the first line of an export of format %d", format)
	}
	r.sum.Write(text)
	return h, nil
}

// next reads the next line. After the last one it returns io.EOF.
func (r *reader) next() (l line, err error) {
	text, err := r.text()
	if errors.Is(err, io.EOF) {
		if !r.ended {
			return l, fmt.Errorf("the export ends after line %d without its last line: it was cut off", r.lines)
		}
		return l, io.EOF
	}
	if err != nil {
		return l, err
	}
	if r.ended {
		return l, r.fail("it follows the last one")
	}
	before := r.sum.Sum(nil)
	r.sum.Write(text)
	if err := strictjson.Unmarshal(bytes.TrimSuffix(text, []byte("\n")), &l); err != nil {
		return l, r.fail("%w", err)
	}
	set := 0
	for _, is := range []bool{l.Owner != nil, l.Event != nil, l.Usage != nil, l.Credits != nil, l.Role != nil,
		l.Client != nil,
		l.Token != nil, l.End != nil} {
		if is {
			set++
		}
	}
	if set != 1 || len(l.Secrets) > 0 && l.Token == nil {
		return l, r.fail("it is not one record")
	}
	if l.End != nil {
		if l.End.Lines != r.lines-1 || l.End.SHA256 != hex.EncodeToString(before) {
			return l, r.fail("the lines before it are not those that were exported: the file was altered or cut")
		}
		r.ended = true
	}
	return l, nil
}
