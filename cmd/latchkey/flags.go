package main

import (
	"cmp"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/settings"
)

// flags are the flags of a command. They may stand before and between its arguments; "--" ends them.
type flags struct {
	*flag.FlagSet
	settings string
	owner    string
	reason   string
	json     bool
	given    map[string]bool
}

const defaultSettings = "latchkey.json"

// newFlags returns the flags that every command of a scope has. A nil command: those that stand before the command.
func newFlags(cmd *command) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("latchkey", flag.ContinueOnError), given: map[string]bool{}}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	if cmd == nil || cmd.scope >= scopeStore {
		f.StringVar(&f.settings, "settings", "",
			"settings `file` (default: the variable LATCHKEY_SETTINGS, or "+defaultSettings+")")
	}
	if cmd != nil && cmd.scope >= scopeOwner {
		f.StringVar(&f.owner, "owner", "", "`owner` whose records are meant (default: that of the settings file)")
	}
	if cmd == nil || cmd.output != "" {
		f.BoolVar(&f.json, "json", false, "print JSON")
	}
	return f
}

// settingsPath returns the path of the settings file.
func (f *flags) settingsPath() string {
	return cmp.Or(f.settings, os.Getenv("LATCHKEY_SETTINGS"), defaultSettings)
}

// parseUntilWord parses the flags before the first argument.
func (f *flags) parseUntilWord(args []string) ([]string, error) {
	if err := f.Parse(args); err != nil {
		return nil, flagError(err)
	}
	return f.Args(), nil
}

// parseAll parses flags wherever they stand, and returns the arguments.
func (f *flags) parseAll(args []string) (rest []string, err error) {
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			return nil, flagError(err)
		}
		read := args[:len(args)-f.NArg()]
		if args = f.Args(); len(read) > 0 && read[len(read)-1] == "--" {
			rest = append(rest, args...)
			break
		}
		if len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	f.Visit(func(fl *flag.Flag) { f.given[fl.Name] = true })
	return rest, nil
}

// flagError returns an error of package flag as one of usage.
func flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usagef("%s", err)
}

// Reason defines -reason, which account takes for the audit trail.
func (f *flags) Reason() {
	f.StringVar(&f.reason, "reason", "", "why, for the audit trail: a `text` of at most 256 bytes")
}

// Time defines a flag for a moment: see parseMoment.
func (f *flags) Time(name, usage string) *time.Time {
	t := new(time.Time)
	f.Var(&momentFlag{t}, name, usage)
	return t
}

// Span defines a flag for a duration: see settings.ParseDuration.
func (f *flags) Span(name, usage string) *time.Duration {
	d := new(time.Duration)
	f.Var(&spanFlag{d}, name, usage)
	return d
}

// List defines a flag that may be given several times.
func (f *flags) List(name, usage string) *[]string {
	l := new([]string)
	f.Var(&listFlag{l, nil}, name, usage+"; may be repeated")
	return l
}

// Choice defines a flag for one of some words. Without the flag the result is "".
func (f *flags) Choice(name, usage string, words ...string) *string {
	s := new(string)
	f.Var(&choiceFlag{s, words}, name, usage+": "+strings.Join(words, ", "))
	return s
}

// Choices defines a flag for some of some words, that may be given several times.
func (f *flags) Choices(name, usage string, words ...string) *[]string {
	l := new([]string)
	f.Var(&listFlag{l, words}, name, usage+": "+strings.Join(words, ", ")+"; may be repeated")
	return l
}

// Optional defines a flag whose empty text means something else than that it is left out: nil.
func (f *flags) Optional(name, usage string) **string {
	p := new(*string)
	f.Var(&optionalFlag{p}, name, usage)
	return p
}

// wordsFlag is a flag that takes some words alone. The completion of shells offers them.
type wordsFlag interface{ choices() []string }

type choiceFlag struct {
	to    *string
	words []string
}

func (v *choiceFlag) String() string {
	if v.to == nil {
		return ""
	}
	return *v.to
}
func (v *choiceFlag) choices() []string { return v.words }
func (v *choiceFlag) Set(text string) error {
	if !slices.Contains(v.words, text) {
		return errors.New("write one of " + strings.Join(v.words, ", "))
	}
	*v.to = text
	return nil
}

type listFlag struct {
	to    *[]string
	words []string // nil: any
}

func (v *listFlag) String() string {
	if v.to == nil {
		return ""
	}
	return strings.Join(*v.to, ",")
}
func (v *listFlag) choices() []string { return v.words }
func (v *listFlag) Set(text string) error {
	if v.words != nil && !slices.Contains(v.words, text) {
		return errors.New("write one of " + strings.Join(v.words, ", "))
	}
	*v.to = append(*v.to, text)
	return nil
}

type optionalFlag struct{ to **string }

func (v *optionalFlag) String() string {
	if v.to == nil || *v.to == nil {
		return ""
	}
	return **v.to
}
func (v *optionalFlag) Set(text string) error { *v.to = &text; return nil }

type spanFlag struct{ to *time.Duration }

func (v *spanFlag) String() string {
	if v.to == nil || *v.to == 0 {
		return ""
	}
	return settings.FormatDuration(*v.to)
}
func (v *spanFlag) Set(text string) (err error) {
	*v.to, err = settings.ParseDuration(text)
	return flagValueError(err)
}

type momentFlag struct{ to *time.Time }

func (v *momentFlag) String() string {
	if v.to == nil || v.to.IsZero() {
		return ""
	}
	return v.to.Format(time.RFC3339)
}
func (v *momentFlag) Set(text string) (err error) {
	*v.to, err = parseMoment(text, time.Now())
	return flagValueError(err)
}

// flagValueError drops the words of a sentinel: package flag puts its own before.
func flagValueError(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "latchkey: invalid argument: "))
}

// parseMoment reads a moment: RFC 3339, a day of UTC ("2026-11-30"), or a duration from now: "+30d" is in 30 days, and
// "-30d" was 30 days ago.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if rest, later := strings.CutPrefix(text, "+"); later {
		d, err := settings.ParseDuration(rest)
		return now.Add(d), err
	}
	if rest, earlier := strings.CutPrefix(text, "-"); earlier {
		d, err := settings.ParseDuration(rest)
		return now.Add(-d), err
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New(`a moment is 2026-11-30, 2026-11-30T12:00:00Z, "+30d" from now or "-30d" ago`)
}
