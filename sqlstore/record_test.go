package sqlstore

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimesRoundTrip(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0).UTC(),
		time.Date(1969, 7, 20, 20, 17, 40, 123456000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
	} {
		us, ok := micros(at).(int64)
		require.Equal(t, at, fromMicros(sql.NullInt64{Int64: us, Valid: ok}))
		require.Equal(t, at.IsZero(), !ok)
	}
	for _, ns := range []int64{-1001, -1000, -1, 0, 1, 999, 1000, 1001} {
		bound := time.Unix(0, ns)
		for us := int64(-3); us < 3; us++ {
			require.Equal(t, time.UnixMicro(us).Before(bound), us < ceilMicros(bound), "%d µs before %d ns", us, ns)
		}
	}
}
