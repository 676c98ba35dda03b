package console

// usageWords are the texts of the pages about usage.
var usageWords = phrases{
	"usage.title":    {"Usage", "Nutzung"},
	"usage.title-of": {"Usage of {name}", "Nutzung von {name}"},
	"usage.days":     {"Days", "Tage"},
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
	"usage.bar":     {"{day}: {n}", "{day}: {n}"},
	"usage.table":   {"The same as a table", "Dasselbe als Tabelle"},
	"usage.day":     {"Day", "Tag"},
	"usage.uses":    {"Uses", "Nutzungen"},
	"usage.credits": {"Credits", "Credits"},
	"usage.none": {
		"There was no use in the last {n, plural, one {day} other {# days}}.",
		"In {n, plural, one {den letzten 24 Stunden} other {den letzten # Tagen}} gab es keine Nutzung.",
	},
	"usage.limit": {"Credit limit", "Creditlimit"},
	"usage.limit-of": {
		"<b>{spent}</b> of {limit} credits of “{meter}” in {month}",
		"<b>{spent}</b> von {limit} Credits des Zählers „{meter}“ im {month}",
	},
	"usage.limit-about": {
		"As counted for this month. The limit counts only from when it was set.",
		"Wie für diesen Monat gezählt. Das Limit zählt erst ab dem Zeitpunkt, zu dem es gesetzt wurde.",
	},
	"usage.limit-share": {"{n} percent of the limit", "{n} Prozent des Limits"},
	"usage.by-token":    {"By token", "Nach Token"},
	"usage.by-client":   {"By client", "Nach Client"},
	"usage.by-endpoint": {"By endpoint", "Nach Endpunkt"},
	"usage.by-meter":    {"By meter", "Nach Zähler"},
	"usage.token":       {"Token", "Token"},
	"usage.client":      {"Client", "Client"},
	"usage.endpoint":    {"Endpoint", "Endpunkt"},
	"usage.meter":       {"Meter", "Zähler"},
	"usage.no-value":    {"none", "keiner"},
	"usage.more":        {"and {n} more", "und {n} weitere"},
}
