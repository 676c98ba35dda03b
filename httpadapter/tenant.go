package httpadapter

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey"
)

// ErrNoTenant is what an OwnerOf function returns for a request that names no tenant. It wraps
// [latchkey.ErrUnknownToken], so each surface answers as it does for an unknown token: a caller cannot find out which
// tenants there are.
var ErrNoTenant = fmt.Errorf("httpadapter: no such tenant: %w", latchkey.ErrUnknownToken)

// AccountOf returns a function that returns the account of a request's tenant: Options.Account of the surfaces beneath
// this package, and what [Options.OwnerOf] does. ownerOf returns the owner's id, by the host name of the request, say.
// It must be safe for concurrent use. AccountOf panics if m or ownerOf is nil.
//
// The errors of the function are:
//
//   - [ErrNoTenant] and [latchkey.ErrUnavailable] if ownerOf's error wraps one of them
//   - an error that is answered 500 for every other error of ownerOf, whatever it wraps
//   - the same for an owner that is no owner's id, such as an empty one
func AccountOf(m *latchkey.Manager, ownerOf func(*http.Request) (string, error)) func(*http.Request) (
	latchkey.Account, error) {
	if m == nil || ownerOf == nil {
		panic("httpadapter: AccountOf needs a Manager and a function")
	}
	return func(r *http.Request) (latchkey.Account, error) {
		owner, err := ownerOf(r)
		switch {
		case errors.Is(err, latchkey.ErrUnavailable):
			return latchkey.Account{}, err // first: an error that wraps both must not read as "no such tenant"
		case errors.Is(err, ErrNoTenant):
			return latchkey.Account{}, ErrNoTenant
		case err != nil: // as text: what it wraps is the host's, and says nothing about the caller
			return latchkey.Account{}, fmt.Errorf("httpadapter: OwnerOf: %v", err)
		}
		account, err := m.Tenant(owner)
		if err != nil {
			return latchkey.Account{}, fmt.Errorf("httpadapter: OwnerOf returned no owner's id: %v", err)
		}
		return account, nil
	}
}
