package api

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// descriptions are those of members of latchkey's own types, whose comments speak of Go. The document is for readers of
// any language.
var descriptions = map[string]string{
	"Balance.left":     "0 or more, with what was carried over from the period before.",
	"Balance.quota":    "The quota.",
	"Balance.resets":   "When the period of the quota is over. Absent: never.",
	"Balance.token_id": "Whose quota it is. Absent: the account's.",

	"Client.id":   "At most 256 bytes.",
	"Client.name": "At most 256 bytes.",

	"Event.action": "What was done, such as token.issue or role.update.",
	"Event.actor": `Who did it: the id of a token, "client:<id>" for somebody who was signed in by the host; absent ` +
		`for the host itself. "client:" alone is somebody without an id, or who was erased.`,
	"Event.after":  "The record as it became, without secrets. Absent: there is none.",
	"Event.at":     "When it happened.",
	"Event.before": "The record as it was, without secrets. Absent: there was none.",
	"Event.from":   "The network address. Absent: not known.",
	"Event.hash":   "Kept as it was put. Nothing computes it yet.",
	"Event.object": "The id of the record that it was done to.",
	"Event.owner":  "The account.",
	"Event.prev":   "Kept as it was put. Nothing computes it yet.",
	"Event.reason": "The reason that was given.",
	"Event.seq":    "It grows within an account.",

	"ExplainedLayer.fault":   "Why the layer is invalid and allows nothing. Absent: it is valid.",
	"ExplainedLayer.forced":  "The values that it forces into rows that are created.",
	"ExplainedLayer.full":    "Its rules start from everything allowed.",
	"ExplainedLayer.limit":   "A condition that the layer adds to everything. Absent: none.",
	"ExplainedLayer.name":    "The id of a token, or what else the layer is.",
	"ExplainedLayer.roles":   "Inherited ones first.",
	"ExplainedLayer.rows":    "The rows that it allows.",
	"ExplainedLayer.rules":   "The rules that match: those of roles, in the order of roles, then the layer's own.",
	"ExplainedLayer.verdict": "all, some or none.",

	"ExplainedRole.ended":     "That is past: the role gives nothing.",
	"ExplainedRole.ends":      "Until when the token of the layer has the role. Absent: no end.",
	"ExplainedRole.fault":     "Why the role is invalid and gives nothing. Absent: it is valid.",
	"ExplainedRole.id":        "Its id.",
	"ExplainedRole.inherited": "The layer does not name it.",
	"ExplainedRole.limit": "What the boundary of the role lets through, if the layer names the role. Absent: no " +
		"boundary.",
	"ExplainedRole.name": "Its name.",
	"ExplainedRole.same_name": "The id of the role of the program that has the name of this stored role, but for " +
		"case and spaces. The name then means neither. Absent: there is none.",
	"ExplainedRole.verdict": "Of its rules and the inherited ones: all, some or none.",

	"ExplainedRule.overridden_by": "The roles that allow rows which this deny removes: a deny of a role applies " +
		"to that role only. Roles that inherit it, and allow the rows after it, are included.",
	"ExplainedRule.position": "In its list, from 1.",
	"ExplainedRule.repeated_by": "The role that applies this deny of an inherited role once more, after its own " +
		"rules: see inherit_denies.",
	"ExplainedRule.replaced":  "A later allow, or a later deny of every row, leaves nothing of what the rule does.",
	"ExplainedRule.role":      "The id of the role that it is of. Absent: the layer's own.",
	"ExplainedRule.role_name": "The name of that role.",
	"ExplainedRule.rule":      `In words, such as: allow read on dataset/* where region = "EU".`,

	"Explanation.action":       "The action that was asked about.",
	"Explanation.action_words": "What people call the action, as the host declares. Absent: it declares nothing.",
	"Explanation.decided_by": "The name of the layer that decided: the first that allows as little as the whole " +
		"does.",
	"Explanation.grants": "What is allowed, with the values that are forced.",
	"Explanation.layers": "The steps of the chain, with what each allows by itself. All of them must allow.",
	"Explanation.missing_roles": "Ids of roles of the program that are named or inherited and that this process " +
		"lacks. The answer is then that of this process only: one that has the roles may allow more. Absent: " +
		"the answer is complete.",
	"Explanation.reason":        "One sentence.",
	"Explanation.resource":      "The resource that was asked about.",
	"Explanation.resource_name": "What people call the resource, as the host declares.",
	"Explanation.rows":          "The allowed rows, with references not filled in.",
	"Explanation.undeclared": "Why the question cannot be meant, as the host declares what there is. Absent: it " +
		"can.",
	"Explanation.verdict": "all rows, some or none.",

	"Granted.forced": "Values that are forced into rows that are created.",
	"Granted.rows":   "The rows.",

	"LiveSecret.created": "When it was made here, or imported.",
	"LiveSecret.hint":    "What may be shown of it.",
	"LiveSecret.id": "It names the secret among those of its token: see endSecret and rotateToken. It tells when " +
		"the secret was made, and nothing of its text. Absent: the record cannot be read; rotating or " +
		"revoking the token ends it.",
	"LiveSecret.newest":    "It was made last, of those that do not sign.",
	"LiveSecret.not_after": "When it ends. Absent: with the token.",
	"LiveSecret.signing":   "It signs requests: see signingSecret.",
	"LiveSecret.used":      "Its last use. Absent: never, or not known.",
	"LiveSecret.used_from": "The address of the last use, as far as the host keeps it. Absent: not known.",

	"OwnerPolicy.audit_mints": `Each mint leaves an event "token.mint" in the audit trail, with the parent as its actor.`,
	"OwnerPolicy.children": "How many tokens minted from one token, directly, may live at once. Otherwise as " +
		"tokens.",
	"OwnerPolicy.client_right": `A token without a client that mints for one needs the right "give" on ` +
		`"latchkey/client/<its id>". A secret key has it. Without this rule such a token may mint for any client.`,
	"OwnerPolicy.kinds": `The kinds that may be made, each once. Minting makes "access". Absent: all.`,
	"OwnerPolicy.max_idle": "The longest idle limit. A token with a longer one, or none, is refused. A mint gets " +
		"this one.",
	"OwnerPolicy.max_lifetime": "The longest time from created to not_after. A token with a later end, or none, " +
		"is refused. A mint ends at that time at the latest.",
	"OwnerPolicy.mint_right": `A token that mints needs the right "mint" on "latchkey/token/<its id>". A secret ` +
		"key has it.",
	"OwnerPolicy.tokens": "How many issued and imported tokens may live at once, at most 1,000,000. A token lives " +
		"until it is revoked or deleted, has ended, or has idled out. A disabled token lives.",

	"httpadapter.Problem.detail":  "What is wrong, and what to do. No text of a request is repeated in it.",
	"httpadapter.Problem.field":   "The field of a row, or the parameter, that detail is about.",
	"httpadapter.Problem.object":  "The id of a record that detail is about, which the caller may know.",
	"httpadapter.Problem.pointer": "The member of the request's body that detail is about, as a JSON Pointer (RFC 6901).",
	"httpadapter.Problem.status":  "The status of the reply.",
	"httpadapter.Problem.title":   "What it is, in a few words.",
	"httpadapter.Problem.type":    "A name that is stable, and is not fetched. Programs go by it.",

	"Question.action":   "One action, such as read.",
	"Question.resource": "One resource, such as dataset/orders.",

	"Quota.amount": "0: nothing is left, ever.",
	"Quota.anchor": "The first day of the period: of a month 1 to 28, of a week 1 (Monday) to 7. Absent: 1. Other " +
		"periods have none.",
	"Quota.carry": "How much may be added of what the period just before left unspent of its amount. It is not " +
		"carried further. A quota that is for ever has none.",
	"Quota.meter": "At most 64 bytes. Absent: each meter has the amount for itself.",
	"Quota.per":   "The period, in UTC.",

	"Rate.burst": "How many more than one may come together.",
	"Rate.count": "How many requests are accepted in the time that per says.",
	"Rate.per":   "The time.",

	"RateInfo.limit":       "How many requests pass at once after a rest: one more than burst.",
	"RateInfo.remaining":   "How many would pass now.",
	"RateInfo.reset":       "The time until remaining is limit again.",
	"RateInfo.retry_after": "The time until one passes again. 0: one would pass now.",
	"RateInfo.window":      "The time in which limit requests become free again.",

	"Reached.except": "Resources within pattern for which this does not hold. What is allowed there is listed by " +
		"itself.",
	"Reached.pattern": "These resources. It may hold {*}, which is any one segment. Where a rule names the " +
		"client, the id of the caller's client stands.",
	"Reached.rows": "Those that the caller may do it to, with references filled in. true: all of them.",

	"RefusalCount.count":    "How many there were.",
	"RefusalCount.day":      "2006-01-02, in UTC.",
	"RefusalCount.reason":   "In one word, such as revoked, disabled, expired or denied.",
	"RefusalCount.token_id": "Of this token.",

	"Restrictions.addresses": "The client's network address must be in one of these.",
	"Restrictions.domains": "Web domains that may appear in the header Referer or Origin. With a list, a request " +
		"that names neither is refused. This contains leaks into other web pages; it is no authentication.",
	"Restrictions.mint_from": "Addresses from which it may mint. What it mints may be used from elsewhere.",
	"Restrictions.signed":    "Every request carries a signature. Such a token may not mint.",

	"Role.boundary": "A ceiling on what the role gives to a token that names it: of its rules and those it inherits " +
		"only what a boundary allows, its own or that of a role that it inherits. So several boundaries form a union. " +
		`Absent: no boundary. Empty: only what inherited boundaries let through. It reaches "latchkey/…" only by a ` +
		"pattern that begins so.",
	"Role.damaged": "The stored record cannot be read. A token that has the role, or one that inherits it, may do " +
		"nothing until updateRole has replaced it.",
	"Role.extra": "The host's, or that of the surface that made the role. It is kept byte for byte.",
	"Role.id":    "Its id.",
	"Role.inherit_denies": "The deny rules of the roles that it inherits, directly or not, apply once more after " +
		"its own rules.",
	"Role.inherits":    "Ids of roles. Those of the program begin with code:.",
	"Role.name":        "At most 256 bytes. Two names of roles differ by more than case and spaces.",
	"Role.origin":      "The surface that made the role, such as datocms. Absent: the host.",
	"Role.owner":       "The account. Empty: a role of the program.",
	"Role.permissions": "Its rules, in order, applied to the union of what it inherits.",
	"Role.version":     "1 when created, one more with every change. 0: a role of the program.",

	"Settings.disabled":     "The off switch: the token and what it minted are refused.",
	"Settings.extra":        "The host's, or that of the surface that made the token. It is kept byte for byte.",
	"Settings.name":         "At most 256 bytes.",
	"Settings.permissions":  "The token's own rules, in order, applied to the union of its roles.",
	"Settings.restrictions": "Where the token may be used.",
	"Settings.role_ends": "Until when the token has some of its roles, by id. From then on it does not have the " +
		"role, and neither has what it minted. The role stays listed. Absent: all are held for good.",
	"Settings.roles":    "Ids of roles. The token may do the union of what they allow.",
	"Settings.validity": "When it may be used.",

	"Token.attributes":       "Facts about who uses the token, given when it was made. Rows may refer to them.",
	"Token.child_attributes": "Names of attributes that a mint may set where the token has none.",
	"Token.client":           "The client that the token belongs to, given when it was made. Rows may refer to it.",
	"Token.created":          "To the microsecond, in UTC, as every time of a record.",
	"Token.damaged": "The stored record cannot be read. Its other members may be shown to people, and decide " +
		"nothing. The token can do nothing until it is revoked or deleted.",
	"Token.depth":  "How many ancestors it has.",
	"Token.forced": "Values that a minted token writes into every row it creates, over the caller's.",
	"Token.full": "Its mint named neither roles nor permissions. It may do all that its parent may do, within " +
		"rows. Absent for every other token.",
	"Token.hint":   "What may be shown of the newest secret: the first and the last characters.",
	"Token.id":     "Its id.",
	"Token.origin": "The surface that made the token, such as cloudtables. Absent: the host.",
	"Token.owner":  "The account.",
	"Token.owner_version": "The version of the account's record when the token was made: an order that needs no " +
		"clock. Absent: there was no record.",
	"Token.parent":  "The token that minted this one. Absent: it was issued.",
	"Token.public":  "The text of a publishable token, which is no secret.",
	"Token.reason":  "Why it was revoked.",
	"Token.revoked": "When it was revoked. Absent: it is not.",
	"Token.rows":    "A minted token is limited to rows that meet all of these. Absent: no limit of its own.",
	"Token.test":    "Only sandboxes accept it.",
	"Token.used": "The last use, to about ten minutes or a twentieth of the idle limit. Absent: never used. Use " +
		"of tokens that it minted does not count.",
	"Token.version": "1 when made, one more with every change.",

	"UsageRow.client_id": "Of this client.",
	"UsageRow.count":     "How many uses there were.",
	"UsageRow.credits":   "What they took.",
	"UsageRow.day":       "2006-01-02, in UTC; 2006-01 for what is so old that it was added up by month.",
	"UsageRow.endpoint":  "At this endpoint, as the host names it.",
	"UsageRow.meter":     "Of this meter.",
	"UsageRow.owner":     "The account.",
	"UsageRow.token_id":  "Of this token.",

	"Validity.idle": "It ends the token this long after its last use, or after it was made while it was not used. " +
		"A second or more. Absent: no idle limit.",
	"Validity.not_after":  "It works before this time. Absent: no end, which kinds that always end must have.",
	"Validity.not_before": "It works from this time on. Absent: at once.",
}

// speaksGo finds what a reader in another language has not: names of Go, and its words for values.
var speaksGo = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w*|\b[A-Z]\w+\.[A-Z]\w+|\bErr[A-Z]|\b[Ss]ee [A-Z]|\bnil\b|` +
	`\bthe zero [A-Z]|"":`)

// beginsAsGo finds sentences whose subject is the name of a field, as in comments of Go.
var beginsAsGo = regexp.MustCompile(`^\w+ (is|are|has|have|holds?|says?|limits?|reports?|leaves?|demands?|names?|` +
	`ends?|applies|belongs|bounds?)\b`)

// beginsWithValue finds a description that begins with a value of JSON.
var beginsWithValue = regexp.MustCompile(`^(true|false|all|null)\b`)

func TestDescriptionsDoNotSpeakGo(t *testing.T) {
	var document any
	require.NoError(t, json.Unmarshal(Document(), &document))
	seen := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				if text, ok := inner.(string); ok && name == "description" {
					seen++
					require.NotRegexp(t, speaksGo, text, at)
					require.False(t, text[0] >= 'a' && text[0] <= 'z' && !beginsWithValue.MatchString(text), "%s: %s", at, text)
					member := strings.ReplaceAll(at[strings.LastIndexByte(at, '/')+1:], "_", "")
					first, _, _ := strings.Cut(text, " ")
					require.False(t, beginsAsGo.MatchString(text) && strings.EqualFold(first, member), "%s: %s", at, text)
				}
				walk(at+"/"+name, inner)
			}
		case []any:
			for _, inner := range v {
				walk(at, inner)
			}
		}
	}
	walk("", document)
	require.Greater(t, seen, 300)
	d := newDocument(t)
	d.document()
	for name := range descriptions {
		require.True(t, d.used[name], "%s: the document has no such member", name)
	}
	for name, schema := range document.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
		members, _ := schema.(map[string]any)["properties"].(map[string]any)
		for member, of := range members {
			require.NotEmpty(t, of.(map[string]any)["description"], "%s.%s", name, member)
		}
	}

	for _, bad := range []string{"see Spec", "as DamagedError", "by Options.Roles", "is ErrInvalid", "nil", `"": none`} {
		require.Regexp(t, speaksGo, bad)
	}
}
