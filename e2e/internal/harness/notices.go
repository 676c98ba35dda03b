package harness

import (
	"bytes"
	"regexp"
	"sync"

	"github.com/latchkey-go/latchkey/sqlstore"
)

// Notices recognizes what a store sends to notify others. It does that in the background, at any moment, so whoever
// counts round trips leaves it out. The zero value is ready to use, by several goroutines at once.
type Notices struct {
	mu   sync.Mutex
	name []byte // of the prepared statement; nil: not known yet
}

var preparedAs = regexp.MustCompile(`(stmtcache_[0-9a-f]+)\x00SELECT [^\x00]*pg_notify\('` + sqlstore.NotifyChannel)

// Match reports whether a client of PostgreSQL sends that.
func (n *Notices) Match(sent []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if found := preparedAs.FindSubmatch(sent); found != nil {
		n.name = bytes.Clone(found[1])
	}
	return n.name != nil && bytes.Contains(sent, n.name) ||
		bytes.Contains(sent, []byte("pg_notify('"+sqlstore.NotifyChannel))
}
