package latchkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// testdata/trail.golden is what each call writes into the audit trail, by the host and by a secret key: action, object,
// actor, reason, and what of the record is other than before. LATCHKEY_UPDATE=1 rewrites it: read the difference as
// policy.
func TestTrailOfEveryCall(t *testing.T) {
	const file = "testdata/trail.golden"
	calls, steps := troubles()
	maps.Copy(calls, steps)
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		for _, caller := range callers[:2] {
			w := newHalfway(t)
			account := actAs(t, w, caller)
			before := w.trail(t)
			_ = calls[name](t.Context(), account, w) // TestAnswersOfEveryCall has the answers
			for i, e := range w.trail(t) {
				if i < len(before) && sameEvent(before[i], e) {
					continue
				}
				fmt.Fprintf(&got, "%s, %s: %s\n", name, caller, w.told(e))
			}
		}
	}
	if os.Getenv("LATCHKEY_UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o644))
	}
	golden, err := os.ReadFile(file)
	require.NoError(t, err)
	want, have := strings.Split(string(golden), "\n"), strings.Split(got.String(), "\n")
	for i := range min(len(want), len(have)) {
		require.Equal(t, want[i], have[i], "line %d", i+1)
	}
	require.Len(t, have, len(want))
}

func sameEvent(a, b latchkey.Event) bool {
	return a.Seq == b.Seq && a.Object == b.Object && a.Actor == b.Actor && a.Reason == b.Reason && a.From == b.From &&
		bytes.Equal(a.Before, b.Before) && bytes.Equal(a.After, b.After)
}

// trail returns all events, oldest first.
func (w *halfway) trail(t *testing.T) []latchkey.Event {
	t.Helper()
	list, _, err := w.plain.Events(context.Background(), "acme", latchkey.EventQuery{Page: latchkey.Page{Limit: 1000}})
	require.NoError(t, err)
	slices.SortFunc(list, func(a, b latchkey.Event) int { return int(a.Seq) - int(b.Seq) })
	return list
}

var (
	aUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aHint = regexp.MustCompile(`(T?[a-z]{2}_)[0-9A-Za-z]*…[0-9A-Za-z]+`)
	aText = regexp.MustCompile(`(pk_|request:)[0-9A-Za-z]{20,}`)
)

// told writes an event without what is random.
func (w *halfway) told(e latchkey.Event) string {
	text := fmt.Sprintf("%s %s by %q", e.Action, e.Object, e.Actor)
	if e.From != "" {
		text += " from " + e.From
	}
	if e.Reason != "" {
		text += fmt.Sprintf(" because %q", e.Reason)
	}
	var before, after map[string]json.RawMessage
	_, _ = json.Unmarshal(e.Before, &before), json.Unmarshal(e.After, &after)
	for _, member := range slices.Sorted(maps.Keys(merged(before, after))) {
		switch was, is := before[member], after[member]; {
		case bytes.Equal(was, is):
		case was == nil:
			text += fmt.Sprintf("; %s: %s", member, is)
		case is == nil:
			text += fmt.Sprintf("; %s was %s", member, was)
		default:
			text += fmt.Sprintf("; %s: %s, was %s", member, is, was)
		}
	}
	for id, name := range map[string]string{w.root: "<root>", w.parent: "<parent>", w.minted: "<minted>",
		w.spare: "<spare>", w.gone: "<gone>", w.base: "<base>", w.reader: "<reader>", w.unused: "<unused>",
		w.stateless: "<stateless>"} {
		text = strings.ReplaceAll(text, id, name)
	}
	text = aUUID.ReplaceAllString(text, "<id>")
	return aText.ReplaceAllString(aHint.ReplaceAllString(text, "$1…"), "$1…")
}

func merged(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	maps.Copy(all, b)
	return all
}
