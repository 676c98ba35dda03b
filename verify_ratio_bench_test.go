package latchkey_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/readonly"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/memstore"
)

// The benchmarks of this file compare work with other work in turns, in rounds of a fraction of a millisecond, and
// report medians of ratios.

// inTurns returns the medians of what each piece of work takes, in ns, and of its ratio to the last one.
func inTurns(rounds, calls int, work ...func(i int)) (ns, ratios []float64) {
	took := make([][]float64, len(work))
	for round := range rounds {
		for w, f := range work {
			start := time.Now()
			for i := range calls {
				f(round*calls + i)
			}
			took[w] = append(took[w], float64(time.Since(start).Nanoseconds())/float64(calls))
		}
	}
	median := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
	for w := range work {
		each := make([]float64, rounds)
		for round := range rounds {
			each[round] = took[w][round] / took[len(work)-1][round]
		}
		ratios = append(ratios, median(each))
	}
	for w := range work {
		ns = append(ns, median(took[w]))
	}
	return ns, ratios
}

// cachedTokens issues n keys over a store, verifies each once, and returns their texts in random order, one after the
// other in memory.
func cachedTokens(b *testing.B, m *latchkey.Manager, n int, edit func(i int, s *latchkey.Spec)) []string {
	b.Helper()
	ctx := context.Background()
	acme := m.For("acme")
	texts := make([]string, n)
	for i := range texts {
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
		edit(i, &spec)
		_, s, err := acme.Issue(ctx, spec)
		require.NoError(b, err)
		texts[i] = s.Reveal()
		_, err = m.Verify(ctx, latchkey.Presented{Secret: texts[i]})
		require.NoError(b, err)
	}
	rand.Shuffle(n, func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	all := strings.Join(texts, "")
	for i, at := 0, 0; i < n; i++ {
		texts[i], at = all[at:at+len(texts[i])], at+len(texts[i])
	}
	return texts
}

// BenchmarkVerifyBesideAMap compares a cached Verify with a hand-written map of SHA-256 behind a RWMutex, with one look
// at the clock, and with the least that can be: one SHA-256, and one cache miss that depends on it.
func BenchmarkVerifyBesideAMap(b *testing.B) {
	ctx := context.Background()
	for _, stale := range []time.Duration{0, time.Second} {
		for _, n := range []int{1000, 100_000, 1_000_000} {
			if n == 1_000_000 && testing.Short() {
				continue
			}
			b.Run(fmt.Sprintf("MaxStale=%v/tokens=%d", stale, n), func(b *testing.B) {
				m := latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: stale})
				texts := cachedTokens(b, m, n, func(int, *latchkey.Spec) {})
				type held struct {
					id  [16]byte
					end time.Time
				}
				var mu sync.RWMutex
				byHand := make(map[[32]byte]*held, n)
				lines := make([][64]byte, 1<<20)
				for _, text := range texts {
					byHand[sha256.Sum256([]byte(text))] = &held{[16]byte{1}, time.Now().Add(time.Hour)}
				}
				verify := func(i int) {
					if _, err := m.Verify(ctx, latchkey.Presented{Secret: texts[i%n]}); err != nil {
						b.Fatal(err)
					}
				}
				hand := func(i int) {
					sum := tokentext.Digest(texts[i%n])
					mu.RLock()
					h := byHand[sum]
					mu.RUnlock()
					if h == nil || !time.Now().Before(h.end) {
						b.Fatal("by hand")
					}
				}
				least := func(i int) {
					sum := tokentext.Digest(texts[i%n])
					at := binary.LittleEndian.Uint64(sum[:]) % uint64(n) % uint64(len(lines))
					if lines[at][0] != 0 {
						b.Fatal("least")
					}
				}
				for b.Loop() {
					ns, ratios := inTurns(1500, 200, verify, hand, least)
					b.ReportMetric(ns[0], "ns/Verify")
					b.ReportMetric(ratios[1]/ratios[0], "×faster-than-map")
					b.ReportMetric(ratios[0], "×least")
				}
			})
		}
	}
}

// BenchmarkVerifyIdle compares a cached Verify of tokens that idle out with one of tokens that do not.
func BenchmarkVerifyIdle(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			var work []func(int)
			for _, idle := range []time.Duration{time.Hour, 0} {
				m := latchkey.New(memstore.New(nil), nil)
				texts := cachedTokens(b, m, n, func(_ int, s *latchkey.Spec) { s.Validity.Idle = idle })
				work = append(work, func(i int) {
					if _, err := m.Verify(ctx, latchkey.Presented{Secret: texts[i%n]}); err != nil {
						b.Fatal(err)
					}
				})
			}
			for b.Loop() {
				ns, ratios := inTurns(1500, 200, work...)
				b.ReportMetric(ns[0], "ns/Verify")
				b.ReportMetric(ratios[0], "×plain")
			}
		})
	}
}

// BenchmarkFirstVerify says what a Verify takes beyond the store's look-up, of a token whose rights are known and that
// is not cached: with 10,000 rules in a role, and of its own.
func BenchmarkFirstVerify(b *testing.B) {
	ctx := context.Background()
	rules := make(latchkey.Permissions, 10_000)
	for i := range rules {
		rules[i] = latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("dataset", fmt.Sprint(i))))
	}
	for _, where := range []string{"role", "own"} {
		b.Run("10000 rules/"+where, func(b *testing.B) {
			store := memstore.New(nil)
			m := latchkey.New(store, nil)
			role, err := m.For("acme").CreateRole(ctx, latchkey.Role{Name: "large", Permissions: rules})
			require.NoError(b, err)
			texts := cachedTokens(b, m, 10, func(_ int, s *latchkey.Spec) {
				if where == "role" {
					s.Roles = []string{role.ID}
				} else {
					s.Permissions = rules
				}
			})
			sums := make([][32]byte, len(texts))
			for i, text := range texts {
				sums[i] = tokentext.Digest(text)
			}
			for b.Loop() {
				ns, _ := inTurns(200, 40, func(i int) {
					m.Forget("acme", &sums[i%len(texts)])
					if _, err := m.Verify(ctx, latchkey.Presented{Secret: texts[i%len(texts)]}); err != nil {
						b.Fatal(err)
					}
				}, func(i int) {
					m.Forget("acme", &sums[i%len(texts)])
					if _, err := store.ByDigest(readonly.Context(ctx), latchkey.NoSlot, sums[i%len(texts)]); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(ns[0]-ns[1], "ns/beyond-ByDigest")
				b.ReportMetric(ns[1], "ns/ByDigest")
			}
			require.NoError(b, m.Close(ctx))
		})
	}
}

// BenchmarkEditedRole says what a change of a role costs that 100,000 cached tokens have, until all are fresh.
func BenchmarkEditedRole(b *testing.B) {
	ctx := context.Background()
	for _, grants := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", grants), func(b *testing.B) {
			rules := make(latchkey.Permissions, grants)
			for i := range rules {
				rules[i] = latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("dataset", fmt.Sprint(i))))
			}
			m := latchkey.New(memstore.New(nil), nil)
			role, err := m.For("acme").CreateRole(ctx, latchkey.Role{Name: "edited", Permissions: rules})
			require.NoError(b, err)
			texts := cachedTokens(b, m, 100_000, func(_ int, s *latchkey.Spec) { s.Roles = []string{role.ID} })
			for b.Loop() {
				b.StopTimer()
				_, err := m.For("acme").UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
					r.Permissions = append(r.Permissions[:grants:grants], latchkey.Allow(latchkey.Update).On("dataset/*"))
					return nil
				})
				require.NoError(b, err)
				b.StartTimer()
				for _, text := range texts {
					if _, err := m.Verify(ctx, latchkey.Presented{Secret: text}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(texts)), "ns/token")
			require.NoError(b, m.Close(ctx))
		})
	}
}
