// Package harness starts what the end-to-end tests need: database servers, the example server, npm clients and a
// browser.
//
// Nothing runs until a test asks for it, and a package starts each of them at most once. Every server has a temporary
// folder of its own and listens on a Unix socket there, or on a port that the system chose. So packages may be tested
// at the same time. The TestMain of a package calls [Main], which stops everything at the end.
//
// With LONG=1 in the environment tests try everything, instead of a sample.
package harness
