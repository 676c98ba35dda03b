package compact

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const uuid = "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f"

func TestWhatIsWrittenIsRead(t *testing.T) {
	var b []byte
	uints := []uint64{0, 1, 127, 128, 300, 1 << 32, math.MaxUint64}
	ints := []int64{0, -1, 1, 63, 64, -65, math.MaxInt64, math.MinInt64}
	texts := []string{"", "x", strings.Repeat("é", 200), "\x00"}
	ids := []string{"", "a", uuid, strings.ToUpper(uuid), "code:x", strings.Repeat("x", 36)}
	for _, v := range uints {
		b = AppendUint(b, v)
	}
	for _, v := range ints {
		b = AppendInt(b, v)
	}
	for _, s := range texts {
		b = AppendText(b, s)
	}
	for _, id := range ids {
		b = AppendID(b, id)
	}
	r := NewReader(string(b) + "\x05")
	for _, v := range uints {
		require.Equal(t, v, r.Uint())
	}
	for _, v := range ints {
		require.Equal(t, v, r.Int())
	}
	for _, s := range texts {
		require.Equal(t, s, r.Text())
	}
	for _, id := range ids {
		require.Equal(t, id, r.ID())
	}
	require.Equal(t, 1, r.Left())
	require.False(t, r.Done(), "something is left")
	require.Equal(t, byte(5), r.Byte())
	require.True(t, r.Done())
	require.Len(t, AppendID(nil, uuid), 17)
	r = NewReader("\x03abc") // as many items as there are bytes, and a text of all that is left
	require.Equal(t, 3, r.Count())
	require.Equal(t, 3, r.Left())
	require.False(t, r.Failed())
	r = NewReader("\x03abc")
	require.Equal(t, "abc", r.Text())
	require.True(t, r.Done())
}

// What is not what the functions write is refused, and every further call returns nothing.
func TestWhatIsNotWrittenIsRefused(t *testing.T) {
	ten := strings.Repeat("\xff", 9)
	for what, c := range map[string]struct {
		text string
		read func(*Reader)
	}{
		"no number":                {"", func(r *Reader) { r.Uint() }},
		"half a number":            {"\x80", func(r *Reader) { r.Uint() }},
		"a needless byte":          {"\x81\x00", func(r *Reader) { r.Uint() }},
		"a needless byte of 0":     {"\x80\x00", func(r *Reader) { r.Uint() }},
		"a number that overflows":  {ten + "\x02", func(r *Reader) { r.Uint() }},
		"eleven bytes":             {ten + "\x81\x01", func(r *Reader) { r.Uint() }},
		"a text that is cut off":   {"\x05abcd", func(r *Reader) { r.Text() }},
		"a text of all there is":   {ten + "\x01abcd", func(r *Reader) { r.Text() }},
		"no byte":                  {"", func(r *Reader) { r.Byte() }},
		"too few bytes":            {"abc", func(r *Reader) { r.Bytes(4) }},
		"less than none":           {"abc", func(r *Reader) { r.Bytes(-1) }},
		"a list of nothing":        {"\x00", func(r *Reader) { r.Count() }},
		"a list longer than there": {"\x04abc", func(r *Reader) { r.Count() }},
		"half a UUID":              {"\x00abc", func(r *Reader) { r.ID() }},
		"a UUID as a text":         {"\x25" + uuid, func(r *Reader) { r.ID() }},
		"an id that is cut off":    {"\x05abc", func(r *Reader) { r.ID() }},
	} {
		r := NewReader(c.text)
		c.read(&r)
		require.True(t, r.Failed(), what)
		require.False(t, r.Done(), what)
		require.Zero(t, r.Uint())
		require.Zero(t, r.Int())
		require.Zero(t, r.Byte())
		require.Zero(t, r.Text()+r.ID()+r.Bytes(1))
		require.Zero(t, r.Count())
		require.Zero(t, r.Left())
		require.True(t, r.Failed(), what)
	}
}
