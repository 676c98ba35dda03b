package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

func openForTest(t *testing.T) *penguins {
	t.Helper()
	// a name with characters that are special in a URL
	pool, err := sqlitePool(filepath.Join(t.TempDir(), "a file ?#%.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	db := &database{pool, sqliteEngine}
	if err := db.makeTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := openPenguins(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func bound(t *testing.T, c latchkey.Condition) *latchkey.Predicate {
	t.Helper()
	p, err := penguinSchema.Bind(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPenguinsAreLoadedOnce(t *testing.T) {
	p := openForTest(t)
	all := bound(t, latchkey.AllRows)
	if err := p.delete(t.Context(), all, 1, func(latchkey.Row) error { return nil }); err != nil {
		t.Fatal(err)
	}
	again, err := openPenguins(t.Context(), p.db)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := again.list(t.Context(), all, everything)
	if err != nil || len(rows) != 343 {
		t.Fatalf("%d rows, %v; want 343", len(rows), err)
	}
	unknown := 0
	for _, row := range rows {
		for _, value := range row.Values {
			if value == "" {
				t.Errorf("row %d has an empty text", row.ID)
			}
			if value == nil {
				unknown++
			}
		}
	}
	empty := 0
	for line := range strings.Lines(penguinsCSV) {
		for cell := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			if cell == "" {
				empty++
			}
		}
	}
	if unknown != empty || empty == 0 {
		t.Errorf("%d cells are NULL, and %d are empty in the file", unknown, empty)
	}
}

func TestFilterRunsInSQLite(t *testing.T) {
	p := openForTest(t)
	for name, c := range map[string]struct {
		rows latchkey.Condition
		want int
	}{
		"by id":       {latchkey.Where("dp-2", latchkey.Eq, "Biscoe"), 168},
		"by name":     {latchkey.Where("island", latchkey.Eq, "Biscoe"), 168},
		"as a number": {latchkey.Where("body mass", latchkey.Ge, "4000"), 177},
		"injection":   {latchkey.Where("dp-2", latchkey.Eq, "x' OR '1'='1"), 0},
		"no row":      {latchkey.Condition{}, 0},
	} {
		rows, err := p.list(t.Context(), bound(t, c.rows), everything)
		if err != nil || len(rows) != c.want {
			t.Errorf("%s: %d rows, %v; want %d", name, len(rows), err, c.want)
		}
	}
}

func TestFailedChangeLeavesTheRow(t *testing.T) {
	p := openForTest(t)
	all, stop := bound(t, latchkey.AllRows), errors.New("stop")
	_, err := p.update(t.Context(), all, 1, func(latchkey.Row) (latchkey.Row, error) { return nil, stop })
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err := p.delete(t.Context(), all, 1, func(latchkey.Row) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	one, err := p.get(t.Context(), all, 1)
	if err != nil || one.Version != 0 || one.Values["dp-1"] != "Adelie" {
		t.Fatalf("%+v, %v", one, err)
	}
	if _, err := p.get(t.Context(), bound(t, latchkey.Condition{}), 1); !errors.Is(err, latchkey.ErrNotFound) {
		t.Fatalf("a hidden row: %v", err)
	}
}

func TestPrivateFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := writePrivate(path, []byte("one"), os.Link); err != nil {
		t.Fatal(err)
	}
	if err := writePrivate(path, []byte("two"), os.Link); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second file took the first one's place: %v", err)
	}
	text, _ := os.ReadFile(path)
	if string(text) != "one" {
		t.Errorf("%q", text)
	}
	if err := writePrivate(path, []byte("three"), os.Rename); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

// TestRun runs the whole program in this process: start, one request, stop.
func TestRun(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	db := filepath.Join(t.TempDir(), "penguins.db")
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-addr", "127.0.0.1:0", "-db", db}, write)
		write.Close()
	}()
	line := make([]byte, 1024)
	n, err := read.Read(line)
	if err != nil {
		t.Fatal(err, <-ended)
	}
	go io.Copy(io.Discard, read)
	base, _, _ := strings.Cut(strings.TrimPrefix(string(line[:n]), "latchkey example server: "), "\n")

	var made credentials
	text, err := os.ReadFile(db + ".credentials.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	reply, err := http.Get(base + "/io/api/1/dataset/" + datasetID + "?role=biscoe&key=" + made.APIKey)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var body struct{ Data []object }
	if err := json.NewDecoder(reply.Body).Decode(&body); err != nil || len(body.Data) != 168 {
		t.Errorf("%d rows, %v", len(body.Data), err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run ended with %v", err)
	}
}
