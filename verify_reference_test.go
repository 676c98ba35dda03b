package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A Verify that the cache decides answers like one that reads every record: random tokens, requests, changes by another
// process and times. With MaxStale that holds from the first microsecond after the bound.
func TestCachedAnswersEqualThoseOfTheStore(t *testing.T) {
	seeds := uint64(25)
	if testing.Short() {
		seeds = 8
	}
	for name, c := range map[string]struct {
		stale    time.Duration
		hostTime bool
	}{
		"strict":                      {0, true},
		"strict, time.Now":            {0, false},
		"within MaxStale":             {20 * time.Second, true},
		"within MaxStale by time.Now": {20 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			outcomes := map[string]int{}
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) { compareVerify(t, seed, c.stale, c.hostTime, outcomes) })
			}
			for _, reason := range []string{"ok", "unknown token", "test", "disabled", "revoked", "not yet valid", "expired",
				"parent", "signature required", "signature", "referer", "address", "rate limited", "mint", "mint refused",
				"stateless mint", "hits"} {
				found := 0
				for text, n := range outcomes {
					if strings.Contains(text, reason) {
						found += n
					}
				}
				if !testing.Short() {
					require.GreaterOrEqual(t, found, 3, "%s of %v", reason, outcomes)
				}
			}
		})
	}
}

// referenceToken is a token that requests are made with.
type referenceToken struct {
	id, signing string
	secrets     []string
	test        bool
}

func compareVerify(t *testing.T, seed uint64, stale time.Duration, hostTime bool, outcomes map[string]int) {
	random := rand.New(rand.NewPCG(seed, 99))
	w := &world{T: t, ctx: t.Context()}
	w.time.Store(time.Now().UnixMicro())
	now, advance := w.now, w.turn
	if !hostTime {
		now, advance = nil, func(d time.Duration) { time.Sleep(d) } // in the bubble, where nothing waits
	}
	store := memstore.New(&memstore.Options{Clock: now})
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	manager := func(cached int, stale time.Duration) *latchkey.Manager {
		m := latchkey.New(store, &latchkey.Options{Clock: now, Keyring: ring, CacheTokens: cached, MaxStale: stale})
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m
	}
	fast, slow, admin := manager(1000, stale), manager(-1, 0), manager(-1, 0)
	acme := admin.For("acme")
	reader := func() latchkey.Role {
		return latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("d/*")}}
	}
	role := must(acme.CreateRole(w.ctx, reader()))
	at := func() time.Time {
		if now != nil {
			return now()
		}
		return time.Now().UTC()
	}
	chance := func(n int) bool { return random.IntN(n) == 0 }
	prefix := func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix([]string{"10.0.0.0/8", "10.1.0.0/16"}[random.IntN(2)])}
	}
	change := func(s *latchkey.Settings) {
		s.Restrictions = latchkey.Restrictions{}
		if chance(4) {
			s.Restrictions.Domains = []string{"example.com"}
		}
		if chance(4) {
			s.Restrictions.Addresses = prefix()
		}
		if chance(4) {
			s.Restrictions.MintFrom = prefix()
		}
		s.Restrictions.Signed = chance(6)
		s.Validity = latchkey.Validity{}
		if chance(3) {
			s.Validity.NotAfter = at().Add(time.Duration(1+random.IntN(200)) * time.Second)
		}
		if chance(6) {
			s.Validity.NotBefore = at().Add(time.Duration(random.IntN(60)-30) * time.Second)
			if end := s.Validity.NotAfter; !end.IsZero() && !end.After(s.Validity.NotBefore) {
				s.Validity.NotBefore = time.Time{}
			}
		}
		if chance(4) {
			s.Validity.Idle = time.Duration(30+random.IntN(90)) * time.Second
		}
		s.Limits = latchkey.Limits{}
		if chance(4) {
			s.Limits.Rate = latchkey.Rate{Count: 1, Per: 10 * time.Second, Burst: 1}
		}
		if s.Roles = nil; s.Permissions != nil && chance(2) {
			s.Roles = []string{role.ID}
		}
	}
	var tokens []referenceToken
	issue := func() {
		s := latchkey.Settings{Name: fmt.Sprint("token ", len(tokens)), Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Update).On("d/1")}}
		change(&s)
		spec := s.Spec(latchkey.KindAPIKey)
		if chance(4) {
			spec.Kind, spec.Test, spec.Roles, spec.Permissions = latchkey.KindSecret, true, nil, nil
		}
		token, secret, err := acme.Issue(w.ctx, spec)
		require.NoError(t, err)
		signing, err := acme.SigningSecret(w.ctx, token.ID)
		require.NoError(t, err)
		tokens = append(tokens, referenceToken{token.ID, signing.Reveal(), []string{secret.Reveal()}, spec.Test})
	}
	for range 5 {
		issue()
	}
	outcome := func(err error) string {
		if err == nil {
			return "ok"
		}
		return err.Error()
	}
	describe := func(a latchkey.Access, err error) string {
		if err != nil {
			require.False(t, a.Allows(latchkey.Read, "d/1"))
			return outcome(err)
		}
		return fmt.Sprint("ok ", a.TokenID(), a.Owner(), a.Name(), a.Ends(), a.RoleNames(), a.Test(),
			a.Allows(latchkey.Read, "d/1"), a.Allows(latchkey.Update, "d/1"), a.Allows(latchkey.Delete, "d/1"))
	}
	once := byte(0)
	for range 500 {
		one := &tokens[random.IntN(len(tokens))]
		if chance(10) { // a change by another process
			var err error
			switch random.IntN(8) {
			case 0, 1, 2:
				_, err = acme.Update(w.ctx, one.id, func(t *latchkey.Token) error { change(&t.Settings); return nil })
			case 3:
				_, err = acme.Update(w.ctx, one.id, func(t *latchkey.Token) error { t.Disabled = !t.Disabled; return nil })
			case 4:
				var fresh latchkey.Secret
				if fresh, err = acme.Rotate(w.ctx, one.id, time.Duration(random.IntN(60))*time.Second); err == nil {
					one.secrets = append(one.secrets, fresh.Reveal())
				}
			case 5:
				if err = acme.Revoke(w.ctx, one.id, "over"); err == nil && len(tokens) < 12 {
					issue()
				}
			case 6:
				err = acme.Configure(w.ctx, func(o *latchkey.Owner) error {
					if o.Disabled = !o.Disabled && chance(5); chance(3) {
						o.Limits.Rate = latchkey.Rate{Count: 10, Per: 10 * time.Second, Burst: 3}
					}
					return nil
				})
			case 7:
				role, err = acme.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error {
					if r.Permissions = nil; chance(2) {
						r.Permissions = reader().Permissions
					}
					return nil
				})
			}
			if err != nil {
				outcomes["refused change: "+err.Error()]++
			}
			if stale != 0 {
				advance(stale + time.Microsecond)
			}
		}
		if chance(2) {
			advance(time.Duration(random.IntN(15_000)) * time.Millisecond)
		} else if chance(20) && hostTime && stale == 0 {
			advance(-time.Duration(random.IntN(5_000)) * time.Millisecond)
		}
		p := latchkey.Presented{Secret: one.secrets[random.IntN(len(one.secrets))], Test: one.test != chance(9)}
		if chance(2) {
			p.Address = netip.MustParseAddr([]string{"10.1.2.3", "10.2.2.3", "11.1.1.1"}[random.IntN(3)])
		}
		if chance(2) {
			p.Referer = []string{"https://example.com/x", "https://evil.example/"}[random.IntN(2)]
		}
		if chance(4) {
			p.Origin = []string{"https://example.com", "https://evil.example"}[random.IntN(2)]
		}
		signature := chance(3)
		wrong, date := chance(5), at().Add(time.Duration(random.IntN(40)-20)*time.Minute)
		if once++; once == 255 {
			once = 1
		}
		reused := chance(8)
		owner := []string{"", "acme", "globex"}[random.IntN(24)/11]
		if owner == "globex" && len(p.Secret) > 60 {
			// That of a stateless token is refused before the clock is read, unless it is cached. So the two would not know the
			// same about a clock that is set back later.
			owner = "acme"
		}
		ask := func(m *latchkey.Manager, process byte) (latchkey.Access, error) {
			p := p
			if signature {
				p.Signature = &latchkey.Signature{Date: date, Once: [32]byte{process, once},
					OK: func(k []byte) bool { return string(k) == one.signing && !wrong }}
				if reused {
					p.Signature.Once = [32]byte{process, 255}
				}
			}
			if owner == "" {
				return m.Verify(w.ctx, p)
			}
			return m.For(owner).Verify(w.ctx, p)
		}
		quick, errQuick := ask(fast, 1)
		full, errFull := ask(slow, 2)
		require.Equal(t, describe(full, errFull), describe(quick, errQuick), "seed %d, %+v", seed, p)
		outcomes[outcome(errFull)]++
		if (errors.Is(errFull, latchkey.ErrExpired) || errors.Is(errFull, latchkey.ErrRevoked)) && chance(3) {
			*one = tokens[len(tokens)-1]
			tokens = tokens[:len(tokens)-1]
			issue()
		}
		if errFull == nil && chance(6) && len(tokens) < 12 {
			n := latchkey.Narrowing{Lifetime: time.Minute, Stateless: chance(2)}
			_, _, errQuick = quick.Mint(w.ctx, n)
			_, child, errFull := full.Mint(w.ctx, n)
			require.Equal(t, outcome(errFull), outcome(errQuick))
			if errFull == nil {
				if outcomes["mint"]++; n.Stateless {
					outcomes["stateless mint"]++
				}
				tokens = append(tokens, referenceToken{full.TokenID(), one.signing, []string{child.Reveal()}, one.test})
			} else {
				outcomes["mint refused"]++
			}
		}
		synctest.Wait() // for readings in the background
	}
	outcomes["hits"] += 500 - int(fast.Stats().Cache.Misses)
}
