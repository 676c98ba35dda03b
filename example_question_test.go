package latchkey_test

import (
	"fmt"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// What a program asks again and again is prepared once, and asked of each caller.
func ExamplePrepareQuestion() {
	readOrders := latchkey.PrepareQuestion(latchkey.Read, "dataset/orders")

	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	ada, err := acme.Assume(latchkey.Client{ID: "ada"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")})
	if err != nil {
		fmt.Println(err)
		return
	}
	bob, err := acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("page/*")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ada:", ada.AllowsQuestion(readOrders))
	fmt.Println("bob:", bob.AllowsQuestion(readOrders))
	// Output:
	// ada: true
	// bob: false
}
