package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"syscall"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/memstore"
)

// grants returns n rules, each of which allows reading one resource of its own.
func grants(n int) (rules latchkey.Permissions, on []latchkey.Resource) {
	for i := range n {
		r := latchkey.Path("dataset", fmt.Sprintf("d%06d", i))
		rules, on = append(rules, latchkey.Grant(latchkey.Read).On(latchkey.Exactly(r))), append(on, r)
	}
	return rules, on
}

// issueMany issues n keys and returns their texts.
func issueMany(ctx context.Context, acme latchkey.Account, n int, spec latchkey.Spec) (list []string, err error) {
	for range n {
		_, s, err := acme.Issue(ctx, spec)
		if err != nil {
			return nil, err
		}
		list = append(list, s.Reveal())
	}
	return list, nil
}

// benchFirst measures the first Verify of tokens whose rights the process knows from another token, and takes off what
// the store needs to find them.
func benchFirst(b *bench) error {
	rules, _ := grants(min(10_000, b.tokens))
	for _, kind := range []struct {
		name   string
		tokens int
		inRole bool
	}{{"10,000 grants in a role", 256, true}, {"10,000 grants of its own", 24, false}} {
		store := memstore.New(nil)
		acme := latchkey.New(store, nil).For(owner)
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules}
		if kind.inRole {
			role, err := acme.CreateRole(b.ctx, latchkey.Role{Name: "reader", Permissions: rules})
			if err != nil {
				return err
			}
			spec.Roles, spec.Permissions = []string{role.ID}, nil
		}
		list, err := issueMany(b.ctx, acme, kind.tokens, spec)
		if err != nil {
			return err
		}
		results, err := b.compare("first Verify, "+kind.name, firstVerify(b.ctx, store, list), byDigest(b.ctx, store, list))
		if err != nil {
			return err
		}
		b.time("First Verify of a known set, beyond the store's ByDigest: "+kind.name, results[0].NS.Minus(results[1].NS),
			atMost(10_000))
	}
	return nil
}

// firstVerify verifies each text but the first by a new Manager that has verified the first.
func firstVerify(ctx context.Context, store latchkey.Store, list []string) measure.Side {
	var keys *latchkey.Manager
	verify := func(text string) error {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		if err == nil && !a.Allows(latchkey.Read, "dataset/d000000") {
			err = fmt.Errorf("denied")
		}
		return err
	}
	return measure.Side{Name: "first Verify", Max: len(list) - 1, Prepare: func(int) error {
		if keys != nil {
			if err := keys.Close(ctx); err != nil {
				return err
			}
		}
		opts := withinASecond
		keys = latchkey.New(store, &opts)
		return verify(list[0])
	}, Run: func(n int) error {
		for _, text := range list[1 : n+1] {
			if err := verify(text); err != nil {
				return err
			}
		}
		return nil
	}}
}

// byDigest reads what firstVerify reads.
func byDigest(ctx context.Context, store latchkey.Store, list []string) measure.Side {
	return measure.Side{Name: "ByDigest of the store", Max: len(list) - 1, Run: func(n int) error {
		for _, text := range list[1 : n+1] {
			if _, err := store.ByDigest(ctx, 0, sha256.Sum256([]byte(text))); err != nil {
				return err
			}
		}
		return nil
	}}
}

// benchEdit measures what one edit of a role costs in the Verifies of all tokens that have it: the CPU time of the
// process, collections included, beyond that of the same Verifies without an edit.
func benchEdit(b *bench) error {
	b.note("The CPU time is that of the process, collections included, without that of the same Verifies before the edit.")
	for _, size := range []int{1, min(10_000, b.tokens)} {
		n := min(100_000, b.tokens)
		store := memstore.New(nil)
		keys := latchkey.New(store, &latchkey.Options{})
		acme := keys.For(owner)
		rules, _ := grants(size)
		role, err := acme.CreateRole(b.ctx, latchkey.Role{Name: "reader", Permissions: rules})
		if err != nil {
			return err
		}
		b.say("edit: %d tokens with a role of %d grants", n, size)
		list, err := issueMany(b.ctx, acme, n, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
		if err != nil {
			return err
		}
		all := func(list []string, allowed bool) error {
			for _, text := range list {
				a, err := keys.Verify(b.ctx, latchkey.Presented{Secret: text})
				if err != nil {
					return err
				}
				if a.Allows(latchkey.Update, "dataset/d000000") != allowed {
					return fmt.Errorf("an edit of the role is not seen")
				}
			}
			return nil
		}
		some := list[:min(len(list), 1000)]
		began := time.Now()
		if err := all(some, false); err != nil {
			return err
		}
		if most := int(editFill / (time.Since(began) / time.Duration(len(some)))); most < n {
			n = max(most, len(some))
			list = list[:n]
		}
		if err := all(list, false); err != nil {
			return err
		}
		allowed := false
		var costs measure.Series
		for began := time.Now(); len(costs) < min(b.rounds, 5) && (len(costs) == 0 || time.Since(began) < 10*time.Second); {
			cached, err := cpuTime(func() error { return all(list, allowed) })
			if err != nil {
				return err
			}
			allowed = !allowed
			edited := rules
			if allowed {
				edited = append(rules[:len(rules):len(rules)], latchkey.Grant(latchkey.Update).On("dataset/d000000"))
			}
			fresh, err := cpuTime(func() error {
				if _, err := acme.UpdateRole(b.ctx, role.ID, func(r *latchkey.Role) error {
					r.Permissions = edited
					return nil
				}); err != nil {
					return err
				}
				return all(list, allowed)
			})
			if err != nil {
				return err
			}
			costs = append(costs, float64((fresh-cached).Nanoseconds())/float64(n))
			if err := b.ctx.Err(); err != nil {
				return err
			}
		}
		b.time(fmt.Sprintf("A role that %s cached tokens have, edited: CPU per token until all are fresh, %s",
			number(float64(n)), plural(size, "grant")), costs, atMost(500))
		if err := keys.Close(b.ctx); err != nil {
			return err
		}
	}
	return nil
}

// editFill is how long it may take to verify all tokens for the first time. If it would take longer there are fewer.
const editFill = 20 * time.Second

// plural writes a number of things.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(float64(n)) + " " + what + "s"
}

// cpuTime returns the CPU time that the process took while f ran.
func cpuTime(f func() error) (time.Duration, error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()), err
}
