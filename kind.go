package latchkey

import "fmt"

var kindNames = [...]string{
	KindSecret:      "secret",
	KindPublishable: "publishable",
	KindAPIKey:      "api_key",
	KindAccess:      "access",
	KindSession:     "session",
}

// Valid says whether k is one of the five kinds.
func (k Kind) Valid() bool { return k >= KindSecret && k <= KindSession }

// String returns the kind's name as JSON and databases hold it: "secret", "publishable", "api_key", "access" or
// "session". Any other value is shown as a number.
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// MarshalText is String for a valid kind, and ErrInvalid for any other: a kind that nobody could read back is never
// written.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("%w: no such kind: %d", ErrInvalid, uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText accepts exactly the five names. Other text is ErrInvalid and leaves k as it was.
func (k *Kind) UnmarshalText(text []byte) error {
	for i := KindSecret; i <= KindSession; i++ {
		if kindNames[i] == string(text) {
			*k = i
			return nil
		}
	}
	return fmt.Errorf("%w: no such kind: %q", ErrInvalid, text)
}
