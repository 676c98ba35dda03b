package server

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// refusal asks that r is a 4xx in the API's own shape, without a token.
func refusal(t *testing.T, name string, r harness.Reply, statuses ...int) {
	t.Helper()
	require.Contains(t, statuses, r.Status, "%s: %s", name, r.Body)
	require.Contains(t, r.Header.Get("Content-Type"), "application/json", name)
	var body struct {
		Success *bool
		Error   string
		Errors  []struct{ Msg string }
		Token   *string
	}
	require.NoError(t, json.Unmarshal([]byte(r.Body), &body), name)
	require.NotNil(t, body.Success, name)
	require.False(t, *body.Success, name)
	require.NotEmpty(t, body.Errors, name)
	require.Equal(t, body.Error, body.Errors[0].Msg, name)
	require.Nil(t, body.Token, name)
}

func TestBadInputIsRefusedAndWritesNothing(t *testing.T) {
	s := harness.StartServer(t)
	account := s.Account()
	count := func() (tokens, clients int) {
		for _, err := range account.Tokens(t.Context(), latchkey.TokenQuery{}) {
			require.NoError(t, err)
			tokens++
		}
		for _, err := range account.Clients(t.Context()) {
			require.NoError(t, err)
			clients++
		}
		return tokens, clients
	}
	tokens, clients := count()
	key := s.Credentials.APIKey
	form := "key=" + key + "&clientId=bad&"
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

	const access = "/io/api/1/access"
	for name, body := range map[string]string{
		"over 64 KiB":                 form + "clientMeta=" + strings.Repeat("a", 64<<10),
		"an open bracket":             form + "roles[0=viewer",
		"a bracket too many":          form + "roles[0]]=viewer",
		"text after a bracket":        form + "roles[0]x=viewer",
		"a lone bracket":              form + "]roles[=viewer",
		"depth bomb":                  form + "conditions" + strings.Repeat("[a]", 1000) + "=1",
		"count bomb":                  form + strings.Repeat("a=1&", 5000),
		"an index bomb":               form + "roles[4294967295]=viewer",
		"a list and a map in one":     form + "conditions[0][id]=dp-1&conditions[id]=dp-1",
		"half an escape":              form + "role=view%e",
		"no escape":                   form + "role=%zz",
		"invalid UTF-8":               form + "clientName=%ff%fe",
		"an overlong form":            form + "clientName=%c0%af",
		"a NUL byte":                  form + "clientName=a%00b",
		"a NUL byte in a role":        form + "role=viewer%00",
		"a role that is a map":        form + "role[a]=viewer",
		"an empty role":               form + "role=",
		"role in another case":        form + "Role=biscoe",
		"conditions that are no JSON": form + "conditions=%7Bid",
		"conditions that are text":    form + "conditions=dp-1",
		"conditions, too deep":        form + "conditions=" + url.QueryEscape(nested(5000)),
		"duplicate JSON names":        form + "conditions=" + url.QueryEscape(`{"id":"dp-1","id":"dp-2","value":"x"}`),
		"a condition without a value": form + "conditions[id]=dp-1",
		"a condition without a point": form + "conditions[value]=1",
		"an unknown operator":         form + "conditions[id]=dp-1&conditions[op]=like&conditions[value]=x",
		"a list as a value":           form + "conditions[id]=dp-1&conditions[value][0]=x",
		"an unknown member":           form + "conditions[id]=dp-1&conditions[value]=x&conditions[or]=1",
		"duration 0":                  form + "duration=0",
		"a negative duration":         form + "duration=-1",
		"an absurd duration":          form + "duration=31536001",
		"an overflowing duration":     form + "duration=99999999999999999999",
		"a fractional duration":       form + "duration=1.5",
		"a duration in words":         form + "duration=1h",
		"an exponent":                 form + "duration=1e3",
		"two durations":               form + "duration=60&duration=61",
		"two keys":                    form + "key=" + key,
		"a key as a list":             "clientId=bad&key[]=" + key + "&key[]=" + key,
		"a long clientId":             form + "clientId2=&clientName=" + strings.Repeat("a", 257),
	} {
		statuses := []int{400}
		if name == "over 64 KiB" || strings.HasSuffix(name, "bomb") {
			statuses = []int{400, 413}
		}
		if name == "an empty role" || name == "a NUL byte in a role" {
			statuses = []int{400, 403}
		}
		refusal(t, name, s.Post(access, body), statuses...)
	}

	object := func(members string) string { return `{"key":"` + key + `","clientId":"bad",` + members + `}` }
	for name, body := range map[string]string{
		"duplicate names":      object(`"role":"viewer","role":"keeper"`),
		"names alike but case": object(`"role":"viewer","Role":"keeper"`),
		"trailing data":        object(`"role":"viewer"`) + "x",
		"two objects":          object(`"role":"viewer"`) + object(`"role":"viewer"`),
		"not an object":        `["` + key + `"]`,
		"no JSON":              `{"key":`,
		"a lone surrogate":     object(`"clientName":"\ud800"`),
		"raw invalid UTF-8":    object("\"clientName\":\"\xff\""),
		"an escaped NUL":       object(`"clientName":"\u0000"`),
		"too deep":             object(`"conditions":` + nested(1000)),
		"a number as a role":   object(`"role":7`),
		"an empty list":        object(`"roles":[]`),
		"roles of wrong types": object(`"roles":["viewer",null]`),
		"duration true":        object(`"duration":true`),
		"duration -1":          object(`"duration":-1`),
		"a number as key":      `{"key":12345,"clientId":"bad"}`,
	} {
		refusal(t, name, s.Do("POST", access, "application/json", body), 400)
	}

	refusal(t, "key in body and header", s.Do("POST", access, harness.FormType, "key="+key, "key", key), 400)
	refusal(t, "key in body and query", s.Post(access+"?key="+key, "key="+key), 400)
	refusal(t, "key and a bearer token",
		s.Do("POST", access, harness.FormType, "key="+key, "Authorization", "Bearer "+key), 400)
	refusal(t, "two key headers", s.Do("POST", access, harness.FormType, "", "key", key, "key", key), 400)
	refusal(t, "options that disagree", s.Post(access+"?role=viewer", "key="+key+"&role=biscoe"), 400)
	refusal(t, "no key", s.Post(access, "role=viewer"), 401)
	refusal(t, "an empty key", s.Post(access, "key="), 401)
	refusal(t, "a text body", s.Do("POST", access, "text/plain", "key="+key), 415)
	refusal(t, "another charset", s.Do("POST", access, harness.FormType+"; charset=utf-16", "key="+key), 415)
	refusal(t, "a compressed body", s.Do("POST", access, harness.FormType, "key="+key, "Content-Encoding", "gzip"), 415)
	refusal(t, "GET", s.Get(access+"?key="+key), 405)

	for name, r := range map[string]harness.Reply{
		"a depth bomb":    s.Post("/io/api/1/dataset/"+harness.Dataset, "key="+key+"&dp-1"+strings.Repeat("[a]", 1000)+"=1"),
		"a big body":      s.Post("/io/api/1/dataset/"+harness.Dataset, "key="+key+"&dp-1="+strings.Repeat("a", 64<<10)),
		"invalid UTF-8":   s.Post("/io/api/1/dataset/"+harness.Dataset, "key="+key+"&dp-1=%ff"),
		"a NUL byte":      s.Post("/io/api/1/dataset/"+harness.Dataset, "key="+key+"&dp-1=a%00"),
		"two credentials": s.Post("/io/api/1/dataset/"+harness.Dataset+"?token=x", "key="+key+"&dp-1=a"),
		"a row in words":  s.Get("/io/api/1/dataset/" + harness.Dataset + "/seven?key=" + key),
		"a row too large": s.Get("/io/api/1/dataset/" + harness.Dataset + "/99999999999999999999?key=" + key),
		"an odd data set": s.Get("/io/api/1/dataset/..%2f..%2fx?key=" + key),
	} {
		refusal(t, name, r, 400, 401, 403, 404, 413)
	}

	gotTokens, gotClients := count()
	require.Equal(t, tokens, gotTokens, "a token was made")
	require.Equal(t, clients, gotClients, "a client was written")
	require.Len(t, harness.IDsOf(t, s.Get("/io/api/1/dataset/"+harness.Dataset+"?key="+key)), 344, "a row was written")
}

func TestStoreOutOfReachIs503(t *testing.T) {
	s := harness.StartServer(t)
	token := s.CloudTables().Token(obj{})
	require.Len(t, s.RowIDs(token), 344)
	mend := breakStore(s)
	for name, r := range map[string]harness.Reply{
		"a token":         s.Table(token),
		"the access call": s.Post("/io/api/1/access", "key="+s.Credentials.APIKey),
		"a data call":     s.Get("/io/api/1/dataset/" + harness.Dataset + "?key=" + s.Credentials.APIKey),
	} {
		require.Equal(t, 503, r.Status, "%s: %s", name, r.Body)
		require.JSONEq(t, `{"success":false,"error":"unavailable","errors":[{"msg":"unavailable"}]}`, r.Body, name)
	}
	require.Equal(t, 503, s.Get("/embed").Status)
	mend()
	require.Len(t, s.RowIDs(token), 344, "and then it goes on")
}

// breakStore takes the store's tables away from under the running server, until mend is called.
func breakStore(s *harness.Server) (mend func()) {
	s.T.Helper()
	db := s.OpenDB()
	rows, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'latchkey%'`)
	require.NoError(s.T, err)
	var tables []string
	for rows.Next() {
		var table string
		require.NoError(s.T, rows.Scan(&table))
		tables = append(tables, table)
	}
	require.NoError(s.T, rows.Err())
	require.NotEmpty(s.T, tables)
	rename := func(from, to string) {
		for _, table := range tables {
			_, err := db.Exec(`ALTER TABLE ` + from + table + ` RENAME TO ` + to + table)
			require.NoError(s.T, err)
		}
	}
	rename("", "away_")
	return func() { rename("away_", "") }
}
