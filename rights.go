package latchkey

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/latchkey-go/latchkey/internal/compact"
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
	lineage      *lineage // of the principals of those in the cache
	restrict     *restriction
	limits       *limitSet      // nil: none
	shared       []layer        // what policy was made of: own first, the owner's boundary last. See Access.layers
	narrowLayers []layer        // added by Access.Narrow, nearest first; empty for what a token has
	confined     []Restrictions // by Access.Narrow
	roleSet      map[string]Role
	roles        []string   // the token's roles: its own, or its parent's if its mint named none
	lost         []string   // those of them that are roles of Options.Roles which this process lacks
	assumed      *principal // who an Assumed caller was before Access.Narrow; nil: not narrowed, or a token
	anyRole      bool       // a mint may name any role of the owner
	idle         int64      // µs: the token's own idle limit; 0: none
	idlers       []idleLink // ancestors with an idle limit
}

// idleLink is an ancestor that ends by not being used.
type idleLink struct {
	id   [16]byte
	idle int64 // µs
}

// principal is what a token stands for. It is comparable, so that the cache can store equal ones once. One with facts
// of its own is stored for its token alone.
type principal struct {
	*lineage
	client Client
	facts  *facts // nil: none
}

// lineage is what all tokens with the same compiled rights have in common. It never changes.
type lineage struct {
	owner string
	root  string // Self: the id of the root of the chain, or an Assumed caller's Client.ID; "": the token itself
	kind  Kind   // 0: Assumed
	test  bool
	feed  uint32 // the number of the follower of the owner's feed
}

// attributes returns the attributes, nil if there are none.
func (p *principal) attributes() *attributeSet {
	if p.facts == nil {
		return nil
	}
	return p.facts.attributes
}

// as returns a copy of p for a client and with these attributes.
func (p *principal) as(client Client, attributes *attributeSet) *principal {
	who := *p
	who.client = client
	if attributes != p.attributes() {
		who.facts = &facts{attributes: attributes}
		if p.facts != nil {
			*who.facts = *p.facts
			who.facts.attributes = attributes
		}
	}
	return &who
}

// facts are what few tokens have. They never change.
type facts struct {
	attributes *attributeSet // nil: none
	more       *moreFacts    // nil: none
	apart      *apartRights  // nil: none
}

// moreFacts are what an [Access] says without asking the store.
type moreFacts struct {
	name, extra string
	claims      string         // of a stateless token; "": it is stored
	parent      [16]byte       // of a stateless token
	reading     *parentReading // in the record of a parent of stateless tokens; nil in every other
	ends        int64          // µs: the chain's end, if the secret or a role ends earlier; 0: that of the cached record
}

var noMoreFacts moreFacts

// more returns facts that few tokens have.
func (p *principal) more() *moreFacts {
	if p.facts == nil || p.facts.more == nil {
		return &noMoreFacts
	}
	return p.facts.more
}

// withMore returns a copy of p that is of its token alone, with more facts as edit makes them.
func (p principal) withMore(edit func(*moreFacts)) principal {
	of, more := facts{}, *p.more()
	if p.facts != nil {
		of = *p.facts
	}
	edit(&more)
	of.more, p.facts = &more, &of
	return p
}

// attributeFacts holds the facts of tokens that have attributes alone, by their JSON. So tokens with equal attributes
// share a principal. An entry lasts as long as something refers to its facts.
var attributeFacts struct {
	mu    sync.Mutex
	known map[string]weak.Pointer[facts]
}

// factsOf returns the facts of a token, nil if there are none. Alone reports whether they are of this token only.
// Ends is as in moreFacts. Recent are facts of other tokens.
func factsOf(t *Token, ends int64, recent *recentFacts) (of *facts, alone bool) {
	set, own := newAttributeSet(t.Attributes, t.ChildAttributes), (*apartRights)(nil)
	if of := apartOf(t); of.is {
		kept := of // so that tokens without pay for none
		own = &kept
	}
	if t.Name != "" || len(t.Extra) != 0 || ends != 0 {
		// Copies: a text from a store may be a part of a whole record.
		more := &moreFacts{name: strings.Clone(t.Name), extra: string(t.Extra), ends: ends}
		return &facts{attributes: set, more: more, apart: own}, true
	}
	if set != nil {
		of = factsOfAttributes(set)
	}
	if own == nil {
		return of, false
	}
	with := &facts{apart: own}
	if of != nil {
		with.attributes = of.attributes
	}
	of, known := recent.shared(with)
	return of, !known
}

// factsOfAttributes returns the facts of tokens that have these attributes and nothing else.
func factsOfAttributes(set *attributeSet) *facts {
	b := set.values.appendJSON(nil)
	for _, name := range set.child {
		b = appendJSONValue(b, name)
	}
	key := string(b)
	k := &attributeFacts
	k.mu.Lock()
	defer k.mu.Unlock()
	if of := k.known[key].Value(); of != nil {
		return of
	}
	of := &facts{attributes: set}
	if k.known == nil {
		k.known = map[string]weak.Pointer[facts]{}
	}
	k.known[key] = weak.Make(of)
	runtime.AddCleanup(of, forgetFacts, key)
	return of
}

// forgetFacts removes an entry whose facts are gone, unless newer ones have taken its place.
func forgetFacts(key string) {
	k := &attributeFacts
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known[key].Value() == nil {
		delete(k.known, key)
	}
}

// compile returns the cache entry of a token as stored, without the roles that have ended: see withLiveRoles. Its
// rights are compiled, or shared with a cached token that has the same. Used is left 0. Beside are roles that f holds
// besides those of its chain.
func (m *Manager) compile(f Found, beside ...string) (*entry, error) {
	feed, err := m.feed(f.Feed)
	if err != nil {
		return nil, err
	}
	t := &f.Token
	e := &entry{ID: uuidv7.Parse(t.ID), Owner: t.Owner, Epoch: f.Epoch, Key: keyOfRights(&f)}
	if len(beside) != 0 {
		e.Key.Shape = besideShape(e.Key.Shape, beside)
	}
	chain, roles := int64(math.MaxInt64), int64(math.MaxInt64)
	for i := -1; i < len(f.Ancestors); i++ {
		v := f.inChain(i)
		if end := v.Validity.NotAfter; !end.IsZero() {
			chain = min(chain, micros(end))
		}
		for _, end := range v.RoleEnds { // the rights are made anew then
			roles = min(roles, end.UnixMicro())
		}
	}
	e.Ends = min(chain, roles)
	if end := f.Secret.NotAfter; !end.IsZero() {
		e.Ends = min(e.Ends, micros(end))
	}
	if chain == e.Ends {
		chain = 0
	}
	if e.Value, e.Deps = m.cache.Shared(&e.Key); e.Value == nil {
		if e.Value, e.Deps, err = m.compileRights(withHeldRoles(m.withCodeRoles(f))); err != nil {
			return nil, err
		}
		e.Value.lineage = lineageOf(&f, feed.cached.Number())
	}
	e.Principal, e.Alone = m.principalOf(&f, e.Value.lineage, chain)
	return e, nil
}

// inChain returns an ancestor, and the token itself for -1.
func (f *Found) inChain(i int) *Token {
	if i < 0 {
		return &f.Token
	}
	return &f.Ancestors[i]
}

// lineageOf returns what a token has in common with all that have its rightsKey. Feed is the number of the follower of
// its owner's feed.
func lineageOf(f *Found, feed uint32) *lineage {
	t, root := &f.Token, "" // itself: so that tokens of one owner share a principal
	if n := len(f.Ancestors); n > 0 {
		root = f.Ancestors[n-1].ID
	}
	// Copies: as in factsOf. A cached token would hold the text of its whole record otherwise.
	return &lineage{owner: strings.Clone(t.Owner), root: strings.Clone(root), kind: t.Kind, test: t.Test, feed: feed}
}

// principalOf returns what a token stands for. Ends and alone are as for factsOf.
func (m *Manager) principalOf(f *Found, of *lineage, ends int64) (p principal, alone bool) {
	client := Client{ID: strings.Clone(f.Token.Client.ID), Name: strings.Clone(f.Token.Client.Name)} // as in factsOf
	p = principal{lineage: of, client: client}
	p.facts, alone = factsOf(&f.Token, ends, &m.recent)
	return p, alone
}

// compileRights returns the rights of a token and the records that they were made from.
func (m *Manager) compileRights(f Found) (*compiled, []dependency, error) {
	own := apartOf(&f.Token)
	if own.is {
		f.Token.Rows, f.Token.Forced = nil, nil
	}
	t, set := &f.Token, &compiled{}
	set.idle, set.anyRole = t.Validity.Idle.Microseconds(), anyRole(&f)
	set.roleSet = map[string]Role{}
	for _, r := range f.Roles {
		set.roleSet[r.ID] = r
	}
	deps := []dependency{dependsOn(ChangedOwner, t.Owner)}
	limits := []Restrictions{t.Restrictions}
	set.shared, set.roles, set.lost = chainLayers(&f, set.roleSet)
	set.shared[0].name = "token" // the set is shared by others
	set.shared[0].apart, set.shared[0].forces = own.is, len(own.forced) > 0
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		limits = append(limits, a.Restrictions)
		deps = append(deps, dependsOn(ChangedToken, a.ID))
		if a.Validity.Idle != 0 {
			set.idlers = append(set.idlers, idleLink{uuidv7.Parse(a.ID), a.Validity.Idle.Microseconds()})
		}
	}
	var err error
	if set.restrict, err = meetRestrictions(limits); err != nil {
		// A stored restriction that cannot be read must not become none. Fail closed.
		return nil, nil, fmt.Errorf("%w: stored restrictions: %w", ErrUnavailable, err)
	}
	if set.limits, err = meetLimits(&f); err != nil {
		return nil, nil, fmt.Errorf("%w: stored limits: %w", ErrUnavailable, err) // the same
	}
	set.policy = m.newPolicy(set.shared, set.roleSet)
	for i := range set.policy.nodes { // the policy and the set hold the same lists, once
		n := &set.policy.nodes[i]
		if r, ok := set.roleSet[n.id]; ok {
			if r.Permissions = n.rules.source; n.boundary != nil {
				r.Boundary = n.boundary.source
			}
			set.roleSet[n.id] = r
		}
	}
	for _, layer := range set.shared {
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
	if isStateless(t) {
		deps = append(deps, anyRevocation)
	}
	slices.SortFunc(deps, func(a, b dependency) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	// Roles of Options.Roles change with this process only.
	deps = slices.DeleteFunc(deps, func(d dependency) bool { return d.Kind == uint8(ChangedRole) && isCodeID(d.ID) })
	return set, slices.Compact(deps), nil
}

// newPolicy compiles a chain of layers, as the function newPolicy does. Large roles are shared with other policies of
// the Manager. M may be nil.
func (m *Manager) newPolicy(layers []layer, roles map[string]Role) *policy {
	if m == nil {
		return newPolicy(layers, roles)
	}
	return newPolicySharing(&m.lists, layers, roles)
}

// chainLayers returns the layers of a chain, the token's own first and the owner's boundary last, and the token's
// roles. Lost are those of Options.Roles that this process lacks, which are not among the held ones.
func chainLayers(f *Found, known map[string]Role) (layers []layer, held, lost []string) {
	isLost := func(id string) bool {
		_, ok := known[id]
		return isCodeID(id) && !ok
	}
	isHeld := func(id string) bool { return !isLost(id) }
	var ceiling *selfRoles
	for i := -1; i < len(f.Ancestors); i++ {
		t := &f.Token
		if i >= 0 {
			t = &f.Ancestors[i]
		}
		l, roles := layerOf(t), &selfRoles{held: effectiveRoles(&Found{Token: *t, Ancestors: f.Ancestors[i+1:]})}
		if slices.ContainsFunc(roles.held, isLost) {
			roles.lost = slices.DeleteFunc(slices.Clone(roles.held), isHeld)
			roles.held = slices.DeleteFunc(slices.Clone(roles.held), isLost)
		}
		if i < 0 {
			held, lost = roles.held, roles.lost
		}
		l.selfRoles, ceiling = roles, roles
		layers = append(layers, l)
	}
	if f.Owner.Boundary != nil {
		layers = append(layers, layer{name: boundaryLayer, rules: f.Owner.Boundary, selfRoles: ceiling})
	}
	return layers, held, lost
}

func dependsOn(kind ChangeKind, id string) dependency { return dependency{Kind: uint8(kind), ID: id} }

// cacheChanges iterates over changes as the cache takes them.
func cacheChanges(changes []Change) iter.Seq[tokencache.Change] {
	return func(yield func(tokencache.Change) bool) {
		for i := range changes {
			ch := &changes[i]
			// What a token may do is remade when a role has changed. When the owner or an ancestor has, the token may have
			// ended.
			out := tokencache.Change{Dependency: dependsOn(ch.Kind, ch.ID), Owner: ch.Owner, Epoch: ch.Epoch,
				Remade: ch.Kind == ChangedRole}
			switch {
			case ch.Kind == ChangedToken, ch.Kind == ChangedRevocation && ch.Of == RevokedToken:
				out.Token = ch.ID
			case ch.Kind == ChangedRevocation:
				out.Dependency = anyRevocation
			}
			if !yield(out) {
				return
			}
		}
	}
}

// rightsKey stands for what a token may do.
type rightsKey = tokencache.Key

// spelledOut is how many parts of a token's own rights are written into a key. More would take longer than all else of
// a look-up.
const spelledOut = 64

// keyOfRights returns a key of what a token's rights are made of. A record's id and version stand for its content, and
// those of roles alone are in Key.Content. What belongs to the token alone is spelled out unless it is large, so that
// tokens which do not differ in it share one set. The owner's boundary and limits are spelled out too: an owner that
// was erased begins again with version 1.
func keyOfRights(f *Found) (k rightsKey) {
	token := f.Token
	t, own := &token, apartOf(&token)
	if own.is {
		t.Rows, t.Forced = nil, nil
	}
	key := make([]byte, 0, 512)
	key = binary.AppendUvarint(key, uint64(f.Feed))
	key = appendRef(key, t.Owner, f.Owner.Version)
	key = append(key, byte(t.Kind), flag(t.Test), flag(t.Full), flag(t.Permissions == nil), flag(anyRole(f)),
		flag(f.Owner.Boundary == nil), flag(isStateless(t)), flag(own.is), flag(len(own.forced) > 0))
	key = binary.AppendUvarint(key, uint64(t.Validity.Idle.Microseconds()))
	key = binary.AppendUvarint(key, uint64(len(t.Roles)))
	for _, id := range t.Roles {
		key = appendRef(key, id, 0)
	}
	key = binary.AppendUvarint(key, uint64(len(f.Ancestors)))
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		key = appendRef(key, a.ID, a.Version)
		key = binary.AppendVarint(key, a.Created.UnixMicro()) // the host may give an erased owner's ids again
		if a.RoleEnds == nil {
			key = append(key, 0)
			continue
		}
		key = binary.AppendUvarint(key, uint64(1+len(a.Roles))) // some of its roles may have ended since that version
		for _, id := range a.Roles {
			key = appendRef(key, id, 0)
		}
	}
	spelled := &Token{}
	parts := ownParts(t)
	if parts > spelledOut {
		key = append(key, 1)
		key = appendRef(key, t.ID, t.Version)
		key = binary.AppendVarint(key, t.Created.UnixMicro()) // as that of an ancestor
	} else {
		key, spelled = append(key, 0), t
	}
	if parts != 0 || f.Owner.Boundary != nil || !f.Owner.Limits.IsZero() {
		key = appendOwnRights(key, spelled, &f.Owner)
	}
	k.Shape = sha256.Sum256(key)

	key = key[:0]
	order := make([]int, len(f.Roles))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(f.Roles[a].ID, f.Roles[b].ID) })
	for _, i := range order {
		key = appendRef(key, f.Roles[i].ID, f.Roles[i].Version)
	}
	content := sha256.Sum256(key)
	k.Content = [16]byte(content[:])
	return k
}

// besideShape returns the Key.Shape of rights that know more roles. Otherwise all that a parent's tokens name together
// would lie in one place of the cache.
func besideShape(shape [32]byte, roles []string) [32]byte {
	key := append(make([]byte, 0, 256), shape[:]...)
	for _, id := range roles {
		key = appendRef(key, id, 0)
	}
	return sha256.Sum256(key)
}

// ownParts returns how many parts a token's own rights have: 0 if it has none, and above spelledOut any number.
func ownParts(t *Token) (n int) {
	r := &t.Restrictions
	n = len(t.Forced) + len(r.Domains) + len(r.Addresses) + len(r.MintFrom) + len(t.Limits.Quotas)
	if r.Signed || !t.Limits.IsZero() {
		n++
	}
	for i := range t.Permissions {
		if n > spelledOut {
			return n
		}
		rule := &t.Permissions[i]
		n += len(rule.actions) + len(rule.patterns) + len(rule.forced) + rule.rows.parts() + 1
	}
	for _, c := range t.Rows {
		n += c.parts()
	}
	return n
}

// parts returns how many nodes and values a condition has.
func (c Condition) parts() int {
	if c.n == nil {
		return 1
	}
	return c.n.count + c.n.items
}

// appendOwnRights appends what is spelled out in a key. What differs makes another key: each part is as long as its
// beginning says.
func appendOwnRights(key []byte, t *Token, o *Owner) []byte {
	key = appendRules(appendRules(key, t.Permissions), o.Boundary)
	key = compact.AppendUint(key, uint64(len(t.Rows)))
	for _, c := range t.Rows {
		key = appendCondition(key, c)
	}
	key = appendValues(key, t.Forced)
	r := &t.Restrictions
	key = append(appendTexts(key, r.Domains), flag(r.Signed))
	for _, prefixes := range [...][]netip.Prefix{r.Addresses, r.MintFrom} {
		key = compact.AppendUint(key, uint64(len(prefixes)))
		for _, prefix := range prefixes {
			key = compact.AppendText(key, prefix.String())
		}
	}
	for _, l := range [...]*Limits{&t.Limits, &o.Limits} {
		if l.IsZero() {
			key = append(key, 0)
			continue
		}
		text, err := json.Marshal(l)
		if err != nil { // it cannot be: it was read from its stored form
			panic("latchkey: " + err.Error())
		}
		key = compact.AppendText(key, string(text))
	}
	return key
}

func appendRules(key []byte, p Permissions) []byte {
	key = compact.AppendUint(key, uint64(len(p)))
	for i := range p {
		key = appendRule(key, &p[i])
	}
	return key
}

func appendRef(key []byte, id string, version uint64) []byte {
	key = binary.AppendUvarint(key, uint64(len(id)))
	key = append(key, id...)
	return binary.AppendUvarint(key, version)
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

// ended reports whether a role is not held any more at the time at, in µs. A role without an end is held. The end
// itself is too late, and so is every moment for a zero time, which no caller stored.
func ended(ends roleEnds, id string, at int64) bool {
	end, ok := ends[id]
	return ok && at >= end.UnixMicro()
}

// withLiveRoles returns f without the roles that have ended at the time at, in µs, in the token and its ancestors. It
// does not change f. RoleEnds that are left name roles that are held. Not nil says that there were some.
func withLiveRoles(f Found, at int64) Found {
	f.Token = withoutEnded(f.Token, at)
	cloned := false
	for i := range f.Ancestors {
		if f.Ancestors[i].RoleEnds == nil {
			continue
		}
		if !cloned {
			f.Ancestors, cloned = slices.Clone(f.Ancestors), true
		}
		f.Ancestors[i] = withoutEnded(f.Ancestors[i], at)
	}
	return f
}

// withoutEnded is withLiveRoles for one token.
func withoutEnded(t Token, at int64) Token {
	if t.RoleEnds == nil {
		return t
	}
	over := func(id string) bool { return ended(t.RoleEnds, id, at) }
	t.Roles = slices.DeleteFunc(slices.Clone(t.Roles), over)
	left := roleEnds{}
	for _, id := range t.Roles {
		if end, ok := t.RoleEnds[id]; ok {
			left[id] = end
		}
	}
	t.RoleEnds = left
	return t
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
