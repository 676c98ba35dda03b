package main

func Example() {
	main()
	// Output:
	// the key: [redacted]
	// read: <nil>
	// update: latchkey: denied update on "dataset/orders"
}
