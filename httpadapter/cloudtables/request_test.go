package cloudtables

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

const formType = "application/x-www-form-urlencoded"

// wire is a request as a client sends it.
type wire struct {
	method  string // "": POST
	target  string // "": the access call
	headers []string
	body    string // a form, or JSON if it begins with "{"
}

func (c wire) request() *http.Request {
	method, target := c.method, c.target
	if method == "" {
		method = "POST"
	}
	if target == "" || strings.HasPrefix(target, "?") {
		target = "/io/api/1/access" + target
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(c.body))
	path, query, _ := strings.Cut(target, "?") // unchanged: a server does not escape what a client left unescaped
	r.URL = &url.URL{Path: path, RawQuery: query}
	r.RequestURI = target
	if c.body != "" {
		r.Header.Set("Content-Type", formType)
		if strings.HasPrefix(c.body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	if slices.Contains(c.headers, "Content-Type") {
		r.Header.Del("Content-Type")
	}
	for i := 0; i < len(c.headers); i += 2 {
		name := http.CanonicalHeaderKey(c.headers[i])
		r.Header[name] = append(r.Header[name], c.headers[i+1])
	}
	return r
}

// show renders a request: its key, then what it asks for.
func show(r request) string {
	var b strings.Builder
	b.WriteString(r.secret)
	if r.asToken {
		b.WriteString(" (token)")
	}
	if r.roles != nil {
		fmt.Fprintf(&b, " roles=%q", r.roles)
	}
	for _, c := range r.conditions {
		fmt.Fprintf(&b, " [%s %s %q", c.point, c.op, c.value)
		if c.set {
			fmt.Fprintf(&b, " set %q", c.force)
		}
		b.WriteString("]")
	}
	if r.client != (latchkey.Client{}) {
		fmt.Fprintf(&b, " client=%q/%q", r.client.ID, r.client.Name)
	}
	if r.duration != 0 {
		fmt.Fprintf(&b, " for %s", r.duration)
	}
	return b.String()
}

// recorded are the requests of the product's own clients, byte for byte.
var recorded = []struct {
	name string
	wire
	want string
}{
	// npm cloudtables-api 1.2.0
	{"npm 01, nothing", wire{body: `key=K`}, `K`},
	{"npm 02, client", wire{body: `clientId=42&clientName=Zo%C3%AB%20O'Brien%20%3Czoe%2Bx%40ex.com%3E%20%26%20co&key=K`},
		`K client="42"/"Zoë O'Brien <zoe+x@ex.com> & co"`},
	{"npm 03, role", wire{body: `key=K&roles[0]=Front%20of%20house`}, `K roles=["Front of house"]`},
	{"npm 04, roles", wire{body: `key=K&roles[0]=it&roles[1]=front%20desk`}, `K roles=["front desk" "it"]`},
	{"npm 05, role wins", wire{body: `key=K&roles[0]=one`}, `K roles=["one"]`},
	{"npm 06, one condition", wire{body: `key=K&conditions[id]=dp-616&conditions[value]=2`}, `K [dp-616 = "2" set "2"]`},
	{"npm 07, a map of conditions", wire{body: `key=K&conditions[dp-1]=5&conditions[Name]=x%20y`},
		`K [dp-1 = "5" set "5"] [Name = "x y" set "x y"]`},
	{"npm 08, conditions", wire{body: `key=K&conditions[0][id]=dp-1&conditions[0][op]=%3E%3D&conditions[0][value]=10&` +
		`conditions[0][set]=false` +
		`&conditions[1][name]=Post%20code&conditions[1][op]=!%3D&conditions[1][value]=a%26b%3Dc&conditions[1][set]=true&` +
		`conditions[1][setValue]=EH1%201AA`},
		`K [dp-1 >= "10"] [Post code != "a&b=c" set "EH1 1AA"]`},
	{"npm 09, duration", wire{body: `duration=3600&clientMeta=web&key=K`}, `K for 1h0m0s`},
	{"npm, nested meta", wire{body: `clientMeta[a][b]=1&clientMeta[a[b]=2&clientMeta[x][y][z][1][2][3][4][5]=&key=K`},
		`K`},
	{"npm 11, empty options", wire{body: `&clientName=&key=K&`}, `K`},

	// PHP (cURL, WordPress)
	{"PHP", wire{body: `duration=60&clientId=7&clientName=Ann+Lee&key=K&roles%5B0%5D=it&roles%5B1%5D=front+desk`},
		`K roles=["front desk" "it"] client="7"/"Ann Lee" for 1m0s`},
	{"WordPress", wire{body: `key=K&conditions%5B0%5D%5Bid%5D=dp-1&conditions%5B0%5D%5Bop%5D=%3C&` +
		`conditions%5B0%5D%5Bvalue%5D=3&conditions%5B0%5D%5Bset%5D=0` +
		`&conditions%5B1%5D%5Bid%5D=dp-2&conditions%5B1%5D%5Bvalue%5D=1&conditions%5B1%5D%5Bset%5D=1`},
		`K [dp-1 < "3"] [dp-2 = "1" set "1"]`},

	// Python: the key in the body, everything else in the query
	{"Python", wire{target: `?clientId=7&clientName=Ann&roles=it&roles=front+desk&domain=x.example&ssl=True`,
		body: `key=K`},
		`K roles=["front desk" "it"] client="7"/"Ann"`},
	{"Python, one role", wire{target: `?role=it&domain=x.example&ssl=False`, body: `key=K`}, `K roles=["it"]`},
	{"Python, condition", wire{target: `?conditions=` +
		url.QueryEscape(`{"id": "dp-1", "op": ">=", "value": 10, "set": false}`), body: `key=K`},
		`K [dp-1 >= "10"]`},
	{"Python, conditions", wire{target: `?conditions=` +
		url.QueryEscape(`[{"id": "dp-1", "value": "a"}, {"name": "Age", "value": 2}]`), body: `key=K`},
		`K [dp-1 = "a" set "a"] [Age = "2" set "2"]`},

	// curl, and what the documents say of the key
	{"curl", wire{body: `key=K`}, `K`},
	{"key in a header", wire{headers: []string{"key", "K"}}, `K`},
	{"key in a header, with a body", wire{headers: []string{"Key", "K"}, body: `role=it`}, `K roles=["it"]`},
	{"key in the query", wire{target: `?key=K`}, `K`},
	{"no Content-Type", wire{headers: []string{"Content-Type", ""}, body: `key=K&role=it`}, `K roles=["it"]`},
	{"with a charset", wire{headers: []string{"Content-Type", formType + "; charset=UTF-8"}, body: `key=K`}, `K`},

	// JSON
	{"JSON", wire{body: `{"key":"K","roles":["it","front desk"],"clientId":42,"clientName":"Ann","duration":60,` +
		`"clientMeta":{"a":[[[[[[[[1]]]]]]]]}}`},
		`K roles=["front desk" "it"] client="42"/"Ann" for 1m0s`},
	{"JSON, conditions", wire{body: `{"key":"K","conditions":[{"id":"dp-1","value":2.50},{"id":"dp-2","value":true,` +
		`"set":false},{"id":"dp-3","value":"x","set":1,"setValue":null}]}`},
		`K [dp-1 = "2.50" set "2.50"] [dp-2 = "true"] [dp-3 = "x" set "x"]`},
	{"JSON, one condition", wire{body: `{"key":"K","conditions":{"name":"Age","op":"<","value":3,"setValue":2}}`},
		`K [Age < "3" set "2"]`},
	{"JSON, a map of conditions", wire{body: `{"key":"K","conditions":{"dp-1":5,"Name":"x y"}}`},
		`K [dp-1 = "5" set "5"] [Name = "x y" set "x y"]`},
	{"JSON, conditions as text", wire{body: `{"key":"K","conditions":"{\"dp-1\":5}"}`}, `K [dp-1 = "5" set "5"]`},
	{"JSON, empty", wire{body: `{"key":"K","conditions":[],"clientId":null,"clientName":"","duration":null}`}, `K`},

	// other spellings
	{"role", wire{body: `key=K&role=it`}, `K roles=["it"]`},
	{"roles[]", wire{body: `key=K&roles[]=it&roles[]=a`}, `K roles=["a" "it"]`},
	{"roles, once", wire{body: `key=K&roles=it`}, `K roles=["it"]`},
	{"roles, repeated", wire{body: `key=K&roles=it&roles=it&roles=a`}, `K roles=["a" "it"]`},
	{"roles, more than 20", wire{body: `key=K&roles[0]=a&roles[30]=b`}, `K roles=["a" "b"]`},
	{"role and roles alike", wire{body: `key=K&role=it&roles[0]=it`}, `K roles=["it"]`},
	{"query and body alike", wire{target: `?roles=a&roles=b&clientId=1`, body: `key=K&roles[0]=b&roles[1]=a&clientId=1`},
		`K roles=["a" "b"] client="1"/""`},
	{"condition, singular", wire{target: `?condition={"id":"dp-1","value":1}`, body: `key=K`}, `K [dp-1 = "1" set "1"]`},
	{"userId and userName", wire{body: `key=K&userId=9&userName=Bo`}, `K client="9"/"Bo"`},
	{"clientId before userId", wire{body: `key=K&userId=9&clientId=8&userName=Bo`}, `K client="8"/"Bo"`},
	{"a name of nobody", wire{body: `key=K&clientName=Bo`}, `K`},
	{"a value that is empty", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=`}, `K [dp-1 = "" set ""]`},
	{"one point twice", wire{body: `{"key":"K","conditions":[{"id":"dp-1","op":">=","value":1,"set":false},{"id":"dp-1",` +
		`"op":"<","value":9,"setValue":5},{"id":"dp-1","op":"!=","value":7,"setValue":5}]}`},
		`K [dp-1 >= "1"] [dp-1 < "9" set "5"] [dp-1 != "7" set "5"]`},
	{"the longest duration", wire{body: `key=K&duration=31536000`}, `K for 8760h0m0s`},
	{"the longest client", wire{body: `key=K&clientId=` + strings.Repeat("x", 256) + `&clientName=` +
		strings.Repeat("y", 256)},
		`K client="` + strings.Repeat("x", 256) + `"/"` + strings.Repeat("y", 256) + `"`},
	{"as many roles as there may be", wire{body: `key=K&roles=it` + strings.Repeat(`&roles=it`, 99)}, `K roles=["it"]`},
	{"empty duration", wire{body: `key=K&duration=`}, `K`},
}

func TestRecordedRequests(t *testing.T) {
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readRequest(tt.request(), false)
			require.NoError(t, err)
			require.Equal(t, tt.want, show(got))
		})
	}
}

func reply(msg, data string) string {
	if data != "" {
		data = `,"data":` + data
	}
	return `{"success":false,"error":"` + msg + `","errors":[{"msg":"` + msg + `"` + data + `}]}`
}

func bad(why string) string          { return reply("noAccess", `{"err":"`+why+`"}`) }
func condition400(why string) string { return reply("invalidCondition", `{"err":"`+why+`"}`) }

var (
	noAccess   = reply("noAccess", "")
	twoKeys    = reply("noAccess", "")
	wantsValue = condition400("a condition needs a value")
	wantsPoint = condition400("a condition needs an id or a name")
	differs    = " is given twice, and differently"
)

// refused are requests that are refused before any key is looked up.
var refused = []struct {
	name string
	wire
	status int
	want   string
}{
	{"no key", wire{body: `role=it`}, 401, noAccess},
	{"nothing", wire{}, 401, noAccess},
	{"empty key", wire{body: `key=`}, 401, noAccess},
	{"empty key header", wire{headers: []string{"key", ""}}, 401, noAccess},
	{"key in another case", wire{body: `KEY=K`}, 401, noAccess},
	{"a Bearer token is no key", wire{headers: []string{"Authorization", "Bearer K"}}, 401, noAccess},

	{"key in body and header", wire{headers: []string{"key", "K"}, body: `key=K`}, 400, twoKeys},
	{"key in body and query", wire{target: `?key=K`, body: `key=K`}, 400, twoKeys},
	{"key in header and query", wire{target: `?key=K`, headers: []string{"key", "L"}}, 400, twoKeys},
	{"key twice in the body", wire{body: `key=K&key=K`}, 400, twoKeys},
	{"key twice in the query", wire{target: `?key=K&key=L`}, 400, twoKeys},
	{"key in two headers", wire{headers: []string{"key", "K", "Key", "K"}}, 400, twoKeys},
	{"key as a list", wire{body: `key[]=K`}, 400, twoKeys},
	{"key and empty key", wire{headers: []string{"key", "K"}, body: `key=`}, 400, twoKeys},
	{"key and a Bearer token", wire{headers: []string{"Authorization", "Bearer K"}, body: `key=K`}, 400, twoKeys},
	{"key and a minted token", wire{body: `key=K&token=T`}, 400, twoKeys},
	{"key, and a token in the query", wire{target: `?token=T`, body: `key=K`}, 400, twoKeys},
	{"key and the loader's apikey", wire{target: `?apikey=K`, headers: []string{"key", "K"}}, 400, twoKeys},
	{"the loader's apikey is no key here", wire{body: `apikey=K`}, 401, noAccess},
	{"two Authorization headers", wire{headers: []string{"Authorization", "Basic x", "Authorization", "Basic x"},
		body: `key=K`}, 400, twoKeys},
	{"key as a map", wire{body: `key[a]=K`}, 400, bad("the key is a text")},
	{"key as a number", wire{body: `{"key":0}`}, 400, bad("the key is a text")},
	{"key as true", wire{body: `{"key":true}`}, 400, bad("the key is a text")},
	{"key as null", wire{body: `{"key":null}`}, 400, bad("the key is a text")},
	{"key as an object", wire{body: `{"key":{}}`}, 400, bad("the key is a text")},
	{"key as an array", wire{body: `{"key":["K"]}`}, 400, twoKeys},

	{"too many roles", wire{body: `key=K&roles=a` + strings.Repeat(`&roles=a`, 100)}, 400, bad("too many roles")},
	{"role as a map", wire{body: `key=K&role[x]=it`}, 400, bad("roles are names")},
	{"roles in roles", wire{body: `key=K&roles[0][0]=it`}, 400, bad("roles are names")},
	{"role null", wire{body: `{"key":"K","role":null}`}, 400, bad("roles are names")},
	{"role as a number", wire{body: `{"key":"K","role":1}`}, 400, bad("roles are names")},
	{"roles empty", wire{body: `{"key":"K","roles":[]}`}, 400, bad("roles are names")},
	{"roles with null", wire{body: `{"key":"K","roles":["it",null]}`}, 400, bad("roles are names")},
	{"roles as an object", wire{body: `{"key":"K","roles":{"0":"it"}}`}, 400, bad("roles are names")},
	{"role and other roles", wire{body: `key=K&role=it&roles[0]=a`}, 400, bad("roles" + differs)},
	{"role beside more roles", wire{body: `key=K&role=it&roles[0]=it&roles[1]=a`}, 400, bad("roles" + differs)},
	{"other roles in the query", wire{target: `?roles=a`, body: `key=K&roles[0]=b`}, 400, bad("roles" + differs)},
	{"other client in the query", wire{target: `?clientId=1`, body: `key=K&clientId=2`}, 400, bad("clientId" + differs)},
	{"other duration in the query", wire{target: `?duration=10`, body: `key=K&duration=20`}, 400,
		bad("duration" + differs)},
	{"other conditions in the query", wire{target: `?conditions[dp-1]=1`, body: `key=K&conditions[dp-1]=2`}, 400,
		bad("conditions" + differs)},
	{"fewer conditions in the query", wire{target: `?conditions=[]`, body: `key=K&conditions[dp-1]=2`}, 400,
		bad("conditions" + differs)},
	{"condition beside conditions", wire{body: `key=K&conditions[dp-1]=2&condition[dp-2]=2`}, 400,
		bad("conditions" + differs)},
	{"an option in another case", wire{body: `key=K&Roles[0]=it`}, 400, bad("roles is written in lower case")},
	{"client twice", wire{body: `key=K&clientId=1&clientId=2`}, 400, bad("clientId is given once, as a text or a number")},
	{"client as true", wire{body: `{"key":"K","clientId":true}`}, 400,
		bad("clientId is given once, as a text or a number")},
	{"client too long", wire{body: `key=K&clientId=` + strings.Repeat("x", 257)}, 400,
		bad("clientId and clientName have at most 256 bytes")},
	{"client's name too long", wire{body: `key=K&clientId=1&clientName=` + strings.Repeat("x", 257)}, 400,
		bad("clientId and clientName have at most 256 bytes")},

	{"duration 0", wire{body: `key=K&duration=0`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration negative", wire{body: `key=K&duration=-1`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration signed", wire{body: `key=K&duration=%2B60`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration too long", wire{body: `key=K&duration=31536001`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration beyond 64 bits", wire{body: `key=K&duration=18446744073709551617`}, 400,
		bad("duration is whole seconds from 1 to 31536000")},
	{"duration fraction", wire{body: `key=K&duration=1.5`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration exponent", wire{body: `{"key":"K","duration":1e3}`}, 400,
		bad("duration is whole seconds from 1 to 31536000")},
	{"duration text", wire{body: `key=K&duration=Infinity`}, 400, bad("duration is whole seconds from 1 to 31536000")},
	{"duration list", wire{body: `key=K&duration[]=1`}, 400, bad("duration is given once, as a text or a number")},

	{"npm 12, a value that vanished", wire{body: `key=K&conditions[0][id]=dp-1&`}, 400, wantsValue},
	{"npm 16, a list as a value",
		wire{body: `key=K&conditions[0][id]=dp-1&conditions[0][value][0]=1&conditions[0][value][1]=2`}, 400,
		condition400("a value is a text, a number or a boolean")},
	{"Python, a degraded object", wire{target: `?conditions=id&conditions=value`, body: `key=K`}, 400,
		condition400("a condition is an object")},
	{"value null", wire{body: `{"key":"K","conditions":{"id":"dp-1","value":null}}`}, 400, wantsValue},
	{"value null in a map", wire{body: `{"key":"K","conditions":{"dp-1":null}}`}, 400, wantsValue},
	{"value an object", wire{body: `{"key":"K","conditions":{"id":"dp-1","value":{"ref":"self"}}}`}, 400,
		condition400("a value is a text, a number or a boolean")},
	{"value an object in a map", wire{body: `{"key":"K","conditions":{"dp-1":{"ref":"self"}}}`}, 400,
		condition400("a value is a text, a number or a boolean")},
	{"value twice", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=1&conditions[value]=2`}, 400,
		condition400("a value is a text, a number or a boolean")},
	{"value too long", wire{body: `key=K&conditions[dp-1]=` + strings.Repeat("x", 4097)}, 400,
		condition400("a value is too long")},
	{"id vanished", wire{body: `key=K&conditions[value]=5`}, 400, wantsPoint},
	{"id vanished in a list", wire{body: `key=K&conditions[0][value]=5`}, 400, wantsPoint},
	{"id empty", wire{body: `key=K&conditions[id]=&conditions[value]=5`}, 400, wantsPoint},
	{"id null", wire{body: `{"key":"K","conditions":{"id":null,"value":5}}`}, 400, wantsPoint},
	{"id a number", wire{body: `{"key":"K","conditions":{"id":1,"value":5}}`}, 400, condition400("id is a text")},
	{"id too long", wire{body: `key=K&conditions[value]=1&conditions[id]=` + strings.Repeat("x", 257)}, 400,
		condition400("an id or name has 1 to 256 bytes")},
	{"an empty point", wire{body: `{"key":"K","conditions":{"":5}}`}, 400,
		condition400("an id or name has 1 to 256 bytes")},
	{"id and name", wire{body: `key=K&conditions[id]=dp-1&conditions[name]=Age&conditions[value]=5`}, 400,
		condition400("a condition has an id or a name, not both")},
	{"an unknown member", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[operator]=%3E`}, 400,
		condition400("a condition has id or name, op, value, set and setValue")},
	{"an unknown operator", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[op]=like`}, 400,
		condition400("op is none of the six comparisons")},
	{"an empty operator", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[op]=`}, 400,
		condition400("op is none of the six comparisons")},
	{"an operator of ours", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[op]=is-null`}, 400,
		condition400("op is none of the six comparisons")},
	{"set neither", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[set]=yes`}, 400,
		condition400("set is true or false")},
	{"set empty", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[set]=`}, 400,
		condition400("set is true or false")},
	{"setValue a list", wire{body: `key=K&conditions[id]=dp-1&conditions[value]=5&conditions[setValue][]=6`}, 400,
		condition400("a value is a text, a number or a boolean")},
	{"nothing to set", wire{body: `key=K&conditions[id]=dp-6&conditions[op]=%3E&conditions[value]=5`}, 400,
		reply("setValue", `{"id":"dp-6"}`)},
	{"nothing to set, though wanted",
		wire{body: `key=K&conditions[0][name]=Age&conditions[0][op]=!%3D&conditions[0][value]=5&conditions[0][set]=true`},
		400, reply("setValue", `{"id":"Age"}`)},
	{"two values for one point", wire{body: `key=K&conditions[0][id]=dp-1&conditions[0][value]=1&conditions[1][id]=dp-1&` +
		`conditions[1][value]=2`}, 400,
		condition400("two conditions set different values")},
	{"conditions null", wire{body: `{"key":"K","conditions":null}`}, 400,
		condition400("conditions are an object or a list of objects")},
	{"conditions a number", wire{body: `{"key":"K","conditions":5}`}, 400,
		condition400("conditions are an object or a list of objects")},
	{"conditions an empty text", wire{body: `key=K&conditions=`}, 400, condition400("conditions are not JSON")},
	{"conditions no JSON", wire{body: `key=K&conditions={id:1}`}, 400, condition400("conditions are not JSON")},
	{"conditions twice JSON", wire{body: `{"key":"K","conditions":"\"{}\""}`}, 400,
		condition400("conditions are an object or a list of objects")},
	{"an empty condition", wire{body: `{"key":"K","conditions":[{}]}`}, 400, wantsPoint},
	{"a condition null", wire{body: `{"key":"K","conditions":[null]}`}, 400, condition400("a condition is an object")},
	{"a map in a list", wire{body: `{"key":"K","conditions":[{"dp-1":5}]}`}, 400,
		condition400("a condition has id or name, op, value, set and setValue")},
	{"too many conditions", wire{body: `key=K&conditions=[` + strings.Repeat(`{"id":"a","value":1},`, 100) +
		`{"id":"a","value":1}]`}, 400, condition400("too many conditions")},

	{"unclosed bracket", wire{body: `key=K&roles[0=it`}, 400, bad("malformed form: brackets do not match")},
	{"malformed query", wire{target: `?roles[0=it`, body: `key=K`}, 400, bad("malformed query: brackets do not match")},
	{"malformed query escape", wire{target: `?x=%zz`, body: `key=K`}, 400, bad("malformed query: bad percent encoding")},
	{"semicolons", wire{body: `key=K;roles[0]=it`}, 400, bad(`malformed form: \";\" separates nothing: write %3B`)},
	{"roles in two shapes", wire{body: `key=K&roles=it&roles[0]=it`}, 400,
		bad("malformed form: one name used in two ways")},
	{"depth bomb", wire{body: `key=K&conditions` + strings.Repeat(`[a]`, 5000) + `=1`}, 400,
		bad("malformed form: nested too deeply")},
	{"count bomb", wire{body: `key=K` + strings.Repeat(`&a=`, 20_000)}, 400, bad("malformed form: too many pairs")},
	{"index bomb", wire{body: `key=K&roles[4294967296]=it`}, 400, bad("malformed form: index too large")},
	{"invalid UTF-8", wire{body: `key=K&role=%ff`}, 400, bad("malformed form: invalid UTF-8")},
	{"NUL", wire{body: `key=K%00&role=it`}, 400, bad("malformed form: NUL")},
	{"JSON name twice", wire{body: `{"key":"K","role":"it","role":"a"}`}, 400, bad("malformed JSON: not strict JSON")},
	{"JSON name in two cases", wire{body: `{"key":"K","role":"it","ROLE":"a"}`}, 400,
		bad("malformed JSON: not strict JSON")},
	{"JSON name twice in conditions", wire{body: `key=K&conditions={"id":"a","id":"b","value":1}`}, 400,
		condition400("conditions are not JSON")},
	{"JSON NUL", wire{body: `{"key":"K\u0000"}`}, 400, bad("malformed JSON: NUL")},
	{"JSON lone surrogate", wire{body: `{"key":"\ud800"}`}, 400, bad("malformed JSON: not strict JSON")},
	{"JSON trailing", wire{body: `{"key":"K"}{"role":"it"}`}, 400, bad("malformed JSON: not strict JSON")},
	{"JSON depth bomb", wire{body: `{"key":"K","conditions":` + strings.Repeat(`[`, 30_000) + `}`}, 400,
		bad("malformed JSON: not strict JSON")},
	{"JSON no object", wire{headers: []string{"Content-Type", "application/json"}, body: `["K"]`}, 400,
		bad("the body is a JSON object")},
	{"JSON called a form", wire{headers: []string{"Content-Type", formType}, body: `{"key":"K"}`}, 401, noAccess},

	{"too large", wire{body: `key=K&x=` + strings.Repeat("x", 64<<10)}, 413, reply("tooLarge", "")},
	{"query too large", wire{target: `?x=` + strings.Repeat("x", 64<<10), body: `key=K`}, 413, reply("tooLarge", "")},
	{"multipart", wire{headers: []string{"Content-Type", "multipart/form-data; boundary=x"}, body: "--x--"}, 415,
		reply("unsupportedMediaType", "")},
	{"text", wire{headers: []string{"Content-Type", "text/plain"}, body: "key=K"}, 415, reply("unsupportedMediaType", "")},
	{"another charset", wire{headers: []string{"Content-Type", formType + ";charset=utf-16"}, body: "key=K"}, 415,
		reply("unsupportedMediaType", "")},
	{"compressed", wire{headers: []string{"Content-Encoding", "gzip"}, body: "key=K"}, 415,
		reply("unsupportedMediaType", "")},
	{"two types", wire{headers: []string{"Content-Type", formType, "Content-Type", formType}, body: "key=K"}, 400,
		reply("noAccess", "")},
}

func TestRefusedRequests(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readRequest(tt.request(), false)
			require.Error(t, err)
			w := httptest.NewRecorder()
			WriteError(w, nil, err)
			require.Equal(t, tt.want, w.Body.String())
			require.Equal(t, tt.status, w.Code)
		})
	}
}
