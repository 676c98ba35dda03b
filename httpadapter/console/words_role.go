package console

// roleWords are the texts of the form of a role, and of the page that deletes one.
var roleWords = phrases{
	"role.new":       {"New role", "Neue Rolle"},
	"role.back":      {"Back to all roles", "Zurück zu allen Rollen"},
	"role.access":    {"What it allows", "Was sie erlaubt"},
	"role.delete":    {"Delete…", "Löschen …"},
	"role.theirs":    {"“{name}”, as it is stored now", "„{name}“, wie sie jetzt gespeichert ist"},
	"role.theirs-up": {"It inherits {names}.", "Sie erbt von {names}."},
	"role.theirs-again": {
		"It inherits {names}, and applies their denies again.",
		"Sie erbt von {names} und wendet deren Verbote erneut an.",
	},
	"role.no-rules": {"It has no rules of its own.", "Sie hat keine eigenen Regeln."},
	"role.more":     {"and {n} more", "und {n} weitere"},
	"role.legend":   {"Role", "Rolle"},
	"role.name":     {"Name", "Name"},
	"role.inherits": {"Inherits", "Erbt von"},
	"role.again": {
		"Apply their denies again, after the rules below",
		"Deren Verbote nach den Regeln unten erneut anwenden",
	},
	"role.rules": {"Rules, in order", "Regeln, der Reihe nach"},
	"role.rules-part": {
		"Rules {from} to {to} of {of}, in order",
		"Regeln {from} bis {to} von {of}, der Reihe nach",
	},
	"role.rules-about": {
		"A later rule outweighs an earlier one: allow replaces the answer so far, grant adds rows to it, deny removes " +
			"them. Without a rule, nothing is allowed.",
		"Eine spätere Regel überwiegt eine frühere: allow ersetzt die bisherige Antwort, grant fügt Zeilen hinzu, deny " +
			"entfernt sie. Ohne Regel ist nichts erlaubt.",
	},
	"role.kept": {
		"This form cannot hold it: kept as it is.",
		"Dieses Formular kann sie nicht aufnehmen: sie bleibt, wie sie ist.",
	},
	"role.new-rule":      {"a new rule", "eine neue Regel"},
	"role.verb":          {"Verb", "Verb"},
	"role.on":            {"On", "Auf"},
	"role.where":         {"Where", "Wenn"},
	"role.on-example":    {"dataset/*", "dataset/*"},
	"role.every-row":     {"every row", "jede Zeile"},
	"role.force":         {"Force", "Erzwingen"},
	"role.nothing":       {"nothing", "nichts"},
	"role.up":            {"Up", "Nach oben"},
	"role.up-of":         {"Up, rule {n}", "Nach oben, Regel {n}"},
	"role.remove":        {"Remove", "Entfernen"},
	"role.remove-of":     {"Remove rule {n}", "Regel {n} entfernen"},
	"role.actions-of":    {"Actions of rule {n}", "Aktionen von Regel {n}"},
	"role.any-action":    {"any action", "jede Aktion"},
	"role.other-actions": {"Other actions", "Weitere Aktionen"},
	"role.pick":          {"Add a declared kind", "Bekannte Art hinzufügen"},
	"role.rows":          {"Only rows where", "Nur Zeilen, für die"},
	"role.join":          {"All or any", "Alle oder eine"},
	"role.join-all":      {"all of these hold", "all das gilt"},
	"role.join-any":      {"any of these holds", "etwas davon gilt"},
	"role.field":         {"field", "Feld"},
	"role.field-of":      {"Field of condition {n}", "Feld von Bedingung {n}"},
	"role.op-of":         {"Operator of condition {n}", "Operator von Bedingung {n}"},
	"role.value":         {"value", "Wert"},
	"role.value-of":      {"Value of condition {n}", "Wert von Bedingung {n}"},
	"role.add-row":       {"Add a condition", "Bedingung hinzufügen"},
	"role.as-text":       {"As text, or JSON", "Als Text oder JSON"},
	"role.as-text-about": {
		"Change this or the conditions above, not both. It takes the text that these pages show.",
		"Entweder dies oder die Bedingungen oben ändern. Das Feld versteht den Text, den diese Seiten zeigen.",
	},
	"role.review": {"See what changes", "Ansehen, was sich ändert"},
	"role.foreseen": {"Nothing is saved yet. See below what would change.",
		"Noch ist nichts gespeichert. Unten steht, was sich ändern würde."},
	"role.changes": {"What changes", "Was sich ändert"},
	"role.changes-none": {
		"Nothing changes in what the role allows.",
		"An dem, was die Rolle erlaubt, ändert sich nichts.",
	},
	"role.changes-unknown": {
		"What the stored role allows cannot be read, so there is nothing to compare with.",
		"Was die gespeicherte Rolle erlaubt, ist nicht lesbar; es gibt nichts zu vergleichen.",
	},
	"role.before":   {"Before", "Vorher"},
	"role.after":    {"After", "Nachher"},
	"role.affected": {"Which tokens this is for", "Für welche Token das gilt"},
	"role.holders": {
		"{n, plural, =0 {No token has the role itself.} one {# token has the role.} other {# tokens have the role.}}",
		"{n, plural, =0 {Kein Token hat die Rolle selbst.} one {# Token hat die Rolle.} other {# Token haben die Rolle.}}",
	},
	"role.holders-most": {"More than {n} tokens have the role.", "Mehr als {n} Token haben die Rolle."},
	"role.unaffected": {
		"nothing changes, because of its other rules, roles or limits",
		"nichts ändert sich, wegen seiner anderen Regeln, Rollen oder Grenzen",
	},
	"role.hidden": {
		"a role or a parent that you may not see decides, too",
		"eine nicht sichtbare Rolle oder ein nicht sichtbares Elterntoken entscheidet mit",
	},
	"role.add-rule": {"Add a rule", "Regel hinzufügen"},
	"role.fields-about": {
		"On: one pattern per line; “dataset/*” means everything beneath it. Where and Force are texts such as " +
			"<mono>{where}</mono> and <mono>{force}</mono>, or JSON.",
		"Auf: ein Muster je Zeile; „dataset/*“ meint alles darunter. Wenn und Erzwingen sind Texte wie " +
			"<mono>{where}</mono> und <mono>{force}</mono>, oder JSON.",
	},
	"role.kinds":    {"What rules can be about", "Wovon Regeln handeln können"},
	"role.boundary": {"Boundary", "Grenze"},
	"role.boundary-about": {
		"A token with this role gets from these rules, and from inherited ones, only what the boundary allows. Saving " +
			"does not change it.",
		"Ein Token mit dieser Rolle erhält aus diesen und aus geerbten Regeln nur, was die Grenze erlaubt. Speichern " +
			"ändert sie nicht.",
	},
	"role.boundary-inherits": {
		"A token with this role gets from these rules, and from inherited ones, only what the boundary allows, or what " +
			"that of an inherited role allows. Saving does not change it.",
		"Ein Token mit dieser Rolle erhält aus diesen und aus geerbten Regeln nur, was die Grenze oder die einer " +
			"geerbten Rolle erlaubt. Speichern ändert sie nicht.",
	},
	"role.boundary-none": {"It allows nothing.", "Sie erlaubt nichts."},
	"role.save":          {"Save", "Speichern"},
	"role.create":        {"Create the role", "Rolle anlegen"},
	"role.takes-effect":  {"Takes effect {soon}.", "Wirkt {soon}."},
	"role.view-only": {
		"You may view this role, but not change it.",
		"Diese Rolle lässt sich ansehen, aber nicht ändern.",
	},
	"role.parts":     {"Rules", "Regeln"},
	"role.earlier":   {"Earlier rules", "Frühere Regeln"},
	"role.later":     {"Later rules", "Spätere Regeln"},
	"role.from-rule": {"From rule", "Ab Regel"},
	"role.show":      {"Show", "Anzeigen"},
	"role.save-first": {
		"Save before you open another part.",
		"Vor dem Öffnen eines anderen Teils bitte speichern.",
	},

	"role.part": {
		"Showing {n} of {of}. The others stay unchanged.",
		"{n} von {of} angezeigt. Die übrigen bleiben unverändert.",
	},
	"role.name-of-role": {"Name of a role", "Name einer Rolle"},
	"role.add-role":     {"Add role", "Rolle hinzufügen"},
	"role.suggested": {
		"Not all roles are suggested: type the name of any other.",
		"Nicht alle Rollen werden vorgeschlagen: andere Namen lassen sich eingeben.",
	},

	"role.damaged": {
		"The stored role {id} cannot be read, and allows nothing. What you save here replaces the whole role.",
		"Die gespeicherte Rolle {id} ist nicht lesbar und erlaubt nichts. Was hier gespeichert wird, ersetzt die ganze " +
			"Rolle.",
	},
	"role.coded": {
		"This role is part of the program that runs here, and changes only with it.",
		"Diese Rolle ist Teil des Programms, das hier läuft, und ändert sich nur mit ihm.",
	},
	"role.conflict": {
		"Somebody else changed this role since you opened it. Nothing was saved, and what you typed is still here. " +
			"Compare both, and save again to replace the other change.",
		"Diese Rolle wurde geändert, seit sie hier geöffnet wurde. Es wurde nichts gespeichert, und die Eingaben stehen " +
			"noch da. Nach dem Vergleich beider Fassungen ersetzt erneutes Speichern die andere Änderung.",
	},
	"role.sent-before": {
		"This form was sent before, and nothing was saved now. The result of the first time is not known here: check " +
			"the role, and save again.",
		"Dieses Formular wurde schon einmal gesendet; jetzt wurde nichts gespeichert. Das Ergebnis vom ersten Mal ist " +
			"hier nicht bekannt: bitte die Rolle prüfen und erneut speichern.",
	},
	"role.expired": {
		"This page has expired. Nothing was saved. Save again.",
		"Diese Seite ist abgelaufen. Es wurde nichts gespeichert. Bitte erneut speichern.",
	},
	"role.bad-rule": {
		"This rule cannot be read. Check its fields.",
		"Diese Regel ist nicht lesbar. Bitte ihre Felder prüfen.",
	},
	"role.same-name": {
		"Another role has this name. Choose another one.",
		"Eine andere Rolle heißt so. Bitte einen anderen Namen wählen.",
	},
	"role.lookalike": {
		"The name of the role “{name}” looks the same. Choose another name.",
		"Der Name der Rolle „{name}“ sieht genauso aus. Bitte einen anderen wählen.",
	},
	"role.no-name": {"A role needs a name.", "Eine Rolle braucht einen Namen."},
	"role.unknown-name": {
		"No role has this name. Check the spelling.",
		"Keine Rolle heißt so. Bitte die Schreibweise prüfen.",
	},
	"role.several": {
		"Several roles have this name. Write the id of the role instead.",
		"Mehrere Rollen heißen so. Bitte stattdessen die ID der Rolle eingeben.",
	},
	"role.invisible": {
		"The name holds the character {code}, which is invisible. Remove it.",
		"Der Name enthält das Zeichen {code}, das unsichtbar ist. Bitte entfernen.",
	},
	"role.odd-space": {
		"The name holds the character {code}, which looks like a space. Use a plain space.",
		"Der Name enthält das Zeichen {code}, das wie ein Leerzeichen aussieht. Bitte ein gewöhnliches Leerzeichen " +
			"verwenden.",
	},
	"role.two-spaces": {
		"The name holds two spaces side by side, which look like one. Use one.",
		"Der Name enthält zwei Leerzeichen nebeneinander, die wie eines aussehen. Bitte nur eines verwenden.",
	},

	"role.delete-title": {"Delete {name}", "{name} löschen"},
	"role.back-role":    {"Back to the role", "Zurück zur Rolle"},
	"role.delete-about": {
		"The role is removed {soon}. A role that tokens have, or other roles inherit, cannot be deleted.",
		"Die Rolle wird {soon} entfernt. Eine Rolle, die Token haben oder von der andere Rollen erben, lässt sich nicht " +
			"löschen.",
	},
	"role.do-delete": {"Delete the role", "Rolle löschen"},
	"role.delete-used": {
		"Not deleted: tokens have this role, or other roles inherit it. Remove it from them first.",
		"Nicht gelöscht: Token haben diese Rolle, oder andere Rollen erben von ihr. Sie ist zuerst von ihnen zu entfernen.",
	},
	"role.inherited-by":      {"Inherited by {names}.", "Geerbt von {names}."},
	"role.inherited-by-more": {"Inherited by {names} and others.", "Geerbt von {names} und anderen."},
	"role.assigned-to":       {"Assigned to {names}.", "Zugewiesen an {names}."},
	"role.assigned-to-more": {
		"Assigned to {names} and other tokens.",
		"Zugewiesen an {names} und andere Token.",
	},
}
