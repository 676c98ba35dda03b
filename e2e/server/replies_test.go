package server

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// The same calls on each engine have the same replies, byte for byte, but for ids, secrets and times of the token
// systems.
func TestServerRepliesAreTheSameOnEachEngine(t *testing.T) {
	want := tour(harness.StartServer(t))
	require.Greater(t, len(want), 60)
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		got := tour(newServerSite(t, e).start("a"))
		for i := range want {
			require.Equal(t, want[i], got[i])
		}
		require.Len(t, got, len(want))
	})
}

var (
	changing = regexp.MustCompile(`\b[a-z]{2}_[0-9A-Za-z]{40,}|` +
		`[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|` +
		`\d{4}-\d\d-\d\dT\d\d:\d\d:[0-9.]+Z|"id":"[0-9a-f]{6}","type":"api_error"`)
	idMember = regexp.MustCompile(`"id":"([^"]+)"`)
)

// tour calls each system of a server and returns what it answered.
func tour(s *harness.Server) []string {
	s.T.Helper()
	var log []string
	do := func(method, path, contentType, body string, header ...string) string {
		s.T.Helper()
		r := s.Do(method, path, contentType, body, header...)
		entry := fmt.Sprintf("%s %s %s\n%d %s %s", method, path, body, r.Status, r.Header.Get("Content-Type"), r.Body)
		entry = changing.ReplaceAllString(entry, "<>")
		require.Less(s.T, r.Status, 500, "%s\n%s", entry, s.Log.String())
		log = append(log, entry)
		return r.Body
	}

	// CloudTables.
	set := "/io/api/1/dataset/" + harness.Dataset
	as := func(path, role string, more ...string) string {
		q := url.Values{"key": {s.Credentials.APIKey}, "role": {role}}
		for i := 0; i+1 < len(more); i += 2 {
			q.Set(more[i], more[i+1])
		}
		return path + "?" + q.Encode()
	}
	condition := func(id, op string, value any) string {
		text, err := json.Marshal(obj{"id": id, "op": op, "value": value, "set": false})
		require.NoError(s.T, err)
		return string(text)
	}
	keeper := func(fields ...string) string {
		q := url.Values{"key": {s.Credentials.APIKey}, "roles[]": {"keeper"}}
		for i := 0; i+1 < len(fields); i += 2 {
			q.Set(fields[i], fields[i+1])
		}
		return q.Encode()
	}
	do("GET", as("/io/api/1/datasets", "viewer"), "", "")
	do("GET", as(set+"/schema", "viewer"), "", "")
	do("GET", as(set, "viewer"), "", "")
	do("GET", as(set, "biscoe"), "", "")
	for _, c := range []string{
		condition("dp-6", ">=", "4000"), condition("dp-6", "<", 4000), condition("dp-6", "<", 4000.5),
		condition("dp-3", "=", "39.1"), condition("dp-3", "=", 40.3),
		condition("dp-4", ">", "18"), condition("dp-2", "!=", "Biscoe"), condition("dp-7", "=", "male"),
		condition("dp-7", "=", "MALE"), condition("dp-1", "=", "Adelie "), condition("dp-1", "=", "x' OR '1'='1"),
		condition("body mass", "=", "3750"), condition("dp-9", "=", "1"), condition("dp-6", "=", "heavy"),
	} {
		do("GET", as(set, "viewer", "conditions", c), "", "")
	}
	for _, row := range []string{"1", "4", "344", "345", "0", "-1", "x", "9223372036854775807", "9223372036854775808"} {
		do("GET", as(set+"/"+row, "viewer"), "", "")
	}
	do("POST", set, harness.FormType, keeper("dp-1", "Adélie 🐧", "dp-2", "Dream", "dp-3", "39.10",
		"dp-4", "0.1", "dp-5", "180", "dp-7", "it's ?"))
	do("GET", as(set, "viewer", "conditions", condition("dp-1", "=", "Adélie 🐧")), "", "")
	do("POST", set, harness.FormType,
		keeper("dp-1", "Gentoo", "dp-2", "Biscoe", "dp-3", "40", "dp-4", "17.123456789012345", "dp-5", "181", "dp-6",
			"9007199254740993", "dp-7", ""))
	do("POST", set, harness.FormType, keeper("dp-6", "heavy", "dp-9", "1"))
	do("POST", set, harness.FormType, keeper("dp-5", "1.5"))
	do("PUT", set+"/345", harness.FormType, keeper("dp-3", "", "dp-5", "-1"))
	do("PUT", set+"/345", harness.FormType, keeper("dp-3", "", "dp-5", "-1"))
	do("PUT", set+"/999", harness.FormType, keeper("dp-5", "1"))
	do("DELETE", as(set+"/346", "viewer"), "", "")
	do("DELETE", as(set+"/346", "keeper"), "", "")
	do("DELETE", as(set+"/346", "keeper"), "", "")
	do("POST", set, harness.FormType, keeper("dp-1", "Adelie", "dp-2", "Biscoe")) // 347: 346 is not given again
	do("GET", as(set, "viewer"), "", "")
	do("GET", as("/io/api/1/datasets", "viewer"), "", "")
	var token struct{ Token string }
	minted := s.Post("/io/api/1/access",
		url.Values{"key": {s.Credentials.APIKey}, "role": {"biscoe"}, "clientId": {"42"}}.Encode())
	minted.JSON(s.T, &token)
	s.Hide(token.Token)
	for _, page := range []string{"", "&start=10&length=3", "&start=342", "&length=0", "&length=-1",
		"&start=9223372036854775807", "&start=1&length=9223372036854775807", "&start=x"} {
		do("GET", "/io/dataset/"+harness.Dataset+"/table?token="+token.Token+page, "", "")
	}

	// DatoCMS.
	dato := func(method, path, body string) string {
		s.T.Helper()
		return do(method, path, map[bool]string{true: "application/json"}[body != ""], body,
			"Authorization", "Bearer "+s.Credentials.CMAToken, "X-Api-Version", "3")
	}
	made := func(body string) string {
		s.T.Helper()
		id := idMember.FindStringSubmatch(body)
		require.Len(s.T, id, 2, body)
		return id[1]
	}
	dato("GET", "/roles", "")
	role := made(dato("POST", "/roles", `{"data":{"type":"role","attributes":{"name":"Éditeur",`+
		`"positive_item_type_permissions":[{"environment":"main","item_type":"penguin","action":"read",`+
		`"on_creator":"anyone"}],"negative_item_type_permissions":[]}}}`))
	tokenBody := `{"data":{"type":"access_token","attributes":{"name":"t","can_access_cda":true,` +
		`"can_access_cda_preview":%s,` +
		`"can_access_cma":false},"relationships":{"role":{"data":{"id":"` + role + `","type":"role"}}}}}`
	id := made(dato("POST", "/access_tokens", fmt.Sprintf(tokenBody, "true")))
	dato("GET", "/access_tokens/"+id, "")
	dato("GET", "/access_tokens", "")
	for _, query := range []string{
		`{ allPenguins(first: 3, skip: 1) { id _status species island beakLength beakDepth flipperLength bodyMass sex } }`,
		`{ allPenguins(first: 5, skip: 342) { id species beakLength } _allPenguinsMeta { count } }`,
		`{ penguin(filter: {id: {eq: 4}}) { id bodyMass sex } other: penguin(filter: {id: {eq: 346}}) { id } }`,
		`{ _allPenguinsMeta(filter: {species: {eq: \"Gentoo\"}, island: {eq: \"Biscoe\"}}) { count } }`,
	} {
		for _, drafts := range [][]string{nil, {"X-Include-Drafts", "true"}} {
			do("POST", "/graphql", "application/json", `{"query":"`+query+`"}`,
				append(drafts, "Authorization", "Bearer "+s.Credentials.CMAToken)...)
		}
	}
	dato("POST", "/access_tokens/"+id+"/regenerate_token", "")
	dato("DELETE", "/roles/"+role, "")
	dato("DELETE", "/access_tokens/"+id, "")
	dato("GET", "/access_tokens/"+id, "")

	// IEX Cloud.
	secret := "?token=" + s.Credentials.Secret
	do("GET", "/v1/data/ACME/PENGUINS/1?token="+s.Credentials.Publishable, "", "")
	do("GET", "/v1/data/ACME/PENGUINS/1,4,346,x"+secret, "", "")
	do("GET", "/v1/data/ACME/PENGUINS/x"+secret, "", "")
	do("GET", "/v1/data/ACME/PENGUINS,ISLANDS"+secret+"&limit=2", "", "")
	do("GET", "/v1/data/ACME/ISLANDS"+secret, "", "")
	for _, records := range []string{
		`[{"id":1000,"species":"Adelie","beak_length_mm":39.25,"body_mass_g":3000,"flipper_length_mm":null},` +
			`{"species":"Gentoo"}]`,
		`[{"id":1,"species":"Chinstrap","beak_depth_mm":123456789012345678901234567890}]`,
		`[{"id":2,"species":"Chinstrap","beak_depth_mm":0.1000000000000000055511151231257827},{"species":7}]`, // none of both
		`[{"id":1.5}]`, `[{"body_mass_g":3e3}]`, `[{"id":-7,"species":"none"}]`,
	} {
		do("POST", "/v1/record/ACME/PENGUINS"+secret, "application/json", records)
	}
	do("POST", "/v1/record/ACME/ISLANDS"+secret, "application/json",
		`[{"name":"Anvers","latitude":-64.55,"longitude":-63.583333333333336}]`)
	do("DELETE", "/v1/data/ACME/ISLANDS/4,5"+secret, "", "")
	do("POST", "/v1/record/ACME/ISLANDS"+secret, "application/json", `{"name":"Anvers"}`)
	do("GET", "/v1/data/ACME/ISLANDS"+secret, "", "")
	do("DELETE", "/v1/data/ACME/PENGUINS/1000,1001"+secret, "", "")
	do("POST", "/v1/record/ACME/PENGUINS"+secret, "application/json", `[{"species":"Gentoo"}]`) // 1002
	do("GET", "/v1/data/ACME/PENGUINS"+secret, "", "")

	// WebForce.
	force := func(cmd string, params ...string) string {
		s.T.Helper()
		q := url.Values{"cmd": {cmd}, "auth_token": {s.Credentials.Session}}
		for i := 0; i+1 < len(params); i += 2 {
			q.Set(params[i], params[i+1])
		}
		return do("POST", "/api", harness.FormType, q.Encode())
	}
	force("db.get_all")
	force("db.column.get", "db_id", "7")
	force("db.row.get", "db_id", "7", "row_id", "-7")
	force("db.cell.update", "db_id", "7", "row_id", "5", "column_id", "beak length", "value", "36.75")
	force("db.cell.update", "db_id", "7", "row_id", "5", "column_id", "dp-7", "value", "")
	force("db.cell.update", "db_id", "7", "row_id", "5", "column_id", "dp-5", "value", "long")
	force("db.cell.update", "db_id", "8", "row_id", "2", "column_id", "latitude", "value", "-65.4375")
	force("db.cell.update", "db_id", "8", "row_id", "2", "column_id", "nothing", "value", "1")
	force("db.cell.update", "db_id", "8", "row_id", "99", "column_id", "c1", "value", "1")
	force("db.row.get", "db_id", "8", "row_id", "2")
	force("db.row.get_all", "db_id", "8")
	force("db.row.get_all", "db_id", "7")
	one := made(force("access.add", "name", "n", "extra",
		`{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}],"é":1e2}`))
	force("access.get", "token_id", one)
	force("access.get_all")
	force("access.remove", "token_id", one)
	force("access.get", "token_id", one)
	return log
}
