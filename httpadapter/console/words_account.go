package console

// accountWords are the texts of the page about the whole account.
var accountWords = phrases{
	"account.title":  {"The whole account", "Das ganze Konto"},
	"account.before": {"End everything created before a moment", "Alles beenden, was vor einem Zeitpunkt angelegt wurde"},
	"account.before-about": {
		"After a leak of unknown extent: every token that was created before is revoked. You see how many before it is done.",
		"Nach einem Leck unbekannten Ausmaßes: jedes früher angelegte Token wird widerrufen. Vorher wird die Zahl angezeigt.",
	},
	"account.moment":    {"Created before, UTC", "Angelegt vor, UTC"},
	"account.do-before": {"See what would end…", "Ansehen, was enden würde …"},
	"account.off":       {"Switch the account off", "Das Konto abschalten"},
	"account.off-short": {
		"Every request with any token of this account is refused, until the operator of this service switches it on again.",
		"Jede Anfrage mit irgendeinem Token dieses Kontos wird abgewiesen, bis der Betreiber dieses Dienstes es wieder " +
			"einschaltet.",
	},
	"account.ask-off":   {"Switch off…", "Abschalten …"},
	"account.off-title": {"Switch the account off?", "Das Konto abschalten?"},
	"account.off-about": {
		"{n, plural, one {# token works} other {# tokens work}} now. All requests of this account are refused {soon}.",
		"{n, plural, one {# Token gilt} other {# Token gelten}} jetzt. Alle Anfragen dieses Kontos werden {soon} abgewiesen.",
	},
	"account.off-most": {
		"More than {n} tokens work now. All requests of this account are refused {soon}.",
		"Mehr als {n} Token gelten jetzt. Alle Anfragen dieses Kontos werden {soon} abgewiesen.",
	},
	"account.off-warn": {
		"You cannot undo this here: these pages are closed, too. Only the operator of this service can switch the account " +
			"on again.",
		"Hier lässt sich das nicht rückgängig machen: auch diese Seiten sind dann geschlossen. Nur der Betreiber dieses " +
			"Dienstes kann das Konto wieder einschalten.",
	},
	"account.do-off": {"Switch the account off", "Das Konto abschalten"},
	"account.is-off": {"The account is switched off", "Das Konto ist abgeschaltet"},
	"account.is-off-about": {
		"All requests with its tokens are refused. Ask the operator of this service to switch it on again.",
		"Alle Anfragen mit seinen Token werden abgewiesen. Der Betreiber dieses Dienstes kann es wieder einschalten.",
	},
}
