package clients

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
)

// What follows is done with IEX Cloud's own npm clients, @apperate/iexjs 0.10.0 and node-iex-cloud 2.1.1, as they were
// published, unless a line says that the request is made by hand. Neither signs requests nor sends a Referer.

// iexClient is both clients in a Node process of its own.
type iexClient struct {
	s     *harness.Server
	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
}

func startIEX(s *harness.Server) *iexClient {
	s.T.Helper()
	clients := harness.Path(s.T, "clients")
	for _, name := range []string{"@apperate/iexjs", "node-iex-cloud"} {
		text, err := os.ReadFile(filepath.Join(clients, "node_modules", name, "package.json"))
		require.NoError(s.T, err, "the npm packages are missing: run `make install`")
		var p struct{ Version string }
		require.NoError(s.T, json.Unmarshal(text, &p))
		require.Equal(s.T, map[string]string{"@apperate/iexjs": "0.10.0", "node-iex-cloud": "2.1.1"}[name], p.Version)
	}
	cmd := exec.Command("node", "iex.js")
	cmd.Dir = clients
	cmd.Env = append(os.Environ(), "BASE="+s.Base+"/v1/")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.T, err)
	out, err := cmd.StdoutPipe()
	require.NoError(s.T, err)
	require.NoError(s.T, cmd.Start())
	s.T.Cleanup(func() { // before the server is stopped: the end of its input ends the client
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &iexClient{s: s, in: in, lines: lines}
}

func (c *iexClient) call(client, token, call string, args ...any) harness.Result {
	c.s.T.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	line, err := json.Marshal(obj{"client": client, "token": token, "call": call, "args": append([]any{}, args...)})
	require.NoError(c.s.T, err)
	_, err = c.in.Write(append(line, '\n'))
	require.NoError(c.s.T, err)
	require.True(c.s.T, c.lines.Scan(), "the client ended")
	var r harness.Result
	require.NoError(c.s.T, json.Unmarshal(c.lines.Bytes(), &r), c.lines.Text())
	return r
}

// ok makes a call of iexjs that must succeed, and decodes what it resolved.
func (c *iexClient) ok(into any, token, call string, args ...any) {
	c.s.T.Helper()
	c.resolved(into, c.call("iexjs", token, call, args...))
}

func (c *iexClient) resolved(into any, r harness.Result) {
	c.s.T.Helper()
	require.Empty(c.s.T, string(r.Rejected), "the client rejected")
	require.False(c.s.T, r.Undefined, "the client resolved undefined")
	require.NoError(c.s.T, json.Unmarshal(r.OK, into), string(r.OK))
}

// rejected makes a call of iexjs that must be rejected so: "Response <status> - <body>".
func (c *iexClient) rejected(status int, body, token, call string, args ...any) {
	c.s.T.Helper()
	r := c.call("iexjs", token, call, args...)
	var got string
	require.NotEmpty(c.s.T, r.Rejected, "the client resolved %s", r.OK)
	require.NoError(c.s.T, json.Unmarshal(r.Rejected, &got))
	require.Equal(c.s.T, fmt.Sprintf("Response %d - %s", status, body), got)
}

// penguin is a bird as a record: numbers are numbers, and what is not known is null.
func penguinRecord(t *testing.T, b harness.Penguin) obj {
	record := obj{}
	for name, text := range b {
		record[name] = text
		if text == "" {
			record[name] = nil
		} else if n, err := strconv.ParseFloat(text, 64); err == nil {
			record[name] = n
		}
	}
	require.Len(t, record, 8)
	return record
}

func set(id string, more ...any) obj {
	o := obj{"workspace": "ACME", "id": id}
	for i := 0; i+1 < len(more); i += 2 {
		o[more[i].(string)] = more[i+1]
	}
	return o
}

func TestApperateClientsRead(t *testing.T) {
	s := harness.StartServer(t)
	iex := startIEX(s)
	pk, sk := s.Credentials.Publishable, s.Credentials.Secret
	var want []obj
	for _, b := range harness.Penguins(t) {
		want = append(want, penguinRecord(t, b))
	}
	for _, token := range []string{pk, sk} {
		var got []obj
		iex.ok(&got, token, "apperate.queryData", set("PENGUINS"))
		require.Equal(t, want, got)
		iex.ok(&got, token, "apperate.queryData", set("PENGUINS", "key", "4"))
		require.Equal(t, want[3:4], got)
		iex.ok(&got, token, "apperate.queryData", obj{"workspace": "acme", "id": "penguins", "key": "7,2"})
		require.Equal(t, []obj{want[1], want[6]}, got)
		iex.ok(&got, token, "apperate.queryData", set("PENGUINS", "key", "99999"))
		require.NotNil(t, got)
		require.Empty(t, got)
		iex.ok(&got, token, "apperate.queryData", set("PENGUINS", "limit", 3))
		require.Equal(t, want[:3], got)
	}

	// Core data, by both clients and in both forms.
	var quote obj
	iex.ok(&quote, pk, "quote", obj{"symbol": "aapl"}) // its base and path make "//"
	var again obj
	iex.resolved(&again, iex.call("node-iex-cloud", pk, "quote", "aapl")) // "quote/?token=…"
	require.Equal(t, quote, again)
	require.Equal(t, "AAPL", quote["symbol"])
	var price float64
	iex.resolved(&price, iex.call("node-iex-cloud", pk, "quote", "aapl", "latestPrice"))
	require.Equal(t, quote["latestPrice"], price)
	iex.resolved(&price, iex.call("node-iex-cloud", pk, "price", "AAPL"))
	require.Equal(t, quote["latestPrice"], price)
	var list []obj
	iex.ok(&list, pk, "apperate.queryData", obj{"workspace": "CORE", "id": "QUOTE", "key": "AAPL"})
	require.Equal(t, []obj{quote}, list)
	iex.ok(&list, pk, "apperate.queryData", obj{"workspace": "core", "id": "quote", "key": "msft,nope"})
	require.Len(t, list, 1)
	iex.resolved(&list, iex.call("node-iex-cloud", pk, "symbols"))
	require.Len(t, list, 2)
	iex.rejected(404, "Unknown symbol", pk, "quote", obj{"symbol": "nope"})
	iex.rejected(404, "Not Found", pk, "apperate.queryData", obj{"workspace": "CORE", "id": "NOPE", "key": "x"})
	require.JSONEq(t, `"Unknown symbol"`, string(iex.call("node-iex-cloud", pk, "quote", "nope").Rejected))
	var status obj
	iex.ok(&status, pk, "status")
	require.Equal(t, "up", status["status"])
}

func TestApperateClientsWrite(t *testing.T) {
	s := harness.StartServer(t)
	iex := startIEX(s)
	pk, sk := s.Credentials.Publishable, s.Credentials.Secret
	islands := func(key ...any) (list []obj) {
		t.Helper()
		if len(key) > 0 {
			key = []any{"key", key[0]}
		}
		iex.ok(&list, sk, "apperate.queryData", set("ISLANDS", key...))
		return list
	}
	require.Len(t, islands(), 3)
	var done struct {
		Success bool
		Message string
	}
	iex.ok(&done, sk, "apperate.write", set("ISLANDS", "data", []obj{
		{"id": 7, "name": "Anvers", "latitude": -64.5, "longitude": -63.5}, {"id": 3, "name": "Dream", "latitude": -64.0},
		{"name": "Litchfield"},
	}, "duplicateKeyHandling", "replace", "wait", true))
	require.True(t, done.Success)
	require.Equal(t, "wrote 3 messages", done.Message)
	require.Equal(t, []obj{{"id": 7.0, "name": "Anvers", "latitude": -64.5, "longitude": -63.5}}, islands("7"))
	require.Equal(t, []obj{{"id": 3.0, "name": "Dream", "latitude": -64.0, "longitude": nil}}, islands("3"))
	require.Equal(t, []obj{{"id": 8.0, "name": "Litchfield", "latitude": nil, "longitude": nil}}, islands("8"))

	// All of a batch or nothing.
	for name, data := range map[string]any{
		"an unknown field":     []obj{{"id": 20}, {"id": 21, "height": 1}},
		"text for a number":    []obj{{"id": 20, "latitude": "north"}},
		"a key that is a text": []obj{{"id": "20"}},
		"a key that is no id":  []obj{{"id": 20.5}},
		"a list for a value":   []obj{{"id": 20, "name": []int{1}}},
		"a record of nothing":  []obj{{"id": 20}, nil},
		"nothing":              []obj{},
	} {
		r := iex.call("iexjs", sk, "apperate.write", set("ISLANDS", "data", data))
		require.Contains(t, string(r.Rejected), "Response 400 - ", name)
	}
	require.Len(t, islands(), 5)
	iex.ok(&done, sk, "apperate.deleteData", set("ISLANDS", "key", "7"))
	require.Equal(t, "deleted 1 messages", done.Message)
	require.Empty(t, islands("7"))

	bird := obj{"id": 345, "species": "Gentoo", "island": "Biscoe", "body_mass_g": 5000}
	iex.ok(&done, sk, "apperate.write", set("PENGUINS", "data", []obj{bird, {"id": 1, "species": "Adelie"}}))
	var got []obj
	iex.ok(&got, pk, "apperate.queryData", set("PENGUINS", "key", "1,345"))
	require.Len(t, got, 2)
	require.Equal(t, obj{"id": 1.0, "species": "Adelie", "island": nil, "beak_length_mm": nil, "beak_depth_mm": nil,
		"flipper_length_mm": nil, "body_mass_g": nil, "sex": nil}, got[0])
	require.EqualValues(t, 5000, got[1]["body_mass_g"])

	// The publishable token may read the penguins, nothing else.
	iex.rejected(403, "Forbidden", pk, "apperate.write", set("PENGUINS", "data", []obj{bird}))
	iex.rejected(403, "Forbidden", pk, "apperate.deleteData", set("PENGUINS", "key", "1"))
	iex.rejected(403, "Forbidden", pk, "apperate.queryData", set("ISLANDS"))
	iex.rejected(403, "Forbidden", pk, "apperate.queryData", set("PENGUINS,ISLANDS", "key", "1"))
	iex.rejected(403, "Forbidden", pk, "apperate.queryDatasets", obj{"workspace": "ACME"})
	iex.rejected(401, harness.IEXSecretOnly, pk, "apperate.registerDataset", obj{"workspace": "ACME", "data": "{}"})
	iex.rejected(401, harness.IEXSecretOnly, pk, "apperate.deleteDataset", set("PENGUINS"))
	iex.rejected(401, harness.IEXSecretOnly, pk, "apperate.getDataJob", set("x", "type", "ingest"))
	iex.rejected(403, "Forbidden", pk, "timeSeries", obj{"id": "PREMIUM_BRAIN_SENTIMENT_30_DAYS", "key": "AAPL"})

	// A batch of two data sets, for who may read both.
	iex.ok(&got, sk, "apperate.queryData", set("PENGUINS,ISLANDS", "key", "1"))
	require.Len(t, got, 2)
	iex.ok(&got, sk, "apperate.queryDatasets", obj{"workspace": "acme"})
	require.Len(t, got, 2)
}

func TestApperateClientsTellRefusalsApart(t *testing.T) {
	s := harness.StartServer(t)
	iex := startIEX(s)
	account := s.Account()

	issue := func(change func(*latchkey.Spec)) (string, string) {
		spec, err := apperate.PublishableSpec("e2e", apperate.Grant{
			Datasets: []apperate.DatasetGrant{{Workspace: "acme", ID: "penguins", Read: true}}})
		require.NoError(t, err)
		if change != nil {
			change(&spec)
		}
		token, secret, err := account.Issue(t.Context(), spec)
		require.NoError(t, err)
		return token.ID, secret.Reveal()
	}
	read := func(status int, body, token string) {
		t.Helper()
		iex.rejected(status, body, token, "apperate.queryData", set("PENGUINS", "key", "1"))
	}
	read(403, harness.IEXInvalidKey, "pk_0123456789abcdef0123456789abcdef")
	read(403, harness.IEXInvalidKey, s.Credentials.APIKey)
	read(403, harness.IEXInvalidKey, s.Credentials.Session)
	require.Equal(t, 401, s.Get("/v1/data/ACME/PENGUINS").Status) // by hand: iexjs insists on a token
	require.Equal(t, harness.IEXNoKey, s.Get("/v1/data/ACME/PENGUINS").Body)

	var got []obj
	id, token := issue(nil)
	iex.ok(&got, token, "apperate.queryData", set("PENGUINS", "key", "1"))
	_, err := account.Update(t.Context(), id, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	require.NoError(t, err)
	read(403, "The provided API token has been disabled", token)
	_, err = account.Update(t.Context(), id, func(t *latchkey.Token) error {
		t.Disabled, t.Permissions = false, nil
		return nil
	})
	require.NoError(t, err)
	read(403, "Forbidden", token)
	require.NoError(t, account.Revoke(t.Context(), id, "e2e"))
	read(403, harness.IEXInvalidKey, token)

	_, token = issue(func(spec *latchkey.Spec) { spec.Restrictions.Domains = []string{"www.example.com"} })
	read(401, harness.IEXReferer, token)
	path := "/v1/data/ACME/PENGUINS/1?token=" + token
	require.Equal(t, 200, s.Get(path, "Referer", "https://www.example.com/page").Status) // by hand
	require.Equal(t, 401, s.Get(path, "Referer", "https://www.example.com.evil.com/").Status)

	_, token = issue(func(spec *latchkey.Spec) { spec.Test = true })
	r := s.Get("/v1/data/ACME/PENGUINS?token=" + token) // by hand: iexjs would dial the sandbox
	require.Equal(t, 403, r.Status)
	require.Equal(t, "Test tokens may only be used in the sandbox environment. Please use https://sandbox.iexapis.com",
		r.Body)
	require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))

	_, token = issue(func(spec *latchkey.Spec) { spec.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Hour} })
	iex.ok(&got, token, "apperate.queryData", set("PENGUINS", "key", "1"))
	read(429, "Too many requests", token)
}

func TestApperateCredits(t *testing.T) {
	harness.BeforeMidnight(t)
	s := harness.StartServer(t)
	iex := startIEX(s)
	account := s.Account()
	spec, err := apperate.PublishableSpec("limited", apperate.Grant{})
	require.NoError(t, err)
	spec.Limits.Quotas = world.Monthly(50 * latchkey.Credit)
	_, secret, err := account.Issue(t.Context(), spec)
	require.NoError(t, err)
	limited := secret.Reveal()

	// By hand, many at once: exactly as many pass as the limit lets.
	codes := make(chan int, 200)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 3 {
				r, err := http.Get(s.Base + "/v1/stock/aapl/quote?token=" + limited)
				if err != nil {
					codes <- 0
					continue
				}
				r.Body.Close()
				if r.StatusCode == 200 && r.Header.Get("iexcloud-messages-used") != "1" {
					codes <- -1
					continue
				}
				codes <- r.StatusCode
			}
		})
	}
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	require.Equal(t, map[int]int{200: 50, 402: 142}, count)
	iex.rejected(402, harness.IEXOverLimit, limited, "quote", obj{"symbol": "aapl"})
	require.JSONEq(t, `"`+harness.IEXOverLimit+`"`, string(iex.call("node-iex-cloud", limited, "quote", "aapl").Rejected))
	var quote obj
	iex.ok(&quote, s.Credentials.Publishable, "quote", obj{"symbol": "aapl"}) // others go on

	var use struct {
		MonthlyUsage int
		DailyUsage   map[string]int
		TokenUsage   map[string]int
		KeyUsage     map[string]int
		Messages     struct{ MonthlyUsage int }
		Rules        []any
	}
	iex.ok(&use, s.Credentials.Secret, "usage")
	require.Equal(t, 51, use.MonthlyUsage)
	require.Equal(t, 51, use.Messages.MonthlyUsage)
	require.Equal(t, map[string]int{limited: 50, s.Credentials.Publishable: 1}, use.TokenUsage)
	require.Equal(t, map[string]int{"STOCK_QUOTE": 51}, use.KeyUsage)
	require.Equal(t, 51, use.DailyUsage[time.Now().UTC().Format("20060102")])
	require.NotNil(t, use.Rules)
	iex.ok(&use, s.Credentials.Secret, "usage", "messages")
	require.Equal(t, 51, use.MonthlyUsage)
	var plan struct {
		MessagesUsed         int
		SubscriptionTermType string
	}
	iex.ok(&plan, s.Credentials.Secret, "metadata")
	require.Equal(t, 51, plan.MessagesUsed)
	require.Equal(t, "monthly", plan.SubscriptionTermType)

	s.Stop() // what was counted is written
	s = harness.StartServerOn(t, s.DB)
	startIEX(s).ok(&use, s.Credentials.Secret, "usage")
	require.Equal(t, 51, use.MonthlyUsage)
	require.Equal(t, 402, s.Get("/v1/stock/aapl/quote?token="+limited).Status)
}

// Every account call of iexjs. Its payAsYouGo never gets as far as a request, for it takes its argument for a token.
func TestApperateAccountCalls(t *testing.T) {
	harness.BeforeMidnight(t)
	s := harness.StartServer(t)
	iex := startIEX(s)
	pk, sk := s.Credentials.Publishable, s.Credentials.Secret
	var got obj
	iex.ok(&got, sk, "messageBudget", 2)
	require.Equal(t, obj{"totalMessages": 2.0}, got)
	iex.ok(&got, sk, "metadata")
	require.EqualValues(t, 2, got["messageLimit"])
	for range 2 {
		iex.ok(&got, pk, "quote", obj{"symbol": "aapl"})
	}
	iex.rejected(402, harness.IEXOverLimit, pk, "quote", obj{"symbol": "aapl"})
	iex.ok(&got, sk, "messageBudget", 3)
	iex.ok(&got, pk, "quote", obj{"symbol": "aapl"})
	for _, wrong := range []any{-1, 1.5, "many", "18446744073709551616"} {
		require.Contains(t, string(iex.call("iexjs", sk, "messageBudget", wrong).Rejected), "Response 400 - ", wrong)
	}
	iex.ok(&got, sk, "metadata")
	require.EqualValues(t, 3, got["messageLimit"])
	iex.ok(&got, sk, "messageBudget", 0) // nothing, and not no limit
	iex.rejected(402, harness.IEXOverLimit, pk, "quote", obj{"symbol": "aapl"})
	iex.ok(&got, sk, "messageBudget", 3)
	require.Equal(t, false, got["payAsYouGoEnabled"])
	iex.ok(&got, sk, "usage")
	for _, kind := range []string{"messages", "rules", "rule-records", "alerts", "alert-records"} {
		var any json.RawMessage
		iex.ok(&any, sk, "usage", kind)
	}
	iex.ok(&got, sk, "status")
	require.NotEmpty(t, iex.call("iexjs", sk, "payAsYouGo", true).Rejected)

	// By hand: what the client means, and what another one sends.
	post := func(path, body string) harness.Reply {
		return s.Do("POST", "/v1/account/"+path, "application/json", body)
	}
	for _, allow := range []bool{false, true} {
		status := map[bool]int{false: 200, true: 403}[allow]
		require.Equal(t, status, post(fmt.Sprintf("messagebudget?allow=%t&token=%s", allow, sk), "[object Object]").Status)
		require.Equal(t, status, post("payasyougo", fmt.Sprintf(`{"token":%q,"allow":%t}`, sk, allow)).Status)
	}
	require.Equal(t, 400, post("payasyougo?token="+sk, "").Status)
	require.Equal(t, harness.IEXSecretOnly, post("messagebudget?totalMessages=9&token="+pk, "").Body)
	require.Equal(t, harness.IEXSecretOnly, post("payasyougo?allow=false&token="+pk, "").Body)
}

// No published client of npm signs. This is the product's sample, written once more: by hand.
func TestApperateSignedRequests(t *testing.T) {
	s := harness.StartServer(t)
	account := s.Account()
	spec, err := apperate.PublishableSpec("signed", apperate.Grant{})
	require.NoError(t, err)
	spec.Restrictions.Signed = true
	_, secret, err := account.Issue(context.Background(), spec)
	require.NoError(t, err)
	token := secret.Reveal()

	r := s.Do("POST", "/v1/account/signed", "application/json",
		fmt.Sprintf(`{"token":%q,"tokenToSign":%q}`, s.Credentials.Secret, token))
	require.Equal(t, 200, r.Status, r.Body)
	var signed struct{ SignedToken, Secret string }
	r.JSON(t, &signed)
	require.Equal(t, token, signed.SignedToken)
	s.Hide(signed.Secret)

	mac := func(key, text string) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	get := func(path, host, key string, at time.Time) harness.Reply {
		date := at.UTC().Format("20060102T150405Z")
		empty := sha256.Sum256(nil)
		canonical := sha256.Sum256([]byte(strings.Join([]string{"GET", path, "token=" + token, "host:" + host,
			"x-iex-date:" + date, "", "host;x-iex-date", hex.EncodeToString(empty[:])}, "\n")))
		text := strings.Join([]string{"IEX-HMAC-SHA256", date, date[:8] + "/iex_request",
			hex.EncodeToString(canonical[:])}, "\n")
		return s.Get(path+"?token="+token, "x-iex-date", date, "Authorization",
			"IEX-HMAC-SHA256 Credential="+token+"/"+date[:8]+
				"/iex_request, SignedHeaders=host;x-iex-date, Signature="+mac(mac(mac(key, date[:8]), "iex_request"), text))
	}
	const quote = "/v1/stock/aapl/quote"
	now := time.Now()
	require.Equal(t, 200, get(quote, "127.0.0.1:"+s.Port, signed.Secret, now).Status)
	r = get(quote, "127.0.0.1:"+s.Port, signed.Secret, now)
	require.Equal(t, 403, r.Status, "again")
	require.Equal(t, "Hashed authorization is invalid", r.Body)
	require.Equal(t, 200, get(quote, "127.0.0.1", signed.Secret, now).Status, "the name without the port")
	require.Equal(t, 200, get("/v1//stock/aapl//quote/", "127.0.0.1", signed.Secret, now).Status,
		"the path as it was sent")
	require.Equal(t, 403, get(quote, "127.0.0.1", s.Credentials.Secret, now.Add(time.Second)).Status)
	require.Equal(t, 403, get(quote, "127.0.0.1", signed.Secret, now.Add(-16*time.Minute)).Status)
	r = s.Get(quote + "?token=" + token)
	require.Equal(t, 401, r.Status)
	require.Equal(t, "Hashed authorization is required", r.Body)

	// What one process has seen, the next one on the same file has too.
	s.Kill()
	s = harness.StartServerOn(t, s.DB)
	require.Equal(t, 403, get(quote, "127.0.0.1", signed.Secret, now).Status)
	require.Equal(t, 200, get(quote, "127.0.0.1", signed.Secret, now.Add(time.Second)).Status)
}
