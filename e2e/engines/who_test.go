package engines

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// Patterns with wildcards of one segment come back from each engine as they were stored: Who, Reach and Check agree
// about them, in the process that stored them and in another one.
func TestEnginesWhoAndReachOfWildcards(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		here, there := manager(t, e, dsn), manager(t, e, dsn)
		acme := here.For("acme")
		role, err := acme.CreateRole(ctx, latchkey.Role{Name: "own", Permissions: latchkey.Permissions{
			latchkey.Grant(latchkey.Read).On("user/{*client}/inbox", "user/{*client}/inbox/*"),
			latchkey.Grant(latchkey.Update).On("project/{*}/file").Where(
				latchkey.Where("who", latchkey.Eq, latchkey.ClientID))}})
		require.NoError(t, err)
		texts, ids := map[string]string{}, map[string]string{}
		for name, spec := range map[string]latchkey.Spec{
			"ada":  {Roles: []string{role.ID}, Client: latchkey.Client{ID: "ada/lovelace"}},
			"bob":  {Roles: []string{role.ID}, Client: latchkey.Client{ID: "bob"}},
			"none": {Roles: []string{role.ID}},
			"all":  {Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("user/{*}/inbox")}},
		} {
			spec.Kind = latchkey.KindAPIKey
			token, secret, err := acme.Issue(ctx, spec)
			require.NoError(t, err)
			texts[name], ids[token.ID] = secret.Reveal(), name
		}
		for _, c := range []struct {
			action latchkey.Action
			on     latchkey.Resource
			who    []string
		}{
			{latchkey.Read, latchkey.Path("user", "ada/lovelace", "inbox"), []string{"ada", "all"}},
			{latchkey.Read, latchkey.Path("user", "ada/lovelace", "inbox", "7"), []string{"ada"}},
			{latchkey.Read, "user/bob/inbox", []string{"all", "bob"}},
			{latchkey.Read, "user/carl/inbox", []string{"all"}},
			{latchkey.Update, "project/7/file", []string{"ada", "bob"}},
			{latchkey.Update, "project/7/8/file", nil},
		} {
			for _, keys := range []*latchkey.Manager{here, there} {
				var who []string
				for h, err := range keys.For("acme").Who(ctx, c.action, c.on) {
					require.NoError(t, err)
					who = append(who, ids[h.Token.ID])
				}
				slices.Sort(who)
				require.Equal(t, c.who, who, "%s %s", c.action, c.on)
				for name, text := range texts {
					access, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
					require.NoError(t, err)
					_, err = access.Filter(c.action, c.on)
					require.Equal(t, slices.Contains(c.who, name), err == nil, "%s: %s %s", name, c.action, c.on)
				}
			}
		}
		access, err := there.Verify(ctx, latchkey.Presented{Secret: texts["ada"]})
		require.NoError(t, err)
		list, more, err := access.Reach(latchkey.Read, "user", latchkey.Page{})
		require.NoError(t, err)
		require.False(t, more)
		var reached []string
		for _, r := range list {
			reached = append(reached, string(r.Pattern))
		}
		require.Contains(t, reached, "user/ada%2Flovelace/inbox")
		require.Contains(t, reached, "user/ada%2Flovelace/inbox/*")
	})
}
