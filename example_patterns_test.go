package latchkey_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// One role for everybody, with a segment for the id of the client that asks. A page shows what a caller may reach, and
// who may do something.
func ExampleAccess_Reach() {
	ctx := context.Background()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	member, err := acme.CreateRole(ctx, latchkey.Role{Name: "member", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("user/{*client}/*"),  // everything beneath its own id
		latchkey.Allow(latchkey.Read).On("project/{*}/file"), // the file of any project
		latchkey.Deny(latchkey.Any).On("project/secret/*"),
	}})
	if err != nil {
		log.Fatal(err)
	}
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "shop", Roles: []string{member.ID}})
	if err != nil {
		log.Fatal(err)
	}
	shop, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	if err != nil {
		log.Fatal(err)
	}
	_, text, err := shop.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Name: "Ada",
		Client: latchkey.Client{ID: "u-42"}})
	if err != nil {
		log.Fatal(err)
	}
	ada, err := acme.Verify(ctx, latchkey.Presented{Secret: text.Reveal()})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(ada.Allows(latchkey.Update, "user/u-42/inbox"), ada.Allows(latchkey.Update, "user/u-43/inbox"))
	list, more, err := ada.Reach(latchkey.Read, "", latchkey.Page{}) // the first 100 patterns
	for _, r := range list {
		fmt.Println(r.Pattern, "but", r.Except, "where", r.Rows)
	}
	fmt.Println(more, err)

	may := latchkey.WhoQuery{Action: latchkey.Update, Resource: "user/u-42/inbox", Minted: true}
	for h, err := range acme.WhoOf(ctx, may) {
		fmt.Println(h.Token.Name, h.Rows, err)
	}
	// Output:
	// true false
	// project/{*}/file but [project/secret/file] where every row
	// user/u-42/* but [] where every row
	// false <nil>
	// Ada every row <nil>
}
