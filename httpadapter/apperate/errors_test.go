package apperate

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func TestErrors(t *testing.T) {
	w := newFixture(t, nil)
	w.requireFault(TestInProduction, w.get(carsPath, w.tpk))
	w.requireFault(TestInProduction, w.get(carsPath, "Tsk_00112233445566778899aabbccddeeff"))
	w.requireFault(InvalidKey, w.get(carsPath, "pk_00112233445566778899aabbccddeeff"))
	w.requireFault(InvalidKey, w.get(carsPath, w.pk+"x"))
	w.requireFault(InvalidKey, w.get(carsPath, "nonsense"))
	w.requireFault(InvalidKey, w.get(carsPath, w.ak)) // valid elsewhere; the product has no such kind
	w.requireFault(InvalidKey, w.get(carsPath, strings.Repeat("x", 2000)))
	w.requireFault(InvalidKey, w.get(carsPath, w.issue(w.other, latchkey.Spec{Kind: latchkey.KindSecret})))

	w.update(w.pk, func(t *latchkey.Token) {
		t.Restrictions.Domains = []string{"www.example.com", "https://*.example.org/app"}
	})
	for referer, ok := range map[string]bool{
		"https://www.example.com/x": true, "http://a.example.org/app/1": false, "https://a.example.org/app/1": true,
		"": false, "https://www.example.com.evil.com/": false, "https://www.example.com@evil.com/": false,
		"https://evil.com/?https://www.example.com/": false, "null": false, "https://example.com/": false,
	} {
		headers := []string{"Origin", "https://evil.com"} // which the product never checked
		if referer != "" {
			headers = append(headers, "Referer", referer)
		}
		out := w.get(carsPath, w.pk, headers...)
		if ok {
			w.ok(out)
		} else {
			w.requireFault(RefererDenied, out)
		}
	}
	w.ok(w.get(carsPath, w.sk)) // the list is that of the publishable token

	w.update(w.sk, func(t *latchkey.Token) { t.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Minute} })
	w.ok(w.get(carsPath, w.sk))
	out := w.get(carsPath, w.sk)
	w.requireFault(RateLimited, out)
	require.Equal(t, "60", out.Header().Get("Retry-After"))

	w.store.down = latchkey.ErrUnavailable
	w.requireFault(Unavailable, w.get(carsPath, w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret})))
	for _, err := range w.errs {
		for text := range w.ids {
			require.NotContains(t, err.Error(), text)
		}
	}
}

// Each row removes one more fault, in the order in which they are checked.
func TestPrecedence(t *testing.T) {
	w := newFixture(t, &Options{AddressRate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 19}})
	spec, err := PublishableSpec("all wrong", Grant{Datasets: []DatasetGrant{{Workspace: "ACME", ID: "CARS", Read: true}}})
	require.NoError(t, err)
	spec.Disabled, spec.Restrictions.Signed, spec.Restrictions.Domains = true, true, []string{"example.com"}
	spec.Limits.Quotas, spec.Limits.Rate = budget(1), latchkey.Rate{Count: 1, Per: 24 * time.Hour}
	pk := w.issue(w.acme, spec)
	key := ""
	disable := func(off bool) {
		require.NoError(t, w.acme.Configure(context.Background(), func(o *latchkey.Owner) error {
			o.Disabled = off
			return nil
		}))
	}
	disable(true)
	path, token, referer := "/v1/time-series/PREMIUM_X", "", ""
	second := 0
	send := func() *http.Request {
		second++
		query := ""
		if token != "" {
			query = "token=" + token
		}
		if key == "" {
			return request("GET", path+"?"+query, "", "Referer", referer)
		}
		r := sign("GET", path, query, "example.com", "", token, key, w.now().Add(time.Duration(second)*time.Second))
		r.Header.Set("Referer", referer)
		return r
	}
	for range 20 { // use up the address rate
		w.send(request("GET", "/v1/stock?token="+w.ak, ""))
	}
	for _, row := range []struct {
		want Fault
		mend func()
	}{
		{RateLimited, func() { w.advance(48 * time.Hour) }},
		{NoKey, func() { token = "Tpk_nonsense" }},
		{TestInProduction, func() { token = "pk_nonsense" }},
		{InvalidKey, func() { token = pk }},
		{Inactive, func() { disable(false) }},
		{DisabledKey, func() { w.update(pk, func(t *latchkey.Token) { t.Disabled = false }) }},
		{SignatureRequired, func() { key = "wrong" }},
		{SignatureInvalid, func() { key = w.signingKey(pk) }},
		{RefererDenied, func() {
			referer = "https://example.com/"
			w.requireFault(PremiumDenied, w.send(send())) // that was the only request of the day
		}},
		{RateLimited, func() {
			w.update(pk, func(t *latchkey.Token) { t.Limits.Rate = latchkey.Rate{} })
		}},
		{PremiumDenied, func() { path = "/v1/data/ACME/VANS" }},
		{Denied, func() { path = "/v1/account/usage" }},
		{SecretRequired, func() { path = "/v1/stock/aapl/quote" }},
		{OverLimit, func() { w.update(pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(latchkey.Credit) }) }},
	} {
		w.requireFault(row.want, w.send(send()))
		row.mend()
	}
	w.ok(w.send(send()))
}

func TestRepliesCanBeReplaced(t *testing.T) {
	w := newFixture(t, &Options{Replies: map[Fault]Reply{PremiumDenied: {451, "Enterprise Permission Required"}}})
	out := w.get("/v1/time-series/PREMIUM_X", w.pk)
	require.Equal(t, 451, out.Code)
	require.Equal(t, "Enterprise Permission Required", out.Body.String())
	w.requireFault(Denied, w.get("/v1/data/ACME/VANS", w.pk))

	// Retry-After is of a reply that says when to come back, and of a cause that ends by itself.
	var log bytes.Buffer
	w = newFixture(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Replies: map[Fault]Reply{Denied: {429, "Forbidden"}, Unavailable: {500, "Down"}}})
	out = w.get("/v1/data/ACME/VANS", w.pk)
	require.Equal(t, 429, out.Code)
	require.NotContains(t, out.Header(), "Retry-After")
	require.Empty(t, log.String(), "a refusal is no trouble of ours")
	w.store.down = latchkey.ErrUnavailable
	out = w.get(carsPath, w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret}))
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Header(), "Retry-After")
	require.Contains(t, log.String(), "request failed")
}

func TestHandlersErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Fault
	}{
		{ErrUnknownSymbol, UnknownSymbol}, {latchkey.ErrNotFound, NotFound}, {latchkey.ErrConflict, BadRequest},
		{latchkey.ErrInvalid, BadRequest}, {&latchkey.DeniedError{}, Denied}, {latchkey.ErrUnavailable, Unavailable},
		{errors.Join(latchkey.ErrNotFound, latchkey.ErrUnavailable), Unavailable}, {latchkey.ErrUnknownOutcome, Unavailable},
		{fault(Denied, latchkey.ErrUnavailable), Unavailable}, {httpadapter.ErrTooLarge, TooLarge},
		{latchkey.ErrOverLimit, OverLimit}, {errors.New("<script>secret</script>"), Internal}, {nil, Internal},
	} {
		w := newFixture(t, nil)
		w.answer = func(rw http.ResponseWriter, r *http.Request, _ *Call) { WriteError(rw, r, c.err) }
		w.requireFault(c.want, w.get("/v1/stock/aapl/quote", w.pk))
	}
	require.Equal(t, 404, httpadapter.ProblemOf(ErrUnknownSymbol).Status, "a host's log takes it for no trouble")
}
