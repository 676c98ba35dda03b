package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimesThatRecordsKeep(t *testing.T) {
	in := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	for at, good := range map[time.Time]bool{
		{}:                true,
		in(1970):          true,
		in(1970).Add(-1):  false,
		in(10000).Add(-1): true,
		in(10000):         false,
		in(1970).In(time.FixedZone("behind", -3600)): true, // still 1969 there
	} {
		kept := at
		err := checkTime(&kept)
		require.Equal(t, good, err == nil, "%v", at)
		if !good {
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, at, kept)
		} else if !at.IsZero() {
			require.Equal(t, at.UTC().Truncate(time.Microsecond), kept)
		}
	}
}

func TestRatesThatRecordsKeep(t *testing.T) {
	const most = 366 * 24 * time.Hour
	for r, good := range map[Rate]bool{
		{}:                                          true,
		{Count: 1, Per: time.Second}:                true,
		{Count: 0, Per: time.Second}:                false,
		{Count: -1, Per: time.Second}:               false,
		{Count: 1}:                                  false,
		{Count: 1, Per: -1}:                         false,
		{Count: 1, Per: time.Second, Burst: -1}:     false,
		{Burst: 1}:                                  false,
		{Count: 1, Per: most}:                       true,
		{Count: 1, Per: most + 1}:                   false,
		{Count: 1000, Per: time.Microsecond}:        true,
		{Count: 1001, Per: time.Microsecond}:        false,
		{Count: 1, Per: time.Microsecond}:           true,
		{Count: 1, Per: time.Microsecond - 1}:       false,
		{Count: 1, Per: 24 * time.Hour, Burst: 365}: true,
		{Count: 1, Per: 24 * time.Hour, Burst: 366}: false,
	} {
		err := r.checkNew()
		require.Equal(t, good, err == nil, "%+v: %v", r, err)
		if !good {
			require.ErrorIs(t, err, ErrInvalid, "%+v", r)
		}
	}
}

// The largest number that a limit names is allowed, and one more is not.
func TestEachLimitIsReached(t *testing.T) {
	names := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("n", i))
		}
		return out
	}
	texts := func(n int) Attributes {
		out := Attributes{}
		for _, name := range names(n) {
			out[name] = "x"
		}
		return out
	}
	allows := func(p *policy, n int) error {
		if p.verdict(Create, Resource(strings.Repeat("r", n))) == verdictNone {
			return ErrDenied
		}
		return nil
	}
	open := newPolicy([]layer{{rules: Permissions{Allow(Create).On("*")}}}, nil)
	forced := newPolicy([]layer{{full: true, forced: Values{"a": 1}}, {full: true, forced: Values{"b": 1}}}, nil)
	for name, c := range map[string]struct {
		most int
		try  func(n int) error
	}{
		"attributes": {16, func(n int) error {
			_, err := texts(n).canonical()
			return err
		}},
		"attributes that are read": {16, func(n int) error {
			text, err := json.Marshal(texts(n))
			if err == nil {
				err = new(Attributes).UnmarshalJSON(text)
			}
			return err
		}},
		"bytes of attributes": {4096, func(n int) error {
			_, err := Attributes{"a": strings.Repeat("x", n-len(`{"a":""}`))}.canonical()
			return err
		}},
		"bytes of the name of an attribute": {64, func(n int) error {
			_, err := Attributes{strings.Repeat("a", n): "x"}.canonical()
			return err
		}},
		"ChildAttributes": {16, func(n int) error {
			_, err := checkChildAttributes(names(n))
			return err
		}},
		"bytes of a condition": {1 << 20, func(n int) error {
			_, err := ParseCondition("a = 1" + strings.Repeat(" ", n-len("a = 1")))
			return err
		}},
		"forced values": {1000, func(n int) error {
			_, err := ParseValues(strings.Join(names(n), "=1,") + "=1")
			return err
		}},
		"items of a list": {1000, func(n int) error {
			return Where("a", In, names(n)).Validate()
		}},
		"items of a list that is read": {1000, func(n int) error {
			text, err := json.Marshal(names(n))
			if err == nil {
				err = new(Condition).UnmarshalJSON(fmt.Appendf(nil, `{"field":"a","op":"in","value":%s}`, text))
			}
			return err
		}},
		"peppers": {8, func(n int) error {
			l := Legacy{Peppers: map[string][]byte{}}
			for _, name := range names(n) {
				l.Peppers[name] = []byte("k")
			}
			if why := l.check(); why != "" {
				return errors.New(why)
			}
			return nil
		}},
		"live tokens of an owner": {1_000_000, func(n int) error {
			return (&OwnerPolicy{Tokens: n}).check()
		}},
		"live children of a token": {1_000_000, func(n int) error {
			return (&OwnerPolicy{Children: n}).check()
		}},
		"bytes of a resource":                    {512, func(n int) error { return allows(open, n) }},
		"bytes of a resource with forced values": {512, func(n int) error { return allows(forced, n) }},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.try(c.most))
			require.Error(t, c.try(c.most+1))
		})
	}
}
