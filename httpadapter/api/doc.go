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
// who is signed in there: see [httpadapter.Adapter.Identify]. Give that Access the caller's address
// ([latchkey.Caller].Address), for the audit trail. A record that the caller may not read looks as one that does not
// exist, byte for byte.
//
// # Requests
//
// A body is one object of JSON, of at most [Options].MaxBody bytes. It has one meaning: unknown members, repeated
// names, names in another case, null and values of another type are refused, with the place in the problem's pointer.
// Unknown parameters of the query, and repeated ones, are refused too. A change of a record is a JSON Merge Patch (RFC
// 7396).
//
// If-Match makes a change depend on the version of the record: see [Options].RequireIfMatch. An Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header) makes a request that may be sent twice be carried out once, by whichever
// process, and across crashes: what the request changes and the fact that it was carried out are one transaction
// ([latchkey.Account.ForRequest]). Sent again it is answered 409 with the id of what it made, and with no secret:
// rotate the token to get another one. The same key with another request is 422.
//
// # Replies
//
// Lists are {"items": […], "next": "…"}: the next is the cursor of the page that follows. An error is a problem of RFC
// 9457: see [httpadapter.ProblemOf]. Nothing is to be stored. The text of a secret is in the replies of issue, mint,
// rotate, reveal and the signing secret, and in no other.
package api
