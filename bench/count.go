package main

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/memstore"
)

// counter counts units, and says how many it has counted.
type counter struct {
	name  string
	count func()
	total func() (int64, error)
}

// latchkeyCounter counts by names, or by a counter that was prepared for them.
func latchkeyCounter(b *bench, name string, prepared bool) (counter, error) {
	keys := latchkey.New(memstore.New(nil), nil)
	access, err := verified(b.ctx, keys, latchkey.Spec{})
	count := func() { access.Count("reads", "GET /orders", 1) }
	if prepared {
		c := access.Counter("reads", "GET /orders")
		count = func() { c.Add(1) }
	}
	return counter{name, count, func() (int64, error) {
		rows, err := keys.For(owner).Usage(b.ctx, latchkey.UsageQuery{})
		if err != nil || len(rows) != 1 {
			return 0, fmt.Errorf("%d rows: %w", len(rows), err)
		}
		return rows[0].Count, nil
	}}, err
}

// counters are latchkey in both ways, and what people write by hand: a map by what is counted, under a lock, which
// nobody stores.
func counters(b *bench) ([]counter, error) {
	ours, err := latchkeyCounter(b, "latchkey Count", false)
	if err != nil {
		return nil, err
	}
	prepared, err := latchkeyCounter(b, "latchkey, a prepared counter", true)
	type key struct{ owner, token, client, meter, endpoint, day string }
	var mu sync.Mutex
	counts := map[key]int64{}
	what := key{owner, "0193a6c1-0000-7000-8000-000000000000", "42", "reads", "GET /orders", "2026-12-01"}
	var one atomic.Int64
	return []counter{ours, prepared,
		{"map under a lock, hand-written", func() {
			mu.Lock()
			counts[what]++
			mu.Unlock()
		}, func() (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			return counts[what], nil
		}},
		{"one atomic number", func() { one.Add(1) }, func() (int64, error) { return one.Load(), nil }},
	}, err
}

func (c counter) side(name string) measure.Side {
	return measure.Side{Name: name, Run: func(n int) error {
		for range n {
			c.count()
		}
		return nil
	}}
}

// agree checks that nothing is lost, on two cores at once too.
func (c counter) agree() error {
	side := onCores(c.name, []measure.Side{c.side(""), c.side("")})
	if err := side.Run(10_001); err != nil {
		return err
	}
	n, err := c.total()
	if err != nil || n != 10_001 {
		return fmt.Errorf("%s: counted %d of 10,001: %w", c.name, n, err)
	}
	return nil
}

func benchCount(b *bench) error {
	list, err := counters(b)
	if err != nil {
		return err
	}
	var sides []measure.Side
	for _, c := range list {
		if err := c.agree(); err != nil {
			return err
		}
		sides = append(sides, c.side(c.name), onCores(c.name+", 2 cores", []measure.Side{c.side(""), c.side("")}))
	}
	results, err := b.compare("a unit of usage", sides...)
	if err != nil {
		return err
	}
	b.time("Count, 1 core", results[0].NS, atMost(25))
	b.time("Count, 2 cores", results[1].NS, atMost(20))
	b.time("Count, by a prepared counter", results[2].NS, atMost(10))
	b.time("Count, by a prepared counter, 2 cores", results[3].NS, goal{})
	b.faster("Count, 1 core", results[0], results[4], goal{})
	return nil
}
