package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"

	"github.com/latchkey-go/latchkey"
)

var (
	tokenText    = regexp.MustCompile(latchkey.SecretPattern(""))
	passwordInID = regexp.MustCompile(`://[^/?#\s:@]*:[^/?#\s@]+@`)
)

// refuseSecrets refuses a command line that holds a secret: other users of the machine see it, and the shell keeps it.
// The error does not repeat it. The texts of publishable tokens are public.
func refuseSecrets(args []string) error {
	for i, arg := range args {
		for _, m := range tokenText.FindAllStringSubmatch(arg, -1) {
			if latchkey.CheckText(m[0]) && m[1] != "pk" && m[1] != "Tpk" {
				return usagef("argument %d holds the secret of a token. Others on this machine may have seen it, and it is now in "+
					"the history of the shell: rotate the token, or revoke it. Secrets are read from standard input, as in\n"+
					"  latchkey verify < FILE", i+1)
			}
		}
		switch {
		case strings.Contains(arg, "latchkey-key-1:"):
			return usagef("argument %d holds a key of a keyring. Others on this machine may have seen it, and it is now in the "+
				"history of the shell: put a new key in front of the keyring, and see \"rotating a key\" in docs/operations.md. "+
				"A keyring is named by the settings file", i+1)
		case passwordInID.MatchString(arg):
			return usagef("argument %d holds a password. Others on this machine may have seen it, and it is now in the history "+
				"of the shell: change the password. The settings file names the file or the variable that holds a DSN", i+1)
		}
	}
	return nil
}

const maxSecretLine = 4096 // bytes; longer than any text that can be a key

// readSecret reads one line from standard input: on a terminal it asks, and nothing is shown of what is typed. Space
// around the text is dropped, for it is pasted.
func (c *call) readSecret(ctx context.Context, what string) (string, error) {
	fd := int(c.std.in.Fd())
	if term.IsTerminal(fd) {
		text, err := readHidden(ctx, fd, func() { fmt.Fprintf(c.std.err, "%s (nothing is shown): ", what) })
		fmt.Fprintln(c.std.err)
		if err != nil {
			return "", err
		}
		return oneSecret(text, what)
	}
	lines, err := c.readLines(ctx, maxSecretLine)
	if err != nil {
		return "", err
	}
	return oneSecret(lines, what)
}

// oneSecret returns the only line of a text.
func oneSecret(text, what string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", usagef("no %s was given on standard input", what)
	case strings.ContainsAny(text, "\r\n"):
		return "", usagef("standard input holds more than one line: give one %s", what)
	case len(text) > maxSecretLine:
		return "", usagef("standard input holds more than %d bytes: give one %s", maxSecretLine, what)
	}
	return text, nil
}

// readHidden reads a line from a terminal without showing it. It asks once nothing is shown any more: whoever answers
// at once is not seen either. The terminal is then as before, also if ctx ends.
func readHidden(ctx context.Context, fd int, ask func()) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(fd, before) }()
	if err := hide(fd); err != nil {
		return "", err
	}
	ask()
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, io.EOF) {
			r.err = nil
		}
		return string(r.text), r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// readLines reads all of standard input, at most most bytes.
func (c *call) readLines(ctx context.Context, most int64) (string, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // a read of a pipe does not end with ctx
		text, err := io.ReadAll(io.LimitReader(bufio.NewReader(c.std.in), most+1))
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if r.err == nil && int64(len(r.text)) > most {
			return "", usagef("standard input holds more than %d bytes", most)
		}
		return string(r.text), r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// A secretFile is where a new secret goes: standard output, or a new file that its owner alone can read.
type secretFile struct {
	path string
	file *os.File // nil: standard output
}

// secretOut opens the file of -out, before there is a secret that could get lost. "": standard output.
func secretOut(path string) (*secretFile, error) {
	if path == "" {
		return &secretFile{}, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usagef("-out: %s exists, and is not written over", path)
	}
	if err != nil {
		return nil, fmt.Errorf("-out: %w", err)
	}
	return &secretFile{path, file}, nil
}

// drop removes the file, because there is no secret after all.
func (s *secretFile) drop() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.path)
	}
}

// write writes a secret and a line break, and makes sure that a file holds it.
func (s *secretFile) write(out io.Writer, secret latchkey.Secret) error {
	if s.file == nil {
		_, err := fmt.Fprintln(out, secret.Reveal())
		return err
	}
	_, err := fmt.Fprintln(s.file, secret.Reveal())
	if err == nil {
		err = s.file.Sync()
	}
	return errors.Join(err, s.file.Close())
}
