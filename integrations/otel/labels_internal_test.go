package latchkeyotel

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// source is latchkey's own, without its tests.
func source(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(text)
	}
	return all.String()
}

// same asserts that a list has these values, each once.
func same(t *testing.T, want, got []string) {
	t.Helper()
	want, got = slices.Clone(want), slices.Clone(got)
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, slices.Compact(want), got)
}

// The operations are the methods of a Store that can fail, and "Epoch".
func TestOperationsAreThoseOfAStore(t *testing.T) {
	want := []string{"Epoch"}
	for m := range reflect.TypeFor[latchkey.Store]().Methods() {
		if n := m.Type.NumOut(); n > 0 && m.Type.Out(n-1) == reflect.TypeFor[error]() {
			want = append(want, m.Name)
		}
	}
	require.NotContains(t, want, "Feeds")
	same(t, want, storeOperations)
}

func TestActionsAreThoseOfEvents(t *testing.T) {
	action := regexp.MustCompile(`"(?:token|role|owner|client|audit|request)\.[a-z-]+"`)
	same(t, action.FindAllString(source(t), -1), quoted(eventActions))
}

func quoted(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, `"`+v+`"`)
	}
	return all
}

// names returns the quoted names in a part of latchkey's source, from a text to the next line that has another.
func names(t *testing.T, from, to string) []string {
	t.Helper()
	_, text, ok := strings.Cut(source(t), from)
	require.True(t, ok, from)
	text, _, ok = strings.Cut(text, to)
	require.True(t, ok, to)
	found := regexp.MustCompile(`"[a-z_]+"`).FindAllString(text, -1)
	require.NotEmpty(t, found, from)
	return found
}

func TestLabelsAreThoseOfLatchkey(t *testing.T) {
	reasons := append(names(t, "\nvar reasons = ", "\n}\n"), `"other"`)
	reasons = append(reasons, names(t, "// Values of Refusal.Reason that", "\n)\n")...)
	same(t, reasons, quoted(refusalReasons))
	// What the documentation names, too.
	for _, r := range names(t, "\t// Reason is a short and stable name", "\tReason string") {
		require.Contains(t, reasons, r)
	}

	outcomes := names(t, "// Values of Verification.Outcome and Minting.Outcome", "\n)\n")
	require.Contains(t, outcomes, `"forced"`)
	verified := slices.DeleteFunc(slices.Clone(outcomes), func(o string) bool { return o == `"forced"` })
	same(t, append(verified, reasons...), quoted(verificationOutcomes))

	classes := append(names(t, "\nvar classes = ", "\n}\n"), names(t, "\nfunc classOf(", "\n}\n")...)
	same(t, append(classes, `"ok"`, `"canceled"`, `"unavailable"`), quoted(storeClasses))

	same(t, append(names(t, "type Minting struct {", "\tOutcome "), reasons...), quoted(mintOutcomes))
	same(t, names(t, "type Leasing struct {", "\tWhat "), quoted(leaseEvents))
	same(t, names(t, "type Failure struct {", "\tPart "), quoted(failureParts))
	same(t, names(t, "\nvar partNames = ", "\n"), quoted(failureParts))
	same(t, names(t, "\ntype Source string", "\n)\n"), quoted(sources))
}
