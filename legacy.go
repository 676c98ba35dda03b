package latchkey

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/slowhash"
	"github.com/latchkey-go/latchkey/internal/tokentext"
)

// Legacy says how texts are recognised that another system made, and that it kept by an HMAC or by a slow hash. See
// [Account.ImportDigest].
type Legacy struct {
	// Split splits a text into its lookup part, by which its record is found, and the secret part that was hashed. For
	// "prefix_LOOKUP_SECRET" these are LOOKUP and SECRET. A lookup part has 1 to 256 bytes and is no secret. Split returns
	// false for a text of another form: such a text costs no look-up by it. It is called for each request with a text that
	// latchkey did not make, so it must be quick, and safe for concurrent use. Nil: no slow hash can be imported.
	Split func(text string) (lookup, secret string, ok bool)

	// Peppers are the keys of HMAC-SHA-256, by the names that [KeptSecret.Pepper] uses: at most 8. They are never stored.
	// A text that latchkey did not make is looked up under each of them. Without its pepper an imported digest is not
	// found any more, unless the token was used since: then it is found by latchkey's own.
	Peppers map[string][]byte
}

const maxPeppers = 8

// check returns what is wrong with the options, or "".
func (l *Legacy) check() string {
	if l == nil {
		return ""
	}
	if len(l.Peppers) > maxPeppers {
		return fmt.Sprintf("Options.Legacy has more than %d Peppers", maxPeppers)
	}
	for name, key := range l.Peppers {
		if name == "" || len(key) == 0 {
			return "a pepper of Options.Legacy has no name or no bytes"
		}
	}
	return ""
}

// clone returns a copy that the host cannot change.
func (l *Legacy) clone() *Legacy {
	if l == nil {
		return nil
	}
	c := &Legacy{Split: l.Split, Peppers: maps.Clone(l.Peppers)}
	for name, key := range c.Peppers {
		c.Peppers[name] = slices.Clone(key)
	}
	return c
}

// split is Split for a text that latchkey did not make.
func (l *Legacy) split(text string) (lookup, secret string, ok bool) {
	if l == nil || l.Split == nil {
		return "", "", false
	}
	lookup, secret, ok = l.Split(text)
	return lookup, secret, ok && len(lookup) >= 1 && len(lookup) <= maxLookup
}

// digests returns the digests under which a text that latchkey did not make may be stored.
func (l *Legacy) digests(text string) (all [][32]byte) {
	for _, key := range l.Peppers {
		mac := hmac.New(sha256.New, key)
		mac.Write(tokentext.Bytes(text)) // never fails
		all = append(all, [32]byte(mac.Sum(nil)))
	}
	return all
}

// KeptSecret is what another system kept of a secret, for [Account.ImportDigest]. Exactly one of SHA256, HMAC and Hash
// is set. SHA256 and HMAC are written as 64 hex digits, in base64 (of either alphabet, padded or not), or as the 32
// bytes themselves.
type KeptSecret struct {
	SHA256 string // SHA-256 of the whole text; the text must be as hard to guess as a key: 128 random bits or more
	HMAC   string // HMAC-SHA-256 of the whole text
	Pepper string // with HMAC: the name of its key in Legacy.Peppers
	// Hash is a slow hash of the secret part of the text: bcrypt ("$2b$…", also 2a and 2y) or argon2id
	// ("$argon2id$v=19$…"). Lookup is the text's lookup part, as [Legacy].Split returns it.
	Hash   string
	Lookup string
	Hint   string // what people may see of the text, at most 64 bytes; "": "…"
}

// record returns the record of a kept secret, without its times.
func (k *KeptSecret) record(l *Legacy, imported bool) (SecretRecord, error) {
	fail := func(format string, args ...any) (SecretRecord, error) {
		return SecretRecord{}, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	given := 0
	for _, s := range []string{k.SHA256, k.HMAC, k.Hash} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return fail("a KeptSecret has exactly one of SHA256, HMAC and Hash")
	}
	if (k.HMAC != "") != (k.Pepper != "") || (k.Hash != "") != (k.Lookup != "") {
		return fail("a KeptSecret has a Pepper with an HMAC, a Lookup with a Hash, and neither otherwise")
	}
	if err := checkText("Hint", k.Hint, 0, maxOrigin); err != nil {
		return SecretRecord{}, err
	}
	rec := SecretRecord{Hint: cmp.Or(k.Hint, tokentext.Hint(""))}
	if k.Hash != "" {
		if l == nil || l.Split == nil {
			return fail("no text with a lookup part would be recognised: set Options.Legacy.Split")
		}
		if err := checkText("Lookup", k.Lookup, 1, maxLookup); err != nil {
			return SecretRecord{}, err
		}
		h, err := slowhash.Parse(k.Hash)
		if err != nil {
			return SecretRecord{}, err
		}
		rec.Algorithm, rec.Lookup, rec.Hash = h.Algorithm, k.Lookup, []byte(k.Hash)
		rec.Digest = sha256.Sum256([]byte("latchkey lookup\x00" + k.Lookup)) // of no text that anybody can have
		return rec, nil
	}
	if !imported && (l == nil || l.Split == nil) {
		return fail("no text of another system would be recognised: set Options.Imported")
	}
	if k.HMAC != "" {
		if l == nil || l.Peppers[k.Pepper] == nil {
			return fail("there is no pepper %.40q in Options.Legacy", k.Pepper)
		}
	}
	digest, ok := parseDigest(k.SHA256 + k.HMAC)
	if !ok {
		return fail("a digest of SHA-256 is 64 hex digits, base64 of 32 bytes, or 32 bytes")
	}
	rec.Digest = digest
	return rec, nil
}

// parseDigest reads 32 bytes: in hex, in base64, or as they are.
func parseDigest(text string) (d [32]byte, ok bool) {
	var b []byte
	var err error
	switch len(text) {
	case hex.EncodedLen(len(d)):
		b, err = hex.DecodeString(text)
	case base64.StdEncoding.EncodedLen(len(d)), base64.RawStdEncoding.EncodedLen(len(d)):
		if len(text) == base64.StdEncoding.EncodedLen(len(d)) && text[len(text)-1] != '=' {
			return d, false
		}
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
		b, err = base64.RawStdEncoding.Strict().DecodeString(text)
	case len(d):
		if _, err := hex.DecodeString(text); err == nil {
			return d, false // 32 hex digits are another digest, such as MD5
		}
		b = []byte(text)
	}
	if err != nil || len(b) != len(d) {
		return d, false
	}
	d = [32]byte(b)
	return d, d != [32]byte{}
}
