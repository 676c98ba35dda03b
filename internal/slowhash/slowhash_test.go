package slowhash

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Vectors of other programs: crypt_blowfish (wrapper.c), pyca/bcrypt, and the reference implementation of argon2.
func TestVectors(t *testing.T) {
	for _, c := range []struct{ hash, secret string }{
		{"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"},
		{"$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"},
		{"$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", "\xa3"},
		{"$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", "\xa3"},
		{"$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm", "Kk4DQuMMfZL9o"},
		{"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
		{"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"},
		{"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	} {
		h, err := Parse(c.hash)
		require.NoError(t, err, c.hash)
		require.True(t, h.Matches(c.secret), c.hash)
		require.False(t, h.Matches(c.secret+"x"), c.hash)
		require.False(t, h.Matches(""), c.hash)
	}
	require.False(t, Hash{}.Matches(""))
}

func TestWhatIsRefused(t *testing.T) {
	const salt, sum = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	argon := func(head string) string { return "$argon2id$" + head + "$" + salt + "$" + sum }
	bcrypt := "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for _, good := range []string{"$2a$04$" + bcrypt, "$2b$14$" + bcrypt, argon("v=19$m=65536,t=8,p=16"),
		argon("v=19$m=8,t=65536,p=1")} {
		_, err := Parse(good)
		require.NoError(t, err, good)
	}
	// Salts of 8 to 64 bytes and hashes of 16 to 64, each with one byte less and one more.
	base := base64.RawStdEncoding.EncodeToString
	for _, n := range []int{7, 8, 64, 65} {
		_, err := Parse("$argon2id$v=19$m=256,t=2,p=1$" + base(make([]byte, n)) + "$" + sum)
		require.Equal(t, n == 8 || n == 64, err == nil, "a salt of %d", n)
	}
	for _, n := range []int{15, 16, 64, 65} {
		_, err := Parse("$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + base(make([]byte, n)))
		require.Equal(t, n == 16 || n == 64, err == nil, "a hash of %d", n)
	}
	for _, bad := range []string{"$3a$05$" + bcrypt, "$2a$xx$" + bcrypt, "$2a$05." + bcrypt,
		argon("v=19$256,t=2,p=1"), argon("v=19$m=256,t=2,p=x"), argon("v=19$m=256,t=2,p=1") + "$",
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "=$" + sum, "$argon2id$v=19$m=256,t=2,p=1$" + salt[:10] + "R$" + sum,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt,
		"", "$", "$2", "$2a", "plain", "$1$abc$", "$2$05$" + bcrypt, "$2x$05$" + bcrypt,
		"$2a$03$" + bcrypt, "$2a$15$" + bcrypt, "$2a$31$" + bcrypt, "$2a$-5$" + bcrypt, "$2a$05$" + bcrypt + "a",
		"$2a$05$" + bcrypt[1:], "$2a$05$!" + bcrypt[1:], "$2a$05$" + bcrypt[:52] + "\x00", "$2aa05$" + bcrypt,
		argon("v=16$m=256,t=2,p=1"), argon("m=256,t=2,p=1"), argon("v=19$t=2,m=256,p=1"), argon("v=19$m=256,t=2"),
		argon("v=19$m=256,t=2,p=1,data=x"), argon("v=19$m=256,t=2,p=0"), argon("v=19$m=256,t=0,p=1"),
		argon("v=19$m=0256,t=2,p=1"), argon("v=19$m=+256,t=2,p=1"), argon("v=19$m=,t=2,p=1"), argon("v=19$m=7,t=2,p=1"),
		argon("v=19$m=65537,t=1,p=1"), argon("v=19$m=65536,t=9,p=1"), argon("v=19$m=65536,t=1,p=17"),
		argon("v=19$m=65536,t=4294967295,p=1"), argon("v=19$m=4294967296,t=1,p=1"), argon("v=19$m=256,t=2,p=1") + "=",
		"$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + sum, "$argon2id$v=19$m=256,t=2,p=1$$" + sum,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$",
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + strings.Repeat("A", 200)} {
		_, err := Parse(bad)
		require.ErrorIs(t, err, fault.ErrInvalid, bad)
	}
}

func allowed() error { return nil }

// One at a time of each key, and never more than the slots of all.
func TestFewAreComputedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard()
		g.slots = make(chan struct{}, 3)
		var running, most atomic.Int32
		var mu sync.Mutex
		ofKey := map[string]int{}
		leave := make(chan struct{})
		for i := range 40 {
			key := fmt.Sprint(i % 8)
			go func() {
				_, _ = g.Matches(t.Context(), key, [32]byte{byte(i)}, allowed, func() bool {
					mu.Lock()
					ofKey[key]++
					if ofKey[key] > 1 {
						t.Errorf("two at once of key %s", key)
					}
					mu.Unlock()
					most.Store(max(most.Load(), running.Add(1)))
					<-leave
					running.Add(-1)
					mu.Lock()
					ofKey[key]--
					mu.Unlock()
					return false
				})
			}()
		}
		for range 40 {
			synctest.Wait()
			require.LessOrEqual(t, running.Load(), int32(3))
			leave <- struct{}{}
		}
		synctest.Wait()
		require.EqualValues(t, 3, most.Load())
		require.Empty(t, g.keys)
		require.Zero(t, g.waiting)
	})
}

// A key has one turn for as long as anyone holds or awaits it: a caller that leaves does not open it to others.
func TestATurnLastsUntilTheLastLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard()
		g.slots = make(chan struct{}, 3)
		var running atomic.Int32
		leave := make(chan struct{})
		call := func(n byte) {
			_, _ = g.Matches(t.Context(), "key", [32]byte{n}, allowed, func() bool {
				running.Add(1)
				<-leave
				running.Add(-1)
				return false
			})
		}
		go call(1)
		go call(2)
		for n := range byte(5) { // one leaves, another one waits or computes, and a third comes
			synctest.Wait()
			require.EqualValues(t, 1, running.Load())
			leave <- struct{}{}
			go call(3 + n)
		}
		for range 2 {
			synctest.Wait()
			require.EqualValues(t, 1, running.Load())
			leave <- struct{}{}
		}
		synctest.Wait()
		require.Empty(t, g.keys)
	})
}

// Whoever waits, for a key or for a processor, waits no longer than its context.
func TestAContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard()
		g.slots = make(chan struct{}, 1)
		leave := make(chan struct{})
		go func() {
			_, _ = g.Matches(context.Background(), "one", [32]byte{1}, allowed, func() bool { <-leave; return true })
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, key := range []string{"one", "two"} {
			go func() {
				_, err := g.Matches(ctx, key, [32]byte{2}, allowed, func() bool { panic("computed") })
				ended <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, ended, "both wait")
		cancel()
		for range 2 {
			require.ErrorIs(t, <-ended, fault.ErrUnavailable)
		}
		close(leave)
		synctest.Wait()
		require.Empty(t, g.keys)
		refused := errors.New("refused")
		_, err := g.Matches(t.Context(), "one", [32]byte{3}, func() error { return refused },
			func() bool { panic("computed") })
		require.ErrorIs(t, err, refused)
	})
}

// A client that begins with many requests at once costs one hash. Another text is compared for itself.
func TestTheSameTextIsComparedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard()
		var computed, matched atomic.Int32
		begin := make(chan struct{})
		for i := range 60 {
			text := byte(i % 2)
			go func() {
				ok, err := g.Matches(t.Context(), "key", [32]byte{text}, allowed, func() bool {
					computed.Add(1)
					<-begin
					return text == 0
				})
				if err != nil {
					t.Error(err)
				}
				if ok != (text == 0) {
					t.Errorf("text %d: %v", text, ok)
				}
				if ok {
					matched.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(begin)
		synctest.Wait()
		require.EqualValues(t, 30, matched.Load())
		require.LessOrEqual(t, computed.Load(), int32(31))
	})
}

func TestNobodyWaitsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard()
		leave := make(chan struct{})
		var busy atomic.Int32
		call := func(key string, n byte) {
			_, err := g.Matches(context.Background(), key, [32]byte{n}, allowed, func() bool { <-leave; return false })
			if errors.Is(err, ErrBusy) {
				busy.Add(1)
			}
		}
		for i := range keyWaiting + 5 {
			go call("one", byte(i))
		}
		synctest.Wait()
		require.EqualValues(t, 5, busy.Load())
		for i := range allWaiting {
			go call(fmt.Sprint(i), byte(i))
		}
		synctest.Wait()
		require.EqualValues(t, 5+keyWaiting, busy.Load())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		close(leave)
		synctest.Wait()
		refused := errors.New("refused")
		_, err := g.Matches(ctx, "one", [32]byte{}, func() error { return refused }, func() bool { panic("computed") })
		require.True(t, errors.Is(err, refused) || errors.Is(err, fault.ErrUnavailable))
		require.Zero(t, g.waiting)
	})
}
