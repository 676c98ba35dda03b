package latchkey

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// Expiring lists the tokens of all owners whose Validity.NotAfter lies in [from, to), soonest first, for notices to
// customers. A zero time is open on that side. Minted and revoked tokens are left out. Disabled ones are listed, and
// those of a disabled owner: [Account.Refusals] tells which would be refused already. Validity.Idle is no such end.
//
// The listing is read in pages as the loop goes on, so it costs what it yields. It goes on where another ended: after
// is the last token that the other yielded, of which Owner, ID and NotAfter count. To keep a NotAfter and pass it as
// from will do too; tokens with that same end come again then.
//
// Of a damaged token it yields what is left, with a [*DamagedError], and goes on. A feed of the store that cannot be
// read yields one error, which wraps [ErrUnavailable], and the others go on. What that feed had left was not listed:
// list the same time again later. Expiring is for the host's own jobs, and checks no rights.
func (m *Manager) Expiring(ctx context.Context, from, to time.Time, after ...Token) iter.Seq2[Token, error] {
	q := EndingQuery{From: from, To: to}
	if len(after) > 0 {
		q.After = q.Key(after[len(after)-1])
	}
	return m.ofAllFeeds(ctx, q.Compare, func(feed FeedID, after string, first bool) ([]Token, string, error) {
		q := q
		if q.Feed = feed; !first {
			q.After = after
		}
		page, err := m.store.Ending(ctx, q)
		if len(page) < q.Size() {
			return page, "", err
		}
		return page, q.Key(page[len(page)-1]), err
	})
}

// Unused lists the tokens of all owners that were neither used nor made since a time, by owner and id. Minted and
// revoked ones are left out, and disabled ones are listed, as in [Manager.Expiring]. What this process knows of uses is
// written before. [Token.Used] says how exact a last use is.
//
// It looks at every token of the store, some thousand in one read. So it takes long with many, and the loop may wait
// between two tokens. It goes on where another ended: after is the last token that the other yielded, of which Owner
// and ID count. Errors are those of Expiring. It is for the host's own jobs, and checks no rights.
func (m *Manager) Unused(ctx context.Context, since time.Time, after ...Token) iter.Seq2[Token, error] {
	q := UnusedQuery{Since: since}
	if len(after) > 0 {
		q.After = q.Key(after[len(after)-1])
	}
	list := m.ofAllFeeds(ctx, q.Compare, func(feed FeedID, after string, first bool) ([]Token, string, error) {
		q := q
		if q.Feed = feed; !first {
			q.After = after
		}
		return m.store.Unused(ctx, q)
	})
	return func(yield func(Token, error) bool) {
		if err := m.uses.Flush(ctx); err != nil {
			m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
		}
		list(yield)
	}
}

// feedListing is a listing of one feed.
type feedListing struct {
	id    FeedID
	page  []Token
	after string // of the next page; "": there is none
	err   error
}

// ofAllFeeds merges a listing of each feed, in the order of compare. Read returns a page, and the after of the next one
// or "" at the end. The first pages are read at once, so that no feed waits for one that does not answer.
func (m *Manager) ofAllFeeds(ctx context.Context, compare func(a, b Token) int,
	read func(feed FeedID, after string, first bool) ([]Token, string, error)) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		ids := m.store.Feeds()
		feeds := make([]*feedListing, len(ids))
		var all sync.WaitGroup
		for i, id := range ids {
			f := &feedListing{id: id}
			feeds[i] = f
			all.Go(func() {
				f.page, f.after, f.err = read(id, "", true)
				f.fill(read)
			})
		}
		all.Wait()
		for {
			var next *feedListing
			for _, f := range feeds {
				if f.err != nil {
					err := fmt.Errorf("%w%s", f.err, ofFeed(f.id, len(ids)))
					f.page, f.after, f.err = nil, "", nil
					if !yield(Token{}, err) {
						return
					}
				}
				if len(f.page) > 0 && (next == nil || compare(f.page[0], next.page[0]) < 0) {
					next = f
				}
			}
			if next == nil {
				return
			}
			t := next.page[0]
			next.page = next.page[1:]
			var err error
			if t.Damaged {
				err = damagedToken(&t)
			}
			if !yield(t, err) {
				return
			}
			next.fill(read)
		}
	}
}

// fill reads on until there is a token, or none is left.
func (f *feedListing) fill(read func(feed FeedID, after string, first bool) ([]Token, string, error)) {
	for len(f.page) == 0 && f.after != "" && f.err == nil {
		f.page, f.after, f.err = read(f.id, f.after, false)
	}
}
