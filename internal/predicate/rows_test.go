package predicate

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSameRow(t *testing.T) {
	s := schema(t, map[string]Field{"dp-1": {"region", Text}, "region": {"region", Text}, "amount": {"amount", Number},
		"n": {"amount", Number}})
	type row = map[string]any
	assert.True(t, s.SameRow(row{"region": "EU", "n": int64(5)}, row{"dp-1": "EU", "amount": json.Number("5.00")}))
	assert.True(t, s.SameRow(row{"n": 0.5}, row{"n": json.Number("0.5")}))
	assert.False(t, s.SameRow(row{"region": "EU"}, row{"region": nil}))
	assert.False(t, s.SameRow(row{"region": nil}, row{}))
	assert.False(t, s.SameRow(row{}, row{"region": nil}))
	assert.True(t, s.SameRow(row{"region": nil}, row{"dp-1": nil}))
	assert.False(t, s.SameRow(row{"x": 1}, row{"x": 1}), "a field that is unknown")
}
