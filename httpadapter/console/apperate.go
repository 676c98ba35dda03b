package console

import "github.com/latchkey-go/latchkey"

// Apperate returns the catalogue of IEX Apperate's token page.
func Apperate() []Right {
	const dataset = "dataset/{WORKSPACE}/{DATASET}"
	return []Right{
		{Label: "Core Data Access", Action: latchkey.Read, Pattern: "core/*", Default: true},
		{Label: "Premium Data Access", Action: latchkey.Read, Pattern: "premium/*"},
		{Label: "read", Action: latchkey.Read, Pattern: dataset},
		{Label: "write", Action: latchkey.Create, Pattern: dataset},
		{Label: "write", Action: latchkey.Update, Pattern: dataset},
		{Label: "delete", Action: latchkey.Delete, Pattern: dataset},
	}
}

// ApperateWords returns the English texts with the words of IEX Apperate's token page: those of its instructions
// "Creating an API Token", and of the page itself as it was in January 2023. Options.CreditMeter "core" belongs to
// them.
func ApperateWords() *Words {
	w, err := English().With(map[string]string{
		"frame.title":     "API Tokens",
		"list.create":     "Create a token",
		"list.made":       "Successfully created a new publishable token. It is at the bottom of the list.",
		"list.created":    "Date Created",
		"list.reveal":     "Reveal secret token",
		"list.reveal-of":  "Reveal secret token {name}",
		"new.dialog":      "Are you sure you want to add a publishable token?",
		"new.legend":      "Are you sure you want to add a token? Choose its kind.",
		"new.dialog-add":  "Add publishable token",
		"new.do-create":   "Add token",
		"edit.name":       "Nickname",
		"edit.signed":     "Signed Requests",
		"edit.chips":      "Dataset permissions",
		"edit.domains":    "Allowed Domain(s)",
		"edit.credits":    "Core Credit Usage Limit",
		"edit.done":       "Done",
		"edit.enabled":    "ENABLED",
		"edit.disabled":   "DISABLED",
		"edit.chips-save": "Press Done before you open another part.",
	})
	if err != nil {
		panic(err) // a test calls it
	}
	return w
}
