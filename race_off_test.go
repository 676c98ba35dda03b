//go:build !race

package latchkey

const raceEnabled = false
