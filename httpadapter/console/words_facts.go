package console

// factsWords are the texts about restrictions and limits of a token, and about what its switches do in effect.
var factsWords = phrases{
	"facts.heading":   {"Other restrictions and limits", "Weitere Einschränkungen und Limits"},
	"facts.of":        {"of {name}", "von {name}"},
	"facts.list-more": {"and {n} more", "und {n} weitere"},
	"facts.more":      {"More", "Mehr"},
	"facts.unseen": {
		"a token it was minted from, which you may not see, may restrict it further",
		"ein nicht einsehbares Token, aus dem es geprägt wurde, kann es weiter einschränken",
	},
	"facts.state": {"State", "Zustand"},
	"facts.rows":  {"Rows", "Zeilen"},
	"facts.with-parent": {
		"{time}, with the token it was minted from",
		"{time}, mit dem Token, aus dem es geprägt wurde",
	},
	"facts.idle-for":     {"for {time}", "nach {time}"},
	"facts.signed-about": {"every request must be signed", "jede Anfrage muss signiert sein"},
	"facts.credits":      {"Credits", "Credits"},
	"facts.rate-of": {
		"{n, plural, one {# request} other {# requests}} per {per}",
		"{n, plural, one {# Anfrage} other {# Anfragen}} pro {per}",
	},
	"facts.rate-burst": {
		"{n, plural, one {# request} other {# requests}} per {per}, and {burst} more at once",
		"{n, plural, one {# Anfrage} other {# Anfragen}} pro {per}, und {burst} mehr auf einmal",
	},
	"facts.account":  {"the account", "dem Konto"},
	"facts.boundary": {"Boundary", "Grenze"},
	"facts.boundary-about": {
		"no token may do more than the account as a whole",
		"kein Token darf mehr als das Konto insgesamt",
	},

	"facts.quota-none":    {"none", "keine"},
	"facts.quota-meter":   {"{amount} of “{meter}”", "{amount} des Zählers „{meter}“"},
	"facts.quota-forever": {"{amount} for ever", "{amount} insgesamt"},
	"facts.quota-month":   {"{amount} in a calendar month", "{amount} in einem Kalendermonat"},
	"facts.quota-month-from": {
		"{amount} in a month from day {from}",
		"{amount} in einem Monat ab dem {from}.",
	},
	"facts.quota-week":   {"{amount} in a week from {from}", "{amount} in einer Woche ab {from}"},
	"facts.quota-day":    {"{amount} in a day", "{amount} an einem Tag"},
	"facts.quota-hour":   {"{amount} in an hour", "{amount} in einer Stunde"},
	"facts.quota-minute": {"{amount} in a minute", "{amount} in einer Minute"},
	"facts.quota-carry": {
		"{amount}, with at most {carry} carried over",
		"{amount}, mit höchstens {carry} Übertrag",
	},

	"facts.effect-unseen": {
		"A role or a parent that you may not see can change this.",
		"Eine nicht einsehbare Rolle oder ein nicht einsehbares Elterntoken kann das ändern.",
	},
	"facts.effect-still": {
		"Still allowed, by its roles or its other rules.",
		"Weiterhin erlaubt, durch seine Rollen oder seine weiteren Regeln.",
	},
	"facts.effect-still-part": {
		"Still allowed in part, by its roles or its other rules.",
		"Weiterhin zum Teil erlaubt, durch seine Rollen oder seine weiteren Regeln.",
	},
	"facts.effect-not":  {"Not allowed in effect: {reason}", "Im Ergebnis nicht erlaubt: {reason}"},
	"facts.effect-part": {"Allowed only in part: {reason}", "Nur zum Teil erlaubt: {reason}"},
}
