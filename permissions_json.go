package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// ruleJSON is the form of a rule in JSON. Where and Force are read by themselves, so that a null is not taken for
// absence: it would turn some rows into every row.
type ruleJSON struct {
	Allow actionsJSON     `json:"allow,omitempty"`
	Grant actionsJSON     `json:"grant,omitempty"`
	Deny  actionsJSON     `json:"deny,omitempty"`
	On    []Pattern       `json:"on"`
	Where json.RawMessage `json:"where,omitempty"`
	Force json.RawMessage `json:"force,omitempty"`
}

// actionsJSON is a list that is not null.
type actionsJSON []Action

func (a *actionsJSON) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*[]Action)(a)); err != nil {
		return err
	}
	if *a == nil {
		return errors.New("null in place of a list of actions")
	}
	return nil
}

// MarshalJSON writes {"allow":["read"],"on":["dataset/*"],"where":…,"force":{…}}, with "grant" or "deny" for the other
// verbs. An invalid rule is an error.
func (r Rule) MarshalJSON() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	form := ruleJSON{On: r.patterns}
	switch r.verb {
	case VerbAllow:
		form.Allow = r.actions
	case VerbGrant:
		form.Grant = r.actions
	case VerbDeny:
		form.Deny = r.actions
	}
	var err error
	if !r.rows.IsAllRows() {
		if form.Where, err = r.rows.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	if len(r.forced) > 0 {
		if form.Force, err = r.forced.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON writes and nothing else: an unknown, repeated or differently cased member, a
// second verb, null, and whatever Validate refuses are errors that wrap [ErrInvalid] and leave the zero Rule, which
// makes any list that holds it allow nothing.
func (r *Rule) UnmarshalJSON(data []byte) error {
	*r = Rule{}
	var form *ruleJSON
	if err := strictjson.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("%w: rule: %w", ErrInvalid, err)
	}
	if form == nil {
		return fmt.Errorf("%w: rule: null", ErrInvalid)
	}
	read, err := form.rule()
	if err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	*r = read
	return nil
}

func (form *ruleJSON) rule() (Rule, error) {
	var start RuleStart
	verbs := 0
	for _, s := range [...]RuleStart{Allow(form.Allow...), Grant(form.Grant...), Deny(form.Deny...)} {
		if s.actions != nil {
			start = s
			verbs++
		}
	}
	if verbs != 1 {
		return Rule{}, fmt.Errorf("%w: it has one of allow, grant and deny", ErrInvalid)
	}
	r := start.On(form.On...)
	if form.Where != nil {
		var c Condition
		if err := c.UnmarshalJSON(form.Where); err != nil {
			return Rule{}, err
		}
		r = r.Where(c)
	}
	if form.Force != nil {
		var v Values
		if err := v.UnmarshalJSON(form.Force); err != nil {
			return Rule{}, err
		}
		if len(v) == 0 {
			return Rule{}, fmt.Errorf("%w: it forces no value", ErrInvalid)
		}
		r = r.Force(v)
	}
	if err := r.Validate(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// UnmarshalJSON reads a list of rules, or null, which is the nil list. Anything that is not exactly that is an error
// that wraps [ErrInvalid] and leaves an empty list that is not nil: it allows nothing, also where nil is no limit.
func (p *Permissions) UnmarshalJSON(data []byte) error {
	*p = Permissions{}
	var rules []Rule
	if err := strictjson.Unmarshal(data, &rules); err != nil {
		return fmt.Errorf("%w: permissions: %w", ErrInvalid, err)
	}
	if err := Permissions(rules).Validate(); err != nil {
		return err
	}
	*p = rules
	return nil
}
