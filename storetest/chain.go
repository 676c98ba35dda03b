package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// chained returns a Write whose events are sealed: Prev is the head, and the Hash names the event and its index. It
// fails the case if Seal is called otherwise than the contract says.
func (w *fixture) chained(x latchkey.Write) latchkey.Write {
	owner := x.Owner
	if owner == "" {
		owner = acme
	}
	actions := make([]string, len(x.Events))
	for i := range x.Events {
		actions[i] = x.Events[i].Action
	}
	x.Seal = func(i int, e *latchkey.Event, head []byte) []byte {
		if i < 0 || i >= len(actions) || e.Action != actions[i] || e.Owner != owner || e.Seq == 0 {
			w.Errorf("Seal got event %d: %+v", i, *e)
		}
		e.Prev = bytes.Clone(head)
		e.Hash = fmt.Appendf([]byte{0, 0xff}, "%s %d", e.Action, e.Seq)
		return slices.Clone(e.Hash)
	}
	return x
}

// chain checks that each sealed event of an owner, from a number on, follows the one before, and returns how many there
// are. Others are left out.
func (w *fixture) chain(owner string, follows []byte) int {
	w.Helper()
	n := 0
	for q := (latchkey.EventQuery{Page: latchkey.Page{Limit: 1000}}); ; {
		page, next := w.events(owner, q)
		for i := range page {
			e := &page[i]
			if len(e.Hash) == 0 {
				continue
			}
			n++
			if want := fmt.Appendf([]byte{0, 0xff}, "%s %d", e.Action, e.Seq); !bytes.Equal(e.Hash, want) {
				w.Errorf("event %d has the hash %q, want %q", e.Seq, e.Hash, want)
			}
			if !bytes.Equal(e.Prev, follows) {
				w.Errorf("event %d of %s follows %q, want %q", e.Seq, owner, e.Prev, follows)
			}
			follows = e.Hash
		}
		if q.After = next; next == "" {
			return n
		}
	}
}

func actions(names ...string) (events []latchkey.Event) {
	for _, name := range names {
		events = append(events, latchkey.Event{At: noon, Action: name})
	}
	return events
}

var chainCases = []Case{
	newCase("chain/follows", "Seal gets what the last Seal of the owner returned, event by event, whatever a Write does "+
		"beside. A Write that fails, is repeated, or has no Seal leaves it.", func(w *fixture) {
		first := w.chained(latchkey.Write{ID: w.key(), Tokens: []latchkey.Token{token(1)}, Events: actions("a", "b")})
		w.write(first)
		w.write(first)
		w.write(w.chained(latchkey.Write{Owner: globex, Events: actions("theirs")}))
		w.write(latchkey.Write{Events: actions("outside")})
		w.write(w.chained(latchkey.Write{Silent: true, Events: actions("alone")}))
		w.refuse(latchkey.ErrConflict, w.chained(latchkey.Write{RequireTokens: refs(2), Events: actions("refused")}),
			"a token that there is not")
		w.write(w.chained(latchkey.Write{Tokens: []latchkey.Token{minted(3, 1)}, RequireTokens: refs(1), Silent: true,
			Secrets: []latchkey.SecretChange{{TokenID: id(3), Add: secret(3)}}, Events: actions("mint")}))
		w.write(latchkey.Write{Tokens: []latchkey.Token{minted(4, 1)}, Silent: true, Events: actions("a mint outside")})
		w.write(w.chained(latchkey.Write{Tokens: []latchkey.Token{minted(5, 1)}, Silent: true, Events: actions("m", "n")}))
		changed := token(1)
		changed.Version = 1
		w.write(w.chained(latchkey.Write{Tokens: []latchkey.Token{changed}, Roles: []latchkey.Role{role(9, "r")},
			Events: actions("change")}))
		w.same(w.chain(acme, nil), 7, "how many sealed events there are")
		w.same(w.chain(globex, nil), 1, "how many another owner has")
		w.write(latchkey.Write{Silent: true, Tokens: []latchkey.Token{token(6)}})
		w.write(w.chained(latchkey.Write{Events: actions("last")}))
		w.same(w.chain(acme, nil), 8, "how many there are in the end")
	}),

	newCase("chain/kept", "The head outlives the events: Purge and Erase leave it.", func(w *fixture) {
		w.write(w.chained(latchkey.Write{Tokens: []latchkey.Token{token(1)}, Events: actions("old")}))
		all, _ := w.events(acme, latchkey.EventQuery{})
		head := bytes.Clone(all[0].Hash)
		p := keepAll(noon.AddDate(1, 0, 0))
		p.Events = 1
		w.same(w.purge(p, 100) > 0, true, "whether something was purged")
		w.write(w.chained(latchkey.Write{Events: actions("young")}))
		w.same(w.chain(acme, head), 1, "how many are left after Purge")
		all, _ = w.events(acme, latchkey.EventQuery{})
		w.write(w.chained(latchkey.Write{Erase: true, Events: actions("erase", "more")}))
		w.same(w.chain(acme, all[0].Hash), 2, "how many are left after Erase")
	}),

	newCase("chain/race", "Events of many Writes at once form one chain for each owner.", func(w *fixture) {
		const writers, rounds = 6, 8
		w.insert(token(1))
		w.insert(by(globex, token(2)))
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				for round := range rounds {
					owner, parent := acme, 1
					if (n+round)%2 == 0 {
						owner, parent = globex, 2
					}
					x := latchkey.Write{Owner: owner, Events: actions(fmt.Sprint(n, "-", round))}
					child := by(owner, minted(100+n*rounds+round, parent))
					switch round % 3 {
					case 0:
						x.Silent, x.Tokens, x.RequireTokens = true, []latchkey.Token{child}, refs(parent)
					case 1:
						x.Tokens = []latchkey.Token{child}
					}
					for {
						err := w.try(w.chained(x))
						if err == nil {
							break
						}
						if !errors.Is(err, latchkey.ErrUnavailable) { // else too many were before it
							w.Errorf("Write: %v", err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		w.same(w.chain(acme, nil)+w.chain(globex, nil), writers*rounds, "how many events there are")
	}),
}
