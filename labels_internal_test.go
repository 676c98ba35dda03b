package latchkey

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/credits"
)

// docs/observing.md lists all values of each label, and no others.
func TestLabelsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/observing.md")
	require.NoError(t, err)
	known := map[string][]string{
		"Verification.Outcome": {outcomeOK, outcomeUnknown, outcomeLimited, outcomeUnavailable, outcomeCanceled},
		"Verification.Source":  {string(SourceNone), string(SourceCache), string(SourceStore)},
		"Refusal.Reason":       {reasonForeignOwner, reasonRotated, reasonDeleted, "other"},
		"StoreCall.Class":      {outcomeOK, "damaged"},
		"Minting.Outcome":      {outcomeOK, outcomeForced},
		"Leasing.What": {string(credits.Taken), string(credits.Returned), string(credits.Expired),
			string(credits.Refused), string(credits.Failed)},
		"Failure.Part": slices.Clone(partNames[:]),
	}
	for _, r := range reasons {
		known["Refusal.Reason"] = append(known["Refusal.Reason"], r.reason)
	}
	for _, c := range classes {
		known["StoreCall.Class"] = append(known["StoreCall.Class"], c.class)
	}
	for label, values := range known {
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(label) + "` \\| (.*) \\|$").FindStringSubmatch(string(text))
		require.Len(t, row, 2, label)
		var documented []string
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			documented = append(documented, m[1])
		}
		slices.Sort(documented)
		slices.Sort(values)
		require.Equal(t, strings.Join(slices.Compact(values), " "), strings.Join(documented, " "), label)
	}
}

// An answer about a token is a refusal. A store that did not answer is none, whatever else the error wraps.
func TestWhatIsARefusal(t *testing.T) {
	for _, refused := range []error{ErrRevoked, ErrRateLimited, &OverLimitError{}, ErrTooMany, &DeniedError{}} {
		require.True(t, isRefusal(refused), refused)
		for _, unknown := range []error{ErrUnavailable, ErrUnknownOutcome} {
			require.False(t, isRefusal(errors.Join(refused, unknown)), "%v, %v", refused, unknown)
		}
	}
	for _, other := range []error{nil, ErrNotFound, ErrConflict, ErrInvalid, &DamagedError{}} {
		require.False(t, isRefusal(other), "%v", other)
	}
}
