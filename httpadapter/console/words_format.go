package console

import (
	"html/template"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// formatWords are how numbers and moments are written. The months are separated by spaces, January first. Of the short
// forms, {day} is a number without leading zeros.
var formatWords = phrases{
	"format.decimal":   {".", ","},
	"format.thousands": {",", "."},
	"format.months": {
		"January February March April May June July August September October November December",
		"Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
	},
	"format.short": {
		"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
		"Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
	},
	"format.weekdays": {
		"Sunday Monday Tuesday Wednesday Thursday Friday Saturday",
		"Sonntag Montag Dienstag Mittwoch Donnerstag Freitag Samstag",
	},
	"format.date":      {"{day} {short} {year}", "{day}. {short} {year}"},
	"format.daymonth":  {"{day} {month}", "{day}. {month}"},
	"format.dayshort":  {"{day} {short}", "{day}. {short}"},
	"format.monthyear": {"{month} {year}", "{month} {year}"},
	"format.stamp":     {"{date}, {time} UTC", "{date}, {time} UTC"},
	"format.never":     {"never", "nie"},
	"format.now":       {"just now", "gerade eben"},
	"format.minutes-ago": {
		"{n, plural, one {# minute ago} other {# minutes ago}}",
		"vor {n, plural, one {# Minute} other {# Minuten}}",
	},
	"format.hours-ago": {
		"{n, plural, one {# hour ago} other {# hours ago}}",
		"vor {n, plural, one {# Stunde} other {# Stunden}}",
	},
	"format.days-ago": {
		"{n, plural, one {# day ago} other {# days ago}}",
		"vor {n, plural, one {# Tag} other {# Tagen}}",
	},
	"format.days": {
		"{n, plural, one {# day} other {# days}}",
		"{n, plural, one {# Tag} other {# Tage}}",
	},
	"format.hours": {
		"{n, plural, one {# hour} other {# hours}}",
		"{n, plural, one {# Stunde} other {# Stunden}}",
	},
	"format.minutes": {
		"{n, plural, one {# minute} other {# minutes}}",
		"{n, plural, one {# Minute} other {# Minuten}}",
	},
	"format.seconds": {
		"{n, plural, one {# second} other {# seconds}}",
		"{n, plural, one {# Sekunde} other {# Sekunden}}",
	},
}

// number formats 1204 as "1,204".
func (w *Words) number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sep := w.source["format.thousands"]
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + sep + s[i:]
	}
	return s
}

// credits formats 21537500000 as "21,537.5".
func (w *Words) credits(c latchkey.Credits) string {
	_, part, ok := strings.Cut(creditText(c), ".")
	if ok {
		part = w.source["format.decimal"] + part
	}
	return w.number(int64(c/1_000_000)) + part
}

// dated writes a moment by a text of the catalogue, in UTC.
func (w *Words) dated(key string, t time.Time) string {
	t = t.UTC()
	name := func(list string, i int) string {
		if all := strings.Fields(w.source[list]); i < len(all) {
			return all[i]
		}
		return strconv.Itoa(i + 1)
	}
	month := int(t.Month()) - 1
	return w.say(key, "day", strconv.Itoa(t.Day()), "month", name("format.months", month),
		"short", name("format.short", month), "year", strconv.Itoa(t.Year()), "time", t.Format("15:04"))
}

// date formats the day of a moment, in UTC; the zero time is "never".
func (w *Words) date(t time.Time) string {
	if t.IsZero() {
		return w.say("format.never")
	}
	return w.dated("format.date", t)
}

// stamp formats a moment to the minute, in UTC, and says so.
func (w *Words) stamp(t time.Time) string {
	return w.say("format.stamp", "date", w.dated("format.date", t), "time", t.UTC().Format("15:04"))
}

// moment returns an element with a moment in UTC. The script adds it in the reader's zone.
func (w *Words) moment(t time.Time) template.HTML {
	return w.timeElement(t, "stamp", w.stamp(t))
}

// day returns an element with the day of a moment, in UTC. The script adds the moment in the reader's zone.
func (w *Words) day(t time.Time) template.HTML {
	if t.IsZero() {
		return template.HTML(template.HTMLEscapeString(w.date(t)))
	}
	return w.timeElement(t, "day", w.date(t))
}

func (w *Words) timeElement(t time.Time, kind, text string) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format("2006-01-02T15:04:05Z") + `" data-zone="` + kind + `">` +
		template.HTMLEscapeString(text) + `</time>`)
}

// ago formats how long before now a moment was; after two months, its day.
func (w *Words) ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return w.say("format.never")
	case d < 2*time.Minute:
		return w.say("format.now")
	case d < 2*time.Hour:
		return w.say("format.minutes-ago", "n", int(d.Minutes()))
	case d < 48*time.Hour:
		return w.say("format.hours-ago", "n", int(d.Hours()))
	case d < 60*24*time.Hour:
		return w.say("format.days-ago", "n", int(d.Hours()/24))
	}
	return w.date(t)
}

// duration formats a length of time in the largest unit that divides it, and as Go does if there is a rest.
func (w *Words) duration(d time.Duration) string {
	switch {
	case d != 0 && d%(24*time.Hour) == 0:
		return w.say("format.days", "n", int64(d/(24*time.Hour)))
	case d != 0 && d%time.Hour == 0:
		return w.say("format.hours", "n", int64(d/time.Hour))
	case d != 0 && d%time.Minute == 0:
		return w.say("format.minutes", "n", int64(d/time.Minute))
	case d%time.Second == 0:
		return w.say("format.seconds", "n", int64(d/time.Second))
	}
	return d.String()
}

// funcs are the functions of the templates that depend on the language.
func (w *Words) funcs() template.FuncMap {
	return template.FuncMap{
		"say": w.say, "rich": w.rich, "ago": w.ago, "date": w.date, "day": w.day, "stamp": w.stamp, "moment": w.moment,
		"number": func(n any) string { return w.number(countOf(n)) }, "credits": w.credits,
		"badge": w.badge, "spark": w.spark,
	}
}

var languageTag = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}$`)

func isLanguage(tag string) bool { return languageTag.MatchString(tag) }

// direction returns the direction of a language's script: "rtl" or "ltr".
func direction(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	switch primary {
	case "ar", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi":
		return "rtl"
	}
	return "ltr"
}

// oneAndFew returns a rule with the categories one, few and another.
func oneAndFew(one, few func(int64) bool, otherwise string) func(int64) string {
	return func(n int64) string {
		switch {
		case one(n):
			return "one"
		case few(n):
			return "few"
		}
		return otherwise
	}
}

func isOne(n int64) bool     { return n == 1 }
func endsInOne(n int64) bool { return n%10 == 1 && n%100 != 11 }

// pluralRule returns the category of a whole number in a language, by the cardinal rules of Unicode CLDR 46. Languages
// that are not listed have one and other.
func pluralRule(tag string) func(int64) string {
	primary, region, _ := strings.Cut(strings.ToLower(tag), "-")
	switch primary {
	case "ja", "zh", "ko", "vi", "th", "id", "ms", "my", "lo", "km":
		return func(int64) string { return "other" }
	case "fr", "hy", "kab":
		return zeroAndOne
	case "pt":
		if region != "pt" {
			return zeroAndOne
		}
	case "hi", "fa", "bn", "gu", "kn", "zu", "am":
		return zeroAndOne
	case "pl":
		return oneAndFew(isOne, few, "many")
	case "ru", "uk", "be":
		return oneAndFew(endsInOne, few, "many")
	case "sr", "hr", "bs":
		return oneAndFew(endsInOne, few, "other")
	case "cs", "sk":
		return oneAndFew(isOne, func(n int64) bool { return n >= 2 && n <= 4 }, "other")
	case "sl":
		return func(n int64) string {
			switch n % 100 {
			case 1:
				return "one"
			case 2:
				return "two"
			case 3, 4:
				return "few"
			}
			return "other"
		}
	case "lt":
		return func(n int64) string {
			switch teen := n%100 >= 11 && n%100 <= 19; {
			case n%10 == 1 && !teen:
				return "one"
			case n%10 >= 2 && !teen:
				return "few"
			}
			return "other"
		}
	case "lv":
		return func(n int64) string {
			switch teen := n%100 >= 11 && n%100 <= 19; {
			case n%10 == 0 || teen:
				return "zero"
			case n%10 == 1:
				return "one"
			}
			return "other"
		}
	case "ro":
		return func(n int64) string {
			switch {
			case n == 1:
				return "one"
			case n == 0 || n%100 >= 1 && n%100 <= 19:
				return "few"
			}
			return "other"
		}
	case "he":
		return func(n int64) string {
			switch n {
			case 1:
				return "one"
			case 2:
				return "two"
			}
			return "other"
		}
	case "ar":
		return func(n int64) string {
			switch {
			case n == 0:
				return "zero"
			case n == 1:
				return "one"
			case n == 2:
				return "two"
			case n%100 >= 3 && n%100 <= 10:
				return "few"
			case n%100 >= 11:
				return "many"
			}
			return "other"
		}
	}
	return func(n int64) string {
		if n == 1 {
			return "one"
		}
		return "other"
	}
}

func zeroAndOne(n int64) string {
	if n == 0 || n == 1 {
		return "one"
	}
	return "other"
}

// few reports whether the last digit of a number is 2 to 4, and it does not end like 12 to 14.
func few(n int64) bool { return n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14) }

// acceptedLanguages returns the tags of an Accept-Language header (RFC 9110, section 12.5.4), the most wanted first.
func acceptedLanguages(header string) []string {
	type wanted struct {
		tag string
		q   float64
	}
	var all []wanted
	for one := range strings.SplitSeq(header, ",") {
		if len(all) == 16 {
			break
		}
		tag, param, _ := strings.Cut(strings.TrimSpace(one), ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.ReplaceAll(param, " ", ""), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil {
				q = 0
			}
		}
		if tag = strings.TrimSpace(tag); q > 0 && isLanguage(tag) {
			all = append(all, wanted{tag, q})
		}
	}
	out := make([]string, 0, len(all))
	for len(all) > 0 { // stable: equal ones in their order
		best := 0
		for i := range all {
			if all[i].q > all[best].q {
				best = i
			}
		}
		out = append(out, all[best].tag)
		all = append(all[:best], all[best+1:]...)
	}
	return out
}
