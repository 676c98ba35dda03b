// Package doors holds the tests that go through every HTTP surface of the project, one after another. It has no code.
package doors
