package console

// secretWords are the texts of the page that shows a secret.
var secretWords = phrases{
	"secret.label": {"Secret", "Geheimnis"},
	"secret.copy-now": {
		"Copy it now, and keep it where only its user can read it.",
		"Jetzt kopieren und so aufbewahren, dass nur berechtigte Personen es lesen können.",
	},
	"secret.only-now": {
		"Copy it now: this is the only time it is shown.",
		"Jetzt kopieren: es wird nur dieses eine Mal angezeigt.",
	},
	"secret.keep": {
		"Keep it where only its user can read it.",
		"Bitte so aufbewahren, dass nur berechtigte Personen es lesen können.",
	},
	"secret.sent-before": {
		"This form was sent before, and is not carried out again. The secret was shown the first time. If it was not " +
			"saved, rotate the token.",
		"Dieses Formular wurde schon einmal gesendet und wird nicht noch einmal ausgeführt. Das Geheimnis wurde beim " +
			"ersten Mal angezeigt. Wurde es nicht gesichert, lässt sich das Token erneuern.",
	},
	"secret.sent-before-reveal": {
		"This form was sent before, and is not carried out again. The secret was shown the first time. If it was not " +
			"saved, reveal it, or rotate the token.",
		"Dieses Formular wurde schon einmal gesendet und wird nicht noch einmal ausgeführt. Das Geheimnis wurde beim " +
			"ersten Mal angezeigt. Wurde es nicht gesichert, lässt es sich erneut anzeigen oder das Token erneuern.",
	},
	"secret.env":  {"For a .env file", "Für eine .env-Datei"},
	"secret.curl": {"A first request", "Eine erste Anfrage"},
	"secret.edit": {"Edit {name}", "{name} bearbeiten"},
}
