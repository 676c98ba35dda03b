package cloudtables

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

const dataset = "/io/api/1/dataset/f8b948bc-d409-11eb-b875-1b15216b0d99"

// call makes a data call of the fixture's account. K in the request becomes the key, T the token.
func (w *fixture) call(c wire, token string) (Call, error) {
	fill := strings.NewReplacer(`key=K`, `key=`+w.key, `token=T`, `token=`+token, `"key":"K"`, `"key":"`+w.key+`"`)
	c.body, c.target = fill.Replace(c.body), fill.Replace(c.target)
	for i, v := range c.headers {
		if v == "K" {
			c.headers[i] = w.key
		}
	}
	return Authorize(w.acme, nil)(c.request())
}

func TestAuthorize(t *testing.T) {
	for _, tt := range []struct {
		name string
		wire
		roles  string // data sets that may be read
		rows   string // of data set "it", as JSON
		fields latchkey.Row
		links  map[string][]string
	}{
		{"npm 21, list", wire{"GET", "/io/api/1/datasets?key=K&roles[0]=a", nil, ""}, "a", "", nil, nil},
		{"npm, read", wire{"GET", dataset + "?key=K&roles[0]=it&conditions[id]=dp-1&conditions[value]=2", nil, ""},
			"it", `["dp-1","=","2"]`, nil, nil},
		{"npm 27, write", wire{"PUT", dataset + "/7", nil, `dp-1=caf%C3%A9%20%26%20co&l-2[0]=1&l-2[1]=2&key=K`},
			"it, front desk, Front of house, one, a, b", "", latchkey.Row{"dp-1": "café & co"},
			map[string][]string{"l-2": {"1", "2"}}},
		{"npm 28, delete", wire{"DELETE", dataset + "/7?key=K&roles[0]=one&roles[1]=b", nil, ""}, "one, b", "", nil, nil},
		{"header", wire{"GET", dataset, []string{"key", "K"}, ""}, "it, front desk, Front of house, one, a, b", "", nil, nil},
		{"Python, a body with GET", wire{"GET", dataset + "?roles=a&domain=x", nil, `key=K`}, "a", "", nil, nil},
		{"Python, a body with DELETE", wire{"DELETE", dataset + "/7?role=a", nil, `key=K`}, "a", "", nil, nil},
		{"loader, key", wire{"GET", dataset +
			"?apikey=K&role=it&condition={\"id\":\"dp-1\",\"value\":1}&clientId=4&clientName=Z", nil, ""},
			"it", `["dp-1","=","1"]`, nil, nil},
		{"loader, token", wire{"GET", dataset + "?referer=x&token=T", nil, ""}, "it, a", `["dp-1","\u003e=","10"]`, nil, nil},
		{"token, narrowed more", wire{"GET", dataset + "?token=T&role=a", nil, ""}, "a", "", nil, nil},
		{"fields named like options of the access call",
			wire{"POST", dataset, nil, `key=K&role=a&duration=x&clientId=y&Role=z&userName[]=1`},
			"a", "", latchkey.Row{"duration": "x", "clientId": "y", "Role": "z"}, map[string][]string{"userName": {"1"}}},
		{"JSON", wire{"POST", dataset, nil,
			`{"key":"K","role":"a","dp-1":1.50,"dp-2":true,"dp-3":null,"dp-4":"x","l-1":[1,"2"],"l-2":[],"l-3":7}`},
			"a", "", latchkey.Row{"dp-1": json.Number("1.50"), "dp-2": true, "dp-3": nil, "dp-4": "x"},
			map[string][]string{"l-1": {"1", "2"}, "l-2": {}, "l-3": {"7"}}},
		{"unlinking", wire{"POST", dataset, nil, `key=K&role=a&l-2=&l-3[]=`}, "a", "", nil,
			map[string][]string{"l-2": {}, "l-3": {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t, nil)
			token := w.mint(`key=K&roles[]=it&roles[]=a&conditions[id]=dp-1&conditions[op]=%3E%3D&conditions[value]=10&` +
				`conditions[set]=0`)
			before := w.count()
			tt.target = strings.Replace(tt.target, "apikey=K", "apikey="+w.key, 1)
			call, err := w.call(tt.wire, token)
			require.NoError(t, err)
			require.Equal(t, before, w.count(), "a data call made a token")
			var can []string
			for _, name := range append([]string{"admin"}, keyRoles...) {
				if _, err := call.Access.Filter(latchkey.Read, latchkey.Path("dataset", name)); err == nil {
					can = append(can, name)
				}
			}
			require.Equal(t, tt.roles, strings.Join(can, ", "))
			if tt.rows != "" {
				c, err := call.Access.Filter(latchkey.Read, latchkey.Path("dataset", "it"))
				require.NoError(t, err)
				var field, op, value string
				var want []string
				require.NoError(t, json.Unmarshal([]byte(tt.rows), &want))
				field, op, value = want[0], want[1], want[2]
				require.True(t, c.Equal(latchkey.Where(field, latchkey.Op(op), value)), "%v", c)
			}
			require.Equal(t, tt.fields, call.Fields)
			require.Equal(t, tt.links, call.Links)
		})
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	w := newFixture(t, nil)
	token := w.mint(`key=K&role=it`)
	ended := w.mint(`key=K&duration=1`)
	_, foreign := w.issue(w.other, latchkey.Spec{Kind: latchkey.KindAPIKey})
	_, publishable := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindPublishable, Roles: []string{w.roles["a"].ID}})
	w.advance(time.Second)
	for _, tt := range []struct {
		name string
		wire
		status int
		want   string
	}{
		{"nobody", wire{"GET", dataset, nil, ""}, 401, noAccess},
		{"a token in the place of a key", wire{"GET", dataset + "?key=" + token, nil, ""}, 403, noAccess},
		{"a key in the place of a token", wire{"GET", dataset + "?token=" + w.key, nil, ""}, 403, noAccess},
		{"an ended token", wire{"GET", dataset + "?token=" + ended, nil, ""}, 401, noAccess},
		{"another owner's", wire{"GET", dataset + "?key=" + foreign, nil, ""}, 401, noAccess},
		{"key and token", wire{"GET", dataset + "?key=K&token=T", nil, ""}, 400, twoKeys},
		{"key and apikey", wire{"GET", dataset + "?key=K&apikey=K", nil, ""}, 400, twoKeys},
		{"key in query and body", wire{"DELETE", dataset + "?key=K", nil, "key=K"}, 400, twoKeys},
		{"a role the key lacks", wire{"GET", dataset + "?key=K&role=admin", nil, ""}, 403, noAccess},
		{"a role the token lacks", wire{"GET", dataset + "?token=T&role=a", nil, ""}, 403, noAccess},
		{"a condition without a value", wire{"GET", dataset + "?key=K&conditions[id]=dp-1", nil, ""}, 400, wantsValue},
		{"conditions in query and body", wire{"PUT", dataset + "?conditions[dp-1]=1", nil, "key=K&conditions[dp-1]=2"}, 400,
			bad("conditions" + differs)},
		{"a field that is a map", wire{"PUT", dataset, nil, "key=K&dp-1[a]=1"}, 400,
			bad("a field is a text, a number or a list")},
		{"a link that is a map", wire{"PUT", dataset, nil, "key=K&l-1[0][a]=1"}, 400, bad("a link is an id")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call, err := w.call(tt.wire, token)
			require.Error(t, err)
			require.Zero(t, call.Access)
			require.Error(t, call.Access.Check(latchkey.Read, latchkey.Path("dataset", "it")))
			out := httptest.NewRecorder()
			WriteError(out, nil, err)
			require.Equal(t, tt.want, out.Body.String())
			require.Equal(t, tt.status, out.Code)
		})
	}
	call, err := w.call(wire{"GET", dataset + "?key=" + publishable, nil, ""}, "")
	require.NoError(t, err)
	require.NoError(t, call.Access.Check(latchkey.Read, latchkey.Path("dataset", "a")))
}

// TestTokenKeepsItsClient: rows may depend on the client, so the holder of a token must not choose another one.
func TestTokenKeepsItsClient(t *testing.T) {
	w := newFixture(t, nil)
	token := w.mint(`key=K&clientId=42&clientName=Ada`)
	for target, want := range map[string]latchkey.Client{
		"?token=T":                                     {ID: "42", Name: "Ada"},
		"?token=T&clientId=7&clientName=Eve":           {ID: "42", Name: "Ada"},
		"?token=T&userId=7":                            {ID: "42", Name: "Ada"},
		"?apikey=" + w.key + "&clientId=7&userName=Bo": {ID: "7", Name: "Bo"},
		"?key=K": {},
	} {
		call, err := w.call(wire{"GET", dataset + target, nil, ""}, token)
		require.NoError(t, err, target)
		require.Equal(t, want, call.Access.Client(), target)
	}
}

// Calls that pass are counted per client, token, endpoint and day. Refused ones are not.
func TestCallsAreCounted(t *testing.T) {
	w := newFixture(t, nil)
	token := w.mint(`key=K&role=it&clientId=42&clientName=Ada`)
	w.mint(`key=K&role=it&clientId=42&clientName=Ada+L.`)
	w.mint(`key=K&role=it`)
	tokenID := w.verified(token).TokenID()
	for _, c := range []wire{
		{"GET", dataset + "?token=T", nil, ""},
		{"GET", dataset + "/?token=T", nil, ""},
		{"HEAD", dataset + "?token=T", nil, ""},
		{"GET", dataset + "/table?token=T", nil, ""},
		{"GET", "/loader/x/table/auto?token=T", nil, ""},
		{"GET", "/io/api/1/datasets?key=K&clientId=7", nil, ""},
		{"GET", dataset + "/data?key=K&clientId=7", nil, ""},
		{"GET", dataset + "/schema?key=K", nil, ""},
		{"GET", dataset + "/1?key=K", nil, ""},
		{"PUT", "/mounted" + dataset + "/2", nil, "key=K&dp-1=x"},
		{"POST", dataset, nil, "key=K&dp-1=x"},
		{"DELETE", dataset + "/3?key=K", nil, ""},
		{"GET", "/somewhere/else?key=K", nil, ""},
		{"GET", dataset + "/1/2?key=K", nil, ""},
		{"PURGE", dataset + "?key=K", nil, ""},
	} {
		_, err := w.call(c, token)
		require.NoError(t, err, c.target)
	}
	for _, c := range []wire{{"GET", dataset + "?token=nope", nil, ""}, {"GET", dataset + "?key=K&role=admin", nil, ""},
		{"GET", dataset + "?key=K&conditions[id]=dp-1", nil, ""}} {
		_, err := w.call(c, token)
		require.Error(t, err, c.target)
	}
	w.refused(403, noAccess, wire{body: "key=K&role=admin&clientId=42"})
	w.advance(24 * time.Hour)
	_, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: w.key}) // reads the clock
	require.NoError(t, err)
	_, err = w.call(wire{"GET", "/io/api/1/datasets?key=K&clientId=7", nil, ""}, "")
	require.NoError(t, err)

	rows, err := w.acme.Usage(t.Context(), latchkey.UsageQuery{Meters: []string{Meter},
		By: []string{"token", "client", "endpoint", "day"}})
	require.NoError(t, err)
	type use struct{ token, client, endpoint, day string }
	got := map[use]int64{}
	for _, r := range rows {
		got[use{r.TokenID, r.ClientID, r.Endpoint, r.Day}] = r.Count
	}
	const day, next = "2026-11-22", "2026-11-23"
	require.Equal(t, map[use]int64{
		{w.keyID, "42", "POST /access", day}:           2,
		{w.keyID, "", "POST /access", day}:             1,
		{tokenID, "42", "GET /dataset/:id", day}:       3,
		{tokenID, "42", "GET /dataset/:id/table", day}: 1,
		{tokenID, "42", "GET /loader/:id/table", day}:  1,
		{w.keyID, "7", "GET /datasets", day}:           1,
		{w.keyID, "7", "GET /dataset/:id/data", day}:   1,
		{w.keyID, "", "GET /dataset/:id/schema", day}:  1,
		{w.keyID, "", "GET /dataset/:id/:row", day}:    1,
		{w.keyID, "", "PUT /dataset/:id/:row", day}:    1,
		{w.keyID, "", "POST /dataset/:id", day}:        1,
		{w.keyID, "", "DELETE /dataset/:id/:row", day}: 1,
		{w.keyID, "", "other", day}:                    3,
		{w.keyID, "7", "GET /datasets", next}:          1,
	}, got)
}
