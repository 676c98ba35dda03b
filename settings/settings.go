package settings

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Settings are what a settings file says. They hold no secret. They are safe for concurrent use. Make them with [Read]
// or [Parse].
type Settings struct {
	path     string
	file     file
	imported []*regexp.Regexp
	split    *regexp.Regexp
}

// Format is the "format" of a settings file that this version of the package reads.
const Format = 1

const (
	maxFile     = 1 << 20 // bytes
	maxShapes   = 16
	maxShape    = 1024 // bytes
	maxPeppers  = 8
	maxKeyring  = 64 << 10 // bytes
	maxDSN      = 4 << 10  // bytes
	maxPepper   = 4 << 10  // bytes
	maxDeclared = 16 << 20 // bytes of a catalogue
)

// file is the form of the file. Its members are documented in docs/command.md, in this order.
type file struct {
	Format          int           `json:"format"`
	Store           *storeForm    `json:"store"`
	Owner           string        `json:"owner"`
	Keyring         *source       `json:"keyring"`
	Prefix          string        `json:"prefix"`
	Imported        []string      `json:"imported"`
	Legacy          *legacyForm   `json:"legacy"`
	Roles           string        `json:"roles"`
	Catalogue       string        `json:"catalogue"`
	MaxStale        duration      `json:"max_stale"`
	MaxDepth        int           `json:"max_depth"`
	CacheTokens     int           `json:"cache_tokens"`
	SignatureSkew   duration      `json:"signature_skew"`
	LastUseAddress  addressDetail `json:"last_use_address"`
	NoRefusalReport bool          `json:"no_refusal_report"`
	KeepExpired     keep          `json:"keep_expired"`
	KeepRevoked     keep          `json:"keep_revoked"`
	KeepUsageDays   keep          `json:"keep_usage_days"`
	KeepUsageMonths keep          `json:"keep_usage_months"`
	KeepEvents      keep          `json:"keep_events"`
}

type storeForm struct {
	Engine   Engine  `json:"engine"`
	File     string  `json:"file"`
	DSN      *source `json:"dsn"`
	OnlyNode bool    `json:"only_node"`
}

type legacyForm struct {
	Split   string             `json:"split"`
	Peppers map[string]*source `json:"peppers"`
}

// Read reads a settings file. It opens no other file: [Settings.Options] and [Settings.DSN] do. Errors wrap
// latchkey.ErrInvalid, and name the file and the place in it. That the file cannot be read is an error of package os,
// so that errors.Is(err, fs.ErrNotExist) works.
func Read(path string) (*Settings, error) {
	text, err := readFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("latchkey: the settings file: %w", err)
	}
	return Parse(path, text)
}

// Parse is Read for a text. The path is where the file is: other paths are relative to its folder, and errors name it.
// The file need not exist.
func Parse(path string, text []byte) (*Settings, error) {
	s := &Settings{path: path}
	if err := s.parse(text); err != nil {
		if errors.Is(err, latchkey.ErrInvalid) {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return nil, fmt.Errorf("%s: %w: %w", path, latchkey.ErrInvalid, err)
	}
	return s, nil
}

// Path returns the path that Read was given.
func (s *Settings) Path() string { return s.path }

// Owner returns the owner that a deployment with a single one names, or "". The command takes it where no other owner
// is named.
func (s *Settings) Owner() string { return s.file.Owner }

func (s *Settings) parse(text []byte) error {
	if bytes.Contains(text, []byte("latchkey-key-1:")) {
		return errors.New("the file holds a key of a keyring. Move it into a file of its own, and name that: " +
			`"keyring": {"file": "latchkey.key"}. Replace the key if others could read this file`)
	}
	var peek struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &peek) == nil && peek.Format > Format {
		return fmt.Errorf("format %d: a later version of latchkey is needed to read it", peek.Format)
	}
	var whole any
	if err := strictjson.Unmarshal(text, &whole); err != nil {
		return placed(text, err)
	}
	if _, object := whole.(map[string]any); !object {
		return errors.New("the settings are a JSON object")
	}
	if err := checkTree("", whole); err != nil {
		return err
	}
	if err := strictjson.Unmarshal(text, &s.file); err != nil {
		return placed(text, err)
	}
	if s.file.Format != Format {
		return fmt.Errorf(`"format" is %d`, Format)
	}
	return s.check()
}

// placed returns an error of strictjson with the line and the column in place of the byte.
func placed(text []byte, err error) error {
	e, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		return err
	}
	// The reason of a value's own type wraps ErrInvalid, and is made here: it repeats no value.
	reason := e.Reason
	if own := e.Unwrap(); own != nil && errors.Is(own, latchkey.ErrInvalid) {
		reason = strings.TrimPrefix(own.Error(), latchkey.ErrInvalid.Error()+": ")
	}
	if e.Offset < 0 || e.Offset > int64(len(text)) {
		return errors.New(reason)
	}
	before := text[:e.Offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
	return fmt.Errorf("line %d, column %d: %s", line, column, reason)
}

// checkTree refuses null, and a text where a secret's place is to be named.
func checkTree(at string, v any) error {
	switch v := v.(type) {
	case nil:
		return fmt.Errorf("%s is null: leave it out", at)
	case []any:
		for i, e := range v {
			if err := checkTree(fmt.Sprintf("%s[%d]", at, i), e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			member := name
			if at != "" {
				member = at + "." + name
			}
			if err := checkTree(member, v[name]); err != nil {
				return err
			}
		}
	default:
		if at == "keyring" || at == "store.dsn" || strings.HasPrefix(at, "legacy.peppers.") &&
			strings.Count(at, ".") == 2 {
			return fmt.Errorf(`%.80s names where the secret is: {"file": "PATH"} or {"env": "VARIABLE"}. `+
				"The secret itself does not belong into this file: replace it if others could read it", at)
		}
	}
	return nil
}

// check returns what is wrong with the values, and compiles the patterns.
func (s *Settings) check() error {
	f := &s.file
	if err := f.Store.check(); err != nil {
		return err
	}
	if f.Keyring != nil && f.Keyring.Encoding != "" {
		return errors.New("keyring.encoding: a keyring has no encoding")
	}
	errs := []error{f.Keyring.check("keyring")}
	if f.Owner != "" {
		errs = append(errs, checkOwner(f.Owner))
	}
	for member, path := range map[string]string{"roles": f.Roles, "catalogue": f.Catalogue} {
		if path != "" {
			errs = append(errs, checkPath(member, path))
		}
	}
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	if err := s.compile(); err != nil {
		return err
	}
	if f.MaxDepth < 0 || f.CacheTokens < -1 {
		return errors.New("max_depth is 1 to 32, and cache_tokens a number, or -1 for no cache")
	}
	o := s.plain()
	return o.Validate()
}

func checkOwner(owner string) error {
	if len(owner) > 256 || strings.ContainsRune(owner, 0) {
		return errors.New("owner is a text of 1 to 256 bytes without NUL")
	}
	return nil
}

// compile compiles the patterns of texts. Each matches whole texts.
func (s *Settings) compile() error {
	if len(s.file.Imported) > maxShapes {
		return fmt.Errorf("imported has more than %d patterns", maxShapes)
	}
	for i, pattern := range s.file.Imported {
		re, err := wholeText(pattern)
		if err != nil {
			return fmt.Errorf("imported[%d]: %w", i, err)
		}
		s.imported = append(s.imported, re)
	}
	legacy := s.file.Legacy
	if legacy == nil {
		return nil
	}
	if legacy.Split == "" && len(legacy.Peppers) == 0 {
		return errors.New(`legacy has "split", "peppers" or both`)
	}
	if legacy.Split != "" {
		re, err := wholeText(legacy.Split)
		if err != nil {
			return fmt.Errorf("legacy.split: %w", err)
		}
		names := slices.Sorted(slices.Values(re.SubexpNames()))
		names = slices.DeleteFunc(names, func(name string) bool { return name == "" }) // the whole, and groups without one
		if !slices.Equal(names, []string{"lookup", "secret"}) {
			return errors.New("legacy.split has two named groups, (?P<lookup>…) and (?P<secret>…)")
		}
		s.split = re
	}
	if len(legacy.Peppers) > maxPeppers {
		return fmt.Errorf("legacy.peppers has more than %d members", maxPeppers)
	}
	for _, name := range slices.Sorted(maps.Keys(legacy.Peppers)) {
		from := legacy.Peppers[name]
		if name == "" || len(name) > 40 {
			return errors.New("the name of a pepper has 1 to 40 bytes")
		}
		if err := from.check("legacy.peppers." + name); err != nil {
			return err
		}
		if !slices.Contains([]string{"", "text", "hex", "base64"}, from.Encoding) {
			return fmt.Errorf(`legacy.peppers.%s.encoding is "text", "hex" or "base64"`, name)
		}
	}
	return nil
}

// wholeText compiles a pattern of RE2 that matches whole texts.
func wholeText(pattern string) (*regexp.Regexp, error) {
	if pattern == "" || len(pattern) > maxShape {
		return nil, fmt.Errorf("a pattern has 1 to %d bytes", maxShape)
	}
	if _, err := regexp.Compile(pattern); err != nil { // alone: "a)|(b" would end the group
		return nil, fmt.Errorf("not a regular expression of RE2: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression of RE2: %w", err)
	}
	if re.MatchString("") {
		return nil, errors.New("the pattern matches the empty text: every request without a key would be looked up")
	}
	return re, nil
}

// duration is a duration in the file.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	*d = duration(v)
	return err
}

// keep is how long something is kept: a duration, or "forever".
type keep time.Duration

func (k *keep) UnmarshalText(text []byte) error {
	if string(text) == "forever" {
		*k = -1
		return nil
	}
	v, err := ParseDuration(string(text))
	if err == nil && v == 0 {
		err = fmt.Errorf(`%w: to keep something for no time at all is not possible: write a duration, or "forever"`,
			latchkey.ErrInvalid)
	}
	*k = keep(v)
	return err
}

// addressDetail is how much of an address is kept.
type addressDetail latchkey.AddressDetail

func (d *addressDetail) UnmarshalText(text []byte) error {
	switch string(text) {
	case "whole":
		*d = addressDetail(latchkey.WholeAddress)
	case "network":
		*d = addressDetail(latchkey.NetworkAddress)
	case "none":
		*d = addressDetail(latchkey.NoAddress)
	default:
		return fmt.Errorf(`%w: last_use_address is "whole", "network" or "none"`, latchkey.ErrInvalid)
	}
	return nil
}
