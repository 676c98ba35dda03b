package latchkey

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// spending is what was spent of each meter in each of some minutes, oldest first.
type spending [][2]Credits

// keeps reports whether a spending keeps to a quota. Minutes are days of two, and the two meters are "a" and "b".
func (s spending) keeps(q Quota) bool {
	length := map[Period]int{Minute: 1, Day: 2, Forever: 1 << 20}[q.Per]
	for i, meter := range []string{"a", "b"} {
		if q.Meter != "" && q.Meter != meter {
			continue
		}
		before := q.Amount // of the period before the first nothing is carried
		for from := 0; from < len(s); from += length {
			var spent Credits
			for _, m := range s[from:min(from+length, len(s))] {
				spent += m[i]
			}
			if spent > q.Amount+min(q.Carry, max(q.Amount-before, 0)) {
				return false
			}
			before = spent
		}
	}
	return true
}

// Whoever keeps to a quota that lies within another keeps to that one, whatever is spent when.
func TestQuotasWithin(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func() Quota {
		q := Quota{Meter: []string{"", "a", "b"}[random.IntN(3)], Amount: Credits(random.IntN(4)),
			Per: []Period{Minute, Day, Forever}[random.IntN(3)]}
		if q.Per != Forever {
			q.Carry = Credits(random.IntN(4))
		}
		return q
	}
	var spendings []spending
	for range 3000 {
		s := make(spending, 6)
		for i := range s {
			for meter := range s[i] {
				s[i][meter] = Credits(random.IntN(6) * random.IntN(2))
			}
		}
		spendings = append(spendings, s)
	}
	within, tight := 0, 0
	for range 4000 {
		q, up := some(), some()
		require.NoError(t, q.check())
		require.True(t, q.within(&q), "%+v", q)
		if !q.within(&up) {
			continue
		}
		within++
		for _, s := range spendings {
			if s.keeps(q) {
				tight++
				require.True(t, s.keeps(up), "%+v within %+v: %v", q, up, s)
			}
		}
	}
	require.Greater(t, within, 400)
	require.Greater(t, tight, 1000)
}
