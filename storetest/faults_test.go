package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// pause widens the window between a read and a write, so that other goroutines can run in it.
func pause() { time.Sleep(200 * time.Microsecond) }

// pauseUntil waits until something happened, for a short time only: it may never happen.
func pauseUntil(happened func() bool) {
	for range 20 {
		if happened() {
			return
		}
		pause()
	}
}

func pauseUntilChanged(ctx context.Context, s latchkey.Store, epoch uint64) (now uint64) {
	pauseUntil(func() bool {
		feed, _ := s.Changes(ctx, 0, 0, 0)
		now = feed.Epoch
		return now > epoch
	})
	return now
}

// fault is a bug that real stores have had, or could have.
type fault struct {
	fails []string // the cases that must find it
	seed  func(f *faulty, s latchkey.Store)
}

// editReads applies an edit to every token that Load and ByDigest return.
func editReads(f *faulty, s latchkey.Store, edit func(*latchkey.Token)) {
	f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
		found, err := s.Load(ctx, owner, id)
		edit(&found.Token)
		return found, err
	}
	f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
		found, err := s.ByDigest(ctx, slot, digests...)
		edit(&found.Token)
		return found, err
	}
}

// editWrites applies an edit to every Write.
func editWrites(f *faulty, s latchkey.Store, edit func(ctx context.Context, w *latchkey.Write)) {
	f.write = func(ctx context.Context, w latchkey.Write) error {
		edit(ctx, &w)
		return s.Write(ctx, w)
	}
}

var serial atomic.Uint64

func newID() (id [16]byte) {
	n := serial.Add(1)
	for i := range 8 {
		id[i+1] = byte(n >> (8 * i))
	}
	id[15] = 0xFF
	return id
}

const other = "globex"

// faults holds every fault, by what such a store does.
var faults = func() map[string]fault {
	all := make(map[string]fault)
	for _, some := range []map[string]fault{readFaults, writeFaults, followFaults, feedFaults, feedsFaults, countFaults,
		adjustFaults, usageFaults, purgeFaults, damageFaults, foreignFaults, orderFaults, allFaults, liveFaults,
		chainFaults} {
		maps.Copy(all, some)
	}
	return all
}()

var damageFaults = map[string]fault{
	"keeps no mark of what cannot be read": {[]string{"damaged/token"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Tokens = slices.Clone(w.Tokens)
			for i := range w.Tokens {
				w.Tokens[i].Damaged = false
			}
		})
	}},
	"answers with what is left of a token": {[]string{"damaged/token"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			if found.Token.Damaged {
				err = nil
			}
			return found, err
		}
	}},
	"leaves what cannot be read out of listings": {[]string{"damaged/token"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			list, err := s.Tokens(ctx, owner, q)
			return slices.DeleteFunc(list, func(t latchkey.Token) bool { return t.Damaged }), err
		}
	}},
}

var readFaults = map[string]fault{
	"finds another owner's token": {[]string{"owner/isolation"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			if errors.Is(err, latchkey.ErrNotFound) && owner == other {
				return s.Load(ctx, "acme", id)
			}
			return found, err
		}
	}},
	"shares memory with its readers": {[]string{"copies"}, func(f *faulty, s latchkey.Store) {
		var found *latchkey.Found
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			if found == nil {
				got, err := s.ByDigest(ctx, slot, digests...)
				if err != nil {
					return got, err
				}
				found = &got
			}
			return *found, nil
		}
	}},
	"says not found when it is cancelled": {[]string{"cancelled"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			if err != nil {
				err = latchkey.ErrNotFound
			}
			return found, err
		}
	}},
	"shows nothing when it is cancelled": {[]string{"cancelled"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			page, _ := s.Tokens(ctx, owner, q)
			return page, nil
		}
	}},
	"returns an error of its own": {[]string{"secret/round-trip"}, func(f *faulty, s latchkey.Store) {
		f.secrets = func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
			all, err := s.Secrets(ctx, owner, id)
			if err != nil {
				err = errors.New("sql: no rows in result set")
			}
			return all, err
		}
	}},
	"wraps two errors at once": {[]string{"secret/round-trip"}, func(f *faulty, s latchkey.Store) {
		f.secrets = func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
			all, err := s.Secrets(ctx, owner, id)
			if err != nil {
				err = errors.Join(err, latchkey.ErrUnavailable)
			}
			return all, err
		}
	}},
	"loses parts of a second": {[]string{"token/times", "usage/last"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) {
			t.Created, t.Used = t.Created.Truncate(time.Second), t.Used.Truncate(time.Second)
		})
	}},
	"rounds times up": {[]string{"token/times"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Tokens {
				w.Tokens[i].Created = w.Tokens[i].Created.Round(time.Microsecond)
			}
		})
	}},
	"answers in local time": {[]string{"token/times", "token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) { t.Created = t.Created.In(time.FixedZone("", 0)) })
	}},
	"takes the zero time for 1970": {[]string{"token/times", "token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) {
			if t.Used.IsZero() {
				t.Used = time.Unix(0, 0).UTC()
			}
		})
	}},
	"forgets conditions": {[]string{"token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) { t.Rows = t.Rows[:min(1, len(t.Rows))] })
	}},
	"drops names of roles that it does not have": {[]string{"roles/elsewhere"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Tokens {
				w.Tokens[i].Roles = slices.DeleteFunc(w.Tokens[i].Roles, func(id string) bool { return id == "code:viewer" })
			}
		})
	}},
	"forgets until when roles are held": {[]string{"token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) { t.RoleEnds = nil })
	}},
	"keeps rules in another order": {[]string{"token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) { slices.Reverse(t.Permissions) })
	}},
	"changes a value in a condition": {[]string{"token/round-trip"}, func(f *faulty, s latchkey.Store) {
		editReads(f, s, func(t *latchkey.Token) {
			if len(t.Rows) > 0 {
				t.Rows[0] = latchkey.Where("region", latchkey.Eq, "EU'\" %_")
			}
		})
	}},
	"reformats Extra": {[]string{"token/extra-bytes"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Tokens {
				var b bytes.Buffer
				if json.Compact(&b, w.Tokens[i].Extra) == nil && b.Len() > 0 {
					w.Tokens[i].Extra = b.Bytes()
				}
			}
		})
	}},
	"takes no Boundary for an empty one": {[]string{"owner/boundary-nil-or-empty"}, func(f *faulty, s latchkey.Store) {
		f.owner = func(ctx context.Context, owner string) (latchkey.Owner, error) {
			o, err := s.Owner(ctx, owner)
			if o.Boundary == nil {
				o.Boundary = latchkey.Permissions{}
			}
			return o, err
		}
	}},
	"takes an empty Boundary for none": {[]string{"owner/boundary-nil-or-empty"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			if w.OwnerRecord != nil && len(w.OwnerRecord.Boundary) == 0 {
				w.OwnerRecord.Boundary = nil
			}
		})
	}},
	"takes no Boundary of a role for an empty one": {[]string{"role/boundary-nil-or-empty"},
		func(f *faulty, s latchkey.Store) {
			f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
				found, err := s.Load(ctx, owner, id)
				for i := range found.Roles {
					if r := &found.Roles[i]; r.Boundary == nil {
						r.Boundary = latchkey.Permissions{}
					}
				}
				return found, err
			}
		}},
	"takes an empty Boundary of a role for none": {[]string{"role/boundary-nil-or-empty"},
		func(f *faulty, s latchkey.Store) {
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
				for i := range w.Roles {
					if len(w.Roles[i].Boundary) == 0 {
						w.Roles[i].Boundary = nil
					}
				}
			})
		}},
	"folds the case of digests": {[]string{"digest/is-32-bytes"}, func(f *faulty, s latchkey.Store) {
		fold := func(d [32]byte) [32]byte { return [32]byte(bytes.ToUpper(d[:])[:32]) }
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Secrets {
				w.Secrets[i].Add.Digest = fold(w.Secrets[i].Add.Digest)
			}
		})
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			return s.ByDigest(ctx, 0, fold(digests[0]))
		}
	}},
	"cuts digests at NUL": {[]string{"digest/is-32-bytes"}, func(f *faulty, s latchkey.Store) {
		cut := func(d [32]byte) (c [32]byte) {
			text, _, _ := bytes.Cut(d[:], []byte{0})
			copy(c[:], text)
			return c
		}
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Secrets {
				w.Secrets[i].Add.Digest = cut(w.Secrets[i].Add.Digest)
			}
		})
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			return s.ByDigest(ctx, 0, cut(digests[0]))
		}
	}},
	"drops trailing blanks of names": {[]string{"text/is-bytes", "write/role-names"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Roles {
				w.Roles[i].Name = strings.TrimRight(w.Roles[i].Name, " ")
			}
		})
	}},
	"finds role names in any case": {[]string{"text/is-bytes", "roles/paging"}, func(f *faulty, s latchkey.Store) {
		f.roles = func(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
			names := q.Names
			q.Names = nil
			all, err := s.Roles(ctx, owner, q)
			return slices.DeleteFunc(all, func(r latchkey.Role) bool {
				return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, r.Name) })
			}), err
		}
	}},
	"looks at the first digest only": {[]string{"digest/several"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			return s.ByDigest(ctx, 0, digests[:min(1, len(digests))]...)
		}
	}},
	"mixes what it finds": {[]string{"digest/several-there"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			if last, err := s.ByDigest(ctx, 0, digests[max(0, len(digests)-1):]...); err == nil {
				found.Secret.Sealed = last.Secret.Sealed
			}
			return found, err
		}
	}},
	"finds signing secrets": {[]string{"digest/signing-not-found"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Secrets {
				w.Secrets[i].Add.Signing = false
			}
		})
	}},
	"hides secrets past their end": {[]string{"found/ended-too"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			if err == nil && !found.Secret.NotAfter.IsZero() {
				return latchkey.Found{}, latchkey.ErrNotFound
			}
			return found, err
		}
	}},
	"gives the root first": {[]string{"found/ancestors"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			slices.Reverse(found.Ancestors)
			return found, err
		}
	}},
	"gives the parent only": {[]string{"found/ancestors"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			found.Ancestors = found.Ancestors[:min(1, len(found.Ancestors))]
			return found, err
		}
	}},
	"forgets inherited roles": {[]string{"found/roles"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			found.Roles = slices.DeleteFunc(found.Roles,
				func(r latchkey.Role) bool { return !slices.Contains(found.Token.Roles, r.ID) })
			return found, err
		}
	}},
	"gives a role of a diamond twice": {[]string{"found/roles"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			for _, r := range found.Roles {
				if r.Name == "bottom" {
					found.Roles = append(found.Roles, r)
					break
				}
			}
			return found, err
		}
	}},
	"reads token and roles one after the other": {[]string{"found/snapshot"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			pauseUntilChanged(ctx, s, found.Epoch)
			later, _ := s.ByDigest(ctx, slot, digests...)
			found.Roles = later.Roles
			return found, err
		}
		editWrites(f, s, func(context.Context, *latchkey.Write) { pause() })
	}},
	"labels old records with a new epoch": {[]string{"feed/commit-order"}, func(f *faulty, s latchkey.Store) {
		f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
			found, err := s.Load(ctx, owner, id)
			found.Epoch = pauseUntilChanged(ctx, s, found.Epoch)
			return found, err
		}
	}},
	"repeats the last of a page": {[]string{"tokens/paging", "tokens/filters"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			page, err := s.Tokens(ctx, owner, q)
			if found, err := s.Load(ctx, owner, q.After); err == nil {
				page = append([]latchkey.Token{found.Token}, page...)
			}
			return page[:min(len(page), q.Size())], err
		}
	}},
	"filters a page after cutting it": {[]string{"tokens/filters"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			page, err := s.Tokens(ctx, owner, latchkey.TokenQuery{Page: q.Page})
			return slices.DeleteFunc(page, func(t latchkey.Token) bool { return !q.Match(t) }), err
		}
	}},
	"treats % in a search as a wildcard": {[]string{"tokens/filters"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			q.Search, _, _ = strings.Cut(q.Search, "%")
			return s.Tokens(ctx, owner, q)
		}
	}},
	"shows events of another owner": {[]string{"owner/isolation", "events"}, func(f *faulty, s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			mine, next, err := s.Events(ctx, owner, q)
			theirs, _, _ := s.Events(ctx, "acme", q)
			if owner == other {
				mine = append(mine, theirs...)
			}
			return mine, next, err
		}
	}},
	"lists events by any actor": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.Actor = nil })
	}},
	"lists events of any actor for the host's": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) {
			if q.Actor != nil && *q.Actor == "" {
				q.Actor = nil
			}
		})
	}},
	"lists events to any object": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.Object = "" })
	}},
	"lists events of any action": {[]string{"events/filters", "events/many"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.Action = "" })
	}},
	"takes a prefix of actions for an action": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.Action = strings.TrimSuffix(q.Action, ".") })
	}},
	"lists events from any time": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.From = time.Time{} })
	}},
	"lists events to any time": {[]string{"events/filters", "events/many"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.To = time.Time{} })
	}},
	"lists events at the end of the time too": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) {
			if !q.To.IsZero() {
				q.To = q.To.Add(time.Microsecond)
			}
		})
	}},
	"lists no event at the start of the time": {[]string{"events/filters"}, func(f *faulty, s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) {
			if !q.From.IsZero() {
				q.From = q.From.Add(time.Microsecond)
			}
		})
	}},
	"lists events oldest first only": {[]string{"events/filters", "events/many", "events/purged"}, func(f *faulty,
		s latchkey.Store) {
		editEventQueries(f, s, func(q *latchkey.EventQuery) { q.Reverse = false })
	}},
	"ends a listing of events with a short page": {[]string{"events/many"}, func(f *faulty, s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			all := q
			all.Actor, all.Object, all.Action, all.From, all.To = nil, "", "", time.Time{}, time.Time{}
			all.Limit = 1000 // of these no more than a thousand are looked at
			page, _, err := s.Events(ctx, owner, all)
			page = slices.DeleteFunc(page, func(e latchkey.Event) bool { return !q.Match(e) })
			if len(page) > q.Size() {
				page = page[:q.Size()]
				return page, q.Key(page[q.Size()-1]), err
			}
			return page, "", err
		}
	}},
	"has an empty last page of events": {[]string{"events", "events/filters"}, func(f *faulty, s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			page, next, err := s.Events(ctx, owner, q)
			if len(page) == q.Size() {
				next = q.Key(page[len(page)-1])
			}
			return page, next, err
		}
	}},
	"passes over an event between two pages": {[]string{"events", "events/filters", "events/purged"}, func(f *faulty,
		s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			page, next, err := s.Events(ctx, owner, q)
			if seq, failed := strconv.ParseUint(next, 10, 64); failed == nil && q.Reverse {
				next = strconv.FormatUint(seq-1, 10)
			} else if failed == nil {
				next = strconv.FormatUint(seq+1, 10)
			}
			return page, next, err
		}
	}},
	"ends the trail where the event before is gone": {[]string{"events/purged"}, func(f *faulty, s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			all, _, _ := s.Events(ctx, owner, latchkey.EventQuery{})
			if q.After != "" && len(all) < 6 &&
				!slices.ContainsFunc(all, func(e latchkey.Event) bool { return q.Key(e) == q.After }) {
				return nil, "", nil
			}
			return s.Events(ctx, owner, q)
		}
	}},
	"takes any text for a place in the trail": {[]string{"events"}, func(f *faulty, s latchkey.Store) {
		f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
			if _, _, err := q.Start(); err != nil {
				q.After = ""
			}
			return s.Events(ctx, owner, q)
		}
	}},
}

// editEventQueries applies an edit to every query of events.
func editEventQueries(f *faulty, s latchkey.Store, edit func(*latchkey.EventQuery)) {
	f.events = func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
		edit(&q)
		return s.Events(ctx, owner, q)
	}
}
