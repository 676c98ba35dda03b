package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/difference"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/rolefile"
)

const roleFileHelp = `
The file is JSON, for version control:

  {"format": 1, "owners": {"acme": {
    "roles": [
      {"name": "viewer", "permissions": [{"allow": ["read"], "on": ["dataset/*"]}]},
      {"name": "editor", "inherits": ["viewer"], "permissions": [{"allow": ["update"], "on": ["dataset/a"]}]}
    ],
    "boundary": [{"allow": ["*"], "on": ["dataset/*"]}], "limits": {}, "policy": {}}}}

Roles are known by their names. "inherits" names roles of the file, of the store or of the application
("code:NAME"). A boundary of "none" is none, and [] lets nothing through. Limits and a policy of {} are
none. What the file does not name stays as it is: with -prune, roles that it does not name are deleted,
but never those that a token holds or that a surface made. "latchkey roles export" writes such a file.`

var rolesPlanCommand = command{
	name: "roles plan",
	args: "FILE",
	min:  1, max: 1,
	summary: "show what \"roles apply\" would change, and for which tokens",
	help: `
Compares a file of roles with the store, and shows the difference, rule by rule: order decides. It counts
the tokens that may do something then that they may not do now, and the reverse. Where that cannot be
compared a token counts as both. Tokens that were minted follow those that they were minted from, and are
not counted. The exit code is 0 if there is no difference, and 6 if there is one.
` + roleFileHelp,
	output: planOutput,
	scope:  scopeStore,
	define: func(f *flags) action {
		o := planFlags(f)
		return func(ctx context.Context, c *call) error {
			_, plan, err := c.plan(ctx, o())
			if err != nil {
				return err
			}
			if err := c.printPlan(plan); err != nil {
				return err
			}
			if plan.Empty() {
				return nil
			}
			return errFindings
		}
	},
}

const planOutput = `
{"owners":[{"owner":"acme",
  "changes":[{"verb":"create, update or delete","role":"viewer","id":"…",
    "blocked":"why it cannot be deleted"}],
  "record":true if the boundary, the limits or the policy change,
  "gain":2,"lose":0,"unknown":0,"difference":["…"]}]}`

// planFlags defines the flags of a plan.
func planFlags(f *flags) func() rolefile.Options {
	prune := f.Bool("prune", false, "delete roles that the file does not name")
	quick := f.Bool("quick", false, "do not count tokens: with very many it takes a while")
	return func() rolefile.Options { return rolefile.Options{Prune: *prune, Effects: !*quick} }
}

// plan reads the file that the first argument names, and compares it with the store.
func (c *call) plan(ctx context.Context, o rolefile.Options) (rolefile.Accounts, *rolefile.Plan, error) {
	file, err := readRoleFile(c.args[0])
	if err != nil {
		return nil, nil, err
	}
	keys, err := c.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	shown := c.progress("tokens")
	o.Progress = shown.set
	accounts := func(owner string) (latchkey.Account, error) { return c.accountOf(keys, owner) }
	plan, err := rolefile.Make(ctx, accounts, file, o)
	shown.end()
	return accounts, plan, err
}

func readRoleFile(path string) (rolefile.File, error) {
	in, err := os.Open(path)
	if err != nil {
		return rolefile.File{}, usagef("%s", err)
	}
	defer in.Close()
	file, err := rolefile.Read(in)
	if err != nil {
		return rolefile.File{}, usagef("%s: %s", path, strings.TrimPrefix(err.Error(), latchkey.ErrInvalid.Error()+": "))
	}
	return file, nil
}

type (
	planOut struct {
		Owners []ownerPlanOut `json:"owners"`
	}
	ownerPlanOut struct {
		Owner      string          `json:"owner"`
		Changes    []roleChangeOut `json:"changes"`
		Record     bool            `json:"record"`
		Gain       int             `json:"gain"`
		Lose       int             `json:"lose"`
		Unknown    int             `json:"unknown"`
		Difference []string        `json:"difference"`
	}
	roleChangeOut struct {
		Verb    rolefile.Verb `json:"verb"`
		Role    string        `json:"role"`
		ID      string        `json:"id,omitempty"`
		Blocked string        `json:"blocked,omitempty"`
	}
)

func (c *call) printPlan(p *rolefile.Plan) error {
	if c.flags.json {
		out := planOut{Owners: []ownerPlanOut{}}
		for i := range p.Owners {
			o := &p.Owners[i]
			to := ownerPlanOut{Owner: o.Owner, Changes: []roleChangeOut{}, Record: o.ChangesRecord(), Gain: o.Gains.Count,
				Lose: o.Loses.Count, Unknown: o.Unknown.Count}
			for _, ch := range o.Roles {
				to.Changes = append(to.Changes, roleChangeOut{ch.Verb, ch.Name(), ch.Old.ID, ch.Blocked})
			}
			for _, l := range o.Lines() {
				to.Difference = append(to.Difference, l.String())
			}
			out.Owners = append(out.Owners, to)
		}
		return c.printJSON(out)
	}
	if p.Empty() {
		c.note("the store is what the file says")
		return nil
	}
	for i := range p.Owners {
		if err := c.printLines(p.Owners[i].Lines()); err != nil {
			return err
		}
	}
	c.note("%s", p.Summary())
	return nil
}

// printLines prints a difference.
func (c *call) printLines(lines []difference.Line) error {
	on := colours(c.std.out)
	var b strings.Builder
	for _, l := range lines {
		style := plain
		switch l.Op {
		case '+':
			style = good
		case '-', '!':
			style = bad
		case '~':
			style = uneasy
		}
		b.WriteString(style.of(visible(l.String()), on) + "\n")
	}
	_, err := c.std.out.WriteString(b.String())
	return err
}

var rolesApplyCommand = command{
	name: "roles apply",
	args: "FILE",
	min:  1, max: 1,
	summary: "make roles, boundaries, limits and policies what a file says",
	help: `
Shows what "latchkey roles plan" shows, asks, and makes the store what the file says. On no terminal it asks
nobody, and needs -yes. What is changed must be as it was when the plan was made: otherwise the command
refuses, and shows the new difference when it is run again. Roles are written after those that they inherit,
and a narrower boundary before them. What was done is told line by line and stays done: after a failure,
run the command again. If there is nothing to do, nothing is written.
` + roleFileHelp,
	output: planOutput,
	scope:  scopeStore,
	define: func(f *flags) action {
		o := planFlags(f)
		yes := f.Bool("yes", false, "do not ask")
		f.Reason()
		return func(ctx context.Context, c *call) error {
			accounts, plan, err := c.plan(ctx, o())
			if err != nil {
				return err
			}
			if err := c.printPlan(plan); err != nil {
				return err
			}
			switch {
			case plan.Empty():
				return nil
			case plan.Blocked():
				return refusedf("nothing was changed, because not all of it can be done: see what stands behind \"!\"")
			}
			if err := c.confirm(ctx, *yes, "Make these changes?"); err != nil {
				return err
			}
			err = plan.Apply(ctx, accounts, func(done string) { c.note("%s", done) })
			if errors.Is(err, rolefile.ErrChanged) {
				return refusedf("%s: run the command again to see what it is now. What was done before stays done", err)
			}
			return err
		}
	},
}

var rolesExportCommand = command{
	name:    "roles export",
	summary: "write the roles of owners as a file for \"roles apply\"",
	help: `
Writes the roles of an owner, its boundary, its limits and its policy to standard output. Roles that a
surface made, such as those of datocms, are left out.`,
	scope: scopeStore,
	define: func(f *flags) action {
		owners := f.List("owner", "write the roles of this `owner` (default: that of the settings file)")
		all := f.Bool("all", false, "write the roles of all owners")
		return func(ctx context.Context, c *call) error {
			keys, err := c.keys(ctx)
			if err != nil {
				return err
			}
			names := *owners
			switch {
			case *all && len(names) > 0:
				return usagef("-all and -owner exclude each other")
			case *all:
				names = nil
				for name, err := range allOwners(ctx, c.store) {
					if err != nil {
						return err
					}
					names = append(names, name)
				}
			case len(names) == 0 && c.read.Owner() == "":
				return usagef("name the owner: -owner OWNER, -all, or \"owner\" in %s", c.flags.settingsPath())
			case len(names) == 0:
				names = []string{c.read.Owner()}
			}
			file, err := rolefile.Export(ctx, keys.Tenant, names...)
			if err != nil {
				return err
			}
			return file.Write(c.std.out)
		}
	},
}
