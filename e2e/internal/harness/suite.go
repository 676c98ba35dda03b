package harness

import (
	"os"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/storetest"
)

// Parts divides the cases of storetest among n, as they are drawn for that name. With LONG=1 each of them gets all.
func Parts(name string, n int) [][]storetest.Case {
	all, parts := storetest.Cases(), make([][]storetest.Case, n)
	share := Drawn(name).Perm(len(all))
	for i, c := range all {
		for part := range parts {
			if share[i]%n == part || os.Getenv("LONG") != "" {
				parts[part] = append(parts[part], c)
			}
		}
	}
	return parts
}

// RunCases is storetest.Run for some of its cases.
func RunCases(t *testing.T, cases []storetest.Case, open func(t *testing.T) latchkey.Store) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("the rule: %s", c.Explanation)
				}
			}()
			c.Run(t, func() latchkey.Store { return open(t) })
		})
	}
}
