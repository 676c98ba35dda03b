// Package shop is the service that the tests guard.
package shop

//go:generate ./generate.sh
