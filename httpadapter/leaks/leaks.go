// Package leaks ends tokens whose texts were found where they should not be: in a public repository, a log, a paste.
//
// [GitHub] answers the reports of GitHub's secret scanning. [List] answers a list of texts from any other scanner. Both
// find the token of a text, whoever owns it, and end it with all that was minted from it. [Options.Decide] may choose
// less. [End] does the same without HTTP.
//
// A text that leaked is known to others, so a report may come from anybody who has it. It can only end that token. The
// texts of publishable tokens are public: a report of one ends nothing.
//
// A leaked signing secret cannot be found by its text. Give scanners a pattern without it: see
// [latchkey.SecretPattern].
package leaks

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// Report is one text that was found.
type Report struct {
	Text   string // the text; it is kept nowhere
	Type   string // what the scanner calls its kind; "": not stated
	URL    string // where it was found; "": not stated
	Source string // what kind of place that is; "": not stated
}

// Leak is a report about a token that exists. It holds no secret.
type Leak struct {
	Token    latchkey.Token // as it was when the report came
	SecretID string         // which of its secrets: see [latchkey.FoundSecret]
	Ended    bool           // the secret, or the whole token, had ended before: there was nothing to do
	Type     string
	URL      string // "" also if it contains the text, percent-encoded or not
	Source   string
	Action   Action // what was done, or is to be done
}

// Action is what becomes of a leaked token.
type Action int

const (
	// Revoke ends the token, and all that was minted from it.
	Revoke Action = iota
	// EndSecret ends the secret that leaked, and the token keeps its newest one. It is for a token that was rotated
	// already. If the newest secret leaked, the token is revoked. What was minted with the old secret stays.
	EndSecret
	// Nothing leaves the token as it is.
	Nothing
)

// String returns the name of an action.
func (a Action) String() string {
	switch a {
	case Revoke:
		return "revoke"
	case EndSecret:
		return "end secret"
	case Nothing:
		return "nothing"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// Result is what became of one report.
type Result struct {
	Text  string // of the report
	Known bool   // it is the text of a token that this store has
	Form  bool   // it has the form of a token's text: see [latchkey.CheckText]
	Leak  Leak   // of a known text, with the Action that was taken
	Err   error  // what went wrong; nil: nothing
}

// Options are those of [GitHub], [List] and [End]. Nil, and the zero value, are ready to use.
type Options struct {
	// Decide chooses what becomes of a token. It is called for each known text but for those that there is nothing to end
	// for: those of publishable tokens, of ended secrets and of revoked tokens. An error leaves the token as it is, and
	// is the error of the result. It must be safe for concurrent use. Nil: Revoke.
	Decide func(context.Context, Leak) (Action, error)

	// Ended is called after each report about a known token with what was done: to tell the owner, say. It is called again
	// if a scanner repeats its report. It must be safe for concurrent use. Nil: no callback.
	Ended func(context.Context, Leak)

	// Limit is how many texts one request may report. 0: 1,000. GitHub and List panic if it is negative.
	Limit int

	// Logger receives the errors that a request was answered 503 for. It receives no text. Nil: no log.
	Logger *slog.Logger
}

// maxReason is how long the reason of a revocation may be, in bytes.
const maxReason = 256

// End ends the tokens of the reports, one after another. It returns a result for each report, in their order. An error
// of one does not stop the others, but the end of the context does. Repeated reports do no harm. Nil options are ready
// to use. End panics if m is nil.
func End(ctx context.Context, m *latchkey.Manager, reports []Report, opts *Options) []Result {
	if m == nil {
		panic("leaks: End needs a Manager")
	}
	if opts == nil {
		opts = &Options{}
	}
	results := make([]Result, len(reports))
	for i := range reports {
		if err := ctx.Err(); err != nil {
			results[i] = Result{Text: reports[i].Text, Err: err}
			continue
		}
		results[i] = end(ctx, m, &reports[i], opts)
	}
	return results
}

func end(ctx context.Context, m *latchkey.Manager, r *Report, opts *Options) Result {
	result := Result{Text: r.Text, Form: latchkey.CheckText(r.Text)}
	found, err := m.Find(ctx, r.Text)
	if errors.Is(err, latchkey.ErrNotFound) {
		return result
	}
	if err != nil {
		result.Err = err
		return result
	}
	result.Known = true
	leak := &result.Leak
	token := found.Token
	*leak = Leak{Token: token, SecretID: found.SecretID, Ended: found.Ended || !token.Revoked.IsZero(),
		Type: without(r.Type, r.Text), URL: without(r.URL, r.Text),
		Source: without(r.Source, r.Text)}
	leak.Action = Nothing
	if token.Kind != latchkey.KindPublishable && !leak.Ended {
		leak.Action = Revoke
		if opts.Decide != nil {
			if leak.Action, result.Err = opts.Decide(ctx, *leak); result.Err != nil {
				leak.Action = Nothing
				return result
			}
		}
		if leak.Action, result.Err = act(ctx, m.For(token.Owner), leak); result.Err != nil {
			return result
		}
	}
	if opts.Ended != nil {
		opts.Ended(ctx, *leak)
	}
	return result
}

// act does what leak.Action says, and returns what was done.
func act(ctx context.Context, owner latchkey.Account, leak *Leak) (Action, error) {
	switch leak.Action {
	case Nothing:
		return Nothing, nil
	case EndSecret:
		if leak.SecretID != "" {
			err := owner.EndSecret(ctx, leak.Token.ID, leak.SecretID, reason(leak))
			if err == nil || errors.Is(err, latchkey.ErrNotFound) { // the secret has ended, or the token is gone
				return EndSecret, nil
			}
			if !errors.Is(err, latchkey.ErrInvalid) { // it is the newest
				return Nothing, err
			}
		}
	case Revoke:
	default:
		return Nothing, fmt.Errorf("leaks: Options.Decide returned %v: return Revoke, EndSecret or Nothing", leak.Action)
	}
	if err := owner.Revoke(ctx, leak.Token.ID, reason(leak)); err != nil && !errors.Is(err, latchkey.ErrNotFound) {
		return Nothing, err
	}
	return Revoke, nil
}

// reason returns the reason that the audit trail shows: where the text was found, if that is known.
func reason(leak *Leak) string {
	text := "leaked"
	if leak.URL != "" {
		text += ": " + printable(leak.URL)
	}
	if len(text) > maxReason {
		text = text[:maxReason]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}

// printable returns s without what is not printable.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
}

// without returns s, or "" if it contains the text that leaked: as it is, percent-encoded (twice, too), or with
// characters in it that a reason leaves out.
func without(s, text string) string {
	read := s
	for range 3 {
		if strings.Contains(read, text) || strings.Contains(printable(read), text) {
			return ""
		}
		read = decoded(read)
	}
	return s
}

var escape = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// decoded returns s with its percent-encoding removed. Whatever else s holds stays as it is.
func decoded(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		b, _ := hex.DecodeString(e[1:]) // cannot fail
		return string(b)
	})
}
