package latchkeymcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	segmentio "github.com/segmentio/encoding/json"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Every reader of accepted arguments reads the value that was checked: encoding/json into a struct and into a map, and
// the parser of the SDK, as typed tools use it.
func TestReadersAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	member := func() string {
		name := pick(`"id"`, `"id"`, `"id"`, `"ID"`, `"Id"`, `"\u0069d"`, `"İd"`, `"ıd"`, `"x"`, `"id "`, `"id.x"`)
		value := pick(`"a"`, `"a"`, `"b"`, `"\u0061"`, `"\ud83d\ude00"`, `"\ud83d"`, "\"\xff\"", `"a\u0000"`, `""`, `"%61"`,
			`"../a"`, `7`, `-7`, `-0`, `0`, `07`, `7.0`, `7e0`, `9007199254740991`, `9007199254740993`, `null`, `true`,
			`["a"]`, `{"id":"b"}`, `{"id":"b","id":"a"}`)
		return pick("", "", " ") + name + pick(":", " : ") + value
	}
	accepted, refused := 0, 0
	for range 20_000 {
		members := make([]string, random.IntN(4))
		for i := range members {
			members[i] = member()
		}
		raw := []byte("{" + strings.Join(members, ",") + "}" + pick("", "", "", " ", "{}", "\x00"))
		require.Equal(t, strictjson.Valid(raw, maxDepth) == nil, strictly(raw, maxDepth) == "", "%s", raw)
		from, err := argumentsOf(raw)
		var checked string
		if err == nil {
			checked, err = from("id")
		}
		if err == nil && ambiguity(checked) == "" {
			accepted++
		} else {
			refused++
			continue
		}
		var folded, exact struct {
			ID any `json:"id"`
		}
		var object map[string]any
		require.NoError(t, json.Unmarshal(raw, &folded), "%s", raw)
		require.NoError(t, json.Unmarshal(raw, &object), "%s", raw)
		sdk := segmentio.NewDecoder(bytes.NewReader(raw))
		sdk.DontMatchCaseInsensitiveStructFields()
		require.NoError(t, sdk.Decode(&exact), "%s", raw)
		for _, read := range []any{folded.ID, object["id"], exact.ID} {
			if n, ok := read.(float64); ok {
				read = fmt.Sprintf("%.0f", n)
			}
			require.Equal(t, checked, fmt.Sprint(read), "%s", raw)
		}
	}
	require.Greater(t, accepted, 1000)
	require.Greater(t, refused, 1000)
}

func TestStrictly(t *testing.T) {
	for raw, accepted := range map[string]bool{
		`{"a":[{"b":1},{"b":1}],"c":{"b":"a"}}`: true,
		`"\ud83d\ude00\\ud83d"`:                 true,
		`{"a":{"b":1,"b":2}}`:                   false,
		`[{"a":1,"A":2}]`:                       false,
		`{"k":1,"\u212a":2}`:                    false, // the Kelvin sign
		`{"s":1,"ſ":2}`:                         false,
		`"\ud83d"`:                              false,
		`"\ud83d\ud83d"`:                        false,
		`"\ude00\ud83d"`:                        false,
		`"\ud83d\\ude00"`:                       false,
		`"\ud83dxude00"`:                        false,
		`[1,]`:                                  false,
		`{"a":1}]`:                              false,
		``:                                      false,
		strings.Repeat("[", 32) + strings.Repeat("]", 32): true,
		strings.Repeat("[", 33) + strings.Repeat("]", 33): false,
	} {
		require.Equal(t, accepted, strictly([]byte(raw), maxDepth) == "", raw)
		require.Equal(t, accepted, strictjson.Valid([]byte(raw), maxDepth) == nil, raw)
	}
}
