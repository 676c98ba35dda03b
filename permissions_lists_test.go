package latchkey_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A list with an invalid rule allows nothing, because that rule may have been a Deny.
func TestAnInvalidListAllowsNothing(t *testing.T) {
	good := latchkey.Permissions{readAll()}
	for name, rules := range map[string]latchkey.Permissions{"before": {{}, readAll()}, "after": {readAll(), {}}} {
		assert.False(t, rules.Allows(latchkey.Read, "x"), name)
		assert.False(t, rules.Decide(latchkey.Read, "x").Allowed(), name)
		assert.True(t, rules.Decide(latchkey.Read, "x").Rows().IsNoRows(), name)
	}
	assert.True(t, good.Allows(latchkey.Read, "x"))
	assert.True(t, good.Decide(latchkey.Read, "x").Allowed())
}

// However many actions the rules of one pattern name, each is distinguished from the others.
func TestManyActionsOfOnePattern(t *testing.T) {
	w := newWorld(t)
	action := func(i int) latchkey.Action { return latchkey.Action(fmt.Sprintf("act.%02d", i)) }
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("data/x")}
	for i := range 40 {
		switch i % 4 {
		case 0:
			rules = append(rules, latchkey.Deny(action(i)).On("data/x"))
		case 1:
			rules = append(rules, latchkey.Deny(action(i)).On("data/x").Where(eq("region", "EU")))
		case 2:
			rules = append(rules, latchkey.Allow(action(i)).On("data/x"))
		}
	}
	_, secret := w.key(rules...)
	a := w.access(secret)
	for i := range 44 { // the last ones no rule names
		want := i >= 40 || i%4 > 1
		assert.Equal(t, want, a.Allows(action(i), "data/x"), action(i))
		assert.Equal(t, want, rules.Allows(action(i), "data/x"), action(i))
		_, err := a.Filter(action(i), "data/x")
		assert.Equal(t, i < 40 && i%4 == 0, err != nil, action(i))
	}
}

// A list holds 64 shapes of wildcards, wherever in it the rules stand that have them.
func TestShapesOfAList(t *testing.T) {
	shaped := func(from, n int) latchkey.Rule {
		var patterns []latchkey.Pattern
		for i := range n {
			patterns = append(patterns, latchkey.Pattern(strings.Repeat("a/", from+i)+"{*}"))
		}
		return latchkey.Allow(latchkey.Read).On(patterns...)
	}
	plain := latchkey.Allow(latchkey.Read).On("x", "y/*")
	for _, c := range []struct {
		list    latchkey.Permissions
		refused string // the rule; "" for none
	}{
		{latchkey.Permissions{plain}, ""},
		{latchkey.Permissions{shaped(0, 64)}, ""},
		{latchkey.Permissions{shaped(0, 64), shaped(0, 64), plain}, ""},
		{latchkey.Permissions{shaped(0, 65)}, "rule 1"},
		{latchkey.Permissions{shaped(0, 65), plain}, "rule 1"},
		{latchkey.Permissions{plain, shaped(0, 64), plain, shaped(63, 2), plain}, "rule 4"},
		{latchkey.Permissions{plain, shaped(0, 64), plain, shaped(63, 1), plain}, ""},
	} {
		err := c.list.Validate()
		if c.refused == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.ErrorContains(t, err, c.refused+": the wildcards {*} and {*client} stand in more than 64 different ways")
	}
}
