// Package faulty makes statements fail. It wraps a driver of database/sql, writes down each statement, and makes one
// of them fail, slow or wait, where a test tells it to.
package faulty
