package main

func Example() {
	main()
	// Output:
	// the same: true
	// under the new ring: true <nil>
	// and it is still good: <nil>
	// without a ring: latchkey: needs a keyring: set Options.Keyring
}
