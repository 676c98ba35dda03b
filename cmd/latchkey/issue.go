package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

var issueCommand = command{
	name:    "issue",
	summary: "issue a token and print its secret",
	help: `
Issues a token for an owner. The secret goes to standard output, or with -out to a new file that its
owner alone can read; what else there is to say goes to standard error. The secret is shown once.

What the token may do comes from -role, from -rules or from both. A secret key needs neither: it may do
everything of its owner. -spec takes a file with everything that package latchkey documents as Spec, in
JSON; other flags replace what stands there.

It refuses if the store has secrets that were made under a key that the keyring of the settings lacks,
or under another key of the same id: the programs of the deployment would not find the new secret.
It looks at all secrets of the store for that.`,
	output: `{"token":{…},"secret":"ak_…"}; with -out {"token":{…},"secret_file":"PATH"}`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		spec := specFlags(f)
		out := outFlag(f)
		f.Reason()
		return func(ctx context.Context, c *call) error {
			s, err := spec(ctx, c)
			if err != nil {
				return err
			}
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			if err := c.checkKeyring(ctx); err != nil {
				return err
			}
			return c.issue(ctx, account, s, *out)
		}
	},
}

func outFlag(f *flags) *string {
	return f.String("out", "", "new `file` for the secret, in place of standard output")
}

// issue issues a token and prints it. The file of the secret is made before.
func (c *call) issue(ctx context.Context, account latchkey.Account, s latchkey.Spec, out string) error {
	to, err := secretOut(out)
	if err != nil {
		return err
	}
	token, secret, err := account.Issue(ctx, s)
	if err != nil {
		to.drop()
		return err
	}
	return c.printIssued(token, secret, to)
}

// specFlags defines the flags that describe a token. The result reads the files that they name.
func specFlags(f *flags) func(context.Context, *call) (latchkey.Spec, error) {
	kind := f.Choice("kind", "kind of the token, api_key if it is not given", "api_key", "secret", "publishable",
		"session")
	file := f.String("spec", "", "`file` with a Spec in JSON; \"-\": standard input")
	rulesFile := f.String("rules", "", "`file` with the token's own rules in JSON; \"-\": standard input")
	name := f.String("name", "", "`name` for people")
	roles := f.List("role", "`role` by its id or name; with =MOMENT behind it the role is held until then")
	test := f.Bool("test", false, "a test token, which sandboxes alone accept")
	expires := f.Time("expires", "`moment` at which the token ends")
	begins := f.Time("not-before", "`moment` from which the token works")
	idle := f.Span("idle", "end the token this `duration` after its last use")
	client := f.String("client", "", "`id` of the client that the token belongs to")
	clientName := f.String("client-name", "", "`name` of that client")
	domains := f.List("domain", "web `domain` that the token may be used from")
	addresses := f.List("address", "network `address` or prefix that the token may be used from")
	mintFrom := f.List("mint-from", "network `address` or prefix that the token may mint from")
	signed := f.Bool("signed", false, "every request with the token carries a signature")
	return func(ctx context.Context, c *call) (s latchkey.Spec, err error) {
		if *file == "-" && *rulesFile == "-" {
			return s, usagef("-spec and -rules cannot both be read from standard input")
		}
		if *file != "" {
			text, err := c.readInput(ctx, *file)
			if err == nil {
				err = s.UnmarshalJSON(text)
			}
			if err != nil {
				return s, fmt.Errorf("-spec: %w", err)
			}
		}
		if *rulesFile != "" {
			text, err := c.readInput(ctx, *rulesFile)
			if err == nil {
				err = s.Permissions.UnmarshalJSON(text)
			}
			if err != nil {
				return s, fmt.Errorf("-rules: %w", err)
			}
		}
		if *kind != "" || s.Kind == 0 {
			s.Kind = latchkey.KindAPIKey
			if *kind != "" {
				s.Kind = kindsOf([]string{*kind})[0]
			}
		}
		set(&s.Name, *name)
		set(&s.Client.ID, *client)
		set(&s.Client.Name, *clientName)
		set(&s.Validity.Idle, *idle)
		s.Test = s.Test || *test
		s.Restrictions.Signed = s.Restrictions.Signed || *signed
		if !expires.IsZero() {
			s.Validity.NotAfter = *expires
		}
		if !begins.IsZero() {
			s.Validity.NotBefore = *begins
		}
		if len(*domains) > 0 {
			s.Restrictions.Domains = *domains
		}
		if err := setPrefixes(&s.Restrictions.Addresses, "-address", *addresses); err != nil {
			return s, err
		}
		if err := setPrefixes(&s.Restrictions.MintFrom, "-mint-from", *mintFrom); err != nil {
			return s, err
		}
		return s, setRoles(&s, *roles)
	}
}

// set replaces a value unless the flag was left out.
func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

// setRoles reads ROLE and ROLE=MOMENT. A name with "=" in it is given by the role's id.
func setRoles(s *latchkey.Spec, given []string) error {
	if len(given) == 0 {
		return nil
	}
	s.Roles, s.RoleEnds = nil, nil
	for _, text := range given {
		role, end, until := strings.Cut(text, "=")
		s.Roles = append(s.Roles, role)
		if !until {
			continue
		}
		moment, err := parseMoment(end, time.Now())
		if err != nil {
			return usagef("-role: %s", err)
		}
		if s.RoleEnds == nil {
			s.RoleEnds = map[string]time.Time{}
		}
		s.RoleEnds[role] = moment
	}
	return nil
}

// setPrefixes reads addresses and prefixes of networks.
func setPrefixes(to *[]netip.Prefix, name string, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	*to = nil
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			*to = append(*to, p)
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return usagef("%s: %q is neither an address nor a prefix such as 192.0.2.0/24", name, visible(text))
		}
		*to = append(*to, netip.PrefixFrom(a, a.BitLen()))
	}
	return nil
}

const maxInput = 16 << 20 // bytes of a file that a flag names

// readInput reads a file, or standard input for "-".
func (c *call) readInput(ctx context.Context, path string) ([]byte, error) {
	if path == "-" {
		text, err := c.readLines(ctx, maxInput)
		return []byte(text), err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("%s", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxInput {
		return nil, usagef("%s has more than %d bytes", path, maxInput)
	}
	return text, nil
}
