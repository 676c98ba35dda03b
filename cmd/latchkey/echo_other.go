//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

// hide does nothing here: term.ReadPassword hides what is typed.
func hide(int) error { return nil }
