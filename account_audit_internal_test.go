package latchkey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
