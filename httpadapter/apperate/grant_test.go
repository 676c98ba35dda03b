package apperate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestGrants(t *testing.T) {
	p, err := Grant{}.Permissions()
	require.NoError(t, err)
	require.True(t, p.Allows(latchkey.Read, "core/QUOTE"))
	require.False(t, p.Allows(latchkey.Create, "core/QUOTE"))
	require.False(t, p.Allows(latchkey.Read, "premium/X"))
	require.False(t, p.Allows(latchkey.Read, "dataset/ACME/CARS"))

	p, err = Grant{NoCore: true, Premium: true, Datasets: []DatasetGrant{
		{Workspace: "acme", ID: "cars", Write: true}, {Workspace: "acme", ID: "vans", Delete: true},
		{Workspace: "all", ID: "*", Read: true}, {Workspace: "acme", ID: "none"},
	}}.Permissions()
	require.NoError(t, err)
	declared := &latchkey.Catalogue{Resources: ResourceTypes()}
	usual, err := Grant{}.Permissions()
	require.NoError(t, err)
	require.NoError(t, declared.CheckRules(append(usual, p...)))
	require.ErrorIs(t, declared.CheckRules(latchkey.Permissions{latchkey.Allow(latchkey.Create).On("core/*")}),
		latchkey.ErrInvalid)
	for what, want := range map[string]bool{
		"read core/QUOTE": false, "read premium/X": true,
		"create dataset/ACME/CARS": true, "update dataset/ACME/CARS": true, "read dataset/ACME/CARS": false,
		"delete dataset/ACME/CARS": false, "delete dataset/ACME/VANS": true, "update dataset/ACME/VANS": false,
		"read dataset/ALL/X": true, "read dataset/ALL/%2A": true, "read dataset/ALLY/X": false,
		"read dataset/ACME/NONE": false,
	} {
		action, on, _ := strings.Cut(what, " ")
		require.Equal(t, want, p.Allows(latchkey.Action(action), latchkey.Resource(on)), what)
	}
	long := strings.Repeat("x", maxID)
	_, err = PublishableSpec("x", Grant{Datasets: []DatasetGrant{{Workspace: long, ID: long, Read: true}}})
	require.NoError(t, err)
	for _, d := range [][2]string{{"", "X"}, {"A", ""}, {"A/B", "X"}, {"A", "X*"}, {"*", "X"},
		{"core", "X"}, {"A", "_system"}, {long + "x", "X"}, {"A", long + "x"}} {
		_, err := PublishableSpec("x", Grant{Datasets: []DatasetGrant{{Workspace: d[0], ID: d[1], Read: true}}})
		require.ErrorIs(t, err, latchkey.ErrInvalid, d)
	}
	spec, err := PublishableSpec("page", Grant{})
	require.NoError(t, err)
	require.Equal(t, latchkey.KindPublishable, spec.Kind)
	require.Equal(t, "page", spec.Name)
}

func TestPublishableToken(t *testing.T) {
	w := newFixture(t, nil)
	allow := func(method, path string) {
		t.Helper()
		w.ok(w.send(request(method, withToken(path, w.pk), "[]")))
	}
	deny := func(f Fault, method, path string) {
		t.Helper()
		before := w.served.Load()
		w.requireFault(f, w.send(request(method, withToken(path, w.pk), "[]")))
		require.Equal(t, before, w.served.Load())
		if f != BadRequest {
			w.ok(w.send(request(method, withToken(path, w.sk), "[]")))
		}
	}
	allow("GET", "/v1/stock/aapl/quote")
	allow("GET", "/v1/data/core/quote/aapl")
	allow("GET", "/v1/data/ACME/CARS")
	allow("GET", "/v1/data/ACME/CARS,TRUCKS/A1")
	allow("POST", "/v1/record/ACME/TRUCKS")
	allow("POST", "/v1/data/ACME/TRUCKS?overwrite=true")
	allow("DELETE", "/v1/data/ACME/TRUCKS/A1")
	deny(Denied, "GET", "/v1/data/ACME/VANS")
	deny(Denied, "GET", "/v1/data/ACME/CARS,VANS/A1") // a batch needs the right on each data set
	deny(Denied, "GET", "/v1/data/ACME/CARS.VANS?batchSeparator=.")
	deny(Denied, "GET", "/v1/data/OTHER/CARS")
	deny(Denied, "GET", "/v1/data/ACME")
	deny(Denied, "POST", "/v1/record/ACME/CARS") // may only read it
	deny(Denied, "POST", "/v1/record/ACME/CARS?createDatasetOnDemand=true&duplicateKeyHandling=replace")
	deny(Denied, "POST", "/v1/record/ACME/TRUCKS,CARS")
	deny(Denied, "DELETE", "/v1/data/ACME/CARS/A1")
	deny(Denied, "DELETE", "/v1/data/ACME/TRUCKS")
	deny(Denied, "POST", "/v1/record/CORE/QUOTE")
	deny(Denied, "GET", "/v1/nonsense")
	deny(PremiumDenied, "GET", "/v1/time-series/PREMIUM_X/AAPL")
	deny(PremiumDenied, "GET", "/v1/data/CORE/QUOTE,PREMIUM_X/AAPL")
	deny(SecretRequired, "POST", "/v1/datasets/ACME")
	deny(SecretRequired, "GET", "/v1/jobs/ACME/ingest")
	deny(SecretRequired, "GET", "/v1/account/usage")
	deny(BadRequest, "GET", "/v1/data/ACME/_system")
	deny(BadRequest, "GET", "/v1/data/ACME/CARS/..")
	deny(BadRequest, "GET", "/v1/data/ACME/CARS?a=%zz")
}
