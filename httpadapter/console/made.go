package console

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// made remembers which form made which token, so that a form sent twice makes one. A browser shows the reply to the second
// click only, so for a short while that is the same reply, secret included.
type made struct {
	clock func() time.Time
	mu    sync.Mutex
	forms map[string]*making
	order []string // oldest first
}

type making struct {
	done   chan struct{}
	at     time.Time
	token  latchkey.Token
	secret latchkey.Secret
	err    error
}

const (
	madeSecrets = 30 * time.Second // how long a form sent again is told the secret
	madeForms   = 24 * time.Hour   // and how long it is known at all
	madeMost    = 10_000
)

func newMade(clock func() time.Time) *made { return &made{clock: clock, forms: map[string]*making{}} }

var errFormUsed = errors.New("console: the form was sent before")

// newFormID names a form.
func newFormID() string { return rand.Text() }

// once runs issue for a form, unless it ran before: then it says what was made, without the secret after a while. An issue
// that failed may run again.
func (m *made) once(owner, form string, issue func() (latchkey.Token, latchkey.Secret, error)) (
	latchkey.Token, latchkey.Secret, error) {
	if len(form) < 20 || len(form) > 64 {
		return latchkey.Token{}, latchkey.Secret{}, errFormUsed
	}
	key := owner + "\x00" + form
	m.mu.Lock()
	m.forget()
	if known := m.forms[key]; known != nil {
		m.mu.Unlock()
		<-known.done
		m.mu.Lock()
		defer m.mu.Unlock()
		return known.token, known.secret, known.err
	}
	mine := &making{done: make(chan struct{}), at: m.clock()}
	m.forms[key] = mine
	m.order = append(m.order, key)
	m.mu.Unlock()
	token, secret, err := issue()
	m.mu.Lock()
	defer m.mu.Unlock()
	mine.token, mine.secret, mine.err = token, secret, err
	if err != nil {
		delete(m.forms, key)
	}
	time.AfterFunc(madeSecrets, func() { // in real time, for no secret stays because nobody comes any more
		m.mu.Lock()
		defer m.mu.Unlock()
		mine.secret = latchkey.Secret{}
	})
	close(mine.done)
	return token, secret, err
}

// forget drops what is over. It is called with the lock held.
func (m *made) forget() {
	now := m.clock()
	for len(m.order) > 0 {
		f := m.forms[m.order[0]]
		if f != nil && len(m.forms) <= madeMost && now.Sub(f.at) < madeForms {
			break
		}
		delete(m.forms, m.order[0])
		m.order = m.order[1:]
	}
	for _, f := range m.forms {
		if now.Sub(f.at) >= madeSecrets {
			f.secret = latchkey.Secret{}
		}
	}
}
