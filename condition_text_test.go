package latchkey

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseCondition(t *testing.T) {
	eu, small := Where("region", Eq, "EU"), Where("amount", Lt, 1000)
	for text, want := range map[string]Condition{
		`every row`:                            AllRows,
		`no row`:                               {},
		`region = "EU"`:                        eu,
		` region="EU"  `:                       eu,
		`(region = "EU")`:                      eu,
		`region = "EU" and amount < 1000`:      All(eu, small),
		`region = "EU" AND amount < 1000`:      All(eu, small),
		"region = \"EU\"\nor amount < 1000":    AnyOf(eu, small),
		`not region = "EU"`:                    Not(eu),
		`not not region = "EU"`:                eu,
		`not (region = "EU" or amount < 1000)`: Not(AnyOf(eu, small)),
		`not region = "EU" and amount < 1000`:  All(Not(eu), small),
		`a = 1 and (b = 2 or c = 3)`: All(Where("a", Eq, 1), AnyOf(Where("b", Eq, 2), Where("c",
			Eq, 3))),
		`region in ["EU", "CH"]`:              Where("region", In, []string{"EU", "CH"}),
		`n in []`:                             Where("n", In, []int{}),
		`n in [1, 2.50, true, "x"]`:           Where("n", In, []any{1, json.Number("2.50"), true, "x"}),
		`note is null`:                        Where("note", IsNull, true),
		`note is not null`:                    Where("note", IsNull, false),
		`owner = self and role in self_roles`: All(Where("owner", Eq, Self), Where("role", In, SelfRoles)),
		`client = client_id or tenant = owner_id`: AnyOf(Where("client", Eq, ClientID), Where("tenant", Eq,
			OwnerID)),
		`department = attr("department")`: Where("department", Eq, Attr("department")),
		`region in attr("regions")`:       Where("region", In, Attr("regions")),
		`name starts-with "A" or name contains "\"q\"\n"`: AnyOf(Where("name", StartsWith, "A"), Where("name",
			Contains, "\"q\"\n")),
		`in in [1] and is is null and contains = "self"`: All(Where("in", In, []int{1}), Where("is", IsNull, true),
			Where("contains", Eq, "self")),
		`"not" = 1 and "Every" = 2 and "a b" = 3 and é_ = 4`: {},
		`"not" = 1 and "Every" = 2 and "a b" = 3`: All(Where("not", Eq, 1), Where("Every", Eq, 2),
			Where("a b", Eq, 3)),
		`amount >= -0.5`: Where("amount", Ge, json.Number("-0.5")),
	} {
		got, err := ParseCondition(text)
		if strings.Contains(text, "é_") { // no plain word
			require.ErrorIs(t, err, ErrBadCondition)
			continue
		}
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%s\n%v", text, got)
	}
}

// What is wrong is said with its place, and no text is repeated: a value may be a secret.
func TestParseConditionSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      `character 1: the condition is empty: write a comparison, or "every row"`,
		`region`:                                `character 7: expected an operator: =, !=, <, <=, >, >=, in, contains,`,
		`region == "EU"`:                        `character 8: expected an operator: =, !=, <, <=, >, >=, in, contains,`,
		`région = "EU"`:                         `character 2: this character has no meaning outside`,
		`region = EU`:                           `character 10: expected a value: a text in double quotes, a number, tru`,
		`region = 'EU'`:                         `character 10: write a text in double quotes: "EU"`,
		`region = “EU”`:                         `character 10: write a text in double quotes: "EU"`,
		`region = "EU`:                          `character 10: this text in double quotes does not end, or has a malfor`,
		`region = "\xff"`:                       `character 10: the text is not valid UTF-8`,
		`day = 2026-01-01`:                      `character 7: the number is not plain decimal`,
		`n = 1e9`:                               `character 5: the number is not plain decimal`,
		`n = +1`:                                `character 5: this character has no meaning outside double quotes`,
		`a = 1 and b = 2 or c = 3`:              `character 17: "and" and "or" stand beside each other: put parentheses`,
		`a = 1 or b = 2 and c = 3`:              `character 16: "and" and "or" stand beside each other`,
		`(a = 1`:                                `character 7: expected "and", "or", or ")"`,
		`a = 1)`:                                `character 6: expected "and", "or", or the end`,
		`a = 1 b = 2`:                           `character 7: expected "and", "or", or the end`,
		`not = 1`:                               `character 5: expected a field`,
		`not`:                                   `character 4: expected a field`,
		`a = 1 and every row`:                   `character 11: expected a field; one of this name stands in double quotes`,
		`every 'x`:                              `character 7: write a text in double quotes`,
		`every = 1`:                             `character 7: expected "row" after "every"; a field of this name stands`,
		`a is-null true`:                        `character 3: write "is null" or "is not null"`,
		`a is 1`:                                `character 6: expected "null" or "not null" after "is"`,
		`a is not 1`:                            `character 10: expected "null" or "not null" after "is"`,
		`a in 1`:                                `character 6: in takes a list`,
		`a in self`:                             `character 6: in takes a list, the reference self_roles, or an attribute`,
		`a = self_roles`:                        `character 5: the reference self_roles is a list: it goes with in`,
		`a = [1]`:                               `character 5: a list goes with in only`,
		`a in [self]`:                           `character 7: expected a value`,
		`a in [[1]]`:                            `character 7: expected a value`,
		`a in [1 2]`:                            `character 9: expected "," or "]"`,
		`a in [1,]`:                             `character 9: expected a value`,
		`a contains 3`:                          `character 12: contains takes text`,
		`a starts-with ""`:                      `character 15: starts-with of an empty text would admit every known value`,
		`a = attr`:                              `character 9: expected attr("name")`,
		`a = attr "x")`:                         `character 10: expected attr("name")`,
		`a = attr(x)`:                           `character 10: expected attr("name")`,
		`a = attr(5)`:                           `character 10: expected attr("name")`,
		`a = attr("x"`:                          `character 13: expected ")"`,
		`a = attr("")`:                          `character 10: `,
		`"" = 1`:                                `character 1: the field has no name`,
		"a = 1\x00":                             `character 6: this character has no meaning outside double quotes`,
		"a = \"\xff\"":                          `the text is not valid UTF-8`,
		strings.Repeat("(", 200):                `character 102: nested too deeply`,
		strings.Repeat("not ", 200) + "a":       `character 405: nested too deeply`,
		strings.Repeat(" ", 1<<20+1):            `the text is longer than 1 MiB`,
		strings.Repeat("a=1 or ", 1000) + "b=1": `more than 1000 comparisons`,
		"a in [" + strings.Repeat("1,", 1000) + "1]":                            `the list is longer than 1,000 values`,
		strings.Repeat("not (a = 1 and ", 40) + "b=1" + strings.Repeat(")", 40): `nested deeper than 24`,
	} {
		c, err := ParseCondition(text)
		require.True(t, c.IsNoRows(), text)
		var at *ConditionError
		require.ErrorAs(t, err, &at, text)
		require.Contains(t, at.Reason, want, text)
	}
	for _, text := range []string{`a = 1 zebra-4711`, `a = zebra-4711`, `a = "zebra-4711`, `zebra-4711`,
		`a = 1zebra-4711`, `a = "\zzebra-4711"`, `a contains attr("zebra 4711 ` + strings.Repeat("x", 300) + `")`} {
		_, err := ParseCondition(text)
		require.ErrorIs(t, err, ErrBadCondition, text)
		require.NotContains(t, err.Error(), "zebra", text)
	}
}

// parseable returns a condition of everything that the text form has.
func parseable(r *rand.Rand, depth int) Condition {
	names := []string{"region", "a.b-c", "not", "Or", "AND", "every", "no", "in", "is", "null", "self", "contains", "row",
		"9x", "a b", "é", `q"q`, "-", "true", "attr", "starts-with"}
	if depth > 0 {
		switch r.IntN(4) {
		case 0:
			return Not(parseable(r, depth-1))
		case 1:
			return All(parseable(r, depth-1), parseable(r, depth-1), parseable(r, depth-1))
		case 2:
			return AnyOf(parseable(r, depth-1), parseable(r, depth-1))
		}
	}
	name := names[r.IntN(len(names))]
	values := []any{"", "EU", "self", "a\"b\\c\n\u202e\U0001F600", true, false, 0, -7, int64(1) << 62,
		json.Number("0.10"), json.Number("123456789012345678901234567890"), "not", "]"}
	refs := []any{Self, ClientID, OwnerID, Attr("department"), Attr("x")}
	switch r.IntN(7) {
	case 0:
		return Where(name, IsNull, r.IntN(2) == 0)
	case 1:
		var list []any
		for range r.IntN(4) {
			list = append(list, values[r.IntN(len(values))])
		}
		return Where(name, In, list)
	case 2:
		return Where(name, In, []any{SelfRoles, Attr("regions")}[r.IntN(2)])
	case 3:
		return Where(name, []Op{Contains, StartsWith}[r.IntN(2)], []string{"a", "not", " "}[r.IntN(3)])
	case 4:
		return Where(name, []Op{Eq, Ne, Lt, Le, Gt, Ge, Contains, StartsWith}[r.IntN(8)], refs[r.IntN(len(refs))])
	}
	return Where(name, []Op{Eq, Ne, Lt, Le, Gt, Ge}[r.IntN(6)], values[r.IntN(len(values))])
}

// The text form is unambiguous: what String writes is read as the same condition.
func TestConditionTextRoundTrip(t *testing.T) {
	texts := map[string]Condition{}
	for _, seed := range seeds(t) {
		r := rand.New(rand.NewPCG(seed, 0))
		for range 10_000 {
			c := parseable(r, r.IntN(4))
			require.NoError(t, c.Validate())
			text := c.String()
			back, err := ParseCondition(text)
			require.NoError(t, err, text)
			require.True(t, c.Equal(back), "%s\n%s", text, back)
			if other, ok := texts[text]; ok {
				require.True(t, c.Equal(other), text)
			}
			texts[text] = c
		}
	}
	var never Condition // a reference that had no value
	require.NoError(t, never.UnmarshalJSON([]byte(`{"any":[{"field":"a","op":"=","value":1},{"not":false}]}`)))
	back, err := ParseCondition(never.String())
	require.NoError(t, err)
	require.True(t, never.Equal(back), "%s: %s", never, back)
}

// A field is written as a word if it is one, and in quotes otherwise.
func TestNamesOfFields(t *testing.T) {
	for name, plain := range map[string]bool{"a": true, "_a": true, "Z9.-_": true, "a0": true, "0": false, "0a": false,
		"9a": false, "-a": false, ".a": false, "a b": false, "ü": false, "or": false, "Every": false, "order": true} {
		text := Where(name, Eq, 1).String()
		require.Equal(t, map[bool]string{true: name + " = 1", false: `"` + name + `" = 1`}[plain], text)
		back, err := ParseCondition(text)
		require.NoError(t, err, text)
		require.Equal(t, Where(name, Eq, 1), back, text)
	}
}

func TestParseValues(t *testing.T) {
	values := Values{"region": "EU", "tier": int64(3), "note": nil, "by": Self, "of": Attr("team"), "ok": true, "a b": "",
		"not": json.Number("0.50")}
	text := forcedText(values)
	require.Equal(t, `"a b" = "", by = self, "not" = 0.50, note = null, of = attr("team"), ok = true, region = "EU", `+
		`tier = 3`, text)
	got, err := ParseValues(text)
	require.NoError(t, err)
	require.Equal(t, values, got)
	got, err = ParseValues(" ")
	require.NoError(t, err)
	require.Nil(t, got)
	for text, want := range map[string]string{
		`a`:              `character 2: expected "="`,
		`a = `:           `character 5: expected a value`,
		`a = 1,`:         `character 7: expected a field`,
		`a = 1 b = 2`:    `character 7: expected "," or the end`,
		`a = 1, a = 2`:   `this field has a value already`,
		`a = [1]`:        `character 5: a list cannot be forced`,
		`a = self_roles`: `the reference self_roles is a list, and cannot be forced`,
		`a != 1`:         `character 3: expected "="`,
	} {
		got, err := ParseValues(text)
		require.Nil(t, got, text)
		var at *ConditionError
		require.ErrorAs(t, err, &at, text)
		require.Contains(t, at.Reason, want, text)
	}
}

// No text makes a panic, and an error leaves the zero Condition. What was read is written and read as the same.
func FuzzConditionText(f *testing.F) {
	for _, seed := range []string{`every row`, `no row`, `a = 1 and (b in ["x", 2] or not c is not null)`,
		`"not" = self and d in self_roles or x`, `a starts-with attr("b")`, `a = 'b'`, `((((a=-0.5))))`, `a in [`,
		`not no row`, "a = \"\\u202e\"", `region = "EU", tier = 3, note = null`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if values, err := ParseValues(text); err == nil {
			back, err := ParseValues(forcedText(values))
			require.NoError(t, err, "%q", forcedText(values))
			require.Equal(t, len(values), len(back))
			require.Equal(t, forcedKey(values), forcedKey(back))
		}
		c, err := ParseCondition(text)
		if err != nil {
			require.ErrorIs(t, err, ErrBadCondition)
			require.True(t, c.IsNoRows())
			return
		}
		require.NoError(t, c.Validate())
		back, err := ParseCondition(c.String())
		require.NoError(t, err, "%q", c.String())
		require.True(t, c.Equal(back), "%q", c.String())
	})
}

// Where a text in double quotes does not end, that is what is said, wherever it stands.
func TestTextsThatDoNotEnd(t *testing.T) {
	condition := func(text string) error { _, err := ParseCondition(text); return err }
	values := func(text string) error { _, err := ParseValues(text); return err }
	for _, c := range []struct {
		parse func(string) error
		text  string // with a space before each token
	}{
		{condition, `a = 1 and ( b in [ 1 , "x" ] or not c = attr ( "d" ) ) and e is not null`},
		{condition, `a in attr ( "b" ) or c = self or d starts-with "x" or f in self_roles`},
		{values, `a = 1 , b = null , c = attr ( "d" ) , e = "x"`},
	} {
		require.NoError(t, c.parse(c.text), c.text)
		for at := range c.text {
			if at > 0 && c.text[at-1] != ' ' {
				continue
			}
			want := fmt.Sprintf("character %d: this text in double quotes does not end", at+1)
			require.ErrorContains(t, c.parse(c.text[:at]+`"zz`), want, "%s", c.text[:at])
		}
		want := fmt.Sprintf("character %d: this text in double quotes does not end", len(c.text)+2)
		require.ErrorContains(t, c.parse(c.text+` "zz`), want)
	}
}
