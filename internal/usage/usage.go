// Package usage writes behind what is counted and when tokens were last used: callers do not wait for the store, and do
// not fail.
//
// Both are written in batches of owners that may be written together, a group. Each group has its own batches, memory
// and pace. A batch that fails although others are written is halved until what is at fault stands alone. How many
// items a batch has follows from the time that batches took. Nothing is repeated for ever.
//
// Of [Counters] it guarantees:
//
//   - What is counted is written once, even when the store cannot say whether it was written: a batch is repeated under
//     its ID until it is known to be written. If that takes longer than stores remember IDs, it is dropped.
//   - A flush writes what was counted before it began.
//   - Memory is bounded. Counts add up while the store is away; what has no room is dropped, and how much is logged.
//   - Add does not allocate once the same things are counted over and over.
//
// Of [LastUsed] it guarantees:
//
//   - A first use is written soon, further ones when they moved the last use by a step. A crash loses at most what
//     moved by less than a step, and what was gathered in the last moment.
//   - A token that this process does not know looks idle, so that the store is asked.
//   - Memory is bounded, and no transaction is long.
//
// Times are µs since 1970. Errors are those of package fault.
package usage

import "time"

// writeTimeout bounds one transaction, whoever flushes: all others wait for it, and its connection may be dead.
const writeTimeout = 10 * time.Second
