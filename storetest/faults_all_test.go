package storetest_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// editEnding applies an edit to every query of ending tokens. A function of the page may take tokens away.
func editEnding(f *faulty, s latchkey.Store, edit func(*latchkey.EndingQuery),
	drop func(latchkey.EndingQuery, latchkey.Token) bool) {
	f.ending = func(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
		if edit != nil {
			edit(&q)
		}
		page, err := s.Ending(ctx, q)
		return slices.DeleteFunc(page, func(t latchkey.Token) bool { return drop != nil && drop(q, t) }), err
	}
}

// editUnused is editEnding for unused tokens.
func editUnused(f *faulty, s latchkey.Store, edit func(*latchkey.UnusedQuery),
	drop func(latchkey.UnusedQuery, latchkey.Token) bool) {
	f.unused = func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
		if edit != nil {
			edit(&q)
		}
		page, next, err := s.Unused(ctx, q)
		return slices.DeleteFunc(page, func(t latchkey.Token) bool { return drop != nil && drop(q, t) }), next, err
	}
}

// also adds tokens of acme to a page.
func also(ctx context.Context, s latchkey.Store, page []latchkey.Token,
	add func(latchkey.Token) bool) []latchkey.Token {
	list, _ := s.Tokens(ctx, "acme", latchkey.TokenQuery{})
	for _, t := range list {
		if add(t) {
			page = append(page, t)
		}
	}
	return page
}

var allFaults = map[string]fault{
	"lists ending tokens of one owner": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, nil, func(_ latchkey.EndingQuery, t latchkey.Token) bool { return t.Owner == other })
	}},
	"lists what is minted among what ends": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		f.ending = func(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
			page, err := s.Ending(ctx, q)
			return also(ctx, s, page, func(t latchkey.Token) bool { return t.Parent != "" }), err
		}
	}},
	"lists what is revoked among what ends": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		f.ending = func(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
			page, err := s.Ending(ctx, q)
			return also(ctx, s, page, func(t latchkey.Token) bool { return !t.Revoked.IsZero() }), err
		}
	}},
	"lists what ends without the disabled": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, nil, func(_ latchkey.EndingQuery, t latchkey.Token) bool { return t.Disabled })
	}},
	"rounds the bounds of an end": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, func(q *latchkey.EndingQuery) {
			q.From, q.To = q.From.Truncate(time.Microsecond), q.To.Truncate(time.Microsecond)
		}, nil)
	}},
	"takes the last moment of a time for a part of it": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, func(q *latchkey.EndingQuery) {
			if !q.To.IsZero() {
				q.To = q.To.Add(time.Microsecond)
			}
		}, nil)
	}},
	"pages by end alone": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, nil, func(q latchkey.EndingQuery, t latchkey.Token) bool {
			start, ok, _ := q.Start()
			return ok && start.Validity.NotAfter.Equal(t.Validity.NotAfter)
		})
	}},
	"lists what ends by owner": {[]string{"all/ending"}, func(f *faulty, s latchkey.Store) {
		f.ending = func(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
			page, err := s.Ending(ctx, q)
			slices.SortFunc(page, func(a, b latchkey.Token) int { return strings.Compare(a.Owner+a.ID, b.Owner+b.ID) })
			return page, err
		}
	}},
	"has any feed": {[]string{"all/ending", "all/unused"}, func(f *faulty, s latchkey.Store) {
		editEnding(f, s, func(q *latchkey.EndingQuery) { q.Feed = 0 }, nil)
		editUnused(f, s, func(q *latchkey.UnusedQuery) { q.Feed = 0 }, nil)
	}},
	"begins anew after a place that it cannot read": {[]string{"all/ending", "all/unused"},
		func(f *faulty, s latchkey.Store) {
			editEnding(f, s, func(q *latchkey.EndingQuery) {
				if _, _, err := q.Start(); err != nil {
					q.After = ""
				}
			}, nil)
			editUnused(f, s, func(q *latchkey.UnusedQuery) {
				if _, _, err := q.Start(); err != nil {
					q.After = ""
				}
			}, nil)
		}},

	"lists unused tokens of one owner": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		editUnused(f, s, nil, func(_ latchkey.UnusedQuery, t latchkey.Token) bool { return t.Owner == other })
	}},
	"takes what was never used for used": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		editUnused(f, s, nil, func(_ latchkey.UnusedQuery, t latchkey.Token) bool { return t.Used.IsZero() })
	}},
	"takes what was just made for unused": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		f.unused = func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
			page, next, err := s.Unused(ctx, q)
			return also(ctx, s, page, func(t latchkey.Token) bool { return t.Created.Equal(q.Since) }), next, err
		}
	}},
	"lists what is minted among what is unused": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		f.unused = func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
			page, next, err := s.Unused(ctx, q)
			return also(ctx, s, page, func(t latchkey.Token) bool { return t.Parent != "" }), next, err
		}
	}},
	"ends a listing with the first page that has room": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		f.unused = func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
			page, _, err := s.Unused(ctx, q)
			return page, "", err
		}
	}},
	"begins the next page at the token that ended one": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		f.unused = func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
			page, next, err := s.Unused(ctx, q)
			if len(page) > 1 && next != "" {
				next = q.Key(page[len(page)-2])
			}
			return page, next, err
		}
	}},
	"knows last uses as they were put": {[]string{"all/unused"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			b.Last = nil
			return s.AddUsage(ctx, b)
		}
	}},

	"lists secrets of the key itself": {[]string{"all/keys"}, func(f *faulty, s latchkey.Store) {
		f.keySecrets = func(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
			q.KeyID = 99
			return s.KeySecrets(ctx, q)
		}
	}},
	"lists only secrets that a key made": {[]string{"all/keys"}, func(f *faulty, s latchkey.Store) {
		f.keySecrets = func(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
			page, next, err := s.KeySecrets(ctx, q)
			return slices.DeleteFunc(page, func(k latchkey.KeySecret) bool { return k.Secret.KeyID == 0 }), next, err
		}
	}},
	"ends a listing of secrets with its first page": {[]string{"all/keys"}, func(f *faulty, s latchkey.Store) {
		f.keySecrets = func(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
			page, _, err := s.KeySecrets(ctx, q)
			return page, "", err
		}
	}},
	"has one cursor": {[]string{"all/delivery"}, func(f *faulty, s latchkey.Store) {
		f.deliver = func(ctx context.Context, owner, cursor string, seq uint64) error {
			if cursor == "siem" {
				_ = s.Deliver(ctx, owner, "other", seq)
			}
			return s.Deliver(ctx, owner, cursor, seq)
		}
	}},
	"moves a cursor for all owners": {[]string{"all/delivery"}, func(f *faulty, s latchkey.Store) {
		f.deliver = func(ctx context.Context, owner, cursor string, seq uint64) error {
			_ = s.Deliver(ctx, other, cursor, seq)
			return s.Deliver(ctx, owner, cursor, seq)
		}
	}},
	"moves a cursor to the last event": {[]string{"all/delivery"}, func(f *faulty, s latchkey.Store) {
		f.deliver = func(ctx context.Context, owner, cursor string, seq uint64) error {
			return s.Deliver(ctx, owner, cursor, seq+1)
		}
	}},
	"forgets usage with its client": {[]string{"write/forget"}, func(f *faulty, s latchkey.Store) {
		f.usage = func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
			rows, err := s.Usage(ctx, owner, q)
			return slices.DeleteFunc(rows, func(r latchkey.UsageRow) bool { return r.Day == "2026-11-23" }), err
		}
	}},
	"keeps what is redacted": {[]string{"write/forget"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			w.Redact = nil
			return s.Write(ctx, w)
		}
	}},
	"redacts the events of the write": {[]string{"write/forget"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			if len(w.Redact) > 0 {
				for i := range w.Events {
					w.Events[i].Reason = ""
				}
			}
			return s.Write(ctx, w)
		}
	}},
	"keeps clients that are forgotten": {[]string{"write/forget"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			w.ForgetClients = nil
			return s.Write(ctx, w)
		}
	}},
}
