package console

// newWords are the texts of the page that creates a token, and of the dialog that does so on the list.
var newWords = phrases{
	"new.title":       {"Create a token", "Token anlegen"},
	"new.legend":      {"What kind of token?", "Welche Art von Token?"},
	"new.publishable": {"Publishable", "Öffentlich"},
	"new.publishable-about": {
		"May be used in public web pages. Any domain may use it until you restrict it.",
		"Darf in öffentlichen Webseiten stehen. Jede Domain kann es verwenden, bis das eingeschränkt wird.",
	},
	"new.api-key": {"API key", "API-Key"},
	"new.api-key-about": {
		"For programs. May do nothing until you give it rights or roles.",
		"Für Programme. Darf nichts, bis es Rechte oder Rollen erhält.",
	},
	"new.session": {"Session", "Sitzung"},
	"new.session-about": {
		"Like an API key, but ends after 24 hours unless you set another end.",
		"Wie ein API-Key, endet aber nach 24 Stunden, wenn kein anderes Ende gesetzt wird.",
	},
	"new.secret": {"Secret", "Geheim"},
	"new.secret-about": {
		"May do everything with your data and your account. Never share it.",
		"Darf alles mit den Daten und dem Konto. Niemals weitergeben.",
	},
	"new.test": {"Test token", "Testtoken"},
	"new.test-about": {
		"Publishable and secret tokens only. It works in a sandbox and nowhere else.",
		"Nur für öffentliche und geheime Token. Es gilt in einer Sandbox und sonst nirgends.",
	},
	"new.domains": {
		"Any domain may use a publishable token until you restrict it: edit it and fill in its allowed domains.",
		"Jede Domain kann ein öffentliches Token verwenden, bis beim Bearbeiten erlaubte Domains eingetragen werden.",
	},
	"new.add":         {"Create token", "Token anlegen"},
	"new.choose-kind": {"Choose a kind of token.", "Bitte eine Art von Token auswählen."},
	"new.test-kinds": {
		"Only publishable and secret tokens can be test tokens.",
		"Nur öffentliche und geheime Token können Testtoken sein.",
	},
	"new.name-long": {"Too long: at most {n} bytes.", "Zu lang: höchstens {n} Bytes."},
	"new.correct": {
		"Nothing was made. Correct the marked fields below.",
		"Es wurde nichts angelegt. Die markierten Felder unten sind zu berichtigen.",
	},
	"new.nothing": {"Nothing was made.", "Es wurde nichts angelegt."},
	"new.expired": {
		"This page has expired. Nothing was made. Send the form again.",
		"Diese Seite ist abgelaufen. Es wurde nichts angelegt. Das Formular kann noch einmal gesendet werden.",
	},
	"new.sent-before": {
		"This form was sent before, and nothing was made now. The result of the first time is not known here: check " +
			"whether the list has the token before you send it again.",
		"Dieses Formular wurde schon einmal gesendet; jetzt wurde nichts angelegt. Das Ergebnis vom ersten Mal ist hier " +
			"nicht bekannt: vor dem nächsten Senden bitte prüfen, ob die Liste das Token enthält.",
	},
	"new.denied": {
		"Nothing was made. You may not make such a token: it takes rights that you do not have. Ask an administrator of " +
			"this account.",
		"Es wurde nichts angelegt. Für ein solches Token fehlen Rechte. Weiter hilft die Verwaltung dieses Kontos.",
	},
	"new.made-secret":  {"Your new secret token", "Das neue geheime Token"},
	"new.made-api-key": {"Your new API key", "Der neue API-Key"},
	"new.made-session": {"Your new session token", "Das neue Sitzungstoken"},

	"new.dialog": {"Create a publishable token?", "Öffentliches Token anlegen?"},
	"new.dialog-domains": {
		"Any domain may use the token until you restrict it: edit it and fill in its allowed domains.",
		"Jede Domain kann das Token verwenden, bis beim Bearbeiten erlaubte Domains eingetragen werden.",
	},
	"new.dialog-add": {"Create publishable token", "Öffentliches Token anlegen"},
	"new.another":    {"Another kind…", "Andere Art …"},
}
