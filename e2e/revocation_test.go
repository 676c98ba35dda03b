package e2e

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"

	_ "modernc.org/sqlite"
)

// account opens the running server's file from this process, as an administrator's program would: a second process
// over one store. The server asks the store at every request (MaxStale 0), so what is done here bites there at once.
func (s *server) account() latchkey.Account {
	s.t.Helper()
	ctx := context.Background()
	store, err := sqlstore.New(ctx, s.open(), latchkey.SQLite, nil)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, store.Close()) })
	text, err := os.ReadFile(s.db + ".key")
	require.NoError(s.t, err)
	keyring, err := latchkey.ParseKeyring(string(text))
	require.NoError(s.t, err)
	keys := latchkey.New(store, &latchkey.Options{Keyring: keyring})
	s.t.Cleanup(func() { require.NoError(s.t, keys.Close(ctx)) })
	return keys.For("demo")
}

// open opens the running server's file from this process.
func (s *server) open() *sql.DB {
	s.t.Helper()
	dsn := url.URL{Scheme: "file", Path: s.db, RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, db.Close()) })
	return db
}

// tokenID is the id of the token that a secret belongs to.
func tokenID(t *testing.T, account latchkey.Account, secret string) string {
	t.Helper()
	access, err := account.Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	return access.TokenID()
}

func roleNamed(t *testing.T, account latchkey.Account, name string) latchkey.Role {
	t.Helper()
	for role, err := range account.Roles(t.Context(), latchkey.RoleQuery{Names: []string{name}}) {
		require.NoError(t, err)
		return role
	}
	t.Fatalf("no role %s", name)
	return latchkey.Role{}
}

// refused: the token is good for nothing from now on, and the reply does not say why.
func (s *server) refused(token string) {
	s.t.Helper()
	r := s.table(token)
	require.Equal(s.t, 401, r.Status, r.Body)
	require.JSONEq(s.t, `{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}`, r.Body)
}

func TestRevokingTheKeyEndsItsTokens(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	token := client.token(obj{"role": "biscoe"})
	require.Len(t, s.rowIDs(token), 168)

	require.NoError(t, account.Revoke(t.Context(), tokenID(t, account, s.creds.APIKey), "lost"))
	s.refused(token)
	client.rejected(noAccess, obj{"role": "biscoe"}, "token")
	client.rejected(noAccess, obj{"role": "biscoe"}, "data", dataset)
	require.Equal(t, 401, s.get("/embed").Status, "the page mints from the same key")
}

func TestRevokingOneTokenLeavesItsSiblings(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	one, other := client.token(obj{"role": "biscoe"}), client.token(obj{"role": "biscoe"})
	require.NoError(t, account.Revoke(t.Context(), tokenID(t, account, one), ""))
	s.refused(one)
	require.Len(t, s.rowIDs(other), 168)
}

func TestTakingARoleFromTheKeyTakesItFromItsTokens(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	biscoe, all := client.token(obj{"role": "biscoe"}), client.token(obj{})
	require.Len(t, s.rowIDs(all), 344)

	role := roleNamed(t, account, "biscoe").ID
	setRoles(t, account, s.creds.APIKey, role)
	require.Len(t, s.rowIDs(all), 168, "viewer and keeper are gone")
	require.Len(t, s.rowIDs(biscoe), 168)

	setRoles(t, account, s.creds.APIKey, roleNamed(t, account, "viewer").ID)
	r := s.table(biscoe)
	require.Contains(t, []int{401, 403}, r.Status, "its only role is gone: %s", r.Body)
	require.Contains(t, r.Body, `"errors":`+noAccess)
	client.rejected(noAccess, obj{"role": "biscoe"}, "token")
	require.Len(t, s.rowIDs(all), 344)
}

func setRoles(t *testing.T, account latchkey.Account, secret string, roles ...string) {
	t.Helper()
	_, err := account.Update(t.Context(), tokenID(t, account, secret), func(token *latchkey.Token) error {
		token.Roles = roles
		return nil
	})
	require.NoError(t, err)
}

func TestEditingARoleChangesItsTokens(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	token := client.token(obj{"role": "biscoe"})
	require.Len(t, s.rowIDs(token), 168)

	_, err := account.UpdateRole(t.Context(), roleNamed(t, account, "biscoe").ID, func(role *latchkey.Role) error {
		role.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*").
			Where(latchkey.Where("dp-2", latchkey.Eq, "Dream"))}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, where(t, onDream), s.rowIDs(token))
}

func TestTokensEndWithTheirKey(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	token := client.token(obj{"role": "biscoe", "duration": 3600})
	key := tokenID(t, account, s.creds.APIKey)
	var end time.Time
	inTime(t, func(d time.Duration) {
		end = time.Now().Add(d)
		_, err := account.Update(t.Context(), key, func(token *latchkey.Token) error {
			token.Validity.NotAfter = end
			return nil
		})
		require.NoError(t, err)
	}, func() func() {
		r := s.table(token)
		return func() { require.Len(t, idsOf(t, r), 168) }
	})
	time.Sleep(time.Until(end) + 50*time.Millisecond)
	s.refused(token)
	client.rejected(noAccess, obj{"role": "biscoe"}, "token")
}

func TestDurationIsTheIdleLifetime(t *testing.T) {
	s := start(t)
	client, account := s.npm(), s.account()
	for name, c := range map[string]struct {
		options   obj
		idle, cap time.Duration
	}{
		"none":              {obj{}, 20 * time.Minute, 24 * time.Hour},
		"an hour":           {obj{"duration": 3600}, time.Hour, 24 * time.Hour},
		"as text":           {obj{"duration": "60"}, time.Minute, 24 * time.Hour},
		"longer than a day": {obj{"duration": 31_536_000}, 8760 * time.Hour, 8760 * time.Hour},
	} {
		token, err := account.Get(t.Context(), tokenID(t, account, client.token(c.options)))
		require.NoError(t, err)
		require.Equal(t, c.idle, token.Validity.Idle, name)
		require.WithinDuration(t, token.Created.Add(c.cap), token.Validity.NotAfter, time.Second, name)
	}
	var short string
	var idle time.Duration
	inTime(t, func(d time.Duration) {
		idle = d
		short = client.token(obj{"duration": int(d.Seconds())})
	}, func() func() {
		r := s.table(short)
		return func() { require.Len(t, idsOf(t, r), 344) }
	})
	time.Sleep(idle + 200*time.Millisecond)
	s.refused(short)
}

// inTime sets something that ends after d, and then asks something that is to be answered before. What was answered too late
// is not judged: it is set again, to a later end.
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
	s := start(t)
	client, account := s.npm(), s.account()
	named := func(options obj) map[string]string {
		t.Helper()
		client.token(options)
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
