package latchkey

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/usage"
)

// Names that differ only beyond the bound are one from the start: they do not fill the memory of what waits.
func TestLongNamesOfUsageAreOneWhileTheyWait(t *testing.T) {
	meter, endpoint := strings.Repeat("m", usage.MaxMeter), strings.Repeat("e", usage.MaxEndpoint)
	var k usage.Key
	a := Access{who: &principal{lineage: &lineage{owner: "acme"}}}
	a.countKey(&k, meter+"1", endpoint+"2")
	require.Equal(t, usage.Key{Owner: "acme", Meter: meter, Endpoint: endpoint}, k)
}
