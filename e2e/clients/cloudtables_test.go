package clients

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
)

// What follows is done with CloudTables' own npm client, cloudtables-api 1.2.0, as it was published, unless a line says
// that the request is made by hand.

func TestClientTokenSeesExactlyItsRows(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	heavy := harness.Where(t, harness.IsHeavy)
	for name, c := range map[string]struct {
		options obj
		want    []int
	}{
		"one role": {obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë O'Brien"},
			harness.Where(t, harness.OnBiscoe)},
		"all three roles, a union": {obj{"roles": []string{"viewer", "biscoe", "keeper"}},
			harness.Where(t, harness.EveryPenguin)},
		"no role named: all the key has": {obj{}, harness.Where(t, harness.EveryPenguin)},
		"role wins over roles": {obj{"role": "biscoe", "roles": []string{"viewer"}},
			harness.Where(t, harness.OnBiscoe)},
		"a number compares as a number": {
			obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}}, heavy},
		"a list, by display name": {
			obj{"conditions": []obj{{"name": "body mass", "op": ">=", "value": "4000", "set": false}}}, heavy},
		"JSON text":               {obj{"conditions": `[{"id":"dp-6","op":">=","value":"4000","set":false}]`}, heavy},
		"JSON text of one object": {obj{"conditions": `{"id":"dp-6","op":">=","value":4000,"set":false}`}, heavy},
		"the map form":            {obj{"conditions": obj{"dp-2": "Dream"}}, harness.Where(t, harness.OnDream)},
		"the object form": {obj{"conditions": obj{"id": "dp-2", "value": "Dream"}},
			harness.Where(t, harness.OnDream)},
		"the map form, two points": {
			obj{"conditions": obj{"dp-2": "Biscoe", "species": "Gentoo"}}, harness.Where(t,
				harness.Both(harness.OnBiscoe, harness.IsGentoo))},
		"several conditions all hold": {obj{"conditions": []obj{
			{"id": "dp-2", "value": "Biscoe"}, {"id": "dp-1", "op": "!=", "value": "Gentoo", "set": false},
		}}, harness.Where(t, harness.Both(harness.OnBiscoe, harness.Not(harness.IsGentoo)))},
		"a condition beside a role's own": {
			obj{"role": "biscoe", "conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}},
			harness.Where(t, harness.Both(harness.OnBiscoe, harness.IsHeavy))},
		"a condition that no row meets": {obj{"role": "biscoe", "conditions": obj{"dp-2": "Dream"}}, []int{}},
		"cloud form, without /io": {obj{"subdomain": "127", "domain": "0.0.1", "role": "biscoe"},
			harness.Where(t, harness.OnBiscoe)},
		"an empty clientName": {obj{"roles": []string{}, "conditions": []obj{}, "clientName": ""},
			harness.Where(t, harness.EveryPenguin)},
	} {
		t.Run(name, func(t *testing.T) {
			s.Sub(t)
			token := client.Token(c.options)
			require.Equal(t, c.want, s.RowIDs(token), "by token")
			var data struct {
				Data []struct{ ID int }
			}
			delete(c.options, "clientId")
			client.OK(&data, c.options, "data", harness.Dataset)
			ids := []int{}
			for _, row := range data.Data {
				ids = append(ids, row.ID)
			}
			require.Equal(t, c.want, ids, "by the data call")
		})
	}
	require.Len(t, harness.Where(t, harness.OnBiscoe), 168)
	require.Len(t, harness.Where(t, harness.EveryPenguin), 344)
}

func TestTableReplyIsTheDocumentedShape(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	token := client.Token(obj{"role": "viewer"})

	r := s.Table(token)
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	require.Contains(t, r.Header.Get("Content-Type"), "application/json")
	var body struct {
		Success bool
		Data    []obj
	}
	r.JSON(t, &body)
	require.Len(t, body.Data, 344)
	require.Equal(t, obj{"id": 1.0, "dp-1": "Adelie", "dp-2": "Torgersen", "dp-3": 39.1, "dp-4": 18.7, "dp-5": 181.0,
		"dp-6": 3750.0, "dp-7": "male"}, body.Data[0])
	require.Equal(t, obj{"id": 4.0, "dp-1": "Adelie", "dp-2": "Torgersen", "dp-3": nil, "dp-4": nil, "dp-5": nil,
		"dp-6": nil, "dp-7": nil}, body.Data[3], "an empty cell is null")

	page := func(query string) harness.Reply {
		return s.Get("/dataset/" + harness.Dataset + "/table?token=" + token + query)
	}
	require.Equal(t, []int{11, 12, 13}, harness.IDsOf(t, page("&start=10&length=3")))
	require.Equal(t, []int{343, 344}, harness.IDsOf(t, page("&start=342")))
	require.Equal(t, []int{1, 2}, harness.IDsOf(t, page("&length=2")))
	require.Len(t, harness.IDsOf(t, page("&length=-1&referer=https%3A%2F%2Fexample.org")), 344)
	require.Empty(t, harness.IDsOf(t, page("&start=344")))
	for _, query := range []string{"&start=-1", "&start=x", "&length=-2", "&start=1&start=2", "&length=", "&start=%zz"} {
		r := page(query)
		require.Equal(t, 400, r.Status, query)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"), "a page must be able to read the error")
		require.Contains(t, r.Body, `"error":"noAccess","errors":[{"msg":"noAccess","data":{"err":"`, query)
	}

	for name, r := range map[string]harness.Reply{
		"no token":            s.Get("/io/dataset/" + harness.Dataset + "/table"),
		"an empty token":      s.Table(""),
		"an unknown token":    s.Table("undefined"),
		"a key is no token":   s.Table(s.Credentials.APIKey),
		"nor is a session":    s.Table(s.Credentials.Session),
		"a key, named as one": s.Get("/io/dataset/" + harness.Dataset + "/table?apikey=" + s.Credentials.APIKey),
	} {
		require.Contains(t, []int{401, 403}, r.Status, name)
		require.JSONEq(t, `{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}`, r.Body, name)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"), name)
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"), name)
	}
	two := s.Get("/io/dataset/" + harness.Dataset + "/table?token=" + token + "&token=" + token)
	require.Equal(t, 400, two.Status, "two credentials")
	other := s.Get("/io/dataset/00000000-0000-0000-0000-000000000000/table?token=" + token)
	require.Contains(t, []int{403, 404}, other.Status)
}

func TestOperatorWithoutSetValueIsRefusedHoweverEncoded(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	const want = `[{"msg":"setValue","data":{"id":"dp-6"}}]`
	condition := obj{"id": "dp-6", "op": ">=", "value": "4000"}
	text, err := json.Marshal(condition)
	require.NoError(t, err)
	for _, conditions := range []any{condition, []any{condition}, string(text), "[" + string(text) + "]",
		obj{"id": "dp-6", "op": ">=", "value": "4000", "set": true},
		obj{"id": "dp-6", "op": "!=", "value": "4000", "set": "1"}} {
		client.Rejected(want, obj{"conditions": conditions}, "token")
	}

	// By hand: the encodings of the other clients.
	key := "key=" + s.Credentials.APIKey
	encoded := url.QueryEscape(string(text))
	for name, r := range map[string]harness.Reply{
		"raw brackets": s.Post("/io/api/1/access",
			key+"&conditions[0][id]=dp-6&conditions[0][op]=%3E%3D&conditions[0][value]=4000"),
		"percent-encoded brackets": s.Post("/api/1/access",
			key+"&conditions%5Bid%5D=dp-6&conditions%5Bop%5D=%3E%3D&conditions%5Bvalue%5D=4000&conditions%5Bset%5D=1"),
		"JSON text in a form":  s.Post("/io/api/1/access", key+"&conditions="+encoded),
		"JSON text in a query": s.Post("/io/api/1/access?conditions="+encoded, key),
		"singular":             s.Post("/io/api/1/access?condition="+encoded, key),
		"JSON body": s.Do("POST", "/io/api/1/access", "application/json",
			`{"key":"`+s.Credentials.APIKey+`","conditions":`+string(text)+`}`),
		"key in a header": s.Do("POST", "/io/api/1/access", harness.FormType, "conditions="+encoded, "key",
			s.Credentials.APIKey),
	} {
		require.Equal(t, 400, r.Status, name)
		require.JSONEq(t, `{"success":false,"error":"setValue","errors":`+want+`}`, r.Body, name)
		require.NotContains(t, r.Body, "token", name)
	}

	// With set off, or with a setValue, the same is granted.
	client.Token(obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}})
	client.Token(obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "setValue": "4000"}})
}

func TestRolesAndKeysThatAreNotThere(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	client.Rejected(harness.NoAccess, obj{"role": "admin"}, "token")
	client.Rejected(harness.NoAccess, obj{"roles": []string{"viewer", "admin"}}, "token")
	client.Rejected(harness.NoAccess, obj{"role": "Viewer"}, "token")
	client.Rejected(harness.NoAccess, obj{"apiKey": "KEY0123456789abcdefABCDEF"}, "token")
	client.Rejected(harness.NoAccess, obj{"apiKey": s.Credentials.APIKey + "x"}, "token")
	client.Rejected(harness.NoAccess, obj{"apiKey": s.Credentials.Publishable}, "token")
	for _, call := range []string{"data", "oldData", "schema"} {
		client.Rejected(harness.NoAccess, obj{"role": "admin"}, call, harness.Dataset)
		client.Rejected(harness.NoAccess, obj{"apiKey": "KEY0123456789abcdefABCDEF"}, call, harness.Dataset)
	}
	// An answer to a foreign shape, to an unknown key and to a wrong check is one and the same.
	last := len(s.Credentials.APIKey) - 1
	wrong := s.Credentials.APIKey[:last] + string(s.Credentials.APIKey[last]^1) // always another character
	first := s.Post("/io/api/1/access", "key=nonsense")
	require.Equal(t, 401, first.Status)
	for _, key := range []string{wrong, "undefined", strings.Repeat("a", 24)} {
		r := s.Post("/io/api/1/access", "key="+key)
		require.Equal(t, first.Status, r.Status)
		require.Equal(t, first.Body, r.Body)
	}
}

func TestUnknownColumnIsToldWhenDataIsRead(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	const want = `[{"msg":"unknownColumn","data":{"id":"dp-99"}}]`
	options := obj{"conditions": obj{"id": "dp-99", "value": "1", "set": false}}
	token := client.Token(options) // the access call knows no data set
	r := s.Table(token)
	require.Equal(t, 400, r.Status)
	require.JSONEq(t, `{"success":false,"error":"unknownColumn","errors":`+want+`}`, r.Body)
	client.Rejected(want, options, "data", harness.Dataset)
	client.Rejected(want, options, "row", harness.Dataset, 1)

	unfit := obj{"conditions": obj{"id": "dp-6", "op": ">", "value": "heavy", "set": false}}
	require.Contains(t, s.Table(client.Token(unfit)).Body, `"errors":[{"msg":"invalidCondition"`)
}

func TestDataCalls(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()

	var sets []obj
	client.OK(&sets, obj{"role": "biscoe"}, "datasets")
	require.Len(t, sets, 1)
	require.Equal(t, harness.Dataset, sets[0]["id"])
	require.Equal(t, "Penguins", sets[0]["name"])
	require.EqualValues(t, 168, sets[0]["rowCount"], "rows that are not seen are not counted")
	for _, field := range []string{"readCount", "insertCount", "updateCount", "deleteCount", "lastData"} {
		require.Contains(t, sets[0], field)
	}

	var schema struct {
		Success    bool
		Name       string
		Datapoints []struct{ ID, Name, Type string }
		Computed   []any
		Links      []any
		Table      []obj
	}
	client.OK(&schema, nil, "schema", harness.Dataset)
	require.True(t, schema.Success)
	require.Equal(t, "Penguins", schema.Name)
	require.Len(t, schema.Table, 7)
	require.NotNil(t, schema.Computed)
	require.NotNil(t, schema.Links)
	require.Equal(t, []struct{ ID, Name, Type string }{
		{"dp-1", "species", "text"}, {"dp-2", "island", "text"}, {"dp-3", "beak length", "number"},
		{"dp-4", "beak depth", "number"}, {"dp-5", "flipper length", "integer"}, {"dp-6", "body mass", "integer"},
		{"dp-7", "sex", "text"},
	}, schema.Datapoints)

	var old struct{ Data []obj }
	client.OK(&old, obj{"role": "biscoe"}, "oldData", harness.Dataset)
	require.Len(t, old.Data, 168)
	require.Contains(t, old.Data[0], "dv")

	var row struct {
		Data    obj
		Success bool
	}
	client.OK(&row, obj{"role": "viewer"}, "row", harness.Dataset, 1)
	require.Equal(t, "Torgersen", row.Data["dp-2"])
	hidden := client.Call(obj{"role": "biscoe"}, "row", harness.Dataset, 1)
	missing := client.Call(obj{"role": "biscoe"}, "row", harness.Dataset, 99999)
	require.NotEmpty(t, hidden.Rejected)
	require.Equal(t, string(missing.Rejected), string(hidden.Rejected), "hidden and missing look alike")

	other := client.Call(obj{"role": "biscoe"}, "data", "00000000-0000-0000-0000-000000000000")
	require.NotEmpty(t, other.Rejected)
}

func TestWriting(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	all := func() []int { return s.RowIDs(client.Token(obj{"role": "viewer"})) }

	for _, role := range []string{"viewer", "biscoe"} {
		client.Rejected(harness.NoAccess, obj{"role": role}, "insert", harness.Dataset, obj{"dp-1": "Adelie"})
		client.Rejected(harness.NoAccess, obj{"role": role}, "update", harness.Dataset, 20, obj{"dp-1": "Adelie"})
		client.Rejected(harness.NoAccess, obj{"role": role}, "delete", harness.Dataset, 20)
	}
	require.Len(t, all(), 344, "nothing was written")

	keeper := obj{"role": "keeper"}
	var made struct {
		Success bool
		Data    []obj
	}
	client.OK(&made, keeper, "insert", harness.Dataset,
		obj{"dp-1": "Café & <co> 'x'", "dp-2": "Dream", "dp-3": "40.5", "dp-6": 4100, "dp-7": ""})
	require.True(t, made.Success)
	require.Equal(t, []obj{{"id": 345.0, "dv": 0.0, "dp-1": "Café & <co> 'x'", "dp-2": "Dream", "dp-3": 40.5,
		"dp-4": nil, "dp-5": nil, "dp-6": 4100.0, "dp-7": nil}}, made.Data)

	var changed struct {
		Success bool
		Data    obj
	}
	client.OK(&changed, keeper, "update", harness.Dataset, 345, obj{"dp-6": "4200", "dp-3": ""})
	require.True(t, changed.Success)
	require.Equal(t, obj{"id": 345.0, "dv": 1.0, "dp-1": "Café & <co> 'x'", "dp-2": "Dream", "dp-3": nil,
		"dp-4": nil, "dp-5": nil, "dp-6": 4200.0, "dp-7": nil}, changed.Data)

	for name, fields := range map[string]obj{
		"an unknown point":     {"dp-9": "x"},
		"a display name":       {"species": "Adelie"},
		"a column":             {"body_mass": "1"},
		"a link":               {"l-1": []int{1}},
		"text for a number":    {"dp-6": "heavy"},
		"a part for a whole":   {"dp-6": "4000.5"},
		"an injected argument": {"dp-1": []string{"a", "b"}},
	} {
		for call, args := range map[string][]any{"insert": {harness.Dataset, fields},
			"update": {harness.Dataset, 345, fields}} {
			r := client.Call(keeper, call, args...)
			require.NotEmpty(t, string(r.Rejected), "%s: %s resolved %s", name, call, r.OK)
			require.Contains(t, string(r.Rejected), `"msg"`, name)
		}
	}
	require.Len(t, all(), 345)

	var gone struct{ Success bool }
	client.OK(&gone, keeper, "delete", harness.Dataset, 345)
	require.True(t, gone.Success)
	require.NotEmpty(t, client.Call(keeper, "delete", harness.Dataset, 345).Rejected)
	require.Len(t, all(), 344)

	client.OK(&made, keeper, "insert", harness.Dataset, obj{"dp-1": "Adelie"})
	require.EqualValues(t, 346, made.Data[0]["id"], "the id of a deleted row is not given again")

	var sets []obj
	client.OK(&sets, keeper, "datasets")
	require.EqualValues(t, 2, sets[0]["insertCount"])
	require.EqualValues(t, 1, sets[0]["updateCount"])
	require.EqualValues(t, 1, sets[0]["deleteCount"])
}

func TestConditionsRuleWriting(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	insert := func(conditions any, fields obj) obj {
		t.Helper()
		var made struct{ Data []obj }
		client.OK(&made, obj{"role": "keeper", "conditions": conditions}, "insert", harness.Dataset, fields)
		require.Len(t, made.Data, 1)
		return made.Data[0]
	}

	// A condition writes its value into new rows, over what the caller says, by id as by name.
	require.Equal(t, "Dream", insert(obj{"dp-2": "Dream"}, obj{"dp-1": "Adelie"})["dp-2"])
	require.Equal(t, "Dream", insert(obj{"dp-2": "Dream"}, obj{"dp-1": "Adelie", "dp-2": "Biscoe"})["dp-2"])
	require.Equal(t, "Dream", insert(obj{"island": "Dream"}, obj{"dp-2": "Biscoe"})["dp-2"])
	heavy := insert(obj{"name": "body mass", "op": ">=", "value": "4000", "setValue": "4500"}, obj{"dp-6": "3000"})
	require.EqualValues(t, 4500, heavy["dp-6"])

	// With set off, the caller's value stands if the condition admits it, and nothing is written if not.
	light := obj{"id": "dp-6", "op": "<", "value": "4000", "set": false}
	require.EqualValues(t, 3999, insert(light, obj{"dp-6": "3999"})["dp-6"])
	client.Rejected(harness.NoAccess, obj{"role": "keeper", "conditions": light}, "insert", harness.Dataset,
		obj{"dp-6": "4000"})
	client.Rejected(harness.NoAccess, obj{"role": "keeper", "conditions": light}, "insert", harness.Dataset,
		obj{"dp-1": "no mass"})
	client.Rejected(harness.NoAccess, obj{"role": "keeper", "conditions": obj{
		"id": "dp-6", "op": ">=", "value": "4000", "setValue": "1"}}, "insert", harness.Dataset, obj{})

	// A row can be changed within the conditions, not out of them, and not from outside of them.
	onDream := obj{"role": "keeper", "conditions": obj{"dp-2": "Dream"}}
	first := harness.Where(t, func(b harness.Penguin) bool { return b["island"] == "Dream" })[0]
	var changed struct{ Data obj }
	client.OK(&changed, onDream, "update", harness.Dataset, first, obj{"dp-7": "female"})
	require.Equal(t, "female", changed.Data["dp-7"])
	client.Rejected(harness.NoAccess, onDream, "update", harness.Dataset, first, obj{"dp-2": "Biscoe"})
	client.Rejected(harness.NoAccess, onDream, "update", harness.Dataset, first, obj{"dp-2": ""})
	outside := harness.Where(t, harness.OnBiscoe)[0]
	require.NotEmpty(t, client.Call(onDream, "update", harness.Dataset, outside, obj{"dp-2": "Dream"}).Rejected)
	require.NotEmpty(t, client.Call(onDream, "delete", harness.Dataset, outside).Rejected)
	var row struct{ Data obj }
	client.OK(&row, obj{"role": "viewer"}, "row", harness.Dataset, first)
	require.Equal(t, "Dream", row.Data["dp-2"])
	client.OK(&row, obj{"role": "viewer"}, "row", harness.Dataset, outside)
	require.Equal(t, "Biscoe", row.Data["dp-2"])
}

// Who makes how many calls shows in the owner's usage, and in the console by name; and a token that a page used at once
// is not called unused. Another process looks, as an operator's would.
func TestCallsAndFirstUsesShow(t *testing.T) {
	harness.BeforeMidnight(t)
	s := harness.StartServer(t)
	client := s.CloudTables()
	account := s.Account()
	client.Token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë"})
	token := client.Token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë O'Brien"})
	require.Len(t, s.RowIDs(token), 168)
	require.Len(t, s.RowIDs(token), 168)
	client.OK(&obj{}, obj{"role": "viewer"}, "data", harness.Dataset)
	client.OK(&obj{}, obj{"role": "viewer"}, "row", harness.Dataset, 1)
	client.OK(&obj{}, obj{"role": "keeper"}, "update", harness.Dataset, 1, obj{"dp-6": "4200"})
	client.Rejected(harness.NoAccess, obj{"role": "viewer", "apiKey": "nonsense"}, "data", harness.Dataset)
	key, minted := harness.TokenID(t, account, s.Credentials.APIKey), harness.TokenID(t, account, token)

	want := map[string]int64{
		key + "|42|POST /access":              2,
		minted + "|42|GET /dataset/:id/table": 2,
		key + "||GET /dataset/:id":            1,
		key + "||GET /dataset/:id/:row":       1,
		key + "||PUT /dataset/:id/:row":       1,
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) { // it is written about once a second
		rows, err := account.Usage(t.Context(), latchkey.UsageQuery{Meters: []string{cloudtables.Meter},
			By: []string{"token", "client", "endpoint", "day"}})
		require.NoError(c, err)
		got := map[string]int64{}
		for _, r := range rows {
			assert.Equal(c, time.Now().UTC().Format(time.DateOnly), r.Day)
			got[r.TokenID+"|"+r.ClientID+"|"+r.Endpoint] += r.Count
		}
		assert.Equal(c, want, got)
	}, 2*time.Minute, 50*time.Millisecond)
	require.Contains(t, s.Get("/console/usage").Body, "Zoë O&#39;Brien (42)")

	// By hand: another token, used once. By idling it ends in 20 minutes, so its next use is written after one.
	minted = harness.TokenID(t, account, client.Token(obj{"role": "viewer"}))
	got, err := account.Get(t.Context(), minted)
	require.NoError(t, err)
	require.NotZero(t, got.Used, "this process verified it, and writes that before it reads")
	fresh := client.Token(obj{"role": "viewer"})
	require.Len(t, s.RowIDs(fresh), 344)
	require.Eventually(t, func() bool {
		hint := fresh[:5] + "…" + fresh[len(fresh)-3:]
		for tok, err := range account.Tokens(t.Context(), latchkey.TokenQuery{Search: hint}) {
			if err == nil && tok.Kind == latchkey.KindAccess && !tok.Used.IsZero() {
				return true
			}
		}
		return false
	}, 40*time.Second, 20*time.Millisecond)
}

// By hand: a slash at the end of a documented path means nothing.
func TestPathsWithASlash(t *testing.T) {
	s := harness.StartServer(t)
	for _, prefix := range []string{"/io", ""} {
		r := s.Post(prefix+"/api/1/access/", "key="+s.Credentials.APIKey+"&role=biscoe")
		require.Equal(t, 200, r.Status, r.Body)
		var made struct{ Token string }
		r.JSON(t, &made)
		s.Hide(made.Token)
		require.Equal(t, 200, s.Get(prefix+"/dataset/"+harness.Dataset+"/table/?token="+made.Token).Status)
		for _, path := range []string{"/datasets/", "/dataset/" + harness.Dataset + "/",
			"/dataset/" + harness.Dataset + "/data/", "/dataset/" + harness.Dataset + "/schema/", "/dataset/" + harness.Dataset +
				"/1/"} {
			require.Equal(t, 200, s.Get(prefix+"/api/1"+path+"?key="+s.Credentials.APIKey).Status, path)
		}
		require.Equal(t, 200, s.Do("HEAD", prefix+"/dataset/"+harness.Dataset+"/table?token="+made.Token, "", "").Status)
		r = s.Do("OPTIONS", prefix+"/dataset/"+harness.Dataset+"/table", "", "", "Origin", "https://example.org")
		require.Equal(t, 204, r.Status)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	}
	require.Contains(t, s.Post("/api/", "cmd=db.get_all&auth_token="+s.Credentials.Session).Body,
		`"return_code":"SUCCESS"`)
	require.Equal(t, 200, s.Get("/v1/data/ACME/PENGUINS/1/?token="+s.Credentials.Publishable).Status)
}
