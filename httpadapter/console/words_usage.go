package console

// usageWords are the texts of the pages about usage.
var usageWords = phrases{
	"usage.title":    {"Usage", "Nutzung"},
	"usage.title-of": {"Usage of {name}", "Nutzung von {name}"},
	"usage.span": {
		"{n, plural, one {# day} other {# days}}",
		"{n, plural, one {# Tag} other {# Tage}}",
	},
	"usage.sum": {
		"<b>{n}</b> {n, plural, one {use} other {uses}} <small>in {days, plural, one {# day} other {# days}}, by day, " +
			"UTC</small>",
		"<b>{n}</b> {n, plural, one {Nutzung} other {Nutzungen}} <small>in {days, plural, one {# Tag} other {# Tagen}}, " +
			"nach Tagen, UTC</small>",
	},
	"usage.sum-credits": {
		"<b>{n}</b> {n, plural, one {use} other {uses}}, {credits} credits <small>in {days, plural, one {# day} other " +
			"{# days}}, by day, UTC</small>",
		"<b>{n}</b> {n, plural, one {Nutzung} other {Nutzungen}}, {credits} Credits <small>in {days, plural, one {# " +
			"Tag} other {# Tagen}}, nach Tagen, UTC</small>",
	},
	"usage.not-used": {
		"not used in {days, plural, one {# day} other {# days}}",
		"in {days, plural, one {# Tag} other {# Tagen}} nicht benutzt",
	},
	"usage.spark": {
		"{n} in {days, plural, one {# day} other {# days}}, {today} today",
		"{n} in {days, plural, one {# Tag} other {# Tagen}}, heute {today}",
	},
	"usage.summary-none": {
		"0 in {days, plural, one {# day} other {# days}}",
		"0 in {days, plural, one {# Tag} other {# Tagen}}",
	},
	"usage.summary": {
		"{n} in {days, plural, one {# day} other {# days}}; most on {day}: {most}; today: {today}",
		"{n} in {days, plural, one {# Tag} other {# Tagen}}; die meisten am {day}: {most}; heute: {today}",
	},
	"usage.summary-past": {"{n} in {days, plural, one {# day} other {# days}}; most on {day}: {most}",
		"{n} in {days, plural, one {# Tag} other {# Tagen}}; die meisten am {day}: {most}"},
	"usage.week-from": {"the week from {day}", "in der Woche ab {day}"},
	"usage.range":     {"Days, UTC", "Tage, UTC"},
	"usage.from":      {"From", "Von"},
	"usage.to":        {"To, inclusive", "Bis einschließlich"},
	"usage.show":      {"Show", "Anzeigen"},
	"usage.wrong-range": {"Choose a first and a last day, at most {n} days, as 2026-11-30. The last {days, plural, " +
		"one {day is} " +
		"other {# days are}} shown.",
		"Bitte einen ersten und einen letzten Tag wählen, höchstens {n} Tage, wie 2026-11-30. Angezeigt {days, plural, one " +
			"{wird der letzte Tag} other {werden die letzten # Tage}}."},
	"usage.none":     {"There was no use in these days.", "In diesen Tagen gab es keine Nutzung."},
	"usage.by-weeks": {"· A bar is a week.", "· Ein Balken ist eine Woche."},
	"usage.all":      {"Usage of all clients", "Nutzung aller Clients"},
	"usage.csv":      {"Export usage as CSV", "Nutzung als CSV exportieren"},
	"usage.balances": {"Credits and their limits", "Credits und ihre Limits"},
	"usage.balance": {"<b>{taken}</b> of {limit} credits of “{meter}”; {left} left",
		"<b>{taken}</b> von {limit} Credits des Zählers „{meter}“; {left} übrig"},
	"usage.balance-all": {"<b>{taken}</b> of {limit} credits; {left} left",
		"<b>{taken}</b> von {limit} Credits; {left} übrig"},
	"usage.resets":        {"Begins anew on {time}.", "Beginnt neu am {time}."},
	"usage.resets-not":    {"Never begins anew.", "Beginnt nie neu."},
	"usage.limit-of":      {"the limit of {name}: {quota}", "das Limit von {name}: {quota}"},
	"usage.limit-own":     {"its own limit: {quota}", "das eigene Limit: {quota}"},
	"usage.limit-account": {"the limit of the account: {quota}", "das Limit des Kontos: {quota}"},
	"usage.percent":       {"{n} percent of the limit", "{n} Prozent des Limits"},
	"usage.bar":           {"{day}: {n}", "{day}: {n}"},
	"usage.table":         {"The same as a table", "Dasselbe als Tabelle"},
	"usage.day":           {"Day", "Tag"},
	"usage.uses":          {"Uses", "Nutzungen"},
	"usage.credits":       {"Credits", "Credits"},
	"usage.by-token":      {"By token", "Nach Token"},
	"usage.by-client":     {"By client", "Nach Client"},
	"usage.by-endpoint":   {"By endpoint", "Nach Endpunkt"},
	"usage.by-meter":      {"By meter", "Nach Zähler"},
	"usage.token":         {"Token", "Token"},
	"usage.client":        {"Client", "Client"},
	"usage.endpoint":      {"Endpoint", "Endpunkt"},
	"usage.meter":         {"Meter", "Zähler"},
	"usage.no-value":      {"none", "keiner"},
	"usage.more":          {"and {n} more", "und {n} weitere"},
}
