package api

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A cursor is where a page ends, behind a digest of the listing that it belongs to: of the owner, the operation, its
// path and its parameters. So the cursor of another listing is refused and not misread. It is no secret and holds none:
// with a cursor of its own making a caller reads what it may read, from another place on.
const cursorDigest = 9 // bytes

// listingDigest identifies a listing. The size of its pages may change.
func (c *call) listingDigest() []byte {
	h := sha256.New()
	part := func(s string) { h.Write([]byte(s)); h.Write([]byte{0}) }
	part(c.account.Owner())
	part(c.op.id)
	part(c.id())
	for _, name := range slices.Sorted(maps.Keys(c.query)) {
		if name != "cursor" && name != "limit" {
			part(name)
			part(c.query[name])
		}
	}
	return h.Sum(nil)[:cursorDigest]
}

// cursor returns the cursor of the page behind after, "" for none.
func (c *call) cursor(after string) string {
	if after == "" {
		return ""
	}
	return encodeCursor(c.listingDigest(), after)
}

func encodeCursor(listing []byte, after string) string {
	return base64.RawURLEncoding.EncodeToString(append(slices.Clone(listing), after...))
}

// readCursor returns where the page of a request begins, "" at the beginning.
func (c *call) readCursor() (after string, err error) {
	text, ok := c.query["cursor"]
	if !ok {
		return "", nil
	}
	after, ok = parseCursor(text, c.listingDigest())
	nuls := 0 // in front of the id, where the listing is by something else
	if slices.Contains(orders[1:], c.query["order"]) {
		nuls = 1
	}
	// Stores are not asked for a text that no record can have.
	if !ok || !utf8.ValidString(after) || strings.Count(after, "\x00") > nuls {
		return "", badParameter("cursor", "is not of this listing: begin without one, or repeat the parameters of the page "+
			"that it came with")
	}
	return after, nil
}

func parseCursor(text string, listing []byte) (after string, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) <= cursorDigest || string(raw[:cursorDigest]) != string(listing) {
		return "", false
	}
	return string(raw[cursorDigest:]), true
}
