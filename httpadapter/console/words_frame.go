package console

// frameWords are the texts around every page.
var frameWords = phrases{
	"frame.title":   {"API Tokens", "API-Token"},
	"frame.skip":    {"Skip to content", "Zum Inhalt springen"},
	"frame.nav":     {"Console", "Konsole"},
	"frame.tokens":  {"Tokens", "Token"},
	"frame.roles":   {"Roles", "Rollen"},
	"frame.usage":   {"Usage", "Nutzung"},
	"frame.links":   {"More", "Weiteres"},
	"frame.pending": {"Sending…", "Wird gesendet …"},
	"frame.slow": {
		"There is no answer yet. It can be sent again: it is carried out once.",
		"Es gibt noch keine Antwort. Erneutes Senden ist möglich: ausgeführt wird es einmal.",
	},
	"frame.failed": {
		"Not sent: the server cannot be reached. What you typed is still here. Try again in a moment.",
		"Nicht gesendet: der Server ist nicht erreichbar. Die Eingaben stehen noch da. Bitte gleich noch einmal versuchen.",
	},
	"frame.draft": {
		"What you last sent from here was not saved.",
		"Was hier zuletzt gesendet wurde, ist nicht gespeichert.",
	},
	"frame.restore":    {"Put it back into the form", "Ins Formular zurückholen"},
	"frame.discard":    {"Discard it", "Verwerfen"},
	"frame.local":      {"In your time zone:", "In der eigenen Zeitzone:"},
	"frame.copied":     {"Copied", "Kopiert"},
	"frame.press-copy": {"Press Ctrl+C", "Strg+C drücken"},
	"frame.signed-in":  {"Signed in as", "Angemeldet als"},
}
