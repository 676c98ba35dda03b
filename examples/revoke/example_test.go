package main

func Example() {
	main()
	// Output:
	// 09:00 old secret: <nil>
	// 10:00 old secret: latchkey: token expired
	// 10:00 new secret: <nil>
	// 10:20 child: <nil>
	// 10:49 child: <nil>
	// 11:19 child, idle for half an hour: latchkey: token expired
	// 11:19 another child: <nil>
	// 11:19 another child: latchkey: token's parent no longer valid
	// 11:19 key: latchkey: token revoked
}
