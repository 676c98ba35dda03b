package latchkey_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Many mint, open and revoke at once: each text opens as what it was minted for, and none once it is revoked.
func TestStatelessTokensAtOnce(t *testing.T) {
	w := newStateless(t)
	other := w.process()
	var parents []latchkey.Access
	for i := range 3 {
		_, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint("p", i), Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On(latchkey.Pattern(fmt.Sprint("of/", i))), latchkey.Allow(latchkey.Any).On("x/*")}})
		parents = append(parents, w.access(key))
	}
	role := w.role("changing", readAll())
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 150 {
				at := (g + i) % 3
				n := latchkey.Narrowing{Lifetime: time.Hour, Stateless: i%5 != 0, Name: fmt.Sprint(g, ".", i),
					Client: latchkey.Client{ID: fmt.Sprint("c", g, i)}}
				if i%2 == 0 {
					n.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprint("of/", at)))}
				}
				tok, s, err := parents[at].Mint(w.ctx, n)
				if err != nil {
					t.Error(err)
					return
				}
				for _, m := range []*latchkey.Manager{w.keys, other} {
					a, err := m.Verify(w.ctx, latchkey.Presented{Secret: s.Reveal()})
					if err != nil {
						t.Error(err)
						return
					}
					if a.TokenID() != tok.ID || a.Client().ID != n.Client.ID || a.Name() != n.Name {
						t.Error("another token")
					}
					for k := range 3 {
						if a.Allows(latchkey.Read, latchkey.Resource(fmt.Sprint("of/", k))) != (k == at) {
							t.Error("other rights", k, at)
						}
					}
					if a.Allows(latchkey.Update, "x/1") != (i%2 != 0) {
						t.Error("other rights")
					}
				}
				if i%10 == 3 {
					if err := w.acme.Revoke(w.ctx, tok.ID, ""); err != nil {
						t.Error(err)
					}
					for _, m := range []*latchkey.Manager{w.keys, other} {
						if _, err := m.Verify(w.ctx, latchkey.Presented{Secret: s.Reveal()}); !errors.Is(err, latchkey.ErrRevoked) {
							t.Error(err)
						}
					}
				}
				if i%25 == 0 && g == 0 {
					w.editRole(role, func(r *latchkey.Role) { r.Name = fmt.Sprint("changing ", i) })
					edit := func(t *latchkey.Token) error { t.Name = fmt.Sprint(i); return nil }
					if _, err := w.acme.Update(w.ctx, parents[i%3].TokenID(), edit); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}
