package settings

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Options returns what the file says, for [latchkey.New]. It reads the keyring, the peppers, the roles and the
// catalogue anew from where the file says that they are. What the file leaves out has its zero value. The caller may
// change the result. New does not panic on it.
func (s *Settings) Options() (*latchkey.Options, error) {
	o := s.plain()
	if from := s.file.Keyring; from != nil {
		text, err := s.read("keyring", from, maxKeyring)
		if err != nil {
			return nil, err
		}
		if o.Keyring, err = latchkey.ParseKeyring(string(text)); err != nil {
			return nil, fmt.Errorf("keyring of %s: %w", s.path, err)
		}
	}
	if err := s.readLegacy(o); err != nil {
		return nil, err
	}
	if s.file.Roles != "" {
		f, err := os.Open(s.abs(s.file.Roles))
		if err != nil {
			return nil, fmt.Errorf("%w: roles of %s: %w", latchkey.ErrInvalid, s.path, err)
		}
		defer f.Close()
		if o.Roles, err = latchkey.ReadRoles(f); err != nil {
			return nil, fmt.Errorf("%s: %w", s.abs(s.file.Roles), err)
		}
	}
	if s.file.Catalogue != "" {
		text, err := readFile(s.abs(s.file.Catalogue), maxDeclared)
		if err != nil {
			return nil, fmt.Errorf("%w: catalogue of %s: %w", latchkey.ErrInvalid, s.path, err)
		}
		if o.Catalogue, err = latchkey.ReadCatalogue(bytes.TrimSpace(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.abs(s.file.Catalogue), err)
		}
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return o, nil
}

// plain returns the Options without what other files hold.
func (s *Settings) plain() *latchkey.Options {
	f := &s.file
	o := &latchkey.Options{
		MaxStale:        time.Duration(f.MaxStale),
		Prefix:          f.Prefix,
		NoRefusalReport: f.NoRefusalReport,
		LastUseAddress:  latchkey.AddressDetail(f.LastUseAddress),
		MaxDepth:        f.MaxDepth,
		CacheTokens:     f.CacheTokens,
		KeepExpired:     time.Duration(f.KeepExpired),
		KeepRevoked:     time.Duration(f.KeepRevoked),
		KeepUsageDays:   time.Duration(f.KeepUsageDays),
		KeepUsageMonths: time.Duration(f.KeepUsageMonths),
		KeepEvents:      time.Duration(f.KeepEvents),
		SignatureSkew:   time.Duration(f.SignatureSkew),
	}
	if shapes := s.imported; len(shapes) > 0 {
		o.Imported = func(text string) bool {
			for _, re := range shapes {
				if re.MatchString(text) {
					return true
				}
			}
			return false
		}
	}
	return o
}

// readLegacy sets Options.Legacy.
func (s *Settings) readLegacy(o *latchkey.Options) error {
	form := s.file.Legacy
	if form == nil {
		return nil
	}
	o.Legacy = &latchkey.Legacy{}
	if s.split != nil {
		o.Legacy.Split = splitter(s.split)
	}
	for name, from := range form.Peppers {
		member := "legacy.peppers." + name
		text, err := s.read(member, from, maxPepper)
		if err == nil {
			if text, err = from.decode(text); err != nil {
				err = fmt.Errorf("%w: %s of %s: %w", latchkey.ErrInvalid, member, s.path, err)
			}
		}
		if err != nil {
			return err
		}
		if o.Legacy.Peppers == nil {
			o.Legacy.Peppers = map[string][]byte{}
		}
		o.Legacy.Peppers[name] = text
	}
	return nil
}

// splitter returns a Legacy.Split by a pattern with two groups.
func splitter(re *regexp.Regexp) func(text string) (lookup, secret string, ok bool) {
	l, s := re.SubexpIndex("lookup"), re.SubexpIndex("secret")
	return func(text string) (lookup, secret string, ok bool) {
		m := re.FindStringSubmatch(text)
		if m == nil || m[l] == "" || m[s] == "" {
			return "", "", false
		}
		return m[l], m[s], true
	}
}
