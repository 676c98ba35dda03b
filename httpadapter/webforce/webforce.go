package webforce

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// Options configure [Mount] and [Handler]. The zero value, and nil, are ready to use. They must not be changed
// afterwards.
type Options struct {
	// Account returns the account of a request, for hosts with many tenants: see [httpadapter.AccountOf]. Its errors are
	// answered like those of a command. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Session returns the access of one of the host's own session ids, made by [latchkey.Account.Assume] on the
	// request's account. It is called for every auth_token that is not a token of the account. Return
	// [latchkey.ErrUnknownToken] for an unknown session; any other error counts as a failure and is logged. Nil: only
	// tokens are valid.
	//
	// To make and read tokens, a session needs create, read, update, delete and reveal on "latchkey/token/*". It also
	// needs all rights that it gives to tokens: see [Database] and [StockImages].
	Session func(r *http.Request, id string) (latchkey.Access, error)

	// BoundBySession limits what a session makes, changes and reads to the limits of the session's own token: its end,
	// addresses, domains and limits (see [latchkey.Account]). A rule that allows [latchkey.Exceed] lifts that. False:
	// tokens last until they are removed, as the product documents, and only rights limit them.
	BoundBySession bool

	// Overlay is the meaning of a database that several entries name. 0: [OverlayFlags]. It applies when a token is made
	// or changed. Existing tokens keep their meaning.
	Overlay Overlay

	// EitherFlag passes db.add, db.remove and db.column.add with either of the two flags that the documents name for
	// them. False: both are required.
	EitherFlag bool

	// Commands are the host's own, by name ("db.get"). Names that begin with "access." are reserved. Nil: only access.*
	// is served.
	Commands map[string]Command

	// AddressRate is how many credentials of one client address may be refused. Beyond it, credentials from that address
	// that need a read of the store, or a call of Session, are refused: see [httpadapter.Gate]. Zero:
	// [httpadapter.DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// OnError is called for every refusal with its cause, before the reply is written. The cause never holds a secret;
	// the request does. [httpadapter.RefusalFrom] returns the auth_token that was refused. Nil: no callback.
	OnError func(r *http.Request, err error)

	// Logger receives failures that would be a status of 500 and above elsewhere, with their cause. Nil: nothing is
	// logged.
	Logger *slog.Logger
}

// surface is an account and the options it is served with.
type surface struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	commands  map[string]command
	gate      *httpadapter.Gate
}

// command is a command of the product or the host. run returns the data as JSON.
type command struct {
	need Need
	run  func(*http.Request, Call) ([]byte, error)
}

func newSurface(account latchkey.Account, opts *Options) *surface {
	s := &surface{}
	if opts != nil {
		s.opts = *opts
	}
	s.accountOf = adapters.Account("webforce", account, s.opts.Account)
	if s.opts.Overlay > OverlayUnion {
		panic("webforce: Options.Overlay must be OverlayFlags, OverlayEntries or OverlayUnion")
	}
	adapters.CheckProxies("webforce", s.opts.Proxies)
	s.gate = httpadapter.NewGate(s.opts.AddressRate, nil)
	s.commands = map[string]command{
		"access.add":     {sessionOnly, s.add},
		"access.get":     {sessionOnly, s.get},
		"access.get_all": {sessionOnly, s.getAll},
		"access.update":  {sessionOnly, s.update},
		"access.remove":  {sessionOnly, s.remove},
	}
	for name, c := range s.opts.Commands {
		switch need, known := needOf(name, s.opts.EitherFlag); {
		case name == "" || strings.HasPrefix(name, "access."):
			panic(fmt.Sprintf(`webforce: Options.Commands: %q is empty or begins with "access.", which is reserved`, name))
		case c.Run == nil:
			panic(fmt.Sprintf("webforce: Options.Commands: command %q has no Run", name))
		case c.Needs != nil:
			s.commands[name] = command{c.Needs, hostRun(c.Run)}
		case known:
			s.commands[name] = command{need, hostRun(c.Run)}
		default: // fail closed: every command has a requirement
			panic(fmt.Sprintf("webforce: Options.Commands: command %q is not the product's: set its Needs", name))
		}
	}
	return s
}

// path is the one path of the API.
const path = "/api"

// Mount registers /api, with and without a trailing slash. Nil options are ready to use. It panics on invalid
// options.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options) {
	mount.Slashed(mux, path, http.HandlerFunc(newSurface(account, opts).serve))
}

// Handler returns the handler that [Mount] registers, for hosts that route requests themselves. It answers every
// other path with 404.
func Handler(account latchkey.Account, opts *Options) http.Handler {
	s := newSurface(account, opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimSuffix(r.URL.Path, "/") != path {
			http.NotFound(w, r)
			return
		}
		s.serve(w, r)
	})
}

// serve answers a request, and reports and logs errors.
func (s *surface) serve(w http.ResponseWriter, r *http.Request) {
	r, name, data, err := s.answer(r)
	if err == nil {
		writeEnvelope(w, "SUCCESS", "", data)
		return
	}
	httpadapter.Refused(r.Context(), err)
	if s.opts.OnError != nil {
		s.opts.OnError(r, err)
	}
	if s.opts.Logger != nil && httpadapter.ProblemOf(err).Status >= 500 {
		// The command, not the URL, which holds a credential.
		s.opts.Logger.ErrorContext(r.Context(), "api call failed", "method", r.Method, "command", name, "err", err)
	}
	writeEnvelope(w, "FAILURE", messageOf(err), nil)
}

// answer runs the command of a request. name is "" until it is known to be a command of this surface. The returned
// request carries the caller in its context.
func (s *surface) answer(r *http.Request) (_ *http.Request, name string, data []byte, err error) {
	address, err := httpadapter.ClientAddr(r, s.opts.Proxies)
	if err != nil {
		return r, "", nil, err
	}
	r = r.WithContext(s.gate.Watch(r.Context(), address))
	secret, err := findSecret(r, func() error { return s.gate.Exhausted(address) })
	if err != nil {
		return r, "", nil, err
	}
	var call Call
	if call.Account, call.Access, err = s.verify(r, secret); err != nil {
		if httpadapter.ProblemOf(err).Status >= 500 {
			name = s.commandName(r)
		}
		return r, name, nil, err
	}
	r = r.WithContext(httpadapter.WithAccess(r.Context(), call.Access))
	req, err := readRequest(r)
	if err != nil {
		return r, "", nil, err
	}
	if req.secret != secret { // fail closed: the request has two meanings
		return r, "", nil, httpadapter.ErrManyCredentials
	}
	c, known := s.commands[req.command]
	if !known {
		return r, "", nil, refuse(msgUnknownCommand)
	}
	call.Command, call.params, call.bounded = req.command, req.params, s.opts.BoundBySession
	if err := c.need(call); err != nil {
		return r, call.Command, nil, err
	}
	call.Access.Count(Meter, call.Command, 1)
	data, err = c.run(r, call)
	return r, call.Command, data, err
}

// verify returns the account of r and the access of secret in it: a token's, or that of a session of the host's.
func (s *surface) verify(r *http.Request, secret string) (latchkey.Account, latchkey.Access, error) {
	account, err := s.accountOf(r)
	if err != nil {
		return account, latchkey.Access{}, err
	}
	p, err := httpadapter.Presented(r, secret, s.opts.Proxies)
	if err != nil {
		return account, latchkey.Access{}, err
	}
	access, err := account.Verify(r.Context(), p)
	if !errors.Is(err, latchkey.ErrUnknownToken) || s.opts.Session == nil {
		return account, access, err
	}
	// Session is called only for unknown tokens: one that ended or was revoked stays refused.
	if access, err = s.session(r, secret); err != nil {
		if errors.Is(err, latchkey.ErrInvalid) { // the host's own rules, which Assume refused
			err = fmt.Errorf("webforce: Options.Session: %v", err)
		}
		return account, latchkey.Access{}, err
	}
	if access.Owner() != account.Owner() || access.Manager() != account.Manager() { // including the zero Access
		return account, latchkey.Access{}, fmt.Errorf("%w: Options.Session returned an access of another owner or Manager",
			latchkey.ErrUnknownToken)
	}
	if access.Test() { // as Verify does
		return account, latchkey.Access{}, latchkey.ErrTestMode
	}
	access, err = access.Again(r.Context()) // checks the owner's record, which Assume does not
	return account, access, err
}

// session calls Options.Session. The host may have to read a store, so unknown session ids count against the address,
// too.
func (s *surface) session(r *http.Request, id string) (access latchkey.Access, err error) {
	if v := visit.From(r.Context()); v != nil {
		if err := v.Enter(r.Context()); err != nil {
			return latchkey.Access{}, err
		}
		defer func() { v.Leave(errors.Is(err, latchkey.ErrInvalidToken)) }()
	}
	return s.opts.Session(r, id)
}
