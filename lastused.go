package latchkey

import (
	"context"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// retiredStep is how far the last use of a secret that ends moves before it is written, in µs. It is short, so that it
// can be seen before the end whether the secret is still in use.
const retiredStep = int64(60e6)

// useStep returns by how much the last use of a secret moves before it is written, in µs.
func useStep(idle int64, retired bool) int64 {
	if retired {
		return min(usage.Step(idle), retiredStep)
	}
	return usage.Step(idle)
}

// touch notes that a secret of a cached token was used now.
func (m *Manager) touch(p *Presented, text string, r *record, set *compiled, owner string, now int64) {
	if uuidv7.IsUnstored(r.ID) {
		return // no record keeps it
	}
	if set.idle != 0 {
		r.Seen.Store(now)
	}
	was := r.Used.Load() // s
	if now-int64(was)*1e6 < useStep(set.idle, r.Retired()) || !r.Used.CompareAndSwap(was, seconds(now)) {
		return
	}
	m.writeUse(owner, uuidv7.Text(r.ID), p, now, m.opts.Keyring.digests(text)...)
}

// idledOut reports whether a token was not used for idle µs, as far as is known here: by what was read from the store,
// and by its cached secrets. A token that is not known looks idled out, so that the store is asked.
func (m *Manager) idledOut(owner string, id [16]byte, idle, now int64) bool {
	text := uuidv7.Text(id)
	if !m.uses.IdledOut(owner, text, idle, now) {
		return false
	}
	seen := m.cache.Seen(owner, id, now)
	if now-seen >= idle {
		return true
	}
	m.uses.Noted(owner, text, seen)
	return false
}

// writeUse writes a use behind, of a secret that has one of the digests.
func (m *Manager) writeUse(owner, token string, p *Presented, now int64, digests ...[32]byte) {
	for _, d := range digests {
		m.uses.Write(usage.Use{Owner: owner, Token: token, At: now, Digest: d, From: m.opts.LastUseAddress.of(p.Address)})
	}
}

// AddressDetail is how much of an address is kept.
type AddressDetail uint8

const (
	WholeAddress   AddressDetail = iota // all of it
	NetworkAddress                      // the first address of its network: the /24 of IPv4, the /48 of IPv6
	NoAddress                           // nothing
)

var sixToFour = netip.MustParsePrefix("2002::/16")

// of returns what is kept of an address. An unknown detail keeps nothing.
func (d AddressDetail) of(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	switch {
	case d == WholeAddress || !a.IsValid():
		return a
	case d != NetworkAddress:
		return netip.Addr{}
	}
	bits := 48
	if a.Is4() {
		bits = 24
	} else if sixToFour.Contains(a) {
		bits = 16 + 24 // it begins with an IPv4 address
	}
	return netip.PrefixFrom(a, bits).Masked().Addr()
}

func seconds(us int64) uint32 { return uint32(max(us, 0) / 1e6) }

// touchStored notes that a token just read from the store was used now, by the secret that was found. It returns which
// use of the secret is, or will be, stored: 0 for none. Digests are those under which the secret is stored, or will be.
func (m *Manager) touchStored(p *Presented, f *Found, now int64, digests ...[32]byte) int64 {
	t, used := &f.Token, int64(0)
	if !f.Secret.Used.IsZero() {
		used = micros(f.Secret.Used)
	}
	step := usage.Step(0)
	if !f.Secret.NotAfter.IsZero() {
		step = 1e6 // it may have been retired since its last use
	}
	due := f.Secret.Used.IsZero() || now-used >= step
	if idle := t.Validity.Idle.Microseconds(); idle != 0 {
		written, write := m.uses.Used(t.Owner, t.ID, idle, now, t.Used.IsZero() || due)
		if write {
			m.writeUse(t.Owner, t.ID, p, now, digests...)
		}
		return written
	}
	if !due {
		return used
	}
	m.writeUse(t.Owner, t.ID, p, now, digests...)
	return now
}

// latestUse returns the latest time at which a token can have been used, by what the store knows.
func latestUse(t *Token, now int64) time.Time {
	if t.Used.IsZero() || t.Validity.Idle != 0 && over(t.IdleEnd(), now) {
		return t.Used
	}
	return fromMicros(max(micros(t.Used), min(now, micros(t.Used)+usage.Step(t.Validity.Idle.Microseconds()))))
}

// lastUsedSink is a Manager as a usage.LastUsed needs it.
type lastUsedSink struct{ *Manager }

func (s lastUsedSink) RaiseLastUsed(ctx context.Context, uses []usage.Use) error {
	now := s.expiryNow()
	id, err := s.ids.New(now)
	if err != nil {
		return err
	}
	last := make([]LastUsed, len(uses))
	for i, u := range uses {
		last[i] = LastUsed{Owner: u.Owner, TokenID: u.Token, At: fromMicros(u.At), Digest: u.Digest, From: u.From}
	}
	return s.store.AddUsage(ctx, UsageBatch{ID: id, At: fromMicros(now), Last: last})
}

func (s lastUsedSink) Group(owner string) uint32 { return uint32(s.store.Locate(owner).Feed) }

func (s lastUsedSink) Warn(msg string, lost int64, err error) {
	s.fail(context.Background(), partLastUse, Failure{Message: msg, Err: err, Lost: lost})
}
