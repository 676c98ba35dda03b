package usage

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	second = int64(1e6)
	hour   = 3600 * second
)

func TestStep(t *testing.T) {
	for idle, want := range map[int64]int64{0: 600 * second, second: second, 20 * second: second, 40 * second: 2 * second,
		hour: 180 * second} {
		require.Equal(t, want, Step(idle))
	}
}

// A use is written the first time, and then whenever it moves the last use by a step, either way.
func TestWhichUsesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		u := NewLastUsed(s, 0)
		now, last := 1000*hour, int64(0)
		for i, c := range []struct {
			by     int64
			first  bool
			writes bool
		}{
			{0, true, true}, {0, true, true}, {0, false, false}, {179 * second, false, false}, {second, false, true},
			{179 * second, false, false}, {-400 * second, false, true},
		} {
			now += c.by
			use := Use{Owner: "acme", Token: "tok", At: now, Digest: [32]byte{1}}
			written, writes := u.Used("acme", "tok", hour, now, c.first)
			if require.Equal(t, c.writes, writes, "%d", i); c.writes {
				last = now
				u.Write(use)
			}
			require.Equal(t, last, written, "%d", i)
			time.Sleep(useDelay)
			synctest.Wait()
			if c.writes {
				require.Equal(t, [][]Use{{use}}, s.takeUses(), "%d", i)
			} else {
				require.Empty(t, s.takeUses(), "%d", i)
			}
			require.False(t, u.IdledOut("acme", "tok", hour, now+hour-1))
			require.True(t, u.IdledOut("acme", "tok", hour, now+hour))
		}
		plain := Use{Owner: "acme", Token: "plain", At: now}
		u.Write(plain)
		require.NoError(t, u.Close(t.Context()))
		require.Equal(t, [][]Use{{plain}}, s.takeUses())
		u.Write(plain)
		time.Sleep(time.Hour)
		require.Empty(t, s.takeUses())
	})
}

func TestWhatTheStoreSaw(t *testing.T) {
	u := NewLastUsed(&sink{}, 0)
	require.True(t, u.IdledOut("acme", "tok", hour, 0), "a token that is not known")
	u.Saw("acme", "tok", 10*hour, 11*hour)
	require.False(t, u.IdledOut("acme", "tok", hour, 11*hour-1))
	require.True(t, u.IdledOut("acme", "tok", hour, 11*hour))
	u.Saw("acme", "tok", 9*hour, 11*hour) // older
	require.False(t, u.IdledOut("acme", "tok", hour, 11*hour-1))
	u.Saw("acme", "ahead", 99*hour, 11*hour) // noted by a clock that was wrong
	require.False(t, u.IdledOut("acme", "ahead", hour, 12*hour-1))
	u.Saw("acme", "ahead", 99*hour, 12*hour-1) // still the use of that moment
	require.True(t, u.IdledOut("acme", "ahead", hour, 12*hour))
}

func TestKnownUsesAreBounded(t *testing.T) {
	u := NewLastUsed(&sink{}, 0)
	u.room = 100
	u.closed = true
	u.waiting[3] = map[key]Use{{tokenKey{"acme", "0"}, [32]byte{7}}: {Owner: "acme", Token: "0"}}
	for i := range 1000 {
		u.Saw("acme", fmt.Sprint(i), hour, hour)
		require.LessOrEqual(t, len(u.known), 100)
		require.False(t, u.IdledOut("acme", fmt.Sprint(i), hour, hour))
	}
	require.Contains(t, u.known, tokenKey{"acme", "0"}, "what waits is known")
}

// What could not be written is kept and tried again; a later use is not overwritten by it.
func TestUsesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20 * paceStart
		s := &sink{}
		u := NewLastUsed(s, 0)
		s.failing(func() (before, after error) { return fault.ErrUnavailable, nil })
		for i := range n {
			u.Write(Use{Owner: "acme", Token: fmt.Sprintf("%03d", i), At: 1})
		}
		time.Sleep(useDelay)
		synctest.Wait()
		tries, _ := s.calls()
		require.Equal(t, maxFails, tries, "the rest would fare no better")
		u.Write(Use{Owner: "acme", Token: "000", At: 5})
		u.put(0, []Use{{Owner: "acme", Token: "000", At: 4}})
		s.failing(nil)
		time.Sleep(useRetry)
		synctest.Wait()
		uses := s.takeUses()
		all := map[string]int64{}
		for _, part := range uses {
			require.True(t, slices.IsSortedFunc(part, func(a, b Use) int { return strings.Compare(a.Token, b.Token) }),
				"in the order of stores")
			for _, use := range part {
				all[use.Token] = use.At
			}
		}
		require.Len(t, all, n)
		require.EqualValues(t, 5, all["000"])
		require.NoError(t, u.Close(t.Context()))
		require.Len(t, s.warnings, 1)
	})
}

func TestUsesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{groups: map[string]uint32{"other": 7}}
		u := NewLastUsed(s, 0)
		s.failing(func() (before, after error) { return fault.ErrUnavailable, nil })
		for i := range UseRoom + 3 {
			u.Write(Use{Owner: "acme", Token: fmt.Sprint(i), At: 1})
		}
		u.Write(Use{Owner: "other", Token: "x", At: 1})
		u.put(0, []Use{{Owner: "acme", Token: "more", At: 1}, {Owner: "acme", Token: "most", At: 1}})
		require.Len(t, u.waiting[0], UseRoom)
		require.Len(t, u.waiting[7], 1, "another group has room of its own")
		require.Equal(t, []string{"latchkey: too many last uses wait for the store; one is dropped",
			"latchkey: too many last uses wait for the store; one is dropped",
			"latchkey: too many last uses wait for the store; one is dropped",
			"latchkey: too many last uses wait for the store; 2 are dropped"}, s.warnings)
		s.failing(nil)
		require.NoError(t, u.Close(t.Context()))
	})
}

// Each secret of a token has uses of its own, with the address of the latest.
func TestUsesOfSecretsAreApart(t *testing.T) {
	s := &sink{}
	u := NewLastUsed(s, 0)
	first := Use{Owner: "acme", Token: "tok", At: 1, Digest: [32]byte{1}, From: netip.MustParseAddr("192.0.2.1")}
	second, again, theirs := first, first, first
	second.Digest, again.At, again.From, theirs.Owner = [32]byte{2}, 2, netip.Addr{}, "globex"
	for _, use := range []Use{first, second, again, theirs} {
		u.Write(use)
	}
	require.NoError(t, u.Close(t.Context()))
	require.Equal(t, [][]Use{{again, second, theirs}}, s.takeUses())
}
