package console

import (
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// exportedRange reads the range of an export.
func (v *view) exportedRange() (usageRange, error) {
	token := text(v.query, "token")
	if token != "" {
		if _, err := v.account.Get(v.r.Context(), token); err != nil {
			return usageRange{}, err
		}
	}
	r := v.readRange(token)
	return r, nil
}

// usageCSV exports what was used, day by day, so that its size costs no memory.
func (v *view) usageCSV(string) error {
	r, err := v.exportedRange()
	if err != nil {
		return err
	}
	if r.Wrong != "" {
		return v.showUsage(r, nil)
	}
	defer v.exporting()()
	return v.eachDay(&r, "usage", func(day usageRange, file *csvFile) error {
		q := day.query()
		q.By = []string{"day", "token", "client", "meter", "endpoint"}
		rows, err := v.account.Usage(v.r.Context(), q)
		if err != nil || file == nil {
			return err
		}
		named, err := tokensOf(v, rows, func(u latchkey.UsageRow) string { return u.TokenID })
		if err != nil {
			return err
		}
		for _, u := range rows {
			err := file.line(u.Day, u.TokenID, nameOf(named, u.TokenID), u.ClientID, u.Meter, u.Endpoint, csvNumber(u.Count),
				creditText(u.Credits))
			if err != nil {
				return err
			}
		}
		return nil
	}, "day", "token", "token_name", "client", "meter", "endpoint", "uses", "credits")
}

// refusalsCSV exports what was refused.
func (v *view) refusalsCSV(string) error {
	r, err := v.exportedRange()
	if err != nil {
		return err
	}
	if r.Wrong != "" {
		return v.showUsage(r, nil)
	}
	defer v.exporting()()
	return v.eachDay(&r, "refusals", func(day usageRange, file *csvFile) error {
		q := latchkey.RefusalQuery{From: day.From(), To: day.To(), By: []string{"day", "token", "reason"}}
		if r.Token != "" {
			q.TokenIDs = []string{r.Token}
		}
		rows, err := v.account.RefusalReport(v.r.Context(), q)
		if err != nil || file == nil {
			return err
		}
		named, err := tokensOf(v, rows, func(u latchkey.RefusalCount) string { return u.TokenID })
		if err != nil {
			return err
		}
		for _, u := range rows {
			if err := file.line(u.Day, u.TokenID, nameOf(named, u.TokenID), u.Reason, csvNumber(u.Count)); err != nil {
				return err
			}
		}
		return nil
	}, "day", "token", "token_name", "reason", "count")
}

// eachDay writes a file day by day. Before it begins, do is called once without a file, for errors such as a right that
// is missing.
func (v *view) eachDay(r *usageRange, name string, do func(day usageRange, file *csvFile) error,
	headings ...string) error {
	day := *r
	day.Last = day.First
	if err := do(day, nil); err != nil {
		return err
	}
	file := v.newCSV(name, headings...)
	for ; !day.First.After(r.Last); day.First = day.First.AddDate(0, 0, 1) {
		day.Last = day.First
		if err := do(day, file); err != nil {
			return file.end(err)
		}
	}
	return file.end(nil)
}

// tokensOf returns the tokens that rows are about, those that the person may read, by id.
func tokensOf[T any](v *view, rows []T, id func(T) string) (map[string]latchkey.Token, error) {
	var ids []string
	for _, row := range rows {
		ids = append(ids, id(row))
	}
	return v.tokensByID(uniqueIDs(ids))
}

func uniqueIDs(ids []string) []string {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	slices.Sort(ids)
	return slices.Compact(ids)
}

func nameOf(named map[string]latchkey.Token, id string) string {
	if t, ok := named[id]; ok {
		return strings.TrimSpace(label(&t))
	}
	return ""
}
