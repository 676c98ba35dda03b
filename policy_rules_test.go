package latchkey

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeepResources(t *testing.T) {
	deep, deeper := Resource("a"), Resource("a")
	for i := range 200 {
		if i < 100 {
			deep += "/a"
		}
		deeper += "/a"
	}
	p := newPolicy([]layer{{rules: Permissions{Allow(Read).On(Under(deep)), Allow(Use).On(Exactly(deep))}}}, nil)
	require.Equal(t, verdictAll, p.verdict(Read, deeper))
	require.Equal(t, verdictNone, p.verdict(Read, deep))
	require.Equal(t, verdictAll, p.verdict(Use, deep))
	require.Equal(t, verdictNone, p.verdict(Use, deeper))
}

func BenchmarkNewRuleset(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var rules Permissions
		for i := range n {
			rules = append(rules, Grant(Read).On(Exactly(Path("dataset", fmt.Sprint(i)))))
		}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newRuleset(rules)
			}
		})
	}
}
