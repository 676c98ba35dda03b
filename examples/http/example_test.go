package main

func Example() {
	main()
	// Output:
	// GET /me 200
	// acme
	// GET /data/orders 200
	// SELECT * FROM orders o WHERE (typeof(o.region)='text' AND o.region = ? AND o.region COLLATE BINARY = ?) ["EU" "EU"]
	// DELETE /data/orders 403
	// {"type":"tag:latchkey-go.github.io,2026:problem/denied","title":"Forbidden","status":403}
	// GET /me 401
	// {"type":"tag:latchkey-go.github.io,2026:problem/invalid-token","title":"Invalid token","status":401}
}
