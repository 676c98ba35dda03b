package leaks_test

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/leaks"
	"github.com/latchkey-go/latchkey/memstore"
)

// publicKeys keeps what GitHub publishes, and fetches it again at most once a minute.
type publicKeys struct {
	fetch func(context.Context) ([]byte, error) // GET https://api.github.com/meta/public_keys/secret_scanning

	mu   sync.Mutex
	keys map[string]*ecdsa.PublicKey
	next time.Time
}

func (p *publicKeys) key(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[id] == nil && !time.Now().Before(p.next) {
		p.next = time.Now().Add(time.Minute)
		document, err := p.fetch(ctx)
		if err != nil {
			return nil, err // answered 503: GitHub sends the report again
		}
		if p.keys, err = leaks.ParseKeys(document); err != nil {
			return nil, err
		}
	}
	if key := p.keys[id]; key != nil {
		return key, nil
	}
	return nil, leaks.ErrUnknownKey
}

func Example() {
	keys := latchkey.New(memstore.New(nil), nil)
	github := &publicKeys{fetch: func(context.Context) ([]byte, error) { return os.ReadFile("public_keys.json") }}
	mail := func(_ context.Context, leak leaks.Leak) { fmt.Println("tell", leak.Token.Owner, leak.Action) }

	mux := http.NewServeMux()
	mux.Handle("POST /leaks/github", leaks.GitHub(keys, github.key, &leaks.Options{Ended: mail}))
	// Other scanners send the texts, one on each line, with a key of the host's own.
	auth := httpadapter.New(keys, &httpadapter.Options{Owner: "operations"})
	mux.Handle("POST /leaks", auth.Require("report", "leaks")(leaks.List(keys, &leaks.Options{Ended: mail})))

	// A program ends tokens without HTTP.
	ctx := context.Background()
	_, secret, _ := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	text := secret.Reveal()
	for _, r := range leaks.End(ctx, keys, []leaks.Report{{Text: text, URL: "https://paste.example/7"}}, nil) {
		fmt.Println(r.Known, r.Leak.Action, r.Err)
	}
	_, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
	fmt.Println(err)
	// Output:
	// true revoke <nil>
	// latchkey: token revoked
}
