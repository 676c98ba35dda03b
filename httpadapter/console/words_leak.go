package console

// leakWords are the texts of the pages about a key that has leaked.
var leakWords = phrases{
	"leak.title": {"A key has leaked", "Ein Schlüssel ist bekannt geworden"},
	"leak.about": {"Paste the key. The next page says whose it is, and when and from where it was last used. You can " +
		"end it there.",
		"Den Schlüssel hier einfügen. Auf der nächsten Seite steht, wem er gehört und wann und von wo er zuletzt benutzt " +
			"wurde; dort lässt er sich beenden."},
	"leak.key":  {"Key", "Schlüssel"},
	"leak.look": {"Look it up", "Nachschlagen"},
	"leak.nowhere": {"It is looked up by its digest. It is not kept, and appears in no address, log or page.",
		"Er wird über seine Prüfsumme gesucht. Er wird nicht gespeichert und erscheint in keiner Adresse, keinem Protokoll " +
			"und auf keiner Seite."},
	"leak.empty": {"Paste the key.", "Bitte den Schlüssel einfügen."},
	"leak.unknown": {"No token here has that key now. It is unknown, or it has ended and was removed. Check that " +
		"the whole " +
		"key was pasted.",
		"Kein Token hier hat jetzt diesen Schlüssel. Er ist unbekannt, oder er galt einmal und wurde entfernt. Vielleicht " +
			"wurde nicht der ganze Schlüssel eingefügt."},
	"leak.stateless": {"It is that of a stateless token, which has no page. To end it, have the host revoke {id}, or " +
		"revoke the token that it was minted from.",
		"Er gehört zu einem zustandslosen Token, das keine Seite hat. Zum Beenden kann der Host {id} widerrufen, oder das " +
			"Token, das es geprägt hat, wird widerrufen."},
	"leak.of":        {"Leaked: {name}", "Bekannt geworden: {name}"},
	"leak.token":     {"Token", "Token"},
	"leak.client":    {"Client", "Client"},
	"leak.no-client": {"None: it belongs to no client.", "Keiner: es gehört zu keinem Client."},
	"leak.secret":    {"Secret", "Geheimnis"},
	"leak.newest":    {"{hint}, the newest of the token.", "{hint}, das neueste des Tokens."},
	"leak.old":       {"{hint}, an old one that still works.", "{hint}, ein altes, das noch gilt."},
	"leak.public": {"A publishable token is no secret: its text may be seen by anybody. Restrict it by its allowed " +
		"domains " +
		"and its rights.",
		"Ein öffentliches Token ist kein Geheimnis: seinen Text darf jeder sehen. Schutz bieten die erlaubten Domains und " +
			"die Rechte."},
	"leak.gone": {"This secret has ended: it lets nobody in. The token has a newer one.",
		"Dieses Geheimnis gilt nicht mehr: es lässt niemanden ein. Das Token hat ein neueres."},
	"leak.used":      {"Last use", "Letzte Nutzung"},
	"leak.see-usage": {"What it used", "Was damit benutzt wurde"},
	"leak.see-audit": {"What it changed", "Was damit geändert wurde"},
	"leak.minted":    {"Minted from it, and live", "Daraus geprägt und gültig"},
	"leak.minted-about": {"They end with it. They stay if its secret is replaced: who has the key may have minted some.",
		"Sie enden mit ihm. Wird nur das Geheimnis erneuert, bleiben sie: auch wer den Schlüssel hat, kann welche " +
			"geprägt haben."},
	"leak.over": {"This token is revoked, with everything minted from it.",
		"Dieses Token ist widerrufen, mit allem daraus Geprägten."},
	"leak.end":    {"End it", "Beenden"},
	"leak.do-end": {"End it, and everything minted from it", "Beenden, mit allem daraus Geprägten"},
	"leak.end-about": {"Requests with it are refused {soon}, for ever.",
		"Anfragen damit werden {soon} und für immer abgewiesen."},
	"leak.reason": {"leaked", "bekannt geworden"},
	"leak.keep":   {"Or keep the token", "Oder das Token behalten"},
	"leak.keep-about": {"Rotate it: it gets a new secret, and the leaked one ends at once or after a short overlap.",
		"Es lässt sich erneuern: es erhält ein neues Geheimnis, und das bekannt gewordene endet sofort oder nach einer " +
			"kurzen Übergangszeit."},
	"leak.keep-old": {"The token has a newer secret. It is enough to end the old one, if it minted nothing.",
		"Das Token hat ein neueres Geheimnis. Es genügt, das alte zu beenden, wenn damit nichts geprägt wurde."},
	"leak.rotate": {"Rotate…", "Erneuern …"},
	"leak.link":   {"It leaked…", "Bekannt geworden …"},
}
