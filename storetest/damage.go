package storetest

import (
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// unreadable checks that err is a DamagedError of token n.
func (w *fixture) unreadable(n int, err error, what string) {
	w.Helper()
	var damaged *latchkey.DamagedError
	if !errors.Is(err, latchkey.ErrUnavailable) || !errors.As(err, &damaged) || damaged.Kind != latchkey.ChangedToken ||
		damaged.Owner != acme || damaged.ID != id(n) {
		w.Errorf("%s: got %v, want a DamagedError of token %d", what, err, n)
	}
}

// damage puts token n with Damaged set.
func (w *fixture) damage(n int) {
	w.Helper()
	t := w.load(n).Token
	t.Damaged = true
	w.write(latchkey.Write{Tokens: []latchkey.Token{t}})
}

// page returns all tokens, each as its id and whether it is damaged.
func (w *fixture) page() (out []string) {
	w.Helper()
	list, err := w.s.Tokens(w.ctx, acme, latchkey.TokenQuery{})
	w.ok(err, "Tokens")
	for _, t := range list {
		out = append(out, fmt.Sprint(t.ID, " ", t.Damaged))
	}
	return out
}

var damageCases = []Case{
	newCase("damaged/token", "A token put with Damaged set is named by whatever depends on it, and returned with an "+
		"error. Listings hold it. Putting it anew or deleting it repairs the store.", func(w *fixture) {
		w.insert(token(1), token(2), minted(3, 1))
		w.damage(1)
		_, err := w.s.ByDigest(w.ctx, 0, digest(1))
		w.unreadable(1, err, "ByDigest of its secret")
		_, err = w.s.ByDigest(w.ctx, 0, digest(3))
		w.unreadable(1, err, "ByDigest of what it minted")
		f, err := w.s.Load(w.ctx, acme, id(1))
		w.unreadable(1, err, "Load")
		w.same([]any{f.Token.ID, f.Token.Owner, f.Token.Version, f.Token.Damaged}, []any{id(1), acme, uint64(2), true},
			"what is left of it")
		f, err = w.s.Load(w.ctx, acme, id(3))
		w.unreadable(1, err, "Load of what it minted")
		w.same([]any{f.Token.ID, f.Token.Damaged}, []any{id(3), false}, "what it minted")
		w.same(w.page(), []string{id(1) + " true", id(2) + " false", id(3) + " false"}, "the listing")
		_, err = w.s.ByDigest(w.ctx, 0, digest(2))
		w.ok(err, "ByDigest of another")

		anew := token(1)
		anew.Version, anew.Name = 2, "anew"
		w.write(latchkey.Write{Tokens: []latchkey.Token{anew}})
		w.same(w.load(1).Token.Name, "anew", "its name")
		w.same(w.page(), []string{id(1) + " false", id(2) + " false", id(3) + " false"}, "the listing after it was put anew")
		w.damage(1)
		w.write(latchkey.Write{DeleteTokens: refs(1)})
		w.same(w.page(), []string{id(2) + " false"}, "the listing after it was deleted")
	}),
}
