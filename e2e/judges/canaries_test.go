package judges

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// canaries is how many secrets are looked for.
const canaries = 1000

// pattern is one form of a secret.
type pattern struct {
	name  string // of the secret, and the form
	bytes []byte
}

// forms returns what a secret could leak as: its text, in hexadecimal, in base64 wherever it begins in a longer text,
// and its plain SHA-256 in the same forms.
func forms(name, text string) (out []pattern) {
	add := func(form string, b []byte) { out = append(out, pattern{name + ", " + form, b}) }
	encoded := func(form string, b []byte) {
		add(form+" in hexadecimal", []byte(hex.EncodeToString(b)))
		add(form+" in hexadecimal", []byte(strings.ToUpper(hex.EncodeToString(b))))
		for before := range 3 {
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				// The digits that depend on what stands before and after are left out.
				all := encoding.EncodeToString(append(make([]byte, before), b...))
				add(form+" in base64", []byte(all[(before*8+5)/6:(before+len(b))*8/6]))
			}
		}
	}
	add("text", []byte(text))
	encoded("text", []byte(text))
	digest := sha256.Sum256([]byte(text))
	add("digest", digest[:])
	encoded("digest", digest[:])
	return out
}

// searcher finds patterns in any number of places.
type searcher struct {
	prefix map[uint64][]pattern
	filter []uint64 // bits, by a hash of the first four bytes
}

func newSearcher(all []pattern) *searcher {
	s := &searcher{prefix: map[uint64][]pattern{}, filter: make([]uint64, 1<<16)}
	for _, p := range all {
		key := binary.LittleEndian.Uint64(p.bytes)
		s.prefix[key] = append(s.prefix[key], p)
		at := bitOf(binary.LittleEndian.Uint32(p.bytes))
		s.filter[at/64] |= 1 << (at % 64)
	}
	return s
}

func bitOf(first uint32) uint32 { return first * 2654435761 >> 10 }

// find calls hit with the name of each pattern that is in b.
func (s *searcher) find(b []byte, hit func(name string)) {
	for i := 0; i+8 <= len(b); i++ {
		at := bitOf(binary.LittleEndian.Uint32(b[i:]))
		if s.filter[at/64]&(1<<(at%64)) == 0 {
			continue
		}
		for _, p := range s.prefix[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], p.bytes) {
				hit(p.name)
			}
		}
	}
}

// evidence is what is searched: places, by name. It has secrets that must be nowhere, and controls that must be found.
type evidence struct {
	t        *testing.T
	mu       sync.Mutex
	secrets  []pattern
	controls map[string][]byte // by the form that the planted secret is in
}

func (e *evidence) secret(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets = append(e.secrets, forms(fmt.Sprintf("secret %d", len(e.secrets)), text)...)
}

// search looks through places. No secret may be in any. Of the controls, those that wanted lists must be in each.
func (e *evidence) search(places map[string][]byte, wanted ...string) {
	t := e.t
	t.Helper()
	s := newSearcher(e.secrets)
	for place, b := range places {
		require.NotEmpty(t, b, "%s is empty", place)
		var hits []string
		s.find(b, func(name string) { hits = append(hits, name) })
		require.Empty(t, hits, "secrets in %s", place)
		for _, control := range wanted {
			require.Contains(t, e.controls, control)
			found := 0
			newSearcher([]pattern{{control, e.controls[control]}}).find(b, func(string) { found++ })
			require.NotZero(t, found, "the search of %s does not find the %s that was planted there", place, control)
		}
	}
}

// folder returns the bytes of all files in a folder, as one place.
func folder(t *testing.T, at string) []byte {
	t.Helper()
	var all bytes.Buffer
	require.NoError(t, filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a temporary file that is gone, a socket
		}
		text, err := os.ReadFile(path)
		if err == nil {
			all.Write(text)
			all.WriteByte(0)
		}
		return nil
	}))
	return all.Bytes()
}

// live does what a host does with 1,000 secrets, with everything that is logged, and ends with the process.
func live(t *testing.T, store latchkey.Store, e *evidence) (log, replies []byte) {
	ctx := context.Background()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	var logged harness.LockedBuffer
	logger := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	keys := latchkey.New(store, &latchkey.Options{Keyring: ring, Logger: logger,
		Imported: func(text string) bool { return strings.HasPrefix(text, "imported_") },
		Observer: latchkey.Observer{
			Refused: func(_ context.Context, r latchkey.Refusal) { logger.Debug("refused", "refusal", r) },
			Changed: func(_ context.Context, e latchkey.Event) { logger.Debug("changed", "event", e) },
		}})
	acme := keys.For("acme")
	auth := httpadapter.New(keys, &httpadapter.Options{Logger: logger})
	page := auth.Require(latchkey.Read, "dataset/a")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, _ := httpadapter.AccessFrom(r.Context())
		fmt.Fprintf(w, "%+v", access)
		logger.Debug("served", "access", access)
	}))
	var bodies harness.LockedBuffer
	use := func(text string) {
		for _, sent := range []string{text, text[:len(text)-1] + "-", text + "x"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+sent)
			w := httptest.NewRecorder()
			page.ServeHTTP(w, r)
			_, _ = bodies.Write(w.Body.Bytes())
		}
	}
	read := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
	one := func(n int) error {
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprint("key ", n), Permissions: read}
		if n%5 == 4 {
			text := fmt.Sprintf("imported_%d_%s", n, latchkeySecret())
			e.secret(text)
			if _, err := acme.Import(ctx, spec, text); err != nil {
				return err
			}
			use(text)
			return nil
		}
		token, secret, err := acme.Issue(ctx, spec)
		if err != nil {
			return err
		}
		e.secret(secret.Reveal())
		use(secret.Reveal())
		switch n % 5 {
		case 0: // rotated
			fresh, err := acme.Rotate(ctx, token.ID, 0)
			if err != nil {
				return err
			}
			e.secret(fresh.Reveal())
			use(secret.Reveal())
		case 1: // minted from
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			if err != nil {
				return err
			}
			_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			if err != nil {
				return err
			}
			e.secret(child.Reveal())
			use(child.Reveal())
		case 2: // that signs
			signing, err := acme.SigningSecret(ctx, token.ID)
			if err != nil {
				return err
			}
			e.secret(signing.Reveal())
		case 3: // revealed, then revoked
			shown, err := acme.Reveal(ctx, token.ID)
			if err != nil {
				return err
			}
			logger.Debug("revealed", "secret", shown)
			if err := acme.Revoke(ctx, token.ID, "left"); err != nil {
				return err
			}
			use(secret.Reveal())
		}
		return nil
	}
	work := make(chan int)
	var group sync.WaitGroup
	var failed error
	var once sync.Once
	for range 8 {
		group.Go(func() {
			for n := range work {
				if err := one(n); err != nil {
					once.Do(func() { failed = err })
				}
			}
		})
	}
	for n := range canaries * 5 / 8 { // eight secrets of five rounds
		work <- n
	}
	close(work)
	group.Wait()
	require.NoError(t, failed)

	// What is planted, in fields that are stored and logged as they are.
	for form, b := range e.controls {
		if form == "digest" || strings.Contains(form, "capital") { // which no text of people holds
			continue
		}
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: string(b)})
		require.NoError(t, err)
		logger.Debug("planted", "token", token, "name", token.Name)
		_, _ = bodies.Write([]byte(token.Name))
	}
	require.NoError(t, keys.Close(ctx))
	return []byte(logged.String()), []byte(bodies.String())
}

func latchkeySecret() string {
	key, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(key.Secret)
}

// newEvidence plants a secret in each form.
func newEvidence(t *testing.T) (e *evidence, planted string) {
	planted = "planted_" + latchkeySecret()
	digest := sha256.Sum256([]byte(planted))
	return &evidence{t: t, controls: map[string][]byte{
		"text":                  []byte(planted),
		"text in hexadecimal":   []byte(hex.EncodeToString([]byte(planted))),
		"text in base64":        []byte(base64.StdEncoding.EncodeToString([]byte(planted))),
		"digest":                digest[:],
		"digest in hexadecimal": []byte(hex.EncodeToString(digest[:])),
		"digest in base64":      []byte(base64.StdEncoding.EncodeToString(digest[:])),
		// As a dump writes bytes.
		"text in capital hexadecimal":   []byte(strings.ToUpper(hex.EncodeToString([]byte(planted)))),
		"digest in capital hexadecimal": []byte(strings.ToUpper(hex.EncodeToString(digest[:]))),
	}}, planted
}

var inText = []string{"text", "text in hexadecimal", "text in base64", "digest in hexadecimal", "digest in base64"}

// TestDumpsHoldNoSecret: with a Keyring, neither a dump of an engine, nor its files, nor its write-ahead log, nor what
// was logged or answered holds one of 1,000 secrets, or the plain digest of one. What is planted is found in each of
// them, in each form.
func TestDumpsHoldNoSecret(t *testing.T) {
	// run makes the secrets on an engine. dumps returns the places.
	run := func(name string, open func(t *testing.T) (*sql.DB, latchkey.Dialect),
		dumps func(t *testing.T, e *evidence) (text, files map[string][]byte)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, planted := newEvidence(t)
			db, dialect := open(t)
			store := harness.OpenStore(t, db, dialect)
			log, replies := live(t, store, e)
			require.GreaterOrEqual(t, len(e.secrets), canaries*len(forms("", planted)))
			// A Manager without a Keyring stores the plain digest: the control of that.
			plain := latchkey.New(store, &latchkey.Options{Imported: func(string) bool { return true }})
			_, err := plain.For("acme").Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey}, planted)
			require.NoError(t, err)
			require.NoError(t, plain.Close(t.Context()))

			e.search(map[string][]byte{"the log": log, "the replies": replies}, inText...)
			text, files := dumps(t, e)
			e.search(text, inText...)
			e.search(files, append(inText, "digest")...)
			size := 0
			for _, b := range files {
				size += len(b)
			}
			t.Logf("%d secrets in %d forms: 0 found in %d dumps, %d MiB of files, %d KiB of log; the planted one in each",
				len(e.secrets)/len(forms("", planted)), len(forms("", planted)), len(text), size>>20, len(log)>>10)
		})
	}
	output := func(t *testing.T, program string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(program, args...)
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		require.NoError(t, err, "%s: %s", program, complaint.String())
		return out
	}

	var file string
	run("SQLite", func(t *testing.T) (*sql.DB, latchkey.Dialect) {
		file = harness.NewFile(t)
		return harness.OpenSQLite(t, harness.WAL(file)), latchkey.SQLite
	}, func(t *testing.T, e *evidence) (text, files map[string][]byte) {
		wal, err := os.ReadFile(file + "-wal")
		require.NoError(t, err)
		require.NotEmpty(t, wal, "the write-ahead log is empty")
		return map[string][]byte{"sqlite3 .dump": output(t, "sqlite3", file, ".dump")},
			map[string][]byte{"the files of SQLite": folder(t, filepath.Dir(file))}
	})

	pg := harness.Postgres.Own(t)
	run("PostgreSQL", func(t *testing.T) (*sql.DB, latchkey.Dialect) {
		return pg.Open(t, pg.Place(t)), pg.Dialect
	}, func(t *testing.T, e *evidence) (text, files map[string][]byte) {
		dump, err := harness.Program("pg_dump",
			append([]string{os.Getenv("LATCHKEY_PG_BIN")}, harness.PostgresFolders()...)...)
		require.NoError(t, err)
		_, err = pg.Admin.Exec("CHECKPOINT")
		require.NoError(t, err)
		return map[string][]byte{
				"pg_dump":           output(t, dump, "-h", pg.Folder, "-U", "postgres", "postgres"),
				"pg_dump --inserts": output(t, dump, "--inserts", "-h", pg.Folder, "-U", "postgres", "postgres"),
			}, map[string][]byte{
				"PostgreSQL's write-ahead log": folder(t, filepath.Join(pg.Folder, "data", "pg_wal")),
				"PostgreSQL's tables":          folder(t, filepath.Join(pg.Folder, "data", "base")),
			}
	})

	maria := harness.MariaDB.Own(t)
	run("MariaDB", func(t *testing.T) (*sql.DB, latchkey.Dialect) {
		return maria.Open(t, maria.Place(t)), maria.Dialect
	}, func(t *testing.T, e *evidence) (text, files map[string][]byte) {
		socket := filepath.Join(maria.Folder, "s.sock")
		dump := []string{"--no-defaults", "--socket=" + socket, "--user=root", "--all-databases"}
		_, err := maria.Admin.Exec("FLUSH TABLES")
		require.NoError(t, err)
		// This one writes bytes in hexadecimal, so the control is looked for as such.
		inHex := map[string][]byte{"mariadb-dump --hex-blob": output(t, "mariadb-dump", append(dump, "--hex-blob")...)}
		e.search(inHex, "text in capital hexadecimal", "digest in capital hexadecimal")
		return map[string][]byte{
				"mariadb-dump": output(t, "mariadb-dump", dump...),
			}, map[string][]byte{
				"MariaDB's files and redo log": folder(t, filepath.Join(maria.Folder, "data")),
			}
	})
}

// heapVariable names the file that a process of TestHeapHoldsNoSecret writes its secrets to.
const heapVariable = "LATCHKEY_HEAP_OF"

// keptOnPurpose is the control of the heap.
var keptOnPurpose string

// TestHeapHoldsNoSecret: after a process has made and verified 1,000 secrets, its heap holds the text of none, in any
// form. Its plain digests are not asked for: by them a process may know again what it has verified.
func TestHeapHoldsNoSecret(t *testing.T) {
	if file := os.Getenv(heapVariable); file != "" {
		dumpHeap(t, file)
		return
	}
	file := filepath.Join(t.TempDir(), "secrets")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHeapHoldsNoSecret$")
	cmd.Env = append(os.Environ(), heapVariable+"="+file)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	list, err := os.ReadFile(file)
	require.NoError(t, err)
	heap, err := os.ReadFile(file + ".heap")
	require.NoError(t, err)
	lines := strings.Fields(string(list))
	planted, secrets := lines[0], lines[1:]
	require.Len(t, secrets, canaries)
	e := &evidence{t: t, controls: map[string][]byte{"text": []byte(planted)}}
	digests := []pattern{}
	for _, text := range secrets {
		for _, p := range forms("a secret", text) {
			if !strings.Contains(p.name, "digest") {
				e.secrets = append(e.secrets, p)
			} else if strings.HasSuffix(p.name, "digest") {
				digests = append(digests, p)
			}
		}
	}
	e.search(map[string][]byte{"the heap": heap}, "text")
	known := 0
	newSearcher(digests).find(heap, func(string) { known++ })
	require.Contains(t, string(heap), "the name of one of them", "the records are gone, so nothing was shown")
	t.Logf("%d secrets: the text of 0 in a heap of %d KiB, and %d plain digests", len(secrets), len(heap)>>10, known)
}

// dumpHeap makes secrets, forgets them, and writes the heap to a file.
func dumpHeap(t *testing.T, file string) {
	ctx := context.Background()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: ring})
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	keptOnPurpose = "planted_" + latchkeySecret()
	_, err = out.WriteString(keptOnPurpose + "\n")
	require.NoError(t, err)
	for range canaries {
		_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: "the name of one of them"})
		require.NoError(t, err)
		_, err = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		_, err = out.WriteString(secret.Reveal() + "\n")
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())
	for range 3 { // a pool keeps what it has for two collections
		runtime.GC()
	}
	heap, err := os.Create(file + ".heap")
	require.NoError(t, err)
	debug.WriteHeapDump(heap.Fd())
	require.NoError(t, heap.Close())
	runtime.KeepAlive(keys)
	runtime.KeepAlive(keptOnPurpose)
}
