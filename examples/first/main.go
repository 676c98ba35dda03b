package main

import (
	"context"
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func main() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	if err != nil {
		log.Fatal(err)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()}) // what a request brought along
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the key:", secret) // printing never shows it; Reveal does
	fmt.Println("read:", access.Check(latchkey.Read, "dataset/orders"))
	fmt.Println("update:", access.Check(latchkey.Update, "dataset/orders"))
}
