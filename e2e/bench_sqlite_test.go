package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// The figures that matter are ratios: each of ours stands beside the barest statement that could do the same work, with
// the same driver, in the same run.

const benchTokens = 100_000

// benchStore fills a file with tokens. Every second one has a role that inherits another.
func benchStore(b *testing.B) (*sqlstore.Store, *sql.DB) {
	ctx := context.Background()
	db := openDB(b, wal(newFile(b)))
	s := openStore(b, db)
	_, err := s.Write(ctx, latchkey.Write{ID: writeID(), Owner: "acme", Roles: []latchkey.Role{
		{ID: roleID, Owner: "acme", Name: "analyst", Inherits: []string{baseID}}, {ID: baseID, Owner: "acme", Name: "base"}}})
	require.NoError(b, err)
	for n := 0; n < benchTokens; n += 1000 {
		w := latchkey.Write{ID: writeID(), Owner: "acme", Silent: true}
		for i := n; i < n+1000; i++ {
			m := mint("acme", newID(), i)
			if i%2 == 1 {
				m.Tokens[0].Roles = []string{roleID}
			}
			w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
		}
		_, err := s.Write(ctx, w)
		require.NoError(b, err)
	}
	_, err = db.Exec(`CREATE TABLE bare (digest BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID;
		INSERT INTO bare SELECT s.digest, t.body FROM latchkey_secrets s JOIN latchkey_tokens t ON t.id = s.token_id`)
	require.NoError(b, err)
	return s, db
}

func BenchmarkSQLiteRead(b *testing.B) {
	ctx := context.Background()
	s, db := benchStore(b)
	bare, err := db.Prepare("SELECT body FROM bare WHERE digest = ?")
	require.NoError(b, err)
	epoch, err := db.Prepare("SELECT epoch FROM latchkey_epoch WHERE id = 1")
	require.NoError(b, err)
	b.Run("bare point lookup", func(b *testing.B) {
		for b.Loop() {
			d := digest(rand.N(benchTokens))
			var body []byte
			if err := bare.QueryRow(d[:]).Scan(&body); err != nil {
				b.Fatal(err)
			}
		}
	})
	find := func(odd int) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				if _, err := s.ByDigest(ctx, digest(rand.N(benchTokens/2)*2+odd)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("ByDigest", find(0))
	b.Run("ByDigest with roles", find(1))
	b.Run("bare epoch", func(b *testing.B) {
		for b.Loop() {
			var n int64
			if err := epoch.QueryRow().Scan(&n); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Changes(0)", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Changes(ctx, 0, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSQLiteMint(b *testing.B) {
	ctx := context.Background()
	db := openDB(b, wal(newFile(b))+"&_pragma=synchronous(FULL)")
	db.SetMaxOpenConns(4)
	s := openStore(b, db)
	_, err := db.Exec(`CREATE TABLE bare (digest BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID`)
	require.NoError(b, err)
	var n atomic.Int64
	bare := func() error {
		d := digest(int(n.Add(1)))
		_, err := db.Exec("INSERT INTO bare VALUES (?, ?)", d[:], []byte(fmt.Sprint(d)))
		return err
	}
	ours := func() error {
		_, err := s.Write(ctx, mint("acme", newID(), int(n.Add(1))))
		return err
	}
	one := func(f func() error) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	many := func(f func() error) func(*testing.B) {
		return func(b *testing.B) {
			b.SetParallelism(32) // of 2 processors: 64 callers
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := f(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	b.Run("bare row, 1 caller", one(bare))
	b.Run("mint, 1 caller", one(ours))
	b.Run("bare row, 64 callers", many(bare))
	b.Run("mint, 64 callers", many(ours))
}
