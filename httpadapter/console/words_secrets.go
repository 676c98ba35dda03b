package console

// secretsWords are the texts about the secrets of a token that still work.
var secretsWords = phrases{
	"secrets.heading":     {"Last use, and secrets that work", "Letzte Nutzung und gültige Geheimnisse"},
	"secrets.old":         {"An old secret that still works.", "Ein altes Geheimnis, das noch gilt."},
	"secrets.old-signing": {"An old signing secret that still works.", "Ein altes Signiergeheimnis, das noch gilt."},
	"secrets.signing":     {"Signs requests.", "Signiert Anfragen."},
	"secrets.signing-about": {"It signs requests, and has no uses of its own.",
		"Es signiert Anfragen und hat keine eigenen Nutzungen."},
	"secrets.until":     {"It ends on {time}.", "Es endet am {time}."},
	"secrets.not-used":  {"Never used.", "Nie benutzt."},
	"secrets.used":      {"Last used on {time}.", "Zuletzt benutzt am {time}."},
	"secrets.used-from": {"Last used on {time}, from {address}.", "Zuletzt benutzt am {time}, von {address}."},
	"secrets.silent": {"Not since the new one was made.",
		"Seit es das neue gibt, nicht mehr."},
	"secrets.made":      {"made on {time}", "angelegt am {time}"},
	"secrets.end":       {"End it now…", "Jetzt beenden …"},
	"secrets.end-now":   {"End it now", "Jetzt beenden"},
	"secrets.end-title": {"End an old secret of {name}", "Ein altes Geheimnis von {name} beenden"},
	"secrets.end-about": {"Requests with the old secret {hint} are refused {soon}. The newest secret stays, and so " +
		"does what " +
		"was minted.",
		"Anfragen mit dem alten Geheimnis {hint} werden {soon} abgewiesen. Das neueste Geheimnis bleibt, ebenso was " +
			"geprägt " +
			"wurde."},
	"secrets.ended-already": {"This secret has ended already.", "Dieses Geheimnis gilt bereits nicht mehr."},
	"secrets.is-newest": {"This is the newest secret of the token. Rotate the token to replace it, or revoke the token.",
		"Das ist das neueste Geheimnis des Tokens. Beim Erneuern wird es ersetzt, beim Widerrufen endet es."},
	"secrets.notice-ended": {"The old secret has ended, {soon}.", "Das alte Geheimnis ist beendet, {soon}."},
}
