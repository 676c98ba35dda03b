package memstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func BenchmarkByDigest(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		before := heap()
		s := memstore.New(nil)
		plain(b, s, n)
		perToken := float64(heap()-before) / float64(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			b.ReportMetric(perToken, "B/token")
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(1, 2))
				for pb.Next() {
					if _, err := s.ByDigest(ctx, 0, digest(r.IntN(n))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A role that few tokens have, among many tokens: to delete it, to require its holders, and to list them.
func BenchmarkRoles(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		ctx, s := context.Background(), memstore.New(nil)
		plain(b, s, n)
		held := latchkey.Token{ID: "held", Owner: "acme", Kind: latchkey.KindAPIKey}
		held.Roles = []string{"role"}
		role := latchkey.Role{ID: "role", Owner: "acme", Name: "role"}
		writes := n
		write := func(w latchkey.Write) {
			writes++
			w.ID, w.Owner, w.At = key(writes), "acme", noon
			if err := s.Write(ctx, w); err != nil {
				b.Fatal(err)
			}
		}
		write(latchkey.Write{Roles: []latchkey.Role{role}, Tokens: []latchkey.Token{held}})
		b.Run(fmt.Sprint("delete/", n), func(b *testing.B) {
			for b.Loop() {
				write(latchkey.Write{Roles: []latchkey.Role{{ID: "other", Owner: "acme", Name: "other"}}})
				write(latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: "other"}}})
			}
		})
		b.Run(fmt.Sprint("require/", n), func(b *testing.B) {
			for b.Loop() {
				write(latchkey.Write{Silent: true, RequireHolders: []latchkey.Holders{{RoleID: "role",
					Tokens: []latchkey.Ref{{ID: "held", Version: 1}}}}})
			}
		})
		b.Run(fmt.Sprint("list/", n), func(b *testing.B) {
			for b.Loop() {
				if list, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{Role: "role"}); err != nil || len(list) != 1 {
					b.Fatal(len(list), err)
				}
			}
		})
	}
}

func BenchmarkChangesEpoch(b *testing.B) {
	ctx, s := context.Background(), memstore.New(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Changes(ctx, 0, 0, 0)
	}
}

func BenchmarkWriteMint(b *testing.B) {
	ctx, s := context.Background(), memstore.New(nil)
	plain(b, s, 1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		id := tokenID(n)
		err := s.Write(ctx, latchkey.Write{
			ID: key(n), Owner: "acme", At: noon, Silent: true,
			Tokens: []latchkey.Token{{
				ID: id, Owner: "acme", Kind: latchkey.KindAccess, Parent: tokenID(0), Depth: 1, Full: true, Created: noon,
				Settings: latchkey.Settings{Validity: latchkey.Validity{NotAfter: noon.Add(time.Hour)}},
			}},
			Secrets:       []latchkey.SecretChange{{TokenID: id, Add: &latchkey.SecretRecord{Digest: digest(n), Created: noon}}},
			RequireTokens: []latchkey.Ref{{ID: tokenID(0)}},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
