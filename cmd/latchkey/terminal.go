package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// colours reports whether output to f may have colours.
func colours(f *os.File) bool {
	return isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// terminalWidth returns how many columns f shows, or 0 if it is no terminal.
func terminalWidth(f *os.File) int {
	if !isTerminal(f) {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil || n < 20 {
		return 0
	}
	return n
}

// A style is how a terminal shows a text.
type style string

const (
	plain  style = ""
	good   style = "32" // green
	bad    style = "31" // red
	uneasy style = "33" // yellow
	faint  style = "2"
	strong style = "1"
)

func (s style) of(text string, on bool) string {
	if !on || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// confirm asks a question that is answered by y or n. With -yes it does not ask. Without a terminal it refuses, for no
// one can answer.
func (c *call) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(c.std.in) {
		return refusedf("%s Standard input is no terminal, so nobody can answer: use -yes", visible(question))
	}
	fmt.Fprintf(c.std.err, "%s [y/N] ", visible(question))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.std.in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return refusedf("nothing was changed")
	case <-ctx.Done():
		fmt.Fprintln(c.std.err)
		return ctx.Err()
	}
}

// progress shows on a terminal how far long work has come. It shows nothing in the first second.
type progress struct {
	to    *os.File
	what  string
	began time.Time
	last  time.Time
	shown bool
}

// progress returns one that writes to standard error, if that is a terminal.
func (c *call) progress(what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if isTerminal(c.std.err) {
		p.to = c.std.err
	}
	return p
}

// set shows a number, ten times a second at most.
func (p *progress) set(n int) {
	now := time.Now()
	if p.to == nil || now.Sub(p.began) < time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.to, "\r\x1b[K%s: %d", p.what, n)
}

// end removes the line.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
