package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/transfer"
	"github.com/latchkey-go/latchkey/memstore"
)

// sealed returns lines as a file whose last line is right.
func sealed(body string) string {
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	text := `{"latchkey":"export","format":1,"id":"01a22f0e-75a5-7d64-94ab-59a7f279e43f","at":"2026-11-22T09:00:00Z"}` +
		"\n" + body
	sum := sha256.Sum256([]byte(text))
	return text + fmt.Sprintf(`{"end":{"lines":%d,"sha256":"%s","keys":[]}}`, strings.Count(text, "\n"),
		hex.EncodeToString(sum[:])) + "\n"
}

// Whatever a file holds that passes the check, an import ends, and what it wrote can be exported again.
func FuzzCheck(f *testing.F) {
	f.Add(`{"owner":{"id":"acme","version":0}}`)
	f.Add(strings.Join([]string{
		`{"owner":{"id":"acme","version":3,"boundary":[],"since":2}}`,
		`{"event":{"seq":1,"at":"2026-11-22T09:00:00Z","owner":"acme","action":"token.issue","object":"x","after":{"a":1}}}`,
		`{"usage":{"owner":"acme","token_id":"x","meter":"calls","day":"2026-11-22","count":3,"credits":5}}`,
		`{"role":{"id":"01a22f0e-7678-7497-a437-cc2817aa6f21","owner":"acme","version":1,"name":"viewer"}}`,
		`{"client":{"id":"c1","name":"Ada"}}`,
		`{"token":{"id":"01a22f0e-75a5-7d64-94ab-59a7f279e43f","owner":"acme","version":2,"kind":"api_key",` +
			`"roles":["01a22f0e-7678-7497-a437-cc2817aa6f21"],"created":"2026-11-22T09:00:00Z","hint":"ak_vh…wnk"},` +
			`"secrets":[{"digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","hint":"ak_vh…wnk",` +
			`"created":"2026-11-22T09:00:00Z","used":"2026-11-22T09:00:00Z","used_from":"192.0.2.1"}]}`}, "\n"))
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body string) {
		file := sealed(body)
		contents, err := transfer.Check(t.Context(), strings.NewReader(file), nil)
		if err != nil {
			return
		}
		s := &side{T: t, at: &at, store: memstore.New(&memstore.Options{Clock: func() time.Time { return at }})}
		sum, err := transfer.Import(t.Context(), s.store, strings.NewReader(file), s.importOptions(nil))
		if err != nil {
			require.True(t, errors.Is(err, latchkey.ErrInvalid) || errors.Is(err, latchkey.ErrExists) ||
				errors.Is(err, latchkey.ErrConflict), "%v", err)
			return
		}
		require.Equal(t, contents.Summary, sum)
		var out bytes.Buffer
		var ids []string
		for o, err := range everyOwner(t, s.store) {
			require.NoError(t, err)
			ids = append(ids, o)
		}
		again, err := transfer.Export(t.Context(), s.store, &out, transfer.ExportOptions{Owners: owners(ids...), Now: at})
		require.NoError(t, err)
		require.Equal(t, sum.Tokens, again.Tokens)
		require.Equal(t, sum.Roles, again.Roles)
		require.Equal(t, sum.Events+2*sum.Owners, again.Events)
		_, err = transfer.Check(t.Context(), &out, nil)
		require.NoError(t, err)
	})
}

// everyOwner yields the owners that have events.
func everyOwner(t *testing.T, store latchkey.Store) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		q := latchkey.UndeliveredQuery{Cursor: "all", Page: latchkey.Page{Limit: 1000}}
		page, _, err := store.Undelivered(t.Context(), q)
		if err != nil {
			yield("", err)
			return
		}
		for _, d := range page {
			if !yield(d.Owner, nil) {
				return
			}
		}
	}
}
