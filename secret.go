package latchkey

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/latchkey-go/latchkey/internal/tokentext"
)

const redacted = "[redacted]"

// Secret is a text that was just made or revealed. It holds a func, so that printing, logging, encoding and test diffs
// show "[redacted]" and never the text. The zero Secret is an empty text. A Secret is safe for concurrent use.
type Secret struct{ f func() string }

func newSecret(text string) Secret { return Secret{func() string { return text }} }

// Reveal returns the text. The zero Secret reveals "".
func (s Secret) Reveal() string {
	if s.f == nil {
		return ""
	}
	return s.f()
}

// String returns "[redacted]", as every other way to print or encode a Secret does.
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// CheckText reports whether a text has the form of the texts that latchkey makes, with the right checksum. It needs no
// store, and works offline: in a scanner of files, or in a client that checks what a person typed. It says nothing
// about whether there is such a token, because anybody can compute the checksum. It is true for every text that Issue,
// Mint and Rotate return, whatever Options.Prefix is and was, and for those of SigningSecret.
func CheckText(text string) bool {
	_, shape := tokentext.Read(text)
	return shape == tokentext.Native || shape == tokentext.Sealed
}

// SecretPattern returns a regular expression that finds the texts of tokens in files and logs, for a secret scanner.
// Its syntax is understood alike by RE2 (package regexp) and by PCRE. The first group is the kind: "sk" or "Tsk" for a
// secret key, "pk" or "Tpk" for a publishable one, "ak", "at" or "ss". The texts of publishable keys are public: leave
// "pk" and "Tpk" alone. Those of stateless tokens are "at" too, and longer.
//
// A prefix is an Options.Prefix: only texts with that one are found then. "" finds the texts of every organisation,
// with a prefix or none. A text is found where no letter, digit or "_" stands just before or behind it, and for a
// stateless token no "-" behind it. To drop what
// only looks like one, pass the match to [CheckText]. SecretPattern panics on a prefix that New panics on.
func SecretPattern(prefix string) string {
	mark := "(?:[a-z0-9]{1,8}_)?"
	if prefix != "" {
		if !tokentext.ValidMark(prefix) {
			panic("latchkey: SecretPattern: a prefix is 1 to 8 characters of a-z and 0-9, or empty")
		}
		mark = prefix + "_"
	}
	return `\b(T?[sp]k|ak|at|ss)_` + mark + `(?:S[0-9A-Za-z_-]{60,}[0-9A-Za-z]|[0-9A-Za-z]{40})\b`
}

// textPrefix returns the prefix of the text of a token of that kind (see package tokentext), or "" if there is no such
// kind. Argument test matters for KindSecret and KindPublishable only.
func textPrefix(kind Kind, test bool) string {
	switch kind {
	case KindSecret:
		if test {
			return tokentext.TestSecret
		}
		return tokentext.Secret
	case KindPublishable:
		if test {
			return tokentext.TestPublishable
		}
		return tokentext.Publishable
	case KindAPIKey:
		return tokentext.APIKey
	case KindAccess:
		return tokentext.Access
	case KindSession:
		return tokentext.Session
	}
	return ""
}

// kindOfText returns the kind that a text names, and false for a text that is not of native shape. It does not
// allocate.
func kindOfText(text string) (kind Kind, ok bool) {
	prefix, _ := tokentext.Read(text) // "" for one of another shape
	switch prefix {
	case tokentext.Secret, tokentext.TestSecret:
		return KindSecret, true
	case tokentext.Publishable, tokentext.TestPublishable:
		return KindPublishable, true
	case tokentext.APIKey:
		return KindAPIKey, true
	case tokentext.Access:
		return KindAccess, true
	case tokentext.Session:
		return KindSession, true
	}
	return 0, false
}
