package latchkey_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Invalid rules allow nothing, and every error names them as the reason.
func TestInvalidRulesAreNamed(t *testing.T) {
	good := latchkey.Allow(latchkey.Read).On("invoices")
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	for name, c := range map[string]struct {
		rule latchkey.Rule
		says string
	}{
		"a malformed action":  {latchkey.Allow("Read").On("x"), "rule 2"},
		"no action":           {latchkey.Allow().On("x"), "rule 2: latchkey: invalid argument: a rule without actions"},
		"no pattern":          {latchkey.Allow(latchkey.Read).On(), "a rule without patterns"},
		"a malformed pattern": {latchkey.Deny(latchkey.Read).On("a//b"), "rule 2"},
		"the zero rule":       {latchkey.Rule{}, "neither allow, grant nor deny"},
		"a malformed condition": {good.Where(latchkey.Where("region", "like", "secret value")),
			`field "region": unknown operator`},
		"a rounded number": {good.Where(latchkey.Where("region", latchkey.Eq, 1e18)), "a float this large"},
		"a forced list":    {good.Force(map[string]any{"region": []string{"secret value"}}), `field "region"`},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			store := memstore.New(nil)
			keys := latchkey.New(store, &latchkey.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			none, err := keys.For("acme").Assume(latchkey.Client{ID: "1"}, latchkey.Permissions{good, c.rule})
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "secret value")
			require.Equal(t, latchkey.Access{}, none)
			require.ErrorIs(t, none.Check(latchkey.Read, "invoices"), latchkey.ErrDenied)

			// A store whose record of the owner holds such a rule.
			a := must(keys.For("acme").Assume(latchkey.Client{ID: "1"}, latchkey.Permissions{good}))
			narrowed, err := a.Narrow(t.Context(), latchkey.Narrowing{})
			require.NoError(t, err)
			err = store.Write(t.Context(), latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: time.Now(),
				OwnerRecord: &latchkey.Owner{ID: "acme", Boundary: latchkey.Permissions{good, c.rule}}})
			require.NoError(t, err)
			a, narrowed = must(a.Again(t.Context())), must(narrowed.Again(t.Context()))
			for _, a := range []latchkey.Access{a, narrowed} {
				require.False(t, a.Allows(latchkey.Read, "invoices"))
				_, filter := a.Filter(latchkey.Read, "invoices")
				_, write := a.Prepare(latchkey.Create, "invoices", schema, nil, latchkey.Row{"region": "EU"})
				actor, err := keys.For("acme").As(a)
				require.NoError(t, err)
				_, _, issue := actor.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
				for _, err := range []error{a.Check(latchkey.Read, "invoices"), filter, write, issue,
					a.CheckRow(latchkey.Read, "invoices", schema, latchkey.Row{"region": "EU"})} {
					require.ErrorIs(t, err, latchkey.ErrDenied)
					require.ErrorIs(t, err, latchkey.ErrInvalid)
					var fault *latchkey.FaultError
					require.ErrorAs(t, err, &fault)
					var denied *latchkey.DeniedError
					require.ErrorAs(t, err, &denied)
					require.False(t, denied.Rows)
					require.ErrorContains(t, err, c.says)
					require.NotContains(t, err.Error(), "secret value")
				}
				e := a.Explain(latchkey.Read, "invoices")
				require.Equal(t, "none", e.Verdict)
				require.Contains(t, e.Reason, c.says)
				require.Contains(t, e.String(), "allows nothing: its rules are invalid")
				require.Contains(t, a.String(), c.says)
			}
			require.Empty(t, log.String(), "whoever calls is told")
		})
	}

	// Refusals of valid rules do not.
	var log bytes.Buffer
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	a := must(keys.For("acme").Assume(latchkey.Client{ID: "1"}, latchkey.Permissions{good}))
	err := a.Check(latchkey.Delete, "invoices")
	require.Equal(t, &latchkey.DeniedError{Action: latchkey.Delete, Resource: "invoices"}, err)
	require.NotErrorIs(t, err, latchkey.ErrInvalid)
	require.NotContains(t, a.String(), "nothing")
	require.Empty(t, log.String())
}

// What an error says names what it is about, and nothing that it does not know.
func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err   error
		says  string
		wraps error
	}{
		{&latchkey.DeniedError{Action: latchkey.Read, Resource: "data/x"}, `latchkey: denied read on "data/x"`,
			latchkey.ErrDenied},
		{&latchkey.DeniedError{Action: latchkey.Read, Resource: "data/x", Rows: true},
			`latchkey: read on "data/x" is allowed for some rows only`, latchkey.ErrDenied},
		{&latchkey.ConditionError{Field: "region", Reason: "no such operator"},
			`latchkey: invalid argument: bad condition: field "region": no such operator`, latchkey.ErrBadCondition},
		{&latchkey.ConditionError{Reason: "too deep"}, `latchkey: invalid argument: bad condition: too deep`,
			latchkey.ErrBadCondition},
		{latchkey.ErrTooMany, "latchkey: too many live tokens", latchkey.ErrPolicy},
		{latchkey.ErrReferer, "latchkey: referer not allowed", latchkey.ErrInvalidToken},
	} {
		require.EqualError(t, c.err, c.says)
		require.ErrorIs(t, c.err, c.wraps)
	}
}

// OfRule: a rule that does not fit the schema is the mistake of the host, and a row that does not that of the caller.
func TestConditionErrorOfRule(t *testing.T) {
	ctx := t.Context()
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text},
		"amount": {Column: "amount", Type: latchkey.Integer}})
	row := latchkey.Row{"region": "EU", "amount": 5}
	on := latchkey.Resource("invoices")
	all := latchkey.Allow(latchkey.Any).On("invoices")

	ofRule := func(err error, want bool, field string) {
		t.Helper()
		var ce *latchkey.ConditionError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, want, ce.OfRule, "%v", err)
		require.Equal(t, field, ce.Field)
		require.NotContains(t, err.Error(), "secret value")
	}
	answers := func(a latchkey.Access) map[string]error {
		c, err := a.Filter(latchkey.Update, on)
		require.NoError(t, err)
		_, bind := schema.Bind(c)
		_, within := schema.Bind(latchkey.All(latchkey.Where("amount", latchkey.Gt, 1), c))
		_, create := a.Prepare(latchkey.Create, on, schema, nil, row)
		_, update := a.Prepare(latchkey.Update, on, schema, row, row)
		_, remove := a.Prepare(latchkey.Delete, on, schema, row, nil)
		return map[string]error{"Bind": bind, "Bind beside the host's own": within, "CheckRow": a.CheckRow(latchkey.Read, on,
			schema, row),
			"create": create, "update": update, "delete": remove}
	}

	misfits := map[string]latchkey.Condition{
		"regoin": latchkey.Where("regoin", latchkey.Eq, "secret value"),
		"amount": latchkey.Not(latchkey.AnyOf(latchkey.Where("amount", latchkey.Eq, "secret value"), latchkey.Where("region",
			latchkey.Eq, "x"))),
		"region": latchkey.All(latchkey.Where("region", latchkey.In, []any{"EU", 5}), latchkey.Where("amount", latchkey.Ge,
			1)),
		"client": latchkey.Where("client", latchkey.Eq, latchkey.ClientID),
	}
	for field, c := range misfits {
		client := latchkey.Client{ID: "secret value"}
		role, err := acme.CreateRole(ctx, latchkey.Role{Name: field, Permissions: latchkey.Permissions{all.Where(c)}})
		require.NoError(t, err)
		_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Roles: []string{role.ID}})
		require.NoError(t, err)
		byRole, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		if field == "client" {
			byRole = must(acme.Assume(client, role.Permissions)) // an issued key has no client
		}
		for about, a := range map[string]latchkey.Access{
			"Allow": must(acme.Assume(client, latchkey.Permissions{all.Where(c)})),
			"Grant": must(acme.Assume(client, latchkey.Permissions{latchkey.Grant(latchkey.Any).On("*").Where(c)})),
			"Deny":  must(acme.Assume(client, latchkey.Permissions{all, latchkey.Deny(latchkey.Any).On("*").Where(c)})),
			"role":  byRole,
		} {
			for call, err := range answers(a) {
				t.Run(field+", "+about+", "+call, func(t *testing.T) { ofRule(err, true, field) })
			}
		}

		// A condition that no rule made, as an adapter takes it from its caller.
		if field != "client" {
			_, err = schema.Bind(c)
			ofRule(err, false, field)
			narrowed, err := must(acme.Assume(client, latchkey.Permissions{all})).Narrow(ctx,
				latchkey.Narrowing{Rows: []latchkey.Condition{c}})
			require.NoError(t, err)
			for _, err := range answers(narrowed) {
				ofRule(err, false, field)
			}
		}
	}

	sound := must(acme.Assume(latchkey.Client{ID: "1"},
		latchkey.Permissions{all.Where(latchkey.Where("region", latchkey.Eq,
			"EU"))}))
	for field, bad := range map[string]latchkey.Row{"regoin": {"regoin": "secret value"},
		"amount": {"amount": "secret value"},
		"region": {"region": 5}} {
		for _, rows := range [][2]latchkey.Row{{nil, bad}, {bad, row}, {row, bad}} {
			action := latchkey.Update
			if rows[0] == nil {
				action = latchkey.Create
			}
			_, err := sound.Prepare(action, on, schema, rows[0], rows[1])
			ofRule(err, false, field)
		}
		_, err := schema.Row(bad)
		ofRule(err, false, field)
	}

	// Forced values of a rule are the host's, and those of a narrowing are the caller's.
	for field, forced := range map[string]latchkey.Values{"regoin": {"regoin": "secret value"},
		"amount": {"amount": "secret value"}} {
		_, err := must(acme.Assume(latchkey.Client{ID: "1"},
			latchkey.Permissions{all.Force(forced)})).Prepare(latchkey.Create, on,
			schema, nil, row)
		ofRule(err, true, field)
		narrowed, err := must(acme.Assume(latchkey.Client{ID: "1"}, latchkey.Permissions{all})).Narrow(ctx,
			latchkey.Narrowing{Forced: forced})
		require.NoError(t, err)
		_, err = narrowed.Prepare(latchkey.Create, on, schema, nil, row)
		ofRule(err, false, field)
	}
	require.ErrorIs(t, sound.CheckRow(latchkey.Read, on, nil, row), latchkey.ErrInvalid)
}
