package latchkey

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/latchkey-go/latchkey/internal/weborigin"
)

// Validate returns nil if r can be stored, and otherwise an error that says why not (ErrInvalid).
//
// A domain is a host, "example.com", and matches all its pages over http and https. A scheme may stand before it,
// "https://example.com", and a port and a path after it. A page must then have the same scheme and port, and a path
// that begins with that text: "example.com/app" matches "/app/x" and "/apps". Most browsers send no path to other
// sites, so such a domain often matches nothing. A "*" at the end is implied and may be written.
//
// "*.example.com" matches every host beneath example.com, but not example.com. "*example.com" matches both. Neither
// matches "evilexample.com". After such a star at least two labels are needed. If publicSuffix is not nil, they must
// not be a host for which it returns true: one that anybody can register beneath. Hosts are ASCII (international ones
// as "xn--…", as browsers send them) or plain IP addresses, IPv6 in brackets. Case does not matter.
//
// An address prefix must have no bits beyond its length. It must not be IPv4 in IPv6 form, nor all of IPv4 or IPv6.
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

// validatePrefixes is Validate for prefixes of addresses.
func validatePrefixes(prefixes []netip.Prefix) error {
	for i, p := range prefixes {
		switch {
		case !p.IsValid():
			return fmt.Errorf("%w: address prefix %d is invalid: write one such as 10.0.0.0/8", ErrInvalid, i+1)
		case p.Addr().Is4In6() && p.Bits() <= 96:
			return fmt.Errorf("%w: address prefix %s holds all of IPv4: leave it out", ErrInvalid, p)
		case p.Addr().Is4In6():
			return fmt.Errorf("%w: address prefix %s is IPv4 in IPv6 form: write %s", ErrInvalid, p,
				netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked())
		case p.Bits() == 0:
			return fmt.Errorf("%w: address prefix %s is every address: leave it out", ErrInvalid, p)
		case p != p.Masked():
			return fmt.Errorf("%w: address prefix %s has bits beyond its length: write %s", ErrInvalid, p, p.Masked())
		}
	}
	return nil
}

// restriction is a list of Restrictions, compiled. Nil and the zero value allow everything.
type restriction struct {
	refuse    bool                 // refuses everything: what was stored cannot be read
	domains   [][]weborigin.Domain // one of each list must match
	addresses [][]netip.Prefix     // likewise
	mintFrom  []netip.Prefix
	signed    bool
}

// compileRestrictions compiles r. With an error it returns a restriction that refuses everything, so that a caller that
// drops the error fails closed.
func compileRestrictions(r Restrictions) (*restriction, error) {
	return meetRestrictions([]Restrictions{r})
}

// meetRestrictions compiles the restrictions of a token and its ancestors, nearest first. All of them hold together,
// but MintFrom is the token's own. Errors are as with compileRestrictions.
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

// needsSignature reports whether every request must be signed.
func (r *restriction) needsSignature() bool { return r != nil && (r.signed || r.refuse) }

// verifyWeb returns ErrReferer unless the Referer and Origin headers, as received, are allowed. "": a header was
// absent. With a domain list at least one of them must be present. Each that is present must match, and both must name
// one host.
func (r *restriction) verifyWeb(referer, origin string) error {
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

// verifyAddress returns ErrAddress unless the client's address is allowed. The zero Addr is within no list.
func (r *restriction) verifyAddress(addr netip.Addr) error {
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

// verifyMintAddress is verifyAddress for MintFrom: it returns ErrAddress unless a token may be minted from there.
func (r *restriction) verifyMintAddress(addr netip.Addr) error {
	if r == nil || len(r.mintFrom) == 0 && !r.refuse {
		return nil
	}
	if r.refuse || !containsAddr(r.mintFrom, addr) {
		return ErrAddress
	}
	return nil
}

// containsAddr reports whether addr is within a prefix of list. An IPv4 address in IPv6 form counts as IPv4. Other ways
// to carry one address in another (NAT64, 6to4) stay IPv6 addresses, because the machine behind one is not known here.
func containsAddr(list []netip.Prefix, addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}
