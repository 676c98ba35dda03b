package latchkey

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a record may hold.
const (
	maxName      = 256                  // bytes of a name
	maxOrigin    = 64                   // bytes of an Origin
	maxReason    = 256                  // bytes of the reason of a revocation or rotation
	maxExtra     = 1 << 20              // bytes of an Extra
	maxPresented = 512                  // bytes of a text that is looked up
	maxInherits  = 256                  // roles that a role inherits directly
	maxRoles     = 1000                 // roles that a token names, or that a role and all it inherits are
	maxRateSpan  = 366 * 24 * time.Hour // a Rate's Per, and the time in which its whole burst comes back
)

// checkText returns ErrInvalid unless s is a text of min to max bytes of valid UTF-8 without NUL.
func checkText(what, s string, min, max int) error {
	switch {
	case len(s) < min:
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	case len(s) > max:
		return fmt.Errorf("%w: %s has more than %d bytes", ErrInvalid, what, max)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not valid UTF-8", ErrInvalid, what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: %s holds a NUL", ErrInvalid, what)
	}
	return nil
}

func checkClient(c Client) error {
	if err := checkText("Client.ID", c.ID, 0, 256); err != nil {
		return err
	}
	if c.ID == "" && c.Name != "" {
		return fmt.Errorf("%w: Client.Name without Client.ID", ErrInvalid)
	}
	return checkText("Client.Name", c.Name, 0, 256)
}

func checkExtra(extra json.RawMessage) error {
	switch {
	case len(extra) > maxExtra:
		return fmt.Errorf("%w: Extra has more than %d bytes", ErrInvalid, maxExtra)
	case len(extra) > 0 && !json.Valid(extra):
		return fmt.Errorf("%w: Extra is not JSON", ErrInvalid)
	}
	return nil
}

func checkNameAndRoles(kind Kind, s *Settings) error {
	if err := checkText("Name", s.Name, 0, maxName); err != nil {
		return err
	}
	if kind == KindSecret && (len(s.Roles) != 0 || len(s.Permissions) != 0) {
		return fmt.Errorf("%w: a secret token takes no roles or permissions: it may do everything", ErrInvalid)
	}
	if len(s.Roles) > maxRoles {
		return fmt.Errorf("%w: more than %d roles", ErrInvalid, maxRoles)
	}
	for i, id := range s.Roles {
		if err := checkText("role id", id, 1, maxRoleID); err != nil {
			return err
		}
		for _, other := range s.Roles[:i] {
			if id == other {
				return fmt.Errorf("%w: role %q is named twice", ErrInvalid, id)
			}
		}
	}
	return checkRoleEnds(s)
}

// checkRoleEnds returns an error for an end of a role that the settings do not name, and for a time that is none. It
// truncates times to the precision that stores keep.
func checkRoleEnds(s *Settings) error {
	if s.RoleEnds == nil {
		return nil
	}
	ends := make(map[string]time.Time, len(s.RoleEnds)) // the caller's map stays as it is
	for id, end := range s.RoleEnds {
		switch {
		case !slices.Contains(s.Roles, id):
			return fmt.Errorf("%w: RoleEnds has an end of role %q, which Roles does not name", ErrInvalid, id)
		case end.IsZero():
			return fmt.Errorf("%w: RoleEnds has the zero time for role %q: leave it out for no end", ErrInvalid, id)
		}
		if err := checkTime(&end); err != nil {
			return err
		}
		ends[id] = end
	}
	if s.RoleEnds = ends; len(ends) == 0 {
		s.RoleEnds = nil
	}
	return nil
}

// checkBounds returns an error for limits, Extra and times that a token of this kind cannot have. It truncates times to
// the precision that stores keep.
func checkBounds(kind Kind, s *Settings) error {
	if err := s.Limits.checkNew(); err != nil {
		return err
	}
	if err := checkExtra(s.Extra); err != nil {
		return err
	}
	return checkValidity(kind, &s.Validity)
}

func checkValidity(kind Kind, v *Validity) error {
	for _, t := range []*time.Time{&v.NotBefore, &v.NotAfter} {
		if err := checkTime(t); err != nil {
			return err
		}
	}
	switch {
	case v.Idle < 0:
		return fmt.Errorf("%w: Validity.Idle is negative", ErrInvalid)
	case v.Idle != 0 && v.Idle < time.Second:
		return fmt.Errorf("%w: Validity.Idle is shorter than a second", ErrInvalid)
	case v.NotAfter.IsZero() && (kind == KindAccess || kind == KindSession):
		return fmt.Errorf("%w: %s tokens need Validity.NotAfter", ErrInvalid, kind)
	case !v.NotAfter.IsZero() && !v.NotBefore.Before(v.NotAfter):
		return fmt.Errorf("%w: NotAfter is not after NotBefore", ErrInvalid)
	}
	v.Idle = v.Idle.Truncate(time.Microsecond)
	return nil
}

// checkTime truncates a time to the precision that stores keep. It returns an error for one that has no JSON form.
func checkTime(t *time.Time) error {
	if t.IsZero() {
		return nil
	}
	if y := t.UTC().Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("%w: a time must lie in the years 1970 to 9999", ErrInvalid)
	}
	*t = t.UTC().Truncate(time.Microsecond)
	return nil
}

// check returns an error for a rate that cannot be enforced.
func (r Rate) check() error {
	switch {
	case r == Rate{}:
		return nil
	case r.Count <= 0:
		return fmt.Errorf("%w: Rate.Count must be positive", ErrInvalid)
	case r.Per <= 0:
		return fmt.Errorf("%w: Rate.Per must be positive", ErrInvalid)
	case r.Burst < 0:
		return fmt.Errorf("%w: Rate.Burst is negative", ErrInvalid)
	case r.Per > maxRateSpan:
		return fmt.Errorf("%w: Rate.Per is more than 366 days", ErrInvalid)
	case time.Duration(r.Count) > r.Per:
		return fmt.Errorf("%w: Rate is more than one request per nanosecond", ErrInvalid)
	case int64(r.Burst) >= int64(maxRateSpan)/r.cells().Step:
		return fmt.Errorf("%w: Rate.Burst takes more than 366 days to come back", ErrInvalid)
	}
	return nil
}

// checkNew is check for a rate that is to be saved. Earlier versions let a Per below a microsecond through, so check
// still does.
func (r Rate) checkNew() error {
	if err := r.check(); err != nil || r == (Rate{}) || r.Per >= time.Microsecond {
		return err
	}
	return fmt.Errorf("%w: Rate.Per is shorter than a microsecond", ErrInvalid)
}

// micros returns t in µs, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// over reports whether end has come. The end itself is too late, and the zero time is no end.
func over(end time.Time, now int64) bool { return !end.IsZero() && now >= end.UnixMicro() }
