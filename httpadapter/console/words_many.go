package console

// manyWords are the texts of changes of many tokens.
var manyWords = phrases{
	"many.back": {"Back", "Zurück"},
	"many.with": {"With the selected tokens", "Mit den ausgewählten Token"},
	"many.all-match": {
		"{n, plural, one {The # token that matches} other {All # that match, on every page}}",
		"{n, plural, one {Das # gefundene Token} other {Alle # gefundenen, auf jeder Seite}}",
	},
	"many.all-most": {
		"All that match, more than {n}, on every page",
		"Alle gefundenen, mehr als {n}, auf jeder Seite",
	},
	"many.select":          {"Select", "Auswählen"},
	"many.select-of":       {"Select {name}", "{name} auswählen"},
	"many.disable-button":  {"Disable…", "Sperren …"},
	"many.enable-button":   {"Enable…", "Entsperren …"},
	"many.extend-button":   {"Extend…", "Verlängern …"},
	"many.addrole-button":  {"Add a role…", "Rolle geben …"},
	"many.droprole-button": {"Remove a role…", "Rolle entziehen …"},
	"many.revoke-button":   {"Revoke…", "Widerrufen …"},

	"many.disable": {
		"Disable {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} sperren?",
	},
	"many.do-disable": {
		"Disable {n, plural, one {# token} other {# tokens}}",
		"{n, plural, one {# Token} other {# Token}} sperren",
	},
	"many.disable-about": {
		"Requests with them, and with all tokens minted from them, are refused {soon}. They can be enabled again.",
		"Anfragen damit und mit allen daraus geprägten Token werden {soon} abgewiesen. Sie lassen sich wieder entsperren.",
	},
	"many.enable": {
		"Enable {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} entsperren?",
	},
	"many.do-enable": {
		"Enable {n, plural, one {# token} other {# tokens}}",
		"{n, plural, one {# Token} other {# Token}} entsperren",
	},
	"many.enable-about": {
		"They may be used again {soon}. Those that are not disabled stay as they are.",
		"Sie gelten {soon} wieder. Nicht gesperrte bleiben, wie sie sind.",
	},
	"many.revoke": {
		"Revoke {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} widerrufen?",
	},
	"many.do-revoke": {
		"Revoke {n, plural, one {# token} other {# tokens}} for ever",
		"{n, plural, one {# Token} other {# Token}} endgültig widerrufen",
	},
	"many.revoke-about": {
		"Requests with them, and with all tokens minted from them, are refused {soon}. This cannot be undone. To stop them " +
			"for a while, disable them instead.",
		"Anfragen damit und mit allen daraus geprägten Token werden {soon} abgewiesen. Das lässt sich nicht rückgängig " +
			"machen. Für eine Weile genügt Sperren.",
	},
	"many.extend": {
		"Extend {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} verlängern?",
	},
	"many.do-extend": {
		"Extend {n, plural, one {# token} other {# tokens}}",
		"{n, plural, one {# Token} other {# Token}} verlängern",
	},
	"many.extend-about": {
		"Those that end sooner get the end below, {soon}. Those that end later, never, or have ended already stay as they " +
			"are.",
		"Früher endende erhalten {soon} das Ende unten. Später endende, endlose und schon abgelaufene bleiben, wie sie sind.",
	},
	"many.addrole": {
		"Give a role to {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} eine Rolle geben?",
	},
	"many.do-addrole": {
		"Give the role to {n, plural, one {# token} other {# tokens}}",
		"{n, plural, one {# Token} other {# Token}} die Rolle geben",
	},
	"many.addrole-about": {
		"Each gets the role in addition to what it has, {soon}. Secret tokens, and minted ones with all rights of their " +
			"parent, take no role: they stay as they are.",
		"Jedes erhält die Rolle {soon} zusätzlich. Geheime Token und geprägte mit allen Rechten ihres Elterntokens nehmen " +
			"keine Rolle an: sie bleiben, wie sie sind.",
	},
	"many.droprole": {
		"Take a role from {n, plural, one {# token} other {# tokens}}?",
		"{n, plural, one {# Token} other {# Token}} eine Rolle entziehen?",
	},
	"many.do-droprole": {
		"Take the role from {n, plural, one {# token} other {# tokens}}",
		"{n, plural, one {# Token} other {# Token}} die Rolle entziehen",
	},
	"many.droprole-about": {
		"Each loses the role {soon}, and with it whatever nothing else of the token allows.",
		"Jedes verliert die Rolle {soon} und damit alles, was sonst nichts an ihm erlaubt.",
	},
	"many.until":    {"New end", "Neues Ende"},
	"many.bad-end":  {"Choose a day and a time that are not past.", "Bitte einen künftigen Tag mit Uhrzeit angeben."},
	"many.role":     {"Role", "Rolle"},
	"many.no-role":  {"Choose a role.", "Bitte eine Rolle auswählen."},
	"many.reason":   {"Reason", "Grund"},
	"many.and-many": {"and many more", "und viele weitere"},
	"many.reason-about": {
		"for the audit trail; optional",
		"für das Protokoll; freiwillig",
	},
	"many.correct": {
		"Nothing was done. Correct the marked field below.",
		"Es wurde nichts ausgeführt. Das markierte Feld unten ist zu berichtigen.",
	},
	"many.other-count": {
		"Nothing was done: the number of tokens that match has changed since you were asked. Look again.",
		"Es wurde nichts ausgeführt: Die Zahl der gefundenen Token hat sich seit der Frage geändert. Bitte noch einmal " +
			"prüfen.",
	},
	"many.nothing-done": {"Nothing was done.", "Es wurde nichts ausgeführt."},
	"many.nothing":      {"Nothing is selected", "Nichts ausgewählt"},
	"many.nothing-selected": {
		"Nothing was done: no token is selected.",
		"Es wurde nichts ausgeführt: kein Token ist ausgewählt.",
	},
	"many.select-first": {
		"Go back and select the rows of some tokens, or all that the list finds.",
		"Bitte zurückgehen und einzelne Zeilen oder alle gefundenen Token auswählen.",
	},
	"many.none": {
		"No token is meant: those that were selected are revoked already, or are gone.",
		"Kein Token ist gemeint: die ausgewählten sind schon widerrufen oder nicht mehr da.",
	},
	"many.under-way": {"Under way", "In Arbeit"},
	"many.done":      {"Done", "Fertig"},
	"many.so-far":    {"{n} of {of} so far.", "Bisher {n} von {of}."},
	"many.all": {
		"{n, plural, =0 {No token was left.} one {# token.} other {All # tokens.}}",
		"{n, plural, =0 {Kein Token war übrig.} one {# Token.} other {Alle # Token.}}",
	},
	"many.changed": {"{n} changed.", "{n} geändert."},
	"many.same": {
		"{n, plural, one {# was so already.} other {# were so already.}}",
		"{n, plural, one {# war schon so.} other {# waren schon so.}}",
	},
	"many.refused": {
		"{n, plural, one {# was refused.} other {# were refused.}}",
		"{n, plural, one {# wurde abgelehnt.} other {# wurden abgelehnt.}}",
	},
	"many.share": {"{n} percent", "{n} Prozent"},
	"many.refused-head": {
		"Refused in this step",
		"In diesem Schritt abgelehnt",
	},
	"many.denied": {
		"it takes rights that you do not have",
		"dafür fehlen Rechte",
	},
	"many.stopped": {
		"This step ended early. What is done stays done. Go on when the service answers again.",
		"Dieser Schritt endete vorzeitig. Was ausgeführt ist, bleibt. Weiter geht es, sobald der Dienst wieder antwortet.",
	},
	"many.go-on": {"Go on", "Weiter"},
	"many.stop":  {"Stop here", "Hier anhalten"},
	"many.go-on-about": {
		"What is done stays done, whether you go on or not.",
		"Was ausgeführt ist, bleibt, auch ohne weiterzumachen.",
	},
}
