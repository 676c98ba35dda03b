package cloudtables

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// staff is a host's data set: each data point by id and by display name.
var staff = latchkey.NewSchema(latchkey.Fields{
	"dp-1": {Column: "office", Type: latchkey.Text}, "Office": {Column: "office", Type: latchkey.Text},
	"dp-2": {Column: "age", Type: latchkey.Integer}, "Age": {Column: "age", Type: latchkey.Integer},
	"dp-3": {Column: "name", Type: latchkey.Text},
})

func TestConditionsFilterRows(t *testing.T) {
	table := []latchkey.Row{
		{"dp-1": "Bath", "dp-2": 29}, {"dp-1": "Bath", "dp-2": 30}, {"dp-1": "York", "dp-2": 41},
		{"dp-1": "bath", "dp-2": 50}, {"dp-2": 60}, {"dp-1": "Bath"},
	}
	for _, tt := range []struct {
		name, conditions string
		want             []int // rows of the table
	}{
		{"none", `[]`, []int{0, 1, 2, 3, 4, 5}},
		{"by id", `{"id":"dp-1","value":"Bath"}`, []int{0, 1, 5}},
		{"by name", `{"name":"Office","value":"Bath"}`, []int{0, 1, 5}},
		{"two", `[{"id":"dp-1","value":"Bath"},{"name":"Age","op":">=","value":30,"set":false}]`, []int{1}},
		{"a map", `{"Office":"Bath","dp-2":30}`, []int{1}},
		{"!= lets no unknown value in", `{"id":"dp-1","op":"!=","value":"Bath","set":false}`, []int{2, 3}},
		{"contradictory", `[{"id":"dp-2","op":"<","value":1,"set":false},{"id":"dp-2","op":">","value":1,"set":false}]`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t, nil)
			a := w.verified(w.mint(`key=K&conditions=` + url.QueryEscape(tt.conditions)))
			rows, err := a.Filter(latchkey.Read, "dataset/it")
			require.NoError(t, err)
			p, err := staff.Bind(rows)
			require.NoError(t, err)
			var got []int
			for i, row := range table {
				if p.Match(row) {
					got = append(got, i)
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// TestFaultsThatShowWhenDataIsRead: the access call does not know the data set, so it makes the token.
func TestFaultsThatShowWhenDataIsRead(t *testing.T) {
	for conditions, want := range map[string]string{
		`{"id":"dp-9","value":1}`:        reply("unknownColumn", `{"id":"dp-9"}`),
		`{"name":"office","value":1}`:    reply("unknownColumn", `{"id":"office"}`), // names compare exactly
		`{"id":"c-1","value":1}`:         reply("unknownColumn", `{"id":"c-1"}`),
		`{"id":"dp-2","value":"thirty"}`: "invalidCondition",
	} {
		w := newFixture(t, nil)
		a := w.verified(w.mint(`key=K&conditions=` + url.QueryEscape(conditions)))
		rows, err := a.Filter(latchkey.Read, "dataset/it")
		require.NoError(t, err)
		_, err = staff.Bind(rows)
		require.Error(t, err)
		out := httptest.NewRecorder()
		WriteError(out, nil, err)
		require.Equal(t, 400, out.Code)
		require.Contains(t, out.Body.String(), want)
		require.NotContains(t, out.Body.String(), "thirty")
	}
}

func TestConditionsOnNewRows(t *testing.T) {
	for _, tt := range []struct {
		name, conditions string
		row, want        latchkey.Row // want nil: denied
	}{
		{"set", `{"id":"dp-1","value":"Bath"}`, latchkey.Row{"dp-3": "Ann"}, latchkey.Row{"dp-3": "Ann", "dp-1": "Bath"}},
		{"set over what was typed", `{"id":"dp-1","value":"Bath"}`, latchkey.Row{"dp-1": "York"},
			latchkey.Row{"dp-1": "Bath"}},
		{"setValue", `{"id":"dp-2","op":">=","value":30,"setValue":33}`, latchkey.Row{"dp-2": "5"},
			latchkey.Row{"dp-2": int64(33)}},
		{"set=false, within", `{"id":"dp-1","value":"Bath","set":false}`, latchkey.Row{"dp-1": "Bath"},
			latchkey.Row{"dp-1": "Bath"}},
		{"set=false, outside", `{"id":"dp-1","value":"Bath","set":false}`, latchkey.Row{"dp-1": "York"}, nil},
		{"set=false, left out", `{"id":"dp-1","value":"Bath","set":false}`, latchkey.Row{"dp-3": "Ann"}, nil},
		{"set to what it does not admit", `{"id":"dp-2","op":">=","value":30,"setValue":3}`, latchkey.Row{"dp-2": "50"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t, nil)
			a := w.verified(w.mint(`key=K&role=it&conditions=` + url.QueryEscape(tt.conditions)))
			got, err := a.Prepare(latchkey.Create, "dataset/it", staff, nil, tt.row)
			if tt.want == nil {
				require.ErrorIs(t, err, latchkey.ErrDenied)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// A rule of the host's that does not fit its schema is an internal error, and is not described to the caller.
func TestRuleOfTheHostsIsTrouble(t *testing.T) {
	err := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), err)
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "regoin")
}

func FuzzConditions(f *testing.F) {
	for _, tt := range recorded {
		f.Add(tt.body)
	}
	for _, tt := range refused {
		if len(tt.body) < 1000 {
			f.Add(tt.body)
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := readRequest(wire{body: body}.request(), false)
		if err != nil {
			w := httptest.NewRecorder()
			WriteError(w, nil, err)
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("bad input is answered with %d", w.Code)
			}
			return
		}
		for _, c := range filters(r.conditions) {
			if err := c.Validate(); err != nil {
				t.Fatalf("a condition that was accepted is malformed: %v", err)
			}
		}
		if r.secret == "" || r.roles != nil && len(r.roles) == 0 {
			t.Fatalf("an empty limit was accepted: %+v", r)
		}
	})
}

// TestValuesStayTexts: no input becomes a reference, which a schema would replace by rights of the caller.
func TestValuesStayTexts(t *testing.T) {
	got, err := readRequest(wire{body: `key=K&conditions[owner]={"ref":"self"}`}.request(), false)
	require.NoError(t, err)
	require.Equal(t, `K [owner = "{\"ref\":\"self\"}" set "{\"ref\":\"self\"}"]`, show(got))
	text, err := filters(got.conditions)[0].MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"{\"ref\":\"self\"}"`)
}
