// Package frameworks has nothing but tests: those of the packages beneath it, one for each router and framework that
// latchkey works with. A program that imports one of them links no other framework.
package frameworks
