package datocms

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/latchkey-go/latchkey"
)

// Recompile gives every role of this surface in the account the rules that the options make of it, and says how many it
// changed. Call it when a program starts with another primary environment, or other NegativesNotInherited, than before;
// where everything is as it should be it only reads. Nil options are ready to use; options that cannot work panic.
// Errors are those of [latchkey.Account.UpdateRole]: what was changed before one stays changed, and calling again goes on.
func Recompile(ctx context.Context, account latchkey.Account, opts *Options) (changed int, err error) {
	s := newSurface(account, opts, MeterCMA, DefaultRate)
	again := func(r *latchkey.Role) {
		storedPermissions(r.Extra).rule(r, s.environments()[0], !s.opts.NegativesNotInherited)
	}
	origin := Origin
	for r, err := range account.Roles(ctx, latchkey.RoleQuery{Origin: &origin}) {
		if err != nil {
			return changed, err
		}
		want := r.Clone()
		if again(&want); sameRules(r, want) {
			continue
		}
		if _, err := account.UpdateRole(ctx, r.ID, func(r *latchkey.Role) error { again(r); return nil }); err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}

func sameRules(a, b latchkey.Role) bool {
	text := func(r latchkey.Role) []byte {
		data, err := json.Marshal([]any{r.Permissions, r.Boundary, r.InheritDenies})
		if err != nil {
			return nil
		}
		return data
	}
	x := text(a)
	return x != nil && bytes.Equal(x, text(b))
}
