package settings_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/settings"
)

// A program makes its Options from the file that the command reads, too, and adds what is a function of its own.
func Example() {
	s, err := settings.Parse("latchkey.json", []byte(`{
		"format": 1,
		"store": {"engine": "sqlite", "file": "latchkey.db"},
		"prefix": "acme",
		"max_stale": "5s"
	}`)) // settings.Read reads a file
	if err != nil {
		log.Fatal(err)
	}
	opts, err := s.Options()
	if err != nil {
		log.Fatal(err)
	}
	opts.CreditLease = latchkey.Hundredth
	keys := latchkey.New(memstore.New(nil), opts) // a program opens the store that s.Engine and s.DSN tell
	fmt.Println(s.Engine(), opts.Prefix, keys.MaxStale())
	// Output: sqlite acme 5s
}

func ExampleRead() {
	dir, err := os.MkdirTemp("", "settings")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "latchkey.json")
	err = os.WriteFile(path, []byte(`{"format": 1, "store": {"engine": "sqlite", "file": "latchkey.db"}}`), 0o600)
	if err != nil {
		log.Fatal(err)
	}

	s, err := settings.Read(path) // "latchkey.json"
	if err != nil {
		log.Fatal(err)
	}
	opts, err := s.Options() // set Observer, Logger and the like before latchkey.New
	if err != nil {
		log.Fatal(err)
	}
	dsn, err := s.DSN() // for sql.Open
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(opts.MaxStale, filepath.Base(dsn) != "")
	// Output: 0s true
}
