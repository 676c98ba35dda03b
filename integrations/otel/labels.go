package latchkeyotel

import "github.com/latchkey-go/latchkey"

// other is the value of an attribute for whatever its list does not have. OpenTelemetry's conventions use it for
// error.type.
const other = "_OTHER"

// The values of the attributes, as the documentation of latchkey.Observer lists them. Only these are exported, so no
// attribute is unbounded, whatever a later version of latchkey reports. Tests compare them with latchkey's source.
var (
	refusalReasons = []string{"foreign_owner", "test_mode", "rotated", "owner_disabled", "disabled", "revoked",
		"not_yet_valid", "expired", "parent", "signature_required", "signature", "replay", "referer", "address",
		"rate_limited", "denied", "over_limit", "too_many", "deleted", "unaccepted", "invalid", "other"}

	// "ok" is the first, and the way of a counter to it is the shortest.
	verificationOutcomes = append([]string{"ok", "unknown", "limited", "unavailable", "canceled"}, refusalReasons...)

	sources = []string{string(latchkey.SourceCache), string(latchkey.SourceStore), string(latchkey.SourceNone)}

	storeOperations = []string{"ByDigest", "ByLookup", "Load", "Tokens", "Count", "Ending", "Unused", "KeySecrets",
		"Undelivered", "Deliver", "Secrets", "Role", "Roles", "Clients", "Owner", "Events", "Epoch", "Changes",
		"Revocations", "Write", "Once", "AddUsage", "Usage", "Reserve", "Adjust", "Settle", "Balances", "Taken", "Purge"}

	storeAnswers  = []string{"not_found", "conflict", "exists", "in_use", "over_limit", "too_many", "invalid"}
	storeFailures = []string{"timeout", "damaged", "unknown_outcome", "unavailable"}
	storeClasses  = append(append([]string{"ok", "canceled"}, storeAnswers...), storeFailures...)

	mintOutcomes = append([]string{"ok", "forced", "conflict", "exists", "canceled", "timeout", "damaged",
		"unknown_outcome", "unavailable"}, refusalReasons...)

	eventActions = []string{"token.issue", "token.import", "token.import-digest", "token.update", "token.rotate",
		"token.end-secret", "token.revoke", "token.revoke-stateless", "token.delete", "token.reveal",
		"token.signing-secret", "token.mint", "role.create", "role.update", "role.delete", "owner.configure",
		"owner.erase", "client.erase",
		"audit.purge", "audit.redact", "request.done"}

	leaseEvents = []string{"taken", "returned", "expired", "refused", "failed"}

	failureParts = []string{"feed", "usage", "last_use", "lease", "secret", "deliver", "observer"}
)

// list is a fixed list of the values of an attribute, and the place of each.
type list struct {
	values []string // the last is other
	places map[string]int
}

func newList(values []string) *list {
	l := &list{values: append(append([]string{}, values...), other), places: map[string]int{}}
	for i, v := range values {
		l.places[v] = i
	}
	return l
}

// place returns the place of a value. It does not look the first up, because that is the one of a cached Verify.
func (l *list) place(value string) int {
	if value == l.values[0] {
		return 0
	}
	if i, ok := l.places[value]; ok {
		return i
	}
	return len(l.values) - 1
}
