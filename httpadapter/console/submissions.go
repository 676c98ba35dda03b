package console

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// forms remembers which forms were carried out, so that a form sent twice is carried out once. A browser shows the
// reply to the last click only, so for a short while that is the same reply, secret included. What one process
// remembers is bounded by number and by time. That a form was sent, and no more, the store remembers as well: for a
// process that started since, and for other nodes.
type submissions struct {
	clock func() time.Time
	mu    sync.Mutex
	byKey map[string]*list.Element // of *sent
	order *list.List               // oldest first
}

// sent is a form that was sent. Its fields are guarded by forms.mu, but for key and at.
type submission struct {
	key   string
	at    time.Time
	done  chan struct{} // closed when the one who carries it out has finished, however
	state submissionState
	reply reply
}

type submissionState uint8

const (
	inProgress submissionState = iota
	succeeded
	refused // nothing was changed: it may be sent again
	unknown // nobody knows what became of it
)

// reply is what a form that was carried out is answered with.
type reply struct {
	token  latchkey.Token
	secret latchkey.Secret
	about  string
	to     string // where the browser is sent
}

const (
	secretKept     = 30 * time.Second // how long a form sent again is told the secret
	submissionKept = 24 * time.Hour   // and how long it is known at all
	maxSubmissions = 10_000           // in this process
	maxFormTime    = time.Minute      // how long a form may take to be carried out
)

func newSubmissions(clock func() time.Time) *submissions {
	return &submissions{clock: clock, byKey: map[string]*list.Element{}, order: list.New()}
}

var (
	errFormUsed = errors.New("console: the form was sent before")
	errNoForm   = errors.New("console: a form without an id of its own")
)

// newFormID names a form.
func newFormID() string { return rand.Text() }

// once carries out a form, unless that was done before: then it returns the reply of that time, without the secret
// after a while. A form that was refused may be sent again. First makes the store remember that the form was sent;
// ErrExists says that it does already. Who comes while another carries the form out waits for that, for as long as
// ctx lets it.
func (f *submissions) once(ctx context.Context, key string, first func() error, do func() (reply, error)) (reply, error) {
	for {
		f.mu.Lock()
		f.evict()
		at := f.byKey[key]
		if at == nil {
			s := &submission{key: key, at: f.clock(), done: make(chan struct{})}
			f.byKey[key] = f.order.PushBack(s)
			f.mu.Unlock()
			return f.run(s, first, do)
		}
		s := at.Value.(*submission)
		switch s.state {
		case inProgress:
			done := s.done
			f.mu.Unlock()
			select {
			case <-done:
				continue
			case <-ctx.Done():
				return reply{}, fmt.Errorf("%w: %w", latchkey.ErrUnavailable, ctx.Err())
			}
		case refused:
			s.state, s.done = inProgress, make(chan struct{})
			f.mu.Unlock()
			return f.run(s, func() error { return nil }, do)
		case unknown:
			f.mu.Unlock()
			return reply{}, errFormUsed
		}
		if f.clock().Sub(s.at) >= secretKept {
			s.reply.secret = latchkey.Secret{}
		}
		r := s.reply
		f.mu.Unlock()
		return r, nil
	}
}

func (f *submissions) run(s *submission, first func() error, do func() (reply, error)) (r reply, err error) {
	state := unknown // what a panic leaves behind
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.state = state
		if state == succeeded {
			s.reply = r
			time.AfterFunc(secretKept, func() { // in real time, for no secret stays because nobody comes any more
				f.mu.Lock()
				defer f.mu.Unlock()
				s.reply.secret = latchkey.Secret{}
			})
		}
		close(s.done)
	}()
	if err := first(); err != nil {
		if errors.Is(err, latchkey.ErrExists) {
			return reply{}, errFormUsed
		}
		if !errors.Is(err, latchkey.ErrUnknownOutcome) {
			f.drop(s)
		}
		return reply{}, err
	}
	switch r, err = do(); {
	case err == nil:
		state = succeeded
	case !errors.Is(err, latchkey.ErrUnknownOutcome):
		state = refused
	}
	return r, err
}

// drop forgets a form, as if it had not been sent.
func (f *submissions) drop(s *submission) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.byKey[s.key]; at != nil && at.Value == s {
		f.order.Remove(at)
		delete(f.byKey, s.key)
	}
}

// forget drops what is over, and the oldest of what is too many. It is called with the lock held.
func (f *submissions) evict() {
	now := f.clock()
	for at := f.order.Front(); at != nil; at = f.order.Front() {
		s := at.Value.(*submission)
		if f.order.Len() < maxSubmissions && now.Sub(s.at) < submissionKept {
			break
		}
		f.order.Remove(at)
		delete(f.byKey, s.key)
	}
}

// once carries out the form that was posted: see [forms.once]. Needed says that a form without an id is refused, for
// sending it again would do the same again. Who sends it must have the right to the action. The work goes on when the
// browser stops waiting, so that what it sends next is told what came of it.
func (v *view) once(needed bool, action latchkey.Action, kind, id string, do func() (reply, error)) (reply, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), maxFormTime)
	defer cancel()
	came := v.r
	waiting := came.Context()
	v.r = came.WithContext(ctx)
	defer func() { v.r = came }()
	form := text(v.form, "form")
	switch {
	case form == "" && !needed:
		return do()
	case len(form) < 20 || len(form) > 64:
		return reply{}, errNoForm
	case !v.may(action, kind, id):
		return reply{}, &latchkey.DeniedError{Action: action, Resource: latchkey.Path("latchkey", kind, id)}
	}
	// A form belongs to who asked for it and to what it is about; and with anything else typed into it, it is another one.
	key := fmt.Sprintf("%q %q %q %q %q %x", v.account.Owner(), v.access.TokenID(), v.access.Client().ID, v.r.URL.Path,
		form,
		sha256.Sum256([]byte(v.typed)))
	return v.submissions.once(waiting, key, func() error {
		return v.account.Once(ctx, "console form "+key, v.now.Add(submissionKept))
	}, do)
}
