// Package datocms answers DatoCMS' calls about API tokens and roles, /access_tokens and /roles, so that the product's
// own clients work unchanged, and guards a host's delivery API the way the product does.
//
// For most uses, call [Mount] with the account whose tokens are meant, after making a first token with [AdminRole] and
// [TokenSpec]. Put [Delivery] in front of the handler that serves content.
//
//	admin, err := acme.CreateRole(ctx, datocms.AdminRole("Admin", "main"))
//	_, secret, err := acme.Issue(ctx, datocms.TokenSpec("Full access", admin.ID, true, true, true))
//
//	datocms.Mount(mux, acme, nil)
//	content := datocms.Delivery(acme, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		access, _ := httpadapter.AccessFrom(r.Context())
//		asked, _ := datocms.DeliveredFrom(r.Context())
//		rows, err := access.Filter(latchkey.Read, datocms.Model(asked.Environment, "article"))
//	}))
//	mux.Handle("/graphql", content) // every method: a browser asks with OPTIONS first
//	mux.Handle("/graphql/", content)
//
// [Delivery] obeys X-Include-Drafts and X-Environment, and the paths /preview and /environments/:id beneath its own.
//
// # Roles
//
// A role comes back as it was sent, and is compiled to rules: entries become grants and denies, on_creator "self" a
// row condition, environments_access a boundary. A handler that finds its caller with [httpadapter.AccessFrom] asks
// for the rows with access.Filter(latchkey.Update, datocms.Model("main", id)). The answer obeys environments_access
// and all that the role inherits. A role of the host's own that inherits one made here is held to environments_access
// only by a Boundary of its own.
//
// # Clients
//
// The npm client @datocms/cma-client-node works unchanged:
//
//	const { buildClient } = require('@datocms/cma-client-node');
//	const client = buildClient({ apiToken: TOKEN, baseUrl: 'https://your.host' });
//	const role = await client.roles.create({ name: 'Editor' });
//	const token = await client.accessTokens.create({ name: 'site', role: { id: role.id, type: 'role' },
//	  can_access_cda: true, can_access_cda_preview: false, can_access_cma: false });
//
// [Mount] serves /access_tokens, /roles and /environments. The product's clients repeat a GET for ever when the reply
// is no JSON, as a mux's own 404 is. Where they may call more than these paths (datocms environments:fork does), give
// a host name or a prefix to [Handler] as a whole. It answers every other path with an error that they understand:
//
//	mux.Handle("/cma/", http.StripPrefix("/cma", datocms.Handler(acme, nil)))
//
// # Rulings
//
// What the product's documents leave open is decided in rulings.go; docs/rulings.md lists it.
package datocms
