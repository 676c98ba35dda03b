// Package api is latchkey's own API of JSON over HTTP: for scripts, single-page applications and services in other
// languages. What the console shows and changes, a script can read and change here.
//
// For most uses, make one [httpadapter.Adapter] and call [Mount]:
//
//	auth := httpadapter.New(keys, nil)
//	api.Mount(mux, "/latchkey/v1", auth, nil)
//
// GET /latchkey/v1/openapi.json describes every operation (OpenAPI 3.1). It is made from the table that the routes are
// made from, and tests compare it with what the handlers do.
//
// # Who may do what
//
// Every operation is done As the caller ([latchkey.Account.As]), so nobody exceeds its own rights. The caller is the
// token that the Adapter finds, or an Access that the host put into the context ([httpadapter.WithAccess]) for somebody
// who is signed in there. A record that the caller may not read looks as one that does not exist.
package api
