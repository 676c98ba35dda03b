// Package model holds two formal models, which a machine checks, and tests that compare them with latchkey.
//
//   - algebra.smt2 defines what rules, roles, boundaries and chains of tokens allow. Z3 proves laws about it, for every
//     world within its bounds.
//   - epochs.pml describes how processes follow the changes of a store. Spin visits every order of events within its
//     bounds.
//
// A law that holds in a model says something about latchkey only if both answer alike. So worlds are put to the
// definitions and to latchkey, and runs of Spin are replayed against processes over one store. Each law is also checked
// with a mistake planted in the model, which it must find.
package model
