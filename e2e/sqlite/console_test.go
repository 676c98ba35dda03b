package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/console"
)

// consolePages are paths of the console whose pages list or search tokens, and how many statements each may cost
// besides the one that reads the rights of the person.
var consolePages = []struct {
	name, path string
	most       int
}{
	{"the first page", "", 3},
	{"the last page", "?last=1", 3},
	{"a page in the middle", "?after=" + url.QueryEscape(consoleID(5000)), 3},
	{"newest first", "?sort=newest", 3},
	{"by name", "?sort=name", 3},
	{"last used first", "?sort=used", 3},
	{"ends first", "?sort=end", 3},
	{"a rare name", "?q=CUSTOMER+no+007777", 3},
	{"a name that all have, also minted ones", "?q=storeFRONT", 4}, // and their parents
	{"a name of other letters", "?q=%D0%9C%D0%90%D0%93%D0%90%D0%97%D0%98%D0%9D", 3},
	{"no name", "?q=nobody+has+it", 3},
	{"a hint", "?q=AK_61%E2%80%A6777", 3},
	{"a client", "?q=client-7", 3},
	{"a state", "?state=disabled", 3},
	{"expiring", "?expiring=30", 3},
	{"unused", "?unused=90", 3},
	{"minted", "?kind=access", 4},
}

func consoleID(i int) string {
	made := time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC).UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", made>>16, made&0xffff, i&0xfff, i)
}

// TestSQLiteConsole: pages of the console cost few statements, however many tokens there are. With LONG=1 there are
// 100,000, and the processor time of each page is logged.
func TestSQLiteConsole(t *testing.T) {
	n := 10_000
	if os.Getenv("LONG") != "" {
		n = 100_000
	}
	ctx := context.Background()
	db, f := faulty.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	s := harness.OpenSQLiteStore(t, db)
	for from := 0; from < n; {
		w := latchkey.Write{Owner: "acme", At: time.Now(), Silent: true}
		binary.BigEndian.PutUint64(w.ID[:], uint64(from)+1)
		for ; len(w.Tokens) < 2000 && from < n; from++ {
			one := latchkey.Token{ID: consoleID(from), Owner: "acme", Kind: latchkey.KindAPIKey,
				Created: time.Date(2026, 1, 1, 0, 0, from, 0, time.UTC), Hint: fmt.Sprintf("ak_%02x…%03d", from%256, from%1000)}
			one.Name = fmt.Sprintf("Storefront of Customer No %06d", from)
			switch {
			case from%1000 == 1:
				one.Name = fmt.Sprintf("Магазин %d", from)
			case from%1000 == 2:
				one.Client = latchkey.Client{ID: fmt.Sprintf("Client-%d", from/1000)}
			case from%1000 == 3:
				one.Disabled = true
			case from%1000 == 4:
				one.Validity.NotAfter = time.Now().Add(240 * time.Hour)
			case from%1000 == 5:
				one.Kind, one.Parent, one.Depth = latchkey.KindAccess, consoleID(from-1), 1
			}
			one.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}
			w.Tokens = append(w.Tokens, one)
		}
		require.NoError(t, s.Write(ctx, w))
	}
	keys := latchkey.New(s, &latchkey.Options{MaxStale: time.Minute})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	acme := keys.For("acme")
	ada, err := acme.Assume(latchkey.Client{ID: "ada"},
		latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")})
	require.NoError(t, err)
	h := console.Handler(func(*http.Request) (latchkey.Account, latchkey.Access, error) { return acme, ada, nil }, nil)
	var mu sync.Mutex
	var texts []string
	f.Before = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, text)
	}
	for _, page := range consolePages {
		var took time.Duration
		for range 3 { // the first prepares
			mu.Lock()
			texts = nil
			mu.Unlock()
			began := processorTime(t)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/"+page.path, nil))
			took = processorTime(t) - began
			require.Equal(t, http.StatusOK, rec.Code, page.name)
			require.Equal(t, page.name != "no name", strings.Contains(rec.Body.String(), `class="mono"`), page.name)
		}
		mu.Lock()
		var reads []string
		for _, text := range texts {
			of := func(table string) bool { return strings.Contains(text, table) }
			if of("SELECT") && !of("latchkey_owners") && !of("latchkey_epoch") {
				reads = append(reads, text)
			}
		}
		mu.Unlock()
		require.LessOrEqual(t, len(reads), page.most, "%s:\n%s", page.name, strings.Join(reads, "\n"))
		if n == 100_000 {
			t.Logf("%s: %s, %d statements", page.name, took.Round(time.Millisecond), len(reads))
		}
	}
}

// processorTime returns what this process has taken so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
