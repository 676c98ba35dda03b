package latchkey

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/latchkey-go/latchkey/internal/weborigin"
)

// Validate says whether r can be kept, and if not why (ErrInvalid).
//
// A domain is a host, "example.com", and stands for all pages of it over http and https. Before it a scheme may stand,
// "https://example.com", and behind it a port and a path. A page must then have the same scheme and port, and a path
// that begins so: "example.com/app" stands for "/app/x" and for "/apps". Most browsers send other sites no path, so such
// a domain often matches nothing. A "*" at the end is implied and may be written.
//
// "*.example.com" stands for everything beneath example.com but not for itself, "*example.com" for both; neither for
// "evilexample.com". What follows such a star has two labels at least and is nothing that publicSuffix, when not nil,
// says anybody can register beneath. Hosts are ASCII (international ones as "xn--…", as browsers send them) or plain IP
// addresses, IPv6 in brackets. They match whatever their case.
//
// An address prefix has no bits beyond its length, is not IPv4 in IPv6 form, and is not all of IPv4 or IPv6.
func (r Restrictions) Validate(publicSuffix func(host string) bool) error {
	for _, text := range r.Domains {
		if _, err := weborigin.ParseDomain(text, publicSuffix); err != nil {
			return err
		}
	}
	if err := validatePrefixes(r.Addresses); err != nil {
		return err
	}
	return validatePrefixes(r.MintFrom)
}

func validatePrefixes(prefixes []netip.Prefix) error {
	for i, p := range prefixes {
		switch {
		case !p.IsValid():
			return fmt.Errorf("%w: address prefix %d is invalid: write one such as 10.0.0.0/8", ErrInvalid, i+1)
		case p.Addr().Is4In6() && p.Bits() <= 96:
			return fmt.Errorf("%w: address prefix %s: it holds all of IPv4: leave it out", ErrInvalid, p)
		case p.Addr().Is4In6():
			return fmt.Errorf("%w: address prefix %s: IPv4 in IPv6 form: write %s", ErrInvalid, p,
				netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked())
		case p.Bits() == 0:
			return fmt.Errorf("%w: address prefix %s is every address: leave it out", ErrInvalid, p)
		case p != p.Masked():
			return fmt.Errorf("%w: address prefix %s: it has bits beyond its length: write %s", ErrInvalid, p, p.Masked())
		}
	}
	return nil
}

// restriction is one or several Restrictions, made ready to ask. Nil, and the zero value, allow everything.
type restriction struct {
	refuse    bool                 // everything: what was stored cannot be read
	domains   [][]weborigin.Domain // one of each list must match
	addresses [][]netip.Prefix     // and so here
	mintFrom  []netip.Prefix
	signed    bool
}

// compileRestrictions makes r ready. With an error it returns a restriction that refuses everything, so that nobody who
// drops the error lets anybody in.
func compileRestrictions(r Restrictions) (*restriction, error) {
	return meetRestrictions([]Restrictions{r})
}

// meetRestrictions makes ready what a token and its ancestors ask for together: nearest first, all of them hold, and
// MintFrom is the token's own. Errors are as with compileRestrictions.
func meetRestrictions(chain []Restrictions) (*restriction, error) {
	met := &restriction{}
	for i, r := range chain {
		list := make([]weborigin.Domain, 0, len(r.Domains))
		for _, text := range r.Domains {
			d, err := weborigin.ParseDomain(text, nil)
			if err != nil {
				return &restriction{refuse: true}, err
			}
			list = append(list, d)
		}
		if len(list) > 0 {
			met.domains = append(met.domains, list)
		}
		for _, prefixes := range [][]netip.Prefix{r.Addresses, r.MintFrom} {
			if err := validatePrefixes(prefixes); err != nil {
				return &restriction{refuse: true}, err
			}
		}
		if len(r.Addresses) > 0 {
			met.addresses = append(met.addresses, slices.Clone(r.Addresses))
		}
		if i == 0 {
			met.mintFrom = slices.Clone(r.MintFrom)
		}
		met.signed = met.signed || r.Signed
	}
	if met.domains == nil && met.addresses == nil && len(met.mintFrom) == 0 && !met.signed {
		return nil, nil
	}
	return met, nil
}

// needsSignature says whether every request must be signed.
func (r *restriction) needsSignature() bool { return r != nil && (r.signed || r.refuse) }

// checkWeb judges the Referer and Origin headers as they came, "" for one that did not: ErrReferer, or nil. With a
// domain list at least one of them is needed, each that is there must match, and both must name one host.
func (r *restriction) checkWeb(referer, origin string) error {
	if r == nil || len(r.domains) == 0 && !r.refuse {
		return nil
	}
	if r.refuse {
		return ErrReferer
	}
	from, ok := weborigin.Read(referer, origin)
	if !ok {
		return ErrReferer
	}
	for _, list := range r.domains {
		if !from.Within(list) {
			return ErrReferer
		}
	}
	return nil
}

// checkAddress judges the client's address: ErrAddress, or nil. The zero Addr passes no list.
func (r *restriction) checkAddress(addr netip.Addr) error {
	if r == nil {
		return nil
	}
	if r.refuse {
		return ErrAddress
	}
	for _, list := range r.addresses {
		if !containsAddr(list, addr) {
			return ErrAddress
		}
	}
	return nil
}

// checkMint is checkAddress for MintFrom: whether a token may be minted from there.
func (r *restriction) checkMint(addr netip.Addr) error {
	if r == nil || len(r.mintFrom) == 0 && !r.refuse {
		return nil
	}
	if r.refuse || !containsAddr(r.mintFrom, addr) {
		return ErrAddress
	}
	return nil
}

// containsAddr takes an IPv4 address in IPv6 form for what it is. Other ways to carry one address in another (NAT64,
// 6to4) stay IPv6 addresses: who answers for those is not for us to say.
func containsAddr(list []netip.Prefix, addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}
