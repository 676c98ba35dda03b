package main

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/bench/internal/plot"
)

// line is a row of the table of targets.
type line struct {
	name   string // what README.md and docs/performance.md find it by; "": they do not
	work   string
	figure string
	peer   string // with its figure; "": none
	ratio  string // with its spread; "": none
	target string // "": none
	met    string // "yes", "no", or "" where there is no target
	limit  bool   // the ratio is to a limit: how many times as long it takes
}

// section is a subject in the details.
type section struct {
	name, title string
	tables      []table
	notes       []string
}

// table is a comparison in the details.
type table struct {
	title   string
	results []measure.Result
}

// picture is a plot and the name of its file.
type picture struct {
	file string
	plot plot.Plot
}

// goal is what a figure or a ratio is to reach. The zero goal is none.
type goal struct {
	sign  string // "≥" or "≤" the bound; "": no goal
	bound float64
}

func atLeast(bound float64) goal { return goal{"≥", bound} }
func atMost(bound float64) goal  { return goal{"≤", bound} }

// judge returns what the table says of a figure.
func (g goal) judge(v float64, unit string) (target, met string) {
	if g.sign == "" {
		return "", ""
	}
	met = "no"
	if g.sign == "≤" && v <= g.bound || g.sign == "≥" && v >= g.bound {
		met = "yes"
	}
	return g.sign + " " + strings.TrimSpace(number(g.bound)+" "+unit), met
}

// faster adds that ours takes a part of the time that a peer takes: the ratio is how many times as fast it is.
func (b *bench) faster(work string, ours, peer measure.Result, g goal) {
	b.ratio(work, ours, peer.Name, peer.NS, peer.NS.Over(ours.NS), g)
}

// within adds how many times as long as a limit ours takes.
func (b *bench) within(work string, ours measure.Result, limit string, of measure.Series, g goal) {
	b.ratio(work, ours, limit, of, ours.NS.Over(of), g)
	b.lines[len(b.lines)-1].limit = true
}

func (b *bench) ratio(work string, ours measure.Result, peer string, of, ratios measure.Series, g goal) {
	target, met := g.judge(ratios.Median(), "")
	low, high := ratios.Quartiles()
	b.lines = append(b.lines, line{name: b.subject, work: work, figure: nanos(ours.NS.Median()),
		peer:   peer + ", " + nanos(of.Median()),
		ratio:  fmt.Sprintf("%s (%s to %s)", number(ratios.Median()), number(low), number(high)),
		target: target, met: met})
}

// time adds a time that has a target of its own.
func (b *bench) time(work string, ns measure.Series, g goal) {
	target, met := g.judge(ns.Median(), "")
	if g.sign != "" {
		target = g.sign + " " + nanos(g.bound)
	}
	low, high := ns.Quartiles()
	b.lines = append(b.lines, line{name: b.subject, work: work,
		figure: fmt.Sprintf("%s (%s to %s)", nanos(ns.Median()), nanos(low), nanos(high)),
		target: target, met: met})
}

// amount adds a figure in a unit, such as bytes or allocations.
func (b *bench) amount(work string, v float64, unit string, g goal) {
	target, met := g.judge(v, unit)
	b.lines = append(b.lines, line{name: b.subject, work: work, figure: strings.TrimSpace(number(v) + " " + unit),
		target: target, met: met})
}

// number writes a figure with three digits, and thousands set apart.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 99.95:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 9.995 && v != math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func thousands(s string) string {
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// nanos writes a time in the unit that keeps it short.
func nanos(ns float64) string {
	switch a := math.Abs(ns); {
	case a >= 1e9:
		return number(ns/1e9) + " s"
	case a >= 1e6:
		return number(ns/1e6) + " ms"
	case a >= 1e4:
		return number(ns/1e3) + " µs"
	}
	return number(ns) + " ns"
}

// written is a report as it is written to files.
type written struct {
	text  string
	plots []picture
}

// write writes the report and its plots into a directory.
func (w written) write(dir, file string) error {
	for _, p := range w.plots {
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(p.plot.SVG()), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, file), []byte(w.text), 0o644)
}

// report writes what was measured.
func (b *bench) report() written {
	var t strings.Builder
	title := "Results"
	if b.growth {
		title = "Growth"
	}
	fmt.Fprintf(&t, "# %s\n\nWritten by `%s` in `bench`, on %s, in %s. [What it means](../docs/performance.md).\n\n",
		title, b.command, b.began.UTC().Format("2006-01-02"), time.Since(b.began).Round(time.Second))
	t.WriteString("| | |\n|---|---|\n")
	for _, fact := range b.facts() {
		fmt.Fprintf(&t, "| %s | %s |\n", fact[0], fact[1])
	}
	if b.growth {
		t.WriteString(growthText)
	}
	if len(b.lines) > 0 {
		t.WriteString("\n## Targets\n\nTimes are medians of rounds without a garbage collection. A ratio is the median of " +
			"the ratios of the rounds, with its quartiles. To a peer it is how many times as fast latchkey is; to a limit, " +
			"how many times as long it takes.\n\n")
		t.WriteString("| work | figure | beside | ratio | target | met |\n|---|--:|---|--:|--:|---|\n")
		for _, l := range b.lines {
			fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s |\n", l.work, l.figure, l.peer, l.ratio, l.target, l.met)
		}
	}
	for _, p := range b.plots {
		fmt.Fprintf(&t, "\n![%s](%s)\n", p.plot.Title, p.file)
	}
	for _, s := range b.sections {
		if len(s.tables)+len(s.notes) == 0 {
			continue
		}
		fmt.Fprintf(&t, "\n## %s\n", sentence(s.title))
		for _, table := range s.tables {
			fmt.Fprintf(&t, "\n%s:\n\n| | time | quartiles | bytes | allocations | collections |\n|---|--:|--:|--:|--:|--:|\n",
				sentence(table.title))
			for _, r := range table.results {
				low, high := r.NS.Quartiles()
				fmt.Fprintf(&t, "| %s | %s | %s to %s | %s | %s | %s |\n", r.Name, nanos(r.NS.Median()), nanos(low), nanos(high),
					number(r.Bytes), number(r.Allocs), nanos(r.GC))
			}
		}
		for _, n := range s.notes {
			fmt.Fprintf(&t, "\n%s\n", n)
		}
	}
	return written{t.String(), b.plots}
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// facts are what figures depend on: the machine and the versions.
func (b *bench) facts() [][2]string {
	facts := [][2]string{
		{"processor", fmt.Sprintf("%s, %d cores", processor(), runtime.GOMAXPROCS(0))},
		{"system", runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()},
		{"latchkey", cmp.Or(commit(), "unknown")},
		{"load average when it began", cmp.Or(b.load, "unknown")},
		{"samples", fmt.Sprintf("%d rounds of %s", b.rounds, b.each)},
	}
	var versions []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if !b.growth && slices.Contains(peers, m.Path) {
				versions = append(versions, m.Path+" "+m.Version)
			}
		}
	}
	if len(versions) > 0 {
		facts = append(facts, [2]string{"peers", strings.Join(versions, "<br>")})
	}
	return facts
}

// peers are the modules that latchkey is measured beside.
var peers = []string{
	"aidanwoods.dev/go-paseto", "cel.dev/cel-go", "github.com/alexedwards/scs/v2", "github.com/casbin/casbin/v2",
	"github.com/cedar-policy/cedar-go", "github.com/doug-martin/goqu/v9", "github.com/expr-lang/expr",
	"github.com/golang-jwt/jwt/v5", "github.com/jackc/pgx/v5", "github.com/mattn/go-sqlite3",
	"github.com/open-policy-agent/opa", "github.com/ory/fosite", "gopkg.in/macaroon.v2", "modernc.org/sqlite",
}

// processor returns the name of the processor, and of extensions that matter to SHA-256.
func processor() string {
	name, sha := runtime.GOARCH, ""
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return name
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			name = strings.TrimSpace(value)
		case "flags":
			sha = ", without SHA extensions"
			if slices.Contains(strings.Fields(value), "sha_ni") {
				sha = ", with SHA extensions"
			}
		}
	}
	return name + sha
}

// limitMemory has the collector keep the process within three quarters of this machine's memory, where it is known. Ten
// million tokens would otherwise take twice their size before the next collection.
func limitMemory() {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return
	}
	var kB int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kB); err == nil {
		debug.SetMemoryLimit(kB << 10 / 4 * 3)
	}
}

// loadAverage returns how many processes ran or waited in the last minute. Above 1, times are not to be trusted.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

// commit returns the commit that is measured, and whether files differ from it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
