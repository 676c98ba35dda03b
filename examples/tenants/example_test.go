package main

func Example() {
	main()
	// Output:
	// acme.example 200
	// globex.example 401
	// nobody.example 401
}
