//go:build race

package latchkey

const raceEnabled = true
