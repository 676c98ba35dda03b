package latchkey_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

var desk = latchkey.NewSchema(latchkey.Fields{
	"owner": {Column: "owner", Type: latchkey.Text}, "dept": {Column: "dept", Type: latchkey.Text},
	"level": {Column: "level", Type: latchkey.Integer}, "staff": {Column: "staff", Type: latchkey.Boolean},
	"client": {Column: "client", Type: latchkey.Text}, "region": {Column: "region", Type: latchkey.Text},
})

// reaches reports whether a caller may read a row of "row".
func reaches(t *testing.T, a latchkey.Access, row latchkey.Row) bool {
	t.Helper()
	err := a.CheckRow(latchkey.Read, "row", desk, row)
	if err != nil {
		require.ErrorIs(t, err, latchkey.ErrDenied)
	}
	return err == nil
}

func rowRule(c latchkey.Condition) latchkey.Rule {
	return latchkey.Allow(latchkey.Read, latchkey.Create).On("row").Where(c)
}

// A token of any kind that is issued belongs to a client: rules, listings, usage and what it mints know it.
func TestIssuedTokensHaveAClient(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.Imported = func(s string) bool { return strings.HasPrefix(s, "imported-") }
	})
	ada := latchkey.Client{ID: "u-42", Name: "Ada"}
	mine := rowRule(eq("client", latchkey.ClientID))
	for _, kind := range []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindSession, latchkey.KindPublishable,
		latchkey.KindSecret} {
		spec := latchkey.Spec{Kind: kind, Client: ada}
		if kind != latchkey.KindSecret {
			spec.Permissions = latchkey.Permissions{mine}
		}
		if kind == latchkey.KindSession {
			spec.Validity.NotAfter = w.now().Add(time.Hour)
		}
		token, secret, err := w.acme.Issue(w.ctx, spec)
		w.ok(err)
		assert.Equal(t, ada, token.Client, kind)
		a := w.access(secret.Reveal())
		assert.Equal(t, ada, a.Client(), kind)
		assert.True(t, reaches(t, a, latchkey.Row{"client": "u-42"}), kind)
		assert.Equal(t, kind == latchkey.KindSecret, reaches(t, a, latchkey.Row{"client": "u-43"}), kind)
		a.Count("api", "GET /", 1)
		if kind == latchkey.KindPublishable {
			continue
		}
		minted, text := w.mint(a, latchkey.Narrowing{})
		assert.Equal(t, ada, minted.Client, "a minted child keeps it")
		assert.True(t, reaches(t, w.access(text), latchkey.Row{"client": "u-42"}), kind)
		_, _, err = a.Mint(w.ctx, latchkey.Narrowing{Client: latchkey.Client{ID: "u-43"}, Lifetime: time.Hour})
		w.is(latchkey.ErrInvalid, err)
	}
	imported, err := w.acme.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada}, "imported-1234567890")
	w.ok(err)
	assert.Equal(t, ada, imported.Client)

	n := 0
	for token, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Client: "u-42"}) {
		w.ok(err)
		assert.Equal(t, "u-42", token.Client.ID)
		n++
	}
	assert.Equal(t, 5+3, n)
	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"client"}})
	w.ok(err)
	require.Len(t, rows, 1)
	assert.Equal(t, "u-42", rows[0].ClientID)
	assert.EqualValues(t, 4, rows[0].Count)

	known, err := w.acme.Client(w.ctx, "u-42")
	w.ok(err)
	assert.Equal(t, ada, known)
	ada.Name = "Ada L."
	_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada})
	w.ok(err)
	for c, err := range w.acme.Clients(w.ctx) {
		w.ok(err)
		assert.Equal(t, ada, c, "the newest name wins")
	}
	for _, bad := range []latchkey.Client{{Name: "Ada"}, {ID: strings.Repeat("x", 257)}, {ID: "a\x00"}, {ID: "\xff"}} {
		_, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: bad})
		w.is(latchkey.ErrInvalid, err)
	}
}

// Conditions refer to attributes, which bind as literals do. Who lacks one gets no row, by no negation either.
func TestAttributesInConditions(t *testing.T) {
	w := newWorld(t)
	has := latchkey.Attributes{"dept": "sales", "level": 3, "ratio": 2.5, "staff": true, "regions": []string{"EU", "US"},
		"text-level": "3"}
	row := latchkey.Row{"dept": "sales", "level": 3, "staff": true, "region": "EU"}
	other := latchkey.Row{"dept": "legal", "level": 9, "staff": false, "region": "ASIA"}
	where := latchkey.Where
	for _, c := range []struct {
		cond       latchkey.Condition
		row, other bool
		refuses    bool // it does not fit: neither, negated or not
	}{
		{where("dept", latchkey.Eq, latchkey.Attr("dept")), true, false, false},
		{where("dept", latchkey.Ne, latchkey.Attr("dept")), false, true, false},
		{where("level", latchkey.Le, latchkey.Attr("level")), true, false, false},
		{where("level", latchkey.Eq, latchkey.Attr("text-level")), true, false, false},
		{where("staff", latchkey.Eq, latchkey.Attr("staff")), true, false, false},
		{where("region", latchkey.In, latchkey.Attr("regions")), true, false, false},
		{where("dept", latchkey.StartsWith, latchkey.Attr("dept")), true, false, false},
		{where("region", latchkey.Eq, latchkey.Attr("regions")), false, false, true}, // a list goes with In
		{where("dept", latchkey.In, latchkey.Attr("dept")), false, false, true},      // and no other does
		{where("dept", latchkey.Contains, latchkey.Attr("level")), false, false, true},
		{where("dept", latchkey.Eq, latchkey.Attr("team")), false, false, true},
		{where("region", latchkey.In, latchkey.Attr("teams")), false, false, true},
	} {
		for _, negated := range []bool{false, true} {
			cond, want, wantOther := c.cond, c.row, c.other
			if negated {
				cond = latchkey.Not(cond)
				want, wantOther = !want && !c.refuses, !wantOther && !c.refuses
			}
			text, err := json.Marshal(cond)
			w.ok(err)
			var read latchkey.Condition
			w.ok(json.Unmarshal(text, &read))
			require.True(t, read.Equal(cond), "%s", text)
			_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Attributes: has,
				Permissions: latchkey.Permissions{rowRule(read)}})
			w.ok(err)
			assumed, err := w.acme.AssumeWith(latchkey.Caller{Attributes: has, Rules: latchkey.Permissions{rowRule(cond)}})
			w.ok(err)
			narrowed, err := w.access(secret.Reveal()).Narrow(w.ctx, latchkey.Narrowing{})
			w.ok(err)
			_, minted := w.mint(w.access(secret.Reveal()), latchkey.Narrowing{})
			for _, a := range []latchkey.Access{w.access(secret.Reveal()), assumed, narrowed, w.access(minted),
				must(narrowed.Again(w.ctx)), must(w.access(minted).Again(w.ctx))} {
				assert.Equal(t, want, reaches(t, a, row), "%s", text)
				assert.Equal(t, wantOther, reaches(t, a, other), "%s", text)
			}
			without := must(w.acme.Assume(latchkey.Client{ID: "x"}, latchkey.Permissions{rowRule(cond)}))
			assert.False(t, reaches(t, without, row) || reaches(t, without, other), "%s", text)
			assert.ErrorIs(t, without.Check(latchkey.Read, "row"), latchkey.ErrDenied)
		}
	}
	rule := rowRule(where("level", latchkey.Eq, latchkey.Attr("dept")))
	a := must(w.acme.AssumeWith(latchkey.Caller{Attributes: has, Rules: latchkey.Permissions{rule}}))
	var bad *latchkey.ConditionError
	require.ErrorAs(t, a.CheckRow(latchkey.Read, "row", desk, row), &bad,
		"sales is no integer, as a literal would be none")
	require.True(t, bad.OfRule)
	require.Equal(t, `level = attr("dept")`, rule.Condition().String())
	_, err := desk.Bind(rule.Condition())
	require.ErrorContains(t, err, `attr("dept") is not filled in`)
	for _, malformed := range []latchkey.Condition{where("a", latchkey.Eq, latchkey.Attr("")),
		where("a", latchkey.In, latchkey.Attr("a\x00")), where("a", latchkey.Eq, latchkey.Attr(strings.Repeat("n", 65))),
		where("a", latchkey.IsNull, latchkey.Attr("x")), where("a", latchkey.In, []any{latchkey.Attr("x")})} {
		w.is(latchkey.ErrBadCondition, malformed.Validate())
	}
}

func TestAttributesAreBounded(t *testing.T) {
	w := newWorld(t)
	many := latchkey.Attributes{}
	for i := range 17 {
		many[fmt.Sprint("n", i)] = i
	}
	for why, bad := range map[string]latchkey.Attributes{
		"more than 16":         many,
		"no name":              {"": "x"},
		"more than 64 bytes":   {strings.Repeat("n", 65): "x"},
		"holds a NUL":          {"a\x00": "x"},
		"not valid UTF-8":      {"a": "\xff"},
		"text is empty":        {"a": ""},
		"list is empty":        {"a": []string{}},
		"not empty":            {"a": []string{"x", ""}},
		"list holds texts":     {"a": []int{1}},
		"value is missing":     {"a": nil},
		"no field":             {"a": map[string]any{}},
		"not finite":           {"a": func() float64 { var z float64; return 1 / z }()},
		"not a reference":      {"a": latchkey.ClientID},
		"a value, not":         {"a": latchkey.Attr("b")},
		"more than 4096 bytes": {"a": strings.Repeat("x", 4096)},
	} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Attributes: bad})
		w.is(latchkey.ErrInvalid, err)
		if why != "no field" {
			assert.ErrorContains(t, err, why)
		}
		_, err = w.acme.AssumeWith(latchkey.Caller{Attributes: bad})
		w.is(latchkey.ErrInvalid, err)
	}
	for _, bad := range [][]string{{""}, {"a", "a"}, {"\x00"}, slices.Repeat([]string{"a"}, 17)} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, ChildAttributes: bad})
		w.is(latchkey.ErrInvalid, err)
	}
	var read latchkey.Attributes
	for _, bad := range []string{``, `null`, `[]`, `{"a":null}`, `{"a":[1]}`, `{"a":[["x"]]}`, `{"a":{"ref":"self"}}`,
		`{"a":{"attr":"b"}}`, `{"a":1,"a":1}`, `{"a":1e3}`, `{"a":""}`, `{"a":[]}`, `{"a":1`, `{"a":1}x`, `{"a":1,"b`,
		`{"a":1,2:1}`} {
		read = latchkey.Attributes{"was": 1}
		require.ErrorIs(t, read.UnmarshalJSON([]byte(bad)), latchkey.ErrInvalid, bad)
		require.Nil(t, read, bad)
	}
	w.ok(json.Unmarshal([]byte(`{"a":"x","b":5,"c":2.50,"d":true,"e":["x","y"]}`), &read))
	require.Equal(t, latchkey.Attributes{"a": "x", "b": int64(5), "c": json.Number("2.50"), "d": true,
		"e": []string{"x", "y"}}, read)
	var spec latchkey.Spec
	w.is(latchkey.ErrInvalid, json.Unmarshal([]byte(`{"kind":"api_key","attributes":null}`), &spec))
	w.ok(json.Unmarshal([]byte(`{"kind":"api_key","client":{"id":"u-1"},"attributes":{"a":["x"]},`+
		`"child_attributes":["b"]}`),
		&spec))
	require.Equal(t, latchkey.Attributes{"a": []string{"x"}}, spec.Attributes)
}

// What a caller changes after the call changes nothing stored, and an Access hands out copies.
func TestAttributesAreCopied(t *testing.T) {
	w := newWorld(t)
	list := []string{"EU"}
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Attributes: latchkey.Attributes{"regions": list}})
	w.ok(err)
	list[0] = "US"
	a := w.access(secret.Reveal())
	got, ok := a.Attribute("regions")
	require.True(t, ok)
	require.Equal(t, []string{"EU"}, got)
	got.([]string)[0] = "US"
	again, _ := a.Attribute("regions")
	require.Equal(t, []string{"EU"}, again)
	_, ok = a.Attribute("other")
	require.False(t, ok)
}

// A mint has its parent's attributes. It adds only those that the issuer named, and changes none.
func TestMintedAttributes(t *testing.T) {
	w := newWorld(t)
	dept := rowRule(eq("dept", latchkey.Attr("dept")))
	many, others := latchkey.Attributes{}, latchkey.Attributes{}
	for i := range 9 {
		many[fmt.Sprint("has", i)], others[fmt.Sprint("adds", i)] = "x", "x"
	}
	few := maps.Clone(others)
	delete(few, "adds0")
	delete(few, "adds1")
	delete(few, "adds2")
	few["dept"] = "sales"
	issue := func(has latchkey.Attributes, child ...string) latchkey.Access {
		_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Attributes: has,
			ChildAttributes: child, Permissions: latchkey.Permissions{dept}})
		w.ok(err)
		return w.access(secret.Reveal())
	}
	sales, legal := latchkey.Attributes{"dept": "sales"}, latchkey.Attributes{"dept": "legal"}
	for _, c := range []struct {
		about  string
		parent latchkey.Access
		gives  latchkey.Attributes
		want   error
		row    string // the department that the child reaches
	}{
		{"inherits", issue(sales), nil, nil, "sales"},
		{"says the same again", issue(sales), sales, nil, "sales"},
		{"changes it", issue(sales), legal, latchkey.ErrInvalid, ""},
		{"changes it, though it is named", issue(sales, "dept"), legal, latchkey.ErrInvalid, ""},
		{"adds one that is not named", issue(nil), sales, latchkey.ErrInvalid, ""},
		{"adds another than is named", issue(nil, "team"), sales, latchkey.ErrInvalid, ""},
		{"adds one that is named", issue(nil, "dept"), sales, nil, "sales"},
		{"has more than a token may have", issue(many, slices.Collect(maps.Keys(others))...), others,
			latchkey.ErrInvalid, ""},
		{"has as many as a token may have", issue(many, slices.Collect(maps.Keys(few))...), few, nil, "sales"},
	} {
		for _, narrow := range []bool{false, true} {
			n := latchkey.Narrowing{Attributes: c.gives, Lifetime: time.Hour}
			var child latchkey.Access
			var err error
			if narrow {
				child, err = c.parent.Narrow(w.ctx, n)
			} else if _, text, mintErr := c.parent.Mint(w.ctx, n); mintErr == nil {
				child = w.access(text.Reveal())
			} else {
				err = mintErr
			}
			w.is(c.want, err)
			if c.want != nil {
				continue
			}
			for _, of := range []string{"sales", "legal"} {
				assert.Equal(t, of == c.row, reaches(t, child, latchkey.Row{"dept": of}), c.about)
			}
			if c.gives != nil {
				_, err = child.Narrow(w.ctx, latchkey.Narrowing{Attributes: legal})
				w.is(latchkey.ErrInvalid, err)
			}
		}
	}
	// Children pass the permission on.
	minted, text := w.mint(issue(nil, "dept"), latchkey.Narrowing{})
	require.Equal(t, []string{"dept"}, minted.ChildAttributes)
	grandchild, text := w.mint(w.access(text), latchkey.Narrowing{Attributes: sales})
	require.Equal(t, sales, grandchild.Attributes)
	require.True(t, reaches(t, w.access(text), latchkey.Row{"dept": "sales"}))
	// A narrowed access keeps what it was given when it is verified again.
	narrowed := must(issue(nil, "dept").Narrow(w.ctx, latchkey.Narrowing{Attributes: sales}))
	require.True(t, reaches(t, must(narrowed.Again(w.ctx)), latchkey.Row{"dept": "sales"}))

	_, err := w.acme.Update(w.ctx, minted.ID, func(t *latchkey.Token) error { t.Attributes = legal; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.Update(w.ctx, minted.ID, func(t *latchkey.Token) error { t.ChildAttributes = nil; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.Update(w.ctx, minted.ID, func(t *latchkey.Token) error { t.Client.ID = "x"; return nil })
	w.is(latchkey.ErrInvalid, err)
}

// An actor gives a client and attributes that it has, or that a rule which names Give lets it give, and no rows by
// them.
func TestActorsGiveWhatTheyHave(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.Imported = func(s string) bool { return strings.HasPrefix(s, "imported-") }
	})
	admin := latchkey.Allow(latchkey.Any).On("latchkey/*")
	give := func(on ...latchkey.Pattern) latchkey.Rule { return latchkey.Allow(latchkey.Give).On(on...) }
	mine, dept := rowRule(eq("client", latchkey.ClientID)), rowRule(eq("dept", latchkey.Attr("dept")))
	ada, bob := latchkey.Client{ID: "ada"}, latchkey.Client{ID: "bob"}
	sales, legal := latchkey.Attributes{"dept": "sales"}, latchkey.Attributes{"dept": "legal"}
	rules := func(r ...latchkey.Rule) latchkey.Permissions { return append(latchkey.Permissions{admin}, r...) }
	for _, c := range []struct {
		about string
		actor latchkey.Caller
		gives latchkey.Spec
		may   bool
	}{
		{"its own client", latchkey.Caller{Client: ada, Rules: rules()}, latchkey.Spec{Client: ada}, true},
		{"no client", latchkey.Caller{Client: ada, Rules: rules()}, latchkey.Spec{}, true},
		{"another client", latchkey.Caller{Client: ada, Rules: rules()}, latchkey.Spec{Client: bob}, false},
		{"a client, without one", latchkey.Caller{Rules: rules()}, latchkey.Spec{Client: bob}, false},
		{"a client that it may give", latchkey.Caller{Rules: rules(give("latchkey/client/bob"))},
			latchkey.Spec{Client: bob}, true},
		{"another than it may give", latchkey.Caller{Rules: rules(give("latchkey/client/bob"))},
			latchkey.Spec{Client: ada}, false},
		{"a client, with every action", latchkey.Caller{Rules: rules(latchkey.Allow(latchkey.Any).On("latchkey/client/*"))},
			latchkey.Spec{Client: bob}, false},
		{"a client that a Deny of every action takes", latchkey.Caller{Rules: rules(give("latchkey/client/*"),
			latchkey.Deny(latchkey.Any).On("latchkey/client/bob"))}, latchkey.Spec{Client: bob}, false},
		{"its own attribute", latchkey.Caller{Attributes: sales, Rules: rules()}, latchkey.Spec{Attributes: sales}, true},
		{"another value", latchkey.Caller{Attributes: sales, Rules: rules()}, latchkey.Spec{Attributes: legal}, false},
		{"an attribute, without it", latchkey.Caller{Rules: rules()}, latchkey.Spec{Attributes: sales}, false},
		{"an attribute that it may give", latchkey.Caller{Rules: rules(give("latchkey/attribute/dept"))},
			latchkey.Spec{Attributes: sales}, true},
		{"another attribute", latchkey.Caller{Rules: rules(give("latchkey/attribute/dept"))},
			latchkey.Spec{Attributes: latchkey.Attributes{"team": "a"}}, false},
		{"children any value", latchkey.Caller{Attributes: sales, Rules: rules()},
			latchkey.Spec{ChildAttributes: []string{"dept"}}, false},
		{"children any value, by right", latchkey.Caller{Rules: rules(give("latchkey/attribute/dept"))},
			latchkey.Spec{ChildAttributes: []string{"dept"}}, true},

		// Rows: compared with the values of both.
		{"rows of its client", latchkey.Caller{Client: ada, Rules: rules(mine)},
			latchkey.Spec{Client: ada, Permissions: latchkey.Permissions{mine}}, true},
		{"rows of its client, by name", latchkey.Caller{Client: ada, Rules: rules(mine)},
			latchkey.Spec{Permissions: latchkey.Permissions{rowRule(eq("client", "ada"))}}, true},
		{"rows of whichever client is minted for", latchkey.Caller{Client: ada, Rules: rules(mine)},
			latchkey.Spec{Permissions: latchkey.Permissions{mine}}, false},
		{"rows of a client, without one", latchkey.Caller{Rules: rules(mine, give("latchkey/client/*"))},
			latchkey.Spec{Client: bob, Permissions: latchkey.Permissions{mine}}, false},
		{"rows of another client", latchkey.Caller{Client: ada, Rules: rules(mine, give("latchkey/client/*"))},
			latchkey.Spec{Client: bob, Permissions: latchkey.Permissions{mine}}, false},
		{"rows of a client, with all rows", latchkey.Caller{Rules: rules(rowRule(latchkey.AllRows),
			give("latchkey/client/*"))}, latchkey.Spec{Client: bob, Permissions: latchkey.Permissions{mine}}, true},
		{"rows of its department", latchkey.Caller{Attributes: sales, Rules: rules(dept)},
			latchkey.Spec{Attributes: sales, Permissions: latchkey.Permissions{dept}}, true},
		{"rows of another department", latchkey.Caller{Attributes: sales, Rules: rules(dept, give("latchkey/attribute/*"))},
			latchkey.Spec{Attributes: legal, Permissions: latchkey.Permissions{dept}}, false},
		{"rows of a department, without one", latchkey.Caller{Rules: rules(dept, give("latchkey/attribute/*"))},
			latchkey.Spec{Attributes: sales, Permissions: latchkey.Permissions{dept}}, false},
		{"rows of no department", latchkey.Caller{Rules: rules()},
			latchkey.Spec{Permissions: latchkey.Permissions{dept}}, true},
		{"rows of whichever department is minted", latchkey.Caller{Attributes: sales,
			Rules: rules(dept, give("latchkey/attribute/*"))},
			latchkey.Spec{ChildAttributes: []string{"dept"}, Permissions: latchkey.Permissions{dept}}, false},
		{"all rows but those of a department that it lacks", latchkey.Caller{Rules: rules()},
			latchkey.Spec{Permissions: latchkey.Permissions{rowRule(latchkey.Not(eq("dept", latchkey.Attr("dept"))))}}, true},
		{"all rows but those of its department", latchkey.Caller{Attributes: sales,
			Rules: rules(rowRule(latchkey.Where("dept", latchkey.Ne, latchkey.Attr("dept"))))},
			latchkey.Spec{Attributes: sales,
				Permissions: latchkey.Permissions{rowRule(latchkey.Not(eq("dept", latchkey.Attr("dept"))))}}, true},

		// Forced values: the same.
		{"what is forced to its client", latchkey.Caller{Client: ada,
			Rules: rules(latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID}))},
			latchkey.Spec{Client: ada, Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID})}}, true},
		{"what is forced to another client", latchkey.Caller{Client: ada, Rules: rules(give("latchkey/client/*"),
			latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID}))},
			latchkey.Spec{Client: bob, Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID})}}, false},
		{"what is forced to whichever client", latchkey.Caller{Client: ada,
			Rules: rules(latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID}))},
			latchkey.Spec{Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": latchkey.ClientID})}}, false},
	} {
		actor, err := w.acme.AssumeWith(c.actor)
		w.ok(err)
		as := must(w.acme.As(actor))
		c.gives.Kind = latchkey.KindAPIKey
		_, _, err = as.Issue(w.ctx, c.gives)
		if c.may {
			assert.NoError(t, err, c.about)
			continue
		}
		assert.ErrorIs(t, err, latchkey.ErrDenied, c.about)
		_, err = as.Import(w.ctx, c.gives, "imported-12345678")
		assert.ErrorIs(t, err, latchkey.ErrDenied, c.about)
	}
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	as := must(w.acme.As(w.access(root)))
	_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: bob, Attributes: sales,
		ChildAttributes: []string{"x"}, Permissions: latchkey.Permissions{mine, dept}})
	w.ok(err)
	// What an actor was given it passes on by a token of its own, too.
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada, Attributes: sales,
		Permissions: rules(mine)})
	w.ok(err)
	as = must(w.acme.As(w.access(secret.Reveal())))
	_, text, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada, Attributes: sales,
		Permissions: latchkey.Permissions{mine}})
	w.ok(err)
	require.True(t, reaches(t, w.access(text.Reveal()), latchkey.Row{"client": "ada"}))
	// An actor that was narrowed to a client, or to an attribute, gives no more than its token.
	_, secret, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, ChildAttributes: []string{"dept"},
		Permissions: rules(mine, dept)})
	w.ok(err)
	narrowed := must(w.access(secret.Reveal()).Narrow(w.ctx, latchkey.Narrowing{Client: bob, Attributes: sales}))
	require.True(t, reaches(t, narrowed, latchkey.Row{"dept": "sales"}))
	for _, spec := range []latchkey.Spec{
		{Client: bob},
		{Attributes: sales},
		{Permissions: latchkey.Permissions{rowRule(eq("client", "bob"))}},
		{Permissions: latchkey.Permissions{rowRule(eq("dept", "sales"))}},
	} {
		spec.Kind = latchkey.KindAPIKey
		_, _, err = must(w.acme.As(narrowed)).Issue(w.ctx, spec)
		w.is(latchkey.ErrDenied, err)
	}
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: bob})
	var denied *latchkey.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, latchkey.DeniedError{Action: latchkey.Give, Resource: "latchkey/client/bob"}, *denied)
}

// A boundary of the owner that refers to the caller counts for an actor: with the values of both.
func TestBoundariesThatReferToTheCaller(t *testing.T) {
	for _, bound := range []latchkey.Rule{
		latchkey.Allow(latchkey.Any).On("*").Where(eq("dept", latchkey.Attr("dept"))),
		latchkey.Allow(latchkey.Any).On("*").Force(map[string]any{"dept": latchkey.Attr("dept")}),
	} {
		w := newWorld(t)
		w.configure(func(o *latchkey.Owner) {
			o.Boundary = latchkey.Permissions{bound, latchkey.Grant(latchkey.Any).On("latchkey/*"),
				latchkey.Grant(latchkey.Give).On("latchkey/attribute/*")}
		})
		actor := must(w.acme.AssumeWith(latchkey.Caller{Attributes: latchkey.Attributes{"dept": "sales"},
			Rules: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("row", "latchkey/*"),
				latchkey.Grant(latchkey.Give).On("latchkey/attribute/*")}}))
		as := must(w.acme.As(actor))
		for dept, may := range map[string]bool{"sales": true, "legal": false} {
			_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Attributes: latchkey.Attributes{"dept": dept},
				Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read, latchkey.Create).On("row")}})
			assert.Equal(t, may, err == nil, "%s: %v", dept, err)
		}
	}
}

// Two layers that force a reference and a text disagree for one client and agree for another. A token without a client
// may mint for both.
func TestForcedReferencesThatMayAgreeLater(t *testing.T) {
	w := newWorld(t)
	force := func(v any) latchkey.Rule {
		return latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"client": v})
	}
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{force(latchkey.ClientID), latchkey.Grant(latchkey.Any).On("latchkey/*")}
	})
	ada := latchkey.Client{ID: "ada"}
	for _, c := range []struct {
		has, forces string
		client      latchkey.Client
		may         bool
	}{
		{"ada", "ada", ada, true},
		{"ada", "bob", ada, false}, // it creates no row, until the boundary is lifted
		{"bob", "bob", ada, true},
		{"bob", "bob", latchkey.Client{}, false},
	} {
		as := must(w.acme.As(must(w.acme.Assume(ada,
			latchkey.Permissions{force(c.has), latchkey.Grant(latchkey.Any).On("latchkey/*")}))))
		_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: c.client,
			Permissions: latchkey.Permissions{force(c.forces)}})
		assert.Equal(t, c.may, err == nil, "%+v: %v", c, err)
	}
}

// A reference in forced values is filled in when a row is prepared, and in a Narrowing when the token is minted.
func TestForcedReferences(t *testing.T) {
	w := newWorld(t)
	force := func(ref any) latchkey.Rule {
		return latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"owner": ref})
	}
	caller := latchkey.Caller{Client: latchkey.Client{ID: "ada"},
		Attributes: latchkey.Attributes{"dept": "sales", "teams": []string{"a"}, "level": 3}}
	create := func(a latchkey.Access) (any, error) {
		row, err := a.Prepare(latchkey.Create, "row", desk, nil, latchkey.Row{"owner": "mallory"})
		allowed := a.Allows(latchkey.Create, "row")
		_, filterErr := a.Filter(latchkey.Create, "row")
		require.Equal(t, err == nil, allowed, "Allows agrees with Prepare: %v", err)
		require.Equal(t, allowed, filterErr == nil)
		require.Equal(t, allowed, a.Check(latchkey.Create, "row") == nil)
		require.Equal(t, allowed, a.Explain(latchkey.Create, "row").Verdict == "all")
		return row["owner"], err
	}
	for _, c := range []struct {
		ref  any
		want any // nil: it has no value
	}{
		{latchkey.ClientID, "ada"}, {latchkey.Self, "ada"}, {latchkey.OwnerID, "acme"}, {latchkey.Attr("dept"), "sales"},
		{latchkey.Attr("team"), nil}, {latchkey.Attr("teams"), nil},
	} {
		rule := force(c.ref)
		text, err := json.Marshal(rule)
		w.ok(err)
		var read latchkey.Rule
		w.ok(json.Unmarshal(text, &read))
		require.Equal(t, rule.Forced(), read.Forced())
		caller.Rules = latchkey.Permissions{read}
		got, err := create(must(w.acme.AssumeWith(caller)))
		if c.want == nil {
			w.is(latchkey.ErrForced, err)
			assert.ErrorContains(t, err, fmt.Sprint(c.ref))
			assert.Contains(t, must(w.acme.AssumeWith(caller)).Explain(latchkey.Create, "row").Reason, fmt.Sprint(c.ref))
		} else {
			w.ok(err)
			assert.Equal(t, c.want, got)
		}
		_, err = create(must(w.acme.Assume(latchkey.Client{}, caller.Rules)))
		if c.ref != latchkey.OwnerID {
			w.is(latchkey.ErrForced, err)
		}

		_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Client: caller.Client,
			Attributes: caller.Attributes})
		w.ok(err)
		a := w.access(secret.Reveal())
		minted, text2, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Forced: latchkey.Values{"owner": c.ref}})
		if c.want == nil {
			w.is(latchkey.ErrForced, err)
			_, err = a.Narrow(w.ctx, latchkey.Narrowing{Forced: latchkey.Values{"owner": c.ref}})
			w.is(latchkey.ErrForced, err)
			continue
		}
		w.ok(err)
		want := c.want
		if c.ref == latchkey.Self {
			want = a.TokenID()
		}
		assert.Equal(t, latchkey.Values{"owner": want}, minted.Forced, "stored as the literal")
		got, err = create(w.access(text2.Reveal()))
		w.ok(err)
		assert.Equal(t, want, got)
		_, _, err = w.access(text2.Reveal()).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour,
			Forced: latchkey.Values{"owner": latchkey.Attr("level")}})
		w.is(latchkey.ErrForced, err)
		_, _, err = w.access(text2.Reveal()).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour,
			Forced: latchkey.Values{"owner": c.ref}})
		w.ok(err)
	}
	// A child's own client and attributes count, and so does what is read and updated: nothing is forced there.
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, ChildAttributes: []string{"dept"},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read, latchkey.Create).On("row").
			Force(map[string]any{"owner": latchkey.Attr("dept")})}})
	w.ok(err)
	a := w.access(secret.Reveal())
	w.ok(a.Check(latchkey.Read, "row"))
	_, err = create(a)
	w.is(latchkey.ErrForced, err)
	_, text := w.mint(a, latchkey.Narrowing{Attributes: latchkey.Attributes{"dept": "sales"}})
	got, err := create(w.access(text))
	w.ok(err)
	assert.Equal(t, "sales", got)
}

// Layers that force the same field must agree on the value that a reference has for this caller.
func TestForcedReferencesAgreeByTheirValues(t *testing.T) {
	w := newWorld(t)
	force := func(v any) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Create).On("row").Force(map[string]any{"owner": v})}
	}
	ada := latchkey.Client{ID: "ada"}
	for _, c := range []struct {
		parent, child any
		layer         any // forced beside the child's rules
		want          string
	}{
		{latchkey.ClientID, "ada", nil, "ada"},
		{"ada", latchkey.ClientID, nil, "ada"},
		{latchkey.ClientID, latchkey.Attr("name"), nil, "ada"},
		{latchkey.ClientID, "bob", nil, ""},
		{latchkey.ClientID, latchkey.Attr("dept"), nil, ""},
		{latchkey.ClientID, latchkey.Attr("none"), nil, ""},
		{latchkey.ClientID, latchkey.ClientID, "ada", "ada"},
		{latchkey.ClientID, latchkey.ClientID, "bob", ""},
		{latchkey.ClientID, latchkey.ClientID, latchkey.Attr("dept"), ""},
	} {
		_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: ada,
			Permissions: force(c.parent),
			Attributes:  latchkey.Attributes{"name": "ada", "dept": "sales"}})
		w.ok(err)
		n := latchkey.Narrowing{Permissions: force(c.child)}
		if c.layer != nil {
			n.Forced = latchkey.Values{"owner": c.layer}
		}
		_, text := w.mint(w.access(secret.Reveal()), n)
		a := w.access(text)
		row, err := a.Prepare(latchkey.Create, "row", desk, nil, latchkey.Row{"owner": "x"})
		assert.Equal(t, c.want != "", err == nil, "%+v: %v", c, err)
		assert.Equal(t, c.want != "", a.Allows(latchkey.Create, "row"), "%+v", c)
		if err == nil {
			assert.Equal(t, c.want, row["owner"], "%+v", c)
		}
	}
	// Within cannot know whether they agree.
	p, q := force(latchkey.ClientID), force(latchkey.ClientID)
	require.False(t, p.Within(q))
	require.True(t, p.Within(latchkey.Permissions{latchkey.Allow(latchkey.Create).On("row")}))
	require.True(t, force(latchkey.OwnerID).Within(force(latchkey.OwnerID)), "nothing crosses owners")
	require.False(t, latchkey.Permissions{latchkey.Allow(latchkey.Create).On("row")}.Within(q))
}

// An Access says what its token is called, when it ends and what it stands for without asking the store.
func TestAccessKnowsItsToken(t *testing.T) {
	w := newWorld(t)
	viewer, editor := w.role("Viewer", readAll()), w.role("Editor", readAll())
	end := w.now().Add(48 * time.Hour).Truncate(time.Microsecond)
	token, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Ada's laptop", Extra: []byte(`{"a": 1}`),
		Roles: []string{viewer.ID, editor.ID}, Validity: latchkey.Validity{NotAfter: end}})
	_, child := w.mint(w.access(secret), latchkey.Narrowing{Name: "page", Lifetime: time.Hour})
	_, open := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: time.Hour}})
	reads := w.store.lookups.Load()
	for range 2 { // read from the store, and from the cache
		a := w.access(secret)
		assert.Equal(t, "Ada's laptop", a.Name())
		assert.Equal(t, `{"a": 1}`, string(a.Extra()))
		assert.Equal(t, end, a.Ends())
		assert.Equal(t, []string{"Viewer", "Editor"}, a.RoleNames())
		c := w.access(child)
		assert.Equal(t, "page", c.Name())
		assert.Nil(t, c.Extra())
		assert.Equal(t, []string{"Viewer", "Editor"}, c.RoleNames())
		assert.WithinDuration(t, w.now().Add(time.Hour), c.Ends(), time.Minute)
		assert.Zero(t, w.access(open).Ends(), "an idle limit is no end")
		assert.Equal(t, end, must(a.Again(w.ctx)).Ends())
		assert.Equal(t, "Ada's laptop", must(a.Narrow(w.ctx, latchkey.Narrowing{})).Name())
	}
	assert.LessOrEqual(t, w.store.lookups.Load()-reads, int64(3))

	_, err := w.acme.Rotate(w.ctx, token.ID, time.Minute)
	w.ok(err)
	assert.Equal(t, end, w.access(secret).Ends(), "of the chain, not of a rotated secret")
	assert.Equal(t, end, w.access(secret).Ends())

	w.update(token, func(t *latchkey.Token) { t.Name, t.Extra = "Ada's phone", nil })
	assert.Equal(t, "Ada's phone", w.access(secret).Name(), "a change shows with the next Verify")
	assert.Nil(t, w.access(secret).Extra())
	w.editRole(viewer, func(r *latchkey.Role) { r.Name = "Reader" })
	assert.Equal(t, []string{"Reader", "Editor"}, w.access(secret).RoleNames())
	assert.Equal(t, []string{"Reader", "Editor"}, w.access(child).RoleNames())

	for _, none := range []latchkey.Access{{}, must(w.acme.Assume(latchkey.Client{ID: "x", Name: "X"}, nil))} {
		assert.Empty(t, none.Name())
		assert.Nil(t, none.Extra())
		assert.Zero(t, none.Ends())
		assert.Empty(t, none.RoleNames())
		_, ok := none.Attribute("a")
		assert.False(t, ok)
	}
}

// A Deny that refers to what the caller lacks removes every row, so that a token without it reaches less, not more.
func TestDenyOfWhatTheCallerLacks(t *testing.T) {
	w := newWorld(t)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("row"),
		latchkey.Deny(latchkey.Read).On("row").Where(eq("dept", latchkey.Attr("dept")))}
	none := must(w.acme.AssumeWith(latchkey.Caller{Rules: rules}))
	sales := must(w.acme.AssumeWith(latchkey.Caller{Rules: rules, Attributes: latchkey.Attributes{"dept": "sales"}}))
	for _, dept := range []string{"sales", "legal"} {
		assert.False(t, reaches(t, none, latchkey.Row{"dept": dept}))
		assert.Equal(t, dept == "legal", reaches(t, sales, latchkey.Row{"dept": dept}))
	}
}

// A right to give the asking client is the right to give the client of the actor's token, not of one it was narrowed
// to.
func TestAnActorGivesNoClientOfANarrowing(t *testing.T) {
	w := newWorld(t)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*"),
		latchkey.Grant(latchkey.Give).On("latchkey/client/{*client}", "latchkey/attribute/{*client}")}
	bob := latchkey.Client{ID: "bob"}
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: rules})
	assumed, err := w.acme.Assume(latchkey.Client{}, rules)
	w.ok(err)
	isBob, err := w.acme.Assume(bob, rules)
	w.ok(err)
	for _, boundary := range []latchkey.Permissions{nil, {latchkey.Allow(latchkey.Any, latchkey.Give).On("latchkey/*")}} {
		w.configure(func(o *latchkey.Owner) { o.Boundary = boundary })
		for _, a := range []latchkey.Access{w.access(secret), assumed} {
			narrowed, err := a.Narrow(w.ctx, latchkey.Narrowing{Client: bob})
			w.ok(err)
			twice, err := narrowed.Narrow(w.ctx, latchkey.Narrowing{Attributes: latchkey.Attributes{}})
			w.ok(err)
			again, err := twice.Again(w.ctx)
			w.ok(err)
			require.Equal(t, "bob", again.Client().ID)
			for _, s := range []latchkey.Spec{{Client: bob}, {Attributes: latchkey.Attributes{"bob": "x"}}} {
				s.Kind = latchkey.KindAPIKey
				for _, a := range []latchkey.Access{a, narrowed, twice, again} {
					_, _, err = mustAs(w, a).Issue(w.ctx, s)
					w.is(latchkey.ErrDenied, err)
				}
				_, _, err = mustAs(w, isBob).Issue(w.ctx, s)
				w.ok(err)
			}
		}
	}
	// Rules about the client are not those of the narrowing either.
	own := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*"),
		latchkey.Allow(latchkey.Read).On("row").Where(eq("who", latchkey.ClientID))}
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("row").Where(eq("who", "bob"))}}
	for as, may := range map[latchkey.Client]bool{{}: false, bob: true} {
		a, err := w.acme.Assume(as, own)
		w.ok(err)
		a, err = a.Narrow(w.ctx, latchkey.Narrowing{Client: bob})
		w.ok(err)
		if _, _, err = mustAs(w, a).Issue(w.ctx, spec); may {
			w.ok(err)
		} else {
			w.is(latchkey.ErrDenied, err)
		}
	}
	w.configure(func(o *latchkey.Owner) { o.Boundary = nil })
	// A narrowing may still take the right away.
	_, secret = w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any, latchkey.Give).On("latchkey/*")}})
	narrowed, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("latchkey/*")}})
	w.ok(err)
	_, _, err = mustAs(w, narrowed).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: bob})
	w.is(latchkey.ErrDenied, err)
}

// A boundary under which a token may do nothing lets an actor give it no more than the actor has: it may be lifted.
func TestABoundaryHidesNoRights(t *testing.T) {
	w := newWorld(t)
	w.configure(func(o *latchkey.Owner) {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*").Where(eq("dept", latchkey.Attr("dept"))),
			latchkey.Grant(latchkey.Any).On("latchkey/*")}
	})
	actor, err := w.acme.AssumeWith(latchkey.Caller{Attributes: latchkey.Attributes{"dept": "sales"},
		Rules: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("row"), latchkey.Grant(latchkey.Any).On("latchkey/*")}})
	w.ok(err)
	_, _, err = mustAs(w, actor).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("*")}})
	w.is(latchkey.ErrDenied, err)
	_, _, err = mustAs(w, actor).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("row")}})
	w.ok(err)
}
