package apperate

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// rounds returns short, or long with LONG=1.
func rounds(short, long int) int {
	if os.Getenv("LONG") != "" {
		return long
	}
	return short
}

// lawSeed returns a seed for a law, and prints it.
func lawSeed(t *testing.T) uint64 {
	seed := uint64(1)
	if os.Getenv("SEEDS") != "fixed" { // as the run of mutants sets it, so that none is killed by chance
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return seed
}

// Whatever byte of whatever is signed is another, the signature is invalid. As it was, it is valid.
func TestNoByteOfASignedRequestChanges(t *testing.T) {
	r, all, tried := rand.New(rand.NewPCG(lawSeed(t), 0)), vectors(t), map[string]int{}
	parts := []string{"method", "path", "query", "host", "date", "body", "authorization"}
	for i := range rounds(5_000, 1_000_000) {
		v := all[r.IntN(len(all))]
		if i%100 == 0 {
			require.True(t, made(t, v.rawRequest(), v.AccessKey, v.Payload, v.Secret), v.Name)
		}
		name := parts[r.IntN(len(parts))]
		at := map[string]*string{"method": &v.Method, "path": &v.Path, "query": &v.Query, "host": &v.Host,
			"date": &v.IEXDate, "body": &v.Payload, "authorization": &v.Authorization}[name]
		first := 0
		if name == "authorization" {
			first = len(signScheme) + 1 // with another scheme a request is not signed
		}
		if len(*at) <= first {
			continue
		}
		n, c := first+r.IntN(len(*at)-first), byte(' '+r.IntN('~'-' '+1))
		whole := *at
		if c == whole[n] {
			continue
		}
		*at = whole[:n] + string(rune(c)) + whole[n+1:]
		tried[name]++
		require.False(t, made(t, v.rawRequest(), v.AccessKey, v.Payload, v.Secret), "%s of %s: %q", name, v.Name, *at)
	}
	total := 0
	for _, name := range parts {
		require.Greater(t, tried[name], 100, name)
		total += tried[name]
	}
	t.Logf("%d changes of one byte: 0 accepted", total)
}

// Two processes over one store, which start anew, purge, and have their clocks moved on and back by up to an hour: each
// signature passes once at most, whoever gets it, and one that is in time and new passes.
func TestNoSignaturePassesTwice(t *testing.T) {
	w := newFixture(t, nil)
	r := rand.New(rand.NewPCG(lawSeed(t), 1))
	key, query := w.signingKey(w.signedPK), "token="+w.signedPK
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	process := func() http.Handler {
		keys := latchkey.New(w.store, &latchkey.Options{Clock: w.now, Keyring: ring})
		t.Cleanup(func() { _ = keys.Close(t.Context()) })
		return Handler(keys.For("acme"), &Options{Clock: w.now, AddressRate: latchkey.Rate{Count: -1}},
			http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { WriteJSON(rw, 1) }))
	}
	nodes := []http.Handler{process(), process()}
	var made []time.Time         // when requests were signed
	done := map[time.Time]bool{} // those that passed: two of one second are one request
	latest := w.now()
	passed, refused, starts := 0, 0, 0
	for i := 0; refused < rounds(2_000, 100_000); i++ {
		switch r.IntN(100) {
		case 0, 1: // the clocks move
			next := w.now().Add(time.Duration(r.IntN(110)-50) * time.Minute)
			if next.Before(latest.Add(-time.Hour)) {
				next = latest.Add(-time.Hour)
			}
			if next.After(latest) {
				latest = next
			}
			w.micros.Store(next.UnixMicro())
		case 2:
			_, err := w.keys.Purge(t.Context())
			require.NoError(t, err)
		case 3:
			if starts < 20 {
				nodes[r.IntN(2)] = process()
				starts++
			}
		}
		if len(made) == 0 || r.IntN(8) == 0 { // a new request, signed by a clock that is a little off
			at := w.now().Add(time.Duration(r.IntN(20*60)-10*60) * time.Second)
			if made = append(made, at.Truncate(time.Second)); len(made) > 400 {
				made = made[1:]
			}
		}
		at := made[r.IntN(len(made))]
		if r.IntN(3) == 0 {
			at = made[len(made)-1]
		}
		w.serve = nodes[r.IntN(2)]
		code := w.send(sign("GET", carsPath, query, "example.com", "", w.signedPK, key, at)).Code
		// A process whose clock was set back may go by its own, or by the latest time that it knows of.
		within := func(now time.Time) bool { return now.Sub(at).Abs() <= 15*time.Minute }
		if code == http.StatusOK {
			may := !at.Before(w.now().Add(-15*time.Minute)) && !at.After(latest.Add(15*time.Minute))
			require.True(t, may, "signed %v, at %v", at, w.now())
			require.False(t, done[at], "signed %v: it passed before, and at %v again", at, w.now())
			done[at] = true
			passed++
			continue
		}
		require.Equal(t, http.StatusForbidden, code)
		require.False(t, within(w.now()) && within(latest) && !done[at], "one in time is refused: %v", at)
		refused++
	}
	require.Greater(t, passed, 20)
	t.Logf("%d requests passed once, %d sent again or out of time were refused, %d starts", passed, refused, starts)
}
