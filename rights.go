package latchkey

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/tokencache"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// The cache of verified tokens, and what it is made of.
type (
	rightsCache = tokencache.Cache[compiled, principal]
	entry       = tokencache.Entry[compiled, principal]
	record      = tokencache.Record
	cachedFeed  = tokencache.Feed[compiled, principal]
	dependency  = tokencache.Dependency
)

// compiled is what decides for a token, and for all others with the same roles, rules and parents. It never changes.
type compiled struct {
	policy       *policy
	restrict     *restriction
	limits       *limitSet      // nil: none
	layers       []layer        // what policy was made of: own first, the owner's boundary last
	narrowLayers []layer        // added by Access.Narrow, nearest first; empty for what a token has
	confined     []Restrictions // by Access.Narrow
	roleSet      map[string]Role
	roles        []string   // the token's roles: its own, or its parent's if its mint named none
	anyRole      bool       // a mint may name any role of the owner
	idle         int64      // µs: the token's own idle limit; 0: none
	idlers       []idleLink // ancestors with an idle limit
}

// idleLink is an ancestor that ends by not being used.
type idleLink struct {
	id   string
	idle int64 // µs
}

// principal is what a token stands for. It is comparable, so that the cache can store equal ones once.
type principal struct {
	owner  string
	root   string // Self: the id of the root of the chain, or an Assumed caller's Client.ID; "": the token itself
	kind   Kind   // 0: Assumed
	test   bool
	client Client
	feed   uint32 // the number of the follower of the owner's feed
}

// compile returns the cache entry of a token as stored. Its rights are compiled, or shared with a cached token that has
// the same. Used is left 0.
func (m *Manager) compile(f Found) (*entry, error) {
	feed, err := m.feed(f.Feed)
	if err != nil {
		return nil, err
	}
	t := &f.Token
	e := &entry{ID: uuidv7.Parse(t.ID), Owner: t.Owner, Epoch: f.Epoch, Ends: math.MaxInt64, Key: rightsKey(&f)}
	for _, v := range append([]Token{*t}, f.Ancestors...) {
		if end := v.Validity.NotAfter; !end.IsZero() {
			e.Ends = min(e.Ends, micros(end))
		}
	}
	if end := f.Secret.NotAfter; !end.IsZero() {
		e.Ends = min(e.Ends, micros(end))
	}
	root := "" // itself: so that tokens of one owner share a principal
	if n := len(f.Ancestors); n > 0 {
		root = f.Ancestors[n-1].ID
	}
	e.Principal = principal{owner: t.Owner, root: root, kind: t.Kind, test: t.Test, client: t.Client,
		feed: feed.cached.Number()}
	if e.Shared = m.cache.Shared(e.Key); e.Shared != nil {
		return e, nil
	}
	if e.Shared, err = compileRights(withHeldRoles(f)); err != nil {
		return nil, err
	}
	return e, nil
}

// compileRights returns the rights of a token and the records that they were made from.
func compileRights(f Found) (*tokencache.Shared[compiled], error) {
	t := &f.Token
	shared := &tokencache.Shared[compiled]{}
	set := &shared.Value
	set.idle, set.roles, set.anyRole = t.Validity.Idle.Microseconds(), effectiveRoles(&f), anyRole(&f)
	set.roleSet = map[string]Role{}
	for _, r := range f.Roles {
		set.roleSet[r.ID] = r
	}
	deps := []dependency{dependsOn(ChangedOwner, t.Owner)}
	limits := []Restrictions{t.Restrictions}
	own := layerOf(t)
	own.name = "token" // the set is shared by others
	own.selfRoles = &set.roles
	ceiling := own.selfRoles
	set.layers = append(set.layers, own)
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		l, roles := layerOf(a), effectiveRoles(&Found{Token: *a, Ancestors: f.Ancestors[i+1:]})
		l.selfRoles, ceiling = &roles, &roles
		set.layers = append(set.layers, l)
		limits = append(limits, a.Restrictions)
		deps = append(deps, dependsOn(ChangedToken, a.ID))
		if a.Validity.Idle != 0 {
			set.idlers = append(set.idlers, idleLink{a.ID, a.Validity.Idle.Microseconds()})
		}
	}
	if f.Owner.Boundary != nil {
		set.layers = append(set.layers, layer{name: boundaryLayer, rules: f.Owner.Boundary, selfRoles: ceiling})
	}
	var err error
	if set.restrict, err = meetRestrictions(limits); err != nil {
		// A stored restriction that cannot be read must not become none. Fail closed.
		return nil, fmt.Errorf("%w: stored restrictions: %w", ErrUnavailable, err)
	}
	if set.limits, err = meetLimits(&f); err != nil {
		return nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err) // the same
	}
	set.policy = newPolicy(set.layers, set.roleSet)
	for _, layer := range set.layers {
		for _, id := range layer.roles {
			deps = append(deps, dependsOn(ChangedRole, id)) // also one that is missing
		}
	}
	for id, r := range set.roleSet {
		deps = append(deps, dependsOn(ChangedRole, id))
		for _, up := range r.Inherits {
			deps = append(deps, dependsOn(ChangedRole, up))
		}
	}
	slices.SortFunc(deps, func(a, b dependency) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	shared.Deps = slices.Compact(deps)
	return shared, nil
}

func dependsOn(kind ChangeKind, id string) dependency { return dependency{Kind: uint8(kind), ID: id} }

// cacheChanges returns changes as the cache takes them.
func cacheChanges(changes []Change) []tokencache.Change {
	out := make([]tokencache.Change, len(changes))
	for i, ch := range changes {
		out[i] = tokencache.Change{Dependency: dependsOn(ch.Kind, ch.ID), Owner: ch.Owner, Epoch: ch.Epoch}
		if ch.Kind == ChangedToken {
			out[i].Token = uuidv7.Parse(ch.ID)
		}
	}
	return out
}

// rightsKey returns a digest of what a token's rights are made of. A record's id and version stand for its content.
// What belongs to the token alone is spelled out, so that tokens which do not differ in it share one set. The owner's
// boundary and limits are spelled out too: an owner that was erased begins again with version 1.
func rightsKey(f *Found) [32]byte {
	t := &f.Token
	key := make([]byte, 0, 512)
	key = binary.AppendUvarint(key, uint64(f.Feed))
	key = appendRef(key, f.Owner.ID, f.Owner.Version)
	key = append(key, flag(t.Kind == KindSecret), flag(t.Full), flag(t.Permissions == nil), flag(anyRole(f)),
		flag(f.Owner.Boundary == nil))
	key = binary.AppendUvarint(key, uint64(t.Validity.Idle.Microseconds()))
	key = binary.AppendUvarint(key, uint64(len(t.Roles)))
	for _, id := range t.Roles {
		key = appendRef(key, id, 0)
	}
	key = binary.AppendUvarint(key, uint64(len(f.Ancestors)))
	for i := range f.Ancestors {
		key = appendRef(key, f.Ancestors[i].ID, f.Ancestors[i].Version)
	}
	order := make([]int, len(f.Roles))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(f.Roles[a].ID, f.Roles[b].ID) })
	for _, i := range order {
		key = appendRef(key, f.Roles[i].ID, f.Roles[i].Version)
	}
	r := &t.Restrictions
	if len(t.Permissions)+len(t.Rows)+len(t.Forced)+len(r.Domains)+len(r.Addresses)+len(r.MintFrom) != 0 || r.Signed ||
		t.Limits != (Limits{}) || f.Owner.Boundary != nil || f.Owner.Limits != (Limits{}) {
		own, err := json.Marshal(struct {
			P Permissions
			R []Condition
			F Values
			X Restrictions
			B Permissions
			L [2]Limits
		}{t.Permissions, t.Rows, t.Forced, *r, f.Owner.Boundary, [2]Limits{t.Limits, f.Owner.Limits}})
		if err != nil { // it cannot be: everything in it was read from its stored form
			panic("latchkey: " + err.Error())
		}
		key = append(key, own...)
	}
	return sha256.Sum256(key)
}

func appendRef(key []byte, id string, version uint64) []byte {
	key = binary.AppendUvarint(key, uint64(len(id)))
	key = append(key, id...)
	return binary.AppendUvarint(key, version)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// layerOf returns what a token contributes to the meet of its chain.
func layerOf(t *Token) layer {
	if t.Kind == KindSecret {
		return layer{name: t.ID, full: true, root: true}
	}
	return layer{name: t.ID, full: t.Full, roles: t.Roles, rules: t.Permissions, rows: t.Rows, forced: t.Forced}
}

// withHeldRoles returns f without the roles that a minted token names but its parent has lost. So taking a role from a
// key takes it from what the key minted, even if another role of the key allows the same rows. It does not change f.
func withHeldRoles(f Found) Found {
	f.Ancestors = slices.Clone(f.Ancestors)
	for i := len(f.Ancestors) - 1; i >= 0; i-- { // from the root down: what it names, it has
		t := &f.Token
		if i > 0 {
			t = &f.Ancestors[i-1]
		}
		above := Found{Token: f.Ancestors[i], Ancestors: f.Ancestors[i+1:]}
		if anyRole(&above) {
			continue
		}
		have := effectiveRoles(&above)
		t.Roles = slices.DeleteFunc(slices.Clone(t.Roles), func(id string) bool { return !slices.Contains(have, id) })
	}
	return f
}

// effectiveRoles returns a token's roles: a mint that named none has those of its parent.
func effectiveRoles(f *Found) []string {
	if !f.Token.Full {
		return f.Token.Roles
	}
	for i := range f.Ancestors {
		if !f.Ancestors[i].Full {
			return f.Ancestors[i].Roles
		}
	}
	return nil
}

// anyRole reports whether a mint from this token may name any role of the owner. The meet keeps it within the parent.
func anyRole(f *Found) bool {
	for i := -1; i < len(f.Ancestors); i++ {
		t := &f.Token
		if i >= 0 {
			t = &f.Ancestors[i]
		}
		if t.Kind == KindSecret || t.Kind == KindSession {
			return true
		}
		if !t.Full {
			return false
		}
	}
	return false
}
