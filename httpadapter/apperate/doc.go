// Package apperate is a gateway in the manner of IEX Cloud (Apperate): it stands before a host's data handlers and
// decides, as that product did, who may read and write which data sets and at what cost, so that the product's own
// clients work unchanged.
//
// For most uses, make publishable tokens with [PublishableSpec] and put [Handler] (or [Mount]) before your handlers,
// which find the caller, the data sets and the keys with [CallFrom].
//
//	spec, err := apperate.PublishableSpec("web page", apperate.Grant{
//		Datasets: []apperate.DatasetGrant{{Workspace: "ACME", ID: "CARS", Read: true}},
//	})
//	spec.Limits.Quotas = []latchkey.Quota{{Meter: apperate.MeterCore, Amount: latchkey.Credit, Per: latchkey.Month}}
//	_, token, err := acme.Issue(ctx, spec)
//	gateway := apperate.Handler(acme, nil, data)
//
// Requests carry their token as "token" in the query or in a JSON body. Tokens may demand that requests are signed
// (IEX-HMAC-SHA256) or come from certain pages. A request reaches your handlers when its token may do what the path
// asks for. The gateway itself answers status, account/metadata, account/usage and account/signed.
//
// # Credits
//
// [Options.Cost] prices requests. A quota is exact, however many servers and requests share it.
//
// # Domains
//
// [latchkey.Restrictions.Domains] keeps a leaked token out of other web pages. It is no authentication, and most
// browsers send other sites no path to compare.
//
// # Clients
//
// The npm clients @apperate/iexjs 0.10.0 and node-iex-cloud 2.1.1 work unchanged. apperate.deleteData of iexjs drops
// its from and to: a call that was meant to delete a range deletes all of the key.
//
// # Rulings
//
// What the product's documents leave open is decided in rulings.go; docs/rulings.md lists it.
package apperate
