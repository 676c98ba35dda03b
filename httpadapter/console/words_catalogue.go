package console

// catalogues are the texts of the pages, one file for each page: "edit.name" is in words_edit.go. Texts of several
// pages begin with "common". Templates write {{say "edit.name"}}, and {{rich "edit.created" "time" .Created}} where a
// text holds names, moments or links. The program calls view.say and view.rich. Keys are literals, so that a test can
// check that each is in the catalogue with its placeholders, and that no text is unused.
var catalogues = []phrases{
	auditWords,
	commonWords,
	accountWords,
	accessWords,
	confirmWords,
	editWords,
	errorWords,
	factsWords,
	findWords,
	formatWords,
	frameWords,
	leakWords,
	listWords,
	manyWords,
	mintedWords,
	newWords,
	reasonWords,
	refusedWords,
	roleWords,
	rolesWords,
	secretWords,
	secretsWords,
	usageWords,
}

// commonWords are texts of several pages.
var commonWords = phrases{
	"common.back-tokens": {"Back to all tokens", "Zurück zu allen Token"},
	"common.back-token":  {"Back to the token", "Zurück zum Token"},
	"common.back":        {"Back", "Zurück"},
	"common.cancel":      {"Cancel", "Abbrechen"},
	"common.done":        {"Done", "Fertig"},
	"common.copy":        {"Copy", "Kopieren"},
	"common.at-once":     {"at once", "sofort"},
	"common.within":      {"within {time}", "innerhalb von {time}"},
	"common.expired": {
		"This page has expired. Nothing was done. Send the form again.",
		"Diese Seite ist abgelaufen. Es wurde nichts ausgeführt. Das Formular kann noch einmal gesendet werden.",
	},
}
