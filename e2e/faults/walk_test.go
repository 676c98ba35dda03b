package faults

import (
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// Walk reports each of these.
func TestWalkerSees(t *testing.T) {
	harness.OnSubjects(t, func(t *testing.T, s harness.Subject) {
		dsn := s.Fresh(t)
		store, db := s.Store(t, dsn), s.Open(t, dsn)
		world.Build(t, store)
		require.Empty(t, world.Walk(t, db))
		id := map[*harness.Engine]string{harness.Postgres: "decode(repeat('07', 16), 'hex')"}
		for _, spoil := range []string{
			`DELETE FROM latchkey_secrets WHERE token_id = 't2'`,
			`DELETE FROM latchkey_tokens WHERE id = 't2'`,
			`DELETE FROM latchkey_tokens WHERE id = 't1'`,
			`UPDATE latchkey_tokens SET used = 5 WHERE id = 't2'`,
			`UPDATE latchkey_tokens SET record = (SELECT body FROM latchkey_owners) WHERE id = 't2'`,
			`UPDATE latchkey_secrets SET found = (SELECT body FROM latchkey_owners) WHERE token_id = 't2'`,
			`UPDATE latchkey_secrets SET head = head + 1 WHERE token_id = 't2'`,
			`DELETE FROM latchkey_roles WHERE id = 'r1'`,
			`DELETE FROM latchkey_roles WHERE id = 'r2'`,
			`UPDATE latchkey_event_seqs SET seq = seq + 1`,
			`UPDATE latchkey_event_seqs SET seq = seq - 1`,
			`UPDATE latchkey_epoch SET epoch = epoch + 1`,
			`UPDATE latchkey_epoch SET epoch = epoch - 1`,
			`DELETE FROM latchkey_changes WHERE epoch = 1 AND seq = 0`,
			`DELETE FROM latchkey_changes WHERE epoch = 1 AND seq = 1`,
			`DELETE FROM latchkey_changes WHERE epoch = 2`,
			`DELETE FROM latchkey_writes`,
			`UPDATE latchkey_credits SET used = used + 1 WHERE token_id = ''`,
			`DELETE FROM latchkey_credits WHERE token_id <> ''`,
			`DELETE FROM latchkey_reservations`,
			`UPDATE latchkey_reservations SET actual = 1`,
			`INSERT INTO latchkey_reservations SELECT owner, ` + cmp.Or(id[s.Engine], "x'07070707070707070707070707070707'") +
				`, amount, 0, NULL, credit_left, NULL, 0, body FROM latchkey_reservations`,
		} {
			tx, err := db.Begin()
			require.NoError(t, err)
			_, err = tx.Exec(spoil)
			require.NoError(t, err, spoil)
			require.NotEmpty(t, world.Walk(t, tx), spoil)
			require.NoError(t, tx.Rollback())
		}
	})
}
