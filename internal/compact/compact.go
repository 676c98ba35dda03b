// Package compact writes and reads a binary form that is as short as it can be, and canonical: what a [Reader] accepts
// in full is exactly what the functions of this package write for the same values.
//
// A number is a varint of seven bits a byte, the lowest first, without needless bytes. A signed one has its sign in the
// lowest bit. A text is its length and its bytes. An id is a text, but a UUID in its canonical form takes 17 bytes.
package compact

import (
	"encoding/binary"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// AppendUint appends a number.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends a signed number.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendText appends a text.
func AppendText(b []byte, s string) []byte { return append(AppendUint(b, uint64(len(s))), s...) }

// AppendID appends an id.
func AppendID(b []byte, id string) []byte {
	if isUUID(id) {
		u := uuidv7.Parse(id)
		return append(append(b, 0), u[:]...)
	}
	return append(AppendUint(b, uint64(len(id))+1), id...)
}

func isUUID(id string) bool { return len(id) == 36 && uuidv7.Text(uuidv7.Parse(id)) == id }

// Reader reads what the functions of this package appended. After the first mistake every further call returns a zero
// value, and Done returns false. Texts share memory with what is read.
type Reader struct {
	left string
	bad  bool
}

// NewReader returns a Reader of s.
func NewReader(s string) Reader { return Reader{left: s} }

// Fail makes the Reader fail: what was read is not what is written.
func (r *Reader) Fail() { r.left, r.bad = "", true }

// Failed reports whether a mistake was found.
func (r *Reader) Failed() bool { return r.bad }

// Done reports whether all was read without a mistake.
func (r *Reader) Done() bool { return !r.bad && r.left == "" }

// Rest returns what is left to read.
func (r *Reader) Rest() string { return r.left }

// Left returns how many bytes are left.
func (r *Reader) Left() int { return len(r.left) }

// Uint reads a number.
func (r *Reader) Uint() uint64 {
	var v uint64
	for i := range len(r.left) {
		c := r.left[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break // it overflows
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				break // a needless byte
			}
			r.left = r.left[i+1:]
			return v
		}
	}
	r.Fail()
	return 0
}

// Int reads a signed number.
func (r *Reader) Int() int64 {
	v := r.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if s := r.Bytes(1); s != "" {
		return s[0]
	}
	return 0
}

// Bytes reads n bytes.
func (r *Reader) Bytes(n int) string {
	if n < 0 || n > len(r.left) {
		r.Fail()
		return ""
	}
	s := r.left[:n]
	r.left = r.left[n:]
	return s
}

// Text reads a text.
func (r *Reader) Text() string { return r.text(r.Uint()) }

func (r *Reader) text(n uint64) string {
	if n > uint64(len(r.left)) {
		r.Fail()
		return ""
	}
	return r.Bytes(int(n))
}

// Count reads how many items of at least one byte each follow. It fails for 0, which is written by leaving the list
// out.
func (r *Reader) Count() int {
	n := r.Uint()
	if n == 0 || n > uint64(len(r.left)) {
		r.Fail()
		return 0
	}
	return int(n)
}

// ID reads an id.
func (r *Reader) ID() string {
	n := r.Uint()
	if n == 0 {
		if s := r.Bytes(16); s != "" {
			return uuidv7.Text([16]byte([]byte(s)))
		}
		return ""
	}
	id := r.text(n - 1)
	if isUUID(id) {
		r.Fail()
		return ""
	}
	return id
}
