package latchkey

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrStale is wrapped by the refusal of a change because of [Account.IfVersion]. It wraps [ErrConflict].
var ErrStale = fmt.Errorf("%w: the record has another version", ErrConflict)

// IfVersion returns a for changes of a record that has one of these Versions. Update, Revoke, Delete, Rotate,
// EndSecret, UpdateRole, DeleteRole and Configure return [ErrStale], and change nothing, if the record has another one,
// also if it changes just before it is written. Other calls do not look at it. Without a Version none is right.
func (a Account) IfVersion(versions ...uint64) Account {
	a.versions = slices.Clone(versions)
	if a.versions == nil {
		a.versions = []uint64{}
	}
	return a
}

// checkVersion returns an error for a record that is not of a Version that IfVersion named.
func (a Account) checkVersion(version uint64) error {
	if a.versions == nil || slices.Contains(a.versions, version) {
		return nil
	}
	return &editError{ErrStale}
}

// Request is a request of a client that may be sent twice because its reply was lost, and that must be carried out
// once: see [Account.ForRequest].
type Request struct {
	// Key names the request among those of the same actor: what the client sent as Idempotency-Key. 1 to 256 bytes of
	// valid UTF-8 without NUL. A digest of it is kept.
	Key string
	// Content is all that the request asks for: its method, its path and its body. The same Key with another Content is
	// refused. What is kept is an HMAC of it, under the Key.
	Content []byte
	// Until is how long the request is remembered at least. A later repetition is a new request.
	Until time.Time
}

const (
	maxRequestKey = 256
	// requestAction is the Action of the event that a Request leaves. Its Object begins with requestObject.
	requestAction = "request.done"
	requestObject = "request:"
)

// ForRequest returns a for one call that carries r out: Issue, Import, ImportDigest, Update, Revoke, Delete, Rotate,
// EndSecret, CreateRole, UpdateRole, DeleteRole or Configure. What the call changes and the fact that r was carried out
// are written in one transaction. So it is carried out once, by whichever process, and a crash leaves both or neither.
// The same request again is a *[RepeatedError], which says what it did. Of two at the same time one is carried out. A
// call that fails is not remembered: the request may be sent again.
//
// The event "request.done" is added to the audit trail beside that of the change. Its After names the record.
//
// The call returns [ErrInvalid] for a malformed r. Calls that write in several steps, such as RevokeAll, are ErrInvalid
// too: they can be repeated as they are. Calls that only read also return a *RepeatedError. [Access.MintFor] is Mint
// for a Request.
func (a Account) ForRequest(r Request) Account {
	r.Content = slices.Clone(r.Content)
	a.request = &r
	return a
}

// RepeatedError reports that a [Request] was carried out before. It wraps [ErrExists].
type RepeatedError struct {
	// Action and Object are those of the audit event of the change: "token.issue" and the id of the token. Where Purge has
	// removed the event of the request ([Options].KeepEvents), the error is ErrExists itself and names nothing.
	Action, Object string
	At             time.Time
	// Other reports that the request with this Key had another Content. What is asked for now was not carried out.
	Other bool
}

func (e *RepeatedError) Error() string {
	if e.Other {
		return fmt.Sprintf("%v: another request with this key was carried out", ErrExists)
	}
	return fmt.Sprintf("%v: the request was carried out before", ErrExists)
}

func (e *RepeatedError) Unwrap() error { return ErrExists }

// doneRequest is the After of a requestAction.
type doneRequest struct {
	Action  string `json:"action"`
	Object  string `json:"object"`
	Content string `json:"content"` // the HMAC, in hex
	// Until is Request.Until. Afterwards the request is forgotten, unless the store still has its Once key.
	Until time.Time `json:"until"`
}

func (r *Request) check() error { return checkText("Request.Key", r.Key, 1, maxRequestKey) }

// digest identifies the request among those of an owner. No key of Account.Once is equal.
func (r *Request) digest(actor string) [32]byte {
	return sha256.Sum256([]byte("latchkey request\x00" + actor + "\x00" + r.Key))
}

// object returns the Object of the request's event.
func (r *Request) object(actor string) string {
	id := r.digest(actor)
	return requestObject + hex.EncodeToString(id[:16])
}

// content is what is kept of Content. Who reads the audit trail cannot try out short contents, such as a secret of
// another system, unless it knows the key.
func (r *Request) content() string {
	h := hmac.New(sha256.New, []byte(r.Key))
	h.Write(r.Content)
	return hex.EncodeToString(h.Sum(nil))
}

// repeated returns a *RepeatedError if an actor's request was carried out before, and is remembered.
func (m *Manager) repeated(ctx context.Context, owner, actor string, r *Request) error {
	if err := r.check(); err != nil {
		return err
	}
	e, until, err := m.doneRequest(ctx, owner, actor, r)
	if err != nil || e == nil || over(until, m.expiryNow()) {
		return err
	}
	return e
}

// doneRequest returns what the audit trail tells of a request, nil if nothing, and until when it is remembered.
func (m *Manager) doneRequest(ctx context.Context, owner, actor string, r *Request) (*RepeatedError, time.Time, error) {
	q := EventQuery{Object: r.object(actor), Reverse: true, Page: Page{Limit: 1}}
	list, _, err := m.store.Events(ctx, owner, q)
	if err != nil || len(list) == 0 {
		return nil, time.Time{}, err
	}
	var done doneRequest
	if err := json.Unmarshal(list[0].After, &done); err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: the event of a request cannot be read: %w", ErrUnavailable, err)
	}
	return &RepeatedError{Action: done.Action, Object: done.Object, At: list[0].At,
		Other: !hmac.Equal([]byte(done.Content), []byte(r.content()))}, done.Until, nil
}

// record adds to a Write that it carries out the request, with the event that tells of the change.
func (r *Request) record(w *Write, actor string, change *Event) {
	after := auditJSON(doneRequest{change.Action, change.Object, r.content(), r.Until})
	w.Once = append(w.Once, OnceKey{Key: r.digest(actor), Until: r.Until})
	w.Events = append(w.Events, Event{Actor: change.Actor, From: change.From, Action: requestAction,
		Object: r.object(actor), After: after})
}

// written returns a *RepeatedError in place of an ErrExists that means that the request was just carried out.
func (m *Manager) written(ctx context.Context, owner, actor string, r *Request, err error) error {
	if r == nil || !errors.Is(err, ErrExists) {
		return err
	}
	again, _, failed := m.doneRequest(ctx, owner, actor, r)
	switch {
	case failed != nil:
		return failed
	case again != nil:
		return again
	}
	return err
}

// errSteps refuses a Request of what is not one write.
func (a Account) errSteps() error {
	if a.request == nil {
		return nil
	}
	return fmt.Errorf("%w: a call that writes in several steps carries out no Request", ErrInvalid)
}
