package datocms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/latchkey-go/latchkey"
)

// Recompile gives every role of this surface in the account the rules that the options make of it, and says how many it
// changed. Call it when a program starts, before it serves, with another primary environment, or other
// NegativesNotInherited, than before: until it is done some roles speak of the old one, some of the new. Where everything
// is as it should be it only reads. Nil options are ready to use; options that cannot work panic. A role that is deleted
// meanwhile needs none. Errors are those of [latchkey.Account.UpdateRole]: what was changed before one stays changed, and
// calling again goes on.
func Recompile(ctx context.Context, account latchkey.Account, opts *Options) (changed int, err error) {
	s := newSurface(account, opts, MeterCMA, DefaultRate)
	again := func(r *latchkey.Role) error {
		was := r.Clone()
		storedPermissions(r.Extra).applyRules(r, s.environments()[0], !s.opts.NegativesNotInherited)
		if sameRules(was, *r) {
			return errUnchanged
		}
		return nil
	}
	origin := Origin
	for r, err := range account.Roles(ctx, latchkey.RoleQuery{Origin: &origin}) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // its source is lost
		} else if err != nil {
			return changed, err
		}
		if want := r.Clone(); again(&want) != nil {
			continue
		}
		switch _, err := account.UpdateRole(ctx, r.ID, again); {
		case err == nil:
			changed++
		case !errors.Is(err, errUnchanged) && !errors.Is(err, latchkey.ErrNotFound):
			return changed, err
		}
	}
	return changed, nil
}

var errUnchanged = errors.New("datocms: the role has these rules")

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
