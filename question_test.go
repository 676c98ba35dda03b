package latchkey_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// askedRules are of every kind that a verdict depends on.
var askedRules = []latchkey.Rule{
	latchkey.Allow(latchkey.Read, latchkey.Exceed).On("dataset/*", "latchkey/token/*"),
	latchkey.Deny(latchkey.Read).On("dataset/payroll"),
	latchkey.Grant(latchkey.Update).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.Self)),
	latchkey.Allow(latchkey.Read).On("user/{*client}/*", "project/{*}/file"),
	latchkey.Allow(latchkey.Create).On("post/x").Force(map[string]any{"by": latchkey.ClientID}),
	latchkey.Allow(latchkey.Create).On("team/x").Force(map[string]any{"by": latchkey.Attr("team")}),
	latchkey.Allow(latchkey.Any).On("any"),
}

// A prepared question gets the answer of Allows, of every kind of rule and every caller.
func TestPreparedQuestions(t *testing.T) {
	w := newWorld(t)
	callers := map[string]latchkey.Access{"nobody": {}}
	for client, rules := range map[string][]latchkey.Rule{"ada": askedRules, "bob": askedRules, "": askedRules,
		"other": {latchkey.Allow(latchkey.Read).On("*")},
		"cy":    {latchkey.Allow(latchkey.Read, "own").On("any", "dataset/*", "user/{*client}/*")}} {
		_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules,
			Client: latchkey.Client{ID: client}})
		w.ok(err)
		callers["client "+client] = w.access(secret.Reveal())
	}
	_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	callers["secret key"] = w.access(secret)
	_, secret = w.mint(callers["client ada"], latchkey.Narrowing{Lifetime: time.Hour})
	callers["minted"] = w.access(secret)

	yes := map[string]int{}
	for _, action := range []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Create, latchkey.Exceed,
		latchkey.Any, "own", "", "No"} {
		for _, on := range []latchkey.Resource{"dataset/orders", "dataset/payroll", "latchkey/token/1", "user/ada/inbox",
			"user/bob/inbox", "user/cy/inbox", "project/1/file", "project/*/file", "project/{*}/file", "post/x", "team/x",
			"any", "", "dataset/",
			"dataset//x", latchkey.Resource("dataset/" + strings.Repeat("x", 600)),
			latchkey.Resource("dataset" + strings.Repeat("/x", 40))} {
			q := latchkey.PrepareQuestion(action, on)
			assert.Equal(t, latchkey.Question{Action: action, Resource: on}, q.Question())
			for name, a := range callers {
				for range 2 { // found out, then remembered
					assert.Equal(t, a.Allows(action, on), a.AllowsQuestion(q), "%s: %q %q", name, action, on)
				}
				if a.AllowsQuestion(q) {
					yes[name]++
				}
			}
		}
	}
	assert.Zero(t, yes["nobody"])
	for name := range callers {
		assert.True(t, yes[name] > 3 || name == "nobody", "%s: %d", name, yes[name])
	}
	var zero latchkey.PreparedQuestion
	assert.False(t, callers["secret key"].AllowsQuestion(zero))
	assert.Equal(t, latchkey.Question{}, zero.Question())
}

// It holds no answer: the next Access answers by the rights that there are then.
func TestAPreparedQuestionHoldsNoAnswer(t *testing.T) {
	w := newWorld(t)
	role := w.role("reader", latchkey.Allow(latchkey.Read).On("dataset/*"))
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	q := latchkey.PrepareQuestion(latchkey.Read, "dataset/orders")
	before := w.access(secret)
	require.True(t, before.AllowsQuestion(q))
	w.editRole(role, func(r *latchkey.Role) { r.Permissions = nil })
	require.False(t, w.access(secret).AllowsQuestion(q))
	require.True(t, before.AllowsQuestion(q), "an Access is a snapshot")
}

func TestAPreparedQuestionIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld(t)
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: askedRules,
		Client: latchkey.Client{ID: "ada"}})
	w.ok(err)
	a := w.access(secret.Reveal())
	questions := []latchkey.PreparedQuestion{latchkey.PrepareQuestion(latchkey.Read, "dataset/orders"),
		latchkey.PrepareQuestion(latchkey.Read, "user/ada/inbox"), latchkey.PrepareQuestion(latchkey.Create, "post/x"),
		latchkey.PrepareQuestion(latchkey.Read, "any"), latchkey.PrepareQuestion("own", "any")}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				for i, q := range questions {
					if !a.AllowsQuestion(q) && i != 3 {
						t.Errorf("question %d is denied", i)
					}
				}
			}
		})
	}
	wg.Wait()
}
