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
	"new.kind": {"Kind", "Art"},
	"new.more": {
		"More: client, limits, addresses, start, end when unused, signatures, test token",
		"Mehr: Client, Limits, Adressen, Beginn, Ende ohne Nutzung, Signaturen, Testtoken",
	},
	"new.client-id":   {"Id of the client", "ID des Clients"},
	"new.client-name": {"Name of the client", "Name des Clients"},
	"new.client-about": {
		"Who the token is for, as your own system knows them. Blank: nobody in particular.",
		"Für wen das Token ist, wie das eigene System es kennt. Leer: niemand Bestimmtes.",
	},
	"new.no-client-id": {
		"A client needs an id: its name alone does not tell clients apart.",
		"Ein Client braucht eine ID: der Name allein unterscheidet Clients nicht.",
	},
	"new.names-about": {
		"One per line. What is ticked is allowed for each.",
		"Einer je Zeile. Was angekreuzt ist, wird für jeden erlaubt.",
	},
	"new.ends-usual": {
		"As usual: keys after 90 days, sessions after a day, publishable tokens never",
		"Wie üblich: Schlüssel nach 90 Tagen, Sitzungen nach einem Tag, öffentliche Token nie",
	},
	"new.ends-most": {
		"As usual, within the {time} that this account allows",
		"Wie üblich, innerhalb der hier erlaubten Zeit ({time})",
	},
	"new.ends-days":  {"{n} days", "{n} Tage"},
	"new.ends-year":  {"A year", "Ein Jahr"},
	"new.ends-date":  {"On a date, UTC", "An einem Datum, UTC"},
	"new.ends-never": {"Never", "Nie"},
	"new.end-at":     {"Day and time of the end, UTC", "Tag und Uhrzeit des Endes, UTC"},
	"new.no-date":    {"Choose the day and the time.", "Bitte Tag und Uhrzeit angeben."},
	"new.choose-end": {"Choose when the token ends.", "Bitte angeben, wann das Token endet."},
	"new.too-late": {
		"This account allows no later end than {time}.",
		"Dieses Konto erlaubt kein späteres Ende als {time}.",
	},
	"new.too-idle": {
		"This account demands that a token ends when it is unused for {time}, or sooner.",
		"Dieses Konto verlangt, dass ein Token nach {time} ohne Nutzung endet, oder früher.",
	},
	"new.added": {
		"Added to the form below. Nothing is made yet.",
		"Unten ergänzt. Es ist noch nichts angelegt.",
	},
	"new.do-review": {"Review", "Prüfen"},
	"new.review":    {"Create this token?", "Dieses Token anlegen?"},
	"new.do-create": {"Create the token", "Token anlegen"},
	"new.do-change": {"Change it", "Ändern"},
	"new.no-rights": {
		"It may do nothing until it is given rights or roles.",
		"Es darf nichts, bis es Rechte oder Rollen erhält.",
	},
	"new.any-domain": {
		"Any domain may use it. Name the domains that may.",
		"Jede Domain darf es verwenden. Besser die erlaubten Domains nennen.",
	},
	"new.no-end":      {"It never ends.", "Es endet nie."},
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
