package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

var listCases = []Case{
	newCase("tokens/paging", "Tokens pages by id in byte order, each token once; Limit ≤ 0 is 100, and at most "+
		"1000.", func(w *fixture) {
		w.insert(token(2), token(5), token(1))
		w.insert(by(globex, token(6)))
		w.insert(token(4), token(3))
		page := func(after string, limit int) []int {
			w.Helper()
			return numbers(w.tokens(acme, latchkey.TokenQuery{Page: latchkey.Page{After: after, Limit: limit}}))
		}
		w.same(page("", 0), []int{1, 2, 3, 4, 5}, "all")
		w.same(page("", -1), []int{1, 2, 3, 4, 5}, "a negative limit")
		w.same(page("", 2), []int{1, 2}, "the first page")
		w.same(page(id(2), 2), []int{3, 4}, "the second page")
		w.same(page(id(4), 2), []int{5}, "the last page")
		w.same(page(id(5), 2), []int(nil), "after the last")
		w.same(page(id(2)+"x", 9), []int{3, 4, 5}, "after an id that is not there")
		w.same(page("\U0010FFFF", 9), []int(nil), "after everything")
		w.same(page("\x01", 9), []int{1, 2, 3, 4, 5}, "after something below everything")
		w.write(latchkey.Write{DeleteTokens: refs(3)})
		w.same(page(id(3), 9), []int{4, 5}, "after an id that has gone meanwhile")
		w.insert(token(3))
		w.same(page("", 0), []int{1, 2, 3, 4, 5}, "all, with one that came again")
		more := make([]latchkey.Token, 1001)
		for i := range more {
			more[i] = token(1000 + i)
		}
		w.write(latchkey.Write{Tokens: more})
		w.same(len(page("", 0)), 100, "the length of a page without limit")
		w.same(len(page("", 5000)), 1000, "the length of the longest page")
		for n := range 3 {
			few := token(2100 + n) // of a role that few have
			few.Roles = []string{id(900)}
			w.insert(few)
		}
		w.write(latchkey.Write{DeleteTokens: refs(2101)})
		for after, want := range map[int][]int{2100: {2102}, 2101: {2102}, 2102: nil} {
			q := latchkey.TokenQuery{Role: id(900), Page: latchkey.Page{After: id(after)}}
			w.same(numbers(w.tokens(acme, q)), want, fmt.Sprint("of a role, after ", after))
		}
	}),

	newCase("tokens/filters", "Every field of a TokenQuery selects. All given fields must match, and pages hold matches "+
		"only.", func(w *fixture) {
		secret, publishable, api, access, session := token(1), token(2), token(3), minted(4, 3), token(5)
		secret.Kind, secret.Name = latchkey.KindSecret, "Alpha"
		publishable.Kind, publishable.Name, publishable.Origin = latchkey.KindPublishable, "alpha", "cloudtables"
		api.Name, api.Roles, api.Hint = "100%", []string{id(900), id(901)}, "ak_ZZ…zzz"
		access.Name, access.Roles, access.Client = "Ál", []string{id(900)}, latchkey.Client{ID: "42", Name: "Ada"}
		session.Kind, session.Name, session.Client = latchkey.KindSession, "10_", latchkey.Client{ID: "42 "}
		secret.Revoked, secret.Disabled, secret.Validity.NotAfter = noon, true, noon.Add(-time.Hour)
		publishable.Disabled, publishable.Validity.NotAfter = true, noon.Add(-time.Hour)
		api.Validity.NotAfter, api.Validity.NotBefore = noon, noon.Add(time.Hour)
		session.Validity.NotBefore = noon.Add(time.Microsecond)
		idle, idleUsed, idleOver := token(6), token(7), token(8)
		idle.Validity.Idle, idleUsed.Validity.Idle, idleOver.Validity.Idle = time.Hour, time.Hour, time.Hour
		idle.Created = noon.Add(-time.Hour)
		idleUsed.Created, idleUsed.Used = noon.Add(-2*time.Hour), noon.Add(-time.Minute)
		idleOver.Created, idleOver.Used = noon.Add(-3*time.Hour), noon.Add(-time.Hour-time.Microsecond)
		w.insert(secret, publishable, api, access, session, idle, idleUsed, idleOver)
		w.insert(by(globex, token(9)))

		host, cloudtables := "", "cloudtables"
		for _, c := range []struct {
			what string
			q    latchkey.TokenQuery
			want []int
		}{
			{"nothing said", latchkey.TokenQuery{}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
			{"kinds", latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindSecret, latchkey.KindSession}}, []int{1, 5}},
			{"kinds, empty", latchkey.TokenQuery{Kinds: []latchkey.Kind{}}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
			{"origin of the host", latchkey.TokenQuery{Origin: &host}, []int{1, 3, 4, 5, 6, 7, 8}},
			{"origin", latchkey.TokenQuery{Origin: &cloudtables}, []int{2}},
			{"parent", latchkey.TokenQuery{Parent: id(3)}, []int{4}},
			{"role", latchkey.TokenQuery{Role: id(900)}, []int{3, 4}},
			{"role, only a prefix of its id", latchkey.TokenQuery{Role: id(900)[:35]}, nil},
			{"client", latchkey.TokenQuery{Client: "42"}, []int{4}},
			{"search a name, by case", latchkey.TokenQuery{Search: "Al"}, []int{1}},
			{"search a name, by accent", latchkey.TokenQuery{Search: "Á"}, []int{4}},
			{"search a name with %", latchkey.TokenQuery{Search: "100%"}, []int{3}},
			{"search a name with _", latchkey.TokenQuery{Search: "10_"}, []int{5}},
			{"search with only a wildcard", latchkey.TokenQuery{Search: "%"}, nil},
			{"search the end of a name", latchkey.TokenQuery{Search: "lpha"}, nil},
			{"search an id", latchkey.TokenQuery{Search: id(7)}, []int{7}},
			{"search a hint", latchkey.TokenQuery{Search: "ak_Z"}, []int{3}},
			{"active", latchkey.TokenQuery{States: []latchkey.State{latchkey.Active}, Now: noon}, []int{4, 7}},
			{"revoked", latchkey.TokenQuery{States: []latchkey.State{latchkey.Revoked}, Now: noon}, []int{1}},
			{"disabled", latchkey.TokenQuery{States: []latchkey.State{latchkey.Disabled}, Now: noon}, []int{2}},
			{"expired", latchkey.TokenQuery{States: []latchkey.State{latchkey.Expired}, Now: noon}, []int{3, 6, 8}},
			{"not yet valid", latchkey.TokenQuery{States: []latchkey.State{latchkey.NotYetValid}, Now: noon}, []int{5}},
			{"a microsecond later", latchkey.TokenQuery{States: []latchkey.State{latchkey.Active},
				Now: noon.Add(time.Microsecond)}, []int{4, 5, 7}},
			{"a microsecond earlier", latchkey.TokenQuery{States: []latchkey.State{latchkey.Expired},
				Now: noon.Add(-time.Microsecond)}, []int{8}},
			{"two states", latchkey.TokenQuery{States: []latchkey.State{latchkey.Revoked, latchkey.NotYetValid}, Now: noon},
				[]int{1, 5}},
			{"expires from", latchkey.TokenQuery{ExpiresFrom: noon}, []int{3, 4}},
			{"expires to", latchkey.TokenQuery{ExpiresTo: noon}, []int{1, 2}},
			{"expires between", latchkey.TokenQuery{ExpiresFrom: noon, ExpiresTo: noon.Add(time.Microsecond)}, []int{3}},
			{"unused since", latchkey.TokenQuery{UnusedSince: noon.Add(-time.Hour)}, []int{1, 2, 3, 4, 5, 6, 8}},
			{"unused since its last use", latchkey.TokenQuery{UnusedSince: noon.Add(-time.Minute), Search: id(7)}, nil},
			{"created before", latchkey.TokenQuery{CreatedBefore: noon}, []int{6, 7, 8}},
			{"created before, a microsecond later", latchkey.TokenQuery{CreatedBefore: noon.Add(time.Microsecond)},
				[]int{1, 2, 3, 4, 5, 6, 7, 8}},
			{"created before an hour ago", latchkey.TokenQuery{CreatedBefore: noon.Add(-time.Hour)}, []int{7, 8}},
			{"several fields", latchkey.TokenQuery{Role: id(900), Kinds: []latchkey.Kind{latchkey.KindAPIKey}, Search: "1"},
				[]int{3}},
		} {
			w.same(numbers(w.tokens(acme, c.q)), c.want, c.what)
			// The same with pages of one: a page is filled with matches, however far apart they are.
			var got []int
			for c.q.Limit = 1; ; {
				page := w.tokens(acme, c.q)
				if len(page) == 0 || len(got) > len(c.want) {
					break
				}
				got = append(got, numbers(page)...)
				c.q.After = page[len(page)-1].ID
			}
			w.same(got, c.want, c.what+", one by one")
		}
	}),

	newCase("roles/elsewhere", "Tokens and roles may name roles that the store does not have: those of Options.Roles. "+
		"Such names are kept, and the listings find them.", func(w *fixture) {
		const viewer = "code:viewer"
		r, t, m := role(900, "r"), token(1), minted(2, 1)
		r.Inherits, t.Roles, m.Roles = []string{viewer}, []string{viewer, r.ID}, []string{viewer}
		w.write(latchkey.Write{Roles: []latchkey.Role{r}})
		w.insert(t, m, token(3))
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{Role: viewer})), []int{1, 2}, "tokens that name it")
		roles, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{Inherits: viewer})
		w.ok(err, "Roles")
		w.same(roleNumbers(roles), []int{900}, "roles that inherit it")
		found := w.load(2)
		w.same(found.Token.Roles, []string{viewer}, "the roles of a token")
		w.same(found.Ancestors[0].Roles, []string{viewer, r.ID}, "the roles of its parent")
		w.same(found.Roles[0].Inherits, []string{viewer}, "what a role inherits")
		w.same(len(found.Roles), 1, "roles of a token that names another, too")
	}),

	newCase("roles/paging", "Roles pages by id in byte order. Every field of a RoleQuery selects, and all given fields "+
		"must match.", func(w *fixture) {
		roles := []latchkey.Role{role(3, "c"), role(1, "Ab"), role(4, "ab"), role(2, "ab ")}
		roles[0].Origin, roles[0].Inherits = "datocms", []string{id(1), id(2)}
		roles[2].Inherits = []string{id(3)}
		w.write(latchkey.Write{Roles: roles})
		w.write(latchkey.Write{Owner: globex, Roles: []latchkey.Role{by(globex, role(5, "ab"))}})
		host, dato := "", "datocms"
		for _, c := range []struct {
			what string
			q    latchkey.RoleQuery
			want []int
		}{
			{"nothing said", latchkey.RoleQuery{}, []int{1, 2, 3, 4}},
			{"a page", latchkey.RoleQuery{Page: latchkey.Page{Limit: 2}}, []int{1, 2}},
			{"the next page", latchkey.RoleQuery{Page: latchkey.Page{Limit: 2, After: id(2)}}, []int{3, 4}},
			{"after the last", latchkey.RoleQuery{Page: latchkey.Page{After: id(4)}}, nil},
			{"ids", latchkey.RoleQuery{IDs: []string{id(4), id(5), id(1), "nobody's"}}, []int{1, 4}},
			{"ids and a page", latchkey.RoleQuery{IDs: []string{id(4), id(1)}, Page: latchkey.Page{Limit: 1, After: id(1)}},
				[]int{4}},
			{"names", latchkey.RoleQuery{Names: []string{"ab", "c"}}, []int{3, 4}},
			{"a name in another case", latchkey.RoleQuery{Names: []string{"AB"}}, nil},
			{"origin of the host", latchkey.RoleQuery{Origin: &host}, []int{1, 2, 4}},
			{"origin", latchkey.RoleQuery{Origin: &dato}, []int{3}},
			{"inherits", latchkey.RoleQuery{Inherits: id(2)}, []int{3}},
			{"inherits, directly", latchkey.RoleQuery{Inherits: id(1)}, []int{3}},
			{"several fields", latchkey.RoleQuery{Names: []string{"ab", "Ab"}, Inherits: id(3), Origin: &host}, []int{4}},
		} {
			got, err := w.s.Roles(w.ctx, acme, c.q)
			w.ok(err, c.what)
			w.same(roleNumbers(got), c.want, c.what)
		}
	}),

	newCase("clients", "Per owner, the newest name given for a client id wins. An empty name changes nothing. Paged by "+
		"id.", func(w *fixture) {
		list := func(owner string, p latchkey.Page) []latchkey.Client {
			w.Helper()
			page, err := w.s.Clients(w.ctx, owner, p)
			w.ok(err, "Clients")
			return page
		}
		w.same(len(list(acme, latchkey.Page{})), 0, "clients of nobody")
		w.write(latchkey.Write{Clients: []latchkey.Client{{ID: "b", Name: "Bob"}, {ID: "a", Name: "Ada"},
			{ID: "B", Name: "Big"}}})
		w.write(latchkey.Write{Owner: globex, Clients: []latchkey.Client{{ID: "a", Name: "Theirs"}}})
		w.write(latchkey.Write{Clients: []latchkey.Client{{ID: "a", Name: "Ada L."}, {ID: "b"}, {ID: "c"}}, Silent: true})
		w.same(list(acme, latchkey.Page{}), []latchkey.Client{{ID: "B", Name: "Big"}, {ID: "a", Name: "Ada L."},
			{ID: "b", Name: "Bob"}, {ID: "c"}}, "all")
		w.same(list(acme, latchkey.Page{Limit: 2}), []latchkey.Client{{ID: "B", Name: "Big"}, {ID: "a", Name: "Ada L."}},
			"a page")
		w.same(list(acme, latchkey.Page{Limit: 2, After: "a"}), []latchkey.Client{{ID: "b", Name: "Bob"}, {ID: "c"}},
			"the next page")
		w.same(list(globex, latchkey.Page{}), []latchkey.Client{{ID: "a", Name: "Theirs"}}, "another owner's")
	}),

	newCase("events", "Events come back as they were written, oldest first. Seq grows within an owner. After and Limit "+
		"make pages, and a page says whether another one follows.", func(w *fixture) {
		list := func(owner string, after uint64, n int) []latchkey.Event {
			w.Helper()
			page, _ := w.events(owner, latchkey.EventQuery{Page: pageOf(after, n)})
			for i := range page {
				if i > 0 && page[i].Seq <= page[i-1].Seq || page[i].Seq <= after {
					w.Errorf("Events after %d: Seq %d is out of order", after, page[i].Seq)
				}
			}
			return page
		}
		full := latchkey.Event{
			At: noon.Add(999 * time.Nanosecond), Owner: acme, Actor: "client:42", From: "2001:db8::1", Action: "token.issue",
			Object: id(1), Reason: "why not: 'ÁbC' ", Before: []byte(`{ "a":1}`), After: []byte("\x00after"),
			Prev: bytes.Repeat([]byte{0xff, 0}, 32), Hash: bytes.Repeat([]byte{0, 0xfe}, 32),
		}
		// The order is that of the commits, not of the times.
		w.write(latchkey.Write{Events: []latchkey.Event{full, {At: noon.Add(-time.Hour), Owner: acme, Action: "second"}}})
		w.write(latchkey.Write{Owner: globex, Events: []latchkey.Event{{At: noon, Owner: globex, Action: "theirs"}}})
		w.write(latchkey.Write{Events: []latchkey.Event{{Seq: 77, At: noon, Action: "third"}}, Silent: true})
		all := list(acme, 0, 0)
		if len(all) != 3 {
			w.Fatalf("got %d events, want 3", len(all))
		}
		full.At = noon
		full.Seq = all[0].Seq
		mint := latchkey.Event{At: noon, Owner: acme, Action: "token.mint", Prev: full.Hash, Hash: []byte("its hash")}
		w.write(latchkey.Write{Tokens: []latchkey.Token{token(1)}, Events: []latchkey.Event{mint}, Silent: true})
		minted := list(acme, all[2].Seq, 0)
		mint.Seq = minted[0].Seq
		w.same(minted, []latchkey.Event{mint}, "the event of a mint")
		w.same(all, []latchkey.Event{full,
			{Seq: all[1].Seq, At: noon.Add(-time.Hour), Owner: acme, Action: "second"},
			{Seq: all[2].Seq, At: noon, Owner: acme, Action: "third"}}, "all events")
		w.same(list(acme, 0, 2), all[:2], "a page")
		w.same(list(acme, all[1].Seq, 1), all[2:], "the next page")
		w.same(len(list(acme, mint.Seq, 2)), 0, "how many come after the last")
		w.same(len(list(acme, 1<<64-1, 2)), 0, "how many come after the highest number there is")
		w.same(len(list(globex, 0, 9)), 1, "how many another owner has")
		_, next := w.events(acme, latchkey.EventQuery{Page: pageOf(0, 2)})
		w.same(next, fmt.Sprint(all[1].Seq), "the After of the second page")
		_, next = w.events(acme, latchkey.EventQuery{Page: pageOf(all[1].Seq, 2)})
		w.same(next, "", "the After of the page after the last, which was full")
		var many []latchkey.Event
		for i := range 1001 {
			many = append(many, latchkey.Event{At: noon, Action: fmt.Sprint("event ", i)})
		}
		w.write(latchkey.Write{Events: many})
		w.same(len(list(acme, 0, 0)), 100, "the length of a page without Limit")
		w.same(len(list(acme, 0, 5000)), 1000, "the length of the longest page")
		w.same(list(acme, mint.Seq, 1)[0].Action, "event 0", "the first of many")
		for _, after := range []string{"x", "-1", "1.5", " 1", "18446744073709551616"} {
			_, _, err := w.s.Events(w.ctx, acme, latchkey.EventQuery{Page: latchkey.Page{After: after}})
			w.failed(latchkey.ErrInvalid, err, fmt.Sprintf("Events after %q", after))
		}
	}),

	newCase("events/filters",
		"Every field of an EventQuery selects. All given fields must match. Newest first is the same "+
			"in the other direction. Pages hold each event once.", func(w *fixture) {
			at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
			for i, e := range []latchkey.Event{
				{At: at(0), Actor: "", Action: "token.issue", Object: "a"},
				{At: at(1), Actor: "client:1", Action: "token.update", Object: "a"},
				{At: at(9), Actor: "client:1", Action: "token.issue", Object: "b"}, // by a clock that is ahead
				{At: at(2), Actor: "client:12", Action: "role.update", Object: "A"},
				{At: at(3).Add(time.Microsecond), Actor: "", Action: "tokens", Object: "a "},
				{At: at(4), Actor: "b", Action: "token", Object: "b"},
				{At: at(5), Actor: "client:1", Action: "token.issue", Object: "a"},
			} {
				e.Reason = fmt.Sprint(i)
				w.write(latchkey.Write{Events: []latchkey.Event{e}})
				w.write(latchkey.Write{Owner: globex, Events: []latchkey.Event{e}})
			}
			host, ada, nobody := "", "client:1", "client:2"
			for _, c := range []struct {
				what string
				q    latchkey.EventQuery
				want string
			}{
				{"nothing said", latchkey.EventQuery{}, "0123456"},
				{"by the host itself", latchkey.EventQuery{Actor: &host}, "04"},
				{"by an actor", latchkey.EventQuery{Actor: &ada}, "126"},
				{"by an actor that did nothing", latchkey.EventQuery{Actor: &nobody}, ""},
				{"to an object", latchkey.EventQuery{Object: "a"}, "016"},
				{"an action", latchkey.EventQuery{Action: "token"}, "5"},
				{"actions with a prefix", latchkey.EventQuery{Action: "token."}, "0126"},
				{"actions with a dot alone", latchkey.EventQuery{Action: "."}, ""},
				{"from a time", latchkey.EventQuery{From: at(3)}, "2456"},
				{"from a time between two microseconds", latchkey.EventQuery{From: at(4).Add(1)}, "26"},
				{"to a time", latchkey.EventQuery{To: at(3)}, "013"},
				{"to a time between two microseconds", latchkey.EventQuery{To: at(3).Add(1001)}, "0134"},
				{"in a time", latchkey.EventQuery{From: at(1), To: at(4)}, "134"},
				{"in a time without an event", latchkey.EventQuery{From: at(6), To: at(9)}, ""},
				{"in a time that ends before it begins", latchkey.EventQuery{From: at(4), To: at(1)}, ""},
				{"by an actor to an object", latchkey.EventQuery{Actor: &ada, Object: "a"}, "16"},
				{"an action of an actor in a time", latchkey.EventQuery{Actor: &ada, Action: "token.issue", From: at(5), To: at(9)},
					"6"},
				{"an action to an object", latchkey.EventQuery{Object: "b", Action: "token."}, "2"},
			} {
				for _, reverse := range []bool{false, true} {
					want, what := []byte(c.want), c.what
					if c.q.Reverse = reverse; reverse {
						what += ", newest first"
						slices.Reverse(want)
					}
					for limit := range 4 {
						got, pages := "", 0
						for c.q.Page = (latchkey.Page{Limit: limit}); ; pages++ {
							page, next := w.events(acme, c.q)
							for _, e := range page {
								got += e.Reason
							}
							if len(page) == 0 && (next != "" || pages > 0) {
								w.Errorf("%s, Limit %d: an empty page after a Next, or with one", what, limit)
							}
							if c.q.After = next; next == "" || pages > 9 {
								break
							}
						}
						w.same(got, string(want), fmt.Sprintf("%s, Limit %d", what, limit))
					}
				}
			}
			page, _ := w.events(acme, latchkey.EventQuery{Reverse: true, Page: pageOf(1<<64-1, 1)})
			w.same(page[0].Reason, "6", "the newest before the highest number there is")
		}),

	newCase("events/many",
		"Pages of rare events, among many that a query passes over, are all found, in both directions. "+
			"A page that is short has a Next.", func(w *fixture) {
			// The rare ones stand at the ends, next to each other, and far apart.
			rare := []int{0, 1, 4999, 5000, 9000, 9999}
			var written []latchkey.Event
			for i := range 10_000 {
				e := latchkey.Event{At: noon.Add(time.Duration(i) * time.Second), Action: "token.use",
					Object: "many", Actor: "many"}
				if slices.Contains(rare, i) {
					e.At, e.Action, e.Reason = noon.Add(-time.Hour), "role.update", fmt.Sprint(i, " ")
				}
				if written = append(written, e); len(written) == 1000 {
					w.write(latchkey.Write{Events: written})
					written = nil
				}
			}
			actor := "many"
			for what, q := range map[string]latchkey.EventQuery{
				"an action":              {Action: "role."},
				"an action to an object": {Action: "role.update", Object: "many"},
				"an action of an actor":  {Action: "role.update", Actor: &actor},
				"a time":                 {To: noon},
				"a time of an object":    {To: noon, From: noon.Add(-2 * time.Hour), Object: "many"},
			} {
				for _, reverse := range []bool{false, true} {
					for _, limit := range []int{1, 4, 6} {
						var got, want []string
						for i := range rare {
							want = append(want, fmt.Sprint(rare[i], " "))
						}
						if q.Reverse = reverse; reverse {
							slices.Reverse(want)
						}
						for q.Page = (latchkey.Page{Limit: limit}); ; {
							page, next := w.events(acme, q)
							for _, e := range page {
								got = append(got, e.Reason)
							}
							if len(page) > limit || next != "" && next == q.After || len(got) > len(want) {
								w.Fatalf("%s, Limit %d: pages that do not end", what, limit)
							}
							if q.After = next; next == "" {
								break
							}
						}
						w.same(got, want, fmt.Sprintf("%s, Limit %d, newest first: %v", what, limit, reverse))
					}
				}
			}
		}),

	newCase("events/purged", "A page goes on where the one before ended, though Purge removed what came before, the last "+
		"event of the page too.", func(w *fixture) {
		for i := range 6 {
			w.write(latchkey.Write{Events: []latchkey.Event{{At: noon.Add(time.Duration(i) * time.Hour),
				Action: fmt.Sprint(i)}}})
		}
		actions := func(q latchkey.EventQuery) (got, next string) {
			w.Helper()
			page, next := w.events(acme, q)
			for _, e := range page {
				got += e.Action
			}
			return got, next
		}
		forward, backward := latchkey.EventQuery{}, latchkey.EventQuery{Reverse: true}
		forward.Limit, backward.Limit = 2, 2
		var got string
		got, forward.After = actions(forward)
		w.same(got, "01", "the first page")
		got, backward.After = actions(backward)
		w.same(got, "54", "the first page, newest first")
		p := keepAll(noon.Add(3 * time.Hour))
		p.Events = time.Hour
		w.purge(p, 0)
		got, forward.After = actions(forward)
		w.same(got, "34", "the second page, after events to hour 2 are gone")
		got, backward.After = actions(backward)
		w.same(got+backward.After, "3", "the second page, newest first: it is the last")
		got, forward.After = actions(forward)
		w.same(got+forward.After, "5", "the last page")
	}),
}

// pageOf returns the Page of events after a Seq.
func pageOf(after uint64, n int) latchkey.Page {
	return latchkey.Page{After: fmt.Sprint(after), Limit: n}
}
