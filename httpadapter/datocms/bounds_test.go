package datocms

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestIDs(t *testing.T) {
	for id, ok := range map[string]bool{"1": true, strings.Repeat("x", 64): true, "": false,
		strings.Repeat("x", 65): false, "a\x00": false} {
		require.Equal(t, ok, validID(id), "%q", id)
	}
}

// A list has at most as many items as it may have, and a link has an id and a type of its kind.
func TestPartsOfABody(t *testing.T) {
	for n, ok := range map[int]bool{0: true, 4: true, 5: true, 6: false} {
		c := &checker{}
		got := c.list(json.RawMessage("["+strings.TrimSuffix(strings.Repeat("1,", n), ",")+"]"), "#", 5)
		require.Equal(t, ok, c.err() == nil, n)
		if ok {
			require.Len(t, got, n)
		}
	}
	for text, want := range map[string]string{
		`{"id":"7","type":"role"}`: "7", `{"id":"7"}`: "", `{"type":"role"}`: "", `{"id":null,"type":"role"}`: "",
		`{"id":"7","type":"x"}`: "", `{"id":"","type":"role"}`: "", `{"id":7,"type":"role"}`: "", `null`: "", `[]`: "",
		`{"id":"7","type":"role","x":1}`: "",
	} {
		c := &checker{}
		got := c.link(json.RawMessage(text), "#/data", "role")
		if want == "" {
			require.Error(t, c.err(), text)
			continue
		}
		require.NoError(t, c.err(), text)
		require.Equal(t, want, got)
	}
}

// The forms of a delivery path: the primary environment or a sandbox, published or with drafts.
func TestFormsOfADeliveryPath(t *testing.T) {
	for path, want := range map[string]string{
		"":                           "[] false true",
		"/preview":                   "[] true true",
		"/environments/main":         "[main] false true",
		"/environments/preview":      "[preview] false true",
		"/environments/main/preview": "[main] true true",
		"environments/main":          "[main] false true",
		"environments/main/preview":  "[main] true true",
		"/environments":              "[] false false",
		"/environments/main/x":       "[] false false",
		"/environments/a/b/preview":  "[] false false",
		"/Environments/main":         "[] false false",
		"/Preview":                   "[] false false",
		"/environments/main/PREVIEW": "[] false false",
		"/../preview":                "[] false false",
		"/./environments/main":       "[] false false",
	} {
		environment, drafts, ok := deliveryFormOf(strings.Split(path, "/"))
		require.Equal(t, want, fmt.Sprint(environment, drafts, ok), path)
	}
}

func TestRatesOfOptions(t *testing.T) {
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	for r, fine := range map[latchkey.Rate]bool{
		{}:                                      true,
		{Count: 1, Per: time.Second}:            true,
		{Count: 1, Per: time.Second, Burst: 5}:  true,
		{Count: 0, Per: time.Second}:            false,
		{Count: -1, Per: time.Second}:           false,
		{Count: 1}:                              false,
		{Count: 1, Per: -time.Second}:           false,
		{Count: 1, Per: time.Second, Burst: -1}: false,
		{Burst: 5}:                              false,
	} {
		build := func() { newSurface(acme, &Options{Rate: r}, MeterCMA, DefaultRate) }
		if fine {
			require.NotPanics(t, build, "%+v", r)
		} else {
			require.PanicsWithValue(t, "datocms: Options.Rate needs a positive Count and Per, and no negative Burst", build,
				"%+v", r)
		}
	}
}

// The largest number that a limit names is allowed, and one more is not.
func TestEachLimitIsReached(t *testing.T) {
	w := newFixture(t, nil)
	var parents []string
	for i := range maxParents + 1 {
		parents = append(parents, w.newRole(fmt.Sprint("parent ", i), "").ID)
	}
	role := func(attributes string, parents ...string) int {
		return w.send(w.admin, "POST", "/roles", roleBodyText("", attributes, parents)).Code
	}
	for name, c := range map[string]struct {
		most int
		try  func(n int) (status int)
	}{
		"bytes of a role's name": {maxName, func(n int) int { return role(`"name":"` + strings.Repeat("r", n) + `"`) }},
		"bytes of a token's name": {maxName, func(n int) int {
			return w.send(w.admin, "POST", "/access_tokens", tokenBodyText("", strings.Repeat("t", n), w.role.ID)).Code
		}},
		"parents": {maxParents, func(n int) int { return role(`"name":"heir"`, parents[:n]...) }},
		"bytes of a body": {maxBody, func(n int) int {
			text := roleBodyText("", `"name":"in a long body"`, nil)
			return w.send(w.admin, "POST", "/roles", text+strings.Repeat(" ", n-len(text))).Code
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 201, c.try(c.most))
			require.Contains(t, []int{413, 422}, c.try(c.most+1))
		})
	}
	details := w.refused(w.admin, 422, codeField, "POST", "/access_tokens",
		tokenBodyText("", strings.Repeat("t", maxName+1), w.role.ID))
	require.JSONEq(t, `{"field":"name","code":"VALIDATION_LENGTH","record_type":"AccessToken"}`, details)
	for n := range maxMessages + 2 {
		c := &checker{}
		for range n {
			c.fail("#", "wrong.")
		}
		require.Len(t, c.messages, min(n, maxMessages))
	}
	// So many others may duplicate the role at the same time.
	original := w.newRole("r", "")
	for taken, status := range map[int]int{maxTries - 1: 201, maxTries: 422} {
		w.store.taken = taken
		got := w.raw("POST", "/roles/"+original.ID+"/duplicate", "", clientHeaders(w.admin))
		require.Equal(t, status, got.Code, got.Body)
		require.Zero(t, w.store.taken)
	}
}
