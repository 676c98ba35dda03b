package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// cold measures calls for an owner that the process has not seen, while others change: a key with a role, of an owner
// with a record.
func cold(t testing.TB, c config, out *table) {
	ctx := context.Background()
	dsn := place(t)
	near := newNode(t, dsn, 16, 0)
	far := farNode(t, dsn, c.far)
	rename := owners(t, near, 4)
	last := 0
	for _, busy := range []bool{false, true} {
		stop := func() {}
		if busy {
			pause := time.Second / time.Duration(c.others)
			next := time.Now()
			stop = inBackground(t, func() error {
				time.Sleep(time.Until(next))
				next = next.Add(pause)
				last++
				return rename(near, last%4)
			})
		}
		var trips [2][]int64
		var took [2][]time.Duration
		for i := range 2 + c.rounds {
			owner := fmt.Sprint("cold ", busy, i)
			acme := near.For(owner)
			role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("dataset/*")}})
			require.NoError(t, err)
			require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Extra = []byte("{}"); return nil }))
			token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
			require.NoError(t, err)
			for k, call := range []func() error{
				func() error {
					_, err := far.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
					return err
				},
				func() error { return far.For(owner).Revoke(ctx, token.ID, "leaked") },
			} {
				far.settle(c.far)
				n, d := far.count(t, call)
				if i >= 2 { // the connections are open and the statements prepared
					trips[k], took[k] = append(trips[k], n), append(took[k], d)
				}
			}
		}
		stop()
		for k, name := range []string{"Verify, cold", "Revoke"} {
			if busy {
				name += fmt.Sprintf(", %d changes/s of others", c.others)
			}
			middle := median(took[k])
			out.line(fmt.Sprintf("%s, %v away", name, c.far),
				fmt.Sprintf("%d round trips", median(trips[k])), fmt.Sprintf("%s = %.1f × the distance", ms(middle),
					middle.Seconds()/c.far.Seconds()))
		}
	}
}

// distance measures changes a second of many callers.
func distance(t testing.TB, c config, out *table) {
	dsn := place(t)
	near := newNode(t, dsn, 16, 0)
	rename := owners(t, near, c.callers)
	rates := make([][]float64, len(c.distances))
	nodes := make([]*node, len(c.distances))
	for i, rtt := range c.distances {
		nodes[i] = farNode(t, dsn, rtt)
		perSecond(t, c.callers, 0, func(caller int) error { return rename(nodes[i], caller) })
	}
	for range c.rounds {
		for i, on := range nodes {
			rates[i] = append(rates[i], perSecond(t, c.callers, c.each, func(caller int) error { return rename(on, caller) }))
		}
	}
	for i, rtt := range c.distances {
		rate := median(rates[i])
		out.line(fmt.Sprintf("changes of %d callers, %v away", c.callers, rtt), fmt.Sprintf("%.0f/s", rate),
			fmt.Sprintf("%.2f in the time of a round trip", rate*rtt.Seconds()))
	}
}

// trips counts the round trips of changes, of an owner that the process knows.
func trips(t testing.TB, c config, out *table) {
	ctx := context.Background()
	dsn := place(t)
	on := farNode(t, dsn, 0)
	acme := on.For("acme")
	id, _ := on.issue(t, "acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader"})
	require.NoError(t, err)
	n := 0
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"Update", func() error {
			_, err := acme.Update(ctx, id, func(t *latchkey.Token) error { t.Name = fmt.Sprint("name ", n); return nil })
			return err
		}},
		{"UpdateRole", func() error {
			_, err := acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error { r.Name = fmt.Sprint("name ", n); return nil })
			return err
		}},
		{"Configure", func() error {
			return acme.Configure(ctx, func(o *latchkey.Owner) error { o.Extra = fmt.Appendf(nil, "%d", n); return nil })
		}},
		{"Issue", func() error {
			_, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			return err
		}},
	} {
		var counts []int64
		for i := range 3 + c.rounds {
			n++
			count, _ := on.count(t, call.do)
			if i >= 3 {
				counts = append(counts, count)
			}
		}
		out.line(call.name, fmt.Sprintf("%d round trips", median(counts)), "")
	}
}
