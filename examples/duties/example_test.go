package main

func Example() {
	main()
	// Output:
	// sent: 1 token.issue
	// sent: 2 token.revoke
	// 2 events
	// 3 lines about Ada
	// 1 secrets moved, 0 older keys in use
}
