package console

// frameWords are the texts around every page.
var frameWords = phrases{
	"frame.title":     {"API Tokens", "API-Token"},
	"frame.skip":      {"Skip to content", "Zum Inhalt springen"},
	"frame.nav":       {"Console", "Konsole"},
	"frame.tokens":    {"Tokens", "Token"},
	"frame.roles":     {"Roles", "Rollen"},
	"frame.usage":     {"Usage", "Nutzung"},
	"frame.links":     {"More", "Weiteres"},
	"frame.signed-in": {"Signed in as", "Angemeldet als"},
}
