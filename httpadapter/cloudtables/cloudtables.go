package cloudtables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// Options configure [Mount], [Handler] and [Authorize]. The zero value, and nil, are ready to use.
type Options struct {
	// Account picks the account of a request, for hosts with many tenants (by host name, say). Its errors are answered
	// as [WriteError] answers them. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Idle is how long a token lives without being used, unless the request names a duration. 0: [DefaultIdle].
	Idle time.Duration

	// Cap is how long a token lives at most. A request that names a longer duration raises it to that. 0: [DefaultCap].
	Cap time.Duration

	// AddressRate is how many credentials of one client address may be refused before the store is asked about no
	// more of them: see [httpadapter.Gate]. Zero: [httpadapter.DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr].
	Proxies []netip.Prefix

	// Test makes this surface a sandbox: only test keys pass. False: none does.
	Test bool

	// OnError hears of every refusal of the access call with its cause, before the reply is written. The cause never
	// holds a secret; the request does. Whose key it was tells [httpadapter.RefusalFrom]. Nil: nobody listens.
	OnError func(r *http.Request, err error)

	// Logger hears of replies of 500 and above, with their cause. Nil: nobody listens.
	Logger *slog.Logger
}

// surface is an account and how it is served.
type surface struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	gate      *httpadapter.Gate
}

func newSurface(account latchkey.Account, opts *Options) *surface {
	s := &surface{}
	if opts != nil {
		s.opts = *opts
	}
	s.accountOf = adapters.Account("cloudtables", account, s.opts.Account)
	if s.opts.Idle == 0 {
		s.opts.Idle = DefaultIdle
	}
	if s.opts.Cap == 0 {
		s.opts.Cap = DefaultCap
	}
	if s.opts.Idle < time.Second || s.opts.Cap < time.Second {
		panic("cloudtables: Options.Idle and Cap are at least a second")
	}
	adapters.CheckProxies("cloudtables", s.opts.Proxies)
	s.gate = httpadapter.NewGate(s.opts.AddressRate, nil)
	return s
}

var paths = []string{"/io/api/1/access", "/api/1/access"}

// Mount registers the access call under both documented paths, with and without a slash at the end. Nil options are
// ready to use; options that cannot work panic.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options) {
	h := http.HandlerFunc(newSurface(account, opts).serveAccess)
	for _, path := range paths {
		mount.Slashed(mux, path, h)
	}
}

// Handler is [Mount] for hosts that route themselves: it answers the documented paths, and everything else with 404.
func Handler(account latchkey.Account, opts *Options) http.Handler {
	s := newSurface(account, opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(paths, strings.TrimSuffix(r.URL.Path, "/")) {
			WriteError(w, r, latchkey.ErrNotFound)
			return
		}
		s.serveAccess(w, r)
	})
}

func (s *surface) serveAccess(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.writeError(w, r, &refusal{status: http.StatusMethodNotAllowed, msg: msgMethod, cause: httpadapter.ErrBadRequest})
		return
	}
	r, secret, err := s.mint(r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	body, err := json.Marshal(struct {
		Token   string `json:"token"`
		Success bool   `json:"success"`
	}{secret.Reveal(), true})
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, body)
}

func (s *surface) writeError(w http.ResponseWriter, r *http.Request, err error) {
	httpadapter.Refused(r.Context(), err)
	if s.opts.OnError != nil {
		s.opts.OnError(r, err)
	}
	out := refusalOf(err)
	if out.status >= 500 && s.opts.Logger != nil {
		s.opts.Logger.ErrorContext(r.Context(), "access call failed", "method", r.Method, "route", r.Pattern, "err", err)
	}
	out.write(w)
}

// mint makes the token a request asks for, or none at all. The request that comes back says who was found to call.
func (s *surface) mint(r *http.Request) (*http.Request, latchkey.Secret, error) {
	r, c, err := s.admit(r, false)
	if err != nil {
		return r, latchkey.Secret{}, err
	}
	account, access, req := c.account, c.access, c.request
	if !mayMint(access.Kind(), req.roles != nil) {
		return r, latchkey.Secret{}, refuseAccess()
	}
	n, err := narrowing(r.Context(), account, access, req)
	if err != nil {
		return r, latchkey.Secret{}, err
	}
	n.Idle, n.Lifetime = s.opts.Idle, s.opts.Cap
	if req.duration > 0 {
		n.Idle, n.Lifetime = req.duration, max(s.opts.Cap, req.duration)
	}
	t, secret, err := account.Manager().Mint(r.Context(), access, n)
	if err != nil {
		return r, latchkey.Secret{}, mintError(err)
	}
	called := access // by the key, for the client that the token is for
	if t.Client.ID != "" {
		if narrowed, err := access.Narrow(r.Context(), latchkey.Narrowing{Client: t.Client}); err == nil {
			called = narrowed
		}
	}
	called.Count(Meter, "POST /access", 1)
	return r, secret, nil
}

// mintError: what the request itself could have wrong was refused before. So between Verify and Mint the key ended, or
// lost a role.
func mintError(err error) error {
	switch {
	case errors.Is(err, latchkey.ErrNotFound) || errors.Is(err, latchkey.ErrConflict):
		return fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	case errors.Is(err, latchkey.ErrInvalid) && !errors.Is(err, latchkey.ErrBadCondition):
		return fmt.Errorf("%w: %w", latchkey.ErrDenied, err)
	}
	return err
}

// caller is who calls, and what the call says.
type caller struct {
	account latchkey.Account
	access  latchkey.Access
	request request
}

// admit finds out who calls, and only then decodes what the call says. The request that comes back says who was found.
func (s *surface) admit(r *http.Request, data bool) (*http.Request, caller, error) {
	address, err := httpadapter.ClientAddr(r, s.opts.Proxies)
	if err != nil {
		return r, caller{}, err
	}
	r = r.WithContext(s.gate.Watch(r.Context(), address))
	secret, err := findSecret(r, data, func() error { return s.gate.Exhausted(address) })
	if err != nil {
		return r, caller{}, err
	}
	var c caller
	if c.account, c.access, err = s.verify(r, secret); err != nil {
		return r, caller{}, err
	}
	r = r.WithContext(httpadapter.WithAccess(r.Context(), c.access))
	if c.request, err = readRequest(r, data); err != nil {
		return r, caller{}, err
	}
	if c.request.secret != secret { // fail closed: two readings of one request
		return r, caller{}, httpadapter.ErrManyCredentials
	}
	return r, c, nil
}

func (s *surface) verify(r *http.Request, secret string) (latchkey.Account, latchkey.Access, error) {
	account, err := s.accountOf(r)
	if err != nil {
		return account, latchkey.Access{}, err
	}
	p, err := httpadapter.Presented(r, secret, s.opts.Proxies)
	if err != nil {
		return account, latchkey.Access{}, err
	}
	p.Test = s.opts.Test
	access, err := account.Verify(r.Context(), p)
	return account, access, err
}

// narrowing is what a request makes less of an access with.
func narrowing(ctx context.Context, account latchkey.Account, access latchkey.Access, req request) (
	latchkey.Narrowing, error) {
	ids, err := roleIDs(ctx, account, access, req.roles)
	if err != nil {
		return latchkey.Narrowing{}, err
	}
	values, err := forced(req.conditions)
	if err != nil {
		return latchkey.Narrowing{}, err
	}
	return latchkey.Narrowing{
		Roles:  ids,
		Rows:   filters(req.conditions),
		Forced: values,
		Client: req.client,
		Origin: Origin,
	}, nil
}

// roleIDs finds the roles that names mean among those of access. One that access lacks, or that two roles share, is no
// access at all. No names: nil, which leaves access all its roles.
func roleIDs(ctx context.Context, account latchkey.Account, access latchkey.Access, names []string) ([]string, error) {
	if names == nil {
		return nil, nil
	}
	q := latchkey.RoleQuery{Names: names, IDs: access.Roles()}
	if access.Kind() == latchkey.KindSecret {
		q.IDs = nil // has every right, so may name any role of its owner
	} else if len(q.IDs) == 0 {
		return nil, refuseAccess() // fail closed: a query without ids would find every role of the owner
	}
	found := map[string]string{}
	for role, err := range account.Roles(ctx, q) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // it gives nobody anything, so the request is refused if it names it
		} else if err != nil {
			return nil, err
		}
		// Compared here, too: byte for byte, whatever a store's collation says.
		if !slices.Contains(names, role.Name) || q.IDs != nil && !slices.Contains(q.IDs, role.ID) {
			continue
		}
		if _, twice := found[role.Name]; twice {
			return nil, refuseAccess()
		}
		found[role.Name] = role.ID
	}
	if len(found) != len(names) {
		return nil, refuseAccess()
	}
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = found[name]
	}
	return ids, nil
}
