package latchkey_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Refusals of a token are counted by reason and day, beside its usage and not in it.
func TestRefusalReport(t *testing.T) {
	w := newWorld(t)
	tok, text := w.key(readAll())
	other, _ := w.key()
	a := w.access(text)
	a.Count("calls", "GET /x", 5)
	for range 3 {
		_, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Test: true})
		w.is(latchkey.ErrTestMode, err)
	}
	w.update(tok, func(t *latchkey.Token) { t.Disabled = true })
	_, err := w.verify(text)
	w.is(latchkey.ErrDisabled, err)
	_, err = w.keys.For("globex").Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnknownToken, err)
	w.turn(24 * time.Hour)
	_, err = w.verify(text)
	w.is(latchkey.ErrDisabled, err)
	_, err = w.verify(text[:len(text)-1]) // no token
	w.is(latchkey.ErrUnknownToken, err)
	must(w.acme.Assume(latchkey.Client{ID: "42"}, nil)).Refused(w.ctx, latchkey.ErrDenied)
	a.Refused(w.ctx, latchkey.ErrDenied)

	report := func(q latchkey.RefusalQuery) []latchkey.RefusalCount {
		w.Helper()
		rows, err := w.acme.RefusalReport(w.ctx, q)
		w.ok(err)
		return rows
	}
	first, second := "2026-03-04", "2026-03-05"
	require.Equal(t, []latchkey.RefusalCount{
		{tok.ID, "disabled", first, 1}, {tok.ID, "foreign_owner", first, 1}, {tok.ID, "test_mode", first, 3},
		{tok.ID, "denied", second, 1}, {tok.ID, "disabled", second, 1},
	}, report(latchkey.RefusalQuery{}))
	require.Equal(t, []latchkey.RefusalCount{{Reason: "denied", Count: 1}, {Reason: "disabled", Count: 1}},
		report(latchkey.RefusalQuery{From: second, By: []string{"reason"}}))
	require.Equal(t, []latchkey.RefusalCount{{Day: first, Count: 5}},
		report(latchkey.RefusalQuery{To: first, By: []string{"day"}, TokenIDs: []string{tok.ID}}))
	require.Empty(t, report(latchkey.RefusalQuery{TokenIDs: []string{other.ID}}))
	for _, q := range []latchkey.RefusalQuery{{By: []string{"endpoint"}}, {By: []string{"day", "day"}}, {From: "x"}} {
		_, err := w.acme.RefusalReport(w.ctx, q)
		w.is(latchkey.ErrInvalid, err)
	}
	rows, err := w.keys.For("globex").RefusalReport(w.ctx, latchkey.RefusalQuery{})
	w.ok(err)
	require.Empty(t, rows, "another owner's")

	usage, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"meter"}})
	w.ok(err)
	require.Equal(t, []latchkey.UsageRow{{Owner: "acme", Meter: "calls", Count: 5}}, usage, "usage is without refusals")
	for row, err := range w.allUsage() {
		w.ok(err)
		if row.Meter == "calls" {
			continue
		}
		usage, err = w.acme.Usage(w.ctx, latchkey.UsageQuery{Meters: []string{row.Meter}})
		w.ok(err)
		require.Zero(t, usage[0].Count, "not by its name either")
		a.Count(row.Meter, "test_mode", 100)
		require.EqualValues(t, 3, report(latchkey.RefusalQuery{By: []string{"token", "reason"}})[3].Count,
			"no count of the host's own gets into it")
	}

	_, reads := w.key(latchkey.Allow(latchkey.Read).On("latchkey/usage"))
	_, err = must(w.acme.As(w.access(reads))).RefusalReport(w.ctx, latchkey.RefusalQuery{})
	w.ok(err)
	_, no := w.key(readAll())
	_, err = must(w.acme.As(w.access(no))).RefusalReport(w.ctx, latchkey.RefusalQuery{})
	w.is(latchkey.ErrDenied, err)
}

// allUsage yields what the store has, by meter.
func (w *world) allUsage() func(func(latchkey.UsageRow, error) bool) {
	return func(yield func(latchkey.UsageRow, error) bool) {
		rows, err := w.store.Usage(w.ctx, "acme", latchkey.UsageQuery{By: []string{"meter"}})
		if err != nil {
			yield(latchkey.UsageRow{}, err)
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func TestRefusalsAreNotCountedIfSwitchedOff(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.NoRefusalReport = true })
	_, text := w.key()
	_, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Test: true})
	w.is(latchkey.ErrTestMode, err)
	rows, err := w.acme.RefusalReport(w.ctx, latchkey.RefusalQuery{})
	w.ok(err)
	require.Empty(t, rows)
}

// Refusals of a stateless token are counted for the token that pays for it, which has a record, and told of as its own.
// Each says whether the token is one of test mode.
func TestRefusalsOfStatelessAndTestTokens(t *testing.T) {
	for _, test := range []bool{false, true} {
		var told []latchkey.Refusal
		w := newWorld(t, withKeys, func(o *latchkey.Options) {
			o.Observer.Refused = func(_ context.Context, r latchkey.Refusal) { told = append(told, r) }
		})
		parent, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: test})
		w.ok(err)
		verify := func(text string, test bool) (latchkey.Access, error) {
			return w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Test: test})
		}
		a, err := verify(secret.Reveal(), test)
		w.ok(err)
		page, text := w.mint(a, latchkey.Narrowing{Stateless: true,
			Permissions: latchkey.Permissions{readAll()}})
		stored, storedText := w.mint(a, latchkey.Narrowing{Permissions: latchkey.Permissions{readAll()}})
		for _, text := range []string{text, storedText} {
			a, err := verify(text, test)
			w.ok(err)
			a.Refused(w.ctx, a.Check(latchkey.Delete, "data/x"))
			_, err = verify(text, !test)
			w.is(latchkey.ErrTestMode, err)
		}
		require.Len(t, told, 4)
		for i, want := range []string{page.ID, page.ID, stored.ID, stored.ID} {
			require.Equal(t, want, told[i].TokenID)
			require.Equal(t, test, told[i].Test)
		}
		rows, err := w.acme.RefusalReport(w.ctx, latchkey.RefusalQuery{By: []string{"token", "reason"}})
		w.ok(err)
		require.ElementsMatch(t, []latchkey.RefusalCount{
			{TokenID: parent.ID, Reason: "denied", Count: 1}, {TokenID: parent.ID, Reason: "test_mode", Count: 1},
			{TokenID: stored.ID, Reason: "denied", Count: 1}, {TokenID: stored.ID, Reason: "test_mode", Count: 1},
		}, rows)
	}
}
