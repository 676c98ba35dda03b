package main

import (
	"testing"

	"github.com/latchkey-go/latchkey"
)

func TestStaff(t *testing.T) {
	for _, c := range []struct {
		action latchkey.Action
		on     latchkey.Resource
		want   bool
	}{
		{latchkey.Read, "dataset/orders", true},
		{latchkey.Update, "dataset/orders", true},
		{latchkey.Delete, "dataset/orders", false},
		{latchkey.Update, "dataset/payroll", false},
		{latchkey.Read, "dataset/payroll", false}, // some rows only
		{latchkey.Read, "latchkey/token/1", false},
	} {
		if got := staff.Allows(c.action, c.on); got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.action, c.on, got, c.want)
		}
	}
}
