package latchkey

import (
	"slices"
	"sync"
	"weak"
)

// roleLists shares the compiled rules of large roles among all policies that hold the role. A list is found by the id
// of its role and taken if its rules are those that are asked for: what an edit would make of a role has the id of the
// role, too. It lasts as long as a policy holds it, and the latest ones last until others take their place. The zero
// value and nil are ready to use; nil remembers nothing. It is safe for concurrent use.
type roleLists struct {
	mu     sync.Mutex
	known  map[roleList]roleVersions
	most   int        // how many entries known may have before those that are gone are removed
	latest []*ruleset // oldest first
	rules  int        // of latest together
}

// roleList names one of the two lists of a role.
type roleList struct {
	role     string
	boundary bool
}

// roleVersions are what a list is, and what it was before or an edit would make of it: the latest first.
type roleVersions [2]weak.Pointer[ruleset]

const (
	// sharedRules is how many rules a list has at least that is shared. To compile fewer takes as long as to find them.
	sharedRules = 32
	// latestRules bounds how many rules are kept that no policy may hold. One list that is larger is kept too. A rule
	// takes some 500 bytes.
	latestRules = 1 << 15
)

// ruleset returns a list of rules of a role, compiled.
func (l *roleLists) ruleset(of roleList, p Permissions) *ruleset {
	if l == nil || len(p) < sharedRules {
		return newRuleset(p)
	}
	l.mu.Lock()
	versions := l.known[of]
	l.mu.Unlock()
	for _, v := range versions {
		if s := v.Value(); s != nil && s.source.same(p) {
			l.keep(s)
			return s
		}
	}
	s := newRuleset(p)
	if s.broken {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= l.most {
		l.clean()
	}
	l.known[of] = roleVersions{weak.Make(s), l.known[of][0]}
	l.keepLocked(s)
	return s
}

// clean removes the entries of lists that are gone.
func (l *roleLists) clean() {
	if l.known == nil {
		l.known = map[roleList]roleVersions{}
	}
	for of, versions := range l.known {
		if versions[0].Value() == nil && versions[1].Value() == nil {
			delete(l.known, of)
		}
	}
	l.most = 2*len(l.known) + 64
}

// keep makes a list the latest one.
func (l *roleLists) keep(s *ruleset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keepLocked(s)
}

func (l *roleLists) keepLocked(s *ruleset) {
	if at := slices.Index(l.latest, s); at >= 0 {
		l.latest = append(slices.Delete(l.latest, at, at+1), s)
		return
	}
	l.latest, l.rules = append(l.latest, s), l.rules+len(s.rules)
	for len(l.latest) > 1 && l.rules > latestRules {
		l.rules -= len(l.latest[0].rules)
		l.latest = slices.Delete(l.latest, 0, 1)
	}
}
