package latchkey

import "strings"

// Question asks [Account.Explain] whether an action is allowed on a resource.
type Question struct {
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
}

// PreparedQuestion is a [Question] that is asked often: of many callers, by many goroutines. Preparing it finds out
// once what [Access.Allows] finds out at each call. It holds no answer, and no rights of anybody: what an Access says
// is as new as the Access. It is immutable, small, and safe for concurrent use. The zero PreparedQuestion is always
// denied.
type PreparedQuestion struct{ q *question }

// PrepareQuestion prepares a question for [Access.AllowsQuestion]. An invalid action or resource, and [Any], make one
// that is always denied, as with [Access.Allows]. A host prepares the questions of its fixed routes when it starts.
// One for each request is not worth while: it allocates, and costs more than Allows does.
func PrepareQuestion(action Action, on Resource) PreparedQuestion {
	q := &question{action: action, on: strings.Clone(string(on))}
	q.complete()
	return PreparedQuestion{q}
}

// Question returns the action and the resource; the zero Question for the zero PreparedQuestion.
func (p PreparedQuestion) Question() Question {
	if p.q == nil {
		return Question{}
	}
	return Question{Action: p.q.action, Resource: Resource(p.q.on)}
}

// AllowsQuestion is [Access.Allows] for a prepared question. [Access.Check] says why it is denied. Rights that do not
// depend on the caller keep the answers to the first few questions, for as long as they are the caller's: the rights
// of an Access never change.
func (a Access) AllowsQuestion(asked PreparedQuestion) bool {
	if a.set == nil || asked.q == nil {
		return false
	}
	if a.set.policy.refersToCaller() {
		return a.allowsOwn(*asked.q)
	}
	return a.set.policy.remembered(asked.q, a.who.apart()) == verdictAll
}

// allowsOwn asks a question whose answer depends on the caller.
func (a Access) allowsOwn(q question) bool {
	p := a.set.policy
	q.client, q.apart = a.who.client.ID, a.who.apart()
	if p.forcesRefs {
		q.caller = a.lookup
	}
	return p.verdictOf(&q) == verdictAll
}
