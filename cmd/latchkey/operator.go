package main

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"unicode/utf8"
)

// operator returns who the audit trail names for what this process does: the name of the user and of the machine, as
// the operating system tells them. Behind sudo it is the user who called it. It is a trace for people who work
// together, and no proof: whoever may run the command can change it.
func operator() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if name == "" {
		name = "uid " + strconv.Itoa(os.Getuid()) // a container without /etc/passwd
	}
	if before := os.Getenv("SUDO_USER"); before != "" && os.Geteuid() == 0 {
		name = before
	}
	host, err := os.Hostname()
	if err == nil && host != "" {
		name += "@" + host
	}
	return clip(name, 128)
}

// clip makes a text valid for a record: UTF-8 without NUL, and not longer than most bytes.
func clip(text string, most int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
	for len(text) > most {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}
