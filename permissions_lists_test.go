package latchkey_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

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
