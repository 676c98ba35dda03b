package latchkey_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A Deny in one role takes nothing from another role of the same token. Four places reach further.
func Example_whereADenyReaches() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")

	role := func(r latchkey.Role) string {
		made, err := acme.CreateRole(ctx, r)
		if err != nil {
			fmt.Println(err)
		}
		return made.ID
	}
	show := func(what string, spec latchkey.Spec) {
		spec.Kind = latchkey.KindAPIKey
		_, secret, err := acme.Issue(ctx, spec)
		if err != nil {
			fmt.Println(err)
			return
		}
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: payroll %t, handbook %t\n", what,
			access.Allows(latchkey.Read, "document/payroll"), access.Allows(latchkey.Read, "document/handbook"))
	}

	payroll := latchkey.Deny(latchkey.Any).On("document/payroll")
	staff := role(latchkey.Role{Name: "staff", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("document/*")}})
	contractor := role(latchkey.Role{Name: "contractor", Permissions: latchkey.Permissions{payroll}})
	both := []string{staff, contractor}
	show("two roles", latchkey.Spec{Roles: both})

	// 1: one role that inherits both, and applies their Denies last
	show("InheritDenies", latchkey.Spec{Roles: []string{
		role(latchkey.Role{Name: "staff on contract", Inherits: both, InheritDenies: true})}})
	// 2: rules of the token itself, which are applied to the union of its roles
	show("rules of the token", latchkey.Spec{Roles: both, Permissions: latchkey.Permissions{payroll}})
	// 3: a ceiling on what one role gives to a token, whatever it and the roles it inherits allow
	ceiling := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("document/*"), payroll}
	bounded := role(latchkey.Role{Name: "staff, bounded", Inherits: []string{staff}, Boundary: ceiling})
	show("Boundary of a role", latchkey.Spec{Roles: []string{bounded}})
	show("and a second role", latchkey.Spec{Roles: []string{bounded, staff}})
	// whereas boundaries of roles that it inherits add to its own
	open := role(latchkey.Role{Name: "staff, open", Inherits: []string{staff},
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("document/*")}})
	show("an inherited boundary", latchkey.Spec{Roles: []string{
		role(latchkey.Role{Name: "staff, bounded twice", Inherits: []string{open}, Boundary: ceiling})}})
	// 4: a ceiling on all tokens of the account, secret keys included
	err := acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*"), payroll}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	show("Boundary of the owner", latchkey.Spec{Roles: []string{bounded, staff}})
	// Output:
	// two roles: payroll true, handbook true
	// InheritDenies: payroll false, handbook true
	// rules of the token: payroll false, handbook true
	// Boundary of a role: payroll false, handbook true
	// and a second role: payroll true, handbook true
	// an inherited boundary: payroll true, handbook true
	// Boundary of the owner: payroll false, handbook true
}

// A policy of casbin with the effect "some allow and no deny": p lines become roles, g lines what they inherit.
func Example_comingFromCasbin() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")

	// p, staff, document/*, read, allow
	// p, contractor, document/payroll, read, deny
	staff := latchkey.Role{Name: "staff", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("document/*")}}
	contractor := latchkey.Role{Name: "contractor", Permissions: latchkey.Permissions{
		latchkey.Deny(latchkey.Read).On("document/payroll")}}
	// g, ada, staff
	// g, ada, contractor
	ada := latchkey.Role{Name: "ada", Inherits: []string{"staff", "contractor"}, InheritDenies: true}
	for _, r := range []latchkey.Role{staff, contractor, ada} { // inherited ones first
		if _, _, err := acme.EnsureRole(ctx, r); err != nil {
			fmt.Println(err)
			return
		}
	}
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"ada"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	// e.Enforce("ada", "document/payroll", "read")
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("handbook:", access.Check(latchkey.Read, "document/handbook"))
	fmt.Println("payroll:", access.Check(latchkey.Read, "document/payroll"))
	// Output:
	// handbook: <nil>
	// payroll: latchkey: denied read on "document/payroll"
}

// A policy of Vault, a child token with fewer policies and a TTL, and its end by the accessor of its parent.
func Example_comingFromVault() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{
		Imported: func(text string) bool { return strings.HasPrefix(text, "hvs.") }, // tokens that clients have already
	})
	acme := keys.For("acme")

	// path "secret/*"            { capabilities = ["create", "read", "update"] }
	// path "secret/super-secret" { capabilities = ["deny"] }
	app, err := acme.CreateRole(ctx, latchkey.Role{Name: "app", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create, latchkey.Read, latchkey.Update).On("secret/*"), // the wider path first
		latchkey.Deny(latchkey.Any).On("secret/super-secret"),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	const text = "hvs.R0670sAqZnKX3yW40NddrPVk" // its holder sent it: Vault itself does not tell it
	token, err := acme.Import(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "batch job", Roles: []string{app.ID},
		Validity: latchkey.Validity{Idle: 24 * time.Hour}}, text) // as a periodic token, but each use renews it
	if err != nil {
		fmt.Println(err)
		return
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("super-secret:", access.Allows(latchkey.Read, "secret/super-secret"))

	// vault token create -ttl=15m -policy=…
	_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("secret/web/*")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	// vault token revoke -accessor …
	err = acme.Revoke(ctx, token.ID, "the job is over")
	_, refused := keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
	fmt.Println("revoked:", err, "child:", refused)
	// Output:
	// super-secret: false
	// revoked: <nil> child: latchkey: token's parent no longer valid
}

// AWS: a permissions boundary, and AssumeRole with a session policy.
func Example_comingFromAWS() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")

	uploader, err := acme.CreateRole(ctx, latchkey.Role{Name: "uploader",
		Permissions: latchkey.Permissions{ // identity-based policy
			latchkey.Allow(latchkey.Read, latchkey.Create, latchkey.Delete).On("bucket/productionapp/*"),
			latchkey.Allow("iam:create-user").On("user/*"),
		},
		Boundary: latchkey.Permissions{ // permissions boundary
			latchkey.Allow(latchkey.Any).On("bucket/*"),
			latchkey.Deny(latchkey.Any).On("bucket/logs/*"),
		}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{uploader.ID}})
	if err != nil {
		fmt.Println(err)
		return
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("create a user:", access.Allows("iam:create-user", "user/eve"))

	// aws sts assume-role --duration-seconds 900 --policy …
	session, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: 15 * time.Minute, Name: "session of a build",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read, latchkey.Create).On("bucket/*")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	questions := []latchkey.Question{
		{Action: latchkey.Create, Resource: "bucket/productionapp/a"},
		{Action: latchkey.Delete, Resource: "bucket/productionapp/a"}, // not in the session policy
		{Action: latchkey.Read, Resource: "bucket/other/a"},           // not in the identity-based policy
	}
	answers, err := acme.Explain(ctx, session.ID, questions...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range answers {
		fmt.Println(a.Action, a.Resource, a.Verdict)
	}
	// Output:
	// create a user: false
	// create bucket/productionapp/a all
	// delete bucket/productionapp/a none
	// read bucket/other/a none
}

// A key of Unkey moves by its digest: the base64 of SHA-256 that a database of Unkey holds.
func Example_comingFromUnkey() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{
		Imported: func(text string) bool { return strings.HasPrefix(text, "prod_") }, // the prefix of the keyspace
	})
	defer keys.Close(ctx)
	acme := keys.For("acme")
	const text = "prod_2cGKbMxRjIzhCxo1IdjH3arELti7Sdyc8w6XYbvtcyuBowPT" // only the customer has it
	row := struct{ hash string }{unkeyHash(text)}

	token, err := acme.ImportDigest(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "Production API Key",
		Client:      latchkey.Client{ID: "user_123"}, // externalId
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("documents/*")},
		Limits: latchkey.Limits{
			// ratelimits, credits and refill
			Rate:   latchkey.PerMinute(100),
			Quotas: []latchkey.Quota{{Meter: "requests", Amount: 2 * latchkey.Credit, Per: latchkey.Month}},
		},
	}, latchkey.KeptSecret{SHA256: row.hash, Hint: "prod_2c…"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Hint, token.Client.ID)

	// POST /v2/keys.verifyKey {"key": …, "permissions": "documents.read", "credits": {"cost": 1}}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if err := access.Check(latchkey.Read, "documents/7"); err != nil {
			fmt.Println(err)
			return
		}
		left, err := access.Spend(ctx, "requests", "GET /documents", latchkey.Credit)
		fmt.Println("left:", left.Credits/latchkey.Credit, "used up:", errors.Is(err, latchkey.ErrOverLimit))
	}
	// Output:
	// prod_2c… user_123
	// left: 1 used up: false
	// left: 0 used up: false
	// left: 0 used up: true
}

// unkeyHash is what Unkey keeps of a key.
func unkeyHash(key string) string {
	digest := sha256.Sum256([]byte(key))
	return base64.StdEncoding.EncodeToString(digest[:])
}
