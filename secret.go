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
	prefix, shape := tokentext.Read(text)
	if shape != tokentext.Native {
		return 0, false
	}
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
