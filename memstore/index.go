package memstore

import (
	"iter"
	"slices"
)

// index is a map that can be read in the byte order of its keys from any key on. The zero index is empty.
//
// The sorted keys are cleaned of removed ones only when those are the larger half, so that removing many costs no more
// than passing over them once. Keys mostly come in rising order (UUIDv7), which makes adding one an append.
type index[V any] struct {
	m    map[string]V
	keys []string // sorted; holds every key of m, and dead ones that are not in m any more
	dead int
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
		// A new slice: somebody may be walking along the old one.
		live := make([]string, 0, len(x.m))
		for _, k := range x.keys {
			if _, ok := x.m[k]; ok {
				live = append(live, k)
			}
		}
		x.keys, x.dead = live, 0
	}
}

// after walks along everything whose key is above the given one. "" is below every key but "".
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
