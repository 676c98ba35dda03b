// Package world holds a small database that the end-to-end tests act on, the calls they make there, and ways to
// compare what is stored: as a whole, table by table, and with what must add up in it.
package world
