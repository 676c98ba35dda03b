// Command scorecard runs the tests behind each goal of security, and writes docs/SCORECARD.md: a line for each goal
// with its target, what was measured, the control that shows that the test can fail, the command, and the date.
//
//	go run ./scripts/scorecard              all goals
//	go run ./scripts/scorecard -only 1,9    those; the lines of the others stay as they are
//
// A goal whose tests fail, or whose control does not pass, stands there as NOT MET, and the program exits with 1.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const file = "docs/SCORECARD.md"

const head = `# Scorecard

What the goals of security were measured at last. ` + "`make scorecard`" + ` runs the commands and writes this page.
Tests that can try more than some minutes allow try a sample. ` + "`LONG=1`" + ` before a command tries all. A control
is a fault that was planted, or a check that the tests saw something: without it they would prove nothing.
[security-tests.md](security-tests.md) has the tests of each class of faults.

| goal | what must hold | measured | control | command | date |
|---|---|---|---|---|---|
`

const foot = `
Two limits: no test cuts the power, and MySQL 8 has not been tried.
`

func main() {
	only := flag.String("only", "", "numbers of goals, with commas between; empty: all")
	flag.Parse()
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "scorecard:", err)
		os.Exit(1)
	}
}

func run(only string) error {
	var chosen []int
	for _, text := range strings.FieldsFunc(only, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > len(goals) {
			return fmt.Errorf("there is no goal %q: they are 1 to %d", text, len(goals))
		}
		chosen = append(chosen, n)
	}
	missed := 0
	for i, g := range goals {
		n := i + 1
		if chosen != nil && !slices.Contains(chosen, n) {
			continue
		}
		fmt.Fprintf(os.Stderr, "goal %d: %s\n", n, g.commandLine())
		measured, met := g.measure()
		if !met {
			missed++
		}
		fmt.Fprintf(os.Stderr, "goal %d: %s\n", n, measured)
		if err := write(n, measured, time.Now().UTC().Format(time.DateOnly)); err != nil {
			return err
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d goals are not met", missed)
	}
	return nil
}

// write writes the page with a new line for one goal.
func write(goal int, measured, date string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lines := linesOf(string(old))
	var page strings.Builder
	page.WriteString(head)
	for i, g := range goals {
		line := func(measured, date string) string {
			return fmt.Sprintf("| %d | %s | %s | %s | `%s` | %s |", i+1, g.target, measured, g.control, g.commandLine(), date)
		}
		switch {
		case i+1 == goal:
			page.WriteString(line(measured, date))
		case lines[i+1] == "":
			page.WriteString(line("not measured yet", ""))
		default:
			page.WriteString(lines[i+1])
		}
		page.WriteString("\n")
	}
	page.WriteString(foot)
	return os.WriteFile(file, []byte(page.String()), 0o644)
}

// linesOf returns the lines of a page, by the numbers of their goals.
func linesOf(page string) map[int]string {
	lines := map[int]string{}
	for line := range strings.SplitSeq(page, "\n") {
		rest, ok := strings.CutPrefix(line, "| ")
		number, _, _ := strings.Cut(rest, " ")
		if n, err := strconv.Atoi(number); ok && err == nil {
			lines[n] = line
		}
	}
	return lines
}

// goal is what must hold, and the command that shows it.
type goal struct {
	target  string
	control string   // in words
	dir     string   // of the module, "" for the root
	command []string // a test run prints what it did: it has -v
	passed  []string // tests that must have passed, the control among them
	figure  string   // a pattern for the figures in the output, whose groups are shown
}

func (g *goal) commandLine() string {
	words := make([]string, len(g.command))
	for i, w := range g.command {
		words[i] = w
		if strings.ContainsAny(w, "|^$ ") {
			words[i] = "'" + strings.ReplaceAll(w, "|", "\\|") + "'" // a bar would end the cell of the table
		}
	}
	line := strings.Join(words, " ")
	if g.dir != "" {
		line = "cd " + g.dir + " && " + line
	}
	return line
}

// measure runs the command and returns the figures that it printed.
func (g *goal) measure() (measured string, met bool) {
	began := time.Now()
	cmd := exec.Command(g.command[0], g.command[1:]...)
	cmd.Dir = g.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	seconds := int(time.Since(began).Seconds())
	return g.judge(out.String(), err, seconds)
}

// judge says what an output shows. A test that did not run shows nothing.
func (g *goal) judge(out string, failed error, seconds int) (measured string, met bool) {
	if failed != nil {
		fmt.Fprintln(os.Stderr, out)
		return fmt.Sprintf("NOT MET: %v", failed), false
	}
	for _, name := range g.passed {
		if !regexp.MustCompile(`(?m)^\s*--- PASS: ` + name + `\b`).MatchString(out) {
			return "NOT MET: " + name + " did not run", false
		}
	}
	var figures []string
	for _, m := range regexp.MustCompile(g.figure).FindAllStringSubmatch(out, -1) {
		if text := strings.TrimSpace(strings.Join(m[1:], "")); !slices.Contains(figures, text) {
			figures = append(figures, text)
		}
	}
	if len(figures) == 0 {
		return "NOT MET: no figure was printed", false
	}
	text := strings.NewReplacer("|", "\\|", "\n", " ").Replace(strings.Join(figures, "; "))
	return fmt.Sprintf("%s (%d s)", text, seconds), true
}
