// Package visit is how a surface and the Manager speak about one request, beside the arguments of a call: the
// surface puts a Visit into the request's context, and the Manager asks it before it reads the store for a
// credential.
package visit

import "context"

// Key is the key of the context under which a Visit is found.
type Key struct{}

// Visit is one request by a caller that is not known yet. It is safe for concurrent use.
type Visit interface {
	// Enter is called before the store is read for a credential that may be nobody's. With an error nothing is
	// read, and the error is the answer. After nil, Leave is called once.
	Enter(ctx context.Context) error

	// Leave is called after that reading. Missed reports whether it found nothing.
	Leave(missed bool)

	// Refused is told of each refusal of a credential or caller that is known: a latchkey.Refusal.
	Refused(refusal any)
}

// From returns the Visit of a context, or nil.
func From(ctx context.Context) Visit {
	v, _ := ctx.Value(Key{}).(Visit)
	return v
}
