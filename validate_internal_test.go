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

// What a meet merges is each value of one side once for each grant of the other.
func TestMergeWork(t *testing.T) {
	none := []grant{{}}
	one := []grant{{forced: Values{"a": "x"}}}
	two := []grant{{forced: Values{"a": "x"}}, {forced: Values{"b": "x", "c": "x"}}}
	free := []grant{{}, {}}
	for _, c := range []struct {
		a, b []grant
		want int
	}{
		{none, two, 0}, {two, none, 0}, {none, none, 0},
		{one, one, 2}, {one, two, 1*2 + 3*1}, {two, one, 3*1 + 1*2}, {two, two, 12}, {two, free, 6}, {free, two, 6},
		{free, free, 0}, {nil, two, 0}, {two, nil, 0},
	} {
		require.Equal(t, c.want, mergeWork(c.a, c.b), "%v, %v", c.a, c.b)
	}
	long := make([]byte, 64)
	require.Equal(t, 2, weight(Values{"": string(long)}))
	require.Equal(t, 1, weight(Values{"": string(long[1:])}))
	require.Equal(t, 2, weight(Values{"n": string(long[1:])}), "with its name")
	require.Equal(t, 2, weight(Values{"a": true, "b": int64(1)}))
}

// A report of an audit holds so many of anything at most, and says of how many more it does not tell.
func TestAuditReportsAreBounded(t *testing.T) {
	v := auditVerifier{}
	for i := range uint64(maxAuditFaults + 3) {
		v.fault(FaultMissing, i, i, "")
		v.key(uint32(i))
		v.key(uint32(i))
		addRange(&v.report.Unkeyed, 2*i)
	}
	r := v.report
	require.Len(t, r.Faults, maxAuditFaults)
	require.Equal(t, 3, r.MoreFaults)
	require.Len(t, r.Keys, maxAuditFaults)
	require.EqualValues(t, 1, r.Keys[1], "each once")
	require.Len(t, r.Unkeyed, maxAuditFaults)
	require.Equal(t, AuditRange{2*maxAuditFaults - 2, 2*maxAuditFaults + 4}, r.Unkeyed[maxAuditFaults-1])

	var joined []AuditRange
	for _, one := range []AuditRange{{1, 1}, {2, 4}, {6, 6}, {7, 7}, {9, 12}} {
		addRanges(&joined, one)
	}
	require.Equal(t, []AuditRange{{1, 4}, {6, 7}, {9, 12}}, joined)
}
