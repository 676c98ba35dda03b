package console

// rolesWords are the texts of the list of roles.
var rolesWords = phrases{
	"roles.title":     {"Roles", "Rollen"},
	"roles.create":    {"Create a role", "Rolle anlegen"},
	"roles.search":    {"Full name of a role", "Ganzer Name einer Rolle"},
	"roles.do-search": {"Search", "Suchen"},
	"roles.show-all":  {"Show all", "Alle anzeigen"},
	"roles.caption":   {"Roles, oldest first", "Rollen, die ältesten zuerst"},
	"roles.name":      {"Name", "Name"},
	"roles.rules":     {"Rules", "Regeln"},
	"roles.inherits":  {"Inherits", "Erbt von"},
	"roles.actions":   {"Actions", "Aktionen"},
	"roles.coded":     {"part of the program", "Teil des Programms"},
	"roles.same-name": {
		"a role of the program has this name",
		"eine Rolle des Programms hat diesen Namen",
	},
	"roles.damaged": {
		"Damaged: the stored role {id} cannot be read. It allows nothing.",
		"Beschädigt: die gespeicherte Rolle {id} ist nicht lesbar. Sie erlaubt nichts.",
	},
	"roles.no-rules":  {"no rules of its own", "keine eigenen Regeln"},
	"roles.more":      {"and {n} more", "und {n} weitere"},
	"roles.access":    {"What it allows", "Was sie erlaubt"},
	"roles.access-of": {"What it allows: {name}", "Was sie erlaubt: {name}"},
	"roles.no-match":  {"No role has that name.", "Keine Rolle heißt so."},
	"roles.empty":     {"There are no roles yet.", "Es gibt noch keine Rollen."},
	"roles.pages":     {"Pages", "Seiten"},
	"roles.first":     {"First", "Erste"},
	"roles.next":      {"Next", "Nächste"},
	"roles.deleted":   {"There is no such role now.", "Diese Rolle gibt es jetzt nicht mehr."},
	"roles.made":      {"The role was made.", "Die Rolle ist angelegt."},
	"roles.saved": {
		"Saved. The change takes effect for every token with this role {soon}.",
		"Gespeichert. Die Änderung wirkt {soon} für jedes Token mit dieser Rolle.",
	},
}
