package storetest_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// editSecrets applies an edit to every list of secrets.
func editSecrets(f *faulty, s latchkey.Store, edit func([]latchkey.SecretRecord)) {
	f.secrets = func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
		all, err := s.Secrets(ctx, owner, id)
		edit(all)
		return all, err
	}
}

// editAdded applies an edit to every secret that a Write adds.
func editAdded(f *faulty, s latchkey.Store, edit func(*latchkey.SecretRecord)) {
	editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
		w.Secrets = slices.Clone(w.Secrets)
		for i, c := range w.Secrets {
			if c.Add != nil {
				add := *c.Add
				edit(&add)
				w.Secrets[i].Add = &add
			}
		}
	})
}

// editUses applies an edit to every last use.
func editUses(f *faulty, s latchkey.Store, edit func(*latchkey.LastUsed)) {
	f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
		b.Last = slices.Clone(b.Last)
		for i := range b.Last {
			edit(&b.Last[i])
		}
		return s.AddUsage(ctx, b)
	}
}

// remembered keeps the last secret seen for each lookup part, and answers with it when the store does not.
func remembered(f *faulty, s latchkey.Store, answer func(err error) bool) {
	var known sync.Map
	f.byLookup = func(ctx context.Context, lookup string) (latchkey.Found, error) {
		found, err := s.ByLookup(ctx, lookup)
		if was, ok := known.Load(lookup); ok && answer(err) {
			return was.(latchkey.Found), nil
		}
		if err == nil {
			known.Store(lookup, found)
		}
		return found, err
	}
}

var foreignFaults = map[string]fault{
	"does not know which secret was used": {[]string{"secrets/last-use"}, func(f *faulty, s latchkey.Store) {
		editUses(f, s, func(l *latchkey.LastUsed) { l.Digest = [32]byte{} })
	}},
	"forgets where a secret was used from": {[]string{"secrets/last-use", "foreign/replace"},
		func(f *faulty, s latchkey.Store) {
			editUses(f, s, func(l *latchkey.LastUsed) { l.From = netip.Addr{} })
		}},
	"shows the token's last use with each of its secrets": {[]string{"secrets/last-use"},
		func(f *faulty, s latchkey.Store) {
			f.secrets = func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
				all, err := s.Secrets(ctx, owner, id)
				if found, _ := s.Load(ctx, owner, id); err == nil {
					for i := range all {
						all[i].Used = found.Token.Used
					}
				}
				return all, err
			}
		}},
	"lets an older use of a secret win": {[]string{"secrets/last-use"}, func(f *faulty, s latchkey.Store) {
		var used sync.Map
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			for _, l := range b.Last {
				used.Store(l.Digest, l)
			}
			return s.AddUsage(ctx, b)
		}
		editSecrets(f, s, func(all []latchkey.SecretRecord) {
			for i := range all {
				if l, ok := used.Load(all[i].Digest); ok && !all[i].Used.IsZero() {
					all[i].Used, all[i].UsedFrom = l.(latchkey.LastUsed).At, l.(latchkey.LastUsed).From
				}
			}
		})
	}},
	"ignores the use of a secret that is older than its token's": {[]string{"secrets/last-use"},
		func(f *faulty, s latchkey.Store) {
			f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
				b.Last = slices.DeleteFunc(slices.Clone(b.Last), func(l latchkey.LastUsed) bool {
					found, err := s.Load(ctx, l.Owner, l.TokenID)
					return err == nil && !l.At.After(found.Token.Used)
				})
				return s.AddUsage(ctx, b)
			}
		}},
	"keeps one secret of each token of a batch": {[]string{"secrets/last-use"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			b.Last = slices.Clone(b.Last)
			seen := map[string]bool{}
			for i, l := range b.Last {
				if l.Digest == ([32]byte{}) {
					continue
				}
				if seen[l.Owner+l.TokenID] {
					b.Last[i].Digest = [32]byte{}
				}
				seen[l.Owner+l.TokenID] = true
			}
			return s.AddUsage(ctx, b)
		}
	}},
	"raises a secret by its digest alone, whatever token is named": {[]string{"secrets/last-use"},
		func(f *faulty, s latchkey.Store) {
			f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
				for _, l := range b.Last {
					if found, err := s.ByDigest(ctx, 0, l.Digest); err == nil && found.Token.ID != l.TokenID {
						l.Owner, l.TokenID = found.Token.Owner, found.Token.ID
						_ = s.AddUsage(ctx, latchkey.UsageBatch{ID: newID(), Last: []latchkey.LastUsed{l}})
					}
				}
				return s.AddUsage(ctx, b)
			}
		}},
	"shows the address of a secret's use wherever it shows the secret": {[]string{"secrets/last-use"},
		func(f *faulty, s latchkey.Store) {
			presented(f, s, func(found *latchkey.Found) {
				all, _ := s.Secrets(context.Background(), found.Token.Owner, found.Token.ID)
				for _, one := range all {
					if one.Digest == found.Secret.Digest {
						found.Secret.UsedFrom = one.UsedFrom
					}
				}
			})
		}},
	"does not show the use of the secret that is found": {[]string{"secrets/last-use"},
		func(f *faulty, s latchkey.Store) {
			presented(f, s, func(found *latchkey.Found) { found.Secret.Used = time.Time{} })
		}},
	"forgets the use of a secret that gets another key": {[]string{"secrets/last-use", "foreign/replace"},
		func(f *faulty, s latchkey.Store) {
			var replaced sync.Map
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
				for _, c := range w.Secrets {
					if c.Replace {
						replaced.Store(c.Add.Digest, true)
					}
				}
			})
			editSecrets(f, s, func(all []latchkey.SecretRecord) {
				for i := range all {
					if _, ok := replaced.Load(all[i].Digest); ok {
						all[i].Used, all[i].UsedFrom = time.Time{}, netip.Addr{}
					}
				}
			})
		}},
	"believes what a new secret says of its use": {[]string{"secrets/last-use"}, func(f *faulty, s latchkey.Store) {
		var said sync.Map
		editAdded(f, s, func(add *latchkey.SecretRecord) { said.Store(add.Digest, add.Used) })
		editSecrets(f, s, func(all []latchkey.SecretRecord) {
			for i := range all {
				if at, ok := said.Load(all[i].Digest); ok && all[i].Used.IsZero() {
					all[i].Used = at.(time.Time)
				}
			}
		})
	}},

	"finds a secret of another system by its digest": {[]string{"foreign/found"}, func(f *faulty, s latchkey.Store) {
		var lookups sync.Map
		editAdded(f, s, func(add *latchkey.SecretRecord) { lookups.Store(add.Digest, add.Lookup) })
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			for _, d := range digests {
				if lookup, ok := lookups.Load(d); ok && errors.Is(err, latchkey.ErrNotFound) && lookup != "" {
					return s.ByLookup(ctx, lookup.(string))
				}
			}
			return found, err
		}
	}},
	"takes a digest for a lookup part": {[]string{"foreign/found"}, func(f *faulty, s latchkey.Store) {
		f.byLookup = func(ctx context.Context, lookup string) (latchkey.Found, error) {
			if len(lookup) == 32 {
				return s.ByDigest(ctx, 0, [32]byte([]byte(lookup)))
			}
			return s.ByLookup(ctx, lookup)
		}
	}},
	"compares lookup parts without case": {[]string{"foreign/found"}, func(f *faulty, s latchkey.Store) {
		f.byLookup = func(ctx context.Context, lookup string) (latchkey.Found, error) {
			return s.ByLookup(ctx, strings.ToLower(lookup))
		}
	}},
	"ignores blanks around a lookup part": {[]string{"foreign/found"}, func(f *faulty, s latchkey.Store) {
		f.byLookup = func(ctx context.Context, lookup string) (latchkey.Found, error) {
			return s.ByLookup(ctx, strings.TrimSpace(lookup))
		}
	}},
	"keeps no hash": {[]string{"foreign/found", "foreign/replace"}, func(f *faulty, s latchkey.Store) {
		editAdded(f, s, func(add *latchkey.SecretRecord) {
			if len(add.Hash) > 8 {
				add.Hash = add.Hash[:8]
			}
		})
	}},
	"shows all of a secret but what it is compared by": {[]string{"foreign/found"}, func(f *faulty, s latchkey.Store) {
		editSecrets(f, s, func(all []latchkey.SecretRecord) {
			for i := range all {
				all[i].Hash = nil
			}
		})
	}},
	"remembers what it found by a lookup part": {[]string{"foreign/found", "foreign/unique", "foreign/replace"},
		func(f *faulty, s latchkey.Store) { remembered(f, s, func(error) bool { return true }) }},
	"finds a lookup part after its secret is gone": {[]string{"foreign/unique", "foreign/replace"},
		func(f *faulty, s latchkey.Store) {
			remembered(f, s, func(err error) bool { return errors.Is(err, latchkey.ErrNotFound) })
		}},
	"lets each algorithm have its own lookup parts": {[]string{"foreign/unique"}, func(f *faulty, s latchkey.Store) {
		editAdded(f, s, func(add *latchkey.SecretRecord) {
			if add.Algorithm == "sha256" {
				add.Lookup = add.Algorithm + add.Lookup
			}
		})
	}},
	"never frees a lookup part": {[]string{"foreign/unique"}, func(f *faulty, s latchkey.Store) {
		var used sync.Map
		f.write = func(ctx context.Context, w latchkey.Write) error {
			for _, c := range w.Secrets {
				if c.Add != nil && c.Add.Lookup != "" && !c.Replace {
					if digest, ok := used.Load(c.Add.Lookup); ok && digest != c.Add.Digest {
						return latchkey.ErrExists
					}
				}
			}
			err := s.Write(ctx, w)
			for _, c := range w.Secrets {
				if c.Add != nil && err == nil {
					used.Store(c.Add.Lookup, c.Add.Digest)
				}
			}
			return err
		}
	}},
	"replaces a secret's digest only": {[]string{"foreign/replace"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			w.Secrets = slices.Clone(w.Secrets)
			for i, c := range w.Secrets {
				all, _ := s.Secrets(ctx, w.Owner, c.TokenID)
				for _, old := range all {
					if c.Replace && old.Digest == c.Retire && old.Algorithm != "" {
						add := *c.Add
						add.Algorithm, add.Lookup, add.Hash = old.Algorithm, old.Lookup, old.Hash
						w.Secrets[i].Add = &add
					}
				}
			}
		})
	}},
	"takes a lookup part without an algorithm": {[]string{"foreign/invalid"}, func(f *faulty, s latchkey.Store) {
		editAdded(f, s, func(add *latchkey.SecretRecord) {
			if add.Algorithm == "" && add.Lookup != "" && len(add.Hash) > 0 {
				add.Algorithm = "unknown"
			}
		})
	}},
	"signs with a secret of another system": {[]string{"foreign/invalid"}, func(f *faulty, s latchkey.Store) {
		editAdded(f, s, func(add *latchkey.SecretRecord) { add.Signing = add.Signing && add.Algorithm == "" })
	}},
	"cuts what is too long": {[]string{"foreign/invalid"}, func(f *faulty, s latchkey.Store) {
		editAdded(f, s, func(add *latchkey.SecretRecord) { add.Lookup = add.Lookup[:min(len(add.Lookup), 256)] })
	}},

	"ignores when a period ends": {[]string{"purge/credit-ends"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			r.Accounts = slices.Clone(r.Accounts)
			for i := range r.Accounts {
				r.Accounts[i].Ends = time.Time{}
			}
			return s.Reserve(ctx, r)
		}
	}},
	"ends a month with its name, whatever is said": {[]string{"purge/credit-ends"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			r.Accounts = slices.Clone(r.Accounts)
			for i := range r.Accounts {
				if _, err := time.Parse("2006-01", r.Accounts[i].Period); err == nil {
					r.Accounts[i].Ends = time.Time{}
				}
			}
			return s.Reserve(ctx, r)
		}
	}},
	"has an account for each end": {[]string{"purge/credit-ends"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			r.Accounts = slices.Clone(r.Accounts)
			for i, a := range r.Accounts {
				if !a.Ends.IsZero() {
					r.Accounts[i].Meter += a.Ends.String()
				}
			}
			return s.Reserve(ctx, r)
		}
	}},
	"never forgets an account that is no month's": {[]string{"purge/credit-ends"}, func(f *faulty, s latchkey.Store) {
		f.reserve = func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
			r.Accounts = slices.Clone(r.Accounts)
			for i, a := range r.Accounts {
				if _, err := time.Parse("2006-01", a.Period); err != nil && !a.Ends.IsZero() {
					r.Accounts[i].Ends = a.Ends.AddDate(100, 0, 0)
				}
			}
			return s.Reserve(ctx, r)
		}
	}},

	"takes every revocation for one of a token": {[]string{"feed/revocations"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Revocations = slices.Clone(w.Revocations)
			for i, r := range w.Revocations {
				if r.Of <= latchkey.RevokedOwner && (r.Of != latchkey.RevokedOwner || r.ID == "") {
					w.Revocations[i].Of = latchkey.RevokedToken
				}
			}
		})
	}},
	"revokes what was made later too": {[]string{"feed/revocations"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Revocations = slices.Clone(w.Revocations)
			for i := range w.Revocations {
				w.Revocations[i].Before = time.Time{}
			}
		})
	}},
	"lists one revocation for each id": {[]string{"feed/revocations"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			seen := map[string]bool{}
			w.Revocations = slices.DeleteFunc(slices.Clone(w.Revocations), func(r latchkey.Revocation) bool {
				twice := seen[r.ID]
				seen[r.ID] = true
				return twice
			})
		})
	}},
	"forgets what a revocation is of once it is old": {[]string{"feed/revocations"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			feed, err := s.Changes(ctx, id, after, n)
			for i := range feed.Changes {
				if feed.Truncated {
					feed.Changes[i].Of = latchkey.RevokedToken
				}
			}
			return feed, err
		}
	}},
	"lists revocations that are over": {[]string{"feed/lasting"}, func(f *faulty, s latchkey.Store) {
		f.revocations = func(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
			q.Until = q.Until.Add(-time.Microsecond)
			return s.Revocations(ctx, q)
		}
	}},
	"lists the first page of revocations only": {[]string{"feed/lasting"}, func(f *faulty, s latchkey.Store) {
		f.revocations = func(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
			page, _, err := s.Revocations(ctx, q)
			return page, "", err
		}
	}},
	"lists revocations without what they are of": {[]string{"feed/lasting"}, func(f *faulty, s latchkey.Store) {
		f.revocations = func(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
			page, next, err := s.Revocations(ctx, q)
			for i := range page {
				page[i].Of = latchkey.RevokedToken
			}
			return page, next, err
		}
	}},
	"lists no revocation whose history is gone": {[]string{"feed/lasting"}, func(f *faulty, s latchkey.Store) {
		purged := false
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			purged = true
			return s.Purge(ctx, p, n)
		}
		f.revocations = func(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
			if purged {
				return nil, "", nil
			}
			return s.Revocations(ctx, q)
		}
	}},
	"takes a revocation of it knows not what": {[]string{"feed/revocations"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Revocations = slices.DeleteFunc(slices.Clone(w.Revocations), func(r latchkey.Revocation) bool {
				return r.Of > latchkey.RevokedOwner
			})
		})
	}},

	"keeps no hash of an event": {[]string{"events"}, func(f *faulty, s latchkey.Store) {
		editEvents(f, s, func(e *latchkey.Event) { e.Hash = nil })
	}},
	"keeps no hash of the event before": {[]string{"events"}, func(f *faulty, s latchkey.Store) {
		editEvents(f, s, func(e *latchkey.Event) { e.Prev = nil })
	}},
	"keeps hashes as text": {[]string{"events"}, func(f *faulty, s latchkey.Store) {
		editEvents(f, s, func(e *latchkey.Event) { e.Prev = []byte(strings.ToValidUTF8(string(e.Prev), "?")) })
	}},
	"keeps no hash of a mint": {[]string{"events"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Events = slices.Clone(w.Events)
			for i := range w.Events {
				if w.Silent && len(w.Tokens) > 0 {
					w.Events[i].Prev, w.Events[i].Hash = nil, nil
				}
			}
		})
	}},
}

// editEvents applies an edit to every event that a Write holds.
func editEvents(f *faulty, s latchkey.Store, edit func(*latchkey.Event)) {
	editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
		w.Events = slices.Clone(w.Events)
		for i := range w.Events {
			edit(&w.Events[i])
		}
	})
}
