package judges

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/internal/base62"
	"github.com/latchkey-go/latchkey/memstore"
)

// difference measures whether two calls take different times, by Welch's t of samples in random order. A sample is the
// time of several calls, so that the clock is fine enough. The slowest tenth of both together is left out: that is
// where something else ran. Each sample has a call of its own. All are made before the first is timed, so that nothing
// of how they are made is left in the processor.
func difference(samples, calls int, near, far func() func()) float64 {
	type sample struct {
		class float64
		call  func()
	}
	all := make([]sample, samples*2)
	for i := range all {
		if rand.IntN(2) == 0 {
			all[i] = sample{0, near()}
		} else {
			all[i] = sample{1, far()}
		}
	}
	times := make([][2]float64, 0, len(all))
	for _, s := range all {
		began := time.Now()
		for range calls {
			s.call()
		}
		times = append(times, [2]float64{s.class, float64(time.Since(began))})
	}
	slices.SortFunc(times, func(a, b [2]float64) int { return int(a[1] - b[1]) })
	var n, sum, squares [2]float64
	for _, s := range times[:len(times)*9/10] {
		class := int(s[0])
		n[class]++
		sum[class] += s[1]
		squares[class] += s[1] * s[1]
	}
	mean := func(c int) float64 { return sum[c] / n[c] }
	spread := func(c int) float64 { return (squares[c]/n[c] - mean(c)*mean(c)) / n[c] }
	return (mean(0) - mean(1)) / math.Sqrt(spread(0)+spread(1)+1e-12)
}

// threshold is that of the literature for Welch's t: a t beyond it has a probability below 1 in 100,000 by chance.
const threshold = 4.5

// sameTime checks that near and far take the same time. Each attempt measures both, and beside them a comparison that
// ends at the first byte that differs. It says nothing unless that is seen.
//
// No chance fails it: of at most 40 attempts, those that see the planted difference count, and five of them in a row
// must see a difference between near and far, each with less than 1 in 100,000. A true leak is seen in each.
func sameTime(t *testing.T, near, far func() func()) {
	t.Helper()
	secret := strings.Repeat("0123456789abcdef", 4)
	almost, other := []byte(secret[:63]+"x"), []byte("x"+secret[1:])
	planted := func(given []byte) func() func() {
		compare := func() {
			for i := range given {
				if given[i] != secret[i] {
					sink++
					return
				}
			}
		}
		return func() func() { return compare }
	}
	samples := harness.Rounds(10000, 100000)
	var seen []string
	for attempt := range 40 {
		control := difference(samples, 50, planted(almost), planted(other))
		if math.Abs(control) < threshold {
			continue // too much else is going on
		}
		got := difference(samples, 4, near, far)
		seen = append(seen, fmt.Sprintf("%.1f (planted %.1f)", got, control))
		if math.Abs(got) < threshold {
			t.Logf("%s: t = %.1f of %d samples in attempt %d, and %.1f for the planted difference",
				strings.ReplaceAll(path.Base(t.Name()), "_", " "), got, samples, attempt+1, control)
			return
		}
		if len(seen) == 5 {
			t.Fatalf("the times differ, t = %v", seen)
		}
	}
	require.NotEmpty(t, seen, "the planted difference was never seen, so nothing was shown")
}

var sink int

// TestTimeTellsNothing: how long a refusal takes does not tell how much of a secret was right.
func TestTimeTellsNothing(t *testing.T) {
	ctx := context.Background()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	for name, options := range map[string]latchkey.Options{"with a keyring": {Keyring: ring}, "without": {}} {
		keys, others := latchkey.New(memstore.New(nil), &options), latchkey.New(memstore.New(nil), &options)
		issued := func(by *latchkey.Manager) (texts []string) {
			for range 100 {
				_, secret, err := by.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				texts = append(texts, secret.Reveal())
			}
			return texts
		}
		ours, foreign := issued(keys), issued(others)
		for _, text := range ours {
			_, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
			require.NoError(t, err)
		}
		// Where a table looks for a text depends on its hash, so any two texts may differ in time for good, which tells
		// nothing of a secret: each sample has another one. A processor learns what it sees often, so it is faster with
		// texts that begin alike: those of both kinds begin as one of a hundred.
		verify := func(texts []string) func() func() {
			return func() func() {
				text := alike(t, texts[rand.IntN(len(texts))])
				return func() {
					if _, err := keys.Verify(ctx, latchkey.Presented{Secret: text}); err == nil {
						panic("accepted")
					}
				}
			}
		}
		// Near differs from a token in its last places, far from a text that is no token.
		t.Run("a token, "+name, func(t *testing.T) { sameTime(t, verify(ours), verify(foreign)) })
		require.NoError(t, keys.Close(ctx))
		require.NoError(t, others.Close(ctx))
	}
}

// alike returns a text with a good checksum that differs from another in the last six places before its own.
func alike(t *testing.T, text string) string {
	t.Helper()
	body := []byte(text[:len(text)-6])
	n := len(body) - 6
	for i := n; i < len(body); i++ {
		body[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rand.IntN(62)]
	}
	if body[n] == text[n] {
		body[n] = map[bool]byte{true: 'b', false: 'a'}[text[n] == 'a']
	}
	out := string(base62.AppendUint32(body, crc32.ChecksumIEEE(body)))
	require.True(t, latchkey.CheckText(out), "it is refused by its checksum, without a look-up")
	require.NotEqual(t, text, out)
	return out
}
