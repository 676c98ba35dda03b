package main

func Example() {
	main()
	// Output:
	// create map[amount:3 region:EU], amount is int64
	// update map[amount:4 region:EU]
	// true latchkey: update on "dataset/orders" is allowed for some rows only
	// true latchkey: delete on "dataset/orders" is allowed for some rows only
	// true latchkey: invalid argument: bad condition: field "amuont": the schema has no such field
}
