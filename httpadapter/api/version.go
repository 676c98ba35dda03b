package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// versioned is a reply about one record that has a version.
type versioned interface {
	// record returns what a GET of the record replies, and its version.
	record() (rec any, version uint64)
}

// etagOf returns the entity tag of a reply: "<version>.<digest>". The digest is of the JSON, because some of it changes
// without a new version, such as the last use. If-Match compares the version alone.
func etagOf(v versioned) (string, error) {
	rec, version := v.record()
	body, err := json.Marshal(rec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return `"` + strconv.FormatUint(version, 10) + "." + base64.RawURLEncoding.EncodeToString(sum[:9]) + `"`, nil
}

var errMalformedTags = httpadapter.BadRequest(
	`malformed entity tags: send those of ETag, such as "7.h1Zx0aB_c2Dq", or *`)

// readIfMatch makes the account refuse changes of records of other versions than those of If-Match.
func (c *call) readIfMatch() error {
	lines := c.r.Header["If-Match"]
	if len(lines) == 0 {
		if c.opts.RequireIfMatch {
			return httpadapter.Refusal(problem(http.StatusPreconditionRequired, "if-match", "Precondition required",
				"Send If-Match with the ETag of the record as you know it, or with * for any."), nil)
		}
		return nil
	}
	tags, any, err := entityTags(lines)
	if err != nil || any {
		return err
	}
	versions := []uint64{}
	for _, tag := range tags {
		text, _, _ := strings.Cut(tag.text, ".")
		version, err := strconv.ParseUint(text, 10, 64)
		if err == nil && !tag.weak && strconv.FormatUint(version, 10) == text { // no other tag is of a version
			versions = append(versions, version)
		}
	}
	c.account = c.account.IfVersion(versions...)
	return nil
}

// notModified reports whether the client has the reply with this tag already. A malformed If-None-Match is as none: the
// whole reply is always right.
func (c *call) notModified(tag string) bool {
	tags, any, err := entityTags(c.r.Header["If-None-Match"])
	if err != nil {
		return false
	}
	for _, t := range tags { // by weak comparison: RFC 9110 §13.1.2
		any = any || `"`+t.text+`"` == tag
	}
	return any
}

type entityTag struct {
	text string
	weak bool
}

// maxTags bounds the entity tags of a request.
const maxTags = 16

// entityTags reads a list of entity tags (RFC 9110 §8.8.3), or "*".
func entityTags(lines []string) (tags []entityTag, any bool, err error) {
	rest := strings.Trim(strings.Join(lines, ","), " \t")
	if rest == "*" {
		return nil, true, nil
	}
	for rest != "" {
		var t entityTag
		if rest, t.weak = strings.CutPrefix(rest, "W/"); rest == "" || rest[0] != '"' {
			return nil, false, errMalformedTags
		}
		end := strings.IndexByte(rest[1:], '"') + 1
		if end == 0 || len(tags) == maxTags {
			return nil, false, errMalformedTags
		}
		t.text = rest[1:end]
		for _, b := range []byte(t.text) {
			if b <= ' ' || b == 0x7f {
				return nil, false, errMalformedTags
			}
		}
		tags = append(tags, t)
		rest = strings.TrimLeft(rest[end+1:], " \t")
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, false, errMalformedTags
		}
		if rest = strings.TrimLeft(rest, ", \t"); rest == "" {
			return nil, false, errMalformedTags
		}
	}
	return tags, false, nil
}
