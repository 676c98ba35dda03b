// Package latchkeytest helps to test programs that use latchkey, without a database and without waiting. A [Kit] is a
// Manager over a store in memory, with a clock that the test moves. [Check] compares what a caller may do with a table,
// one line a decision.
//
//	kit := latchkeytest.New(t, nil)
//	access := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
//	latchkeytest.Check(t, access,
//		latchkeytest.All(latchkey.Read, "invoice/7"),
//		latchkeytest.None(latchkey.Delete, "invoice/7"))
package latchkeytest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Clock is a clock that stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns what the clock shows. It is an [latchkey.Options] Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock. A negative duration moves it back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Kit is a Manager for one test. Its fields are for use, not for setting.
type Kit struct {
	*latchkey.Manager
	Clock *Clock
	Store *Store
	t     testing.TB
}

// New returns a Kit whose clock shows noon of 2 January 2030, UTC. Options are those of the program. Nil: the defaults.
// Clock is set to the Kit's, whatever it was. When the test ends, the Manager is closed, and an error of that fails the
// test.
//
// An id that a program gives (Spec.ID) must be of the Kit's time. Where ids are of the real time, begin with
//
//	kit.Clock.Advance(time.Since(kit.Clock.Now()))
func New(t testing.TB, opts *latchkey.Options) *Kit {
	t.Helper()
	k := &Kit{Clock: NewClock(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)), t: t}
	k.Store = &Store{Store: memstore.New(&memstore.Options{Clock: k.Clock.Now})}
	var o latchkey.Options
	if opts != nil {
		o = *opts
	}
	o.Clock = k.Clock.Now
	k.Manager = latchkey.New(k.Store, &o)
	t.Cleanup(func() {
		k.Store.Down(false)
		k.Store.Fail(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Manager.Close(ctx); err != nil {
			t.Errorf("closing the Manager: %v", err)
		}
	})
	return k
}

// Secret issues a token and returns it with its text. It fails the test if the token cannot be issued.
func (k *Kit) Secret(owner string, spec latchkey.Spec) (latchkey.Token, string) {
	k.t.Helper()
	token, secret, err := k.For(owner).Issue(context.Background(), spec)
	if err != nil {
		k.t.Fatalf("issuing a token: %v", err)
	}
	return token, secret.Reveal()
}

// Access issues a token and returns what its caller may do. It fails the test if it cannot.
func (k *Kit) Access(owner string, spec latchkey.Spec) latchkey.Access {
	k.t.Helper()
	_, text := k.Secret(owner, spec)
	return k.Present(text)
}

// Present returns what a caller who presents the text may do. It fails the test if the text is refused: where a refusal
// is expected, call Verify.
func (k *Kit) Present(text string) latchkey.Access {
	k.t.Helper()
	access, err := k.Manager.Verify(context.Background(), latchkey.Presented{Secret: text})
	if err != nil {
		k.t.Fatalf("verifying a token: %v", err)
	}
	return access
}

// Mint mints a token from an access and returns what its caller may do. It fails the test if it cannot. A Lifetime of 0
// is an hour.
func (k *Kit) Mint(parent latchkey.Access, n latchkey.Narrowing) latchkey.Access {
	k.t.Helper()
	if n.Lifetime == 0 {
		n.Lifetime = time.Hour
	}
	_, secret, err := parent.Mint(context.Background(), n)
	if err != nil {
		k.t.Fatalf("minting a token: %v", err)
	}
	return k.Present(secret.Reveal())
}

// As returns the account of the actor's owner, acted on as the actor. It fails the test for the zero Access.
func (k *Kit) As(actor latchkey.Access) latchkey.Account {
	k.t.Helper()
	if actor.Manager() != k.Manager {
		k.t.Fatalf("the actor is not of this Kit: %v", actor)
	}
	account, err := k.For(actor.Owner()).As(actor)
	if err != nil {
		k.t.Fatalf("acting as %v: %v", actor, err)
	}
	return account
}

// Line is decisions of one table, with the answer that is expected. Make it with [All], [Some] or [None].
type Line struct {
	action latchkey.Action
	on     []latchkey.Resource
	want   answer
}

// All expects that the action is allowed on every row of the resources.
func All(action latchkey.Action, on ...latchkey.Resource) Line { return Line{action, on, all} }

// Some expects that the action is allowed on some rows of the resources: [latchkey.Access.Filter] says which.
func Some(action latchkey.Action, on ...latchkey.Resource) Line { return Line{action, on, some} }

// None expects that the action is allowed on no row of the resources.
func None(action latchkey.Action, on ...latchkey.Resource) Line { return Line{action, on, none} }

// Check compares lines with what the access may do. One that differs fails the test, and is shown with the rules that
// decided. So does a resource that is invalid, and a table that asks nothing, because it would prove nothing.
func Check(t testing.TB, access latchkey.Access, lines ...Line) {
	t.Helper()
	asked := 0
	for _, l := range lines {
		for _, on := range l.on {
			asked++
			if err := on.Validate(); err != nil {
				t.Errorf("%s on %s: %v", l.action, on, err)
				continue
			}
			if got := answerOf(access, l.action, on); got != l.want {
				t.Errorf("%s on %s: %s is allowed, want %s\n%s", l.action, on, got, l.want, access.Explain(l.action, on))
			}
		}
	}
	if asked == 0 {
		t.Errorf("the table asks nothing")
	}
}

// answer is what a decision is.
type answer string

const (
	none answer = "none"
	some answer = "some"
	all  answer = "all"
)

func answerOf(access latchkey.Access, action latchkey.Action, on latchkey.Resource) answer {
	err := access.Check(action, on)
	var denied *latchkey.DeniedError
	switch {
	case err == nil:
		return all
	case errors.As(err, &denied) && denied.Rows:
		return some
	}
	return none
}
