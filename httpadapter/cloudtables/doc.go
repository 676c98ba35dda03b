// Package cloudtables answers the access call of CloudTables, POST /io/api/1/access (and /api/1/access), so that the
// product's own clients work unchanged: they send an API key and get a short-lived token, narrowed to roles and rows,
// for an embedded page.
//
// For most uses, call [Mount] with the account whose keys are meant. A host that also serves the data those tokens
// read calls [Authorize], which returns the caller and the rows it may have, and answers errors with [WriteError].
//
//	mux := http.NewServeMux()
//	cloudtables.Mount(mux, acme, nil)
//	authorize := cloudtables.Authorize(acme, nil)
//
// # Clients
//
// The npm client cloudtables-api 1.2.0 works unchanged:
//
//	const Api = require('cloudtables-api').default;
//	const api = new Api(key, { domain: 'tables.example.com', role: 'clerk', clientId: '42', clientName: 'Ada' });
//	const token = await api.token();
//
// The client needs an API key of yours that has the role. Your backend must listen on port 443, or on 80 with ssl:
// false: the client has no option for another port.
//
// # Usage
//
// Calls that pass are counted under [Meter], by token, client, endpoint and day, as the product's page promises of
// clientId. [latchkey.Account.Usage] has them, and the console shows them with the clients' names.
//
// # Rulings
//
// The product's documents are silent in places, or contradict each other. What was decided is in rulings.go;
// docs/rulings.md lists it. The example server (examples/server) answers all of the client's calls.
package cloudtables
