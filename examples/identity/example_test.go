package main

func Example() {
	main()
	// Output:
	// Ada's laptop: [employee] of Ada
	// reads where department = "sales"
	// writes map[author:u-42 department:sales]
	// Ada has Ada's laptop
}
