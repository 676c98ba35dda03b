package main

func Example() {
	main()
	// Output:
	// stronger than the desk refused: true
	// 1 token.issue by the host ""
	// 2 token.issue by the support desk ""
	// 3 token.revoke by the support desk "left the company"
}
