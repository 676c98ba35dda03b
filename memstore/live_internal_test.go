package memstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Whatever comes and goes, a limit answers like a count of all tokens.
func TestLimitsAnswerLikeACountOfAllTokens(t *testing.T) {
	const most, at = 4, 1_000_000
	var granted, refused int
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		s, now, n := New(nil), time.UnixMicro(at*1e6), uint64(0)
		version, notBefore := uint64(1), time.Time{}
		parents := []string{"", "p"}
		write := func(w latchkey.Write) error {
			n++
			w.Owner, w.At, w.Silent = "acme", now, true
			binary.BigEndian.PutUint64(w.ID[:], n)
			return s.Write(t.Context(), w)
		}
		var ids []string
		latest := now
		for range 300 {
			if now.After(latest) {
				latest = now
			}
			now = now.Add(time.Duration(random.IntN(40)-8) * time.Second)
			a := s.ensure("acme")
			parent := parents[random.IntN(2)]
			limit := &latchkey.LiveLimit{Parent: parent, Max: most, Now: now, OwnerVersion: version, NotBefore: notBefore}
			live := func() (count int) {
				for _, one := range a.tokens.m {
					if limit.Counts(one.view()) {
						count++
					}
				}
				return count
			}
			switch random.IntN(12) {
			case 0, 1, 2, 3, 4, 5: // tokens that are new, some with a Write that fails for another reason
				w := latchkey.Write{Live: limit}
				for range 1 + random.IntN(2) {
					id := fmt.Sprint("t", len(ids))
					ids = append(ids, id)
					one := latchkey.Token{ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Parent: parent, Created: now,
						OwnerVersion: version}
					if random.IntN(3) > 0 {
						one.Validity.NotAfter = now.Add(time.Duration(random.IntN(200)-10) * time.Second)
					}
					if random.IntN(3) == 0 {
						one.Validity.Idle = time.Duration(20+random.IntN(60)) * time.Second
					}
					w.Tokens = append(w.Tokens, one)
				}
				if len(ids) > 9 && random.IntN(4) == 0 {
					if gone := ids[random.IntN(len(ids))]; func() bool { _, ok := a.tokens.get(gone); return ok }() {
						w.DeleteTokens = []latchkey.Ref{{ID: gone}}
					}
				}
				fails := random.IntN(4) == 0
				if fails {
					w.DeleteRoles = []latchkey.Ref{{ID: "none"}}
				}
				count := live()
				for i := range w.Tokens {
					if limit.Counts(w.Tokens[i]) {
						count++
					}
				}
				for _, ref := range w.DeleteTokens {
					if one, _ := a.tokens.get(ref.ID); limit.Counts(one.view()) {
						count--
					}
				}
				err := write(w)
				switch {
				case count > most:
					require.ErrorIs(t, err, latchkey.ErrTooMany, "seed %d", seed)
					refused++
				case fails:
					require.Error(t, err)
					require.False(t, errors.Is(err, latchkey.ErrTooMany), "seed %d: %v", seed, err)
				default:
					require.NoError(t, err, "seed %d", seed)
					granted++
				}
			case 6, 7: // an end without a limit
				if len(ids) == 0 {
					continue
				}
				if one, ok := a.tokens.get(ids[random.IntN(len(ids))]); ok {
					v := one.copy()
					if random.IntN(2) == 0 {
						v.Revoked = now
					} else if v.Validity.NotAfter.IsZero() || v.Validity.NotAfter.After(now) {
						v.Validity.NotAfter = now
					}
					require.NoError(t, write(latchkey.Write{Tokens: []latchkey.Token{v}}))
				}
			case 8: // a later end, under the limit
				if len(ids) == 0 {
					continue
				}
				if one, ok := a.tokens.get(ids[random.IntN(len(ids))]); ok && one.parent == parent {
					v := one.copy()
					v.Validity.NotAfter, v.Revoked = now.Add(time.Minute), time.Time{}
					count := live()
					if !limit.Counts(one.view()) && limit.Counts(v) {
						count++
					}
					err := write(latchkey.Write{Tokens: []latchkey.Token{v}, Live: limit})
					if count > most {
						require.ErrorIs(t, err, latchkey.ErrTooMany, "seed %d", seed)
						refused++
					} else {
						require.NoError(t, err, "seed %d", seed)
					}
				}
			case 9: // uses
				if now.Before(latest) {
					continue // what has idled out would live again
				}
				for _, one := range a.tokens.m {
					if random.IntN(2) == 0 && limit.Counts(one.view()) {
						one.used = micros(now)
					}
				}
			case 10:
				_, err := s.Purge(t.Context(), latchkey.PurgePolicy{Now: now.Add(-time.Minute), Changes: -1, Events: -1}, 5)
				require.NoError(t, err)
			case 11:
				if random.IntN(6) == 0 {
					version++
					notBefore = now.Add(-20 * time.Second)
				}
			}
		}
	}
	require.Greater(t, granted, 200)
	require.Greater(t, refused, 200)
}

// A place that is taken again and again costs the same however many tokens have ended.
func TestALimitLooksAtNoEndedTokenTwice(t *testing.T) {
	s, now := New(nil), time.UnixMicro(1e12)
	for n := range 2000 {
		now = now.Add(time.Second)
		w := latchkey.Write{Owner: "acme", At: now, Silent: true, Live: &latchkey.LiveLimit{Max: 3, Now: now},
			Tokens: []latchkey.Token{{ID: fmt.Sprint(n), Owner: "acme", Kind: latchkey.KindAPIKey, Created: now,
				Settings: latchkey.Settings{Validity: latchkey.Validity{NotAfter: now.Add(3 * time.Second)}}}}}
		binary.BigEndian.PutUint64(w.ID[:], uint64(n)+1)
		require.NoError(t, s.Write(t.Context(), w))
		require.LessOrEqual(t, len(s.ensure("acme").live[""].list), 3)
	}
}

// A limit that found its tokens by one NotBefore, or that holds ones that have ended, counts anew.
func TestALimitCountsAnew(t *testing.T) {
	began := time.Unix(1_000_000, 0).UTC()
	s, n := New(nil), uint64(0)
	write := func(l latchkey.LiveLimit, id string, end time.Time) error {
		n++
		one := latchkey.Token{ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Created: l.Now, OwnerVersion: 1}
		one.Validity.NotAfter = end
		w := latchkey.Write{Owner: "acme", At: l.Now, Silent: true, Live: &l, Tokens: []latchkey.Token{one}}
		binary.BigEndian.PutUint64(w.ID[:], n)
		return s.Write(t.Context(), w)
	}
	at := func(d time.Duration) latchkey.LiveLimit {
		return latchkey.LiveLimit{Max: 1, Now: began.Add(d), OwnerVersion: 1}
	}
	require.NoError(t, write(at(0), "a", began.Add(time.Minute)))
	require.ErrorIs(t, write(at(time.Second), "b", time.Time{}), latchkey.ErrTooMany)
	require.NoError(t, write(at(time.Minute), "b", time.Time{}), "a has ended: there is room for one")
	require.ErrorIs(t, write(at(time.Minute), "c", time.Time{}), latchkey.ErrTooMany)

	later := at(2 * time.Minute)
	later.NotBefore = later.Now
	require.NoError(t, write(later, "c", time.Time{}), "the NotBefore ends b")
	require.ErrorIs(t, write(at(3*time.Minute), "d", time.Time{}), latchkey.ErrTooMany, "b lives again")
	two := at(3 * time.Minute)
	two.Max = 2
	require.ErrorIs(t, write(two, "d", time.Time{}), latchkey.ErrTooMany, "b and c live")
	two.Max = 3
	require.NoError(t, write(two, "d", time.Time{}))
}
