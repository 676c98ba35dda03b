package settings

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// exported is the text of a keyring with one key.
func exported(t *testing.T, id uint32) string {
	t.Helper()
	key, err := latchkey.GenerateKey(nil, id)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	return ring.Export().Reveal()
}

// with returns a settings file with members beside those that there must be.
func with(members ...string) string {
	return "{" + strings.Join(append([]string{`"format":1`, `"store":{"engine":"sqlite","file":"a.db"}`}, members...),
		",\n") + "}"
}

// stored returns a settings file with a store.
func stored(engine string) string { return `{"format":1,"store":{"engine":` + engine + `}}` }

func options(t *testing.T, dir string, members ...string) *latchkey.Options {
	t.Helper()
	write(t, dir, "latchkey.json", with(members...))
	s, err := Read(filepath.Join(dir, "latchkey.json"))
	require.NoError(t, err)
	o, err := s.Options()
	require.NoError(t, err)
	return o
}

func TestDefaultsAreThoseOfOptions(t *testing.T) {
	require.Equal(t, &latchkey.Options{}, options(t, t.TempDir()))
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "roles.json", `{"format":1,"roles":[{"name":"viewer",`+
		`"permissions":[{"allow":["read"],"on":["invoice/*"]}]}]}`)
	write(t, dir, "pepper", "0102ff\n")
	write(t, dir, "dsn", "postgres://latchkey:pw@db/latchkey\r\n")
	t.Setenv("LATCHKEY_TEST_KEYRING", exported(t, 4)+exported(t, 3))
	t.Setenv("LATCHKEY_TEST_PEPPER", " as it is ")
	write(t, dir, "latchkey.json", `{"format":1,
		"store":{"engine":"postgres","dsn":{"file":"dsn"}},
		"owner":"acme","keyring":{"env":"LATCHKEY_TEST_KEYRING"},"prefix":"acme",
		"imported":["old_[0-9]+","x|yy"],
		"legacy":{"split":"v1_(?P<lookup>[a-z]+)_(?P<secret>[a-z]*)","peppers":{
			"a":{"file":"pepper","encoding":"hex"},"b":{"env":"LATCHKEY_TEST_PEPPER"}}},
		"roles":"roles.json","max_stale":"1m30s","last_use_address":"none","keep_revoked":"forever"}`)
	s, err := Read(filepath.Join(dir, "latchkey.json"))
	require.NoError(t, err)
	require.Equal(t, "acme", s.Owner())
	require.Equal(t, Postgres, s.Engine())
	require.Equal(t, latchkey.Postgres, s.Engine().Dialect())
	dsn, err := s.DSN()
	require.NoError(t, err)
	require.Equal(t, "postgres://latchkey:pw@db/latchkey", dsn)
	o, err := s.Options()
	require.NoError(t, err)
	require.Equal(t, []uint32{4, 3}, o.Keyring.IDs())
	require.Equal(t, 90*time.Second, o.MaxStale)
	require.Equal(t, latchkey.NoAddress, o.LastUseAddress)
	require.Negative(t, o.KeepRevoked)
	require.Equal(t, "viewer", o.Roles[0].Name)
	require.Equal(t, map[string][]byte{"a": {1, 2, 255}, "b": []byte(" as it is ")}, o.Legacy.Peppers)

	// Patterns match whole texts.
	for text, matches := range map[string]bool{"old_7": true, "x": true, "yy": true, "xyy": false, "old_7\n": false,
		" old_7": false, "old_": false, "": false, "old_7\nold_8": false} {
		require.Equal(t, matches, o.Imported(text), "%q", text)
	}
	for text, want := range map[string][2]string{"v1_ab_cd": {"ab", "cd"}, "v1_ab_": {}, "v1_ab_cd\n": {},
		"v2_ab_cd": {}} {
		lookup, secret, ok := o.Legacy.Split(text)
		require.Equal(t, want, [2]string{lookup, secret}, "%q", text)
		require.Equal(t, want[0] != "", ok, "%q", text)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "etc"), 0o700))
	write(t, dir, "etc/latchkey.json", with(`"keyring":{"file":"../key"}`))
	write(t, dir, "key", exported(t, 2))
	s, err := Read(filepath.Join(dir, "etc", "latchkey.json"))
	require.NoError(t, err)
	o, err := s.Options()
	require.NoError(t, err)
	require.Equal(t, []uint32{2}, o.Keyring.IDs())
	dsn, err := s.DSN()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "etc", "a.db"), dsn)

	absolute := filepath.Join(dir, "elsewhere.db")
	s, err = Parse("etc/x.json", []byte(`{"format":1,"store":{"engine":"sqlite","file":`+quoted(absolute)+`}}`))
	require.NoError(t, err)
	dsn, err = s.DSN()
	require.NoError(t, err)
	require.Equal(t, absolute, dsn)
}

func quoted(path string) string { return `"` + strings.ReplaceAll(path, `\`, `\\`) + `"` }

// What is wrong is told with its place, and no secret is repeated.
func TestWhatIsRefused(t *testing.T) {
	secret := "hunter2-hunter2"
	for name, c := range map[string]struct{ text, says string }{
		"nothing":             {``, "line 1, column 1: unexpected end"},
		"a list":              {`[]`, "a JSON object"},
		"no format":           {`{"store":{"engine":"sqlite","file":"a"}}`, `"format" is 1`},
		"a later format":      {`{"format":2,"new":1}`, "a later version"},
		"no store":            {`{"format":1}`, `"store" is missing`},
		"an unknown member":   {"{\"format\":1,\n  \"über\":1}", "line 2, column 3: unknown member"},
		"another case":        {with(`"Prefix":"a"`), "unknown member"},
		"twice":               {with(`"prefix":"a"`, `"prefix":"b"`), "line 4, column 1: a name that the object has already"},
		"null":                {with(`"keyring":null`), "keyring is null"},
		"null in a list":      {with(`"imported":["a",null]`), "imported[1] is null"},
		"a wrong type":        {with(`"max_depth":"four"`), `a value of the wrong type for "max_depth"`},
		"behind the end":      {with() + "x", "trailing data"},
		"an engine":           {`{"format":1,"store":{"engine":"oracle","file":"a"}}`, "store.engine is"},
		"sqlite and dsn":      {`{"format":1,"store":{"engine":"sqlite","file":"a","dsn":{"env":"A"}}}`, `no "dsn"`},
		"postgres and file":   {`{"format":1,"store":{"engine":"postgres","file":"a"}}`, `has "dsn"`},
		"a node":              {`{"format":1,"store":{"engine":"sqlite","file":"a","only_node":true}}`, "Galera"},
		"a DSN":               {stored(`"postgres","dsn":"postgres://a:` + secret + `@b/c"`), "store.dsn names where"},
		"a DSN as file":       {stored(`"postgres","dsn":{"file":"x://a:` + secret + `@b"}`), "not the path of a file"},
		"a DSN as variable":   {stored(`"postgres","dsn":{"env":"postgres://a:` + secret + `@b/c"}`), "name of a variable"},
		"a DSN as SQLite":     {stored(`"sqlite","file":"file://` + secret + `"`), "not the path of a file"},
		"a keyring":           {with(`"keyring":"latchkey-key-1:1:` + secret + `"`), "holds a key of a keyring"},
		"a keyring as file":   {with(`"keyring":{"file":"latchkey-key-1:1:` + secret + `"}`), "holds a key of a keyring"},
		"a keyring as text":   {with(`"keyring":"` + secret + `"`), "keyring names where the secret is"},
		"a keyring as env":    {with(`"keyring":{"env":"` + secret + `="}`), "name of a variable"},
		"two keyrings":        {with(`"keyring":{"env":"A","file":"b"}`), `either "file" or "env"`},
		"an empty keyring":    {with(`"keyring":{}`), `either "file" or "env"`},
		"an encoded keyring":  {with(`"keyring":{"file":"a","encoding":"hex"}`), "no encoding"},
		"a pepper":            {with(`"legacy":{"peppers":{"a":"` + secret + `"}}`), "legacy.peppers.a names where"},
		"a pepper's encoding": {with(`"legacy":{"peppers":{"a":{"env":"A","encoding":"rot13"}}}`), "encoding is"},
		"an unnamed pepper":   {with(`"legacy":{"peppers":{"":{"env":"A"}}}`), "name of a pepper"},
		"nine peppers":        {with(`"legacy":{"peppers":{` + nine + `}}`), "more than 8"},
		"an empty legacy":     {with(`"legacy":{}`), `has "split", "peppers" or both`},
		"split without group": {with(`"legacy":{"split":"(?P<lookup>a)b"}`), "two named groups"},
		"split, three groups": {with(`"legacy":{"split":"(?P<lookup>a)(?P<secret>b)(?P<x>c)"}`), "two named groups"},
		"no expression":       {with(`"imported":["("]`), "imported[0]: not a regular expression"},
		"a way out":           {with(`"imported":["a)|(b"]`), "imported[0]: not a regular expression"},
		"everything":          {with(`"imported":[".*"]`), "matches the empty text"},
		"an empty expression": {with(`"imported":[""]`), "1 to 1024 bytes"},
		"a long expression":   {with(`"imported":["` + strings.Repeat("a", 1025) + `"]`), "1 to 1024 bytes"},
		"many expressions":    {with(`"imported":["` + strings.Repeat(`a","`, 16) + `a"]`), "more than 16"},
		"a prefix":            {with(`"prefix":"ACME"`), "1 to 8 characters"},
		"depth":               {with(`"max_depth":33`), "MaxDepth"},
		"negative depth":      {with(`"max_depth":-1`), "max_depth"},
		"negative cache":      {with(`"cache_tokens":-2`), "cache_tokens"},
		"a duration":          {with(`"max_stale":"5"`), "a duration is a text such as"},
		"a number":            {with(`"max_stale":5`), "wrong type"},
		"a negative duration": {with(`"max_stale":"-5s"`), "a duration is a text such as"},
		"kept for no time":    {with(`"keep_revoked":"0s"`), "for no time at all"},
		"an address":          {with(`"last_use_address":"some"`), "last_use_address is"},
		"an owner":            {with(`"owner":"` + strings.Repeat("a", 257) + `"`), "owner is a text"},
		"roles":               {with(`"roles":"https://example.com"`), "roles is not the path of a file"},
	} {
		_, err := Parse("some/latchkey.json", []byte(c.text))
		require.ErrorContains(t, err, c.says, name)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
		require.ErrorContains(t, err, "some/latchkey.json: ", name)
		require.NotContains(t, err.Error(), secret, name)
	}
}

var nine = func() string {
	var members []string
	for c := 'a'; c <= 'i'; c++ {
		members = append(members, `"`+string(c)+`":{"env":"A"}`)
	}
	return strings.Join(members, ",")
}()

// What the file names may be missing or wrong: this is told when it is read, without its content.
func TestWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	secret := "latchkey-key-1:1:" + base64.StdEncoding.EncodeToString([]byte("hunter2"))
	write(t, dir, "short", secret)
	write(t, dir, "empty", "\n")
	write(t, dir, "large", strings.Repeat("#\n", maxKeyring))
	write(t, dir, "roles.json", `{"format":1,"roles":[{"name":"viewer",`+
		`"permissions":[{"allow":["fly"],"on":["invoice/*"]}]}]}`)
	write(t, dir, "catalogue.json", `{"resources":[{"template":"invoice/{id}","actions":["read"]}]}`)
	t.Setenv("LATCHKEY_TEST_EMPTY", "")
	for members, says := range map[string]string{
		`"keyring":{"file":"none"}`:                                       "none",
		`"keyring":{"file":"empty"}`:                                      "is empty",
		`"keyring":{"file":"short"}`:                                      "shorter than 32 bytes",
		`"keyring":{"file":"large"}`:                                      "more than 65536 bytes",
		`"keyring":{"env":"LATCHKEY_TEST_EMPTY"}`:                         "variable LATCHKEY_TEST_EMPTY of the env",
		`"keyring":{"env":"LATCHKEY_TEST_NOT_THERE"}`:                     "variable LATCHKEY_TEST_NOT_THERE of the env",
		`"legacy":{"peppers":{"a":{"file":"short","encoding":"hex"}}}`:    "not written in hex",
		`"legacy":{"peppers":{"a":{"file":"short","encoding":"base64"}}}`: "not written in base64",
		`"roles":"none"`:                                                  "none",
		`"roles":"catalogue.json"`:                                        "a file of roles",
		`"catalogue":"none"`:                                              "none",
		`"catalogue":"roles.json"`:                                        "catalogue",
		`"catalogue":"catalogue.json","roles":"roles.json"`:               "does not fit",
	} {
		write(t, dir, "latchkey.json", with(members))
		s, err := Read(filepath.Join(dir, "latchkey.json"))
		require.NoError(t, err, members)
		_, err = s.Options()
		require.ErrorContains(t, err, says, members)
		require.ErrorIs(t, err, latchkey.ErrInvalid, members)
		require.NotContains(t, err.Error(), secret[17:], members)
	}
	_, err := Read(filepath.Join(dir, "not-there.json"))
	require.True(t, errors.Is(err, fs.ErrNotExist))
	write(t, dir, "huge.json", strings.Repeat(" ", maxFile+1))
	_, err = Read(filepath.Join(dir, "huge.json"))
	require.ErrorContains(t, err, "more than")
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "30d": 720 * time.Hour,
		"1d12h": 36 * time.Hour, "0s": 0, "0d": 0, "105850d": 105850 * day, "1.5h": 90 * time.Minute} {
		d, err := ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, d, text)
		again, err := ParseDuration(FormatDuration(d))
		require.NoError(t, err, text)
		require.Equal(t, d, again, text)
	}
	for _, text := range []string{"", "5", "d", "-1d", "-5s", "+5s", "1d-2h", "1d+2h", "105851d", "105850d1s", "999999d",
		"9999999d", "1w", "1h1d", "1.5d", " 1d", "1d ", "forever", "3000000h"} {
		_, err := ParseDuration(text)
		require.ErrorIs(t, err, latchkey.ErrInvalid, text)
	}
	for d, want := range map[time.Duration]string{0: "0s", day: "1d", 30 * day: "30d", time.Hour: "1h",
		90 * time.Minute: "1h30m", 36 * time.Hour: "36h", time.Second: "1s", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", 20 * time.Hour: "20h", time.Duration(math.MaxInt64): "2562047h47m16.854775807s"} {
		require.Equal(t, want, FormatDuration(d))
	}
}

// Whatever the text, Parse ends without a panic, and what it accepts makes Options that New takes.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(with()))
	f.Add([]byte(with(`"imported":["a+"]`, `"legacy":{"split":"(?P<lookup>a+)(?P<secret>b+)"}`, `"max_stale":"1d"`)))
	f.Add([]byte(`{"format":1,"store":{"engine":"mysql","dsn":{"env":"DSN"},"only_node":true},"keep_expired":"forever"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("latchkey.json", text)
		if err != nil {
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			return
		}
		o := s.plain()
		require.NoError(t, o.Validate())
		if o.Imported != nil {
			require.False(t, o.Imported(""))
		}
		require.NotZero(t, s.Engine().Dialect())
	})
}
