package console

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"html/template"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// submissions records which forms were carried out, so that a form that is sent twice is carried out once. A browser
// shows the reply to the last click only. So for a short time a repeated form gets the same reply, including the
// secret.
//
// The records of one process are bounded in number and time. The store keeps only that a form was sent, for processes
// that started since and for other nodes.
type submissions struct {
	clock func() time.Time
	mu    sync.Mutex
	byKey map[string]*list.Element // of *submission
	order *list.List               // oldest first
}

// submission is a form that was sent. submissions.mu guards its fields, except key and at.
type submission struct {
	key   string
	at    time.Time
	done  chan struct{} // closed when it is no longer in progress
	state submissionState
	reply reply
}

type submissionState uint8

const (
	inProgress submissionState = iota
	succeeded
	refused // nothing was changed: it may be sent again
	unknown // its outcome is not known
)

// reply is the reply to a form that was carried out.
type reply struct {
	token  latchkey.Token
	secret latchkey.Secret
	about  template.HTML
	to     string // where the browser is redirected
}

const (
	secretKept     = 30 * time.Second // how long a repeated form gets the secret
	submissionKept = 24 * time.Hour   // how long a form is recorded
	maxSubmissions = 10_000           // in one process
	maxFormTime    = time.Minute      // how long carrying out a form may take
)

func newSubmissions(clock func() time.Time) *submissions {
	return &submissions{clock: clock, byKey: map[string]*list.Element{}, order: list.New()}
}

var (
	errFormUsed = errors.New("console: the form was sent before")
	errNoForm   = errors.New("console: a form without an id of its own")
)

// newFormID returns the id of a new form.
func newFormID() string { return rand.Text() }

// once carries out a form unless that was done before. Then it returns the first reply; after secretKept, without the
// secret. A form that was refused may be sent again.
//
// first records in the store that the form was sent. latchkey.ErrExists from it means that the form was recorded
// before. If another call carries out the form, once waits for it until ctx is done.
func (f *submissions) once(ctx context.Context, key string, first func() error, do func() (reply, error)) (
	reply, error) {
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

// run carries out a form, and records its outcome.
func (f *submissions) run(s *submission, first func() error, do func() (reply, error)) (r reply, err error) {
	state := unknown // the state after a panic
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.state = state
		if state == succeeded {
			s.reply = r
			time.AfterFunc(secretKept, func() { // in real time: a secret must go even if no request follows
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

// drop removes a form, as if it had not been sent.
func (f *submissions) drop(s *submission) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.byKey[s.key]; at != nil && at.Value == s {
		f.order.Remove(at)
		delete(f.byKey, s.key)
	}
}

// evict removes expired forms, and the oldest if there are too many. f.mu must be held.
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

// once carries out the posted form: see [submissions.once]. needed refuses a form without an id, for actions that
// must not be repeated. The person needs the right to the action. The work continues if the browser disconnects, so
// that a repeated form gets the outcome.
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
	// A form belongs to one person and one page. With other content it is another form.
	key := fmt.Sprintf("%q %q %q %q %q %x", v.account.Owner(), v.access.TokenID(), v.access.Client().ID, v.r.URL.Path,
		form,
		sha256.Sum256([]byte(v.typed)))
	return v.submissions.once(waiting, key, func() error {
		return v.account.Once(ctx, "console form "+key, v.now.Add(submissionKept))
	}, do)
}
