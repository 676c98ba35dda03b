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
	// Account picks the account of a request, for hosts with many tenants (by host name, say). Its errors are answered
	// like those of a command. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Session finds out who is logged in under one of the host's own session ids. It is asked about every auth_token that
	// is no token of the account, and answers with [latchkey.Account.Assume] on the request's account. No such session is
	// [latchkey.ErrUnknownToken]; any other error is taken for trouble and logged. Nil: only tokens are good.
	//
	// To make and read tokens, a session needs create, read, update, delete and reveal on "latchkey/token/*", and itself
	// all rights that it gives away: see [Database] and [StockImages].
	Session func(r *http.Request, id string) (latchkey.Access, error)

	// BoundBySession keeps what a session makes, changes and reads to the bounds of the session's own token: its end,
	// addresses, domains and limits (see [latchkey.Account]), unless a rule gives it [latchkey.Exceed]. False: tokens last
	// until they are removed, as the product documents it, and only rights bound them.
	BoundBySession bool

	// Overlay is what it means when one database is named in several places. 0: [OverlayFlags]. It is applied when a
	// token is made or changed; tokens that exist keep their meaning.
	Overlay Overlay

	// EitherFlag lets db.add, db.remove and db.column.add pass with one of the two flags that the documents name for
	// them. False: they need both.
	EitherFlag bool

	// Commands are the host's own, by name ("db.get"). Names beginning with "access." are taken.
	Commands map[string]Command

	// AddressRate is how many credentials of one client address may be refused before the store, and Session, are
	// asked about no more of them: see [httpadapter.Gate]. Zero: [httpadapter.DefaultAddressRate]. A negative
	// Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr].
	Proxies []netip.Prefix

	// OnError hears of every refusal with its cause, before the reply is written. The cause never holds a secret; the
	// request does. Whose auth_token it was tells [httpadapter.RefusalFrom]. Nil: nobody listens.
	OnError func(r *http.Request, err error)

	// Logger hears of trouble of our own (what would be a status of 500 and above elsewhere). Nil: nobody listens.
	Logger *slog.Logger
}

// surface is an account and how it is served.
type surface struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	commands  map[string]command
	gate      *httpadapter.Gate
}

// command is one of the product's or of the host's, ready to run. It returns the data as JSON.
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
		panic("webforce: Options.Overlay is none of OverlayFlags, OverlayEntries and OverlayUnion")
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
			panic(fmt.Sprintf("webforce: a command of the host cannot be named %q", name))
		case c.Run == nil:
			panic(fmt.Sprintf("webforce: command %q has no Run", name))
		case c.Needs != nil:
			s.commands[name] = command{c.Needs, hostRun(c.Run)}
		case known:
			s.commands[name] = command{need, hostRun(c.Run)}
		default: // fail closed: nothing is served that nobody guards
			panic(fmt.Sprintf("webforce: command %q is none of the product's: say in Needs what it takes", name))
		}
	}
	return s
}

// path is the one path of the API.
const path = "/api"

// Mount registers /api, with and without a slash at the end. Nil options are ready to use; options that cannot work
// panic.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options) {
	mount.Slashed(mux, path, http.HandlerFunc(newSurface(account, opts).serve))
}

// Handler is [Mount] for hosts that route themselves: it answers /api, and everything else with 404.
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
		// The command and not the URL: that holds a credential.
		s.opts.Logger.ErrorContext(r.Context(), "api call failed", "method", r.Method, "command", name, "err", err)
	}
	writeEnvelope(w, "FAILURE", messageOf(err), nil)
}

// answer runs the command of a request. The name is "" until it is known to be one of ours. The request that comes back
// says who was found to call.
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
	if req.secret != secret { // fail closed: two readings of one request
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

// verify finds out whose auth_token it is: a token's, or a session of the host's.
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
	// Only what is no token at all is asked about: one that ended or was revoked stays refused.
	if access, err = s.session(r, secret); err != nil {
		return account, latchkey.Access{}, err
	}
	if access.Owner() != account.Owner() { // the zero Access, too
		return account, latchkey.Access{}, fmt.Errorf("%w: Options.Session returned an access of another owner",
			latchkey.ErrUnknownToken)
	}
	if access.Test() { // as Verify would say
		return account, latchkey.Access{}, latchkey.ErrTestMode
	}
	access, err = account.Manager().Again(r.Context(), access) // asks the owner's record, which Assume does not
	return account, access, err
}

// session asks the host, which may have to read a store of its own: so bad session ids count against the address, too.
func (s *surface) session(r *http.Request, id string) (access latchkey.Access, err error) {
	if v := visit.From(r.Context()); v != nil {
		if err := v.Enter(r.Context()); err != nil {
			return latchkey.Access{}, err
		}
		defer func() { v.Leave(errors.Is(err, latchkey.ErrInvalidToken)) }()
	}
	return s.opts.Session(r, id)
}
