package sqlstore

import (
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// A revocation is a row of latchkey_changes. A plain one, of a token by its id, has that id, as in the first version.
// Any other has an id that begins with the byte 1 and tells what the columns have no place for:
//
//	1, what it is of as a digit, Before in microseconds to the base 36 (or nothing), ":", and the id
//
// So the row stays one that programs of every version keep until its end.
const packedRevocation = "\x01"

// packRevocation returns the id of the row.
func packRevocation(r *latchkey.Revocation) string {
	if r.Of == latchkey.RevokedToken && r.Before.IsZero() && !strings.HasPrefix(r.ID, packedRevocation) {
		return r.ID
	}
	before := ""
	if !r.Before.IsZero() {
		before = strconv.FormatInt(r.Before.UnixMicro(), 36)
	}
	return packedRevocation + strconv.Itoa(int(r.Of)) + before + ":" + r.ID
}

// unpackRevocation reads the id of c's row into its fields. One that cannot be read becomes a change of an unknown
// kind, on which readers forget everything.
func unpackRevocation(c *latchkey.Change) {
	rest, packed := strings.CutPrefix(c.ID, packedRevocation)
	if !packed {
		return
	}
	head, id, ok := strings.Cut(rest, ":")
	if !ok || head == "" || head[0] < '0' || head[0] > '0'+byte(latchkey.RevokedOwner) {
		c.Kind = 0
		return
	}
	if head[1:] != "" {
		before, err := strconv.ParseInt(head[1:], 36, 64)
		if err != nil {
			c.Kind = 0
			return
		}
		c.Before = time.UnixMicro(before).UTC()
	}
	c.Of, c.ID = latchkey.RevocationOf(head[0]-'0'), id
}
