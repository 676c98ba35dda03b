package authzen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// caller is who asks.
type caller struct {
	*surface
	access  latchkey.Access
	account latchkey.Account      // of its owner, with every right
	as      latchkey.Account      // the same, with the caller as the actor
	known   map[[2]string]subject // tokens and clients, by type and id
}

// subject is what a Subject may do.
type subject struct {
	rights latchkey.Rights
	absent string // not "": why there is no such subject, so that it may do nothing
}

func (s *surface) caller(ctx context.Context) (*caller, error) {
	access, _ := httpadapter.AccessFrom(ctx)
	account := s.auth.Manager().For(access.Owner())
	as, err := account.As(access)
	return &caller{surface: s, access: access, account: account, as: as, known: map[[2]string]subject{}}, err
}

const (
	noSubject = "there is no such subject, or the caller may not ask about it"
	noClient  = "the caller's key could not mint a token for this client"
	noRow     = "there is no such resource, and it is allowed for some rows only"
	noSchema  = "it is allowed for some rows only, and rows of this type of resource are not known"
	notShown  = "the caller may not read the rules that decide"
)

// subject returns what q.Subject may do, and an error only for what is no answer about it.
func (c *caller) subject(ctx context.Context, q *Question) (subject, error) {
	s := q.Subject
	if t, ok := c.opts.Subjects[s.Type]; ok {
		if c.access.Check(latchkey.Read, latchkey.Path("latchkey", "subject", s.Type, s.ID)) != nil {
			return subject{absent: noSubject}, nil
		}
		rights, err := t.Rights(ctx, c.account, *q)
		switch {
		case errors.Is(err, latchkey.ErrUnavailable):
			return subject{}, err
		case errors.Is(err, latchkey.ErrNotFound), errors.Is(err, latchkey.ErrInvalidToken):
			return subject{absent: noSubject}, nil
		case err != nil:
			return subject{}, err
		case rights.Owner() != c.access.Owner() && rights.Owner() != "":
			return subject{}, fmt.Errorf("authzen: Options.Subjects: %q: Rights returned those of another owner", s.Type)
		}
		return subject{rights: rights}, nil
	}
	key := [2]string{s.Type, s.ID}
	if known, ok := c.known[key]; ok {
		return known, nil
	}
	found, err := subject{absent: noSubject}, error(nil)
	switch s.Type {
	case typeToken:
		found, err = c.token(ctx, s.ID)
	case typeClient:
		found, err = c.client(ctx, s.ID)
	}
	if err == nil {
		c.known[key] = found
	}
	return found, err
}

// token is subject for a token.
func (c *caller) token(ctx context.Context, id string) (subject, error) {
	rights, err := c.as.RightsOf(ctx, id)
	switch {
	case errors.Is(err, latchkey.ErrUnavailable):
		return subject{}, err
	case errors.Is(err, latchkey.ErrInvalidToken):
		return subject{absent: "the token would be refused: " + strings.TrimPrefix(err.Error(), "latchkey: ")}, nil
	case errors.Is(err, latchkey.ErrNotFound), err == nil && rights.Test() != c.access.Test():
		return subject{absent: noSubject}, nil
	}
	return subject{rights: rights}, err
}

// client is subject for a client: what a token may do that the caller mints for it.
func (c *caller) client(ctx context.Context, id string) (subject, error) {
	rights, err := c.access.RightsFor(ctx, id)
	switch {
	case errors.Is(err, latchkey.ErrUnavailable):
		return subject{}, err
	case err != nil:
		return subject{absent: noClient}, nil // whatever Mint refuses with
	}
	return subject{rights: rights}, nil
}

// judge reports whether the rights allow a question. If why is not "", it says why not, and no rule does. The row of
// the resource is row, or what its type says if that is nil.
func (c *caller) judge(ctx context.Context, rights latchkey.Rights, q *Question, row latchkey.Row) (
	allowed bool, why string, err error) {
	k, action := c.kind(q.Resource.Type), c.opts.Action(q.Action)
	on := k.resource(q.Resource.ID)
	denied, err := denial(rights.Check(action, on))
	if err != nil || denied == nil || !denied.Rows {
		return err == nil && denied == nil, "", err
	}
	schema := c.schema(k, on)
	if schema == nil {
		return false, noSchema, nil
	}
	if row == nil {
		row = q.Resource.Properties
		if k.Row != nil {
			row, err = k.Row(ctx, c.account, *q)
			if errors.Is(err, latchkey.ErrNotFound) && !errors.Is(err, latchkey.ErrUnavailable) {
				return false, noRow, nil
			} else if err != nil {
				return false, "", err
			}
		}
	}
	denied, err = denial(rights.CheckRow(action, on, schema, row))
	return err == nil && denied == nil, "", err
}

// denial returns the denial that err is, and every other error as it is.
func denial(err error) (*latchkey.DeniedError, error) {
	if d := (*latchkey.DeniedError)(nil); errors.As(err, &d) {
		return d, nil
	}
	return nil, err
}

// allows reports whether the subject of a question is allowed it.
func (c *caller) allows(ctx context.Context, q *Question) (bool, error) {
	s, err := c.subject(ctx, q)
	if err != nil || s.absent != "" {
		return false, err
	}
	allowed, _, err := c.judge(ctx, s.rights, q, nil)
	return allowed, err
}

// decision is the Decision of §5.5.
type decision struct {
	Decision bool             `json:"decision"`
	Context  *decisionContext `json:"context,omitempty"`
}

type decisionContext struct {
	Reason string           `json:"reason,omitempty"`
	Error  *evaluationError `json:"error,omitempty"`
}

// evaluationError is the error of one of several evaluations (§7.2.1).
type evaluationError struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func (c *caller) decide(ctx context.Context, q *Question) (decision, error) {
	s, err := c.subject(ctx, q)
	if err != nil {
		return decision{}, err
	}
	d, why := decision{}, s.absent
	if why == "" {
		if d.Decision, why, err = c.judge(ctx, s.rights, q, nil); err != nil {
			return decision{}, err
		}
	}
	if c.opts.NoReasons {
		return d, nil
	}
	if why == "" {
		why = c.reason(s.rights, q, d.Decision)
	}
	d.Context = &decisionContext{Reason: why}
	return d, nil
}

// reason returns why the rules decide as they do.
func (c *caller) reason(rights latchkey.Rights, q *Question, allowed bool) string {
	e, err := rights.Explain(c.opts.Action(q.Action), c.kind(q.Resource.Type).resource(q.Resource.ID))
	switch {
	case err != nil:
		return notShown
	case e.Verdict != "some":
		return e.Reason
	case allowed:
		return e.Reason + ", and this is one of them"
	}
	return e.Reason + ", and this is none of them"
}

// evaluation serves the Access Evaluation API (§6).
func (c *caller) evaluation(ctx context.Context, f *evaluationForm) (any, error) {
	q, err := f.question()
	if err != nil {
		return nil, asBadRequest(err)
	}
	return c.decide(ctx, &q)
}

type evaluationsReply struct {
	Evaluations []decision `json:"evaluations"`
}

// evaluations serves the Access Evaluations API (§7).
func (c *caller) evaluations(ctx context.Context, f *evaluationsForm) (any, error) {
	if len(f.Evaluations) == 0 {
		return c.evaluation(ctx, &evaluationForm{f.Subject, f.Action, f.Resource, f.Context})
	}
	if len(f.Evaluations) > maxEvaluations {
		return nil, httpadapter.BadRequest(fmt.Sprintf("there are more than %d evaluations: send several requests",
			maxEvaluations))
	}
	stop := func(bool) bool { return false }
	if s := f.Options.Semantic; s != nil {
		switch *s {
		case "execute_all":
		case "deny_on_first_deny":
			stop = func(allowed bool) bool { return !allowed }
		case "permit_on_first_permit":
			stop = func(allowed bool) bool { return allowed }
		default:
			return nil, httpadapter.BadRequest("the semantic of evaluations must be execute_all, deny_on_first_deny or " +
				"permit_on_first_permit")
		}
	}
	var reply evaluationsReply
	for _, e := range f.Evaluations {
		if e == nil {
			return nil, httpadapter.BadRequest("an evaluation is null")
		}
		d, err := c.oneOf(ctx, e.within(f))
		if err != nil {
			return nil, err
		}
		reply.Evaluations = append(reply.Evaluations, d)
		if stop(d.Decision) {
			break
		}
	}
	return reply, nil
}

// within returns an evaluation with the defaults of the request: whole entities, never parts of one (§7.1.1).
func (e *evaluationForm) within(f *evaluationsForm) *evaluationForm {
	merged := *e
	if merged.Subject == nil {
		merged.Subject = f.Subject
	}
	if merged.Action == nil {
		merged.Action = f.Action
	}
	if merged.Resource == nil {
		merged.Resource = f.Resource
	}
	if merged.Context == nil {
		merged.Context = f.Context
	}
	return &merged
}

// oneOf decides about one of several evaluations.
func (c *caller) oneOf(ctx context.Context, e *evaluationForm) (decision, error) {
	q, err := e.question()
	if err != nil {
		return decision{Context: &decisionContext{Error: &evaluationError{http.StatusBadRequest, err.Error()}}}, nil
	}
	return c.decide(ctx, &q)
}
