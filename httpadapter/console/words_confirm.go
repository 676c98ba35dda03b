package console

// confirmWords are the texts of the pages that ask before an action on a token, and of what they refuse.
var confirmWords = phrases{
	"confirm.revoked": {
		"This token was revoked on {time}. A revoked token cannot be changed, and its secrets do not work. Create a new " +
			"token instead.",
		"Dieses Token wurde am {time} widerrufen. Ein widerrufenes Token lässt sich nicht ändern, und seine Geheimnisse " +
			"gelten nicht mehr. Stattdessen lässt sich ein neues Token anlegen.",
	},
	"confirm.refused-revoked": {
		"Nothing was done: the token is revoked.",
		"Es wurde nichts ausgeführt: das Token ist widerrufen.",
	},
	"confirm.correct": {
		"Nothing was done. Correct the marked field below.",
		"Es wurde nichts ausgeführt. Das markierte Feld unten ist zu berichtigen.",
	},
	"confirm.nothing": {"Nothing was done.", "Es wurde nichts ausgeführt."},
	"confirm.sent-before": {
		"This form was sent before, and nothing was done now. The result of the first time is not known here: check the " +
			"token first. If its secret was shown and not saved, request a new one below.",
		"Dieses Formular wurde schon einmal gesendet; jetzt wurde nichts ausgeführt. Das Ergebnis vom ersten Mal ist " +
			"hier nicht bekannt: am besten zuerst das Token prüfen. Wurde sein Geheimnis angezeigt und nicht gesichert, " +
			"lässt sich unten ein neues anfordern.",
	},
	"confirm.denied": {
		"You may not do this: it takes rights that you do not have. Nothing was changed. Ask an administrator of this " +
			"account.",
		"Dafür fehlen Rechte. Es wurde nichts geändert. Weiter hilft die Verwaltung dieses Kontos.",
	},

	"confirm.overlap": {
		"How long the old secrets stay valid",
		"Wie lange die alten Geheimnisse noch gelten",
	},
	"confirm.overlap-none":    {"Not at all: they end at once", "Gar nicht: sie enden sofort"},
	"confirm.overlap-quarter": {"15 minutes", "15 Minuten"},
	"confirm.rotate-leaked": {"The old secret has leaked: choose a short overlap, or none. Until it ends, whoever " +
		"has it can use it.",
		"Das alte Geheimnis ist bekannt geworden: besser eine kurze Übergangszeit wählen, oder keine. Bis es endet, " +
			"kann jeder " +
			"es benutzen, der es hat."},
	"confirm.rotate-if-leaked": {"Has the old secret leaked? <link>Then choose a short overlap.</link>",
		"Ist das alte Geheimnis bekannt geworden? <link>Dann eine kurze Übergangszeit wählen.</link>"},
	"confirm.overlap-hour":  {"1 hour", "1 Stunde"},
	"confirm.overlap-day":   {"1 day", "1 Tag"},
	"confirm.overlap-week":  {"1 week", "1 Woche"},
	"confirm.overlap-month": {"30 days", "30 Tage"},
	"confirm.overlap-choose": {
		"Choose how long the old secrets stay valid.",
		"Bitte auswählen, wie lange die alten Geheimnisse noch gelten.",
	},
	"confirm.reason":       {"Reason", "Grund"},
	"confirm.reason-about": {"for the audit trail; optional", "für das Protokoll; freiwillig"},

	"confirm.rotate-title": {"Rotate {name}", "{name} erneuern"},
	"confirm.rotate":       {"Rotate", "Erneuern"},
	"confirm.rotate-about": {
		"The token gets a new secret. Its rights, its limits and all tokens minted from it stay.",
		"Das Token erhält ein neues Geheimnis. Seine Rechte, seine Grenzen und alle daraus geprägten Token bleiben.",
	},
	"confirm.rotate-when": {
		"The new secret works {soon}. Choose how long the old secrets stay valid.",
		"Das neue Geheimnis gilt {soon}. Wie lange die alten noch gelten, ist wählbar.",
	},
	"confirm.rotate-ended": {"The old secrets have ended.", "Die alten Geheimnisse gelten nicht mehr."},
	"confirm.rotate-until": {
		"The old secrets end on {time} at the latest.",
		"Die alten Geheimnisse gelten längstens bis {time}.",
	},
	"confirm.rotated-title": {"The new secret of {name}", "Das neue Geheimnis von {name}"},

	"confirm.disable-title": {"Disable {name}", "{name} sperren"},
	"confirm.disable":       {"Disable", "Sperren"},
	"confirm.refused-soon": {
		"Requests with this token, and with all tokens minted from it, are refused {soon}.",
		"Anfragen mit diesem Token und mit allen daraus geprägten Token werden {soon} abgewiesen.",
	},
	"confirm.disable-about": {
		"You can enable it again at any time.",
		"Die Sperre lässt sich jederzeit aufheben.",
	},
	"confirm.disabled":     {"This token is disabled already.", "Dieses Token ist bereits gesperrt."},
	"confirm.enable-title": {"Enable {name}", "{name} entsperren"},
	"confirm.enable":       {"Enable", "Entsperren"},
	"confirm.enable-about": {
		"The token, and all tokens minted from it, may be used again {soon}.",
		"Das Token und alle daraus geprägten Token sind {soon} wieder verwendbar.",
	},
	"confirm.enabled": {"This token is not disabled.", "Dieses Token ist nicht gesperrt."},

	"confirm.revoke-title": {"Revoke {name}", "{name} widerrufen"},
	"confirm.revoke":       {"Revoke for ever", "Endgültig widerrufen"},
	"confirm.revoke-about": {
		"This cannot be undone. To stop the token for a while, disable it instead.",
		"Das lässt sich nicht rückgängig machen. Um das Token nur eine Weile anzuhalten, genügt es, es zu sperren.",
	},

	"confirm.reveal-title": {"Reveal {name}", "{name} anzeigen"},
	"confirm.reveal":       {"Reveal", "Anzeigen"},
	"confirm.reveal-about": {
		"The token's newest secret is shown on the next page. The audit trail records that you saw it.",
		"Das neueste Geheimnis des Tokens erscheint auf der nächsten Seite. Das Protokoll hält fest, dass es angezeigt " +
			"wurde.",
	},
	"confirm.revealed-title": {"The secret of {name}", "Das Geheimnis von {name}"},
	"confirm.signing-title":  {"Signing secret of {name}", "Signiergeheimnis von {name}"},
	"confirm.signing":        {"Show it", "Anzeigen"},
	"confirm.signing-about": {
		"Requests with this token are signed with a secret of its own. It is shown on the next page, and created if " +
			"there is none yet. The audit trail records that you saw it.",
		"Anfragen mit diesem Token werden mit einem eigenen Geheimnis signiert. Es erscheint auf der nächsten Seite und " +
			"wird angelegt, falls es noch keines gibt. Das Protokoll hält fest, dass es angezeigt wurde.",
	},
	"confirm.signed-title": {"The signing secret of {name}", "Das Signiergeheimnis von {name}"},
}
