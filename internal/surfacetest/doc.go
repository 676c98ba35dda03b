// Package surfacetest holds tests that run against every HTTP surface of the module. It has no other code.
package surfacetest
