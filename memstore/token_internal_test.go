package memstore

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What is kept in a token's rare part is kept when it is all that the token has.
func TestEachFieldIsKeptAlone(t *testing.T) {
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, set := range map[string]func(*latchkey.Token){
		"nothing":         func(*latchkey.Token) {},
		"Origin":          func(t *latchkey.Token) { t.Origin = "dato" },
		"Reason":          func(t *latchkey.Token) { t.Reason = "lost" },
		"Public":          func(t *latchkey.Token) { t.Public = "pk_1" },
		"NotBefore":       func(t *latchkey.Token) { t.Validity.NotBefore = time.UnixMicro(1).UTC() },
		"NotAfter":        func(t *latchkey.Token) { t.Validity.NotAfter = time.UnixMicro(1).UTC() },
		"Idle":            func(t *latchkey.Token) { t.Validity.Idle = 1 },
		"Permissions":     func(t *latchkey.Token) { t.Permissions = rules },
		"no Permissions":  func(t *latchkey.Token) { t.Permissions = latchkey.Permissions{} },
		"Domains":         func(t *latchkey.Token) { t.Restrictions.Domains = []string{"example.org"} },
		"Addresses":       func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes },
		"MintFrom":        func(t *latchkey.Token) { t.Restrictions.MintFrom = prefixes },
		"Signed":          func(t *latchkey.Token) { t.Restrictions.Signed = true },
		"Rate":            func(t *latchkey.Token) { t.Limits.Rate = latchkey.PerMinute(1) },
		"Quotas":          func(t *latchkey.Token) { t.Limits.Quotas = []latchkey.Quota{{Per: latchkey.Day}} },
		"Extra":           func(t *latchkey.Token) { t.Extra = []byte("{}") },
		"Rows":            func(t *latchkey.Token) { t.Rows = []latchkey.Condition{latchkey.Where("id", latchkey.Eq, "7")} },
		"Forced":          func(t *latchkey.Token) { t.Forced = latchkey.Values{"client": int64(7)} },
		"RoleEnds":        func(t *latchkey.Token) { t.RoleEnds = map[string]time.Time{"r": time.UnixMicro(1).UTC()} },
		"Attributes":      func(t *latchkey.Token) { t.Attributes = latchkey.Attributes{"plan": "pro"} },
		"ChildAttributes": func(t *latchkey.Token) { t.ChildAttributes = []string{"plan"} },
		"Roles":           func(t *latchkey.Token) { t.Roles = []string{"r"} },
		"Client":          func(t *latchkey.Token) { t.Client = latchkey.Client{ID: "7"} },
		"Client.Name":     func(t *latchkey.Token) { t.Client = latchkey.Client{Name: "Ann"} },
		"Disabled":        func(t *latchkey.Token) { t.Disabled = true },
		"Test":            func(t *latchkey.Token) { t.Test = true },
		"Full":            func(t *latchkey.Token) { t.Full = true },
		"Damaged":         func(t *latchkey.Token) { t.Damaged = true },
		"Depth":           func(t *latchkey.Token) { t.Parent, t.Depth = "parent", 1 },
		"OwnerVersion":    func(t *latchkey.Token) { t.OwnerVersion = 3 },
		"Used":            func(t *latchkey.Token) { t.Used = time.UnixMicro(1).UTC() },
		"Revoked":         func(t *latchkey.Token) { t.Revoked = time.UnixMicro(1).UTC() },
	} {
		want := latchkey.Token{ID: "t", Owner: "acme", Version: 1, Kind: latchkey.KindAPIKey,
			Created: time.UnixMicro(5).UTC()}
		set(&want)
		// A token that had other things before has none of them any more.
		stored := token{of: &ownerData{id: "acme"}, client: &latchkey.Client{ID: "was"}, more: &more{reason: "was"},
			roles: []string{"was"}}
		stored.set(&want)
		require.Equal(t, want, stored.copy(), name)
	}
}
