// Command first is what upgrade_test.go builds from the first published sources, and lets work on a database beside
// this version. It reads a command on each line and answers with a line: what it made, or "error: …".
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

func main() {
	dialect := map[string]latchkey.Dialect{"sqlite": latchkey.SQLite, "pgx": latchkey.Postgres,
		"mysql": latchkey.MySQL}[os.Args[1]]
	db, err := sql.Open(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	p := program{db: db, dialect: dialect}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer, err := p.do(strings.Fields(in.Text()))
		if err != nil {
			answer = "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
}

type program struct {
	db      *sql.DB
	dialect latchkey.Dialect
	keys    *latchkey.Manager
}

func (p *program) do(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	acme := func() latchkey.Account { return p.keys.For("acme") }
	verify := func(secret string) (latchkey.Access, error) {
		return p.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	}
	switch args[0] {
	case "migrate":
		return "ok", sqlstore.Migrate(ctx, p.db, p.dialect)
	case "start":
		store, err := sqlstore.New(ctx, p.db, p.dialect, nil)
		if err == nil {
			p.keys = latchkey.New(store, nil)
		}
		return "ok", err
	case "issue": // name
		t, s, err := acme().Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: args[1]}})
		return t.ID + " " + s.Reveal(), err
	case "verify": // secret
		a, err := verify(args[1])
		return a.TokenID(), err
	case "mint": // secret
		a, err := verify(args[1])
		if err != nil {
			return "", err
		}
		t, s, err := p.keys.Mint(ctx, a, latchkey.Narrowing{Lifetime: time.Hour})
		return t.ID + " " + s.Reveal(), err
	case "rotate": // id
		s, err := acme().Rotate(ctx, args[1], time.Hour)
		return s.Reveal(), err
	case "rename": // id
		_, err := acme().Update(ctx, args[1], func(t *latchkey.Token) error { t.Name += "'"; return nil })
		return "ok", err
	case "revoke": // id
		return "ok", acme().Revoke(ctx, args[1], "by the first program")
	case "end": // all tokens
		return "ok", acme().Configure(ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Now(); return nil })
	case "world":
		return p.world(ctx)
	}
	return "", errors.New("what?")
}

// world makes what a fixture holds: of each sort of record one. The answer is the secrets.
func (p *program) world(ctx context.Context) (string, error) {
	acme := p.keys.For("acme")
	far := time.Date(2199, 1, 2, 3, 4, 5, 0, time.UTC)
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "analyst", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	if err != nil {
		return "", err
	}
	heir, err := acme.CreateRole(ctx, latchkey.Role{Name: "heir", Inherits: []string{role.ID},
		Permissions: latchkey.Permissions{
			latchkey.Deny(latchkey.Read).On("dataset/payroll")}})
	if err != nil {
		return "", err
	}
	var answer []string
	issue := func(name string, owner latchkey.Account, spec latchkey.Spec) (latchkey.Token, string) {
		spec.Name = name
		t, s, err2 := owner.Issue(ctx, spec)
		err = errors.Join(err, err2)
		answer = append(answer, name+"="+s.Reveal())
		return t, s.Reveal()
	}
	key, secret := issue("key", acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
		Roles: []string{heir.ID}, Limits: latchkey.Limits{Credits: 1000}}})
	_, _ = issue("root", acme, latchkey.Spec{Kind: latchkey.KindSecret})
	revoked, _ := issue("revoked", acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	disabled, _ := issue("disabled", acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	_, _ = issue("session", acme, latchkey.Spec{Kind: latchkey.KindSession, Settings: latchkey.Settings{
		Validity: latchkey.Validity{NotAfter: far}}})
	_, _ = issue("foreign", p.keys.For("globex"), latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}}})
	_, _ = issue("ended", p.keys.For("ended"), latchkey.Spec{Kind: latchkey.KindAPIKey})
	if err != nil {
		return "", err
	}
	a, err := p.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	if err != nil {
		return "", err
	}
	_, child, err := p.keys.Mint(ctx, a, latchkey.Narrowing{Lifetime: far.Sub(time.Now()),
		Client: latchkey.Client{ID: "42", Name: "Ada"},
		Rows:   []latchkey.Condition{latchkey.Where("team", latchkey.Eq, int64(7))}})
	if err != nil {
		return "", err
	}
	answer = append(answer, "child="+child.Reveal())
	rotated, err := acme.Rotate(ctx, key.ID, far.Sub(time.Now()))
	if err != nil {
		return "", err
	}
	answer = append(answer, "rotated="+rotated.Reveal())
	_, err = acme.Update(ctx, disabled.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	ended := p.keys.For("ended")
	err = errors.Join(err, acme.Revoke(ctx, revoked.ID, "left the company"), a.Charge(ctx, "reads", 300),
		acme.Configure(ctx, func(o *latchkey.Owner) error {
			o.Limits.Credits, o.NotBefore, o.Extra = 5000, time.Now().Add(-time.Hour), []byte(`{"plan":"premium"}`)
			return nil
		}),
		ended.Configure(ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Now(); return nil }))
	if err != nil {
		return "", err
	}
	_, _ = issue("after", ended, latchkey.Spec{Kind: latchkey.KindAPIKey})
	a.Count("reads", "list", 1)
	return strings.Join(answer, " "), errors.Join(err, p.keys.Close(ctx))
}
