package console

// reasonWords are why a decision is what it is.
var reasonWords = phrases{
	"reason.this-token": {"the token", "das Token"},
	"reason.boundary":   {"the boundary of the account", "die Grenze des Kontos"},
	"reason.role":       {"role {name}", "Rolle {name}"},
	"reason.no-rules":   {"No rules apply.", "Es gelten keine Regeln."},
	"reason.bad-action": {
		"An invalid action is always denied.",
		"Eine ungültige Aktion ist immer verboten.",
	},
	"reason.bad-resource": {
		"An invalid resource is always denied.",
		"Eine ungültige Ressource ist immer verboten.",
	},
	"reason.any-action": {
		"“*” stands for any action in rules only: name one action.",
		"„*“ steht nur in Regeln für jede Aktion: bitte eine Aktion nennen.",
	},
	"reason.everything": {"{name}: may do everything.", "{name}: darf alles."},
	"reason.every-row": {
		"{name}: allows every row, and nothing else allows less.",
		"{name}: erlaubt jede Zeile, und nichts anderes erlaubt weniger.",
	},
	"reason.some-rows": {"{name}: allows some rows only.", "{name}: erlaubt nur manche Zeilen."},
	"reason.no-row": {
		"{name}: limits everything to no row.",
		"{name}: beschränkt alles auf keine Zeile.",
	},
	"reason.no-rule": {"{name}: no rule allows it.", "{name}: keine Regel erlaubt es."},
	"reason.fault":   {"{name}: allows nothing: {fault}", "{name}: erlaubt nichts: {fault}"},
	"reason.forces-other": {
		"{name}: forces other values than what comes before it, so no way is left that all allow.",
		"{name}: erzwingt andere Werte als das davor; so bleibt kein Weg, den alle erlauben.",
	},
	"reason.role-fault": {
		"{name}: no rule allows it, and the role {role} gives nothing: {fault}",
		"{name}: keine Regel erlaubt es, und die Rolle {role} gibt nichts: {fault}",
	},
	"reason.role-boundary": {
		"{name}: no rule allows it but those of the role {role}, whose boundary does not.",
		"{name}: nur Regeln der Rolle {role} erlauben es, und deren Grenze erlaubt es nicht.",
	},
	"reason.rule": {"{name}: {rule}.", "{name}: {rule}."},
}
