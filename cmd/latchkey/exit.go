package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// The exit codes. They are documented in docs/command.md.
const (
	exitDone        = 0
	exitFailed      = 1   // none of the others
	exitUsage       = 2   // the arguments, the settings file or an input is wrong
	exitNotFound    = 3   // there is no such record
	exitRefused     = 4   // a rule, a policy, a check or the person refused
	exitUnavailable = 5   // the store does not answer, or the outcome is not known: try again
	exitFindings    = 6   // a check found something: doctor, roles plan
	exitInterrupted = 130 // by a signal
)

// exitCodes are the codes with their meanings, in the words of the help.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitDone, "done"},
	{exitFailed, "failed, for none of the reasons below"},
	{exitUsage, "usage: the arguments, the settings file or an input is wrong; nothing was changed"},
	{exitNotFound, "not found: there is no such record, or it was removed"},
	{exitRefused, "refused: by a rule, a policy or the keyring, by a record that changed meanwhile, by Verify, " +
		"or by whoever was asked"},
	{exitUnavailable, "unavailable: the store does not answer, or the outcome is not known; try again"},
	{exitFindings, "a check found something"},
	{exitInterrupted, "interrupted by a signal; what was written stays written"},
}

// usageError is a mistake in the arguments.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// refusedError is a refusal by the command itself.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

func refusedf(format string, args ...any) error { return &refusedError{fmt.Sprintf(format, args...)} }

// errFindings ends a command whose check found something. What it found is printed already.
var errFindings = errors.New("a check found something")

// errRefused ends a command that has printed a refusal already.
var errRefused = errors.New("refused")

// silent reports whether all there is to say about an error is printed already.
func silent(err error) bool { return errors.Is(err, errFindings) || errors.Is(err, errRefused) }

// exitCode returns the exit code that tells an error. The first that applies is told: an error may be several.
func exitCode(ctx context.Context, err error) int {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	_, usage := errors.AsType[*usageError](err)
	_, refused := errors.AsType[*refusedError](err)
	switch {
	case err == nil:
		return exitDone
	case usage:
		return exitUsage
	case is(errFindings):
		return exitFindings
	case refused, is(errRefused):
		return exitRefused
	case ctx.Err() != nil:
		return exitInterrupted
	case is(latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome):
		return exitUnavailable
	case is(latchkey.ErrNotFound):
		return exitNotFound
	case is(latchkey.ErrDenied, latchkey.ErrPolicy, latchkey.ErrNeedsKeyring, latchkey.ErrInvalidToken,
		latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit, latchkey.ErrRateLimited):
		return exitRefused
	case is(latchkey.ErrInvalid):
		return exitUsage
	}
	return exitFailed
}
