package console

// mintedWords are the texts of the page about what a token minted.
var mintedWords = phrases{
	"minted.title": {"What {name} minted", "Was {name} geprägt hat"},
	"minted.count": {
		"{n, plural, =0 {It minted no token that is kept.} one {It minted # token.} other {It minted # tokens.}}",
		"{n, plural, =0 {Kein geprägtes Token ist gespeichert.} one {Ein Token geprägt.} other {# Token geprägt.}}",
	},
	"minted.most": {"It minted more than {n} tokens.", "Mehr als {n} Token geprägt."},
	"minted.about": {
		"None of them may do more than it may, and each ends with it. Stateless ones are not listed.",
		"Keines darf mehr als dieses, und jedes endet mit ihm. Zustandslose stehen nicht in der Liste.",
	},
	"minted.caption":   {"Minted tokens, oldest first", "Geprägte Token, die ältesten zuerst"},
	"minted.client":    {"Client", "Client"},
	"minted.no-client": {"None", "Keiner"},
	"minted.none":      {"There are none.", "Es gibt keine."},
	"minted.acts":      {"With all of them", "Mit allen"},
}
