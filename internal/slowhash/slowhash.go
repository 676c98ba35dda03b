// Package slowhash compares secrets with hashes that other systems kept and that are slow on purpose: bcrypt and
// argon2id. It bounds what that costs: the parameters of a hash, how many are computed at once, and how many callers
// wait.
package slowhash

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// The algorithms.
const (
	Bcrypt   = "bcrypt"
	Argon2id = "argon2id"
)

// What a hash may cost. Memory is in KiB. MaxWork bounds memory times passes.
const (
	MinCost, MaxCost = 4, 14
	MaxMemory        = 64 << 10
	MaxWork          = 8 * MaxMemory
	maxThreads       = 16
)

// Hash is a hash that was parsed.
type Hash struct {
	Algorithm string
	text      string // bcrypt
	salt, sum []byte // argon2id
	memory    uint32
	passes    uint32
	threads   uint8
}

// Parse reads a hash as other systems write it: "$2b$10$…" of bcrypt, or "$argon2id$v=19$m=…,t=…,p=…$salt$hash". It
// returns an error that wraps fault.ErrInvalid for anything else, and for one that costs too much.
func Parse(text string) (Hash, error) {
	if rest, ok := strings.CutPrefix(text, "$argon2id$"); ok {
		return parseArgon2id(rest)
	}
	if strings.HasPrefix(text, "$2") {
		return parseBcrypt(text)
	}
	return Hash{}, invalid(`a hash begins with "$2a$", "$2b$" or "$2y$" (bcrypt), or with "$argon2id$"`)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{fault.ErrInvalid}, args...)...)
}

const bcryptDigits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func parseBcrypt(text string) (Hash, error) {
	// "$2x$" marks hashes by a faulty program, which others do not reproduce.
	if len(text) != 60 || !strings.Contains("aby", text[2:3]) || text[3] != '$' || text[6] != '$' ||
		strings.Trim(text[7:], bcryptDigits) != "" {
		return Hash{}, invalid(`a bcrypt hash is "$2a$", "$2b$" or "$2y$", two digits, "$" and 53 characters`)
	}
	cost, err := strconv.ParseUint(text[4:6], 10, 8)
	if err != nil || cost < MinCost || cost > MaxCost {
		return Hash{}, invalid("a bcrypt hash has a cost of %d to %d: one of more would hold up others", MinCost, MaxCost)
	}
	return Hash{Algorithm: Bcrypt, text: text}, nil
}

func parseArgon2id(text string) (Hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 4 || parts[0] != "v=19" {
		return Hash{}, invalid(`an argon2id hash is "$argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>"`)
	}
	h := Hash{Algorithm: Argon2id}
	var numbers [3]uint64
	fields := strings.Split(parts[1], ",")
	for i, name := range []string{"m=", "t=", "p="} {
		if len(fields) != len(numbers) {
			return Hash{}, invalid("an argon2id hash has the parameters m, t and p, and no others")
		}
		digits, ok := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n == 0 || digits[0] == '0' {
			return Hash{}, invalid("an argon2id hash has the parameters m, t and p, each a positive number")
		}
		numbers[i] = n
	}
	m, t, p := numbers[0], numbers[1], numbers[2]
	if p > maxThreads || m < 8*p || m > MaxMemory || m*t > MaxWork {
		return Hash{}, invalid("an argon2id hash has p up to %d, m from 8·p to %d (KiB), and m·t up to %d: "+
			"one of more would hold up others", maxThreads, MaxMemory, MaxWork)
	}
	h.memory, h.passes, h.threads = uint32(m), uint32(t), uint8(p)
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[2])
	h.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[3])
	if err != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return Hash{}, invalid("an argon2id hash has a salt of 8 to 64 bytes and a hash of 16 to 64, " +
			"in base64 without padding")
	}
	return h, nil
}

// Matches reports whether h is the hash of a secret. It is slow. As in other programs, bcrypt compares the first 72
// bytes only.
func (h Hash) Matches(secret string) bool {
	switch h.Algorithm {
	case Bcrypt:
		return bcrypt.CompareHashAndPassword([]byte(h.text), []byte(secret)) == nil
	case Argon2id:
		sum := argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
		return subtle.ConstantTimeCompare(sum, h.sum) == 1
	}
	return false
}
