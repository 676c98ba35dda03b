package console

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// spark is a small bar chart. Text says the same.
type spark struct{ Counts []int64 }

// Sum is the number beside the bars.
func (s *spark) Sum() int64 {
	var n int64
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// spark returns a small chart in words.
func (w *Words) spark(s *spark) string {
	n := len(s.Counts)
	if s.Sum() == 0 {
		return w.say("usage.not-used", "days", n)
	}
	return w.say("usage.spark", "n", s.Sum(), "days", n, "today", s.Counts[n-1])
}

// Path returns the bars as an SVG path: 4 wide and at most 16 high.
func (s *spark) Path() string {
	top := slices.Max(s.Counts)
	var b strings.Builder
	for i, c := range s.Counts {
		if c > 0 {
			h := max(1, int(16*float64(c)/float64(top)))
			fmt.Fprintf(&b, "M%d 16v-%dh3v%dz", i*4, h, h)
		}
	}
	return b.String()
}

// bar is a day of a chart, or a row of a table.
type bar struct {
	Label, Full, Text string
	Count             int64
	Credits           latchkey.Credits
	X, Y, Width, End  int
	Height            int
	Tick              bool
}

// chart is a bar chart by day, in a box of 720 by 180.
type chart struct {
	Bars    []bar
	Top     string
	Half    string
	Summary string
}

const chartHeight = 150

// roundUp returns the top of a chart's axis: 1, 2, 4, 5, 6 or 8 times a power of ten. So the middle is a round
// number, too.
func roundUp(top int64) int64 {
	for unit := int64(1); unit <= math.MaxInt64/10; unit *= 10 {
		for _, n := range []int64{1, 2, 4, 5, 6, 8} {
			if n*unit >= top {
				return n * unit
			}
		}
	}
	return math.MaxInt64
}

func (v *view) newChart(days []bar) *chart {
	var top, sum int64
	at := 0
	for i, d := range days {
		sum += d.Count
		if d.Count > top {
			top, at = d.Count, i
		}
	}
	c := &chart{Bars: days}
	high := roundUp(top)
	if c.Top = v.words.number(high); high%2 == 0 {
		c.Half = v.words.number(high / 2)
	}
	width := float64(656) / float64(max(1, len(days)))
	for i := range days {
		b := &days[i]
		b.X, b.End = 64+int(float64(i)*width), 64+int(float64(i+1)*width)
		b.Width = max(1, b.End-b.X-max(1, (b.End-b.X)/5))
		if b.Count > 0 {
			b.Height = max(1, int(chartHeight*float64(b.Count)/float64(high)))
		}
		b.Y = chartHeight - b.Height + 8
		b.Tick = i%7 == (len(days)-1)%7
	}
	if c.Summary = v.say("usage.summary-none", "days", len(days)); top > 0 {
		c.Summary = v.say("usage.summary", "n", sum, "days", len(days), "day", days[at].Full, "most", top,
			"today", days[len(days)-1].Count)
	}
	return c
}

const maxShares = 12 // rows of one table

var spans = []int{7, 30, 90} // days

func (v *view) usage(string) error { return v.showUsage("", nil) }

func (v *view) tokenUsage(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.showUsage(id, &t)
}

func (v *view) showUsage(id string, t *latchkey.Token) error {
	ctx := v.r.Context()
	days := 30
	for _, s := range spans {
		if text(v.query, "days") == strconv.Itoa(s) {
			days = s
		}
	}
	first := v.now.AddDate(0, 0, 1-days)
	q := latchkey.UsageQuery{From: first.Format(time.DateOnly), To: v.now.Format(time.DateOnly)}
	if id != "" {
		q.TokenIDs = []string{id}
	}
	by := func(columns ...string) ([]latchkey.UsageRow, error) {
		q.By = columns
		return v.account.Usage(ctx, q)
	}
	daily, err := by("day")
	if err != nil {
		return err
	}
	all := make([]bar, days)
	var sum bar
	for _, u := range daily { // those of months that are added up too
		sum.Count, sum.Credits = sum.Count+u.Count, sum.Credits+u.Credits
	}
	for i := range all {
		d := first.AddDate(0, 0, i)
		all[i].Full, all[i].Label = v.words.dated("format.daymonth", d), v.words.dated("format.dayshort", d)
		for _, u := range daily {
			if u.Day == d.Format(time.DateOnly) {
				all[i].Count, all[i].Credits = u.Count, u.Credits
			}
		}
	}
	data := map[string]any{"Chart": v.newChart(all), "Days": days, "Spans": spans, "Sum": sum, "Token": nil, "Limit": nil}
	page := ui{Title: v.heading("usage.title"), Nav: "usage"}
	if t != nil {
		page.Title, page.Nav = v.heading("usage.title-of", "name", label(t)), "tokens"
		data["Token"] = row{Token: *t, State: v.words.stateOf(t, v.now)}
	}
	type table struct {
		Title, Head string
		Rows        []bar
		More        int
	}
	var tables []table
	for _, x := range []struct {
		title, head, column string
		name                func(latchkey.UsageRow) string
	}{
		{"usage.by-token", "usage.token", "token", func(u latchkey.UsageRow) string { return u.TokenID }},
		{"usage.by-client", "usage.client", "client", func(u latchkey.UsageRow) string { return u.ClientID }},
		{"usage.by-endpoint", "usage.endpoint", "endpoint", func(u latchkey.UsageRow) string { return u.Endpoint }},
		{"usage.by-meter", "usage.meter", "meter", func(u latchkey.UsageRow) string { return u.Meter }},
	} {
		if t != nil && x.column == "token" {
			continue
		}
		rows, err := by(x.column)
		if err != nil {
			return err
		}
		slices.SortStableFunc(rows, func(a, b latchkey.UsageRow) int { return int(min(1, max(-1, b.Count-a.Count))) })
		out := table{Title: v.say(x.title), Head: v.say(x.head)}
		if len(rows) > maxShares {
			out.More, rows = len(rows)-maxShares, rows[:maxShares]
		}
		for _, u := range rows {
			b := bar{Label: x.name(u), Count: u.Count, Credits: u.Credits, Text: x.name(u)}
			if x.column == "token" && u.TokenID != "" {
				if t, err := v.account.Get(ctx, u.TokenID); err == nil {
					b.Text, b.Full = label(&t), u.TokenID
				}
			}
			if x.column == "client" && u.ClientID != "" {
				if c, err := v.account.Client(ctx, u.ClientID); err == nil && c.Name != "" {
					b.Text = c.Name + " (" + c.ID + ")"
				}
			}
			if sum.Count > 0 {
				b.Width = int(100 * float64(u.Count) / float64(sum.Count))
			}
			out.Rows = append(out.Rows, b)
		}
		tables = append(tables, out)
	}
	data["Tables"] = tables
	limit := latchkey.Quota{}
	if t != nil {
		limit, _ = t.Limits.Quota(v.opts.CreditMeter, latchkey.Month)
	}
	if limit.Amount > 0 && limit.Anchor <= 1 {
		spent, err := v.account.UsageTotal(ctx, id, v.opts.CreditMeter, v.now.Format("2006-01"))
		if err != nil {
			return err
		}
		data["Limit"] = map[string]any{"Spent": spent, "Of": limit.Amount, "Meter": v.opts.CreditMeter,
			"Month": v.words.dated("format.monthyear", v.now), "Width": min(100, int(100*float64(spent)/float64(limit.Amount)))}
	}
	return v.show(http.StatusOK, "usage", page, data)
}
