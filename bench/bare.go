package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

// bare is a table of as many records, under keys as random as those of a store, that does nothing but keep them. Each
// record takes longer there too, the larger the table is: less of it is in the caches, and its trees are deeper. What a
// store adds to that is its own.
type bare interface {
	write(ctx context.Context, p *population, which []int) error  // a thousand in a transaction
	all(ctx context.Context, p *population) (int, error)          // copies each, in the order of their ids
	remove(ctx context.Context, p *population, which []int) error // five hundred in a transaction, as Manager.Purge
}

// The work on a bare table, which the work on a store is compared with.
const (
	bareWrite  = "written"
	bareAll    = "each copied"
	bareRemove = "half of it removed"
	bareKeep   = "every second one looked up and kept"
	bareLookUp = "one looked up"
)

// controls measures a bare table.
func (g *grower) controls(p *population, name string, open func(ctx context.Context) (bare, func(), error)) error {
	ctx, n := g.b.ctx, len(p.ids)
	b, stop, err := open(ctx)
	defer stop()
	if err != nil {
		return err
	}
	odd := make([]int, 0, n/2)
	for i := 1; i < n; i += 2 {
		odd = append(odd, i)
	}
	work := func(w string) string { return control + name + ", " + w }
	if err := g.once(work(bareWrite), n, func() error { return b.write(ctx, p, upTo(n)) }); err != nil {
		return err
	}
	if err := g.once(work(bareAll), n, func() error {
		seen, err := b.all(ctx, p)
		if err == nil && seen != n {
			err = fmt.Errorf("%d of %d are there", seen, n)
		}
		return err
	}); err != nil {
		return err
	}
	if err := g.once(work(bareRemove), n, func() error { return b.remove(ctx, p, odd) }); err != nil {
		return err
	}
	left, err := b.all(ctx, p)
	if err == nil && left != n-len(odd) {
		err = fmt.Errorf("%d are left of %d, not half of them", left, n)
	}
	return err
}

// lookUps measures a Go map that is asked in no order, as the tokens of a store are. What is looked up first is kept in
// another map, which is then asked itself.
func (g *grower) lookUps(p *population) error {
	n := len(p.ids)
	b, _, _ := newBareMaps(g.b.ctx)
	m := b.(*bareMaps)
	if err := m.write(g.b.ctx, p, upTo(n)); err != nil {
		return err
	}
	kept := map[[sha256.Size]byte]*bareRecord{}
	which := shuffled(n / 2)
	if err := g.once(control+"a Go map, "+bareKeep, n, func() error {
		for _, i := range which {
			sum := sha256.Sum256([]byte(p.texts.at(2 * i)))
			kept[sum] = new(*m.digests[sum])
		}
		return nil
	}); err != nil {
		return err
	}
	at := 0
	return g.each(n, false, measure.Side{Name: control + "a Go map, " + bareLookUp, Run: func(times int) error {
		for range times {
			if r := kept[sha256.Sum256([]byte(p.texts.at(2*which[at])))]; r == nil || r.id != p.ids[2*which[at]] {
				return fmt.Errorf("record %d is not found", 2*which[at])
			}
			if at++; at == len(which) {
				at = 0
			}
		}
		return nil
	}})
}

// bareMaps are two Go maps, as a store in memory needs at least: by id and by digest.
type bareMaps struct {
	ids     map[string]*bareRecord
	digests map[[sha256.Size]byte]*bareRecord
	copied  *bareRecord
}

type bareRecord struct {
	id     string
	digest [sha256.Size]byte
	_      [256]byte // as much as a token has besides
}

func newBareMaps(context.Context) (bare, func(), error) {
	return &bareMaps{ids: map[string]*bareRecord{}, digests: map[[sha256.Size]byte]*bareRecord{}}, func() {}, nil
}

func (m *bareMaps) write(_ context.Context, p *population, which []int) error {
	for _, i := range which {
		r := &bareRecord{id: p.ids[i], digest: sha256.Sum256([]byte(p.texts.at(i)))}
		m.ids[r.id], m.digests[r.digest] = r, r
	}
	return nil
}

func (m *bareMaps) all(_ context.Context, p *population) (n int, err error) {
	for _, id := range p.ids {
		if r := m.ids[id]; r != nil {
			m.copied = new(*r)
			n++
		}
	}
	return n, nil
}

func (m *bareMaps) remove(_ context.Context, p *population, which []int) error {
	for _, i := range which {
		r := m.ids[p.ids[i]]
		delete(m.digests, r.digest)
		delete(m.ids, r.id)
	}
	return nil
}

// bareTable is a table of SQLite with an index: by digest and by id.
type bareTable struct{ db *sql.DB }

func newBareTable(ctx context.Context) (b bare, stop func(), err error) {
	db, stop, err := newDatabase()
	if err != nil {
		return nil, stop, err
	}
	_, err = db.ExecContext(ctx, `
		CREATE TABLE bare (digest BLOB NOT NULL PRIMARY KEY, id TEXT NOT NULL, rest BLOB NOT NULL) STRICT, WITHOUT ROWID;
		CREATE UNIQUE INDEX bare_id ON bare (id)`)
	return &bareTable{db}, stop, err
}

// inTransactions calls do for some of a list at a time, in a transaction of size of them.
func (t *bareTable) inTransactions(ctx context.Context, which []int, size int,
	do func(tx *sql.Tx, some []int) error) error {
	for list := range slices.Chunk(which, size) {
		tx, err := t.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(list, 50) {
			if err := do(tx, some); err != nil {
				return fmt.Errorf("%w (%v)", err, tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (t *bareTable) write(ctx context.Context, p *population, which []int) error {
	rest := make([]byte, 256)
	return t.inTransactions(ctx, which, 1000, func(tx *sql.Tx, some []int) error {
		var args []any
		for _, i := range some {
			digest := sha256.Sum256([]byte(p.texts.at(i)))
			args = append(args, digest[:], p.ids[i], rest)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO bare (digest, id, rest) VALUES (?, ?, ?)`+
			strings.Repeat(`, (?, ?, ?)`, len(some)-1), args...)
		return err
	})
}

func (t *bareTable) all(ctx context.Context, _ *population) (n int, err error) {
	rows, err := t.db.QueryContext(ctx, `SELECT id, digest, rest FROM bare ORDER BY id`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var id string
	var digest, rest []byte
	for ; rows.Next(); n++ {
		if err := rows.Scan(&id, &digest, &rest); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

func (t *bareTable) remove(ctx context.Context, p *population, which []int) error {
	return t.inTransactions(ctx, which, 500, func(tx *sql.Tx, some []int) error {
		var args []any
		for _, i := range some {
			args = append(args, p.ids[i])
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM bare WHERE id IN (?`+strings.Repeat(`, ?`, len(some)-1)+`)`, args...)
		return err
	})
}
