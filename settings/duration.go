package settings

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey"
)

var days = regexp.MustCompile(`^([0-9]{1,6})d(.*)$`)

// ParseDuration reads a duration as the settings file and the command take it: what [time.ParseDuration] reads, with
// days of 24 hours before the rest ("30d", "1d12h"). It returns ErrInvalid for anything else, for a negative duration
// and for one of more than 290 years.
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf(`%w: a duration is a text such as "90s", "12h", "30d" or "1d12h", at most 290 years`,
		latchkey.ErrInvalid)
	var whole time.Duration
	rest := text
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxDays {
			return 0, bad
		}
		if whole, rest = time.Duration(n)*day, m[2]; rest == "" {
			return whole, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > maxDays*day-whole || rest[0] == '+' || rest[0] == '-' {
		return 0, bad
	}
	return whole + d, nil
}

const (
	day     = 24 * time.Hour
	maxDays = 290 * 365
)

// FormatDuration returns the shortest text that ParseDuration reads as d: whole days as "30d", the rest as Go does,
// without units that are zero.
func FormatDuration(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text) - len(zero); n > 0 && text[n:] == zero {
			text = text[:n+1]
		}
	}
	return text
}
