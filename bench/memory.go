package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

// benchGrowing measures the slowest Verify while a table grows to a million tokens, each of which is verified for the
// first time. The collector runs as it does in a service. What the machine adds by itself is seen beside it: the
// longest step of a loop that makes digests for as long, and allocates nothing.
func benchGrowing(b *bench) error {
	n := min(1_000_000, b.tokens)
	t := newTexts(n, 4)
	var slowest, share, pauses, pausesShare measure.Series
	took := make([]time.Duration, n)
	for range min(b.rounds, 3) {
		keys, _, err := vouch(b.ctx, withinASecond, plainKey(b.ctx), nil)
		if err != nil {
			return err
		}
		b.say("growing to %d", n)
		runtime.GC()
		all := time.Now()
		for i, at := range shuffled(n) {
			began := time.Now()
			if _, err := keys.Verify(b.ctx, latchkey.Presented{Secret: t.at(at)}); err != nil {
				return err
			}
			took[i] = time.Since(began)
		}
		lasted := time.Since(all)
		worst, over := slowestOf(took)
		slowest, share = append(slowest, worst), append(share, over)
		worst, over = slowestOf(steps(lasted))
		pauses, pausesShare = append(pauses, worst), append(pausesShare, over)
		if err := keys.Close(b.ctx); err != nil {
			return err
		}
	}
	b.time(fmt.Sprintf("The slowest Verify while the table grows to %s tokens", number(float64(n))), slowest, atMost(2e6))
	b.time("The limit of that, the longest step of a loop of SHA-256 that lasts as long", pauses, goal{})
	b.note("Of the %s first Verifies %s took longer than 2 ms, and of the steps of the loop %s: medians of %d times.",
		number(float64(n)), number(share.Median()), number(pausesShare.Median()), len(share))
	return nil
}

// slowestOf returns the longest of some times in ns, and how many are longer than 2 ms.
func slowestOf(took []time.Duration) (worst, over float64) {
	for _, d := range took {
		worst = max(worst, float64(d.Nanoseconds()))
		if d > 2*time.Millisecond {
			over++
		}
	}
	return worst, over
}

// steps makes digests for a while, and returns how long each few of them took.
func steps(during time.Duration) []time.Duration {
	took := make([]time.Duration, 0, during/time.Microsecond)
	var text [48]byte
	for began := time.Now(); time.Since(began) < during && len(took) < cap(took); {
		step := time.Now()
		for range 20 {
			d := sha256.Sum256(text[:])
			copy(text[:], d[:])
		}
		took = append(took, time.Since(step))
	}
	return took
}

// memoryKind is a kind of token whose memory is measured.
type memoryKind struct {
	name    string
	prefix  string // of its texts
	most    int
	bytes   goal
	pattern func(b *bench) func(latchkey.Account) (latchkey.Token, error)
	vary    func(f *latchkey.Found, number uint64)
}

var memoryKinds = []memoryKind{
	{name: "with a client of its own", prefix: keyPrefix, most: 1_000_000, bytes: atMost(230),
		pattern: func(b *bench) func(latchkey.Account) (latchkey.Token, error) { return plainKey(b.ctx) },
		vary: func(f *latchkey.Found, number uint64) {
			f.Token.Client = latchkey.Client{ID: fmt.Sprintf("%016x", number)}
		}},
	{name: "minted, with rows of its own", prefix: mintedPrefix, most: 1_000_000, bytes: atMost(480),
		pattern: func(b *bench) func(latchkey.Account) (latchkey.Token, error) { return mintedKey(b) },
		vary: func(f *latchkey.Found, number uint64) {
			f.Token.Rows = []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, fmt.Sprintf("%016x", number))}
		}},
	{name: "plain", prefix: keyPrefix, most: 10_000_000, bytes: atMost(140),
		pattern: func(b *bench) func(latchkey.Account) (latchkey.Token, error) { return plainKey(b.ctx) }},
}

// mintedKey mints a token from a key.
func mintedKey(b *bench) func(latchkey.Account) (latchkey.Token, error) {
	return func(acme latchkey.Account) (latchkey.Token, error) {
		t, err := plainKey(b.ctx)(acme)
		if err != nil {
			return t, err
		}
		s, err := acme.Rotate(b.ctx, t.ID, 0)
		if err != nil {
			return t, err
		}
		a, err := acme.Verify(b.ctx, latchkey.Presented{Secret: s.Reveal()})
		if err != nil {
			return t, err
		}
		t, _, err = a.Mint(b.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		return t, err
	}
}

// heap returns how much is in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what only finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// benchMemory measures what the cache takes by token, with all that belongs to it, as it grows: at a million and at ten
// million, and at the worst moment before, which is soon after it has made room.
func benchMemory(b *bench) error {
	b.note("The heap after a collection, without what was there before the first Verify, at each twentieth of the tokens.")
	for _, kind := range memoryKinds {
		if err := b.memoryOf(kind); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	return nil
}

func (b *bench) memoryOf(kind memoryKind) error {
	n := min(kind.most, b.tokens)
	t := newTextsOf(kind.prefix, n, 5)
	keys, _, err := vouch(b.ctx, withinASecond, kind.pattern(b), kind.vary)
	if err != nil {
		return err
	}
	before, worst, worstAt := heap(), 0.0, 0
	next := n / 20
	for i := range n {
		if _, err := keys.Verify(b.ctx, latchkey.Presented{Secret: t.at(i)}); err != nil {
			return err
		}
		if i+1 < next && i+1 != n {
			continue
		}
		if err := b.ctx.Err(); err != nil {
			return err
		}
		per := (heap() - before) / float64(i+1)
		if i+1 == n || i+1 == 1_000_000 {
			b.say("%s: %.0f bytes a token at %d", kind.name, per, i+1)
			b.amount(fmt.Sprintf("Cache memory a token, %s, at %s", kind.name, number(float64(i+1))), per, "B", kind.bytes)
		}
		if i+1 >= n/4 && per > worst { // of small tables the rest of the process is a part
			worst, worstAt = per, i+1
		}
		next += n / 20
	}
	b.amount(fmt.Sprintf("Cache memory a token, %s, at the worst size (%s)", kind.name, number(float64(worstAt))),
		worst, "B", kind.bytes)
	if n < kind.most || kind.most < 10_000_000 {
		runtime.KeepAlive(keys)
		return nil
	}
	var forced measure.Series
	for range 7 {
		began := time.Now()
		runtime.GC()
		forced = append(forced, float64(time.Since(began).Nanoseconds()))
	}
	b.time(fmt.Sprintf("A forced collection with %s cached plain tokens", number(float64(n))), forced, atMost(20e6))
	v := latchkeyVerifier(b.ctx, "latchkey, MaxStale 1 s", keys)
	if err := v.agree(t); err != nil {
		return err
	}
	// The texts once more in another order, or records would be asked for in the order in which they came.
	results, err := b.compare(number(float64(n))+" tokens", v.side(inOrder(t, shuffled(n))), sha256Side(),
		missSide(missBytes))
	if err != nil {
		return err
	}
	b.within(fmt.Sprintf("Verify, cached, %s tokens", number(float64(n))), results[0], limitName,
		results[1].NS.Plus(results[2].NS), goal{})
	return nil
}
