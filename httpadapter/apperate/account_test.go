package apperate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestUsage(t *testing.T) {
	w := newFixture(t, nil)
	second := w.publishable(nil)
	for range 3 {
		w.ok(w.get(quote, w.pk))
	}
	w.ok(w.get("/v1/data/CORE/QUOTE/AAPL", second))
	w.ok(w.get("/v1/stock/aapl/company", w.sk))
	w.ok(w.get(carsPath, w.pk))
	w.requireFault(Denied, w.get("/v1/data/ACME/VANS", w.pk))
	w.advance(48 * 3600 * 1e9)
	w.ok(w.get(quote, second))

	flat := fmt.Sprintf(`{"monthlyUsage":6,"monthlyPayAsYouGo":0,"dailyUsage":{"20261122":5,"20261124":1},`+
		`"tokenUsage":{%q:3,%q:2,%q:1},"keyUsage":{"STOCK_QUOTE":4,"CORE_QUOTE":1,"STOCK_COMPANY":1,"ACME_CARS":0}}`,
		w.pk, second, w.ids[w.sk])
	for _, kind := range []string{"messages", "credits"} {
		out := w.get("/v1/account/usage/"+kind, w.sk)
		w.ok(out)
		require.JSONEq(t, flat, out.Body.String())
		require.NotContains(t, out.Body.String(), w.sk)
	}
	out := w.get("/v1/account/usage", w.sk)
	w.ok(out)
	require.JSONEq(t, strings.TrimSuffix(flat, "}")+`,"messages":`+flat+`,"credits":`+flat+
		`,"rules":[]}`, out.Body.String())
	out = w.get("/v1/account/usage/alert-records", w.sk)
	w.ok(out)
	require.Equal(t, "[]", out.Body.String())

	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Limits.Quotas = budget(1000 * latchkey.Credit)
		return nil
	}))
	out = w.get("/v1/account/metadata/", w.sk)
	w.ok(out)
	require.JSONEq(t, `{"payAsYouGoEnabled":false,"effectiveDate":1793491200000,"endDateEffective":null,
		"subscriptionTermType":"monthly","tierName":"start","messageLimit":1000,"messagesUsed":6,"circuitBreaker":null}`,
		out.Body.String())
	before := w.served.Load()
	w.ok(w.send(request("POST", withToken("/v1/account/messagebudget?totalMessages=5", w.sk), "[object Object]")))
	require.Equal(t, before+1, w.served.Load(), "what the gateway does not know the host may")
}

func TestSigningSecret(t *testing.T) {
	w := newFixture(t, nil)
	foreignSpec, err := PublishableSpec("page", Grant{})
	require.NoError(t, err)
	foreign := w.issue(w.other, foreignSpec)
	ask := func(token, toSign string) string {
		return fmt.Sprintf(`{"token":%q,"tokenToSign":%q}`, token, toSign)
	}
	out := w.send(request("POST", "/v1/account/signed", ask(w.sk, w.signedPK), "Content-Type", "application/json"))
	w.ok(out)
	var got map[string]string
	require.NoError(t, json.Unmarshal(out.Body.Bytes(), &got))
	require.Equal(t, map[string]string{"signedToken": w.signedPK, "secret": w.signingKey(w.signedPK)}, got)
	w.ok(w.send(sign("GET", carsPath, "token="+w.signedPK, "example.com", "", w.signedPK, got["secret"], w.now())))
	out = w.send(request("POST", withToken("/v1/account/signed", w.sk), fmt.Sprintf(`{"tokenToSign":%q}`, w.pk)))
	w.ok(out)
	require.NotContains(t, out.Body.String(), got["secret"], "each token has its own")

	absent := "pk_" + strings.Repeat("0", 40)
	for name, body := range map[string]string{
		"a token that is not there":  ask(w.sk, absent),
		"another owner's":            ask(w.sk, foreign),
		"a secret token":             ask(w.sk, w.sk),
		"an API key":                 ask(w.sk, w.ak),
		"no token":                   ask(w.sk, ""),
		"a text of a few characters": ask(w.sk, "pk_"),
		"a text that is too long":    ask(w.sk, w.pk+strings.Repeat("0", 512)),
		"a text with a space":        ask(w.sk, w.pk[:9]+" "+w.pk[9:]),
		"a token's begin and end":    ask(w.sk, w.pk[:5]+"…"+w.pk[len(w.pk)-3:]),
		"a member that nobody knows": strings.Replace(ask(w.sk, w.pk), "{", `{"x":1,`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			w.requireFault(BadRequest, w.send(request("POST", "/v1/account/signed", body)))
		})
	}
	w.requireFault(SecretRequired, w.send(request("POST", "/v1/account/signed", ask(w.pk, w.pk))))
	w.requireFault(SignatureRequired, w.send(request("POST", "/v1/account/signed", ask(w.signedPK, w.signedPK))))
	w.requireFault(NoKey, w.send(request("POST", "/v1/account/signed", `{"tokenToSign":"`+w.pk+`"}`)))
	events := 0
	for e, err := range w.acme.Events(t.Context(), latchkey.EventQuery{}) {
		require.NoError(t, err)
		if e.Action == "token.signing-secret" && e.Actor == w.ids[w.sk] {
			events++
		}
	}
	require.Equal(t, 2, events, "whoever saw a secret stands in the audit trail")
	for _, n := range []int{20, 512} { // what is shown of a shorter text tells it from no other
		text := "pk_old~" + strings.Repeat("0", n-len("pk_old~"))
		_, err := w.acme.Import(t.Context(), foreignSpec, text)
		require.NoError(t, err)
		w.ok(w.send(request("POST", "/v1/account/signed", ask(w.sk, text))))
	}
}
