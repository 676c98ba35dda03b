package storetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

var dutyCases = []Case{
	newCase("all/keys", "KeySecrets lists the secrets of all owners that were made under another key, without those of "+
		"other systems.", func(w *fixture) {
		w.operated(func(int, *latchkey.Token) {})
		feed := w.s.Locate(acme).Feed
		var want []latchkey.KeySecret
		n := 0
		for _, owner := range slices.Compact([]string{globex, w.neighbour(), acme}) {
			var changes []latchkey.SecretChange
			for i, keyID := range []uint32{0, 7, 3, 7, 1 << 31, 0} {
				s := secret(n)
				n++
				s.KeyID, s.Signing = keyID, i == 2
				if keyID != 0 {
					s.Sealed = []byte("sealed")
				}
				if i == 5 {
					s.Algorithm, s.Lookup, s.Hash = "bcrypt", fmt.Sprint("lookup ", n), []byte("hash")
				}
				if i == 4 {
					s.NotAfter = noon
				}
				k := latchkey.KeySecret{Owner: owner, TokenID: id(1 + i/2), Secret: *s}
				changes = append(changes, latchkey.SecretChange{TokenID: k.TokenID, Add: s})
				if keyID != 7 && i != 5 && w.s.Locate(owner).Feed == feed {
					want = append(want, k)
				}
			}
			w.write(latchkey.Write{Owner: owner, Secrets: changes})
		}
		slices.SortFunc(want, func(a, b latchkey.KeySecret) int {
			return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.TokenID, b.TokenID),
				bytes.Compare(a.Secret.Digest[:], b.Secret.Digest[:]))
		})
		list := func(q latchkey.KeyQuery) (got []latchkey.KeySecret) {
			w.Helper()
			q.Feed = feed
			for range 1000 {
				page, next, err := w.s.KeySecrets(w.ctx, q)
				w.ok(err, "KeySecrets")
				if len(page) > q.Size() {
					w.Errorf("a page of %d secrets, where %d were asked for", len(page), q.Size())
				}
				if got = append(got, page...); next == "" {
					return got
				}
				q.After = next
			}
			w.Fatalf("KeySecrets never comes to an end")
			return nil
		}
		w.same(len(want), 6, "how many the case selects")
		for _, limit := range []int{0, 1, 2, 3} {
			w.same(list(latchkey.KeyQuery{KeyID: 7, Page: latchkey.Page{Limit: limit}}), want,
				fmt.Sprintf("secrets in pages of %d", limit))
		}
		// A secret that is made anew under the key is no longer listed.
		first := want[0]
		add := first.Secret
		add.Digest, add.KeyID = digest(1000), 7
		w.write(latchkey.Write{Owner: first.Owner, Silent: true, Secrets: []latchkey.SecretChange{
			{TokenID: first.TokenID, Add: &add, Retire: first.Secret.Digest, Replace: true}}})
		w.same(list(latchkey.KeyQuery{KeyID: 7}), want[1:], "what is left when one was replaced")
		for what, after := range map[string]string{"an id": id(1), "an owner and an id": acme + "\x00" + id(1),
			"a short digest": acme + "\x00" + id(1) + "\x00d1"} {
			_, _, err := w.s.KeySecrets(w.ctx, latchkey.KeyQuery{Feed: feed, Page: latchkey.Page{After: after}})
			w.failed(latchkey.ErrInvalid, err, "after "+what)
		}
		_, _, err := w.s.KeySecrets(w.ctx, latchkey.KeyQuery{Feed: 1 << 31})
		w.failed(latchkey.ErrInvalid, err, "a feed that there is not")
	}),

	newCase("all/delivery", "Undelivered lists the owners with events behind a cursor. Deliver moves it forward, and "+
		"nothing moves it back.", func(w *fixture) {
		feed, other := w.s.Locate(acme).Feed, w.neighbour()
		event := func(owner string, n int) {
			for range n {
				w.write(latchkey.Write{Owner: owner, Silent: true, Events: []latchkey.Event{{At: noon, Action: "x"}}})
			}
		}
		list := func(cursor string) (got []latchkey.Delivery) {
			w.Helper()
			q := latchkey.UndeliveredQuery{Feed: feed, Cursor: cursor, Page: latchkey.Page{Limit: 1}}
			for range 1000 {
				page, next, err := w.s.Undelivered(w.ctx, q)
				w.ok(err, "Undelivered")
				if got = append(got, page...); next == "" || len(page) > 1 {
					return got
				}
				q.After = next
			}
			w.Fatalf("Undelivered never comes to an end")
			return nil
		}
		w.same(list("siem"), []latchkey.Delivery(nil), "owners before there are events")
		event(acme, 3)
		event(other, 1)
		w.insert(by(other, token(9))) // which is no event
		w.same(list("siem"), []latchkey.Delivery{{Owner: acme, Last: 3}, {Owner: other, Last: 1}}, "owners with events")
		w.ok(w.s.Deliver(w.ctx, acme, "siem", 2), "Deliver")
		w.same(len(list("siem")), 2, "owners when some events of one were delivered")
		w.ok(w.s.Deliver(w.ctx, other, "siem", 1), "Deliver")
		w.same(list("siem"), []latchkey.Delivery{{Owner: acme, Seq: 2, Last: 3}}, "when some were delivered")
		w.same(len(list("other")), 2, "owners of another cursor")
		w.ok(w.s.Deliver(w.ctx, acme, "siem", 1), "Deliver")
		w.same(list("siem"), []latchkey.Delivery{{Owner: acme, Seq: 2, Last: 3}}, "when an earlier one was delivered again")
		w.ok(w.s.Deliver(w.ctx, acme, "siem", 3), "Deliver")
		w.same(list("siem"), []latchkey.Delivery(nil), "when all were delivered")
		w.write(latchkey.Write{Owner: acme, Erase: true, Events: []latchkey.Event{{At: noon, Action: "erase"}}})
		w.same(list("siem"), []latchkey.Delivery{{Owner: acme, Seq: 3, Last: 4}}, "when the owner was erased")
		w.ok(w.s.Deliver(w.ctx, "nobody", "siem", 1), "Deliver for an owner without events")
		for what, name := range map[string]string{"no name": "", "a long name": strings.Repeat("x", 65)} {
			w.failed(latchkey.ErrInvalid, w.s.Deliver(w.ctx, acme, name, 1), what)
			_, _, err := w.s.Undelivered(w.ctx, latchkey.UndeliveredQuery{Feed: feed, Cursor: name})
			w.failed(latchkey.ErrInvalid, err, what)
		}
		_, _, err := w.s.Undelivered(w.ctx, latchkey.UndeliveredQuery{Feed: 1 << 31, Cursor: "siem"})
		w.failed(latchkey.ErrInvalid, err, "a feed that there is not")
	}),

	newCase("write/forget", "ForgetClients removes clients, also as actors, and makes their usage that of no client, and "+
		"Redact empties events. Neither touches another owner.", func(w *fixture) {
		other := w.neighbour()
		row := func(owner, client, day string, n int64) latchkey.UsageRow {
			return latchkey.UsageRow{Owner: owner, TokenID: id(1), ClientID: client, Meter: "m", Endpoint: "e", Day: day,
				Count: n, Credits: latchkey.Credits(n)}
		}
		for _, owner := range []string{acme, other} {
			w.write(latchkey.Write{Owner: owner, Tokens: []latchkey.Token{by(owner, token(1))}, Silent: true,
				Clients: []latchkey.Client{{ID: "7", Name: "Ada"}, {ID: "8", Name: "Bob"}},
				Events: []latchkey.Event{
					{At: noon, Action: "a", Object: id(1), Reason: "r", Before: json.RawMessage(`1`), After: json.RawMessage(`2`)},
					{At: noon, Actor: "client:7", Action: "b", Object: id(2), Reason: "r", After: json.RawMessage(`2`)},
					{At: noon, Actor: "client:77", Action: "b", Object: id(2)}, {At: noon, Actor: "client:", Action: "b"},
					{At: noon, Actor: "7", Action: "b"}}})
		}
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
			row(acme, "7", "2026-11-22", 5), row(acme, "", "2026-11-22", 1), row(acme, "7", "2026-11-23", 2),
			row(acme, "8", "2026-11-22", 9), row(other, "7", "2026-11-22", 4)}}), "AddUsage")
		sums := func(owner string) []latchkey.UsageRow {
			w.Helper()
			rows, err := w.s.Usage(w.ctx, owner, latchkey.UsageQuery{By: []string{"client", "day"}})
			w.ok(err, "Usage")
			return rows
		}
		epoch := w.epoch()
		w.write(latchkey.Write{ForgetClients: []string{"7", "unknown"}, Redact: []string{id(1), id(3)}, Silent: true,
			Events: []latchkey.Event{{At: noon, Actor: "client:7", Action: "c", Object: id(1), Reason: "kept"}}})
		w.same(w.epoch(), epoch, "the epoch")
		clients, err := w.s.Clients(w.ctx, acme, latchkey.Page{})
		w.ok(err, "Clients")
		w.same(clients, []latchkey.Client{{ID: "8", Name: "Bob"}}, "the clients")
		sum := func(owner, client, day string, n int64) latchkey.UsageRow {
			return latchkey.UsageRow{Owner: owner, ClientID: client, Day: day, Count: n, Credits: latchkey.Credits(n)}
		}
		w.same(sums(acme), []latchkey.UsageRow{sum(acme, "", "2026-11-22", 6), sum(acme, "", "2026-11-23", 2),
			sum(acme, "8", "2026-11-22", 9)}, "the usage")
		events, _ := w.events(acme, latchkey.EventQuery{})
		var told []string
		for _, e := range events {
			told = append(told, fmt.Sprint(e.Action, e.Object == id(1), e.Reason, string(e.Before), string(e.After), e.Actor))
		}
		w.same(told, []string{"atrue", "bfalser2client:", "bfalseclient:77", "bfalseclient:", "bfalse7",
			"ctruekeptclient:7"}, "the events")
		gone := "client:7"
		named, _ := w.events(acme, latchkey.EventQuery{Actor: &gone})
		w.same(len(named), 1, "the events of the client that is forgotten")
		w.same(sums(other), []latchkey.UsageRow{sum(other, "7", "2026-11-22", 4)}, "the usage of another owner")
		clients, err = w.s.Clients(w.ctx, other, latchkey.Page{})
		w.ok(err, "Clients")
		w.same(len(clients), 2, "the clients of another owner")
		events, _ = w.events(other, latchkey.EventQuery{})
		w.same(string(events[0].Before)+events[0].Reason+events[1].Actor, "1rclient:7", "events of another owner")
		// What is counted later for a client that is forgotten belongs to it again.
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon,
			Rows: []latchkey.UsageRow{row(acme, "7", "2026-11-22", 1)}}), "AddUsage")
		w.same(sums(acme)[2], sum(acme, "7", "2026-11-22", 1), "usage that is counted later")
	}),
}
