package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/memstore"
)

const clients = 8

// soaked is a server's process under traffic.
type soaked struct {
	started
	t     *testing.T
	http  *http.Client // of the traffic
	asks  *http.Client // of figures: one connection, always open
	mu    sync.Mutex
	wrong []string
	took  map[string][]time.Duration
	away  int // answers that the server could not give

	standing []string // secrets of tokens that live as long as the server
}

// start starts a server's process, which ends with the test.
func start(t *testing.T, e *harness.NodeEngine, leaks bool) *soaked {
	t.Helper()
	text, err := json.Marshal(settings{Driver: e.Driver, Dialect: e.Dialect, DSN: e.Empty(t), Leaks: leaks})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), settingsName+"="+string(text), "GOGC=100", "GODEBUG=")
	var log harness.LockedBuffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &soaked{t: t, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}},
		asks: &http.Client{Transport: &http.Transport{}}, took: map[string][]time.Duration{}}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		s.asks.CloseIdleConnections()
		in.Close()
		assert.NoError(t, cmd.Wait(), log.String())
	})
	require.NoError(t, json.NewDecoder(out).Decode(&s.started), log.String())
	return s
}

// ask sends one request, and returns the status and the body. The status is 0 if the server could not answer now: then
// nothing is known.
func (s *soaked) ask(op, method, path, key string, body any) (int, map[string]any) {
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		text = bytes.NewReader(encoded)
	}
	r, err := http.NewRequest(method, s.Base+path, text)
	if err != nil {
		panic(err)
	}
	r.Header["Authorization"] = []string{"Bearer " + key}
	switch {
	case method == http.MethodPatch:
		r.Header.Set("Content-Type", "application/merge-patch+json")
	case body != nil:
		r.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	reply, err := s.http.Do(r)
	var answer map[string]any
	status := 0
	if err == nil {
		status = reply.StatusCode
		var all []byte
		all, err = io.ReadAll(reply.Body)
		reply.Body.Close()
		if len(all) > 0 && err == nil {
			err = json.Unmarshal(all, &answer)
		}
	}
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.wrong = append(s.wrong, fmt.Sprintf("%s: %v", op, err))
	case status == http.StatusServiceUnavailable:
		s.away++
		status = 0
	default:
		s.took[op] = append(s.took[op], took)
	}
	return status, answer
}

// abandoned ends a round of a client whose server could not answer.
type abandoned struct{}

// want is ask, which must be answered by a status.
func (s *soaked) want(status int, op, method, path, key string, body any) map[string]any {
	got, answer := s.ask(op, method, path, key, body)
	if got == 0 {
		panic(abandoned{})
	}
	if got != status {
		s.fault("%s: %s %s: %d, not %d: %v", op, method, path, got, status, answer)
		panic(abandoned{})
	}
	return answer
}

func (s *soaked) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// check records a wrong answer unless ok.
func (s *soaked) check(ok bool, format string, args ...any) {
	if !ok {
		s.fault(format, args...)
	}
}

type object = map[string]any

// traffic sends rounds of each client, several at once, and returns when all have ended.
func (s *soaked) traffic(rounds int) {
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for range rounds {
				try(func() { s.round(client) })
			}
		})
	}
	all.Wait()
}

// try runs what may be abandoned.
func try(do func()) {
	defer func() {
		if r := recover(); r != nil && r != (abandoned{}) {
			panic(r)
		}
	}()
	do()
}

// round makes a role, a token of it, and a child of that, uses and changes them, and ends them. Each answer is known
// beforehand, for nobody else touches what a client made.
func (s *soaked) round(client int) {
	admin := s.Secret
	reads := []object{{"allow": []string{"read"}, "on": []string{"dataset/*"}}}
	name := fmt.Sprintf("role %d %d", client, rand.Int64())
	role := s.want(201, "make a role", "POST", "/v1/roles", admin,
		object{"name": name, "permissions": reads})["id"].(string)
	made := s.want(201, "issue", "POST", "/v1/tokens", admin, object{"kind": "api_key", "name": name,
		"roles": []string{role}, "permissions": []object{{"allow": []string{"mint"}, "on": []string{"latchkey/self"}}},
		"client": object{"id": fmt.Sprintf("client %d", client)}})
	id, key := made["token"].(object)["id"].(string), made["secret"].(string)
	s.want(204, "use", "GET", "/orders", key, nil)
	child := s.want(201, "mint", "POST", "/v1/me/tokens", key, object{"lifetime": int64(time.Hour),
		"name": "a page view"})["secret"].(string)
	for range 3 {
		s.want(204, "use", "GET", "/orders", child, nil)
	}
	for range 3 {
		s.want(204, "use", "GET", "/orders", s.standing[rand.IntN(len(s.standing))], nil)
	}
	s.junk(key)

	// The role loses its right, and gets it back.
	s.want(200, "edit a role", "PATCH", "/v1/roles/"+role, admin, object{"permissions": []object{}})
	s.want(403, "use", "GET", "/orders", key, nil)
	s.want(403, "use", "GET", "/orders", child, nil)
	s.want(200, "edit a role", "PATCH", "/v1/roles/"+role, admin, object{"permissions": reads})
	s.want(204, "use", "GET", "/orders", child, nil)

	me := s.want(200, "who am I", "GET", "/v1/me", key, nil)
	s.check(me["token_id"] == id, "%s says that it is %v", id, me)
	for _, by := range []string{"role=" + role, "parent=" + id} {
		listed := s.want(200, "list", "GET", "/v1/tokens?limit=10&"+by, admin, nil)["items"].([]any)
		s.check(len(listed) == 1, "%d tokens by %s, not one", len(listed), by)
	}
	s.want(200, "list", "GET", "/v1/tokens?limit=50&state=active&kind=api_key", admin, nil)
	s.want(200, "usage", "GET", "/v1/usage?by=token,day&from=2020-01-01&token="+id, admin, nil)
	s.want(200, "events", "GET", "/v1/events?limit=5&object="+id, admin, nil)
	verdict := s.want(200, "explain", "POST", "/v1/tokens/"+id+"/explain", admin, object{"questions": []object{
		{"action": "read", "resource": "dataset/orders"}}})["items"].([]any)[0].(object)["verdict"]
	s.check(verdict == "all", "the verdict is %v", verdict)

	newer := s.want(200, "rotate", "POST", "/v1/tokens/"+id+"/rotate", admin, object{})["secret"].(string)
	s.want(401, "refused", "GET", "/orders", key, nil)
	s.want(204, "use", "GET", "/orders", newer, nil)
	s.want(204, "revoke", "POST", "/v1/tokens/"+id+"/revoke", admin, object{})
	s.want(401, "refused", "GET", "/orders", newer, nil)
	s.want(401, "refused", "GET", "/orders", child, nil)
	s.want(204, "delete", "DELETE", "/v1/tokens/"+id, admin, nil)
	s.want(204, "delete", "DELETE", "/v1/roles/"+role, admin, nil)
	s.want(404, "what is gone", "GET", "/v1/tokens/"+id, admin, nil)
}

// junk sends one text of each kind that is no token. good is a token, of which some are made.
func (s *soaked) junk(good string) {
	at := rand.IntN(len(good)-5) + 5
	other := byte('0' + rand.IntN(10))
	if good[at] == other {
		other = 'x'
	}
	for _, text := range []string{
		"", "x", good[:at], good + "0", good[:at] + string(other) + good[at+1:], "ak_" + strings.Repeat("0", 42),
		strings.Repeat("a", 4000), fmt.Sprintf("%x", rand.Uint64()), url.QueryEscape("' OR 1=1 --"), "\u00e4\u00f6\u00fc",
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", strings.ToUpper(good),
	} {
		// What cannot be a token at all is a 400.
		if status, answer := s.ask("junk", "GET", "/orders", text, nil); status != 400 && status != 0 {
			s.check(status == 401, "junk %.50q: %d: %v", text, status, answer)
		}
	}
}

// figures returns what the server holds while it is idle.
func (s *soaked) figures() (f figures) {
	s.t.Helper()
	s.http.CloseIdleConnections()
	reply, err := s.asks.Get(s.Control)
	require.NoError(s.t, err)
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, 200, reply.StatusCode, "%s", text)
	require.NoError(s.t, json.Unmarshal(text, &f))
	return f
}

// least returns the least of several figures. What is only about to end is not counted so.
func (s *soaked) least(tries int, enough func(figures) bool) figures {
	s.t.Helper()
	f := s.figures()
	for range tries {
		if enough != nil && enough(f) {
			break
		}
		time.Sleep(200 * time.Millisecond)
		next := s.figures()
		next.Heap = min(next.Heap, f.Heap)
		next.Goroutines = min(next.Goroutines, f.Goroutines)
		next.Files = min(next.Files, f.Files)
		f = next
	}
	return f
}

// leastHeap is how many bytes a server holds when it is warm, at least. Five of a hundred of them are more than what
// ended tokens take until the cache makes room.
const leastHeap = 10 << 20

// grown says what there is more of than before: memory by more than five of a hundred, goroutines, files.
func grown(before, after figures) (what []string) {
	if after.Heap > before.Heap+before.Heap/20 {
		what = append(what, "heap")
	}
	if after.Goroutines > before.Goroutines {
		what = append(what, "goroutines")
	}
	if after.Files > before.Files {
		what = append(what, "files")
	}
	return what
}

// settleIn makes tokens that stay, beside those that the server has loaded.
func (s *soaked) settleIn() {
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range 25 {
				try(func() {
					made := s.want(201, "issue", "POST", "/v1/tokens", s.Secret, object{"kind": "api_key", "permissions": []object{
						{"allow": []string{"read"}, "on": []string{"dataset/orders"}}}})
					s.mu.Lock()
					defer s.mu.Unlock()
					s.standing = append(s.standing, made["secret"].(string))
				})
			}
		})
	}
	all.Wait()
	for _, key := range s.standing {
		try(func() { s.want(204, "use", "GET", "/orders", key, nil) })
	}
}

// mostRecords returns how many records the cache holds at most, valid or not: those that were valid when it last made
// room, and an eighth more. While a client is in a round, at most perRound of its records are valid.
func (s *soaked) mostRecords() int {
	const perRound = 8
	valid := cached + len(s.standing) + clients*perRound + 2 // 2: of the administrator
	return valid + valid/8
}

// soak makes the server warm, sends traffic, and returns what has grown between the end of the warm-up and the end.
// What has grown is looked at again for some time: what only waits to be freed is no leak, and a leak stays.
func (s *soaked) soak(warm, rounds int, more func() bool) []string {
	s.settleIn()
	s.traffic(warm)
	before := s.least(5, nil)
	s.t.Logf("warm: heap %d KiB, %d goroutines, %d files, %d tokens cached", before.Heap>>10, before.Goroutines,
		before.Files, before.Records)
	s.profile("warm")
	require.Empty(s.t, s.wrong[:min(len(s.wrong), 5)], "wrong answers")
	require.GreaterOrEqual(s.t, before.Heap, uint64(leastHeap), "the heap of a warm server")
	require.GreaterOrEqual(s.t, before.Records, cached+len(s.standing), "tokens in the cache")
	most := s.mostRecords()
	require.LessOrEqual(s.t, before.Records, most, "tokens in the cache, valid or not")
	for window := 0; window < 3 || more(); window++ {
		s.traffic(rounds)
		f := s.figures()
		require.LessOrEqual(s.t, f.Records, most, "tokens in the cache, valid or not")
		s.t.Logf("window %d: heap %d KiB, %d goroutines, %d files, %d tokens cached", window, f.Heap>>10, f.Goroutines,
			f.Files, f.Records)
	}
	after := s.least(25, func(f figures) bool { return len(grown(before, f)) == 0 })
	s.t.Logf("end: heap %d KiB (%+.1f %%), %d goroutines, %d files", after.Heap>>10,
		100*(float64(after.Heap)/float64(before.Heap)-1), after.Goroutines, after.Files)
	what := grown(before, after)
	s.profile("end")
	return what
}

// profile writes the server's heap profile to the folder that LATCHKEY_SOAK_PROFILES names, if it is set. Two profiles
// of a test show what has grown: go tool pprof -sample_index=inuse_space -base warm.heap end.heap.
func (s *soaked) profile(when string) {
	folder := os.Getenv("LATCHKEY_SOAK_PROFILES")
	if folder == "" {
		return
	}
	reply, err := s.asks.Get(s.Control + "/profile")
	require.NoError(s.t, err)
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	require.NoError(s.t, err)
	name := strings.ReplaceAll(s.t.Name(), "/", "-") + "-" + when + ".heap"
	require.NoError(s.t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
}

// TestSoak: under mixed traffic no answer is wrong, nothing that the server holds grows, and junk costs no call of the
// store. LONG=1 takes ten minutes on each engine.
func TestSoak(t *testing.T) {
	for _, e := range []*harness.NodeEngine{harness.NodeEngines[0], harness.Postgres.NodeEngine()} {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			s := start(t, e, false)
			length := time.Duration(harness.Rounds(0, 600)) * time.Second
			began := time.Now()
			assert.Empty(t, s.soak(6, 4, func() bool { return time.Since(began) < length }), "this has grown")
			s.flood(harness.Rounds(40, 4000))
			s.report()
		})
	}
}

// flood sends junk alone, and counts the calls of the store. A text that looks as a token does costs one.
func (s *soaked) flood(rounds int) {
	t := s.t
	admin := s.Secret
	before, sent := s.figures(), len(s.took["junk"])
	began := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range rounds {
				try(func() { s.junk(admin) })
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	sent = len(s.took["junk"]) - sent
	after := s.figures()
	assert.Equal(t, before.Calls, after.Calls, "junk costs no call of the store")

	// The control: texts of the right form, which only the store can refuse.
	elsewhere := latchkey.New(memstore.New(nil), nil).For("acme")
	const known = 50
	for range known {
		_, secret, err := elsewhere.Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		try(func() { s.want(401, "unknown", "GET", "/orders", secret.Reveal(), nil) })
	}
	control, calls := s.figures(), int64(0)
	for op, n := range control.Calls {
		calls += n - after.Calls[op]
	}
	assert.GreaterOrEqual(t, calls, int64(known), "each unknown token is looked up: %v", control.Calls)
	t.Logf("%d texts of junk in %.1f s cost no call of the store; %d unknown tokens cost %d", sent, took.Seconds(), known,
		calls)
}

// report prints how long requests took, and fails the test if an answer was wrong.
func (s *soaked) report() {
	total := 0
	for _, op := range []string{"use", "junk", "refused", "who am I", "issue", "mint", "edit a role", "list", "usage",
		"events", "explain", "rotate", "revoke", "delete"} {
		took := s.took[op]
		if !assert.NotEmpty(s.t, took, op) {
			continue
		}
		slices.Sort(took)
		total += len(took)
		s.t.Logf("%-12s %7d, median %8.2f ms, p99 %8.2f ms", op, len(took), ms(took[len(took)/2]),
			ms(took[len(took)*99/100]))
	}
	s.t.Logf("%d requests, %d wrong answers, %d that the server could not give", total, len(s.wrong), s.away)
	assert.Empty(s.t, s.wrong[:min(len(s.wrong), 10)], "wrong answers")
	assert.Less(s.t, s.away, total/10, "most are answered")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// TestASoakSeesLeaks: a server that loses a kilobyte with each request, and now and then a goroutine and a file, has
// grown by all three.
func TestASoakSeesLeaks(t *testing.T) {
	t.Parallel()
	s := start(t, harness.NodeEngines[0], true)
	assert.Equal(t, []string{"heap", "goroutines", "files"}, s.soak(3, 2, func() bool { return false }))
	assert.Empty(t, s.wrong)
}
