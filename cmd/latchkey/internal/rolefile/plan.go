package rolefile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/difference"
)

// Verb is what a plan does to a role.
type Verb string

// All that a plan does.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// RoleChange is one role that is made, changed or deleted.
type RoleChange struct {
	Verb Verb
	Old  latchkey.Role // as it is; zero for a new one
	New  latchkey.Role // as it will be, with names for the roles of the file that are new; zero for one that is deleted
	// Blocked says why the role cannot be deleted. "": it can.
	Blocked string

	inherits []ref // of New
	diff     []difference.Line
}

// Name returns the name of the role.
func (c *RoleChange) Name() string {
	if c.Verb == Delete {
		return c.Old.Name
	}
	return c.New.Name
}

// ref is an inherited role: an id, or the name of a role of the file that is not there yet.
type ref struct{ id, newName string }

// OwnerPlan is what a plan does to one owner.
type OwnerPlan struct {
	Owner string
	Roles []RoleChange // in the order in which they are made: inherited ones first, and deleted ones last
	// Old is the owner's record, and New what it becomes. They are equal where nothing changes.
	Old, New latchkey.Owner
	Gains    Affected // tokens that gain a right
	Loses    Affected
	Unknown  Affected // tokens that cannot be read, or that depend on what cannot

	changesRecord, setsBoundary bool
	recordDiff                  []difference.Line
}

// Affected are tokens.
type Affected struct {
	Count int
	Some  []latchkey.Token // the first of them
}

const maxShown = 10 // tokens of an Affected

func (w *Affected) add(t latchkey.Token) {
	if w.Count++; len(w.Some) < maxShown {
		w.Some = append(w.Some, t)
	}
}

// Plan is how a store differs from a file, and what makes it the same.
type Plan struct {
	Owners []OwnerPlan // those that differ, by id
}

// Empty reports whether the store is what the file says.
func (p *Plan) Empty() bool { return len(p.Owners) == 0 }

// Blocked reports whether something of the plan cannot be done.
func (p *Plan) Blocked() bool {
	return slices.ContainsFunc(p.Owners, func(o OwnerPlan) bool {
		return slices.ContainsFunc(o.Roles, func(c RoleChange) bool { return c.Blocked != "" })
	})
}

// Options say how a plan is made.
type Options struct {
	// Prune deletes the roles of an owner in the file that the file does not name: those of the host, not those that a
	// surface made. A role that a token holds, or that another one inherits which stays, is not deleted.
	Prune bool
	// Effects counts the tokens that gain or lose rights. It looks at all tokens of the owners that differ.
	Effects bool
	// Progress is told of each token that was looked at. Nil: nobody is.
	Progress func(n int)
}

// Accounts returns the Account of an owner, by whose rights and in whose name changes are made.
type Accounts func(owner string) (latchkey.Account, error)

// Make compares a file with a store.
func Make(ctx context.Context, accounts Accounts, f File, o Options) (*Plan, error) {
	p := &Plan{}
	seen := 0
	for _, id := range slices.Sorted(maps.Keys(f.Owners)) {
		account, err := accounts(id)
		if err != nil {
			return nil, fmt.Errorf("owner %q: %w", id, err)
		}
		made, err := makeOwner(ctx, account, f.Owners[id], o)
		if err == nil && made != nil && o.Effects {
			err = made.count(ctx, account, func() {
				if seen++; o.Progress != nil {
					o.Progress(seen)
				}
			})
		}
		if err != nil {
			return nil, fmt.Errorf("owner %q: %w", id, err)
		}
		if made != nil {
			p.Owners = append(p.Owners, *made)
		}
	}
	return p, nil
}

// owned are the roles of an owner in the store, and those of the application.
type owned struct {
	byName map[string]latchkey.Role // those of the host
	byID   map[string]latchkey.Role // all
}

func readRoles(ctx context.Context, account latchkey.Account) (*owned, error) {
	o := &owned{map[string]latchkey.Role{}, map[string]latchkey.Role{}}
	for r, err := range account.Roles(ctx, latchkey.RoleQuery{Page: latchkey.Page{Limit: 1000}}) {
		if err != nil {
			return nil, err
		}
		if o.byID[r.ID] = r; r.Origin == "" && !r.Coded() {
			o.byName[r.Name] = r
		}
	}
	return o, nil
}

// resolve returns what an item of Inherits names.
func (o *owned) resolve(text string, file map[string]bool) (ref, error) {
	if r, ok := o.byID[text]; ok {
		return ref{id: r.ID}, nil
	}
	stored, isStored := o.byName[text]
	code, isCode := o.byID[latchkey.CodeRoleID(text)]
	switch {
	case (isStored || file[text]) && isCode:
		return ref{}, fmt.Errorf("%w: the name %q is that of a role of the store and of one of the application: write %q "+
			"for that of the application", latchkey.ErrInvalid, text, code.ID)
	case isStored:
		return ref{id: stored.ID}, nil
	case isCode:
		return ref{id: code.ID}, nil
	case file[text]:
		return ref{newName: text}, nil
	}
	return ref{}, fmt.Errorf("%w: there is no role %q, neither in the file nor in the store", latchkey.ErrInvalid, text)
}

// name returns how a file names a role.
func (o *owned) name(id string) string {
	if r, ok := o.byID[id]; ok && r.Origin == "" && !r.Coded() {
		return r.Name
	}
	return id
}

func makeOwner(ctx context.Context, account latchkey.Account, want Owner, o Options) (*OwnerPlan, error) {
	stored, err := readRoles(ctx, account)
	if err != nil {
		return nil, err
	}
	old, err := account.Record(ctx)
	if err != nil {
		return nil, err
	}
	p := &OwnerPlan{Owner: account.Owner(), Old: old, New: old.Clone()}
	if err := p.makeRecord(want); err != nil {
		return nil, err
	}
	sorted, err := byInheritance(want.Roles)
	if err != nil {
		return nil, err
	}
	inFile := map[string]bool{}
	for _, r := range want.Roles {
		inFile[r.Name] = true
	}
	for _, r := range sorted {
		c := RoleChange{Verb: Create, New: r}
		if c.Old = stored.byName[r.Name]; c.Old.ID != "" {
			c.Verb, c.New.ID, c.New.Owner, c.New.Version = Update, c.Old.ID, c.Old.Owner, c.Old.Version
		}
		for _, text := range r.Inherits {
			of, err := stored.resolve(text, inFile)
			if err != nil {
				return nil, fmt.Errorf("role %q inherits: %w", r.Name, err)
			}
			c.inherits = append(c.inherits, of)
		}
		if c.diff = stored.diff(&c); len(c.diff) > 0 || c.Verb == Create {
			p.Roles = append(p.Roles, c)
		}
	}
	if o.Prune {
		if err := p.prune(ctx, account, stored, want.Roles, inFile); err != nil {
			return nil, err
		}
	}
	if len(p.Roles) == 0 && !p.changesRecord {
		return nil, nil
	}
	return p, nil
}

func (p *OwnerPlan) makeRecord(want Owner) error {
	if want.Boundary != nil {
		p.New.Boundary = slices.Clone(*want.Boundary)
	}
	if want.Limits != nil {
		p.New.Limits = *want.Limits
	}
	if want.Policy != nil {
		p.New.Policy = *want.Policy
	}
	texts := make([]json.RawMessage, 2)
	for i, o := range []latchkey.Owner{p.Old, p.New} {
		o.Extra = nil // it may not be JSON, and no file names it
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		texts[i] = text
	}
	p.recordDiff = difference.Of(texts[0], texts[1])
	p.changesRecord = len(p.recordDiff) > 0
	p.setsBoundary = want.Boundary != nil
	return nil
}

// diff returns how a role differs from that of the store. The order in which it inherits does not count.
func (o *owned) diff(c *RoleChange) []difference.Line {
	is := formOf(c.New)
	is.Inherits = nil
	for _, r := range c.inherits {
		if r.newName != "" {
			is.Inherits = append(is.Inherits, r.newName)
		} else {
			is.Inherits = append(is.Inherits, o.name(r.id))
		}
	}
	slices.Sort(is.Inherits)
	if c.Verb == Create {
		return difference.Of(nil, marshal(is))
	}
	was := formOf(c.Old)
	was.Inherits = nil
	for _, id := range c.Old.Inherits {
		was.Inherits = append(was.Inherits, o.name(id))
	}
	slices.Sort(was.Inherits)
	return difference.Of(marshal(was), marshal(is))
}

func marshal(f roleForm) json.RawMessage {
	text, err := json.Marshal(f)
	if err != nil {
		return json.RawMessage(fmt.Sprintf("%q", err)) // rules that Validate passes can be written
	}
	return text
}

// byInheritance returns roles with those that a role inherits before it. Otherwise they stay in order.
func byInheritance(roles []latchkey.Role) ([]latchkey.Role, error) {
	at := map[string]int{}
	for i, r := range roles {
		at[r.Name] = i
	}
	const underWay, done = 1, 2
	state := make([]int, len(roles))
	var out []latchkey.Role
	type step struct{ role, next int }
	for start := range roles { // without recursion: a chain may be long
		for stack := []step{{start, 0}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			if state[top.role] == done {
				stack = stack[:len(stack)-1]
				continue
			}
			state[top.role] = underWay
			r := &roles[top.role]
			if top.next == len(r.Inherits) {
				state[top.role] = done
				out = append(out, *r)
				stack = stack[:len(stack)-1]
				continue
			}
			up, ok := at[r.Inherits[top.next]]
			top.next++
			switch {
			case !ok || state[up] == done:
			case state[up] == underWay:
				return nil, fmt.Errorf("%w: role %q inherits itself, by way of role %q", latchkey.ErrInvalid, roles[up].Name,
					r.Name)
			default:
				stack = append(stack, step{up, 0})
			}
		}
	}
	return out, nil
}

// prune adds the roles that the file does not name, those that inherit others first.
func (p *OwnerPlan) prune(ctx context.Context, account latchkey.Account, stored *owned, roles []latchkey.Role,
	inFile map[string]bool) error {
	gone := map[string]bool{}
	var list []latchkey.Role
	for _, name := range slices.Sorted(maps.Keys(stored.byName)) {
		if r := stored.byName[name]; !inFile[name] {
			gone[r.ID] = true
			r.Inherits = nil
			for _, up := range stored.byName[name].Inherits {
				r.Inherits = append(r.Inherits, stored.name(up)) // as a file names it
			}
			list = append(list, r)
		}
	}
	list, err := byInheritance(list)
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(list) {
		c := RoleChange{Verb: Delete, Old: stored.byID[r.ID]}
		if c.Blocked, err = p.whyKept(ctx, account, stored, r.ID, gone); err != nil {
			return err
		}
		p.Roles = append(p.Roles, c)
	}
	return nil
}

// whyKept returns why a role cannot be deleted, or "".
func (p *OwnerPlan) whyKept(ctx context.Context, account latchkey.Account, stored *owned, id string,
	gone map[string]bool) (string, error) {
	const most = 1000
	n, err := account.CountTokens(ctx, latchkey.TokenQuery{Role: id,
		Kinds:  []latchkey.Kind{latchkey.KindPublishable, latchkey.KindAPIKey, latchkey.KindSession},
		States: []latchkey.State{latchkey.Active, latchkey.Disabled, latchkey.Expired, latchkey.NotYetValid}}, most)
	if err != nil && !errors.Is(err, latchkey.ErrNotFound) {
		return "", err
	}
	switch {
	case n == 1:
		return "a token holds it: take the role from it first, or name the role in the file", nil
	case n == most:
		return fmt.Sprintf("%d tokens or more hold it: take the role from them first, or name the role in the file", n), nil
	case n > 0:
		return fmt.Sprintf("%d tokens hold it: take the role from them first, or name the role in the file", n), nil
	}
	for _, r := range stored.byID {
		if gone[r.ID] || !slices.Contains(r.Inherits, id) {
			continue
		}
		at := slices.IndexFunc(p.Roles, func(c RoleChange) bool { return c.Old.ID == r.ID })
		if at < 0 || slices.Contains(p.Roles[at].inherits, ref{id: id}) {
			return fmt.Sprintf("role %q inherits it", r.Name), nil
		}
	}
	return "", nil
}

// count counts whose rights the plan changes.
func (p *OwnerPlan) count(ctx context.Context, account latchkey.Account, seen func()) error {
	rev := latchkey.Revision{SetBoundary: p.setsBoundary, Boundary: p.New.Boundary}
	newID := func(name string) string { return "new role " + name } // no role of a store has such an id
	for i := range p.Roles {
		c := &p.Roles[i]
		if c.Verb == Delete {
			if c.Blocked == "" {
				rev.Deleted = append(rev.Deleted, c.Old.ID)
			}
			continue
		}
		r := c.New.Clone()
		if r.ID == "" {
			r.ID = newID(r.Name)
		}
		r.Inherits = nil
		for _, of := range c.inherits {
			if of.newName != "" {
				of.id = newID(of.newName)
			}
			r.Inherits = append(r.Inherits, of.id)
		}
		rev.Roles = append(rev.Roles, r)
	}
	for e, err := range account.Effects(ctx, rev) {
		if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged {
			p.Unknown.add(e.Token)
			continue
		}
		if err != nil {
			return err
		}
		seen()
		if e.Gains {
			p.Gains.add(e.Token)
		}
		if e.Loses {
			p.Loses.add(e.Token)
		}
	}
	return nil
}

// ChangesRecord reports whether the boundary, the limits or the policy change.
func (p *OwnerPlan) ChangesRecord() bool { return p.changesRecord }

// Lines returns the plan for people, line by line. Op is as in package difference, and '!' for what cannot be done.
func (p *OwnerPlan) Lines() []difference.Line {
	out := []difference.Line{{Op: ' ', Text: fmt.Sprintf("owner %q", p.Owner)}}
	add := func(op byte, deep int, format string, args ...any) {
		out = append(out, difference.Line{Op: op, Deep: deep, Text: fmt.Sprintf(format, args...)})
	}
	under := func(deep int, lines []difference.Line) {
		for _, l := range lines {
			l.Deep += deep
			out = append(out, l)
		}
	}
	if p.changesRecord {
		add('~', 1, "what holds for all tokens")
		under(2, p.recordDiff)
	}
	for i := range p.Roles {
		c := &p.Roles[i]
		switch c.Verb {
		case Create:
			add('+', 1, "role %q", c.Name())
			under(2, slices.DeleteFunc(slices.Clone(c.diff), func(l difference.Line) bool {
				return l.Deep == 0 && strings.HasPrefix(l.Text, "name: ")
			}))
		case Update:
			add('~', 1, "role %q", c.Name())
			under(2, c.diff)
		case Delete:
			add('-', 1, "role %q", c.Name())
			if c.Blocked != "" {
				add('!', 2, "it cannot be deleted: %s", c.Blocked)
			}
		}
	}
	for _, w := range []struct {
		tokens Affected
		what   string
	}{{p.Gains, "may do something that they could not do"}, {p.Loses, "may no longer do something"},
		{p.Unknown, "cannot be read, and are not counted"}} {
		if w.tokens.Count == 0 {
			continue
		}
		add('~', 1, "tokens that %s: %d", w.what, w.tokens.Count)
		for _, t := range w.tokens.Some {
			add(' ', 2, "%s %q", t.ID, t.Name)
		}
		if more := w.tokens.Count - len(w.tokens.Some); more > 0 {
			add(' ', 2, "and %d more", more)
		}
	}
	return out
}

// Summary returns how much the plan does, in words.
func (p *Plan) Summary() string {
	n := map[Verb]int{}
	records := 0
	for i := range p.Owners {
		for _, c := range p.Owners[i].Roles {
			n[c.Verb]++
		}
		if p.Owners[i].changesRecord {
			records++
		}
	}
	return fmt.Sprintf("roles: %d to create, %d to change, %d to delete; owners to change: %d", n[Create], n[Update],
		n[Delete], records)
}
