package console

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey"
)

const (
	maxShares   = 12  // rows of one table
	maxDays     = 366 // of a range
	maxDayBars  = 92  // a longer range is shown by week
	defaultDays = 30
)

var spans = []int{7, 30, 90} // days

// usageRange is what a page about usage selects. It is the query of its URL.
type usageRange struct {
	First, Last time.Time // days, both included
	Days        int
	Preset      bool // the range is one of spans, and ends today
	Client      string
	Token       string // from the path
	Wrong       template.HTML
}

func (r *usageRange) From() string { return r.First.Format(time.DateOnly) }
func (r *usageRange) To() string   { return r.Last.Format(time.DateOnly) }

// readRange reads the range of the query. Days that are none, or too many, are told, and the default is shown.
func (v *view) readRange(token string) usageRange {
	today := v.now.Truncate(24 * time.Hour)
	r := usageRange{Days: defaultDays, Last: today, Preset: true, Token: token}
	for _, s := range spans {
		if text(v.query, "days") == strconv.Itoa(s) {
			r.Days = s
		}
	}
	r.First = today.AddDate(0, 0, 1-r.Days)
	if c := text(v.query, "client"); len(c) <= maxListed && token == "" {
		r.Client = c
	}
	from, to := text(v.query, "from"), text(v.query, "to")
	if from+to == "" {
		return r
	}
	first, err := time.Parse(time.DateOnly, from)
	last, err2 := today, error(nil)
	if to != "" {
		last, err2 = time.Parse(time.DateOnly, to)
	}
	if last.After(today) {
		last = today
	}
	if errors.Join(err, err2) != nil || last.Before(first) || last.Sub(first) >= maxDays*24*time.Hour {
		r.Wrong = v.rich("usage.wrong-range", "n", maxDays, "days", r.Days)
		return r
	}
	r.First, r.Last, r.Preset = first, last, false
	r.Days = int(last.Sub(first)/(24*time.Hour)) + 1
	return r
}

func (r *usageRange) query() latchkey.UsageQuery {
	q := latchkey.UsageQuery{From: r.From(), To: r.To(), ClientID: r.Client}
	if r.Token != "" {
		q.TokenIDs = []string{r.Token}
	}
	return q
}

// Back returns the query of the range without the client.
func (r *usageRange) Back() string { return r.link("") }

// link returns the query of the range, with another client.
func (r *usageRange) link(client string) string {
	u := url.Values{}
	if r.Preset {
		if r.Days != defaultDays {
			u.Set("days", strconv.Itoa(r.Days))
		}
	} else {
		u.Set("from", r.From())
		u.Set("to", r.To())
	}
	if client != "" {
		u.Set("client", client)
	}
	if len(u) == 0 {
		return ""
	}
	return "?" + u.Encode()
}

// share is a row of a table of usage.
type share struct {
	Text, Link string // Link: relative to the console's first page; "" for none
	Count      int64
	Credits    latchkey.Credits
	Width      int // percent of all
}

// shares is a table of usage by one column.
type shares struct {
	Title, Head string
	Rows        []share
	More        int
}

func (v *view) usage(string) error { return v.showUsage(v.readRange(""), nil) }

func (v *view) tokenUsage(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.showUsage(v.readRange(id), &t)
}

// showUsage shows what was used in a range: by day, and by each column; what was refused; and the credits that are
// left.
func (v *view) showUsage(r usageRange, t *latchkey.Token) error {
	ctx, q := v.r.Context(), r.query()
	q.By = []string{"day"}
	daily, err := v.account.Usage(ctx, q)
	if err != nil {
		return err
	}
	var sum share
	for _, u := range daily { // those of months that are added up too
		sum.Count, sum.Credits = sum.Count+u.Count, sum.Credits+u.Credits
	}
	opened := v.opened()
	data := map[string]any{"Chart": v.newChart(v.barsOf(&r, daily), r.Days, r.Last.Equal(v.now.Truncate(24*time.Hour))),
		"R": &r, "Spans": spans, "Sum": sum, "Token": nil, "Client": "", "Today": v.now.Format(time.DateOnly),
		"CSV": r.csv(v.root + "usage.csv"), "RefusedCSV": r.csv(v.root + "refusals.csv"), "Place": v.place("&"),
		"Back": v.place("?"),
		"List": opened.short(), "Weeks": r.Days > maxDayBars}
	page := ui{Title: v.heading("usage.title"), Nav: "usage"}
	switch {
	case t != nil:
		page.Title, page.Nav = v.heading("usage.title-of", "name", label(t)), "tokens"
		data["Token"] = row{Token: *t, State: v.words.stateOf(t, v.now)}
	case r.Client != "":
		data["Client"] = r.Client
		page.Title = v.heading("usage.title-of", "name", v.clientName(r.Client))
	}
	if r.Wrong != "" {
		page.Errors = []template.HTML{r.Wrong}
	}
	tables, meters, err := v.shares(&r, sum.Count)
	if err != nil {
		return err
	}
	data["Tables"] = tables
	if data["Refused"], err = v.refusals(&r); err != nil {
		return err
	}
	if r.Client == "" {
		if data["Balances"], err = v.balances(t, meters); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "usage", page, data)
}

// csv returns the address of an export of the range.
func (r *usageRange) csv(file string) string {
	u := url.Values{"from": {r.From()}, "to": {r.To()}}
	if r.Client != "" {
		u.Set("client", r.Client)
	}
	if r.Token != "" {
		u.Set("token", r.Token)
	}
	return file + "?" + u.Encode()
}

// barsOf returns a bar for each day of the range, or for each week if there are many.
func (v *view) barsOf(r *usageRange, daily []latchkey.UsageRow) []bar {
	step := 1
	if r.Days > maxDayBars {
		step = 7
	}
	bars := make([]bar, (r.Days+step-1)/step)
	for i := range bars {
		d := r.First.AddDate(0, 0, i*step)
		bars[i].Label, bars[i].Full = v.words.dated("format.dayshort", d), v.words.dated("format.daymonth", d)
		if step > 1 {
			bars[i].Full = v.say("usage.week-from", "day", own(bars[i].Full))
		}
	}
	for _, u := range daily {
		d, err := time.Parse(time.DateOnly, u.Day)
		if err != nil {
			continue // a month that was added up
		}
		if i := int(d.Sub(r.First)/(24*time.Hour)) / step; i >= 0 && i < len(bars) && !d.Before(r.First) {
			bars[i].Count, bars[i].Credits = bars[i].Count+u.Count, bars[i].Credits+u.Credits
		}
	}
	return bars
}

// shares returns the tables of the range, and the meters that were used most.
func (v *view) shares(r *usageRange, sum int64) (tables []shares, meters []string, err error) {
	for _, x := range []struct{ title, head, column string }{
		{"usage.by-token", "usage.token", "token"},
		{"usage.by-client", "usage.client", "client"},
		{"usage.by-endpoint", "usage.endpoint", "endpoint"},
		{"usage.by-meter", "usage.meter", "meter"},
	} {
		if x.column == "token" && r.Token != "" || x.column == "client" && r.Client != "" {
			continue
		}
		q := r.query()
		q.By = []string{x.column}
		rows, err := v.account.Usage(v.r.Context(), q)
		if err != nil {
			return nil, nil, err
		}
		slices.SortStableFunc(rows, func(a, b latchkey.UsageRow) int { return int(min(1, max(-1, b.Count-a.Count))) })
		table := shares{Title: v.say(x.title), Head: v.say(x.head)}
		if len(rows) > maxShares {
			table.More, rows = len(rows)-maxShares, rows[:maxShares]
		}
		var ids []string
		for _, u := range rows {
			if u.TokenID != "" {
				ids = append(ids, u.TokenID)
			}
		}
		named, err := v.tokensByID(ids)
		if err != nil {
			return nil, nil, err
		}
		for _, u := range rows {
			s := share{Text: u.TokenID + u.ClientID + u.Endpoint + u.Meter, Count: u.Count, Credits: u.Credits}
			if t, ok := named[u.TokenID]; ok {
				s.Text, s.Link = label(&t), "token/"+u.TokenID+"/usage"+r.link("")
			}
			if x.column == "client" && u.ClientID != "" {
				s.Text = v.clientName(u.ClientID)
				if r.Token == "" {
					s.Link = "usage" + r.link(u.ClientID)
				}
			}
			if x.column == "meter" {
				meters = append(meters, u.Meter)
			}
			if sum > 0 {
				s.Width = int(100 * float64(u.Count) / float64(sum))
			}
			table.Rows = append(table.Rows, s)
		}
		tables = append(tables, table)
	}
	return tables, meters, nil
}

// clientName returns the name of a client with its id, or its id alone if it has no name or the person may not see it.
func (v *view) clientName(id string) string {
	if c, err := v.account.Client(v.r.Context(), id); err == nil {
		return clientText(c)
	}
	return id
}
