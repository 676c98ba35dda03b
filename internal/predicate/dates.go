package predicate

import "time"

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 86_400
	firstDayNumber  = firstMicro / microsPerSecond / secondsPerDay
	lastDayNumber   = lastMicro / microsPerSecond / secondsPerDay
)

// digits reads n digits of s at i. It returns -1 if they are not all digits.
func digits(s string, i, n int) int {
	v := 0
	for _, c := range []byte(s[i : i+n]) {
		if c -= '0'; c > 9 {
			return -1
		}
		v = v*10 + int(c)
	}
	return v
}

// parseDay reads exactly YYYY-MM-DD, a real day of the years 1000 to 9999, as days since 1970.
func parseDay(s string) (int64, bool) {
	if len(s) != 10 {
		return 0, false
	}
	day, ok := civilDay(s)
	return day, ok && day >= firstDayNumber && day <= lastDayNumber
}

// isDay reports whether parseDay reads s. It looks at eight bytes at once.
func isDay(s string) bool {
	if len(s) != 10 {
		return false
	}
	head := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 |
		uint64(s[6])<<48 | uint64(s[7])<<56
	head ^= 0x2d30_302d_3030_3030 // "0000-00-": a byte is now what its digit says, and 0 for a hyphen
	// A byte that is more than 9, or than 0 for a hyphen, gets its highest bit by the sum, or had it.
	if (head|(head+0x7f76_767f_7676_7676))&0x8080_8080_8080_8080 != 0 {
		return false
	}
	tens, ones := s[8]-'0', s[9]-'0'
	m, d := 10*int(head>>40&15)+int(head>>48&15), 10*int(tens)+int(ones)
	if head&15 == 0 || tens > 9 || ones > 9 || m < 1 || m > 12 || d < 1 { // the years begin with 1000
		return false
	}
	return d <= 28 || d <= daysIn(1000*int(head&15)+100*int(head>>8&15)+10*int(head>>16&15)+int(head>>24&15), m)
}

// civilDay reads a real day from the first ten bytes of s, as days since 1970.
func civilDay(s string) (int64, bool) {
	y, m, d := digits(s, 0, 4), digits(s, 5, 2), digits(s, 8, 2)
	if s[4] != '-' || s[7] != '-' || y < 0 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return 0, false
	}
	// Count years from March, so that the leap day is the last one.
	if m <= 2 {
		y, m = y-1, m+12
	}
	leaps := y/4 - y/100 + y/400
	if y < 0 { // the year 0 before March; division rounds towards zero
		leaps = -1
	}
	return int64(365*y+leaps+(153*(m-3)+2)/5+d) - 719469, true
}

func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// parseInstant reads exactly YYYY-MM-DD[ T]HH:MM:SS[.f{1,6}][Z|±HH:MM] as microseconds since 1970. No zone means UTC;
// strict requires a zone and the T (RFC 3339). The SQL of SQLite accepts exactly the same texts.
func parseInstant(s string, strict bool) (int64, bool) {
	if len(s) < 19 || len(s) > 32 {
		return 0, false
	}
	day, ok := civilDay(s)
	hour, minute, second := digits(s, 11, 2), digits(s, 14, 2), digits(s, 17, 2)
	if !ok || s[10] != 'T' && (strict || s[10] != ' ') || s[13] != ':' || s[16] != ':' ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	micros, zone := 0, s[19:]
	if zone != "" && zone[0] == '.' {
		n, scale := 1, microsPerSecond
		for ; n < len(zone) && zone[n]-'0' <= 9; n++ {
			if scale /= 10; scale == 0 {
				return 0, false // a seventh digit
			}
			micros += int(zone[n]-'0') * scale
		}
		if n == 1 {
			return 0, false
		}
		zone = zone[n:]
	}
	offset := 0
	switch {
	case zone == "" && !strict, zone == "Z":
	case len(zone) == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':':
		h, m := digits(zone, 1, 2), digits(zone, 4, 2)
		if h < 0 || h > 14 || m < 0 || m > 59 {
			return 0, false
		}
		if offset = h*3600 + m*60; zone[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	seconds := day*secondsPerDay + int64(hour*3600+minute*60+second-offset)
	micro := seconds*microsPerSecond + int64(micros)
	return micro, micro >= firstMicro && micro <= lastMicro
}

// dayOf returns the day of a time.Time that a driver returns for a date: midnight, in whatever zone.
func dayOf(t time.Time) (int64, bool) {
	seconds := t.Unix()
	if t.Location() != time.UTC {
		_, offset := t.Zone()
		seconds += int64(offset)
	}
	day := seconds / secondsPerDay
	if seconds%secondsPerDay != 0 || t.Nanosecond() != 0 {
		return 0, false
	}
	return day, day >= firstDayNumber && day <= lastDayNumber
}

// instantOf returns false for a time finer than a microsecond: an engine that kept it would compare it differently.
func instantOf(t time.Time) (int64, bool) {
	if y := t.Unix(); y < firstMicro/microsPerSecond || y > lastMicro/microsPerSecond || t.Nanosecond()%1000 != 0 {
		return 0, false
	}
	return t.UnixMicro(), true
}
