package latchkey_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Counters without a metrics library, and a log of what went wrong.
func ExampleObserver() {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	var verified counter
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Verified: func(_ context.Context, v latchkey.Verification) {
			verified.add(v.Outcome + " by " + string(v.Source)) // few texts: both are labels
		},
		Changed: func(ctx context.Context, e latchkey.Event) { log.InfoContext(ctx, "changed", "event", e) },
		Failed:  func(ctx context.Context, f latchkey.Failure) { log.ErrorContext(ctx, "failed", "failure", f) },
		StoreCall: func(ctx context.Context, c latchkey.StoreCall) {
			if c.Duration > time.Second {
				log.WarnContext(ctx, "the store is slow", "call", c)
			}
		},
	}})
	_, secret, _ := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	for range 3 {
		_, _ = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	}
	_, _ = keys.Verify(ctx, latchkey.Presented{Secret: "nonsense"})
	fmt.Println(verified.of)
	// Output:
	// level=INFO msg=changed event.action=token.issue event.object=an-id event.owner=acme
	// map[ok by cache:2 ok by store:1 unknown by none:1]
}

// counter counts by a text. It is safe for concurrent use.
type counter struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[what]++
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey:
		return slog.Attr{}
	case "object":
		return slog.String("object", "an-id")
	}
	return a
}
