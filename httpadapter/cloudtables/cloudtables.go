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
	// Account returns the account of a request, for hosts with many tenants: see [httpadapter.AccountOf]. Its errors are
	// answered as by [WriteError]. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Idle is how long a token lives without being used, unless the request names a duration. It is at least a second.
	// 0: [DefaultIdle].
	Idle time.Duration

	// Cap is how long a token lives at most. A request that names a longer duration raises it to that. It is at least a
	// second. 0: [DefaultCap].
	Cap time.Duration

	// Stateless mints tokens that are not stored, so that the view of a page writes nothing: see
	// [latchkey.Narrowing].Stateless. It needs latchkey.Options.Keyring. Nothing notes when such a token is used, so it
	// lives as long as another one would without being used, and no longer: for Idle, or for the duration that the request
	// names, up to [latchkey.MaxStateless]. Raise Idle for pages that stay open. False: tokens are stored.
	Stateless bool

	// AddressRate is how many credentials of one client address may be refused. Beyond it, credentials from that address
	// that need a store read are refused as rateLimited: see [httpadapter.Gate]. Zero: [httpadapter.DefaultAddressRate].
	// A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// Test makes this surface a sandbox: only test keys pass. False: test keys are refused.
	Test bool

	// OnError is called for every refusal of the access call with its cause, before the reply is written. The cause
	// never holds a secret; the request does. [httpadapter.RefusalFrom] returns the key that was refused. Nil: no
	// callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, with their cause. Nil: nothing is logged.
	Logger *slog.Logger
}

// surface is an account and the options it is served with.
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
		panic("cloudtables: Options.Idle and Options.Cap must be at least a second, or 0 for the default")
	}
	adapters.CheckProxies("cloudtables", s.opts.Proxies)
	s.gate = httpadapter.NewGate(s.opts.AddressRate, nil)
	return s
}

var paths = []string{"/io/api/1/access", "/api/1/access"}

// Mount registers the access call under both documented paths, with and without a trailing slash. Nil options are
// ready to use. It panics on invalid options.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options) {
	h := http.HandlerFunc(newSurface(account, opts).serveAccess)
	for _, path := range paths {
		mount.Slashed(mux, path, h)
	}
}

// Handler returns the handler that [Mount] registers, for hosts that route requests themselves. It answers every
// other path with 404.
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

// writeError reports and logs err, and writes its reply.
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

// mint makes the token that a request asks for. The returned request carries the caller in its context.
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
	if s.opts.Stateless {
		n.Stateless, n.Idle, n.Lifetime = true, 0, min(n.Idle, latchkey.MaxStateless)
	}
	t, secret, err := access.Mint(r.Context(), n)
	if err != nil {
		return r, latchkey.Secret{}, mintError(err)
	}
	called := access // the key, with the client that the token is for
	if t.Client.ID != "" {
		if narrowed, err := access.Narrow(r.Context(), latchkey.Narrowing{Client: t.Client}); err == nil {
			called = narrowed
		}
	}
	called.Count(Meter, "POST /access", 1)
	return r, secret, nil
}

// mintError maps an error of Mint. Invalid requests were refused before. So the key ended, or lost a role, between
// Verify and Mint, or the owner's policy lets it mint no more.
func mintError(err error) error {
	switch {
	case errors.Is(err, latchkey.ErrNotFound) || errors.Is(err, latchkey.ErrConflict):
		return fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	case errors.Is(err, latchkey.ErrTooMany): // the product has no word for how many
		return &refusal{status: http.StatusForbidden, msg: msgNoAccess, cause: err}
	case errors.Is(err, latchkey.ErrInvalid) && !errors.Is(err, latchkey.ErrBadCondition):
		return fmt.Errorf("%w: %w", latchkey.ErrDenied, err)
	}
	return err
}

// caller is an authenticated caller and its request.
type caller struct {
	account latchkey.Account
	access  latchkey.Access
	request request
}

// admit authenticates r, and only then decodes the rest of it. The returned request carries the caller in its
// context.
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
	if c.request.secret != secret { // fail closed: the request has two meanings
		return r, caller{}, httpadapter.ErrManyCredentials
	}
	return r, c, nil
}

// verify returns the account of r and the access of secret in it.
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

// narrowing returns how a request narrows an access.
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

// roleIDs returns the ids of the named roles among those of access. It denies the request if access lacks a role, or
// if two of its roles have the same name. Nil names return nil, which leaves access all its roles.
func roleIDs(ctx context.Context, account latchkey.Account, access latchkey.Access, names []string) ([]string, error) {
	if names == nil {
		return nil, nil
	}
	// A secret key has no roles and every right, so it may name any role of its owner.
	q := latchkey.RoleQuery{Names: names, IDs: access.Roles()}
	if len(q.IDs) == 0 && access.Kind() != latchkey.KindSecret {
		return nil, refuseAccess() // fail closed: a query without ids finds every role of the owner
	}
	found := map[string]string{}
	for role, err := range account.Roles(ctx, q) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // it gives nothing; a request that names it is refused
		} else if err != nil {
			return nil, err
		}
		// Compared again here, byte for byte: a store's collation may differ.
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
