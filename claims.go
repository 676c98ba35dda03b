package latchkey

import (
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/latchkey-go/latchkey/internal/compact"
	"github.com/latchkey-go/latchkey/internal/predicate"
)

// claims is what the text of a stateless token says, encrypted: what its record would hold. What it has from its
// parent is not among them, nor is its id, which the nonce of the text gives.
type claims struct {
	owner  string
	parent [16]byte
	// parentVersion is the Version of the parent's record at the mint. A store that has an earlier one is an older copy.
	parentVersion uint64
	// parentCreated is the Created of the parent's record, in µs. Another record may have the same id once the owner was
	// erased: the host may give it again.
	parentCreated int64
	ownerVersion  uint64 // see Token.OwnerVersion
	created, ends int64  // µs

	test, full   bool
	name, origin string
	roles        []string
	roleEnds     roleEnds
	permissions  Permissions
	restrictions Restrictions
	client       Client     // zero: the parent's
	attributes   Attributes // that the mint added
	rows         []Condition
	forced       Values
	extra        string
}

// Which parts of the claims follow, in this order. A part that is not there is empty.
const (
	claimTest = 1 << iota
	claimFull
	claimName
	claimOrigin
	claimRoles
	claimRoleEnds
	claimPermissions
	claimDomains
	claimAddresses
	claimClient
	claimAttributes
	claimRows
	claimForced
	claimExtra
	claimEnd // above all of them
)

func (c *claims) flags() (f uint64) {
	set := func(flag uint64, on bool) {
		if on {
			f |= flag
		}
	}
	set(claimTest, c.test)
	set(claimFull, c.full)
	set(claimName, c.name != "")
	set(claimOrigin, c.origin != "")
	set(claimRoles, len(c.roles) != 0)
	set(claimRoleEnds, len(c.roleEnds) != 0)
	set(claimPermissions, len(c.permissions) != 0)
	set(claimDomains, len(c.restrictions.Domains) != 0)
	set(claimAddresses, len(c.restrictions.Addresses) != 0)
	set(claimClient, c.client != Client{})
	set(claimAttributes, len(c.attributes) != 0)
	set(claimRows, len(c.rows) != 0)
	set(claimForced, len(c.forced) != 0)
	set(claimExtra, c.extra != "")
	return f
}

// append appends the claims. There is one way to write them: see package compact. Everything in them is canonical, as
// it is stored in a record.
func (c *claims) append(b []byte) []byte {
	f := c.flags()
	b = compact.AppendUint(b, f)
	b = compact.AppendText(b, c.owner)
	b = append(b, c.parent[:]...)
	b = compact.AppendUint(b, c.parentVersion)
	b = compact.AppendUint(b, c.ownerVersion)
	b = compact.AppendInt(b, c.created)
	b = compact.AppendInt(b, c.created-c.parentCreated)
	b = compact.AppendInt(b, c.ends-c.created)
	if f&claimName != 0 {
		b = compact.AppendText(b, c.name)
	}
	if f&claimOrigin != 0 {
		b = compact.AppendText(b, c.origin)
	}
	if f&claimClient != 0 {
		b = compact.AppendID(b, c.client.ID)
		b = compact.AppendText(b, c.client.Name)
	}
	if f&claimAttributes != 0 {
		b = appendValues(b, c.attributes)
	}
	if f&claimExtra != 0 {
		b = compact.AppendText(b, c.extra)
	}
	return c.appendRights(b, f)
}

// appendRights appends what the token may do.
func (c *claims) appendRights(b []byte, f uint64) []byte {
	if f&claimRoles != 0 {
		b = compact.AppendUint(b, uint64(len(c.roles)))
		for _, id := range c.roles {
			b = compact.AppendID(b, id)
			if f&claimRoleEnds == 0 {
				continue
			}
			end, ok := c.roleEnds[id]
			if b = append(b, flag(ok)); ok {
				b = compact.AppendInt(b, end.UnixMicro()-c.created)
			}
		}
	}
	if f&claimPermissions != 0 {
		b = compact.AppendUint(b, uint64(len(c.permissions)))
		for i := range c.permissions {
			b = appendRule(b, &c.permissions[i])
		}
	}
	if f&claimDomains != 0 {
		b = appendTexts(b, c.restrictions.Domains)
	}
	if f&claimAddresses != 0 {
		b = compact.AppendUint(b, uint64(len(c.restrictions.Addresses)))
		for _, p := range c.restrictions.Addresses {
			b = compact.AppendText(b, string(p.Addr().AsSlice()))
			b = append(b, byte(p.Bits()))
		}
	}
	if f&claimRows != 0 {
		b = compact.AppendUint(b, uint64(len(c.rows)))
		for _, row := range c.rows {
			b = appendCondition(b, row)
		}
	}
	if f&claimForced != 0 {
		b = appendValues(b, c.forced)
	}
	return b
}

// readClaims reads what append appended, and nothing else.
func readClaims(text string) (*claims, bool) {
	r, c := compact.NewReader(text), &claims{}
	f := c.readHead(&r)
	c.readRights(&r, f)
	// A part that is said to be there is not empty.
	return c, r.Done() && f < claimEnd && f == c.flags()
}

// readHead reads all but what appendRights appended, and returns which parts there are.
func (c *claims) readHead(r *compact.Reader) (f uint64) {
	f = r.Uint()
	c.owner, c.test, c.full = r.Text(), f&claimTest != 0, f&claimFull != 0
	copy(c.parent[:], r.Bytes(len(c.parent)))
	c.parentVersion, c.ownerVersion = r.Uint(), r.Uint()
	c.created = r.Int()
	c.parentCreated = c.created - r.Int()
	c.ends = c.created + r.Int()
	if f&claimName != 0 {
		c.name = r.Text()
	}
	if f&claimOrigin != 0 {
		c.origin = r.Text()
	}
	if f&claimClient != 0 {
		c.client.ID = r.ID()
		c.client.Name = r.Text()
	}
	if f&claimAttributes != 0 {
		c.attributes = readValues(r, true)
	}
	if f&claimExtra != 0 {
		c.extra = r.Text()
	}
	return f
}

// claimRights are the parts that appendRights appends, and what the meaning of none of them depends on.
const claimRights = claimFull | claimRoles | claimRoleEnds | claimPermissions | claimDomains | claimAddresses |
	claimRows | claimForced

// headFlags are flags of the parts that readHead reads.
func (c *claims) headFlags() uint64 { return c.flags() &^ claimRights }

func (c *claims) readRights(r *compact.Reader, f uint64) {
	if f&claimRoles != 0 {
		c.roles = make([]string, r.Count())
		for i := range c.roles {
			c.roles[i] = r.ID()
			if i > 0 && c.roles[i] <= c.roles[i-1] {
				r.Fail()
			}
			if f&claimRoleEnds == 0 {
				continue
			}
			if c.roleEnds == nil {
				c.roleEnds = roleEnds{}
			}
			if readFlag(r) {
				c.roleEnds[c.roles[i]] = fromMicros(c.created + r.Int())
			}
		}
	}
	if f&claimPermissions != 0 {
		c.permissions = make(Permissions, r.Count())
		for i := range c.permissions {
			c.permissions[i] = readRule(r)
		}
	}
	if f&claimDomains != 0 {
		c.restrictions.Domains = readTexts(r)
	}
	if f&claimAddresses != 0 {
		c.restrictions.Addresses = make([]netip.Prefix, r.Count())
		for i := range c.restrictions.Addresses {
			addr, ok := netip.AddrFromSlice([]byte(r.Text()))
			p := netip.PrefixFrom(addr, int(r.Byte()))
			if !ok || !p.IsValid() {
				r.Fail()
			}
			c.restrictions.Addresses[i] = p
		}
	}
	if f&claimRows != 0 {
		c.rows = make([]Condition, r.Count())
		for i := range c.rows {
			c.rows[i] = readCondition(r)
		}
	}
	if f&claimForced != 0 {
		c.forced = readValues(r, false)
	}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func readFlag(r *compact.Reader) bool {
	b := r.Byte()
	if b > 1 {
		r.Fail()
	}
	return b == 1
}

func appendTexts(b []byte, list []string) []byte {
	b = compact.AppendUint(b, uint64(len(list)))
	for _, s := range list {
		b = compact.AppendText(b, s)
	}
	return b
}

func readTexts(r *compact.Reader) []string {
	list := make([]string, r.Count())
	for i := range list {
		list[i] = r.Text()
	}
	return list
}

func appendRule(b []byte, rule *Rule) []byte {
	b = append(b, byte(rule.verb)|flag(!rule.rows.IsAllRows())<<2|flag(len(rule.forced) != 0)<<3)
	b = compact.AppendUint(b, uint64(len(rule.actions)))
	for _, a := range rule.actions {
		b = compact.AppendText(b, string(a))
	}
	b = compact.AppendUint(b, uint64(len(rule.patterns)))
	for _, p := range rule.patterns {
		b = compact.AppendText(b, string(p))
	}
	if !rule.rows.IsAllRows() {
		b = appendCondition(b, rule.rows)
	}
	if len(rule.forced) != 0 {
		b = appendValues(b, rule.forced)
	}
	return b
}

func readRule(r *compact.Reader) Rule {
	head := r.Byte()
	start := RuleStart{verb: Verb(head & 3), actions: make([]Action, r.Count())}
	for i := range start.actions {
		start.actions[i] = Action(r.Text())
	}
	patterns := make([]Pattern, r.Count())
	for i := range patterns {
		patterns[i] = Pattern(r.Text())
	}
	rule := start.On(patterns...)
	if head&4 != 0 {
		rows := readCondition(r)
		if rule = rule.Where(rows); rows.IsAllRows() {
			r.Fail()
		}
	}
	if head&8 != 0 {
		rule = rule.Force(readValues(r, false))
	}
	if head > 0xf || rule.Validate() != nil {
		r.Fail()
	}
	return rule
}

// How a condition begins. A comparison begins with its operator.
const (
	claimNoRow = iota
	claimEveryRow
	claimAll
	claimAny
	claimNot
	claimOps // and above
)

var claimOpList = [...]Op{Eq, Ne, Lt, Le, Gt, Ge, In, Contains, StartsWith, IsNull}

func appendCondition(b []byte, c Condition) []byte {
	if c.n == nil {
		return append(b, claimNoRow)
	}
	return c.n.appendClaim(b)
}

func (n *node) appendClaim(b []byte) []byte {
	switch n.kind {
	case nodeEvery:
		return append(b, claimEveryRow)
	case nodeAll, nodeAny:
		b = append(b, claimAll+byte(n.kind-nodeAll))
		b = compact.AppendUint(b, uint64(len(n.parts)))
		for _, p := range n.parts {
			b = p.appendClaim(b)
		}
		return b
	case nodeNot:
		return n.parts[0].appendClaim(append(b, claimNot))
	case nodeLeaf:
		b = append(b, claimOps+byte(slices.Index(claimOpList[:], n.op)))
		b = compact.AppendText(b, n.field)
		return appendValue(b, n.value)
	}
	return append(b, claimNoRow) // a reference without a value, which no record holds
}

func readCondition(r *compact.Reader) Condition {
	c := readPart(r, givenLimits.depth)
	if c.n != nil && c.n.kind == nodeFault {
		r.Fail()
	}
	return c
}

// readPart reads a condition nested at most as deep as given.
func readPart(r *compact.Reader, depth int) Condition {
	fail := func() Condition {
		r.Fail()
		return Condition{}
	}
	head := r.Byte()
	if depth == 0 || r.Failed() {
		return fail()
	}
	switch head {
	case claimNoRow, claimEveryRow:
		if depth != givenLimits.depth {
			return fail() // at the root only
		}
		if head == claimEveryRow {
			return AllRows
		}
		return Condition{}
	case claimAll, claimAny:
		parts := make([]Condition, r.Count())
		for i := range parts {
			parts[i] = readPart(r, depth-1)
		}
		kind := nodeAll + nodeKind(head-claimAll)
		c := group(kind, parts).limitedTo(givenLimits)
		if c.n == nil || c.n.kind != kind || len(c.n.parts) != len(parts) {
			return fail() // written otherwise
		}
		return c
	case claimNot:
		c := Not(readPart(r, depth-1))
		if c.n == nil || c.n.kind != nodeNot {
			return fail()
		}
		return c
	}
	if int(head-claimOps) >= len(claimOpList) {
		return fail()
	}
	op, field := claimOpList[head-claimOps], r.Text()
	value := readValue(r)
	if r.Failed() {
		return Condition{}
	}
	c := Where(field, op, value)
	if c.n.kind != nodeLeaf {
		return fail()
	}
	return c
}

// How a value begins.
const (
	claimNull = iota
	claimText
	claimFalse
	claimTrue
	claimInt
	claimNumber
	claimRef
	claimAttr
	claimList  // of an In
	claimTexts // of an attribute
)

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return compact.AppendText(append(b, claimText), v)
	case bool:
		return append(b, claimFalse+flag(v))
	case int64:
		return compact.AppendInt(append(b, claimInt), v)
	case json.Number:
		return compact.AppendText(append(b, claimNumber), string(v))
	case RefVar:
		return append(b, claimRef, byte(v))
	case AttrRef:
		return compact.AppendText(append(b, claimAttr), v.name)
	case []any:
		b = compact.AppendUint(append(b, claimList), uint64(len(v)))
		for _, item := range v {
			b = appendValue(b, item)
		}
		return b
	case []string:
		return appendTexts(append(b, claimTexts), v)
	}
	return append(b, claimNull)
}

func readValue(r *compact.Reader) any {
	switch r.Byte() {
	case claimNull:
		return nil
	case claimText:
		return r.Text()
	case claimFalse:
		return false
	case claimTrue:
		return true
	case claimInt:
		return r.Int()
	case claimNumber:
		n := json.Number(r.Text())
		if same, _ := predicate.Canonical(n); same != n {
			r.Fail()
		}
		return n
	case claimRef:
		v := RefVar(r.Byte())
		if !v.valid() {
			r.Fail()
		}
		return v
	case claimAttr:
		return AttrRef{r.Text()}
	case claimList:
		n := r.Uint() // may be 0: such a list admits no row
		if n > uint64(r.Left()) {
			r.Fail()
			return nil
		}
		list := make([]any, n)
		for i := range list {
			switch list[i] = readValue(r); list[i].(type) {
			case string, bool, int64, json.Number:
			default:
				r.Fail()
				return nil
			}
		}
		return list
	case claimTexts:
		return readTexts(r)
	}
	r.Fail()
	return nil
}

// appendValues appends values by the order of their names.
func appendValues[M ~map[string]any](b []byte, values M) []byte {
	b = compact.AppendUint(b, uint64(len(values)))
	if len(values) == 1 {
		for name, v := range values {
			b = appendValue(compact.AppendText(b, name), v)
		}
		return b
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b = appendValue(compact.AppendText(b, name), values[name])
	}
	return b
}

// readValues reads what appendValues appended: attributes, or values that are forced.
func readValues(r *compact.Reader, attributes bool) map[string]any {
	n := r.Count()
	values := make(map[string]any, n)
	last := ""
	for i := range n {
		name := r.Text()
		if i > 0 && name <= last {
			r.Fail()
		}
		last = name
		v := readValue(r)
		if !attributes && !mayBeForced(name, v) {
			r.Fail()
		}
		if r.Failed() {
			return nil
		}
		values[name] = v
	}
	if attributes {
		if same, err := Attributes(values).canonical(); err != nil || !reflect.DeepEqual(map[string]any(same), values) {
			r.Fail()
		}
	}
	return values
}

// mayBeForced reports whether a value that readValue returned may be forced: see normaliseValues.
func mayBeForced(name string, v any) bool {
	if predicate.CheckName(name) != "" || v == SelfRoles {
		return false
	}
	if v == nil {
		return true
	}
	_, reason := canonical(v)
	return reason == ""
}

// record returns the record that the claims stand for, without what depends on the parent: the client and the
// attributes, if they are the parent's, and the depth.
func (c *claims) record(id string, parent string) Token {
	t := Token{ID: id, Owner: c.owner, Version: 1, Kind: KindAccess, Test: c.test, Parent: parent, Origin: c.origin,
		Settings: Settings{Name: c.name, Roles: c.roles, RoleEnds: c.roleEnds, Permissions: c.permissions,
			Restrictions: c.restrictions, Validity: Validity{NotAfter: fromMicros(c.ends)}},
		Client: c.client, Full: c.full, Rows: c.rows, Forced: c.forced, Created: fromMicros(c.created),
		OwnerVersion: c.ownerVersion}
	if c.extra != "" {
		t.Extra = json.RawMessage(c.extra)
	}
	return t
}
