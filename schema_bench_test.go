package latchkey

import (
	"encoding/json"
	"testing"
)

var benchSchema = NewSchema(Fields{"status": {"status", Text}, "amount": {"amount", Number}, "due": {"due", Date}})
var benchCondition = All(Where("status", Eq, "open"), Where("amount", Ge, 4000), Not(Where("due", Lt, "2026-11-22")))

func benchPredicate(b *testing.B) *Predicate {
	p, err := benchSchema.Bind(benchCondition)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkConditionMatch(b *testing.B) {
	p := benchPredicate(b)
	for name, row := range map[string]Row{
		"int":     {"status": "open", "amount": int64(5000), "due": "2026-12-24"},
		"bytes":   {"status": []byte("open"), "amount": []byte("5000.00"), "due": []byte("2026-12-24")},
		"decimal": {"status": "open", "amount": json.Number("5000.00"), "due": "2026-12-24"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Match(row) {
					b.Fatal("not admitted")
				}
			}
		})
	}
}

func BenchmarkConditionBind(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		benchPredicate(b)
	}
}

func BenchmarkConditionSQL(b *testing.B) {
	p := benchPredicate(b)
	for name, d := range map[string]Dialect{"sqlite": SQLite, "postgres": Postgres, "mysql": MySQL} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.SQL(d, 2)
			}
		})
	}
}

func BenchmarkConditionJSON(b *testing.B) {
	data, _ := benchCondition.MarshalJSON()
	b.ReportAllocs()
	for b.Loop() {
		var c Condition
		if err := c.UnmarshalJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}
