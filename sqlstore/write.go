package sqlstore

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Write implements latchkey.Store.
func (s *Store) Write(ctx context.Context, w latchkey.Write) error {
	p, err := newPlan(&w)
	if err != nil {
		return mapError(ctx, "write", err)
	}
	j := &job{ctx: ctx, done: make(chan error, 1), plan: p, apply: p.apply}
	if (s.dialect.mintWorkers > 0 || s.dialect.groupCommit) && p.onlyMints() {
		j.mint = p
	} else if s.dialect.mergesStatements {
		j.shape = p.changeShape()
	}
	return s.mapError(ctx, "write", s.enqueue(j))
}

// plan is a prepared Write. It is encoded before the transaction, which blocks other writers. It shares nothing with
// the caller, which may return before the transaction ends.
type plan struct {
	w      latchkey.Write // its records are used only for their ids and versions
	tokens []packedTokenRow
	roles  [][]any
	owner  []any
}

func newPlan(w *latchkey.Write) (*plan, error) {
	if w.ID == ([16]byte{}) {
		return nil, contractError(latchkey.ErrInvalid, "a write needs an ID")
	}
	p := &plan{w: *w}
	// In the order of ids, as in every transaction: two with opposite orders would deadlock.
	p.w.Tokens = sortedBy(w.Tokens, func(t *latchkey.Token) string { return t.ID })
	p.w.Roles = sortedBy(w.Roles, func(r *latchkey.Role) string { return r.ID })
	for i := range p.w.Tokens {
		t := &p.w.Tokens[i]
		if t.Owner != w.Owner {
			return nil, errOtherOwner
		}
		packed, err := packTokenRow(t)
		if err != nil {
			return nil, err
		}
		p.tokens = append(p.tokens, packed)
		t.Roles = slices.Clone(t.Roles)
	}
	for i := range p.w.Roles {
		r := &p.w.Roles[i]
		if r.Owner != w.Owner {
			return nil, errOtherOwner
		}
		args, err := roleArgs(r)
		if err != nil {
			return nil, err
		}
		p.roles = append(p.roles, args)
		r.Inherits = slices.Clone(r.Inherits)
	}
	if w.OwnerRecord != nil {
		if w.OwnerRecord.ID != w.Owner {
			return nil, errOtherOwner
		}
		args, err := ownerArgs(w.OwnerRecord)
		if err != nil {
			return nil, err
		}
		p.owner = args
		p.w.OwnerRecord = &latchkey.Owner{Version: w.OwnerRecord.Version}
	}
	p.w.Secrets = slices.Clone(w.Secrets)
	for i := range p.w.Secrets {
		c := &p.w.Secrets[i]
		if c.Add == nil && c.Retire == zeroDigest || c.Replace && (c.Add == nil || c.Retire == zeroDigest) {
			return nil, contractError(latchkey.ErrInvalid, "a secret change needs Add or Retire, and with Replace both")
		}
		if c.Add != nil {
			if err := c.Add.Validate(); err != nil {
				return nil, err
			}
			add := *c.Add
			add.Sealed, add.Hash = bytes.Clone(add.Sealed), bytes.Clone(add.Hash)
			c.Add = &add
		}
	}
	p.w.DeleteTokens, p.w.DeleteRoles = sortedRefs(w.DeleteTokens), sortedRefs(w.DeleteRoles)
	p.w.RequireTokens, p.w.RequireRoles = sortedRefs(w.RequireTokens), sortedRefs(w.RequireRoles)
	if w.RequireOwner != nil {
		version := *w.RequireOwner
		p.w.RequireOwner = &version
	}
	p.w.RequireHolders = slices.Clone(w.RequireHolders)
	for i := range p.w.RequireHolders {
		h := &p.w.RequireHolders[i]
		h.Roles, h.Tokens = slices.Clone(h.Roles), slices.Clone(h.Tokens)
	}
	p.w.Revocations = slices.Clone(w.Revocations)
	for i := range p.w.Revocations {
		if err := p.w.Revocations[i].Validate(); err != nil {
			return nil, err
		}
	}
	p.w.ForgetClients, p.w.Redact = slices.Clone(w.ForgetClients), slices.Clone(w.Redact)
	if w.Live != nil {
		limit := *w.Live
		p.w.Live = &limit
	}
	p.w.Once = sortedBy(w.Once, func(k *latchkey.OnceKey) string { return string(k.Key[:]) })
	p.w.Clients = sortedBy(w.Clients, func(c *latchkey.Client) string { return c.ID })
	p.w.Events = slices.Clone(w.Events)
	for i := range p.w.Events {
		e := &p.w.Events[i]
		e.Before, e.After = bytes.Clone(e.Before), bytes.Clone(e.After)
		e.Prev, e.Hash = bytes.Clone(e.Prev), bytes.Clone(e.Hash)
	}
	return p, nil
}

var (
	errOtherOwner = contractError(latchkey.ErrInvalid, "a write holds a record of another owner")
	zeroDigest    [32]byte
)

func sortedRefs(refs []latchkey.Ref) []latchkey.Ref {
	return sortedBy(refs, func(r *latchkey.Ref) string { return r.ID })
}

// sortedBy returns a sorted copy.
func sortedBy[T any](list []T, id func(*T) string) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(id(&a), id(&b)) })
	return list
}

// onlyAdds reports whether a Write only adds, and changes nothing that its owner has.
func (p *plan) onlyAdds() bool {
	w := &p.w
	if w.Erase || w.OwnerRecord != nil || w.Live != nil ||
		len(w.DeleteTokens)+len(w.DeleteRoles)+len(w.Roles)+len(w.Revocations)+len(w.Events)+len(w.RequireHolders)+
			len(w.ForgetClients)+len(w.Redact) > 0 {
		return false
	}
	for i := range w.Tokens {
		if w.Tokens[i].Version != 0 {
			return false
		}
	}
	for i := range w.Secrets {
		inserted := slices.ContainsFunc(w.Tokens, func(t latchkey.Token) bool { return t.ID == w.Secrets[i].TokenID })
		if w.Secrets[i].Retire != zeroDigest || !inserted {
			return false
		}
	}
	return true
}

// onlyMints reports whether the Write adds new tokens, with what belongs to them, and does nothing else.
func (p *plan) onlyMints() bool {
	w := &p.w
	if !w.Silent || w.Erase || w.OwnerRecord != nil || len(w.Tokens) == 0 ||
		len(w.DeleteTokens)+len(w.DeleteRoles)+len(w.Roles)+len(w.Revocations)+len(w.RequireHolders)+
			len(w.ForgetClients)+len(w.Redact)+len(w.Once) > 0 {
		return false
	}
	for i := range w.Tokens {
		if w.Tokens[i].Version != 0 || i > 0 && w.Tokens[i].ID == w.Tokens[i-1].ID {
			return false
		}
	}
	for i := range w.Secrets {
		_, inserted := p.findToken(w.Secrets[i].TokenID)
		if w.Secrets[i].Retire != zeroDigest || !inserted || w.Secrets[i].Add.Algorithm != "" {
			return false
		}
	}
	return true
}

// needsOwnerAlone reports whether the Write must keep all others of its owner out: it numbers events, or counts tokens.
func (p *plan) needsOwnerAlone() bool { return len(p.w.Events) > 0 || p.w.Live != nil }

// findToken finds a token of the Write by its id.
func (p *plan) findToken(id string) (i int, found bool) {
	compare := func(t latchkey.Token, id string) int { return strings.Compare(t.ID, id) }
	return slices.BinarySearchFunc(p.w.Tokens, id, compare)
}

// tokenCopy returns what the secrets of the Write's i-th token hold of it.
func (p *plan) tokenCopy(i int) tokenCopy {
	t := &p.w.Tokens[i]
	return tokenCopy{packedUsed(t.Used), p.tokens[i].record, int64(t.OwnerVersion)}
}

const insertOnce = `INSERT INTO latchkey_once (owner, id, until) VALUES (?, ?, ?)`

// recordOnce records the keys of a Write.
func (t *tx) recordOnce(p *plan, _ *changeSet) error {
	for i := range p.w.Once {
		k := &p.w.Once[i]
		if i > 0 && k.Key == p.w.Once[i-1].Key {
			if err := t.runMerged(); err != nil {
				return err
			}
		}
		err := t.insertLater(insertOnce, []any{p.w.Owner, k.Key[:], micros(k.Until)}, func(n int64) error {
			if n != 1 && !k.IfAbsent {
				return contractError(latchkey.ErrExists, "a key of the write is recorded already")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Once implements latchkey.Store.
func (s *Store) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	return s.write(ctx, "once", func(t *tx) error {
		n, err := t.insert(insertOnce, owner, key[:], micros(until))
		if err == nil && n != 1 {
			err = contractError(latchkey.ErrExists, "the key was used before")
		}
		return err
	})
}
