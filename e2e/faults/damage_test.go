package faults

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// damaging is a database whose records are damaged by hand.
type damaging struct {
	t    *testing.T
	db   *sql.DB
	s    latchkey.Store
	keys *latchkey.Manager
	acme latchkey.Account
	hex  string // how the engine writes bytes

	dialect latchkey.Dialect
}

func onDamaging(t *testing.T, test func(t *testing.T, d *damaging)) {
	dialects := map[string]latchkey.Dialect{"SQLite": latchkey.SQLite}
	engines := map[string]func(t *testing.T) (latchkey.Store, *sql.DB, string){
		"SQLite": func(t *testing.T) (latchkey.Store, *sql.DB, string) {
			dsn := harness.WAL(harness.NewFile(t))
			return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, dsn)), harness.OpenSQLite(t, dsn), "x'%x'"
		},
	}
	for _, e := range harness.Engines {
		dialects[e.Name] = e.Dialect
		engines[e.Name] = func(t *testing.T) (latchkey.Store, *sql.DB, string) {
			dsn := e.Place(t)
			return e.Store(t, dsn), e.Open(t, dsn), map[*harness.Engine]string{harness.Postgres: "decode('%x', 'hex')",
				harness.MariaDB: "x'%x'"}[e]
		}
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db, hex := open(t)
			keys := latchkey.New(s, nil)
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			test(t, &damaging{t, db, s, keys, keys.For("acme"), hex, dialects[name]})
		})
	}
}

// spoil changes a column of the row that where selects.
func (d *damaging) spoil(table, column, where string, change func([]byte) []byte) {
	d.t.Helper()
	var was []byte
	require.NoError(d.t, d.db.QueryRow("SELECT "+column+" FROM "+table+" WHERE "+where).Scan(&was))
	_, err := d.db.Exec("UPDATE " + table + " SET " + column + " = " + fmt.Sprintf(d.hex, change(bytes.Clone(was))) +
		" WHERE " + where)
	require.NoError(d.t, err)
}

// spoilCopies changes what secrets hold of a token.
func (d *damaging) spoilCopies(id string, change func([]byte) []byte) {
	d.t.Helper()
	var head int
	require.NoError(d.t, d.db.QueryRow("SELECT head FROM latchkey_secrets WHERE token_id = '"+id+"'").Scan(&head))
	d.spoil("latchkey_secrets", "found", "token_id = '"+id+"'", func(b []byte) []byte {
		return append(b[:head], change(b[head:])...)
	})
}

func (d *damaging) issue(s latchkey.Settings) (latchkey.Token, string) {
	d.t.Helper()
	token, secret, err := d.acme.Issue(d.t.Context(), s.Spec(latchkey.KindAPIKey))
	require.NoError(d.t, err)
	return token, secret.Reveal()
}

// verify verifies in a Manager with an empty memory.
func (d *damaging) verify(secret string) error {
	d.t.Helper()
	s, err := sqlstore.New(d.t.Context(), d.db, d.dialect, nil)
	require.NoError(d.t, err)
	defer func() { require.NoError(d.t, s.Close()) }()
	_, err = latchkey.New(s, nil).Verify(d.t.Context(), latchkey.Presented{Secret: secret})
	return err
}

// damages are what may happen to a stored value.
var damages = map[string]func([]byte) []byte{
	"cut off":       func(b []byte) []byte { return b[:len(b)-1] },
	"cut in half":   func(b []byte) []byte { return b[:len(b)/2] },
	"empty":         func([]byte) []byte { return nil },
	"zeroes":        func(b []byte) []byte { return make([]byte, len(b)) },
	"of the future": func(b []byte) []byte { b[0]++; return b },
	"more than it":  func(b []byte) []byte { return append(b, '{', '}') },
	"an owner's of another": func(b []byte) []byte {
		return bytes.Replace(b, []byte("acme"), []byte("evil"), 1)
	},
	"a bit of its body": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
}

func TestDamagedTokenIsNamedAndEnded(t *testing.T) {
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx := t.Context()
		var ids, secrets []string
		for range 5 {
			token, secret := d.issue(latchkey.Settings{Name: "reporting"})
			ids, secrets = append(ids, token.ID), append(secrets, secret)
		}
		bad := ids[2]
		for what, change := range damages {
			t.Run(what, func(t *testing.T) {
				token, secret := d.issue(latchkey.Settings{Name: "spoilt"})
				bad := token.ID
				d.spoil("latchkey_tokens", "record", "id = '"+bad+"'", change)
				d.spoilCopies(bad, change)
				require.ErrorIs(t, d.verify(secret), latchkey.ErrUnavailable)
				listed, named := 0, 0
				for got, err := range d.acme.Tokens(ctx, latchkey.TokenQuery{Page: latchkey.Page{Limit: 2}}) {
					var damaged *latchkey.DamagedError
					switch {
					case err == nil:
						listed++
						require.False(t, got.Damaged)
					case errors.As(err, &damaged) && got.ID == bad:
						require.ErrorIs(t, err, latchkey.ErrUnavailable)
						require.ErrorContains(t, err, bad)
						require.Equal(t, latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme", ID: bad}, *damaged)
						require.True(t, got.Damaged)
						require.Equal(t, "spoilt", got.Name)
						require.Equal(t, latchkey.KindAPIKey, got.Kind)
						named++
					default:
						t.Fatal(err)
					}
				}
				require.GreaterOrEqual(t, listed, 5)
				require.Equal(t, 1, named)

				left, err := d.acme.Get(ctx, bad)
				require.ErrorIs(t, err, latchkey.ErrUnavailable)
				require.True(t, left.Damaged)
				_, err = d.acme.Update(ctx, bad, func(t *latchkey.Token) error { t.Name = "mended"; return nil })
				require.ErrorIs(t, err, latchkey.ErrUnavailable)
				for _, off := range []bool{true, false, true} { // neither brings it back
					_, err = d.acme.Update(ctx, bad, func(t *latchkey.Token) error { t.Disabled = off; return nil })
					require.NoError(t, err)
					left, err = d.acme.Get(ctx, bad)
					require.ErrorIs(t, err, latchkey.ErrUnavailable)
					require.Equal(t, off, left.Disabled)
					require.Error(t, d.verify(secret))
				}
				fresh, err := d.acme.Rotate(ctx, bad, time.Hour)
				require.NoError(t, err)
				require.Error(t, d.verify(secret))
				require.Error(t, d.verify(fresh.Reveal()))
				_, err = d.acme.Reveal(ctx, bad)
				require.Error(t, err)

				require.NoError(t, d.acme.Revoke(ctx, bad, "leaked"))
				left, err = d.acme.Get(ctx, bad)
				require.NoError(t, err, "a revoked one needs no record that was")
				require.Equal(t, "leaked", left.Reason)
				require.False(t, left.Revoked.IsZero())
				require.Error(t, d.verify(secret))
				require.ErrorIs(t, d.verify(fresh.Reveal()), latchkey.ErrInvalidToken)
				require.NoError(t, d.acme.Delete(ctx, bad))
				_, err = d.acme.Get(ctx, bad)
				require.ErrorIs(t, err, latchkey.ErrNotFound)
			})
		}
		d.spoil("latchkey_tokens", "record", "id = '"+bad+"'", damages["cut off"])
		require.NoError(t, d.acme.Delete(ctx, bad))
		require.ErrorIs(t, d.verify(secrets[2]), latchkey.ErrUnknownToken)
		require.NoError(t, d.verify(secrets[1]))
	})
}

// Only what is kept beside the secrets is damaged, or only the record.
func TestDamagedHalves(t *testing.T) {
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx := t.Context()
		for what, change := range damages {
			token, secret := d.issue(latchkey.Settings{})
			d.spoil("latchkey_secrets", "found", "token_id = '"+token.ID+"'", func(b []byte) []byte {
				if what == "of the future" {
					b[40]++ // before it come the last use and the digest
					return b
				}
				return change(b)
			})
			require.ErrorIs(t, d.verify(secret), latchkey.ErrUnavailable, what)
			fresh, err := d.acme.Rotate(ctx, token.ID, time.Hour)
			require.NoError(t, err, what)
			require.NoError(t, d.verify(fresh.Reveal()), "%s: the record is whole, and a new secret has a copy of it", what)
			require.NoError(t, d.acme.Revoke(ctx, token.ID, ""), what)
			require.ErrorIs(t, d.verify(fresh.Reveal()), latchkey.ErrRevoked, what)
			require.Error(t, d.verify(secret), what)

			token, secret = d.issue(latchkey.Settings{})
			d.spoil("latchkey_tokens", "record", "id = '"+token.ID+"'", change)
			_, err = d.acme.Update(ctx, token.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			require.NoError(t, err, what)
			require.Error(t, d.verify(secret), "%s: the copy beside the secret goes with the record", what)
			require.NoError(t, d.acme.Revoke(ctx, token.ID, ""), what)
			require.ErrorIs(t, d.verify(secret), latchkey.ErrInvalidToken, what)
		}
		// The other kind of token by one bit, in both: its secret says what it is.
		token, secret := d.issue(latchkey.Settings{})
		require.EqualValues(t, latchkey.KindSecret, latchkey.KindAPIKey^2)
		d.spoil("latchkey_tokens", "record", "id = '"+token.ID+"'", func(b []byte) []byte { b[1] ^= 2; return b })
		d.spoilCopies(token.ID, func(b []byte) []byte { b[1] ^= 2; return b })
		require.ErrorIs(t, d.verify(secret), latchkey.ErrUnavailable)
	})
}

func TestDamagedAncestor(t *testing.T) {
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx := t.Context()
		parent, secret := d.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
		access, err := d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
		require.NoError(t, err)
		child, childSecret, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.NoError(t, err)
		d.spoil("latchkey_tokens", "record", "id = '"+parent.ID+"'", damages["cut off"])
		require.ErrorIs(t, d.verify(childSecret.Reveal()), latchkey.ErrUnavailable)
		got, err := d.acme.Get(ctx, child.ID)
		require.NoError(t, err, "its own record is whole")
		require.Equal(t, child.ID, got.ID)
		_, err = d.acme.Update(ctx, child.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
		require.NoError(t, err)
		require.NoError(t, d.acme.Revoke(ctx, child.ID, ""))
		require.ErrorIs(t, d.verify(childSecret.Reveal()), latchkey.ErrUnavailable)
		require.NoError(t, d.acme.Revoke(ctx, parent.ID, ""))
		require.ErrorIs(t, d.verify(childSecret.Reveal()), latchkey.ErrInvalidToken)
		require.ErrorIs(t, d.verify(secret), latchkey.ErrRevoked)
	})
}

func TestDamagedRole(t *testing.T) {
	read := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx := t.Context()
		denies, err := d.acme.CreateRole(ctx, latchkey.Role{Name: "no payroll", Permissions: latchkey.Permissions{
			latchkey.Deny(latchkey.Read).On("dataset/payroll")}})
		require.NoError(t, err)
		heir, err := d.acme.CreateRole(ctx, latchkey.Role{Name: "reader", Inherits: []string{denies.ID}, InheritDenies: true,
			Permissions: read})
		require.NoError(t, err)
		token, secret := d.issue(latchkey.Settings{Roles: []string{heir.ID}})
		_, other := d.issue(latchkey.Settings{Permissions: read})
		for what, change := range map[string]func([]byte) []byte{"cut off": damages["cut off"], "empty": damages["empty"],
			"of the future": func([]byte) []byte { return []byte(`{"permissions":null,"future":1}`) }} {
			d.spoil("latchkey_roles", "body", "id = '"+denies.ID+"'", change)
			require.ErrorIs(t, d.verify(secret), latchkey.ErrUnavailable, what)
			require.NoError(t, d.verify(other), what)
			var good, bad []string
			for r, err := range d.acme.Roles(ctx, latchkey.RoleQuery{}) {
				if err == nil {
					good = append(good, r.ID)
				} else {
					require.ErrorContains(t, err, denies.ID, what)
					bad = append(bad, r.ID)
				}
			}
			require.Equal(t, []string{heir.ID}, good, what)
			require.Equal(t, []string{denies.ID}, bad, what)
			// Who has it can be read, listed and changed.
			_, err = d.acme.Get(ctx, token.ID)
			require.NoError(t, err, what)
			for _, err := range d.acme.Tokens(ctx, latchkey.TokenQuery{Role: heir.ID}) {
				require.NoError(t, err, what)
			}
			_, err = d.acme.Update(ctx, token.ID, func(t *latchkey.Token) error { t.Name = what; return nil })
			require.NoError(t, err, what)
			_, _, err = d.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{denies.ID}})
			require.ErrorIs(t, err, latchkey.ErrUnavailable, "a new one would be good for nothing")
			// An edit that does not look gives nothing back.
			_, err = d.acme.UpdateRole(ctx, denies.ID,
				func(r *latchkey.Role) error { r.Name = "no payroll " + what; return nil })
			require.NoError(t, err, what)
			access, err := d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
			require.NoError(t, err, what)
			require.ErrorIs(t, access.Check(latchkey.Read, "dataset/orders"), latchkey.ErrDenied, what)
			_, err = d.acme.UpdateRole(ctx, denies.ID, func(r *latchkey.Role) error {
				r.Permissions = latchkey.Permissions{latchkey.Deny(latchkey.Read).On("dataset/payroll")}
				return nil
			})
			require.NoError(t, err, what)
			access, err = d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
			require.NoError(t, err, what)
			require.NoError(t, access.Check(latchkey.Read, "dataset/orders"), what)
			require.ErrorIs(t, access.Check(latchkey.Read, "dataset/payroll"), latchkey.ErrDenied, what)
		}
		d.spoil("latchkey_roles", "body", "id = '"+denies.ID+"'", damages["cut off"])
		require.ErrorIs(t, d.acme.DeleteRole(ctx, denies.ID), latchkey.ErrInUse)
		_, err = d.acme.UpdateRole(ctx, heir.ID, func(r *latchkey.Role) error { r.Inherits = nil; return nil })
		require.NoError(t, err, "an heir can let go of it")
		require.NoError(t, d.acme.DeleteRole(ctx, denies.ID))
		require.NoError(t, d.verify(secret))

		d.spoil("latchkey_roles", "body", "id = '"+heir.ID+"'", damages["cut off"])
		require.NoError(t, d.acme.Revoke(ctx, token.ID, ""))
		require.NoError(t, d.acme.DeleteRole(ctx, heir.ID))
	})
}

func TestDamagedOwner(t *testing.T) {
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx := t.Context()
		token, secret := d.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
		configure := func(edit func(o *latchkey.Owner)) {
			t.Helper()
			require.NoError(t, d.acme.Configure(ctx, func(o *latchkey.Owner) error { edit(o); return nil }))
		}
		for _, column := range []string{"body", "boundary"} {
			configure(func(o *latchkey.Owner) {
				o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}
				o.Limits.Quotas = world.Monthly(5)
			})
			d.spoil("latchkey_owners", column, "owner = 'acme'", damages["cut off"])
			require.ErrorIs(t, d.verify(secret), latchkey.ErrUnavailable, column)
			record, err := d.acme.Record(ctx)
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.True(t, record.Damaged)
			require.NotNil(t, record.Boundary)
			require.Empty(t, record.Boundary)
			_, err = d.acme.Get(ctx, token.ID)
			require.NoError(t, err)
			_, err = d.acme.Update(ctx, token.ID, func(t *latchkey.Token) error { t.Name = column; return nil })
			require.NoError(t, err)

			configure(func(o *latchkey.Owner) { o.Disabled = false }) // does not look: nothing is let through
			access, err := d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
			require.NoError(t, err)
			require.False(t, access.Allows(latchkey.Read, "a"))
			configure(func(o *latchkey.Owner) { *o = latchkey.Owner{ID: o.ID, Version: o.Version} })
			access, err = d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
			require.NoError(t, err)
			require.True(t, access.Allows(latchkey.Read, "b"))
		}
		d.spoil("latchkey_owners", "body", "owner = 'acme'", damages["empty"])
		require.NoError(t, d.acme.Revoke(ctx, token.ID, ""))
		require.NoError(t, d.acme.Delete(ctx, token.ID))
	})
}

// A reservation whose accounts cannot be read keeps what it took, and blocks neither its end nor Purge. A change that
// cannot be understood makes a Manager forget everything.
func TestDamagedReservationsAndChanges(t *testing.T) {
	onDamaging(t, func(t *testing.T, d *damaging) {
		ctx, s := t.Context(), d.s
		account := latchkey.CreditAccount{Meter: "m", Limit: 10}
		var keys [][16]byte
		for i := range 2 {
			keys = append(keys, world.WriteID())
			until := world.Noon
			if i == 0 {
				until = time.Time{}
			}
			_, err := s.Reserve(ctx, latchkey.Reservation{Owner: "acme", Key: keys[i],
				Accounts: []latchkey.CreditAccount{account},
				Amount:   5, Until: until})
			require.NoError(t, err)
		}
		_, err := d.db.Exec("UPDATE latchkey_reservations SET body = " + fmt.Sprintf(d.hex, "["))
		require.NoError(t, err)
		require.NoError(t, s.Settle(ctx, "acme", keys[0], 1))
		_, err = s.Purge(ctx, latchkey.PurgePolicy{Now: world.Noon.Add(time.Hour)}, 100)
		require.NoError(t, err)
		_, err = s.Reserve(ctx, latchkey.Reservation{Owner: "acme", Key: world.WriteID(),
			Accounts: []latchkey.CreditAccount{account}, Amount: 1})
		require.ErrorIs(t, err, latchkey.ErrOverLimit)

		token, secret := d.issue(latchkey.Settings{})
		_, err = d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
		require.NoError(t, err)
		other := latchkey.New(s, nil) // as another process
		require.NoError(t, other.For("acme").Revoke(ctx, token.ID, ""))
		_, err = d.db.Exec("UPDATE latchkey_changes SET kind = 99")
		require.NoError(t, err)
		_, err = d.keys.Verify(ctx, latchkey.Presented{Secret: secret})
		require.ErrorIs(t, err, latchkey.ErrRevoked)
	})
}
