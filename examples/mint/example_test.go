package main

func Example() {
	main()
	// Output:
	// access for Ada of 15m0s
	// reads where region = "EU"
	// latchkey: denied delete on "dataset/orders"
	// true latchkey: token's parent no longer valid
}
