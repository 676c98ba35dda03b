package clients

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func roleNamed(t *testing.T, account latchkey.Account, name string) latchkey.Role {
	t.Helper()
	for role, err := range account.Roles(t.Context(), latchkey.RoleQuery{Names: []string{name}}) {
		require.NoError(t, err)
		return role
	}
	t.Fatalf("no role %s", name)
	return latchkey.Role{}
}

func TestRevokingTheKeyEndsItsTokens(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	token := client.Token(obj{"role": "biscoe"})
	require.Len(t, s.RowIDs(token), 168)

	require.NoError(t, account.Revoke(t.Context(), harness.TokenID(t, account, s.Credentials.APIKey), "lost"))
	s.Refused(token)
	client.Rejected(harness.NoAccess, obj{"role": "biscoe"}, "token")
	client.Rejected(harness.NoAccess, obj{"role": "biscoe"}, "data", harness.Dataset)
	require.Equal(t, 401, s.Get("/embed").Status, "the page mints from the same key")
}

func TestRevokingOneTokenLeavesItsSiblings(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	one, other := client.Token(obj{"role": "biscoe"}), client.Token(obj{"role": "biscoe"})
	require.NoError(t, account.Revoke(t.Context(), harness.TokenID(t, account, one), ""))
	s.Refused(one)
	require.Len(t, s.RowIDs(other), 168)
}

func TestTakingARoleFromTheKeyTakesItFromItsTokens(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	biscoe, all := client.Token(obj{"role": "biscoe"}), client.Token(obj{})
	require.Len(t, s.RowIDs(all), 344)

	role := roleNamed(t, account, "biscoe").ID
	setRoles(t, account, s.Credentials.APIKey, role)
	require.Len(t, s.RowIDs(all), 168, "viewer and keeper are gone")
	require.Len(t, s.RowIDs(biscoe), 168)

	setRoles(t, account, s.Credentials.APIKey, roleNamed(t, account, "viewer").ID)
	r := s.Table(biscoe)
	require.Contains(t, []int{401, 403}, r.Status, "its only role is gone: %s", r.Body)
	require.Contains(t, r.Body, `"errors":`+harness.NoAccess)
	client.Rejected(harness.NoAccess, obj{"role": "biscoe"}, "token")
	require.Len(t, s.RowIDs(all), 344)
}

func setRoles(t *testing.T, account latchkey.Account, secret string, roles ...string) {
	t.Helper()
	_, err := account.Update(t.Context(), harness.TokenID(t, account, secret), func(token *latchkey.Token) error {
		token.Roles = roles
		return nil
	})
	require.NoError(t, err)
}

func TestEditingARoleChangesItsTokens(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	token := client.Token(obj{"role": "biscoe"})
	require.Len(t, s.RowIDs(token), 168)

	_, err := account.UpdateRole(t.Context(), roleNamed(t, account, "biscoe").ID, func(role *latchkey.Role) error {
		role.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*").
			Where(latchkey.Where("dp-2", latchkey.Eq, "Dream"))}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, harness.Where(t, harness.OnDream), s.RowIDs(token))
}

func TestTokensEndWithTheirKey(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	token := client.Token(obj{"role": "biscoe", "duration": 3600})
	key := harness.TokenID(t, account, s.Credentials.APIKey)
	var end time.Time
	inTime(t, func(d time.Duration) {
		end = time.Now().Add(d)
		_, err := account.Update(t.Context(), key, func(token *latchkey.Token) error {
			token.Validity.NotAfter = end
			return nil
		})
		require.NoError(t, err)
	}, func() func() {
		r := s.Table(token)
		return func() { require.Len(t, harness.IDsOf(t, r), 168) }
	})
	time.Sleep(time.Until(end) + 50*time.Millisecond)
	s.Refused(token)
	client.Rejected(harness.NoAccess, obj{"role": "biscoe"}, "token")
}

func TestDurationIsTheIdleLifetime(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	for name, c := range map[string]struct {
		options   obj
		idle, cap time.Duration
	}{
		"none":              {obj{}, 20 * time.Minute, 24 * time.Hour},
		"an hour":           {obj{"duration": 3600}, time.Hour, 24 * time.Hour},
		"as text":           {obj{"duration": "60"}, time.Minute, 24 * time.Hour},
		"longer than a day": {obj{"duration": 31_536_000}, 8760 * time.Hour, 8760 * time.Hour},
	} {
		token, err := account.Get(t.Context(), harness.TokenID(t, account, client.Token(c.options)))
		require.NoError(t, err)
		require.Equal(t, c.idle, token.Validity.Idle, name)
		require.WithinDuration(t, token.Created.Add(c.cap), token.Validity.NotAfter, time.Second, name)
	}
	var short string
	var idle time.Duration
	inTime(t, func(d time.Duration) {
		idle = d
		short = client.Token(obj{"duration": int(d.Seconds())})
	}, func() func() {
		r := s.Table(short)
		return func() { require.Len(t, harness.IDsOf(t, r), 344) }
	})
	time.Sleep(idle + 200*time.Millisecond)
	s.Refused(short)
}

// inTime sets something that ends after d, and then asks something that is to be answered before. What was answered
// too late is not judged: it is set again, to a later end.
func inTime(t *testing.T, set func(d time.Duration), ask func() (judge func())) {
	t.Helper()
	for d := time.Second; d <= time.Minute; d *= 2 {
		begin := time.Now()
		set(d)
		judge := ask()
		if time.Since(begin) < d {
			judge()
			return
		}
	}
	t.Fatal("a request takes a minute")
}

func TestNewestClientNameWins(t *testing.T) {
	s := harness.StartServer(t)
	client, account := s.CloudTables(), s.Account()
	named := func(options obj) map[string]string {
		t.Helper()
		client.Token(options)
		names := map[string]string{}
		for c, err := range account.Clients(t.Context()) {
			require.NoError(t, err)
			names[c.ID] = c.Name
		}
		return names
	}
	require.Equal(t, "Zoë", named(obj{"clientId": "42", "clientName": "Zoë"})["42"])
	require.Equal(t, "Zoë O'Brien", named(obj{"clientId": "42", "clientName": "Zoë O'Brien"})["42"])
	names := named(obj{"clientId": 7, "clientName": `Ada "A" <ada@example.com> & co`, "clientMeta": obj{"a": obj{"b": 1}}})
	require.Equal(t, `Ada "A" <ada@example.com> & co`, names["7"])
	require.Equal(t, "Zoë O'Brien", names["42"])
	require.Equal(t, "Zoë O'Brien", named(obj{"clientId": "42"})["42"], "no name given: the newest one stays")
}
