package console

// errorWords are the texts of the page of an error, and what is said of errors that several pages can meet.
var errorWords = phrases{
	"error.confirm": {"Please confirm who you are", "Bitte die Identität bestätigen"},
	"error.confirm-about": {
		"Nothing was done yet. This step shows a secret or cannot be undone, so your password is asked for again.",
		"Es wurde noch nichts ausgeführt. Dieser Schritt zeigt ein Geheimnis oder ist nicht rückgängig zu machen; " +
			"deshalb wird das Passwort noch einmal abgefragt.",
	},
	"error.confirm-link": {"Confirm in another window", "In einem anderen Fenster bestätigen"},
	"error.kept-confirm": {
		"What you sent is kept on this page. Confirm who you are in another window, then send it again here.",
		"Das Gesendete bleibt auf dieser Seite erhalten. Nach der Bestätigung in einem anderen Fenster lässt es sich " +
			"hier noch einmal senden.",
	},
	"error.not-made": {"This change was not made", "Diese Änderung wurde nicht ausgeführt"},
	"error.again":    {"Send again", "Noch einmal senden"},
	"error.kept": {
		"What you sent is kept on this page. You can send it again.",
		"Das Gesendete bleibt auf dieser Seite erhalten und lässt sich noch einmal senden.",
	},
	"error.kept-sign-in": {
		"What you sent is kept on this page. Sign in again in another window, then send it again here.",
		"Das Gesendete bleibt auf dieser Seite erhalten. Nach der Anmeldung in einem anderen Fenster lässt es sich hier " +
			"noch einmal senden.",
	},
	"error.sent":        {"What you sent", "Was gesendet wurde"},
	"error.sent-before": {"This form was sent before", "Dieses Formular wurde schon einmal gesendet"},
	"error.sent-before-about": {
		"It is not carried out again. The result of the first time is not known here: check what is stored now.",
		"Es wird nicht noch einmal ausgeführt. Das Ergebnis vom ersten Mal ist hier nicht bekannt: maßgeblich ist, was " +
			"jetzt gespeichert ist.",
	},
	"error.cross-site": {
		"The request came from another site's page, or does not say where it comes from. Nothing was changed. Open the " +
			"page in this console and send its form.",
		"Die Anfrage kam von der Seite einer anderen Website oder nennt ihre Herkunft nicht. Es wurde nichts geändert. " +
			"Das Formular lässt sich von der Seite in dieser Konsole aus senden.",
	},
	"error.method": {"Method not allowed", "Methode nicht zulässig"},
	"error.method-about": {
		"This page does not accept that kind of request. Open it with a link of the console.",
		"Diese Seite nimmt solche Anfragen nicht an. Sie öffnet sich über einen Link der Konsole.",
	},
	"error.denied": {"You may not do this", "Dafür fehlen Rechte"},
	"error.denied-about": {
		"It takes rights that you do not have. Nothing was changed. Ask an administrator of this account.",
		"Es wurde nichts geändert. Weiter hilft die Verwaltung dieses Kontos.",
	},
	"error.disabled": {"This account is disabled", "Dieses Konto ist gesperrt"},
	"error.disabled-about": {
		"Its tokens are refused, and nothing can be changed. Ask the operator of this service to enable it.",
		"Seine Token werden abgewiesen, und nichts lässt sich ändern. Weiter hilft der Betreiber dieses Dienstes.",
	},
	"error.signed-out": {"You are not signed in", "Nicht angemeldet"},
	"error.signed-out-about": {
		"Sign in and try again.",
		"Nach der Anmeldung lässt sich der Vorgang wiederholen.",
	},
	"error.nothing": {"There is nothing here", "Hier ist nichts"},
	"error.nothing-about": {
		"It does not exist, was deleted, or you may not see it.",
		"Es existiert nicht, wurde gelöscht oder ist nicht zur Ansicht freigegeben.",
	},
	"error.damaged": {"A stored record cannot be read", "Ein gespeicherter Datensatz ist nicht lesbar"},
	"error.damaged-about": {
		"This page depends on it. Revoke the token or replace the role that is damaged, or have the database restored " +
			"from a backup.",
		"Diese Seite hängt davon ab. Das beschädigte Token lässt sich widerrufen, die beschädigte Rolle ersetzen, oder " +
			"die Datenbank aus einer Sicherung wiederherstellen.",
	},
	"error.unavailable": {"Temporarily unavailable", "Vorübergehend nicht verfügbar"},
	"error.unavailable-about": {
		"The tokens cannot be read right now. Try again in a moment.",
		"Die Token sind gerade nicht lesbar. Bitte gleich noch einmal versuchen.",
	},
	"error.unknown-outcome": {
		"It is not known whether the change was made. Check what is stored now.",
		"Es ist nicht bekannt, ob die Änderung ausgeführt wurde. Maßgeblich ist, was jetzt gespeichert ist.",
	},
	"error.internal": {"Something went wrong", "Etwas ist schiefgegangen"},
	"error.internal-about": {
		"The fault is on this server, and was logged there. Try again later.",
		"Der Fehler liegt auf diesem Server und wurde dort protokolliert. Bitte später noch einmal versuchen.",
	},
	"error.bad-request": {"This request cannot be read", "Diese Anfrage ist nicht lesbar"},
	"error.bad-request-about": {
		"Something in it is malformed. Nothing was changed. Open the page again and send its form.",
		"Etwas darin ist fehlerhaft. Es wurde nichts geändert. Die Seite lässt sich neu öffnen und ihr Formular senden.",
	},
	"error.too-large": {"This form is too large", "Dieses Formular ist zu groß"},
	"error.too-large-about": {
		"Nothing was changed. Send fewer or shorter entries at once.",
		"Es wurde nichts geändert. Bitte weniger oder kürzere Angaben auf einmal senden.",
	},
	"error.rate-limited": {"Too many requests", "Zu viele Anfragen"},
	"error.rate-limited-about": {
		"Nothing was changed. Try again in a moment.",
		"Es wurde nichts geändert. Bitte gleich noch einmal versuchen.",
	},
	"error.over-limit": {"A quota is used up", "Ein Kontingent ist aufgebraucht"},
	"error.over-limit-about": {
		"Nothing was changed. Ask an administrator of this account.",
		"Es wurde nichts geändert. Weiter hilft die Verwaltung dieses Kontos.",
	},
	"error.policy": {
		"The rules of this account do not allow it. Ask the operator of this service.",
		"Die Regeln dieses Kontos lassen es nicht zu. Weiter hilft der Betreiber dieses Dienstes.",
	},
	"error.conflict": {
		"It was changed in the meantime. Open the page again to see what is stored now.",
		"Es wurde inzwischen geändert. Die Seite zeigt, neu geöffnet, was jetzt gespeichert ist.",
	},
	"error.in-use":     {"It is still in use.", "Es wird noch verwendet."},
	"error.no-keyring": {"That secret cannot be shown", "Dieses Geheimnis lässt sich nicht anzeigen"},
	"error.no-keyring-about": {
		"This server keeps no copy of secrets. Rotate the token to get a new one.",
		"Dieser Server bewahrt keine Kopien von Geheimnissen auf. Erneuern des Tokens liefert ein neues.",
	},
	"error.too-many": {
		"As many tokens are live as the rules of this account allow. Revoke one that is not needed, or wait for one to end.",
		"Es gibt bereits so viele gültige Token, wie die Regeln dieses Kontos zulassen. Eines, das nicht gebraucht " +
			"wird, lässt sich widerrufen; sonst hilft Warten, bis eines endet.",
	},
	"error.policy-kind": {
		"The rules of this account allow no tokens of this kind. Ask the operator of this service.",
		"Die Regeln dieses Kontos lassen keine Token dieser Art zu. Weiter hilft der Betreiber dieses Dienstes.",
	},
	"error.taken": {
		"That name is taken. Choose another one.",
		"Dieser Name ist vergeben. Bitte einen anderen wählen.",
	},
	"error.invalid": {
		"This is not valid: check the fields.",
		"Das ist nicht gültig: bitte die Felder prüfen.",
	},
}
