package latchkey

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A token that was used may have been used since, by as much as need not be written, and never after it idled out.
func TestLatestUseOfWhatIsStored(t *testing.T) {
	const now = int64(1_900_000_000_000_000)
	ago := func(d time.Duration) time.Time { return fromMicros(now).Add(-d) }
	for _, c := range []struct {
		used time.Time
		idle time.Duration
		want time.Time
	}{
		{time.Time{}, 0, time.Time{}},
		{time.Time{}, time.Hour, time.Time{}},
		{ago(0), 0, ago(0)},
		{ago(time.Minute), 0, ago(0)},
		{ago(24 * time.Hour), 0, ago(24*time.Hour - 10*time.Minute)},
		{ago(30 * time.Minute), time.Hour, ago(27 * time.Minute)},
		{ago(time.Minute), time.Hour, ago(0)},
		{ago(2 * time.Hour), time.Hour, ago(2 * time.Hour)},
	} {
		got := latestUse(&Token{Used: c.used, Settings: Settings{Validity: Validity{Idle: c.idle}}}, now)
		require.True(t, c.want.Equal(got), "%+v: %v", c, got)
	}
}

// An address that is not known stays so, however much of it is kept.
func TestDetailOfNoAddress(t *testing.T) {
	for d := range AddressDetail(5) {
		require.Equal(t, netip.Addr{}, d.of(netip.Addr{}), d)
	}
}
