// Command bench measures latchkey beside its peers: interleaved in one process, once all of them have given the same
// answers. It writes RESULTS.md and the plots, and what README.md and docs/performance.md say of them.
//
//	make bench                           everything, some eight minutes on two cores that do nothing else
//	make bench ARGS='-only check'        some subjects; the table is printed, and no file is written
//	make bench ARGS='-each 5ms -rounds 5 -tokens 1000000'
//	make growth                          what grows with the number of tokens and grants: GROWTH.md
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the command. The report goes to out, what happens meanwhile to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	b := &bench{ctx: ctx, progress: progress, began: time.Now(), load: loadAverage()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	only := flags.String("only", "", "a regular expression: measure the subjects that it matches, and write no file")
	flags.DurationVar(&b.each, "each", 25*time.Millisecond, "how long a sample takes")
	flags.IntVar(&b.rounds, "rounds", 15, "how many samples are taken of each")
	flags.IntVar(&b.tokens, "tokens", 10_000_000,
		"how many tokens there are at most; 10,000,000 take 6 GB of memory, with -growth 18")
	flags.IntVar(&b.rows, "rows", 1_000_000, "with -growth: how many tokens are in SQLite at most")
	flags.BoolVar(&b.growth, "growth", false, "measure what grows, and write GROWTH.md: half an hour")
	dir := flags.String("dir", ".", "the directory of RESULTS.md; the repository is the one above it")
	list := flags.Bool("list", false, "list the subjects")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || b.rounds < 1 || b.each <= 0 || b.tokens < 1000 {
		return fmt.Errorf("there are no arguments, but flags: -rounds at least 1, -each above 0, -tokens at least 1000")
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b.command = strings.TrimSpace("go run . " + strings.Join(args, " "))
	chosen := subjects
	if b.growth {
		chosen = growthSubjects
		limitMemory()
	}
	for _, s := range chosen {
		if *list {
			fmt.Fprintf(out, "%-12s %s\n", s.name, s.what)
			continue
		}
		if !pattern.MatchString(s.name) {
			continue
		}
		if err := b.measure(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if *list {
		return nil
	}
	if len(b.sections) == 0 {
		return fmt.Errorf("no subject matches %q: -list shows them", *only)
	}
	report := b.report()
	if _, err := io.WriteString(out, report.text); err != nil || *only != "" {
		return err
	}
	file := "RESULTS.md"
	if b.growth {
		file = "GROWTH.md"
	}
	if err := report.write(*dir, file); err != nil || b.growth {
		return err
	}
	return b.quote(filepath.Join(*dir, ".."))
}

// subject is a part of a run: something that latchkey does, beside others that do it.
type subject struct {
	name, what string
	run        func(b *bench) error
}

// subjects are in the order of RESULTS.md. What needs much memory is last.
var subjects = []subject{
	{"verify", "Verify of cached tokens, by how many there are, beside tokens of other libraries", benchVerify},
	{"cores", "Verify on two cores", benchCores},
	{"idle", "Verify of tokens that end when they are not used", benchIdle},
	{"first", "the first Verify of a token whose rights are known", benchFirst},
	{"edit", "Verify after a role was edited that many cached tokens have", benchEdit},
	{"check", "Allows, by how many grants there are, beside engines of policies", benchCheck},
	{"roles", "Allows of a token with many roles, and of one minted four deep", benchRoles},
	{"match", "a condition asked of a row", benchMatch},
	{"sql", "a condition written as SQL", benchSQL},
	{"mint", "a token made", benchMint},
	{"stateless", "a token made that no store holds, and opened once", benchStateless},
	{"http", "a guarded request", benchHTTP},
	{"count", "a unit of usage counted", benchCount},
	{"databases", "bare look-ups of a digest in a database", benchDatabases},
	{"growing", "the slowest Verify while the table grows", benchGrowing},
	{"memory", "what a cached token takes, and what collections cost", benchMemory},
}

// bench is one run.
type bench struct {
	ctx      context.Context
	progress io.Writer
	began    time.Time
	command  string
	load     string // of the machine when the run began
	growth   bool   // what grows is measured, not what compares
	each     time.Duration
	rounds   int
	tokens   int // at most
	rows     int // tokens in SQLite, at most

	subject  string
	lines    []line    // of the table of targets
	sections []section // of the details
	plots    []picture
}

// measure runs a subject, and gives back the memory that it took.
func (b *bench) measure(s subject) error {
	b.subject = s.name
	b.sections = append(b.sections, section{title: s.what, name: s.name})
	b.say("%s", s.what)
	err := s.run(b)
	debug.FreeOSMemory()
	return err
}

// say tells what happens, and since when.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%7.1fs %-10s %s\n", time.Since(b.began).Seconds(), b.subject, fmt.Sprintf(format, args...))
}

// compare measures sides in turns, and adds them to the details of the subject.
func (b *bench) compare(title string, sides ...measure.Side) ([]measure.Result, error) {
	return b.compareIn(b.rounds, title, sides...)
}

// compareIn is compare with a number of rounds, for what takes long.
func (b *bench) compareIn(rounds int, title string, sides ...measure.Side) ([]measure.Result, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	b.say("%s: %d sides", title, len(sides))
	runtime.GC()
	results, err := measure.Compare(sides, measure.Options{Each: b.each, Rounds: rounds, Progress: func(int) {
		fmt.Fprint(b.progress, ".")
	}})
	fmt.Fprintln(b.progress)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	at := &b.sections[len(b.sections)-1]
	at.tables = append(at.tables, table{title, results})
	return results, nil
}

// note adds a sentence to the details of the subject.
func (b *bench) note(format string, args ...any) {
	at := &b.sections[len(b.sections)-1]
	at.notes = append(at.notes, fmt.Sprintf(format, args...))
}
