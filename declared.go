package latchkey

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
)

// catalogueCheck checks what one call saves. The zero value checks nothing.
type catalogueCheck struct {
	*Catalogue
	warning error
}

// checkSaved returns a check of a record with that origin.
func (m *Manager) checkSaved(origin string) catalogueCheck {
	if origin != "" {
		return catalogueCheck{}
	}
	return catalogueCheck{Catalogue: m.opts.Catalogue}
}

// checkDeclared returns what is wrong by Options.Catalogue with the first of Options.Roles whose rules do not fit it.
// The host wrote both. A host that wants warnings gets them from warnDeclared.
func checkDeclared(c *Catalogue, roles []Role) error {
	check := catalogueCheck{Catalogue: c}
	for _, r := range roles {
		if err := check.role(&Role{}, &r); err != nil {
			return fmt.Errorf("Options.Roles does not fit Options.Catalogue: %w", err)
		}
	}
	return nil
}

// warnDeclared warns of each of Options.Roles whose rules do not fit Options.Catalogue.
func (m *Manager) warnDeclared() {
	for _, r := range m.code.list {
		check := m.checkSaved("")
		_ = check.role(&Role{}, &r) // New panicked, unless the host wants warnings
		check.saved(context.Background())
	}
}

// changed checks a list of a record unless it is what it was; what names the list. It keeps the error for later if the
// host wants a warning.
func (k *catalogueCheck) changed(what string, old, p Permissions) error {
	if k.Catalogue == nil || samePermissions(old, p) {
		return nil
	}
	return k.note(what, k.CheckRules(p))
}

// rows checks conditions and forced values that hold for all that a token may reach.
func (k *catalogueCheck) rows(what string, rows []Condition, forced Values) error {
	if k.Catalogue == nil {
		return nil
	}
	all := make([]int, len(k.Resources))
	for i := range all {
		all[i] = i
	}
	for _, c := range rows {
		if err := k.note(what, k.checkFields(all, c, nil)); err != nil {
			return err
		}
	}
	return k.note(what, k.checkFields(all, Condition{}, forced))
}

// role checks what is new in a role.
func (k *catalogueCheck) role(old, r *Role) error {
	if err := k.changed("role "+strconv.Quote(r.Name), old.Permissions, r.Permissions); err != nil {
		return err
	}
	return k.changed("role "+strconv.Quote(r.Name)+": Boundary", old.Boundary, r.Boundary)
}

func (k *catalogueCheck) note(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", what, err)
	if k.Warn == nil {
		return err
	}
	k.warning = cmp.Or(k.warning, err)
	return nil
}

// saved tells the host what was saved although it does not fit.
func (k *catalogueCheck) saved(ctx context.Context) {
	if k.warning != nil {
		k.Warn(ctx, k.warning)
	}
}
