package latchkey

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimesThatRecordsKeep(t *testing.T) {
	in := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	for at, good := range map[time.Time]bool{
		{}:                true,
		in(1970):          true,
		in(1970).Add(-1):  false,
		in(10000).Add(-1): true,
		in(10000):         false,
		in(1970).In(time.FixedZone("behind", -3600)): true, // still 1969 there
	} {
		kept := at
		err := checkTime(&kept)
		require.Equal(t, good, err == nil, "%v", at)
		if !good {
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, at, kept)
		} else if !at.IsZero() {
			require.Equal(t, at.UTC().Truncate(time.Microsecond), kept)
		}
	}
}

func TestRatesThatRecordsKeep(t *testing.T) {
	const most = 366 * 24 * time.Hour
	for r, good := range map[Rate]bool{
		{}:                                          true,
		{Count: 1, Per: time.Second}:                true,
		{Count: 0, Per: time.Second}:                false,
		{Count: -1, Per: time.Second}:               false,
		{Count: 1}:                                  false,
		{Count: 1, Per: -1}:                         false,
		{Count: 1, Per: time.Second, Burst: -1}:     false,
		{Burst: 1}:                                  false,
		{Count: 1, Per: most}:                       true,
		{Count: 1, Per: most + 1}:                   false,
		{Count: 1000, Per: time.Microsecond}:        true,
		{Count: 1001, Per: time.Microsecond}:        false,
		{Count: 1, Per: time.Microsecond}:           true,
		{Count: 1, Per: time.Microsecond - 1}:       false,
		{Count: 1, Per: 24 * time.Hour, Burst: 365}: true,
		{Count: 1, Per: 24 * time.Hour, Burst: 366}: false,
	} {
		err := r.checkNew()
		require.Equal(t, good, err == nil, "%+v: %v", r, err)
		if !good {
			require.ErrorIs(t, err, ErrInvalid, "%+v", r)
		}
	}
}
