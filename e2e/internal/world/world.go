package world

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// The ids in the world: a token with a role, its child, the role, the one it inherits, and one that nobody has.
const (
	ParentID, ChildID, RoleID, BaseID, SpareID = "t1", "t2", "r1", "r2", "r3"
)

// Build writes the world: a role that inherits one, a parent with that role and its child, an owner's record, a
// client, a revocation, usage and an open reservation.
func Build(t testing.TB, s *sqlstore.Store) {
	ctx := context.Background()
	parent, child := Mint("acme", ParentID, 1), Mint("acme", ChildID, 2)
	parent.Tokens[0].Roles = []string{RoleID}
	parent.Tokens[0].Validity.Idle = time.Hour
	child.Tokens[0].Kind, child.Tokens[0].Parent, child.Tokens[0].Depth = latchkey.KindAccess, ParentID, 1
	child.Tokens[0].Validity.NotAfter = Noon.Add(time.Hour)
	zero := uint64(0)
	writes := []latchkey.Write{
		{ID: [16]byte{1}, Owner: "acme", At: Noon, Roles: []latchkey.Role{
			{ID: RoleID, Owner: "acme", Name: "analyst", Inherits: []string{BaseID}},
			{ID: BaseID, Owner: "acme", Name: "base"}, {ID: SpareID, Owner: "acme", Name: "spare"}}},
		parent, child,
		{ID: [16]byte{2}, Owner: "acme", At: Noon, OwnerRecord: &latchkey.Owner{ID: "acme", Extra: []byte("x")},
			RequireOwner: &zero, Clients: []latchkey.Client{{ID: "42", Name: "Ada"}},
			Events:      []latchkey.Event{{At: Noon, Action: "owner.configure"}},
			Revocations: []latchkey.Revocation{{ID: "sealed", Until: Noon.Add(time.Hour)}}},
	}
	for i, w := range writes {
		w.ID = [16]byte{byte(i + 1)}
		err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: [16]byte{1}, At: Noon, Rows: []latchkey.UsageRow{
		{Owner: "acme", TokenID: ParentID, Meter: "calls", Day: "2026-11-22", Count: 3, Credits: 5}}}))
	_, err := s.Reserve(ctx, Reservation(1))
	require.NoError(t, err)
}

// Reservation is one of 40 credits on the parent's account and on the owner's. Build has made that with key 1.
func Reservation(key byte) latchkey.Reservation {
	return latchkey.Reservation{Owner: "acme", Key: [16]byte{key}, Amount: 40, Until: Noon.Add(time.Minute),
		Accounts: []latchkey.CreditAccount{{TokenID: ParentID, Meter: "calls", Period: "2026-11", Limit: 100},
			{Meter: "calls", Period: "2026-11", Limit: 200}}}
}

// Noon is when everything in the world was made.
var Noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// NewID returns an id for a token or a role.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// WriteID returns an id for a write. Ids ascend, as those of a Manager do.
func WriteID() [16]byte { return uuid.Must(uuid.NewV7()) }

// Digest returns the digest of secret n. Digests are spread over the whole index, as real ones are.
func Digest(n int) [32]byte { return sha256.Sum256(fmt.Append(nil, "digest ", n)) }

// Mint returns what Issue writes: a token, and its secret with Digest(n).
func Mint(owner, id string, n int) latchkey.Write {
	token := latchkey.Token{ID: id, Owner: owner, Kind: latchkey.KindAPIKey, Created: Noon, Hint: "ak_12…xyz"}
	token.Name = "reporting"
	secret := latchkey.SecretRecord{Digest: Digest(n), Hint: token.Hint, Created: Noon}
	return latchkey.Write{ID: WriteID(), Owner: owner, At: Noon, Silent: true, Tokens: []latchkey.Token{token},
		Secrets: []latchkey.SecretChange{{TokenID: id, Add: &secret}}}
}

// WriteEpoch writes w, and returns the epoch of a store with one feed afterwards.
func WriteEpoch(ctx context.Context, s latchkey.Store, w latchkey.Write) (uint64, error) {
	if err := s.Write(ctx, w); err != nil {
		return 0, err
	}
	feed, err := s.Changes(ctx, 0, 0, 0)
	return feed.Epoch, err
}

// Spend spends n of a meter, and tells only whether it could.
func Spend(ctx context.Context, a latchkey.Access, meter string, n latchkey.Credits) error {
	_, err := a.Spend(ctx, meter, "GET /", n)
	return err
}

// Monthly is a quota of n credits of each meter in a calendar month.
func Monthly(n latchkey.Credits) []latchkey.Quota {
	return []latchkey.Quota{{Amount: n, Per: latchkey.Month}}
}
