// Package readonly says of a read of the store that its result will not be changed. A Store in memory may then return
// what it keeps instead of a copy of it.
package readonly

import "context"

type key struct{}

// Context returns a context for such a read.
func Context(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// Is reports whether ctx was made by Context.
func Is(ctx context.Context) bool { return ctx.Value(key{}) != nil }
