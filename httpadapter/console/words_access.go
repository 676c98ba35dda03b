package console

// accessWords are the texts of the pages about what a token may do, and what a role allows.
var accessWords = phrases{
	"access.title":      {"What {name} may do", "Was {name} darf"},
	"access.title-role": {"What the role {name} allows", "Was die Rolle {name} erlaubt"},
	"access.back-role":  {"Back to the role", "Zurück zur Rolle"},
	"access.off": {
		"All requests with it are refused, whatever the rules below say.",
		"Alle Anfragen damit werden abgewiesen, was auch immer die Regeln unten sagen.",
	},
	"access.not-valid": {
		"The rules below apply only while it is valid.",
		"Die Regeln unten gelten nur, solange es gültig ist.",
	},
	"access.chain":            {"Where its rights come from", "Woher die Rechte kommen"},
	"access.chain-itself":     {"The token itself", "Das Token selbst"},
	"access.chain-role":       {"The role itself", "Die Rolle selbst"},
	"access.chain-account":    {"The account", "Das Konto"},
	"access.chain-client":     {"for the client {name}", "für den Client {name}"},
	"access.chain-inherited":  {"(inherited)", "(geerbt)"},
	"access.chain-everything": {"may do everything", "darf alles"},
	"access.chain-full":       {"may do all that the next may do", "darf alles, was das nächste darf"},
	"access.chain-boundary": {
		"{n, plural, =0 {its boundary allows nothing} one {its boundary, # rule} other {its boundary, # rules}}",
		"{n, plural, =0 {seine Grenze erlaubt nichts} one {seine Grenze, # Regel} other {seine Grenze, # Regeln}}",
	},
	"access.chain-own": {
		"{n, plural, =0 {no rules of its own} one {# rule of its own} other {# rules of its own}}",
		"{n, plural, =0 {keine eigenen Regeln} one {# eigene Regel} other {# eigene Regeln}}",
	},
	"access.chain-about": {
		"None may do more than all below it.",
		"Keines darf mehr als alle darunter.",
	},
	"access.chain-hidden": {
		"A token that you may not see ({id})",
		"Ein nicht sichtbares Token ({id})",
	},
	"access.chain-unseen": {
		"Some of what decides is hidden from you.",
		"Manches, was mit entscheidet, ist hier nicht sichtbar.",
	},
	"access.shown":     {"Answers {from} to {to} of {of}.", "Antworten {from} bis {to} von {of}."},
	"access.test":      {"Test an action", "Eine Aktion prüfen"},
	"access.action":    {"Action", "Aktion"},
	"access.on":        {"on", "auf"},
	"access.example":   {"dataset/orders", "dataset/orders"},
	"access.do-test":   {"Test", "Prüfen"},
	"access.asked":     {"{action} on {resource}", "{action} auf {resource}"},
	"access.decided":   {"Decided by {name}.", "Entschieden durch {name}."},
	"access.rows":      {"Rows: <mono>{rows}</mono>", "Zeilen: <mono>{rows}</mono>"},
	"access.as-sql":    {"As SQL", "Als SQL"},
	"access.arguments": {"Arguments", "Argumente"},
	"access.more":      {"and {n} more", "und {n} weitere"},
	"access.steps":     {"All steps", "Alle Schritte"},
	"access.more-lines": {
		"and {n, plural, one {# more line} other {# more lines}}",
		"und {n, plural, one {# weitere Zeile} other {# weitere Zeilen}}",
	},
	"access.rules":   {"What its rules allow", "Was die Regeln erlauben"},
	"access.caption": {"Effective permissions", "Wirksame Rechte"},
	"access.head-on": {"On", "Auf"},
	"access.allowed": {"Allowed", "Erlaubt"},
	"access.by":      {"Decided by", "Entschieden durch"},
	"access.because": {"Because", "Weil"},
	"access.next": {
		"And {n} more: test them above, or see the <link>next ones</link>.",
		"Und {n} weitere: oben prüfen oder die <link>nächsten</link> ansehen.",
	},
	"access.before": {
		"These begin with number {n}; see the <link>ones before</link>.",
		"Diese beginnen mit Nummer {n}; davor stehen <link>frühere</link>.",
	},
	"access.anything": {
		"“…” stands for anything there that no rule names.",
		"„…“ steht für alles an dieser Stelle, was keine Regel nennt.",
	},
	"access.no-rules": {
		"There are no rules, so nothing is allowed.",
		"Es gibt keine Regeln, also ist nichts erlaubt.",
	},
	"access.any-other": {"any other", "jede andere"},
	"access.every-row": {"every row", "jede Zeile"},
	"access.some-rows": {"some rows", "manche Zeilen"},
	"access.no":        {"no", "nein"},
	"access.no-sql": {
		"No SQL: this server knows no fields of that resource.",
		"Kein SQL: dieser Server kennt keine Felder dieser Ressource.",
	},
	"access.no-sql-fields": {
		"No SQL: the filter does not match the fields of that resource.",
		"Kein SQL: der Filter passt nicht zu den Feldern dieser Ressource.",
	},
}
