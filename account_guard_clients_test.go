package latchkey_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// An actor with rules for the asking client gives them to nobody: the token it makes may be another client's.
func TestAnActorGivesNoRightsOfAnyClient(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme, ctx := keys.For("acme"), t.Context()
	ofClient := latchkey.Allow(latchkey.Read).On("user/{*client}/*")
	administers := latchkey.Allow(latchkey.Any).On("latchkey/*")
	actor := func(t *testing.T, client string, rules ...latchkey.Rule) latchkey.Account {
		t.Helper()
		_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: append(rules, administers)})
		require.NoError(t, err)
		access := must(acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}))
		if client != "" {
			access = must(access.Narrow(ctx, latchkey.Narrowing{Client: latchkey.Client{ID: client}}))
		}
		return must(acme.As(access))
	}
	everyUser := latchkey.Allow(latchkey.Read).On("user/{*}/*")
	notMine := latchkey.Deny(latchkey.Read).On("user/{*client}/*")
	read := func(on latchkey.Pattern) []latchkey.Rule {
		return []latchkey.Rule{latchkey.Allow(latchkey.Read).On(on)}
	}
	one := func(r ...latchkey.Rule) []latchkey.Rule { return r }
	for name, c := range map[string]struct {
		has    []latchkey.Rule
		client string
		gives  []latchkey.Rule
		ok     bool
	}{
		"the rule itself":                     {one(ofClient), "", one(ofClient), false},
		"the rule itself, of a client":        {one(ofClient), "u-42", one(ofClient), false},
		"a literal client":                    {one(ofClient), "", read("user/u-42/*"), false},
		"any one segment":                     {one(ofClient), "", one(everyUser), false},
		"nothing there":                       {append(read("a"), ofClient), "", read("a"), true},
		"of all users, the rule":              {one(everyUser), "", one(ofClient), true},
		"of all users, one":                   {one(everyUser), "", read("user/u-42/*"), true},
		"of all but its client's":             {one(everyUser, notMine), "u-42", one(everyUser), false},
		"of all but its client's, the same":   {one(everyUser, notMine), "u-42", one(everyUser, notMine), false},
		"of all but its client's, a narrower": {one(everyUser, notMine), "", read("user/x/y"), false},
	} {
		_, _, err := actor(t, c.client, c.has...).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: c.gives})
		_, err2 := actor(t, c.client, c.has...).CreateRole(ctx, latchkey.Role{Name: name, Permissions: c.gives})
		if c.ok {
			assert.NoError(t, err, name)
			assert.NoError(t, err2, name)
			continue
		}
		assert.ErrorIs(t, err, latchkey.ErrDenied, name)
		assert.ErrorIs(t, err2, latchkey.ErrDenied, name)
	}

	// Within a boundary for the asking client an actor gives nothing beneath it: the boundary is another for another
	// client.
	free := actor(t, "", latchkey.Allow(latchkey.Any).On("*"))
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: read("user/u-42/x")}
	_, _, err := free.Issue(ctx, spec)
	require.NoError(t, err)
	bound := func(on latchkey.Pattern) {
		t.Helper()
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
			o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On(on), administers}
			return nil
		}))
	}
	bound("user/{*client}/*")
	_, _, err = free.Issue(ctx, spec)
	require.ErrorIs(t, err, latchkey.ErrDenied)
	bound("user/{*}/*")
	_, _, err = free.Issue(ctx, spec)
	require.NoError(t, err, "it holds for both alike")
}

// What a token without a client mints for a client has the rules of that client, and no other's.
func TestAMintedTokenHasTheRulesOfItsClient(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme, ctx := keys.For("acme"), t.Context()
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("user/{*client}/*")}})
	require.NoError(t, err)
	key := must(acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}))
	require.False(t, key.Allows(latchkey.Read, "user/u-42/inbox"))
	var texts []string
	for _, client := range []string{"u-42", "a/b"} {
		_, text, err := key.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: client}})
		require.NoError(t, err)
		texts = append(texts, text.Reveal())
	}
	for range 2 { // again from the cache, where both share their rights
		one := must(acme.Verify(ctx, latchkey.Presented{Secret: texts[0]}))
		two := must(acme.Verify(ctx, latchkey.Presented{Secret: texts[1]}))
		for on, want := range map[latchkey.Resource][2]bool{
			"user/u-42/inbox":  {true, false},
			"user/a%2Fb/inbox": {false, true},
			"user/a/b":         {false, false},
			"user/u-42":        {false, false},
		} {
			assert.Equal(t, want[0], one.Allows(latchkey.Read, on), on)
			assert.Equal(t, want[1], two.Allows(latchkey.Read, on), on)
			assert.Equal(t, want[1], two.Check(latchkey.Read, on) == nil, on)
			_, err := two.Filter(latchkey.Read, on)
			assert.Equal(t, want[1], err == nil, on)
			assert.Equal(t, want[1], two.Explain(latchkey.Read, on).Verdict == "all", on)
		}
	}
	// The resource of a request is escaped, and so never a wildcard.
	one := must(acme.Verify(ctx, latchkey.Presented{Secret: texts[0]}))
	require.False(t, one.Allows(latchkey.Read, latchkey.Path("user", "{*client}", "inbox")))
	require.False(t, one.Allows(latchkey.Read, "user/{*client}/inbox"))
}
