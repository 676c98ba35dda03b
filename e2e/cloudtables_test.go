package e2e

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
)

// What follows is done with CloudTables' own npm client, cloudtables-api 1.2.0, as it was published, unless a line says
// that the request is made by hand.

func TestClientTokenSeesExactlyItsRows(t *testing.T) {
	s := start(t)
	client := s.npm()
	heavy := where(t, isHeavy)
	for name, c := range map[string]struct {
		options obj
		want    []int
	}{
		"one role":                       {obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë O'Brien"}, where(t, onBiscoe)},
		"all three roles, a union":       {obj{"roles": []string{"viewer", "biscoe", "keeper"}}, where(t, everyBird)},
		"no role named: all the key has": {obj{}, where(t, everyBird)},
		"role wins over roles":           {obj{"role": "biscoe", "roles": []string{"viewer"}}, where(t, onBiscoe)},
		"a number compares as a number": {
			obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}}, heavy},
		"a list, by display name": {
			obj{"conditions": []obj{{"name": "body mass", "op": ">=", "value": "4000", "set": false}}}, heavy},
		"JSON text":               {obj{"conditions": `[{"id":"dp-6","op":">=","value":"4000","set":false}]`}, heavy},
		"JSON text of one object": {obj{"conditions": `{"id":"dp-6","op":">=","value":4000,"set":false}`}, heavy},
		"the map form":            {obj{"conditions": obj{"dp-2": "Dream"}}, where(t, onDream)},
		"the object form":         {obj{"conditions": obj{"id": "dp-2", "value": "Dream"}}, where(t, onDream)},
		"the map form, two points": {
			obj{"conditions": obj{"dp-2": "Biscoe", "species": "Gentoo"}}, where(t, both(onBiscoe, isGentoo))},
		"several conditions all hold": {obj{"conditions": []obj{
			{"id": "dp-2", "value": "Biscoe"}, {"id": "dp-1", "op": "!=", "value": "Gentoo", "set": false},
		}}, where(t, both(onBiscoe, not(isGentoo)))},
		"a condition beside a role's own": {
			obj{"role": "biscoe", "conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}},
			where(t, both(onBiscoe, isHeavy))},
		"a condition that no row meets": {obj{"role": "biscoe", "conditions": obj{"dp-2": "Dream"}}, []int{}},
		"cloud form, without /io":       {obj{"subdomain": "127", "domain": "0.0.1", "role": "biscoe"}, where(t, onBiscoe)},
		"an empty clientName":           {obj{"roles": []string{}, "conditions": []obj{}, "clientName": ""}, where(t, everyBird)},
	} {
		t.Run(name, func(t *testing.T) {
			s.sub(t)
			token := client.token(c.options)
			require.Equal(t, c.want, s.rowIDs(token), "by token")
			var data struct {
				Data []struct{ ID int }
			}
			delete(c.options, "clientId")
			client.ok(&data, c.options, "data", dataset)
			ids := []int{}
			for _, row := range data.Data {
				ids = append(ids, row.ID)
			}
			require.Equal(t, c.want, ids, "by the data call")
		})
	}
	require.Len(t, where(t, onBiscoe), 168)
	require.Len(t, where(t, everyBird), 344)
}

func TestTableReplyIsTheDocumentedShape(t *testing.T) {
	s := start(t)
	client := s.npm()
	token := client.token(obj{"role": "viewer"})

	r := s.table(token)
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	require.Contains(t, r.Header.Get("Content-Type"), "application/json")
	var body struct {
		Success bool
		Data    []obj
	}
	r.json(t, &body)
	require.Len(t, body.Data, 344)
	require.Equal(t, obj{"id": 1.0, "dp-1": "Adelie", "dp-2": "Torgersen", "dp-3": 39.1, "dp-4": 18.7, "dp-5": 181.0,
		"dp-6": 3750.0, "dp-7": "male"}, body.Data[0])
	require.Equal(t, obj{"id": 4.0, "dp-1": "Adelie", "dp-2": "Torgersen", "dp-3": nil, "dp-4": nil, "dp-5": nil,
		"dp-6": nil, "dp-7": nil}, body.Data[3], "an empty cell is null")

	page := func(query string) reply { return s.get("/dataset/" + dataset + "/table?token=" + token + query) }
	require.Equal(t, []int{11, 12, 13}, idsOf(t, page("&start=10&length=3")))
	require.Equal(t, []int{343, 344}, idsOf(t, page("&start=342")))
	require.Equal(t, []int{1, 2}, idsOf(t, page("&length=2")))
	require.Len(t, idsOf(t, page("&length=-1&referer=https%3A%2F%2Fexample.org")), 344)
	require.Empty(t, idsOf(t, page("&start=344")))
	for _, query := range []string{"&start=-1", "&start=x", "&length=-2", "&start=1&start=2", "&length=", "&start=%zz"} {
		r := page(query)
		require.Equal(t, 400, r.Status, query)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"), "a page must be able to read the error")
		require.Contains(t, r.Body, `"error":"noAccess","errors":[{"msg":"noAccess","data":{"err":"`, query)
	}

	for name, r := range map[string]reply{
		"no token":            s.get("/io/dataset/" + dataset + "/table"),
		"an empty token":      s.table(""),
		"an unknown token":    s.table("undefined"),
		"a key is no token":   s.table(s.creds.APIKey),
		"nor is a session":    s.table(s.creds.Session),
		"a key, named as one": s.get("/io/dataset/" + dataset + "/table?apikey=" + s.creds.APIKey),
	} {
		require.Contains(t, []int{401, 403}, r.Status, name)
		require.JSONEq(t, `{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}`, r.Body, name)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"), name)
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"), name)
	}
	two := s.get("/io/dataset/" + dataset + "/table?token=" + token + "&token=" + token)
	require.Equal(t, 400, two.Status, "two credentials")
	other := s.get("/io/dataset/00000000-0000-0000-0000-000000000000/table?token=" + token)
	require.Contains(t, []int{403, 404}, other.Status)
}

func TestOperatorWithoutSetValueIsRefusedHoweverEncoded(t *testing.T) {
	s := start(t)
	client := s.npm()
	const want = `[{"msg":"setValue","data":{"id":"dp-6"}}]`
	condition := obj{"id": "dp-6", "op": ">=", "value": "4000"}
	text, err := json.Marshal(condition)
	require.NoError(t, err)
	for _, conditions := range []any{condition, []any{condition}, string(text), "[" + string(text) + "]",
		obj{"id": "dp-6", "op": ">=", "value": "4000", "set": true},
		obj{"id": "dp-6", "op": "!=", "value": "4000", "set": "1"}} {
		client.rejected(want, obj{"conditions": conditions}, "token")
	}

	// By hand: the encodings of the other clients.
	key := "key=" + s.creds.APIKey
	encoded := url.QueryEscape(string(text))
	for name, r := range map[string]reply{
		"raw brackets": s.post("/io/api/1/access",
			key+"&conditions[0][id]=dp-6&conditions[0][op]=%3E%3D&conditions[0][value]=4000"),
		"percent-encoded brackets": s.post("/api/1/access",
			key+"&conditions%5Bid%5D=dp-6&conditions%5Bop%5D=%3E%3D&conditions%5Bvalue%5D=4000&conditions%5Bset%5D=1"),
		"JSON text in a form":  s.post("/io/api/1/access", key+"&conditions="+encoded),
		"JSON text in a query": s.post("/io/api/1/access?conditions="+encoded, key),
		"singular":             s.post("/io/api/1/access?condition="+encoded, key),
		"JSON body": s.do("POST", "/io/api/1/access", "application/json",
			`{"key":"`+s.creds.APIKey+`","conditions":`+string(text)+`}`),
		"key in a header": s.do("POST", "/io/api/1/access", formType, "conditions="+encoded, "key", s.creds.APIKey),
	} {
		require.Equal(t, 400, r.Status, name)
		require.JSONEq(t, `{"success":false,"error":"setValue","errors":`+want+`}`, r.Body, name)
		require.NotContains(t, r.Body, "token", name)
	}

	// With set off, or with a setValue, the same is granted.
	client.token(obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}})
	client.token(obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "setValue": "4000"}})
}

func TestRolesAndKeysThatAreNotThere(t *testing.T) {
	s := start(t)
	client := s.npm()
	client.rejected(noAccess, obj{"role": "admin"}, "token")
	client.rejected(noAccess, obj{"roles": []string{"viewer", "admin"}}, "token")
	client.rejected(noAccess, obj{"role": "Viewer"}, "token")
	client.rejected(noAccess, obj{"apiKey": "KEY0123456789abcdefABCDEF"}, "token")
	client.rejected(noAccess, obj{"apiKey": s.creds.APIKey + "x"}, "token")
	client.rejected(noAccess, obj{"apiKey": s.creds.Publishable}, "token")
	for _, call := range []string{"data", "oldData", "schema"} {
		client.rejected(noAccess, obj{"role": "admin"}, call, dataset)
		client.rejected(noAccess, obj{"apiKey": "KEY0123456789abcdefABCDEF"}, call, dataset)
	}
	// An answer to a foreign shape, to an unknown key and to a wrong check is one and the same.
	last := len(s.creds.APIKey) - 1
	wrong := s.creds.APIKey[:last] + string(s.creds.APIKey[last]^1) // always another character
	first := s.post("/io/api/1/access", "key=nonsense")
	require.Equal(t, 401, first.Status)
	for _, key := range []string{wrong, "undefined", strings.Repeat("a", 24)} {
		r := s.post("/io/api/1/access", "key="+key)
		require.Equal(t, first.Status, r.Status)
		require.Equal(t, first.Body, r.Body)
	}
}

func TestUnknownColumnIsToldWhenDataIsRead(t *testing.T) {
	s := start(t)
	client := s.npm()
	const want = `[{"msg":"unknownColumn","data":{"id":"dp-99"}}]`
	options := obj{"conditions": obj{"id": "dp-99", "value": "1", "set": false}}
	token := client.token(options) // the access call knows no data set
	r := s.table(token)
	require.Equal(t, 400, r.Status)
	require.JSONEq(t, `{"success":false,"error":"unknownColumn","errors":`+want+`}`, r.Body)
	client.rejected(want, options, "data", dataset)
	client.rejected(want, options, "row", dataset, 1)

	unfit := obj{"conditions": obj{"id": "dp-6", "op": ">", "value": "heavy", "set": false}}
	require.Contains(t, s.table(client.token(unfit)).Body, `"errors":[{"msg":"invalidCondition"`)
}

func TestDataCalls(t *testing.T) {
	s := start(t)
	client := s.npm()

	var sets []obj
	client.ok(&sets, obj{"role": "biscoe"}, "datasets")
	require.Len(t, sets, 1)
	require.Equal(t, dataset, sets[0]["id"])
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
	client.ok(&schema, nil, "schema", dataset)
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
	client.ok(&old, obj{"role": "biscoe"}, "oldData", dataset)
	require.Len(t, old.Data, 168)
	require.Contains(t, old.Data[0], "dv")

	var row struct {
		Data    obj
		Success bool
	}
	client.ok(&row, obj{"role": "viewer"}, "row", dataset, 1)
	require.Equal(t, "Torgersen", row.Data["dp-2"])
	hidden := client.call(obj{"role": "biscoe"}, "row", dataset, 1)
	missing := client.call(obj{"role": "biscoe"}, "row", dataset, 99999)
	require.NotEmpty(t, hidden.Rejected)
	require.Equal(t, string(missing.Rejected), string(hidden.Rejected), "hidden and missing look alike")

	other := client.call(obj{"role": "biscoe"}, "data", "00000000-0000-0000-0000-000000000000")
	require.NotEmpty(t, other.Rejected)
}

func TestWriting(t *testing.T) {
	s := start(t)
	client := s.npm()
	all := func() []int { return s.rowIDs(client.token(obj{"role": "viewer"})) }

	for _, role := range []string{"viewer", "biscoe"} {
		client.rejected(noAccess, obj{"role": role}, "insert", dataset, obj{"dp-1": "Adelie"})
		client.rejected(noAccess, obj{"role": role}, "update", dataset, 20, obj{"dp-1": "Adelie"})
		client.rejected(noAccess, obj{"role": role}, "delete", dataset, 20)
	}
	require.Len(t, all(), 344, "nothing was written")

	keeper := obj{"role": "keeper"}
	var made struct {
		Success bool
		Data    []obj
	}
	client.ok(&made, keeper, "insert", dataset,
		obj{"dp-1": "Café & <co> 'x'", "dp-2": "Dream", "dp-3": "40.5", "dp-6": 4100, "dp-7": ""})
	require.True(t, made.Success)
	require.Equal(t, []obj{{"id": 345.0, "dv": 0.0, "dp-1": "Café & <co> 'x'", "dp-2": "Dream", "dp-3": 40.5,
		"dp-4": nil, "dp-5": nil, "dp-6": 4100.0, "dp-7": nil}}, made.Data)

	var changed struct {
		Success bool
		Data    obj
	}
	client.ok(&changed, keeper, "update", dataset, 345, obj{"dp-6": "4200", "dp-3": ""})
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
		for call, args := range map[string][]any{"insert": {dataset, fields}, "update": {dataset, 345, fields}} {
			r := client.call(keeper, call, args...)
			require.NotEmpty(t, string(r.Rejected), "%s: %s resolved %s", name, call, r.OK)
			require.Contains(t, string(r.Rejected), `"msg"`, name)
		}
	}
	require.Len(t, all(), 345)

	var gone struct{ Success bool }
	client.ok(&gone, keeper, "delete", dataset, 345)
	require.True(t, gone.Success)
	require.NotEmpty(t, client.call(keeper, "delete", dataset, 345).Rejected)
	require.Len(t, all(), 344)

	client.ok(&made, keeper, "insert", dataset, obj{"dp-1": "Adelie"})
	require.EqualValues(t, 346, made.Data[0]["id"], "the id of a deleted row is not given again")

	var sets []obj
	client.ok(&sets, keeper, "datasets")
	require.EqualValues(t, 2, sets[0]["insertCount"])
	require.EqualValues(t, 1, sets[0]["updateCount"])
	require.EqualValues(t, 1, sets[0]["deleteCount"])
}

func TestConditionsRuleWriting(t *testing.T) {
	s := start(t)
	client := s.npm()
	insert := func(conditions any, fields obj) obj {
		t.Helper()
		var made struct{ Data []obj }
		client.ok(&made, obj{"role": "keeper", "conditions": conditions}, "insert", dataset, fields)
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
	client.rejected(noAccess, obj{"role": "keeper", "conditions": light}, "insert", dataset, obj{"dp-6": "4000"})
	client.rejected(noAccess, obj{"role": "keeper", "conditions": light}, "insert", dataset, obj{"dp-1": "no mass"})
	client.rejected(noAccess, obj{"role": "keeper", "conditions": obj{
		"id": "dp-6", "op": ">=", "value": "4000", "setValue": "1"}}, "insert", dataset, obj{})

	// A row can be changed within the conditions, not out of them, and not from outside of them.
	onDream := obj{"role": "keeper", "conditions": obj{"dp-2": "Dream"}}
	first := where(t, func(b bird) bool { return b["island"] == "Dream" })[0]
	var changed struct{ Data obj }
	client.ok(&changed, onDream, "update", dataset, first, obj{"dp-7": "female"})
	require.Equal(t, "female", changed.Data["dp-7"])
	client.rejected(noAccess, onDream, "update", dataset, first, obj{"dp-2": "Biscoe"})
	client.rejected(noAccess, onDream, "update", dataset, first, obj{"dp-2": ""})
	outside := where(t, onBiscoe)[0]
	require.NotEmpty(t, client.call(onDream, "update", dataset, outside, obj{"dp-2": "Dream"}).Rejected)
	require.NotEmpty(t, client.call(onDream, "delete", dataset, outside).Rejected)
	var row struct{ Data obj }
	client.ok(&row, obj{"role": "viewer"}, "row", dataset, first)
	require.Equal(t, "Dream", row.Data["dp-2"])
	client.ok(&row, obj{"role": "viewer"}, "row", dataset, outside)
	require.Equal(t, "Biscoe", row.Data["dp-2"])
}

// Who makes how many calls shows in the owner's usage, and in the console by name; and a token that a page used at once
// is not called unused. Another process looks, as an operator's would.
func TestCallsAndFirstUsesShow(t *testing.T) {
	beforeMidnight(t)
	s := start(t)
	client := s.npm()
	account := s.account()
	client.token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë"})
	token := client.token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë O'Brien"})
	require.Len(t, s.rowIDs(token), 168)
	require.Len(t, s.rowIDs(token), 168)
	client.ok(&obj{}, obj{"role": "viewer"}, "data", dataset)
	client.ok(&obj{}, obj{"role": "viewer"}, "row", dataset, 1)
	client.ok(&obj{}, obj{"role": "keeper"}, "update", dataset, 1, obj{"dp-6": "4200"})
	client.rejected(noAccess, obj{"role": "viewer", "apiKey": "nonsense"}, "data", dataset)
	key, minted := tokenID(t, account, s.creds.APIKey), tokenID(t, account, token)

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
	require.Contains(t, s.get("/console/usage").Body, "Zoë O&#39;Brien (42)")

	// By hand: another token, used once. By idling it ends in 20 minutes, so its next use is written after one.
	minted = tokenID(t, account, client.token(obj{"role": "viewer"}))
	got, err := account.Get(t.Context(), minted)
	require.NoError(t, err)
	require.NotZero(t, got.Used, "this process verified it, and writes that before it reads")
	fresh := client.token(obj{"role": "viewer"})
	require.Len(t, s.rowIDs(fresh), 344)
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
	s := start(t)
	for _, prefix := range []string{"/io", ""} {
		r := s.post(prefix+"/api/1/access/", "key="+s.creds.APIKey+"&role=biscoe")
		require.Equal(t, 200, r.Status, r.Body)
		var made struct{ Token string }
		r.json(t, &made)
		s.hide(made.Token)
		require.Equal(t, 200, s.get(prefix+"/dataset/"+dataset+"/table/?token="+made.Token).Status)
		for _, path := range []string{"/datasets/", "/dataset/" + dataset + "/", "/dataset/" + dataset + "/data/",
			"/dataset/" + dataset + "/schema/", "/dataset/" + dataset + "/1/"} {
			require.Equal(t, 200, s.get(prefix+"/api/1"+path+"?key="+s.creds.APIKey).Status, path)
		}
		require.Equal(t, 200, s.do("HEAD", prefix+"/dataset/"+dataset+"/table?token="+made.Token, "", "").Status)
		r = s.do("OPTIONS", prefix+"/dataset/"+dataset+"/table", "", "", "Origin", "https://example.org")
		require.Equal(t, 204, r.Status)
		require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	}
	require.Contains(t, s.post("/api/", "cmd=db.get_all&auth_token="+s.creds.Session).Body, `"return_code":"SUCCESS"`)
	require.Equal(t, 200, s.get("/v1/data/ACME/PENGUINS/1/?token="+s.creds.Publishable).Status)
}
