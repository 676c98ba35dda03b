package memstore

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// However many calls of Purge it takes to remove many records of a kind, together they look at each record a few times.
func TestPurgeLooksAtAllAFewTimes(t *testing.T) {
	const size, batch = 1200, 7
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	key := func(i int) (key [16]byte) { binary.BigEndian.PutUint64(key[:], uint64(i)+1); return key }
	digest := func(i int) (key [32]byte) { binary.BigEndian.PutUint64(key[:], uint64(i)+1); return key }
	// until returns the end of record i. Every second one is over.
	until := func(i int) time.Time { return now.Add(time.Duration(i%2) * time.Hour) }
	write := func(s *Store, i int, w latchkey.Write) {
		w.ID, w.At = key(i), now
		require.NoError(t, s.Write(t.Context(), w))
	}
	token := func(owner string, i int) latchkey.Token {
		return latchkey.Token{ID: fmt.Sprintf("%06d", i), Owner: owner, Kind: latchkey.KindAPIKey}
	}
	reserve := func(s *Store, owner string, i int, account latchkey.CreditAccount, until time.Time) {
		account.Meter, account.Limit = "m", 1<<40
		_, err := s.Reserve(t.Context(), latchkey.Reservation{Owner: owner, Key: key(i), Amount: 2, Until: until,
			Accounts: []latchkey.CreditAccount{account}})
		require.NoError(t, err)
	}
	use := func(s *Store, owner string, i int, day string) {
		require.NoError(t, s.AddUsage(t.Context(), latchkey.UsageBatch{ID: key(i), At: now, Rows: []latchkey.UsageRow{
			{Owner: owner, TokenID: fmt.Sprint(i), Meter: "m", Day: day, Count: 1}}}))
	}
	for kind, add := range map[string]func(s *Store, owner string, i int){
		"expired tokens": func(s *Store, owner string, i int) {
			one := token(owner, i)
			one.Validity.NotAfter = until(i)
			write(s, i, latchkey.Write{Owner: owner, Tokens: []latchkey.Token{one}})
		},
		"retired secrets": func(s *Store, owner string, i int) {
			one := token(owner, i)
			write(s, i, latchkey.Write{Owner: owner, Tokens: []latchkey.Token{one}, Secrets: []latchkey.SecretChange{
				{TokenID: one.ID, Add: &latchkey.SecretRecord{Digest: digest(i), NotAfter: until(i)}}}})
		},
		"once keys": func(s *Store, owner string, i int) {
			require.NoError(t, s.Once(t.Context(), owner, digest(i), until(i)))
		},
		"lapsed reservations": func(s *Store, owner string, i int) {
			reserve(s, owner, i, latchkey.CreditAccount{}, until(i))
		},
		"settled reservations": func(s *Store, owner string, i int) {
			reserve(s, owner, i, latchkey.CreditAccount{}, until(i).Add(-time.Minute))
			require.NoError(t, s.Settle(t.Context(), owner, key(i), 1))
		},
		"credits": func(s *Store, owner string, i int) {
			reserve(s, owner, i, latchkey.CreditAccount{TokenID: fmt.Sprint(i), Ends: until(i).Add(-time.Minute)}, time.Time{})
			require.NoError(t, s.Settle(t.Context(), owner, key(i), 1))
		},
		"events": func(s *Store, owner string, i int) {
			w := latchkey.Write{Owner: owner, Events: []latchkey.Event{{At: now.Add(-time.Hour)}}}
			if i >= size/2 { // in the order of time
				w.Events[0].At = now
			}
			write(s, i, w)
		},
		"days of usage": func(s *Store, owner string, i int) {
			use(s, owner, i, []string{"2026-09-01", "2026-12-01"}[i%2])
		},
		"months of usage": func(s *Store, owner string, i int) { use(s, owner, i, []string{"2026-07", "2026-12"}[i%2]) },
		"revocations": func(s *Store, _ string, i int) {
			s.history.revoked = append(s.history.revoked, &change{Change: latchkey.Change{Epoch: 1,
				Kind: latchkey.ChangedRevocation, ID: fmt.Sprint(i), Until: until(i)}})
		},
	} {
		for _, owners := range []int{1, size / 2} {
			s := New(nil)
			for i := range size {
				add(s, fmt.Sprint("o", i/2%owners), i)
			}
			p := latchkey.PurgePolicy{Now: now, Changes: time.Minute, Events: time.Minute, UsageDays: 24 * time.Hour,
				UsageMonths: 100 * 24 * time.Hour}
			removed, calls := 0, 0
			for n := batch; n == batch; calls++ {
				var err error
				n, err = s.Purge(t.Context(), p, batch)
				require.NoError(t, err)
				removed += n
			}
			what := fmt.Sprintf("%s of %d owners", kind, owners)
			require.Equal(t, size/2, removed, what)
			require.Equal(t, size/2/batch+1, calls, what)
			// Two looks at everything, and two at each record that is removed. There is as much beside the records: tokens of
			// secrets, accounts of reservations, owners.
			require.LessOrEqual(t, s.looked, 8*size, what)
			require.Empty(t, s.due, what)
			require.Empty(t, s.dueRevocations, what)
		}
	}
}

// What a call remembers may have changed before the next call, which looks at it again.
func TestPurgeForgetsWhatChanged(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	p := latchkey.PurgePolicy{Now: now, Expired: -1, Revoked: -1, Changes: -1}
	s := New(nil)
	w := latchkey.Write{ID: [16]byte{1}, Owner: "acme"}
	for i := range byte(10) {
		one := latchkey.Token{ID: fmt.Sprint(i), Owner: "acme", Kind: latchkey.KindAPIKey}
		one.Validity.NotAfter = now
		w.Tokens = append(w.Tokens, one)
	}
	require.NoError(t, s.Write(t.Context(), w))
	p.Expired = 0
	removed, err := s.Purge(t.Context(), p, 1)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	p.Expired = time.Hour // a policy that keeps more
	removed, err = s.Purge(t.Context(), p, 3)
	require.NoError(t, err)
	require.Zero(t, removed)
	p.Expired = 0
	removed, err = s.Purge(t.Context(), p, 1)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	a := s.owners["acme"]
	require.Len(t, s.due, 1)
	renewed, replaced := s.due[0].tokens[0].copy(), s.due[0].tokens[1].copy()
	w = latchkey.Write{ID: [16]byte{2}, Owner: "acme", DeleteTokens: []latchkey.Ref{{ID: replaced.ID}}}
	renewed.Validity.NotAfter = now.Add(time.Hour)
	w.Tokens = []latchkey.Token{renewed}
	require.NoError(t, s.Write(t.Context(), w))
	replaced.Version, replaced.Validity.NotAfter = 0, time.Time{}
	require.NoError(t, s.Write(t.Context(), latchkey.Write{ID: [16]byte{3}, Owner: "acme",
		Tokens: []latchkey.Token{replaced}}))

	removed, err = s.Purge(t.Context(), p, 100)
	require.NoError(t, err)
	require.Equal(t, 6, removed)
	require.Len(t, a.tokens.m, 2)
	for _, id := range []string{renewed.ID, replaced.ID} {
		_, ok := a.tokens.get(id)
		require.True(t, ok, id)
	}

	// An owner that is erased has nothing that is due.
	require.NoError(t, s.Once(t.Context(), "acme", [32]byte{1}, now))
	require.NoError(t, s.Once(t.Context(), "acme", [32]byte{2}, now))
	removed, err = s.Purge(t.Context(), p, 1)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	require.NoError(t, s.Write(t.Context(), latchkey.Write{ID: [16]byte{4}, Owner: "acme", Erase: true}))
	removed, err = s.Purge(t.Context(), p, 1)
	require.NoError(t, err)
	require.Zero(t, removed)
}

// One call removes no more than it is allowed to, also of what is in the order of time.
func TestPurgeIsBounded(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	p := latchkey.PurgePolicy{Now: now.Add(time.Microsecond), Expired: -1, Revoked: -1, Events: -1,
		Changes: time.Microsecond}
	s := New(nil)
	for i := range byte(4) {
		require.NoError(t, s.Write(t.Context(), latchkey.Write{ID: [16]byte{i + 1}, At: now, Owner: "acme",
			OwnerRecord: &latchkey.Owner{ID: "acme", Version: uint64(i)}}))
		require.NoError(t, s.AddUsage(t.Context(), latchkey.UsageBatch{ID: [16]byte{i + 1}, At: now}))
	}
	all := len(s.history.rows) + len(s.writes) + len(s.batched)
	require.GreaterOrEqual(t, all, 12)
	for left := all; left > 0; {
		n := min(left, 1+left%2)
		removed, err := s.Purge(t.Context(), p, n)
		require.NoError(t, err)
		require.Equal(t, n, removed)
		left -= n
		require.Equal(t, left, len(s.history.rows)+len(s.writes)+len(s.batched))
	}
}
