// Package visit lets an HTTP surface limit the work of the Manager for one request. The surface puts a Visit into the
// request's context. The Manager calls it before it reads the store for a credential.
package visit

import "context"

// Key is the key of the context under which a Visit is found.
type Key struct{}

// Visit is one request of an unknown caller. It is safe for concurrent use.
type Visit interface {
	// Enter is called before the store is read for a credential that may be unknown. If it returns an error, the store
	// is not read and the call fails with that error. If it returns nil, Leave is called once.
	Enter(ctx context.Context) error

	// Leave is called after that read. Missed reports whether it found nothing.
	Leave(missed bool)

	// Refused is called for each refusal of a known credential or caller, with a latchkey.Refusal.
	Refused(refusal any)
}

// From returns the Visit of a context, or nil.
func From(ctx context.Context) Visit {
	v, _ := ctx.Value(Key{}).(Visit)
	return v
}
