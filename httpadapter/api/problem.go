package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

func problem(status int, name, title, detail string) httpadapter.Problem {
	return httpadapter.Problem{Type: httpadapter.ProblemType + name, Title: title, Status: status, Detail: detail}
}

// badMember returns the refusal of a member of the body.
func badMember(pointer, reason string, cause error) error {
	p := problem(http.StatusBadRequest, "bad-request", "Bad request", adapters.Sentence(reason))
	p.Pointer = pointer
	return httpadapter.Refusal(p, cause)
}

// badParameter returns the refusal of a parameter of the query. Field is the name of a known one, or "".
func badParameter(field, reason string) error {
	p := problem(http.StatusBadRequest, "bad-request", "Bad request", adapters.Sentence(reason))
	p.Field = field
	return httpadapter.Refusal(p, nil)
}

// explained adds to an error what this surface can say about it, beyond what [httpadapter.ProblemOf] says. The texts of
// latchkey's own refusals hold names of roles, fields and meters that the caller sent, and never a secret.
func explained(err error) error {
	switch p := httpadapter.ProblemOf(err); {
	case errors.Is(err, latchkey.ErrNeedsKeyring):
		return httpadapter.Refusal(problem(http.StatusConflict, "not-kept", "Not kept",
			"The host keeps no texts of secrets, or kept none when this one was made."), err)
	case p.Type == httpadapter.ProblemType+"invalid":
		if text := reasonBehind(err, latchkey.ErrInvalid); !strings.Contains(text, latchkey.ErrInvalid.Error()) {
			p.Detail = adapters.Sentence(text)
		}
		return httpadapter.Refusal(p, err)
	}
	return err
}
