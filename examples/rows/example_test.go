package main

func Example() {
	main()
	// Output:
	// some rows only
	// SELECT o.* FROM orders o WHERE o.shop = $1 AND
	// ((o.region = $2::text AND o.region::text COLLATE "C" = $2::text) AND (o.amount < $3::bigint))
	// [EU 1000]
	// true
	// false
}
