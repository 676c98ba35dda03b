package console

import (
	"errors"
	"slices"

	"github.com/latchkey-go/latchkey"
)

// foresight is what saving a role would change, and for which tokens.
type foresight struct {
	Rows         []changedAnswer // of the role itself
	RowsMore     int
	Tokens       []affectedToken // the first of those that have it, or a role that inherits it
	Count        int             // tokens that name it
	Most         int
	Heirs        []option // roles that inherit it
	MoreHeirs    bool
	NothingKnown bool // the stored role cannot be read
}

// changedAnswer is the answer to a question before and after.
type changedAnswer struct {
	Action, Resource string
	Before, After    answer
}

// answer is how much is allowed.
type answer struct{ Word, Class, Rows string }

// affectedToken is a token with what changes for it.
type affectedToken struct {
	ID, Name string
	Changes  []changedAnswer
	More     int
	Hidden   bool // a role or a parent of it is hidden from the person
}

// Bounds of a foresight on a page.
const (
	maxChanges      = 20 // answers about the role
	maxTokenChanges = 3  // answers about one token
	maxAffected     = 8  // tokens
)

func (v *view) answerOf(e *latchkey.Explanation) answer {
	x := v.verdictOf(*e, 0)
	return answer{x.Word, x.Class, shorten(x.Rows, 160)}
}

// changedAnswers returns the answers that differ, at most most of them, and how many more there are.
func (v *view) changedAnswers(before, after []latchkey.Explanation, most int) (out []changedAnswer, more int) {
	for i := range min(len(before), len(after)) {
		a, b := &before[i], &after[i]
		if a.Verdict == b.Verdict && a.Rows.Equal(b.Rows) {
			continue
		}
		if len(out) == most {
			more++
			continue
		}
		x := v.verdictOf(*a, 0)
		out = append(out, changedAnswer{x.Action, x.Resource, v.answerOf(a), v.answerOf(b)})
	}
	return out, more
}

// foresee returns what saving a role as becomes would change. It saves nothing.
func (v *view) foresee(r, becomes *latchkey.Role) (*foresight, error) {
	ctx := v.r.Context()
	out := &foresight{Most: maxCounted, NothingKnown: r.Damaged}
	if r.Damaged {
		return out, nil
	}
	was, err := v.account.RoleLineage(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	lists := append(rulesOf(&was), becomes.Permissions)
	for _, up := range becomes.Inherits {
		l, err := v.account.RoleLineage(ctx, up)
		if err != nil {
			return nil, err
		}
		lists = append(lists, rulesOf(&l)...)
	}
	ask := v.questions("", lists...)
	ask = ask[:min(len(ask), 4*maxQuestions)]
	before, err := v.account.ExplainRole(ctx, r.ID, ask...)
	if err != nil {
		return nil, err
	}
	after, err := v.account.ExplainRoleAs(ctx, *becomes, ask...)
	if err != nil {
		return nil, err
	}
	out.Rows, out.RowsMore = v.changedAnswers(before, after, maxChanges)
	live := []latchkey.State{latchkey.Active, latchkey.Disabled, latchkey.Expired, latchkey.NotYetValid}
	if out.Count, err = v.account.CountTokens(ctx, latchkey.TokenQuery{Role: r.ID, States: live}, maxCounted); err != nil {
		return nil, err
	}
	used, err := v.usersOf(r.ID)
	if err != nil {
		return nil, err
	}
	out.Heirs, out.MoreHeirs = used.Roles, used.MoreRoles
	roles := []string{r.ID}
	for _, heir := range used.Roles {
		roles = append(roles, heir.Value)
	}
	var seen []string
	for _, role := range roles {
		for t, err := range v.account.Tokens(ctx, latchkey.TokenQuery{Role: role, States: live,
			Page: latchkey.Page{Limit: maxAffected}}) {
			if err != nil && !isDamaged(err) {
				return nil, err
			}
			if len(seen) == maxAffected {
				break
			}
			if slices.Contains(seen, t.ID) {
				continue
			}
			seen = append(seen, t.ID)
			one, err := v.affected(&t, becomes, ask)
			if err != nil {
				return nil, err
			}
			out.Tokens = append(out.Tokens, one)
		}
	}
	return out, nil
}

// affected returns what a change of a role changes for a token.
func (v *view) affected(t *latchkey.Token, becomes *latchkey.Role, ask []latchkey.Question) (affectedToken, error) {
	one := affectedToken{ID: t.ID, Name: shorten(label(t), maxNameLength)}
	ctx := v.r.Context()
	before, err := v.account.Explain(ctx, t.ID, ask...)
	var after []latchkey.Explanation
	if err == nil {
		after, err = v.account.ExplainWith(ctx, t.ID, *becomes, ask...)
	}
	if errors.Is(err, latchkey.ErrDenied) || errors.Is(err, latchkey.ErrNotFound) || isDamaged(err) {
		one.Hidden = true
		return one, nil
	}
	one.Changes, one.More = v.changedAnswers(before, after, maxTokenChanges)
	return one, err
}
