package main

func Example() {
	main()
	// Output:
	// update orders: true
	// read payroll: false
	// (typeof(person)='text' AND person = ? AND person COLLATE BINARY = ?) [7 7]
	// own line: <nil>
	// another's line refused: true
	// update on dataset/payroll: no
	// because client:7: rule 2: deny any action on dataset/payroll
	// client:7: no
	//   rule 1: allow read, update on dataset/* — replaced by a later rule
	//   rule 2: deny any action on dataset/payroll
}
