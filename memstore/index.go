package memstore

import (
	"iter"
	"slices"
)

// index is a map that can be read in the byte order of its keys, starting at any key. The zero index is empty.
//
// Removed keys stay among the sorted keys until they are more than half of them. So removing many keys takes amortized
// constant time each. Keys mostly come in rising order (UUIDv7), and then adding one is an append.
type index[V any] struct {
	m    map[string]V
	keys []string // sorted; every key of m, and removed keys
	dead int      // how many of keys are removed
}

func (x *index[V]) get(key string) (V, bool) {
	v, ok := x.m[key]
	return v, ok
}

func (x *index[V]) put(key string, v V) {
	if x.m == nil {
		x.m = make(map[string]V)
	}
	if _, ok := x.m[key]; !ok {
		if n := len(x.keys); n == 0 || x.keys[n-1] < key {
			x.keys = append(x.keys, key)
		} else if i, dead := slices.BinarySearch(x.keys, key); dead {
			x.dead--
		} else {
			x.keys = slices.Insert(x.keys, i, key)
		}
	}
	x.m[key] = v
}

func (x *index[V]) remove(key string) {
	if _, ok := x.m[key]; !ok {
		return
	}
	delete(x.m, key)
	if x.dead++; x.dead > 64 && x.dead > len(x.keys)/2 {
		// A new slice, because an iteration over the old one may be running.
		live := make([]string, 0, len(x.m))
		for _, k := range x.keys {
			if _, ok := x.m[k]; ok {
				live = append(live, k)
			}
		}
		x.keys, x.dead = live, 0
	}
}

// after iterates over the entries whose key is greater than the given one, in order. For "" it includes the key "".
func (x *index[V]) after(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		keys := x.keys
		i := 0
		if key != "" {
			var found bool
			if i, found = slices.BinarySearch(keys, key); found {
				i++
			}
		}
		for _, k := range keys[i:] {
			if v, ok := x.m[k]; ok && !yield(k, v) {
				return
			}
		}
	}
}

// values iterates over all entries in the order of their keys.
func (x *index[V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range x.after("") {
			if !yield(v) {
				return
			}
		}
	}
}

// before iterates over the entries whose key is less than the given one, in the reverse order. For "" it begins with
// the last entry.
func (x *index[V]) before(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		keys := x.keys
		if key != "" {
			i, _ := slices.BinarySearch(keys, key)
			keys = keys[:i]
		}
		for _, k := range slices.Backward(keys) {
			if v, ok := x.m[k]; ok && !yield(k, v) {
				return
			}
		}
	}
}
