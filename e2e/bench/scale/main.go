// Command scale measures what many processes, many owners and distance cost, on a PostgreSQL server that it starts, or
// on the one that LATCHKEY_POSTGRES_DSN names. Figures are ratios of what was measured in turns in the same run,
// wherever a ratio means something. Run it in the module e2e:
//
//	go run ./bench/scale                    all parts, in a few minutes
//	go run ./bench/scale -only listeners    one of them; -h lists the parts and the other flags
//	go run ./bench/scale -grow 1000000      how figures grow with the number of owners
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// config says how much is measured. The flags are its fields.
type config struct {
	far       time.Duration   // the round trip of cold calls
	distances []time.Duration // the round trips of changes a second
	callers   int             // who change something at once, each an owner
	others    int             // changes of other owners a second
	each      time.Duration   // how long a rate is measured, in turns
	rounds    int             // calls, or turns, whose median is taken
	listeners []int
	bound     time.Duration // MaxStale of those that listen
	keys      int           // whose last use is written
	usage     int           // rows
	grow      int
	engines   []string
	fsync     bool
}

// full is what the program measures unless flags say otherwise, tiny what its test does.
var (
	full = config{far: 80 * time.Millisecond,
		distances: []time.Duration{80 * time.Millisecond, 20 * time.Millisecond, 2 * time.Millisecond}, callers: 128,
		others: 60, each: 2 * time.Second, rounds: 5, listeners: []int{0, 50, 400}, bound: time.Second, keys: 60_000,
		usage: 10_000, engines: []string{"PostgreSQL", "SQLite"}, fsync: true}
	tiny = config{far: 4 * time.Millisecond, distances: []time.Duration{4 * time.Millisecond, 2 * time.Millisecond},
		callers: 8, others: 60, each: 30 * time.Millisecond, rounds: 2, listeners: []int{0, 2}, bound: 100 * time.Millisecond,
		keys: 300, usage: 300, grow: 1000, engines: []string{"PostgreSQL", "SQLite"}}
)

// part is one thing to measure.
type part struct {
	name, about string
	run         func(t testing.TB, c config, out *table)
}

var parts = []part{
	{"cold", "Verify and Revoke of what is not cached, far away, while other owners change", cold},
	{"distance", "changes a second of many callers, by distance", distance},
	{"trips", "round trips of changes", trips},
	{"near", "changes of 16 callers, as a fraction of bare commits", near},
	{"usage", "rows of usage a second of one caller", usageRows},
	{"lastused", "last uses of many keys, and how long a Revoke takes meanwhile", lastUsed},
	{"listeners", "changes a second while others listen", listeners},
	{"chain", "what the chain of the audit trail adds to a change, in memory, on SQLite and on PostgreSQL", chain},
	{"cached", "reads of the store for each Verify of a cached token, MaxStale 0", cached},
}

// table prints lines of three columns: what, figure, comparison.
type table struct {
	w     *tabwriter.Writer
	lines int
}

func newTable() *table { return &table{w: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)} }

func (o *table) line(what, figure, comparison string) {
	o.lines++
	fmt.Fprintf(o.w, "%s\t%s\t%s\n", what, figure, comparison)
	_ = o.w.Flush()
}

// server is the PostgreSQL server that is measured.
var server = harness.Postgres

func main() {
	c := full
	only := flag.String("only", "", "the parts to measure, separated by commas; all if empty")
	flag.DurationVar(&c.far, "far", c.far, "the round trip of cold calls")
	flag.IntVar(&c.callers, "callers", c.callers, "callers of distance, each with an owner of its own")
	flag.DurationVar(&c.each, "each", c.each, "how long a rate is measured in each turn")
	flag.IntVar(&c.rounds, "rounds", c.rounds, "turns, whose median is printed")
	flag.IntVar(&c.keys, "keys", c.keys, "keys of lastused")
	flag.IntVar(&c.usage, "usage", c.usage, "rows of usage")
	flag.DurationVar(&c.bound, "maxstale", c.bound, "MaxStale of those that listen")
	flag.BoolVar(&c.fsync, "fsync", c.fsync, "have the server flush what it commits")
	flag.IntVar(&c.grow, "grow", 0, "measure growth instead, up to so many owners with ten tokens each")
	engines := flag.String("engines", strings.Join(c.engines, ","), "the engines of -grow, one after the other")
	counts := flag.String("listeners", "0,50,400", "how many listen, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "The parts:")
		for _, p := range parts {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-10s %s\n", p.name, p.about)
		}
		fmt.Fprintln(flag.CommandLine.Output(), "The flags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	c.engines = strings.Split(*engines, ",")
	c.listeners = nil
	for _, text := range strings.Split(*counts, ",") {
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil {
			fmt.Fprintln(os.Stderr, "-listeners:", err)
			os.Exit(2)
		}
		c.listeners = append(c.listeners, n)
	}
	chosen := strings.Split(*only, ",")
	for _, name := range chosen {
		if name != "" && !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			fmt.Fprintf(os.Stderr, "there is no part %q: -h lists them\n", name)
			os.Exit(2)
		}
	}
	server.Durable = c.fsync
	harness.Run(func(t testing.TB) {
		out := newTable()
		if c.grow > 0 {
			growth(t, c, out)
			return
		}
		for _, p := range parts {
			if *only == "" || slices.Contains(chosen, p.name) {
				p.run(t, c, out)
			}
		}
	})
}
