package latchkey

// ObservedStore is what a Manager with o.StoreCall makes of a store, for the tests of other packages.
func ObservedStore(s Store, o Observer) Store {
	return New(s, &Options{Observer: o}).store
}
