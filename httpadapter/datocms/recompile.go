package datocms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/latchkey-go/latchkey"
)

// Recompile compiles every role of this surface in the account again, with opts, and returns how many it changed.
// Call it when a program starts with another primary environment, or another NegativesNotInherited, than before. Call
// it before the program serves: until it is done, some roles apply to the old environment and some to the new one. If
// no role changes, it only reads.
//
// Nil options are ready to use. It panics on invalid options. A role that is deleted meanwhile is skipped. Errors are
// those of [latchkey.Account.UpdateRole]. Changes made before an error stay, and calling it again continues.
func Recompile(ctx context.Context, account latchkey.Account, opts *Options) (changed int, err error) {
	s := newSurface(account, opts, MeterCMA, DefaultRate)
	recompile := func(r *latchkey.Role) error {
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
			continue // it cannot be read, so it cannot be compiled
		} else if err != nil {
			return changed, err
		}
		if want := r.Clone(); recompile(&want) != nil {
			continue
		}
		switch _, err := account.UpdateRole(ctx, r.ID, recompile); {
		case err == nil:
			changed++
		case !errors.Is(err, errUnchanged) && !errors.Is(err, latchkey.ErrNotFound):
			return changed, err
		}
	}
	return changed, nil
}

// errUnchanged ends an update that would change nothing.
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
