package latchkey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/slowhash"
)

// hashedStore has one token, whose secret is kept as another system's slow hash.
type hashedStore struct {
	parentStore
}

func (s *hashedStore) ByLookup(context.Context, string) (Found, error) { return s.found, nil }

// While more callers than may wait ask for one slow hash, the next is told to come again in a second. What was found
// says which token it is.
func TestTooManyWaitForOneSlowHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hash := "$2b$04$" + "abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde"
		store := &hashedStore{parentStore{found: Found{Token: Token{ID: "t", Owner: "acme"},
			Secret: SecretRecord{Algorithm: slowhash.Bcrypt, Hash: []byte(hash), Lookup: "42"}}}}
		m := New(store, &Options{Legacy: &Legacy{Split: func(text string) (string, string, bool) { return "42", text, true }},
			Imported: func(string) bool { return true }})
		leave := make(chan struct{})
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				_, _ = m.slow.Matches(t.Context(), "42\x00"+hash, [32]byte{byte(i + 1)}, func() error { return nil },
					func() bool { <-leave; return false })
			})
		}
		synctest.Wait()
		f, err := m.byLookup(t.Context(), "wrong", [32]byte{99})
		require.Equal(t, "t", f.Token.ID)
		var limit *RateLimitError
		require.True(t, errors.As(err, &limit), fmt.Sprint(err))
		require.Equal(t, time.Second, limit.RetryAfter())
		close(leave)
		all.Wait()
		_, err = m.byLookup(t.Context(), "wrong", [32]byte{99})
		require.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, m.Close(t.Context()))
	})
}

// The lookup part of another system's text has 1 to 256 bytes. A text with another one is not of that system.
func TestLookupParts(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, maxLookup: true, maxLookup + 1: false} {
		lookup := strings.Repeat("l", n)
		for _, split := range []bool{false, true} {
			l := &Legacy{Split: func(string) (string, string, bool) { return lookup, "secret", split }}
			got, secret, is := l.split("text")
			require.Equal(t, ok && split, is, n)
			if is {
				require.Equal(t, []string{lookup, "secret"}, []string{got, secret})
			}
		}
	}
}
