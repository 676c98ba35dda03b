package main

func Example() {
	main()
	// Output:
	// reporting api_key [redacted]
	// read orders: <nil>
	// update orders: <nil>
	// read payroll: latchkey: denied read on "dataset/payroll"
	// update orders, by the old snapshot: true
	// update orders, now: false
}
