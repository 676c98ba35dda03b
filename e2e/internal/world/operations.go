package world

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Operation is one public call. It must be the same call each time, so that it can be repeated.
type Operation struct {
	Name string
	Run  func(ctx context.Context, s *sqlstore.Store) (answer any, err error)
	// Again is the error that a repeat may return if the first call was done. nil: none.
	Again error
}

// Operations returns a call of each method of a Store, and each kind of Write.
func Operations() []Operation {
	write := func(edit func(*latchkey.Write)) func(context.Context, *sqlstore.Store) (any, error) {
		return func(ctx context.Context, s *sqlstore.Store) (any, error) {
			w := latchkey.Write{ID: [16]byte{99}, Owner: "acme", At: Noon}
			edit(&w)
			return nil, s.Write(ctx, w)
		}
	}
	type call = func(context.Context, *sqlstore.Store) (any, error)
	read := func(f call) call { return f }
	token := func(id string, version uint64) latchkey.Token {
		return latchkey.Token{ID: id, Owner: "acme", Version: version, Kind: latchkey.KindAPIKey, Created: Noon}
	}
	return []Operation{
		{Name: "ByDigest", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.ByDigest(ctx, 0, Digest(2))
		})},
		{Name: "ByDigest of three", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.ByDigest(ctx, 0, Digest(7), Digest(8), Digest(1))
		})},
		{Name: "ByLookup", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			f, err := s.ByLookup(ctx, "drf:1")
			if errors.Is(err, latchkey.ErrNotFound) { // there is none in the world
				return f, nil
			}
			return f, err
		})},
		{Name: "Load", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Load(ctx, "acme", ChildID)
		})},
		{Name: "Tokens", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			origin := ""
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAPIKey}, Origin: &origin,
				Role: RoleID, Search: "rep", States: []latchkey.State{latchkey.Active}, Now: Noon})
		})},
		{Name: "Tokens: found, by name", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Find: "PORT", Order: latchkey.OrderName, Reverse: true})
		})},
		{Name: "Tokens: by last use", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Order: latchkey.OrderUsed, Page: latchkey.Page{After: "\x00"}})
		})},
		{Name: "Ending", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Ending(ctx, latchkey.EndingQuery{From: Noon, To: Noon.Add(time.Hour),
				Page: latchkey.Page{After: "1\x00acme\x00" + ParentID}})
		})},
		{Name: "Unused", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, _, err := s.Unused(ctx, latchkey.UnusedQuery{Since: Noon.Add(time.Hour)})
			return page, err
		})},
		{Name: "KeySecrets", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, _, err := s.KeySecrets(ctx, latchkey.KeyQuery{KeyID: 1})
			return page, err
		})},
		{Name: "Undelivered", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, _, err := s.Undelivered(ctx, latchkey.UndeliveredQuery{Cursor: "siem"})
			return page, err
		})},
		{Name: "Revocations", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, _, err := s.Revocations(ctx, latchkey.RevocationQuery{})
			return page, err
		})},
		{Name: "Taken", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, _, err := s.Taken(ctx, "acme", latchkey.TakenQuery{})
			return page, err
		})},
		{Name: "Count", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Count(ctx, "acme", latchkey.TokenQuery{Role: RoleID}, 10)
		})},
		{Name: "Secrets", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Secrets(ctx, "acme", ParentID)
		})},
		{Name: "Role", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Role(ctx, "acme", RoleID)
		})},
		{Name: "Roles", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Roles(ctx, "acme", latchkey.RoleQuery{Inherits: BaseID, Names: []string{"analyst", "x"}})
		})},
		{Name: "Clients", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Clients(ctx, "acme", latchkey.Page{})
		})},
		{Name: "Owner", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Owner(ctx, "acme") })},
		{Name: "Events", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, next, err := s.Events(ctx, "acme", latchkey.EventQuery{Page: latchkey.Page{Limit: 10}})
			return []any{page, next}, err
		})},
		{Name: "Events by time", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			page, next, err := s.Events(ctx, "acme", latchkey.EventQuery{Action: "token.", To: Noon.Add(time.Hour),
				Reverse: true})
			return []any{page, next}, err
		})},
		{Name: "Changes", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			f, err := s.Changes(ctx, 0, 0, 10)
			f.Now = time.Time{}
			return f, err
		})},
		{Name: "Usage", Run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Usage(ctx, "acme", latchkey.UsageQuery{By: []string{"token"}, TokenIDs: []string{ParentID}})
		})},
		{Name: "Write: mint", Run: write(func(w *latchkey.Write) {
			m := Mint("acme", "t9", 9)
			w.Tokens, w.Secrets, w.Silent = m.Tokens, m.Secrets, true
			w.Tokens[0].Roles = []string{RoleID, BaseID}
			w.RequireTokens, w.RequireRoles = []latchkey.Ref{{ID: ParentID, Version: 1}}, []latchkey.Ref{{ID: RoleID}}
			w.Events = []latchkey.Event{{At: Noon, Action: "token.mint"}}
			w.Clients = []latchkey.Client{{ID: "42", Name: "Grace"}, {ID: "43"}}
		})},
		{Name: "Write: revoke", Run: write(func(w *latchkey.Write) {
			r := token(ParentID, 1)
			r.Revoked = Noon
			w.Tokens = []latchkey.Token{r}
			w.Events = []latchkey.Event{{At: Noon, Action: "token.revoke"}}
		})},
		{Name: "Write: forget a client", Run: write(func(w *latchkey.Write) {
			w.ForgetClients, w.Redact, w.Silent = []string{"42"}, []string{ParentID}, true
			w.Events = []latchkey.Event{{At: Noon, Action: "client.erase"}}
		})},
		{Name: "Write: rotate", Run: write(func(w *latchkey.Write) {
			secret := latchkey.SecretRecord{Digest: Digest(11), Created: Noon}
			w.Secrets = []latchkey.SecretChange{{TokenID: ParentID, Add: &secret, Retire: Digest(1), At: Noon.Add(time.Hour)}}
		})},
		{Name: "Write: re-digest", Run: write(func(w *latchkey.Write) {
			secret := latchkey.SecretRecord{Digest: Digest(12), KeyID: 2}
			w.Silent = true
			w.Secrets = []latchkey.SecretChange{{TokenID: ParentID, Add: &secret, Retire: Digest(1), Replace: true}}
		})},
		{Name: "Write: secret of another system", Run: write(func(w *latchkey.Write) {
			other := latchkey.SecretRecord{Digest: Digest(21), Algorithm: "bcrypt", Lookup: "drf:1", Hash: []byte("$2b$"),
				Created: Noon}
			same := latchkey.SecretRecord{Digest: Digest(22), Algorithm: "bcrypt", Lookup: "drf:2", Hash: []byte("$2b$")}
			w.Secrets = []latchkey.SecretChange{{TokenID: ParentID, Add: &other},
				{TokenID: ParentID, Add: &same, Retire: Digest(1), Replace: true}}
			w.Revocations = []latchkey.Revocation{{Of: latchkey.RevokedClient, ID: "42", Before: Noon,
				Until: Noon.Add(time.Hour)}}
		})},
		{Name: "Write: delete", Run: write(func(w *latchkey.Write) {
			w.DeleteTokens = []latchkey.Ref{{ID: ParentID}}
			w.DeleteRoles = []latchkey.Ref{{ID: RoleID, Version: 1}, {ID: BaseID}}
		})},
		{Name: "Write: role and owner", Run: write(func(w *latchkey.Write) {
			one := uint64(1)
			w.Roles = []latchkey.Role{{ID: RoleID, Owner: "acme", Version: 1, Name: "writer", Inherits: []string{SpareID}}}
			w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: 1, Disabled: true, Boundary: latchkey.Permissions{}}
			w.RequireOwner = &one
			w.Revocations = []latchkey.Revocation{{ID: "sealed too", Until: Noon.Add(time.Hour)}}
		})},
		{Name: "Write: erase", Run: write(func(w *latchkey.Write) {
			w.Erase = true
			w.Events = []latchkey.Event{{At: Noon, Action: "owner.erase"}}
		})},
		{Name: "Once", Again: latchkey.ErrExists, Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Once(ctx, "acme", Digest(5), Noon.Add(time.Minute))
		}},
		{Name: "AddUsage", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.AddUsage(ctx, latchkey.UsageBatch{ID: [16]byte{9}, At: Noon,
				Rows: []latchkey.UsageRow{{Owner: "acme", TokenID: ParentID, Meter: "calls", Day: "2026-11-22", Count: 1,
					Credits: 2}}, Last: []latchkey.LastUsed{{Owner: "acme", TokenID: ParentID, At: Noon.Add(time.Second)}}})
		}},
		{Name: "AddUsage: a secret's last use", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			from := netip.MustParseAddr("192.0.2.7")
			return nil, s.AddUsage(ctx, latchkey.UsageBatch{ID: [16]byte{9}, At: Noon, Last: []latchkey.LastUsed{
				{Owner: "acme", TokenID: ParentID, At: Noon.Add(time.Second), Digest: Digest(1), From: from},
				{Owner: "acme", TokenID: ChildID, At: Noon.Add(time.Second), Digest: Digest(2), From: from}}})
		}},
		{Name: "Deliver", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Deliver(ctx, "acme", "siem", 1)
		}},
		{Name: "Reserve", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Reserve(ctx, Reservation(2))
		}},
		{Name: "Adjust", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Adjust(ctx, "acme", [16]byte{1},
				latchkey.Adjustment{Amount: 30, Pledged: 10, Until: Noon.Add(time.Hour)})
		}},
		{Name: "Settle", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Settle(ctx, "acme", [16]byte{1}, 15)
		}},
		{Name: "Purge", Run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			_, err := s.Purge(ctx, latchkey.PurgePolicy{Now: Noon.Add(1000 * time.Hour), Events: time.Hour}, 1000)
			return nil, err
		}},
	}
}

// Events returns the whole audit trail of an owner.
func Events(ctx context.Context, s interface {
	Events(context.Context, string, latchkey.EventQuery) ([]latchkey.Event, string, error)
}, owner string) (all []latchkey.Event, err error) {
	for q := (latchkey.EventQuery{Page: latchkey.Page{Limit: 500}}); ; {
		page, next, err := s.Events(ctx, owner, q)
		if all = append(all, page...); err != nil || next == "" {
			return all, err
		}
		q.After = next
	}
}
