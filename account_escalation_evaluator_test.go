package latchkey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	lk "github.com/latchkey-go/latchkey"
)

// The evaluator says what a token or a role may do, by the documented algebra and by nothing else: it reads the public
// records and shares no code with the library. A condition is the set of rows on which it is true, out of a small
// universe. It knows no limits of size: what it gives is what the rules mean, however long they are.
//
//	records     everything stored of one owner at one moment
//	universe    the rows there are, and what a condition says of each
//	subject     a chain of strata, and the caller: a token, a role, an assumed or a narrowed caller
//	rights      what a subject may do, row by row, to be compared
//	reach       from where, how long, how fast and at what cost a token may be used

// records is everything stored of one owner at one moment.
type records struct {
	tokens map[string]lk.Token
	ids    []string // of tokens, oldest first
	roles  map[string]lk.Role
	named  []string // ids of roles, oldest first
	owner  lk.Owner

	now int64 // µs: roles that have ended by then are not held

	sound  *records                   // what repaired found
	up     map[string]map[string]bool // what ancestry and broken found
	faulty map[string]bool
}

// readRecords reads all of an owner, as of now. It is one snapshot only while there is no writer.
func readRecords(ctx context.Context, s lk.Store, owner string, now time.Time) (*records, error) {
	r := &records{now: now.UnixMicro(), tokens: map[string]lk.Token{}, roles: map[string]lk.Role{},
		up: map[string]map[string]bool{}, faulty: map[string]bool{}}
	for after, n := "", 1000; n == 1000; {
		page, err := s.Tokens(ctx, owner, lk.TokenQuery{Page: lk.Page{After: after, Limit: 1000}})
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			r.tokens[t.ID], r.ids, after = t, append(r.ids, t.ID), t.ID
		}
		n = len(page)
	}
	for after, n := "", 1000; n == 1000; {
		page, err := s.Roles(ctx, owner, lk.RoleQuery{Page: lk.Page{After: after, Limit: 1000}})
		if err != nil {
			return nil, err
		}
		for _, x := range page {
			r.roles[x.ID], r.named, after = x, append(r.named, x.ID), x.ID
		}
		n = len(page)
	}
	var err error
	r.owner, err = s.Owner(ctx, owner)
	return r, err
}

// at is the records as they will be at another moment, if nobody changes them: roles end by then.
func (r *records) at(now int64) *records {
	c := *r
	c.now, c.sound = now, nil
	return &c
}

// held is the roles of a record that have not ended.
func (r *records) held(roles []string, ends map[string]time.Time) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(id string) bool {
		end, ok := ends[id]
		return ok && r.now >= end.UnixMicro()
	})
}

// past reports whether a token, or one that it was minted from, has an end that is not after now.
func (r *records) past(id string) bool {
	chain, ok := r.chain(id)
	return !ok || slices.ContainsFunc(chain, func(t lk.Token) bool {
		return !t.Validity.NotAfter.IsZero() && r.now >= t.Validity.NotAfter.UnixMicro()
	})
}

// chain is a token and its ancestors, nearest first; false when one of them is gone.
func (r *records) chain(id string) ([]lk.Token, bool) {
	var chain []lk.Token
	for id != "" {
		t, ok := r.tokens[id]
		if !ok {
			return nil, false
		}
		chain, id = append(chain, t), t.Parent
	}
	return chain, len(chain) > 0
}

// ancestry is every role that id inherits, directly or not; id itself is in it only if it lies on a cycle.
func (r *records) ancestry(id string) map[string]bool {
	if known, ok := r.up[id]; ok {
		return known
	}
	seen := map[string]bool{}
	for todo := slices.Clone(r.roles[id].Inherits); len(todo) > 0; todo = todo[1:] {
		if up := todo[0]; !seen[up] {
			seen[up] = true
			todo = append(todo, r.roles[up].Inherits...)
		}
	}
	r.up[id] = seen
	return seen
}

// repaired is the records as they would be if no role inherited one that is gone. Such a role may give nothing today,
// but it may be repaired without another check.
func (r *records) repaired() *records {
	if r.sound == nil {
		c := *r
		c.roles, c.up, c.faulty = map[string]lk.Role{}, map[string]map[string]bool{}, map[string]bool{}
		for id, x := range r.roles {
			x.Inherits = slices.DeleteFunc(slices.Clone(x.Inherits), func(up string) bool {
				_, ok := r.roles[up]
				return !ok
			})
			c.roles[id] = x
		}
		r.sound = &c
	}
	return r.sound
}

// heirs is every role that inherits id, directly or not.
func (r *records) heirs(id string) map[string]bool {
	seen := map[string]bool{}
	for todo := []string{id}; len(todo) > 0; todo = todo[1:] {
		for _, x := range r.named {
			if !seen[x] && slices.Contains(r.roles[x].Inherits, todo[0]) {
				seen[x] = true
				todo = append(todo, x)
			}
		}
	}
	return seen
}

// broken reports whether a role gives nothing whatever its rules say: it is gone, holds an invalid rule, inherits
// itself or one that does, or applies Denies again that cannot be known.
func (r *records) broken(id string) bool {
	known, ok := r.faulty[id]
	if !ok {
		known = r.findBroken(id)
		r.faulty[id] = known
	}
	return known
}

func (r *records) findBroken(id string) bool {
	role, ok := r.roles[id]
	if !ok || role.Permissions.Validate() != nil || role.Boundary.Validate() != nil ||
		slices.ContainsFunc(role.Boundary, func(r lk.Rule) bool { return len(r.Forced()) > 0 }) {
		return true
	}
	up := r.ancestry(id)
	if up[id] {
		return true
	}
	for other := range up {
		if r.ancestry(other)[other] || role.InheritDenies && r.broken(other) {
			return true
		}
	}
	return false
}

// rowSet is a set of rows of the universe.
type rowSet [2]uint64

func (s rowSet) has(i int) bool          { return s[i/64]&(1<<(i%64)) != 0 }
func (s *rowSet) add(i int)              { s[i/64] |= 1 << (i % 64) }
func (s rowSet) and(o rowSet) rowSet     { return rowSet{s[0] & o[0], s[1] & o[1]} }
func (s rowSet) or(o rowSet) rowSet      { return rowSet{s[0] | o[0], s[1] | o[1]} }
func (s rowSet) without(o rowSet) rowSet { return rowSet{s[0] &^ o[0], s[1] &^ o[1]} }
func (s rowSet) empty() bool             { return s == rowSet{} }

// absent is the value of a field that a row does not give.
type absent struct{}

// universe is every row of a few fields with a few values, and what conditions say of them. NULL and a field that is
// not there are among the values.
type universe struct {
	fields  []string // in the order of values
	values  [][]any
	size    int
	all     rowSet
	masks   [][]rowSet             // by field and value: the rows that have it
	symbols map[string]string      // by id of an asker that is made later: the value that stands for it
	trees   map[lk.Condition]*tree // conditions are immutable and come back as they were
	known   map[lk.Condition]logic // of those without references
	schema  *lk.Schema
	rows    []lk.Row
}

// newUniverse takes the values of who that the world's rules speak of.
func newUniverse(who ...any) *universe {
	u := &universe{fields: []string{"region", "k", "who"}, symbols: map[string]string{}, trees: map[lk.Condition]*tree{},
		known: map[lk.Condition]logic{}}
	u.values = [][]any{
		{absent{}, nil, "EU", "US"},
		{absent{}, nil, int64(1), int64(4999)},
		append([]any{absent{}, nil}, who...),
	}
	u.size = len(u.values[0]) * len(u.values[1]) * len(u.values[2])
	if u.size > 128 {
		panic("too many rows for a rowSet")
	}
	u.masks = make([][]rowSet, len(u.fields))
	for f := range u.fields {
		u.masks[f] = make([]rowSet, len(u.values[f]))
	}
	for i := range u.size {
		u.all.add(i)
		row := lk.Row{}
		for f, v := range u.at(i) {
			u.masks[f][v].add(i)
			if x := u.values[f][v]; x != (absent{}) {
				row[u.fields[f]] = x
			}
		}
		u.rows = append(u.rows, row)
	}
	u.schema = lk.NewSchema(lk.Fields{"region": {Column: "region", Type: lk.Text},
		"k": {Column: "k", Type: lk.Integer}, "who": {Column: "who", Type: lk.Text},
		"z": {Column: "z", Type: lk.Integer}})
	return u
}

// at is the values of row i, as indices; index is the way back.
func (u *universe) at(i int) [3]int {
	n1, n2 := len(u.values[1]), len(u.values[2])
	return [3]int{i / (n1 * n2), i / n2 % n1, i % n2}
}

func (u *universe) index(v [3]int) int { return (v[0]*len(u.values[1])+v[1])*len(u.values[2]) + v[2] }

// rowsFor is all rows for a caller with an id that a symbol stands for.
func (u *universe) rowsFor(self string) []lk.Row {
	symbol, ok := u.symbols[self]
	if !ok {
		return u.rows
	}
	rows := make([]lk.Row, len(u.rows))
	for i, row := range u.rows {
		rows[i] = row
		if row["who"] == symbol {
			rows[i] = lk.Row{"who": self}
			for _, f := range []string{"region", "k"} {
				if v, ok := row[f]; ok {
					rows[i][f] = v
				}
			}
		}
	}
	return rows
}

// name is the value of the universe that stands for an id.
func (u *universe) name(id string) string {
	if s, ok := u.symbols[id]; ok {
		return s
	}
	return id
}

// tree is a condition as its JSON says it.
type tree struct {
	every, never bool
	all          []*tree
	any          []*tree
	not          *tree
	field        int
	op           lk.Op
	value        any // string, int64, bool, map[any]bool for a list
	ref          string
	refs         bool // it or a part of it refers to the caller
}

// logic is the rows on which a condition is true and those on which it is false. On the others it is unknown.
type logic struct{ yes, no rowSet }

// parse reads a condition. Nil: it is malformed, or speaks of what the universe does not have.
func (u *universe) parse(c lk.Condition) *tree {
	if t, ok := u.trees[c]; ok {
		return t
	}
	var t *tree
	if text, err := json.Marshal(c); err == nil {
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			t = u.read(v)
		}
	}
	u.trees[c] = t
	return t
}

func (u *universe) read(v any) *tree {
	switch v := v.(type) {
	case bool:
		return &tree{every: v, never: !v}
	case map[string]any:
		for kind, parts := range v {
			list, _ := parts.([]any)
			t := &tree{}
			switch kind {
			case "all", "any":
				for _, p := range list {
					part := u.read(p)
					t.refs = t.refs || part.refs
					if kind == "all" {
						t.all = append(t.all, part)
					} else {
						t.any = append(t.any, part)
					}
				}
				return t
			case "not":
				t.not = u.read(parts)
				t.refs = t.not.refs
				return t
			}
		}
		t := &tree{op: lk.Op(v["op"].(string))}
		if t.field = slices.Index(u.fields, v["field"].(string)); t.field < 0 {
			panic(fmt.Sprintf("the universe has no field %q", v["field"]))
		}
		switch x := v["value"].(type) {
		case []any:
			set := map[any]bool{}
			for _, e := range x {
				set[plain(e)] = true
			}
			t.value = set
		case map[string]any:
			t.refs = true
			if t.ref, _ = x["ref"].(string); t.ref == "" {
				t.ref = "attr:" + x["attr"].(string)
			}
		default:
			t.value = plain(x)
		}
		return t
	}
	panic(fmt.Sprintf("not a condition: %v", v))
}

func plain(v any) any {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return i
		}
		return string(n)
	}
	return v
}

// asker is the caller: what references mean. Anybody stands for every caller that may have a role.
type asker struct {
	anybody             bool
	self, client, owner string
	roles               []string
	attributes          lk.Attributes
}

// ref is what a reference means, as texts; known is false when it has no value. Within anybody's rules it may be any.
func (w asker) ref(name string, roles *[]string) (values []string, known, any bool) {
	one := func(s string) ([]string, bool, bool) { return []string{s}, s != "", false }
	switch {
	case name == "owner_id":
		return one(w.owner)
	case name == "self_roles" && roles != nil:
		return *roles, len(*roles) > 0, false
	case w.anybody:
		return nil, true, true
	case name == "self_roles":
		return w.roles, len(w.roles) > 0, false
	case name == "self":
		return one(w.self)
	case name == "client_id":
		return one(w.client)
	case strings.HasPrefix(name, "attr:"):
		switch v := w.attributes[name[len("attr:"):]].(type) {
		case string:
			return one(v)
		case []string:
			return v, true, false
		}
	}
	return nil, false, false
}

// isList reports whether an attribute is a list.
func (w asker) isList(ref string) bool {
	_, ok := w.attributes[strings.TrimPrefix(ref, "attr:")].([]string)
	return ok
}

// judge is what a condition says of every row, asked by who in a stratum whose own roles are roles (nil: who's).
func (u *universe) judge(c lk.Condition, who asker, roles *[]string) logic {
	if l, ok := u.known[c]; ok {
		return l
	}
	t := u.parse(c)
	if t == nil {
		return logic{} // malformed: neither true nor false of anything
	}
	l := u.eval(t, who, roles)
	if !t.refs {
		u.known[c] = l
	}
	return l
}

func (u *universe) eval(t *tree, who asker, roles *[]string) logic {
	switch {
	case t.every:
		return logic{yes: u.all}
	case t.never:
		return logic{}
	case t.not != nil:
		l := u.eval(t.not, who, roles)
		return logic{l.no, l.yes}
	case t.all != nil:
		l := logic{yes: u.all}
		for _, p := range t.all {
			x := u.eval(p, who, roles)
			l.yes, l.no = l.yes.and(x.yes), l.no.or(x.no)
		}
		return l
	case t.any != nil:
		l := logic{no: u.all}
		for _, p := range t.any {
			x := u.eval(p, who, roles)
			l.yes, l.no = l.yes.or(x.yes), l.no.and(x.no)
		}
		return l
	}
	var l logic
	value := t.value
	if t.ref != "" {
		texts, known, anything := who.ref(t.ref, roles)
		switch {
		case anything:
			// The caller may be any: each known value may match or not.
			for i, v := range u.values[t.field] {
				if _, text := v.(string); text {
					l.yes, l.no = l.yes.or(u.masks[t.field][i]), l.no.or(u.masks[t.field][i])
				}
			}
			return l
		case !known, strings.HasPrefix(t.ref, "attr:") && (t.op == lk.In) != who.isList(t.ref):
			return l
		case t.op == lk.In:
			set := map[any]bool{}
			for _, s := range texts {
				set[u.name(s)] = true
			}
			value = set
		default:
			value = u.name(texts[0])
		}
	}
	for i, v := range u.values[t.field] {
		if yes, no := compareValue(v, t.op, value); yes {
			l.yes = l.yes.or(u.masks[t.field][i])
		} else if no {
			l.no = l.no.or(u.masks[t.field][i])
		}
	}
	return l
}

// compareValue is one comparison: true, false, or neither when the row's value is not known.
func compareValue(v any, op lk.Op, with any) (yes, no bool) {
	if v == (absent{}) {
		return false, false
	}
	if op == lk.IsNull {
		is := (v == nil) == with.(bool)
		return is, !is
	}
	if v == nil {
		return false, false
	}
	var is bool
	switch {
	case op == lk.In:
		is = with.(map[any]bool)[v]
	case op == lk.Eq:
		is = v == with
	case op == lk.Ne:
		is = v != with
	default:
		c := 0
		switch x := v.(type) {
		case int64:
			y, ok := with.(int64)
			if !ok {
				return false, false
			}
			c = int(min(max(x-y, -1), 1))
		case string:
			y, ok := with.(string)
			if !ok {
				return false, false
			}
			c = strings.Compare(x, y)
			if op == lk.Contains {
				is = strings.Contains(x, y)
				return is, !is
			}
			if op == lk.StartsWith {
				is = strings.HasPrefix(x, y)
				return is, !is
			}
		}
		switch op {
		case lk.Lt:
			is = c < 0
		case lk.Le:
			is = c <= 0
		case lk.Gt:
			is = c > 0
		case lk.Ge:
			is = c >= 0
		default:
			panic("unknown operator " + op)
		}
	}
	return is, !is
}

// forced is the values a grant writes: an index of the universe for each field plus 1, 0 for none; and the field z,
// that no row of the universe has.
type forced struct {
	field [3]int8
	z     int32
}

// A reference is what it means for who. One without a value makes known false, and stands for itself otherwise. For
// anybody it is anyText: it may be any text, so it agrees with every other.
func (u *universe) forced(v lk.Values, who asker) (f forced, known bool) {
	known = true
	for name, value := range v {
		var ref string
		switch value := value.(type) {
		case lk.RefVar:
			ref = value.String()
		case lk.AttrRef:
			ref = "attr:" + value.Name()
		}
		if ref != "" {
			texts, has, anything := who.ref(ref, nil)
			switch i := slices.Index(u.fields, name); {
			case anything:
				f.field[i] = anyText
				continue
			case !has || strings.HasPrefix(ref, "attr:") && who.isList(ref):
				known = false
				f.field[i] = anyText - 1 - int8(slices.Index(forcedRefs, value))
				continue
			}
			value = u.name(texts[0])
		}
		if name == "z" {
			f.z = int32(plain(value).(int64)) + 1
			continue
		}
		i := slices.Index(u.fields, name)
		at := slices.Index(u.values[i], plain(value))
		if at < 0 {
			panic(fmt.Sprintf("the universe has no %s = %v", name, value))
		}
		f.field[i] = int8(at) + 1
	}
	return f, known
}

const anyText = 120

// forcedRefs are the references that rules force.
var forcedRefs = []any{lk.ClientID, lk.OwnerID, lk.Attr("desk"), lk.Attr("desks")}

// merge is both; false if they disagree.
func (f forced) merge(g forced) (forced, bool) {
	for i, v := range g.field {
		if f.field[i] == anyText && v != 0 {
			f.field[i] = v
			continue
		}
		if f.field[i] != 0 && v != 0 && f.field[i] != v && v != anyText {
			return f, false
		}
		if v != anyText || f.field[i] == 0 {
			f.field[i] = max(f.field[i], v)
		}
	}
	if f.z != 0 && g.z != 0 && f.z != g.z {
		return f, false
	}
	f.z = max(f.z, g.z)
	return f, true
}

// write is row i with the forced values over it.
func (u *universe) write(i int, f forced) int {
	v := u.at(i)
	for n, x := range f.field {
		if x != 0 {
			v[n] = int(x) - 1
		}
	}
	return u.index(v)
}

// given is one way in which something is allowed: rows, and the values written into them.
type given struct {
	rows   rowSet
	every  bool // by a rule without a condition, all the way
	forced forced
}

// givens are ways in which something is allowed, one for each set of forced values.
type givens struct {
	list []given
	at   map[forced]int
}

func (g *givens) add(x given) {
	find := -1
	if g.at == nil && len(g.list) < 16 {
		find = slices.IndexFunc(g.list, func(y given) bool { return y.forced == x.forced })
	} else {
		if g.at == nil {
			g.at = map[forced]int{}
			for i := range g.list {
				g.at[g.list[i].forced] = i
			}
		}
		if i, ok := g.at[x.forced]; ok {
			find = i
		} else {
			g.at[x.forced] = len(g.list)
		}
	}
	if find < 0 {
		g.list = append(g.list, x)
		return
	}
	g.list[find].rows = g.list[find].rows.or(x.rows)
	g.list[find].every = g.list[find].every || x.every
}

func (g *givens) join(o givens) {
	for _, x := range o.list {
		g.add(x)
	}
}

// meet is what both allow: each pair, its rows those of both, its forced values merged, dropped where they disagree.
func (g givens) meet(o givens) (out givens) {
	for _, x := range g.list {
		for _, y := range o.list {
			if f, ok := x.forced.merge(y.forced); ok {
				out.add(given{x.rows.and(y.rows), x.every && y.every, f})
			}
		}
	}
	return out
}

// stratum is one step of a chain.
type stratum struct {
	full   bool // starts from everything
	secret bool // a secret key's: all but what must be named
	roles  []string
	rules  lk.Permissions
	rows   []lk.Condition
	forced lk.Values
	has    *[]string // what SelfRoles means; nil: the asker's
	owner  bool      // the owner's boundary
}

// subject is what may do something: a chain of strata, all of which must allow it, and the caller.
type subject struct {
	strata []stratum
	who    asker
	any    bool // a mint of it may name any role of the owner
}

// unbounded is the subject without the owner's boundary, which holds for all alike.
func (s subject) unbounded() subject {
	s.strata = slices.DeleteFunc(slices.Clone(s.strata), func(x stratum) bool { return x.owner })
	return s
}

// token is what a token may do, alive or not. A token with a broken chain may do nothing.
func (r *records) token(id string) subject {
	chain, ok := r.chain(id)
	if !ok {
		return subject{}
	}
	root := chain[len(chain)-1]
	s := subject{who: asker{self: root.ID, client: chain[0].Client.ID, owner: root.Owner, attributes: chain[0].Attributes}}
	strata := make([]stratum, len(chain))
	have, any := []string(nil), false // of the one above: the roles it has, and whether a mint of it may name others
	for i := len(chain) - 1; i >= 0; i-- {
		t := chain[i]
		t.Roles = r.held(t.Roles, t.RoleEnds)
		x := stratum{full: t.Full, roles: t.Roles, rules: t.Permissions, rows: t.Rows, forced: t.Forced}
		switch {
		case t.Kind == lk.KindSecret:
			x, have, any = stratum{full: true, secret: true}, nil, true
		case t.Full: // what its parent has
		default:
			if t.Parent != "" && !any {
				above := have
				x.roles = slices.DeleteFunc(slices.Clone(t.Roles), func(id string) bool { return !slices.Contains(above, id) })
			}
			have, any = x.roles, t.Kind == lk.KindSession
		}
		roles := have
		x.has = &roles
		strata[i] = x
	}
	s.strata, s.any = strata, any
	s.who.roles = have
	return r.bounded(s, strata[len(strata)-1].has)
}

// bounded puts the owner's boundary beneath a chain.
func (r *records) bounded(s subject, has *[]string) subject {
	if r.owner.Boundary != nil {
		s.strata = append(slices.Clone(s.strata), stratum{rules: r.owner.Boundary, has: has, owner: true})
	}
	return s
}

// role is what a role gives to a token that has it.
func (r *records) role(id string) subject {
	return r.bounded(subject{strata: []stratum{{roles: []string{id}}}, who: asker{anybody: true, owner: r.owner.ID}}, nil)
}

// assumed is what a caller may do that the host authenticated itself.
func (r *records) assumed(c lk.Caller) subject {
	who := asker{self: c.Client.ID, client: c.Client.ID, owner: r.owner.ID, attributes: c.Attributes}
	return r.bounded(subject{strata: []stratum{{rules: c.Rules}}, who: who}, nil)
}

// narrow is a subject with a narrowing on top.
func (r *records) narrow(s subject, n lk.Narrowing) subject {
	unnamed := n.Roles == nil
	n.Roles = r.held(n.Roles, n.RoleEnds)
	have, any := s.who.roles, s.any
	x := stratum{full: unnamed && n.Permissions == nil, rules: n.Permissions, rows: n.Rows, forced: n.Forced}
	roles := have
	if !x.full {
		roles = slices.DeleteFunc(slices.Clone(n.Roles), func(id string) bool { return !any && !slices.Contains(have, id) })
	}
	x.has = &roles
	if !x.full {
		x.roles, s.any = roles, false
	}
	s.strata = append([]stratum{x}, s.strata...)
	if n.Client.ID != "" {
		s.who.client = n.Client.ID
	}
	s.who.attributes = maps.Clone(s.who.attributes)
	for name, v := range n.Attributes {
		if s.who.attributes == nil {
			s.who.attributes = lk.Attributes{}
		}
		s.who.attributes[name] = v
	}
	s.who.roles = roles
	return s
}

// evaluator answers questions about the records.
type evaluator struct {
	*universe
	*records
}

func (e evaluator) everything() givens { return givens{list: []given{{rows: e.all, every: true}}} }

// speaks reports whether a rule speaks about the action on the resource.
func speaks(r lk.Rule, a lk.Action, on lk.Resource) bool {
	named := slices.Contains(r.Actions(), a) ||
		slices.Contains(r.Actions(), lk.Any) && (a != exceed && a != lk.Give || r.Verb() == lk.VerbDeny)
	return named && slices.ContainsFunc(r.Patterns(), func(p lk.Pattern) bool { return beneath(p, on) })
}

// beneath reports whether a pattern covers a resource: segment by segment, a star at the end for one and more.
func beneath(p lk.Pattern, on lk.Resource) bool {
	ps, rs := strings.Split(string(p), "/"), strings.Split(string(on), "/")
	if rs[0] == "latchkey" && len(rs) > 1 && (ps[0] != "latchkey" || len(ps) < 2) {
		return false
	}
	if last := len(ps) - 1; ps[last] == "*" {
		return len(rs) > last && slices.Equal(ps[:last], rs[:last])
	}
	return slices.Equal(ps, rs)
}

// apply is the turn of a list of rules, in order.
func (e evaluator) apply(rules lk.Permissions, gs givens, a lk.Action, on lk.Resource, who asker,
	has *[]string) givens {
	for _, r := range rules {
		if !speaks(r, a, on) {
			continue
		}
		switch r.Verb() {
		case lk.VerbDeny:
			gs = e.deny(r, gs, who, has)
			continue
		case lk.VerbAllow:
			gs = givens{}
		}
		if c := r.Condition(); !c.IsNoRows() {
			out := givens{list: slices.Clone(gs.list)}
			if f, known := e.forced(r.Forced(), who); known || a != lk.Create {
				out.add(given{e.judge(c, who, has).yes, c.IsAllRows(), f})
			}
			gs = out
		}
	}
	return gs
}

// deny leaves the rows on which the condition is known to be false; a Deny of every row, and of none, leaves nothing.
func (e evaluator) deny(r lk.Rule, gs givens, who asker, has *[]string) givens {
	c := r.Condition()
	if c.IsAllRows() || c.IsNoRows() {
		return givens{}
	}
	no := e.judge(c, who, has).no
	var left givens
	for _, g := range gs.list {
		left.add(given{g.rows.and(no), false, g.forced})
	}
	return left
}

// rules is what a role's own rules say with those it inherits, whatever its boundary.
func (e evaluator) rules(id string, a lk.Action, on lk.Resource, who asker, has *[]string) givens {
	if e.broken(id) {
		return givens{}
	}
	role := e.roles[id]
	var gs givens
	for _, up := range role.Inherits {
		gs.join(e.rules(up, a, on, who, has))
	}
	gs = e.apply(role.Permissions, gs, a, on, who, has)
	if role.InheritDenies {
		for up := range e.ancestry(id) {
			for _, r := range e.roles[up].Permissions {
				if r.Verb() == lk.VerbDeny && speaks(r, a, on) {
					gs = e.deny(r, gs, who, has)
				}
			}
		}
	}
	return gs
}

// gives is what a role gives to a token that names it: its rules, within its boundary and those it inherits.
func (e evaluator) gives(id string, a lk.Action, on lk.Resource, who asker, has *[]string) givens {
	gs := e.rules(id, a, on, who, has)
	if e.roles[id].Boundary == nil || len(gs.list) == 0 {
		return gs
	}
	var lets givens
	for other := range e.ancestry(id) {
		if b := e.roles[other].Boundary; b != nil && !e.broken(other) {
			lets.join(e.apply(b, givens{}, a, on, who, has))
		}
	}
	lets.join(e.apply(e.roles[id].Boundary, givens{}, a, on, who, has))
	return gs.meet(lets)
}

// stratum is what one step of the chain allows.
func (e evaluator) stratum(x stratum, a lk.Action, on lk.Resource, who asker) givens {
	if x.rules.Validate() != nil {
		return givens{}
	}
	var gs givens
	switch {
	case x.secret && a == exceed:
	case x.full:
		gs = e.everything()
	default:
		for _, id := range x.roles {
			gs.join(e.gives(id, a, on, who, x.has))
		}
	}
	gs = e.apply(x.rules, gs, a, on, who, x.has)
	for _, c := range x.rows {
		if c.IsNoRows() {
			return givens{}
		}
		gs = gs.meet(givens{list: []given{{rows: e.judge(c, who, x.has).yes, every: c.IsAllRows()}}})
	}
	if a == lk.Create && len(x.forced) > 0 {
		f, _ := e.forced(x.forced, who)
		gs = gs.meet(givens{list: []given{{rows: e.all, every: true, forced: f}}})
	}
	return gs
}

// ask is what a subject may do: the meet of its strata.
func (e evaluator) ask(s subject, a lk.Action, on lk.Resource) givens {
	if len(s.strata) == 0 {
		return givens{}
	}
	gs := e.everything()
	for _, x := range s.strata {
		if gs = gs.meet(e.stratum(x, a, on, s.who)); len(gs.list) == 0 {
			break
		}
	}
	return gs
}

// allows reports whether every row is allowed.
func (e evaluator) allows(s subject, a lk.Action, on lk.Resource) bool {
	return slices.ContainsFunc(e.ask(s, a, on).list, func(g given) bool { return g.every })
}

// question is one action on one resource.
type question struct {
	action   lk.Action
	resource lk.Resource
}

// right is the answer to one question: rows that may be reached, and those that may come out of a create.
type right struct{ rows, writes rowSet }

// rights is the answer to every question of a world, in order.
type rights []right

func (u *universe) right(gs givens, a lk.Action) (r right) {
	for _, g := range gs.list {
		r.rows = r.rows.or(g.rows)
		if a != lk.Create {
			continue
		}
		if g.forced == (forced{}) {
			r.writes = r.writes.or(g.rows)
			continue
		}
		if g.forced.z != 0 {
			continue // what is written is no row of the universe
		}
		agree := u.all
		for f, v := range g.forced.field {
			switch {
			case v == anyText:
				var texts rowSet
				for i, x := range u.values[f] {
					if _, text := x.(string); text {
						texts = texts.or(u.masks[f][i])
					}
				}
				agree = agree.and(texts)
			case v != 0:
				agree = agree.and(u.masks[f][v-1])
			}
		}
		r.writes = r.writes.or(g.rows.and(agree))
	}
	return r
}

func (e evaluator) rights(s subject, ask []question) rights {
	out := make(rights, len(ask))
	for i, q := range ask {
		out[i] = e.right(e.ask(s, q.action, q.resource), q.action)
	}
	return out
}

// more is what r has and o has not; the zero right everywhere if there is nothing.
func (r rights) more(o rights) rights {
	out := make(rights, len(r))
	for i := range r {
		out[i] = right{r[i].rows.without(o[i].rows), r[i].writes.without(o[i].writes)}
	}
	return out
}

func (r rights) none() bool {
	return !slices.ContainsFunc(r, func(x right) bool { return x != right{} })
}

// show names the first right there is.
func (u *universe) show(r rights, ask []question) string {
	for i, x := range r {
		verb, set := "reaches", x.rows
		if set.empty() {
			verb, set = "writes", x.writes
		}
		for n := range u.size {
			if set.has(n) {
				return fmt.Sprintf("%s on %s %s row %v", ask[i].action, ask[i].resource, verb, u.rows[n])
			}
		}
	}
	return "nothing"
}

// written is what a create of row i writes: the row stands if some grant changes nothing of it; else what all grants
// that admit it agree upon. z is the field that the universe has not.
type written struct {
	row            int
	z              int32
	denied, differ bool
}

func (u *universe) prepare(gs givens, i int) written {
	out := written{denied: true}
	for _, g := range gs.list {
		to := u.write(i, g.forced)
		switch {
		case !g.rows.has(to):
		case to == i && g.forced.z == 0:
			return written{row: i}
		case out.denied:
			out = written{row: to, z: g.forced.z}
		case out.row != to || out.z != g.forced.z:
			out.differ = true
		}
	}
	return out
}

// reach is from where, until when, how fast and at what cost a token may be used.
type reach struct {
	places  map[place]bool // where a request is let in from
	mints   map[netip.Addr]bool
	signed  bool
	end     int64                   // µs; math.MaxInt64: none
	idle    bool                    // it ends when it is not used, it or one of its ancestors
	credits [len(purses)]lk.Credits // what each purse lasts for
	rate    float64                 // requests per second; +Inf: any
	burst   int
}

// purses are what quotas of a universe are of: a meter in a period.
var purses = [4]struct {
	meter string
	per   lk.Period
}{{"api", lk.Month}, {"mail", lk.Month}, {"api", lk.Day}, {"mail", lk.Day}}

type place struct {
	address netip.Addr
	referer string
}

// hosts of the referers that a universe's requests send.
func refererOf(host string) string {
	if host == "" {
		return ""
	}
	return "https://" + host + "/"
}

// reachOf is the reach of a token among these addresses and hosts.
func (r *records) reachOf(id string, addresses []netip.Addr, hosts []string) reach {
	out := reach{places: map[place]bool{}, mints: map[netip.Addr]bool{}, end: math.MaxInt64,
		rate: math.Inf(1), burst: math.MaxInt}
	for i := range out.credits {
		out.credits[i] = math.MaxInt64
	}
	chain, ok := r.chain(id)
	if !ok {
		return out
	}
	for _, at := range addresses { // none of a chain lets in what one of it does not
		inside := true
		for _, t := range chain {
			inside = inside && withinAny(t.Restrictions.Addresses, at)
		}
		out.mints[at] = inside && withinAny(chain[0].Restrictions.MintFrom, at)
		for _, host := range hosts {
			ok := inside
			for _, t := range chain {
				ok = ok && (len(t.Restrictions.Domains) == 0 || slices.Contains(t.Restrictions.Domains, host))
			}
			out.places[place{at, host}] = ok
		}
	}
	for _, t := range chain {
		out.signed = out.signed || t.Restrictions.Signed
		if !t.Validity.NotAfter.IsZero() {
			out.end = min(out.end, t.Validity.NotAfter.UnixMicro())
		}
		out.idle = out.idle || t.Validity.Idle != 0
		for _, q := range t.Limits.Quotas {
			for i, p := range purses {
				if q.Per == p.per && (q.Meter == "" || q.Meter == p.meter) {
					out.credits[i] = min(out.credits[i], q.Amount+q.Carry)
				}
			}
		}
		if l := t.Limits.Rate; l != (lk.Rate{}) {
			out.rate = min(out.rate, float64(l.Count)/l.Per.Seconds())
			out.burst = min(out.burst, l.Burst)
		}
	}
	return out
}

// withinAny reports whether an address lies in one of the prefixes; no prefixes contain every address, and the
// unknown one.
func withinAny(prefixes []netip.Prefix, at netip.Addr) bool {
	return len(prefixes) == 0 ||
		at.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(at.Unmap()) })
}

// limited reports whether a token has limits, its own or an ancestor's.
func (r reach) limited() bool {
	return slices.Min(r.credits[:]) != math.MaxInt64 || !math.IsInf(r.rate, 1)
}

// farther says in which way r goes beyond o and was, "" if in none. Limits are left to dearer.
func (r reach) farther(o, was reach) string {
	for at, ok := range r.places {
		if ok && !o.places[at] && !was.places[at] {
			return fmt.Sprintf("is let in from %v by way of %q", at.address, at.referer)
		}
	}
	for at, ok := range r.mints {
		if ok && !o.mints[at] && !was.mints[at] {
			return fmt.Sprintf("mints from %v", at)
		}
	}
	switch {
	case o.signed && was.signed && !r.signed:
		return "needs no signature"
	case r.end > o.end && r.end > was.end:
		return "ends later"
	}
	return ""
}

// dearer says in which way r may spend more than o.
func (r reach) dearer(o reach) string {
	for i, p := range purses {
		if r.credits[i] > o.credits[i] {
			return fmt.Sprintf("may spend more of %s per %s", p.meter, p.per)
		}
	}
	switch {
	case r.rate > o.rate || r.burst > o.burst && !math.IsInf(o.rate, 1):
		return "may ask faster"
	}
	return ""
}

// alive reports whether a token may be used at all at a time. Idle ends are left to the test, which stays within them.
func (r *records) alive(id string, now time.Time) bool {
	chain, ok := r.chain(id)
	if !ok || r.owner.Disabled {
		return false
	}
	return !slices.ContainsFunc(chain, func(t lk.Token) bool {
		return t.Disabled || !t.Revoked.IsZero() || t.Created.Before(r.owner.NotBefore) || now.Before(t.Validity.NotBefore) ||
			!t.Validity.NotAfter.IsZero() && !now.Before(t.Validity.NotAfter)
	})
}

// ended reports whether a token can never be used again, whatever is done to its settings.
func (r *records) ended(id string) bool {
	chain, ok := r.chain(id)
	return !ok || slices.ContainsFunc(chain, func(t lk.Token) bool {
		return !t.Revoked.IsZero() || t.Created.Before(r.owner.NotBefore)
	})
}

// exceed is the right that only a rule that names it gives: neither Any, but in a Deny, nor being a secret key
// includes it.
const exceed = lk.Action("exceed")

// anyPlace is the reach of a caller without a token.
func anyPlace(addresses []netip.Addr, hosts []string) reach {
	r := &records{tokens: map[string]lk.Token{"any": {ID: "any"}}}
	return r.reachOf("any", addresses, hosts)
}

// nowhere is the reach of what does not exist.
var nowhere = reach{signed: true, end: math.MinInt64}

// confine takes away all places but some addresses.
func (r *reach) confine(to []netip.Prefix) {
	for at := range r.places {
		r.places[at] = r.places[at] && withinAny(to, at.address)
	}
	for at := range r.mints {
		r.mints[at] = r.mints[at] && withinAny(to, at)
	}
}
