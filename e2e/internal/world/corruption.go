package world

import (
	"bytes"
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Corrupt damages what is stored, one way after another. literal is bytes as the engine writes them.
func Corrupt(t *testing.T, fresh func(t *testing.T) (*sqlstore.Store, *sql.DB), literal func([]byte) string) {
	ctx := context.Background()
	set := func(table, column string, change func([]byte) []byte) func(*testing.T, *sql.DB) {
		return func(t *testing.T, db *sql.DB) {
			each(t, db, `SELECT `+column+` FROM `+table, func(rows *sql.Rows) {
				var was []byte
				require.NoError(t, rows.Scan(&was))
				_, err := db.Exec(`UPDATE ` + table + ` SET ` + column + ` = ` + literal(change(bytes.Clone(was))) + ` WHERE ` +
					column +
					` = ` + literal(was))
				require.NoError(t, err)
			})
		}
	}
	to := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	future := func(b []byte) []byte { // written by a version that knows more
		b[0]++
		return b
	}
	body := func(b []byte) []byte {
		return append(b[:bytes.LastIndexByte(b, '{')], `{"permissions":null,"future":1}`...)
	}
	for _, c := range []struct {
		what  string
		spoil func(*testing.T, *sql.DB)
		loads bool // by its id the token is found all the same
	}{
		{"an empty record", set("latchkey_tokens", "record", to("")), false},
		{"a record cut off", set("latchkey_tokens", "record", func(b []byte) []byte { return b[:len(b)-1] }), false},
		{"a record of the future", set("latchkey_tokens", "record", future), false},
		{"a body of the future", set("latchkey_tokens", "record", body), false},
		{"an empty secret", set("latchkey_secrets", "found", to("")), true},
		{"a secret cut off", set("latchkey_secrets", "found", func(b []byte) []byte { return b[:len(b)-1] }), true},
		{"a secret of the future", set("latchkey_secrets", "found", func(b []byte) []byte {
			return append(b[:40], future(b[40:])...)
		}), true},
		{"another's secret", set("latchkey_secrets", "found", func(b []byte) []byte {
			b[8]++ // of the digest
			return b
		}), true},
		{"a copy of the future", set("latchkey_secrets", "found", body), true},
		{"the role", set("latchkey_roles", "body", to(`{} {}`)), false},
		{"the owner", set("latchkey_owners", "body", to(`{} {}`)), false},
		{"the boundary", func(t *testing.T, db *sql.DB) {
			_, err := db.Exec(`UPDATE latchkey_owners SET boundary = ` + literal([]byte{'{'}))
			require.NoError(t, err)
		}, false},
		{"the epoch", func(t *testing.T, db *sql.DB) {
			_, err := db.Exec(`DELETE FROM latchkey_epoch`)
			require.NoError(t, err)
		}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			s, db := fresh(t)
			Build(t, s)
			c.spoil(t, db)
			f, err := s.ByDigest(ctx, 0, Digest(2))
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.Zero(t, f)
			f, err = s.ByDigest(ctx, 0, Digest(7), Digest(2))
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.Zero(t, f)
			f, err = s.Load(ctx, "acme", ChildID)
			if c.loads {
				require.NoError(t, err)
				_, err = s.Secrets(ctx, "acme", ChildID)
				if c.what == "a secret cut off" || c.what == "a copy of the future" || c.what == "another's secret" {
					return // it is the copy that is spoilt, or whose it is, and a secret is listed without that
				}
			}
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.Empty(t, f.Secret)
		})
	}
	// A damaged token can still be deleted.
	s, db := fresh(t)
	Build(t, s)
	set("latchkey_tokens", "record", to("{"))(t, db)
	set("latchkey_secrets", "found", to("{"))(t, db)
	err := s.Write(ctx, latchkey.Write{ID: WriteID(), Owner: "acme", DeleteTokens: []latchkey.Ref{{ID: ParentID}}})
	require.NoError(t, err)
	_, err = s.ByDigest(ctx, 0, Digest(2))
	require.ErrorIs(t, err, latchkey.ErrNotFound)
}
