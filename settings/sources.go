package settings

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// source names a place that holds a secret: a file, or a variable of the environment.
type source struct {
	File     string `json:"file,omitempty"`
	Env      string `json:"env,omitempty"`
	Encoding string `json:"encoding,omitempty"` // of peppers alone: "text", "hex" or "base64"
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// check returns what is wrong with a source. It never repeats what stands there, which may be the secret itself.
func (s *source) check(member string) error {
	switch {
	case s == nil:
		return nil
	case (s.File == "") == (s.Env == ""):
		return fmt.Errorf(`%w: %s has either "file" or "env"`, latchkey.ErrInvalid, member)
	case s.Env != "" && !envName.MatchString(s.Env):
		return fmt.Errorf(`%w: %s.env is the name of a variable of the environment, not its value`,
			latchkey.ErrInvalid, member)
	case s.File != "":
		return checkPath(member+".file", s.File)
	}
	return nil
}

func checkPath(member, path string) error {
	if path == "" || len(path) > 4096 || !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool {
		return r < ' ' || r == 0x7f
	}) || strings.Contains(path, "://") {
		return fmt.Errorf("%w: %s is not the path of a file", latchkey.ErrInvalid, member)
	}
	return nil
}

// read returns what the source holds, at most most bytes, without the line break at its end.
func (s *Settings) read(member string, from *source, most int64) ([]byte, error) {
	fail := func(format string, args ...any) ([]byte, error) {
		return nil, fmt.Errorf("%w: %s of %s: "+format, append([]any{latchkey.ErrInvalid, member, s.path}, args...)...)
	}
	if from.Env != "" {
		value, set := os.LookupEnv(from.Env)
		if !set || value == "" {
			return fail("the variable %s of the environment is not set", from.Env)
		}
		if int64(len(value)) > most {
			return fail("the variable %s of the environment has more than %d bytes", from.Env, most)
		}
		return trimLine([]byte(value)), nil
	}
	text, err := readFile(s.abs(from.File), most)
	if err != nil {
		return nil, fmt.Errorf("%w: %s of %s: %w", latchkey.ErrInvalid, member, s.path, err)
	}
	if len(trimLine(text)) == 0 {
		return fail("the file %s is empty", s.abs(from.File))
	}
	return trimLine(text), nil
}

func trimLine(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}

// abs returns a path of the file as it is opened.
func (s *Settings) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.path), path)
}

// readFile reads a file of at most most bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, nil
}

// decode returns the bytes of a pepper.
func (from *source) decode(text []byte) ([]byte, error) {
	var err error
	switch from.Encoding {
	case "", "text":
		return text, nil
	case "hex":
		text, err = hex.DecodeString(string(text))
	case "base64":
		text, err = base64.StdEncoding.Strict().DecodeString(string(text))
	}
	if err != nil || len(text) == 0 {
		return nil, errors.New("it is not written in " + from.Encoding)
	}
	return text, nil
}
