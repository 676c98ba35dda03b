package engines

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/memstore"
)

// leaks are the methods of Store that answer for the wrong owner, one at a time, each with methods that must show it.
var leaks = map[string][]string{
	"ByDigest": {"Account.Find", "Account.FindSecret", "Account.Verify"},
	"Load":     {"Account.Get", "Account.Lineage", "Account.Explain", "Account.Update"},
	"Tokens":   {"Account.Tokens", "Account.TokensPage", "Account.Who"},
	"Count":    {"Account.CountTokens"},
	"Secrets":  {"Account.Secrets"},
	"Role":     {"Account.Role", "Account.UpdateRole", "Account.Issue"},
	"Roles":    {"Account.Roles", "Account.RolesPage"},
	"Clients":  {"Account.Clients", "Account.ClientsPage"},
	"Owner":    {"Account.Record"},
	"Events":   {"Account.Events", "Account.EventsPage"},
	"Write":    {"Account.Issue", "Account.Revoke", "Account.CreateRole", "Access.Mint"},
	"Once":     {"Account.Once"},
	"AddUsage": {"Access.Count", "Access.Counter"},
	"Usage":    {"Account.Usage"},
	"Reserve":  {"Access.Spend", "Access.Reserve"},
}

// notLeaking are the other methods of Store, with the reason.
var notLeaking = map[string]string{
	"ByLookup":    "as ByDigest",
	"Balances":    "its answer has no record of anybody, only amounts of accounts that the caller names",
	"Adjust":      "its key is random, and names nothing in another owner's records",
	"Settle":      "its key is random, and names nothing in another owner's records",
	"Taken":       "no Account reads it",
	"Deliver":     "no Account calls it",
	"Undelivered": "of all owners, for the host; VerifyAudit takes the first of a page, and only if that is its own",
	"Ending":      "of all owners, for the host",
	"Unused":      "of all owners, for the host",
	"KeySecrets":  "of all owners, for the host",
	"Purge":       "of all owners",
	"Changes":     "of all owners, for the cache",
	"Revocations": "of all owners, for the cache",
	"Feeds":       "it names no owner",
	"Locate":      "it reads nothing",
}

// leakyStore is a store of which one method answers for the wrong owner, while it is on.
type leakyStore struct {
	latchkey.Store
	at string
	on atomic.Bool
}

// other returns the other owner of a pair, if the method leaks what is that one's.
func (s *leakyStore) other(method, owner string) (string, bool) {
	rest, mine := strings.CutPrefix(owner, "canary-mine-")
	return "canary-theirs-" + rest, mine && s.at == method && s.on.Load()
}

func (s *leakyStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, d...)
	if rest, theirs := strings.CutPrefix(f.Token.Owner, "canary-theirs-"); theirs && s.at == "ByDigest" && s.on.Load() {
		f = owned(f, "canary-mine-"+rest)
	}
	return f, err
}

func owned(f latchkey.Found, owner string) latchkey.Found {
	f.Token.Owner, f.Owner.ID = owner, owner
	for i := range f.Ancestors {
		f.Ancestors[i].Owner = owner
	}
	for i := range f.Roles {
		f.Roles[i].Owner = owner
	}
	return f
}

func (s *leakyStore) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if other, leaks := s.other("Load", owner); leaks && errors.Is(err, latchkey.ErrNotFound) {
		f, err = s.Store.Load(ctx, other, id)
		f = owned(f, owner)
	}
	return f, err
}

func (s *leakyStore) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	list, err := s.Store.Tokens(ctx, owner, q)
	if other, leaks := s.other("Tokens", owner); leaks && q.After == "" {
		theirs, _ := s.Store.Tokens(ctx, other, q)
		list = append(list, theirs...)
	}
	return list, err
}

func (s *leakyStore) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	n, err := s.Store.Count(ctx, owner, q, limit)
	if other, leaks := s.other("Count", owner); leaks {
		theirs, _ := s.Store.Count(ctx, other, q, limit)
		n += theirs
	}
	return n, err
}

func (s *leakyStore) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	list, err := s.Store.Secrets(ctx, owner, id)
	if other, leaks := s.other("Secrets", owner); leaks {
		theirs, missing := s.Store.Secrets(ctx, other, id)
		if list = append(list, theirs...); missing == nil {
			err = nil
		}
	}
	return list, err
}

func (s *leakyStore) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	r, err := s.Store.Role(ctx, owner, id)
	if other, leaks := s.other("Role", owner); leaks && errors.Is(err, latchkey.ErrNotFound) {
		r, err = s.Store.Role(ctx, other, id)
		r.Owner = owner
	}
	return r, err
}

func (s *leakyStore) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	if other, leaks := s.other("Roles", owner); leaks && q.After == "" {
		theirs, _ := s.Store.Roles(ctx, other, q)
		list = append(list, theirs...)
	}
	return list, err
}

func (s *leakyStore) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	list, err := s.Store.Clients(ctx, owner, p)
	if other, leaks := s.other("Clients", owner); leaks && p.After == "" {
		theirs, _ := s.Store.Clients(ctx, other, p)
		list = append(list, theirs...)
	}
	return list, err
}

func (s *leakyStore) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	if other, leaks := s.other("Owner", owner); leaks {
		owner = other
	}
	return s.Store.Owner(ctx, owner)
}

func (s *leakyStore) Events(ctx context.Context, owner string, q latchkey.EventQuery) (
	[]latchkey.Event, string, error) {
	list, next, err := s.Store.Events(ctx, owner, q)
	if other, leaks := s.other("Events", owner); leaks && q.After == "" {
		theirs, _, _ := s.Store.Events(ctx, other, q)
		list = append(list, theirs...)
	}
	return list, next, err
}

func (s *leakyStore) Write(ctx context.Context, w latchkey.Write) error {
	if other, leaks := s.other("Write", w.Owner); leaks {
		_ = s.Store.Write(ctx, latchkey.Write{ID: w.ID, Owner: other, At: w.At, Silent: true,
			Clients: []latchkey.Client{{ID: "leak"}}})
	}
	return s.Store.Write(ctx, w)
}

func (s *leakyStore) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if other, leaks := s.other("Once", owner); leaks {
		owner = other
	}
	return s.Store.Once(ctx, owner, key, until)
}

func (s *leakyStore) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	b.Rows = slices.Clone(b.Rows)
	for i := range b.Rows {
		if other, leaks := s.other("AddUsage", b.Rows[i].Owner); leaks {
			b.Rows[i].Owner = other
		}
	}
	return s.Store.AddUsage(ctx, b)
}

func (s *leakyStore) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	if other, leaks := s.other("Usage", owner); leaks {
		owner = other
	}
	return s.Store.Usage(ctx, owner, q)
}

func (s *leakyStore) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if other, leaks := s.other("Reserve", r.Owner); leaks {
		r.Owner = other
	}
	return s.Store.Reserve(ctx, r)
}

// The wall is seen to be open where a store answers for the wrong owner, whichever of its methods does. Sampled:
// LONG=1 tries all of them.
func TestTenantWallSeesLeaks(t *testing.T) {
	all := reflect.TypeFor[latchkey.Store]()
	for i := range all.NumMethod() {
		name := all.Method(i).Name
		_, leaks := leaks[name]
		_, not := notLeaking[name]
		require.True(t, leaks != not, "the method %s of Store", name)
	}
	for _, method := range slices.Sorted(maps.Keys(leaks)) {
		if !harness.Sampled(4) {
			continue
		}
		t.Run(method, func(t *testing.T) {
			store := &leakyStore{Store: memstore.New(nil), at: method}
			s := newSite(t, store)
			s.store, s.leak, s.only = store.Store, &store.on, leaks[method]
			wrong := s.tryAll(t, accountCalls(), accessCalls())
			for _, name := range s.only {
				require.NotEmpty(t, wrong[name], name)
			}
		})
	}
}

// Statements that are run for the wrong owner are seen, and methods that the table does not have, or has too many of.
func TestTenantWallSeesStatements(t *testing.T) {
	dsn := harness.WAL(harness.NewFile(t))
	plain := harness.Modernc.Store(t, dsn)
	db, statements := faulty.OpenSQLite(t, dsn)
	store := &leakyStore{Store: harness.OpenSQLiteStore(t, db), at: "Load"}
	s := newSite(t, store)
	s.store, s.db, s.dialect, s.statements = plain, harness.OpenSQLite(t, dsn), latchkey.SQLite, statements
	s.leak, s.only = &store.on, []string{"Account.Get"}
	accounts, accesses := accountCalls(), accessCalls()
	delete(accounts, "Rotate")
	accounts["Spin"] = entry{}
	wrong := s.tryAll(t, accounts, accesses)
	require.Contains(t, strings.Join(wrong["Account.Get"], "\n"), `names the owner "canary-theirs-Account.Get"`)
	require.Equal(t, []string{"no entry in the table of methods"}, wrong["Account.Rotate"])
	require.Equal(t, []string{"an entry without a method"}, wrong["Account.Spin"])
}
