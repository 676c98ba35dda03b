// Package authzen answers the questions of policy enforcement points by the OpenID AuthZEN Authorization API 1.0: may
// this subject do that to this resource, several of those at once, and who may, on what, and what. It is the decision
// point (PDP). What asks is an API gateway, or a service in any language (PEP).
//
// The caller authenticates with a key of its own, as [httpadapter.Adapter.Authenticate] demands. It is never the
// subject that it asks about, unless it says so.
//
// # Subjects
//
//   - {"type": "token", "id": "…"}: what a token may do now ([latchkey.Account.RightsOf]). The caller needs the right
//     "read" on "latchkey/token/<id>". Reasons that show rules also need it on what the token's rights come from.
//   - {"type": "client", "id": "…"}: what a token could do that the caller's own key mints for that client, without
//     further narrowing ([latchkey.Access.RightsFor]). It needs no right, because the caller could mint that token and
//     use it. If it could not, the answer is no. Reasons that show rules need the rights that they need of a token, on
//     the key.
//   - Types of [Options.Subjects]: what a function of the host says. The caller needs the right "read" on
//     "latchkey/subject/<type>/<id>".
//
// A subject that the caller may not ask about gets the answer of one that does not exist: "decision": false, or no
// results. A rule such as Allow(Read).On("latchkey/token/*", "latchkey/subject/user/*") lets a key ask about everybody.
// The rights that decide are those of the subject, never those of the caller. What a request of the subject would bring
// along is not known here: an address, a domain, a signature, a rate. A token may still be refused for that.
//
// # Resources
//
// A resource {"type": "invoice", "id": "7"} is "invoice/7" in rules, unless [Options.Resources] says otherwise. Where a
// rule holds for some rows only, the properties of the resource are the row, or what [ResourceType.Row] says. The
// Schema is that of the type, or of the Catalogue. Without a Schema such a rule allows nothing. An unknown or missing
// field satisfies no condition. A PDP that takes properties from its caller relies on it: the PEP must have them from a
// source that the subject cannot write.
//
// # Rulings
//
// Where the specification leaves a choice:
//
//   - Unknown members are ignored (§10.1.1), wherever they are. Names are unique: one that stands twice in an object,
//     also in an unknown one, and one that differs from another or from a known one by its case alone, is an error. So
//     is whatever else has two meanings (RFC 7493), a nesting deeper than 32, and null for a subject, an action or a
//     resource. Other nulls are as if the member was absent. An id, a type or a name that is empty is missing.
//   - A text of a token in a body is an error that does not repeat it: subjects are named by id. That of a publishable
//     token is no secret, and names nothing.
//   - subject.properties, action.properties and context decide nothing by themselves. Functions of the host get them.
//   - The error of a request is a status with an object of RFC 9457, whose "title" and "detail" are the message: the
//     body must be an object (§10.1.1) and an error message (§10.1.2). [httpadapter.Options].Problem may write another
//     one. Besides those of the specification there are 405, 413 for a body beyond 256 KiB, 429 and 503. A Content-Type
//     other than application/json is 400. A mistake in a rule of the host's is 500.
//   - An evaluation that lacks a member is "decision": false with context.error, and stops deny_on_first_deny. A member
//     of the wrong type is an error of the whole request. So are more than 100 evaluations, and an unknown semantic.
//   - context.reason says why, in one sentence, unless [Options.NoReasons]: no part of it is for programs.
//   - A page has 100 results unless its limit says otherwise, and 1000 at most. A search looks at 1000 candidates: a
//     page may hold fewer results than its limit, even none, and still have a next_token. A token is of one search of
//     one caller; with it the limit may be left out. Results are in the order of ids.
//   - A subject search finds tokens, minted ones too, and subjects of types with a List. Of other types, "client" among
//     them, it finds none.
//   - Of what is searched for, only the type counts. Its id is ignored, as the specification says, and so are its
//     properties: they would be those of every candidate.
//   - An action search names the actions of [ResourceType.Actions], or those that the Catalogue declares.
//   - X-Request-ID is returned as it came: at most 1024 bytes, once, without control characters. Anything else is 400.
//   - Metadata is not signed. Nothing is read from URLs.
package authzen
