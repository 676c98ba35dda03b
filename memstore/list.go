package memstore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// scanSize is how many tokens a listing looks at with the lock held. Between two such slices writers go on, and a
// context that has ended ends the listing. So a search that finds little holds up nobody, however many tokens there
// are.
const scanSize = 4096

// Tokens implements [latchkey.Store].
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	start, paged, err := q.Start()
	if err != nil {
		return nil, err
	}
	if q.Order == latchkey.OrderID {
		var page []latchkey.Token
		err := s.scanSelected(ctx, owner, &q, q.After, q.Reverse, func(r *token) bool {
			if t := r.view(); q.Match(t) {
				page = append(page, t.Clone())
			}
			return len(page) < q.Size()
		})
		if err != nil {
			return nil, err
		}
		return page, nil
	}
	var page []latchkey.Token
	for {
		places, err := s.places(ctx, owner, &q, start, paged)
		if err != nil {
			return nil, err
		}
		page = append(page, s.at(owner, &q, places)...)
		if len(places) < q.Size() || len(page) >= q.Size() {
			return page[:min(len(page), q.Size())], nil
		}
		start, paged = places[len(places)-1], true // some have moved meanwhile, and others take their place
	}
}

// places returns the places of the next page of tokens that a query selects.
func (s *Store) places(ctx context.Context, owner string, q *latchkey.TokenQuery, start latchkey.Token, paged bool) (
	places []latchkey.Token, err error) {
	first := func() { // keeps those that come first
		slices.SortFunc(places, q.Compare)
		places = places[:min(len(places), q.Size())]
	}
	err = s.scanSelected(ctx, owner, q, "", false, func(r *token) bool {
		if t := r.view(); (!paged || q.Compare(start, t) < 0) && q.Match(t) {
			place := latchkey.Token{ID: t.ID, Used: t.Used}
			place.Name, place.Validity.NotAfter = t.Name, t.Validity.NotAfter
			if places = append(places, place); len(places) >= 2*q.Size() {
				first()
			}
		}
		return true
	})
	first()
	return places, err
}

// at returns the tokens at these places. It leaves out those that have moved, or are no longer selected.
func (s *Store) at(owner string, q *latchkey.TokenQuery, places []latchkey.Token) (page []latchkey.Token) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.lookup(owner)
	for _, place := range places {
		if r, ok := a.tokens.get(place.ID); ok {
			if t := r.view(); q.Compare(place, t) == 0 && q.Match(t) {
				page = append(page, t.Clone())
			}
		}
	}
	return page
}

// Count implements [latchkey.Store].
func (s *Store) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	if limit <= 0 {
		limit = 1000
	}
	n := 0
	err := s.scanSelected(ctx, owner, &q, "", false, func(r *token) bool {
		if q.Match(r.view()) {
			n++
		}
		return n < limit
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// scanSelected is scan for a query. It looks at fewer tokens than the owner has, those of a parent or a role, if they
// are few, or those that it names. Visit must check all the same that the query selects them.
func (s *Store) scanSelected(ctx context.Context, owner string, q *latchkey.TokenQuery, after string, reverse bool,
	visit func(*token) bool) error {
	some, few := s.few(owner, q)
	if !few {
		return s.scan(ctx, owner, after, reverse, visit)
	}
	slices.Sort(some)
	if at, found := slices.BinarySearch(some, after); reverse && after != "" {
		some = some[:at]
	} else if found {
		some = some[at+1:]
	} else {
		some = some[at:]
	}
	if reverse {
		slices.Reverse(some)
	}
	for {
		if err := check(ctx); err != nil {
			return err
		}
		n := min(len(some), scanSize)
		if s.visitEach(owner, some[:n], visit) || n == len(some) {
			return nil
		}
		some = some[n:]
	}
}

// few returns the ids of the tokens of q's parent or role, and whether they are so few that to sort them costs less
// than to look at all of the owner's.
func (s *Store) few(owner string, q *latchkey.TokenQuery) (ids []string, few bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.lookup(owner)
	set, size := maps.Keys(a.holders[q.Role]), len(a.holders[q.Role])
	switch {
	case len(q.IDs) > 0:
		return slices.Compact(slices.Sorted(slices.Values(q.IDs))), true
	case q.Parent != "":
		if set, size = a.children[q.Parent].all(), 0; a.children[q.Parent] != nil {
			size = a.children[q.Parent].size
		}
	case q.Role == "":
		return nil, false
	}
	if size > len(a.tokens.m)/16 {
		return nil, false
	}
	for t := range set {
		ids = append(ids, t.id)
	}
	return ids, true
}

// visitEach visits those of some tokens that are still there. It reports whether visit ended it.
func (s *Store) visitEach(owner string, ids []string, visit func(*token) bool) (ended bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tokens := &s.lookup(owner).tokens
	for _, id := range ids {
		if t, ok := tokens.get(id); ok && !visit(t) {
			return true
		}
	}
	return false
}

// scan calls visit with the tokens of an owner, by id from after on, until it returns false. Visit is called with the
// lock held for reading, and must copy what it keeps.
func (s *Store) scan(ctx context.Context, owner, after string, reverse bool, visit func(*token) bool) error {
	for {
		if err := check(ctx); err != nil {
			return err
		}
		next, done := s.scanSome(owner, after, reverse, visit)
		if done {
			return nil
		}
		after = next
	}
}

// scanSome visits the next scanSize tokens. It returns the id of the last one, and whether the scan is at its end.
func (s *Store) scanSome(owner, after string, reverse bool, visit func(*token) bool) (last string, done bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tokens, n := &s.lookup(owner).tokens, 0
	list := tokens.after(after)
	if reverse {
		list = tokens.before(after)
	}
	for id, r := range list {
		if !visit(r) {
			return id, true
		}
		if n++; n == scanSize {
			return id, false
		}
	}
	return last, true
}

// Ending implements [latchkey.Store]. It looks at every token of the store.
func (s *Store) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	start, paged, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, err
	}
	var page []latchkey.Token
	first := func() { // keeps those that come first
		slices.SortFunc(page, q.Compare)
		page = page[:min(len(page), q.Size())]
	}
	for _, owner := range s.ownersFrom("") {
		err := s.scan(ctx, owner, "", false, func(r *token) bool {
			if t := r.view(); (!paged || q.Compare(start, t) < 0) && q.Match(t) {
				if page = append(page, t.Clone()); len(page) >= 2*q.Size() {
					first()
				}
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	first()
	return page, nil
}

// Unused implements [latchkey.Store].
func (s *Store) Unused(ctx context.Context, q latchkey.UnusedQuery) (page []latchkey.Token, next string, err error) {
	start, _, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, "", err
	}
	n, after := 0, start.ID
	for _, owner := range s.ownersFrom(start.Owner) {
		if owner != start.Owner {
			after = ""
		}
		err := s.scan(ctx, owner, after, false, func(r *token) bool {
			t := r.view()
			if q.Match(t) {
				page = append(page, t.Clone())
			}
			if n++; n == scanSize || len(page) == q.Size() {
				next = q.Key(t)
			}
			return next == ""
		})
		if err != nil {
			return nil, "", err
		}
		if next != "" {
			break
		}
	}
	return page, next, nil
}

// KeySecrets implements [latchkey.Store].
func (s *Store) KeySecrets(ctx context.Context, q latchkey.KeyQuery) (
	page []latchkey.KeySecret, next string, err error,
) {
	start, err := q.Start()
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err != nil {
		return nil, "", err
	}
	n := 0
	// add adds the secrets of a token from a digest on, and reports whether there is room for more.
	add := func(t *token, after *[32]byte) bool {
		secrets := slices.Clone(t.secrets)
		slices.SortFunc(secrets, func(a, b secret) int { return bytes.Compare(a.digest[:], b.digest[:]) })
		for _, sec := range secrets {
			if after != nil && bytes.Compare(sec.digest[:], after[:]) <= 0 {
				continue
			}
			found := latchkey.KeySecret{Owner: t.of.id, TokenID: t.id, Secret: sec.copyWithUse()}
			if q.Match(&found.Secret) {
				page = append(page, found)
			}
			if n++; n >= scanSize || len(page) == q.Size() {
				next = q.Key(found.Owner, found.TokenID, sec.digest)
				return false
			}
		}
		return true
	}
	if ended := s.visitEach(start.Owner, []string{start.TokenID}, func(t *token) bool {
		return add(t, &start.Secret.Digest)
	}); ended {
		return page, next, nil
	}
	after := start.TokenID
	for _, owner := range s.ownersFrom(start.Owner) {
		if owner != start.Owner {
			after = ""
		}
		err := s.scan(ctx, owner, after, false, func(t *token) bool { return add(t, nil) })
		if err != nil {
			return nil, "", err
		}
		if next != "" {
			break
		}
	}
	return page, next, nil
}

// Revocations implements [latchkey.Store].
func (s *Store) Revocations(ctx context.Context, q latchkey.RevocationQuery) (
	page []latchkey.Change, next string, err error,
) {
	err = check(ctx)
	if err == nil {
		err = checkFeed(q.Feed)
	}
	var until int64
	var epoch, place uint64
	if err == nil {
		until, epoch, place, err = q.Start()
	}
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	all := s.history.lasting(until)
	s.mu.RUnlock()
	slices.SortFunc(all, compareLasting)
	for _, c := range all {
		if compareLasting(c, change{Change: latchkey.Change{Until: time.UnixMicro(until), Epoch: epoch}, place: place}) <= 0 {
			continue
		}
		if len(page) == q.Size() {
			return page, next, nil
		}
		page, next = append(page, c.Change), latchkey.RevocationKey(&c.Change, c.place)
	}
	return page, "", nil
}

// Undelivered implements [latchkey.Store].
func (s *Store) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) (
	page []latchkey.Delivery, next string, err error,
) {
	err = check(ctx)
	if err == nil {
		err = checkFeed(q.Feed)
	}
	if err == nil {
		err = latchkey.CheckCursor(q.Cursor)
	}
	if err != nil {
		return nil, "", err
	}
	owners := s.ownersFrom(q.After)
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, owner := range owners {
		if owner == q.After {
			continue
		}
		a := s.lookup(owner)
		if at := a.cursors[q.Cursor]; at < a.seq {
			page = append(page, latchkey.Delivery{Owner: owner, Seq: at, Last: a.seq})
		}
		if n++; n >= scanSize || len(page) == q.Size() {
			return page, owner, nil
		}
	}
	return page, "", nil
}

// Deliver implements [latchkey.Store].
func (s *Store) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	err := check(ctx)
	if err == nil {
		err = latchkey.CheckCursor(cursor)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.ensure(owner)
	if a.cursors == nil {
		a.cursors = make(map[string]uint64)
	}
	a.cursors[cursor] = max(a.cursors[cursor], seq)
	return nil
}

// ownersFrom returns the owners from one on, in byte order.
func (s *Store) ownersFrom(first string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	owners := make([]string, 0, len(s.owners))
	for owner := range s.owners {
		if owner >= first {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	return owners
}
