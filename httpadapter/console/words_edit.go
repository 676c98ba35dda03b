package console

// editWords are the texts of the form of a token.
var editWords = phrases{
	"edit.access":  {"What it may do", "Was es darf"},
	"edit.usage":   {"Usage", "Nutzung"},
	"edit.token":   {"Token", "Token"},
	"edit.created": {"Created {time} · id <mono>{id}</mono>", "Angelegt {time} · ID <mono>{id}</mono>"},
	"edit.compare": {
		"What is stored now, and what you typed",
		"Was jetzt gespeichert ist, und was eingegeben wurde",
	},
	"edit.field":      {"Field", "Feld"},
	"edit.stored-now": {"Stored now", "Jetzt gespeichert"},
	"edit.typed-here": {"Typed here", "Hier eingegeben"},

	"edit.minted-by": {"What it minted", "Was es geprägt hat"},
	"edit.of-client": {"All tokens of this client", "Alle Token dieses Clients"},
	"edit.minted":    {"A minted token", "Ein geprägtes Token"},
	"edit.client":    {"Client", "Client"},
	"edit.client-id": {"id", "ID"},
	"edit.no-client": {
		"None: it was minted without a client.",
		"Keiner: es wurde ohne Client geprägt.",
	},
	"edit.parent": {"Parent", "Elterntoken"},
	"edit.parent-about": {
		"It may never do more than its parent, and is refused when its parent is.",
		"Es darf nie mehr als sein Elterntoken und wird abgewiesen, wenn dieses abgewiesen wird.",
	},
	"edit.rights": {"Rights", "Rechte"},
	"edit.full": {
		"It may do all that its parent may do. <link>See what that is</link>.",
		"Es darf alles, was sein Elterntoken darf. <link>Was das ist</link>.",
	},
	"edit.full-rows": {
		"It may do all that its parent may do, within its rows. <link>See what that is</link>.",
		"Es darf innerhalb seiner Zeilen alles, was sein Elterntoken darf. <link>Was das ist</link>.",
	},
	"edit.full-about": {
		"It has no roles or rules of its own to change here. To limit it, remove rights from its parent, or mint " +
			"another token with fewer rights.",
		"Es hat keine eigenen Rollen oder Regeln, die sich hier ändern ließen. Einschränken lässt es sich, indem dem " +
			"Elterntoken Rechte entzogen werden oder ein anderes Token mit weniger Rechten geprägt wird.",
	},

	"edit.settings": {"Settings", "Einstellungen"},
	"edit.done":     {"Save", "Speichern"},
	"edit.name":     {"Name", "Name"},
	"edit.signed":   {"Signed requests", "Signierte Anfragen"},
	"edit.signed-about": {
		"Every request must be signed with the token’s signing secret.",
		"Jede Anfrage muss mit dem Signiergeheimnis des Tokens signiert sein.",
	},
	"edit.enabled":       {"Enabled", "Ein"},
	"edit.disabled":      {"Disabled", "Aus"},
	"edit.on":            {"enabled", "ein"},
	"edit.off":           {"disabled", "aus"},
	"edit.chips":         {"Permissions by name", "Rechte nach Namen"},
	"edit.no-chips":      {"None yet.", "Noch keine."},
	"edit.chips-part":    {"{from} to {to} of {of}", "{from} bis {to} von {of}"},
	"edit.chips-earlier": {"Earlier", "Frühere"},
	"edit.chips-later":   {"Later", "Spätere"},
	"edit.chips-save": {
		"Save before you open another part.",
		"Vor dem Öffnen eines anderen Teils bitte speichern.",
	},
	"edit.untick": {"Untick one to remove it.", "Ein Häkchen entfernen nimmt das Recht weg."},
	"edit.add-as": {"Name, as {form}", "Name in der Form {form}"},
	"edit.add":    {"Add access", "Zugriff hinzufügen"},
	"edit.names-cut": {
		"Not all names are suggested: type any other.",
		"Nicht alle Namen werden vorgeschlagen: andere lassen sich eingeben.",
	},
	"edit.other-rules": {"Other rules", "Weitere Regeln"},
	"edit.more-rules":  {"and {n} more", "und {n} weitere"},
	"edit.other-about": {
		"The fields above do not cover these rules. They stay as they are.",
		"Die Felder oben decken diese Regeln nicht ab. Sie bleiben, wie sie sind.",
	},
	"edit.roles":      {"Roles", "Rollen"},
	"edit.everything": {"A secret token may do everything.", "Ein geheimes Token darf alles."},
	"edit.rows":       {"Rows", "Zeilen"},
	"edit.domains":    {"Allowed domains", "Erlaubte Domains"},
	"edit.domains-about": {
		"One per line: example.com, *.example.com, https://example.com/app. Blank: any domain.",
		"Eine je Zeile: example.com, *.example.com, https://example.com/app. Leer: jede Domain.",
	},
	"edit.credits":  {"Credit limit", "Creditlimit"},
	"edit.no-limit": {"No limit", "Kein Limit"},
	"edit.credits-about": {
		"Credits in a calendar month, UTC, from when the limit is set. Blank: no limit.",
		"Credits in einem Kalendermonat (UTC), ab dem Setzen des Limits. Leer: kein Limit.",
	},
	"edit.credits-also": {
		"Also holds, and is not changed here: {limit}.",
		"Gilt außerdem und wird hier nicht geändert: {limit}.",
	},
	"edit.rate":         {"Rate limit", "Anfragelimit"},
	"edit.requests":     {"Requests", "Anfragen"},
	"edit.requests-per": {"requests per", "Anfragen pro"},
	"edit.per":          {"Per", "Pro"},
	"edit.or":           {" or ", " oder "},
	"edit.and":          {"and", "und"},
	"edit.at-once":      {"more at once", "mehr auf einmal"},
	"edit.more-at-once": {"More at once", "Mehr auf einmal"},
	"edit.rate-text":    {"{count} per {per} {burst}", "{count} pro {per} {burst}"},
	"edit.end":          {"Expiry", "Ablauf"},
	"edit.utc":          {"UTC", "UTC"},
	"edit.end-about":    {"Blank: no end.", "Leer: kein Ende."},
	"edit.more": {
		"More: addresses, start, end when unused",
		"Mehr: Adressen, Beginn, Ende ohne Nutzung",
	},
	"edit.addresses": {"Allowed addresses", "Erlaubte Adressen"},
	"edit.addresses-about": {
		"Of the client, one per line: 192.0.2.7, 192.0.2.0/24, 2001:db8::/48. Blank: any address.",
		"Des Clients, eine je Zeile: 192.0.2.7, 192.0.2.0/24, 2001:db8::/48. Leer: jede Adresse.",
	},
	"edit.mintfrom": {"Minting addresses", "Adressen zum Prägen"},
	"edit.mintfrom-about": {
		"Addresses from which tokens may be minted with this one. Blank: all from which it may be used.",
		"Adressen, von denen aus sich mit diesem Token prägen lässt. Leer: alle, von denen aus es verwendbar ist.",
	},
	"edit.begin":       {"Not before", "Nicht vor"},
	"edit.begin-about": {"Blank: at once.", "Leer: sofort."},
	"edit.idle":        {"Ends when unused", "Endet ohne Nutzung"},
	"edit.idle-for":    {"for", "nach"},
	"edit.idle-long":   {"For how long", "Wie lange"},
	"edit.unit":        {"Unit", "Einheit"},
	"edit.idle-about": {
		"Blank: it does not end when unused.",
		"Leer: es endet nicht durch fehlende Nutzung.",
	},
	"edit.idle-text":    {"{count} {unit}", "{count} {unit}"},
	"edit.second":       {"second", "Sekunde"},
	"edit.minute":       {"minute", "Minute"},
	"edit.hour":         {"hour", "Stunde"},
	"edit.day":          {"day", "Tag"},
	"edit.seconds":      {"seconds", "Sekunden"},
	"edit.minutes":      {"minutes", "Minuten"},
	"edit.hours":        {"hours", "Stunden"},
	"edit.days":         {"days", "Tagen"},
	"edit.takes-effect": {"Takes effect {soon}.", "Wirkt {soon}."},
	"edit.view-only": {
		"You may view this token, but not change it.",
		"Dieses Token lässt sich ansehen, aber nicht ändern.",
	},

	"edit.actions":    {"Actions", "Aktionen"},
	"edit.reveal":     {"Reveal secret…", "Geheimnis anzeigen …"},
	"edit.signing":    {"Signing secret…", "Signiergeheimnis …"},
	"edit.rotate":     {"Rotate…", "Erneuern …"},
	"edit.do-enable":  {"Enable…", "Entsperren …"},
	"edit.do-disable": {"Disable…", "Sperren …"},
	"edit.revoke":     {"Revoke…", "Widerrufen …"},

	"edit.damaged": {
		"The stored record of the token {id} cannot be read. Requests with it are refused. Revoke it and create another " +
			"one, or have the database restored from a backup.",
		"Der gespeicherte Datensatz des Tokens {id} ist nicht lesbar. Anfragen damit werden abgewiesen. Es lässt sich " +
			"widerrufen und durch ein neues ersetzen, oder die Datenbank aus einer Sicherung wiederherstellen.",
	},
	"edit.added": {
		"Added to the form below, and not saved yet.",
		"Unten im Formular ergänzt und noch nicht gespeichert.",
	},
	"edit.not-saved": {"Not saved.", "Nicht gespeichert."},
	"edit.correct": {
		"Not saved. Correct the marked fields below.",
		"Nicht gespeichert. Die markierten Felder unten sind zu berichtigen.",
	},
	"edit.denied": {
		"Not saved. You may not do this: it takes rights that you do not have. What you typed is still here.",
		"Nicht gespeichert. Dafür fehlen Rechte. Die Eingaben stehen noch da.",
	},
	"edit.revoked": {
		"Not saved: the token is revoked, and cannot be changed.",
		"Nicht gespeichert: das Token ist widerrufen und lässt sich nicht ändern.",
	},
	"edit.sent-before": {
		"This form was sent before, and nothing was saved now. Compare it with what is stored, and send it again to save it.",
		"Dieses Formular wurde schon einmal gesendet; jetzt wurde nichts gespeichert. Nach dem Vergleich mit dem " +
			"Gespeicherten lässt es sich durch erneutes Senden speichern.",
	},
	"edit.expired": {
		"This page has expired. Nothing was saved. Send it again.",
		"Diese Seite ist abgelaufen. Es wurde nichts gespeichert. Bitte noch einmal senden.",
	},
	"edit.conflict": {
		"Somebody else changed this token since you opened it. Nothing was saved, and what you typed is still here. " +
			"Compare both, correct the form, and send it again to replace the other change.",
		"Dieses Token wurde geändert, seit es hier geöffnet wurde. Es wurde nichts gespeichert, und die Eingaben stehen " +
			"noch da. Nach Vergleich und Berichtigung ersetzt erneutes Senden die andere Änderung.",
	},

	"edit.add-what": {
		"Choose what to allow there: tick at least one box.",
		"Was soll dort erlaubt sein? Bitte mindestens ein Kästchen ankreuzen.",
	},
	"edit.add-form": {"Write it as {form}.", "Bitte in der Form {form} eingeben."},
	"edit.bad-credits": {
		"Write a number such as {example}, with at most six decimals and without thousands separators, or 0 for no " +
			"credits at all. Leave it blank for no limit.",
		"Bitte eine Zahl wie {example} eingeben, mit höchstens sechs Nachkommastellen und ohne Tausendertrennzeichen, " +
			"oder 0 für gar keine Credits. Leer: kein Limit.",
	},
	"edit.bad-address": {
		"“{typed}” is no address, such as 192.0.2.7, and no network, such as 192.0.2.0/24.",
		"„{typed}“ ist keine Adresse wie 192.0.2.7 und kein Netz wie 192.0.2.0/24.",
	},
	"edit.refused-address": {"{typed}: {why}", "{typed}: {why}"},
	"edit.bad-rate": {
		"Write whole numbers: the requests, above 0, and how many more at once, 0 or above.",
		"Bitte ganze Zahlen eingeben: die Anfragen, größer als 0, und wie viele mehr auf einmal, 0 oder größer.",
	},
	"edit.bad-moment": {
		"Write a day and a time in UTC, such as {example}.",
		"Bitte Tag und Uhrzeit in UTC eingeben, wie {example}.",
	},
	"edit.must-end": {
		"Tokens of this kind always end. Choose when.",
		"Token dieser Art enden immer. Bitte angeben, wann.",
	},
	"edit.past": {
		"This time is past. To end the token now, revoke it.",
		"Dieser Zeitpunkt ist vorbei. Widerrufen beendet das Token sofort.",
	},
	"edit.end-before": {
		"The token would end before it begins. Choose an earlier time, or a later expiry.",
		"Das Token würde enden, bevor es beginnt. Bitte einen früheren Beginn oder einen späteren Ablauf wählen.",
	},
	"edit.bad-idle": {
		"Write a whole number above 0, at most a hundred years. Leave it blank for no such end.",
		"Bitte eine ganze Zahl größer als 0 eingeben, höchstens hundert Jahre. Leer: kein solches Ende.",
	},
}
