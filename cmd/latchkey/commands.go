package main

import (
	"context"
	"strings"
)

// A command is what the first words of the command line name. Each stands in a file of its own.
type command struct {
	name     string // one word or two: "issue", "roles apply"
	args     string // the arguments in the synopsis: "ID", "[FILE]". "": none are taken
	min, max int    // how many arguments; a max below 0: any number
	summary  string // one line, without a full stop
	help     string // paragraphs, wrapped by hand at 100 characters
	output   string // what -json prints. "": the command has no -json
	scope    scope
	define   func(f *flags) action
}

// An action does the work of a command. Define returns it, after it has defined the command's flags.
type action func(ctx context.Context, c *call) error

// scope is what a command is about. It decides which flags every command of the scope has.
type scope uint8

const (
	scopeNone  scope = iota // neither settings nor a store
	scopeStore              // the settings file, and the store that it names: -settings
	scopeOwner              // one owner in the store: -settings and -owner
)

// commands is the table of all commands, in the order of the help.
func commands() []*command {
	return []*command{
		&initCommand,
		&migrateCommand,
		&issueCommand,
		&listCommand,
		&showCommand,
		&rotateCommand,
		&revokeCommand,
		&disableCommand,
		&enableCommand,
		&verifyCommand,
		&whoCommand,
		&explainCommand,
		&rolesPlanCommand,
		&rolesApplyCommand,
		&rolesExportCommand,
		&auditCommand,
		&auditVerifyCommand,
		&auditAnchorCommand,
		&usageCommand,
		&expiringCommand,
		&unusedCommand,
		&purgeCommand,
		&eraseCommand,
		&exportCommand,
		&importCommand,
		&doctorCommand,
		&completionCommand,
		&versionCommand,
	}
}

// findCommand returns the command that words begin with, and how many of them are its name.
func findCommand(words []string) (*command, int) {
	for n := min(2, len(words)); n > 0; n-- {
		name := strings.Join(words[:n], " ")
		for _, c := range commands() {
			if c.name == name {
				return c, n
			}
		}
	}
	return nil, 0
}

// commandsUnder returns the commands whose first word is given: those of "roles", say.
func commandsUnder(word string) (under []*command) {
	for _, c := range commands() {
		if strings.HasPrefix(c.name, word+" ") {
			under = append(under, c)
		}
	}
	return under
}
