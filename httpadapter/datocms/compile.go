package datocms

import (
	"slices"

	"github.com/latchkey-go/latchkey"
)

// Fields of the rows that conditions of compiled roles speak about. A host's schema that knows them obeys those roles;
// where it does not, Bind answers with an error and nothing is let through.
const (
	FieldCreator      = "creator"                   // the id of the token that made the record (latchkey.Self)
	FieldCreatorRole  = "creator_role"              // the id of the role its maker had (latchkey.SelfRoles)
	FieldWorkflow     = "workflow"                  // the id of the workflow of the record's model; NULL: none
	FieldStage        = "stage"                     // the id of the stage the record is in; NULL: none
	FieldToStage      = "to_stage"                  // move_to_stage: the stage it shall be in
	FieldLocale       = "locale"                    // the locale whose content is changed; NULL: content of no locale
	FieldToCollection = "move_to_upload_collection" // move: the collection it shall be in; NULL: none
)

// Resources that are no content.
const (
	apiCMA        latchkey.Resource = "api/cma"
	apiCDA        latchkey.Resource = "api/cda"
	apiPreview    latchkey.Resource = "api/cda_preview"
	enterPrimary  latchkey.Resource = "environment/primary"
	enterSandbox  latchkey.Resource = "environment/sandbox"
	allTokens     latchkey.Pattern  = "latchkey/token/*"
	allRoles      latchkey.Pattern  = "latchkey/role/*"
	everyContent  latchkey.Pattern  = "env/*"
	everyAPI      latchkey.Pattern  = "api/*"
	flagTokens                      = "can_manage_access_tokens"
	flagUsers                       = "can_manage_users"
	resourceFlags                   = "project"
)

// Model is the records of a model, in one environment. Ask about read, create, update, delete, [Publish], [Duplicate],
// [EditCreator], [TakeOver] and [MoveToStage].
func Model(environment, id string) latchkey.Resource {
	return latchkey.Path("env", environment, "model", id)
}

// Upload is the uploads of a collection, in one environment; "" is those of no collection. Ask about read, create, update,
// delete, [EditCreator], [ReplaceAsset] and [Move].
func Upload(environment, collection string) latchkey.Resource {
	return latchkey.Path("env", environment, "upload", collection)
}

// BuildTrigger is a build trigger. Ask about use: firing it by hand.
func BuildTrigger(id string) latchkey.Resource { return latchkey.Path("build_trigger", id) }

// SearchIndex is a search index. Ask about use: building it anew by hand.
func SearchIndex(id string) latchkey.Resource { return latchkey.Path("search_index", id) }

// Flag is one of a role's twenty flags ("can_edit_schema"). Ask about use.
func Flag(name string) latchkey.Resource { return latchkey.Path(resourceFlags, name) }

// Enter is nil if the access may enter an environment: the primary one, or any other. Nothing that [Model] or [Upload]
// names is allowed in one that it may not enter, so only who answers for an environment as such has to ask.
func Enter(access latchkey.Access, primary bool) error {
	if primary {
		return access.Check(latchkey.Use, enterPrimary)
	}
	return access.Check(latchkey.Use, enterSandbox)
}

// compile turns a role's own permissions into rules: grants for what is positive, then denies for what is negative. The
// rules are applied to the union of the roles it inherits.
func (p *permissions) compile() latchkey.Permissions {
	var rules latchkey.Permissions
	for _, name := range flagNames {
		if p.flags[name] {
			rules = append(rules, latchkey.Grant(latchkey.Use).On(latchkey.Exactly(Flag(name))))
		}
	}
	if p.flags[flagTokens] {
		rules = append(rules,
			latchkey.Grant(latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete, latchkey.Reveal, latchkey.Rotate).
				On(allTokens),
			latchkey.Grant(latchkey.Read).On(allRoles)) // whoever binds a token to a role must find the role
	}
	if p.flags[flagUsers] {
		rules = append(rules, latchkey.Grant(latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete).On(allRoles))
	}
	if p.environments == "all" || p.environments == "primary_only" {
		rules = append(rules, latchkey.Grant(latchkey.Use).On(latchkey.Exactly(enterPrimary)))
	}
	if p.environments == "all" || p.environments == "sandbox_only" {
		rules = append(rules, latchkey.Grant(latchkey.Use).On(latchkey.Exactly(enterSandbox)))
	}
	if p.inEveryEnvironment() {
		var all []latchkey.Action
		for i := range families {
			all = append(all, families[i].actionsOf()...)
		}
		slices.Sort(all)
		rules = append(rules, latchkey.Grant(slices.Compact(all)...).On(everyContent))
	}
	for i := range families {
		for _, e := range p.entries(i, positive) {
			rules = append(rules, families[i].rules(e, latchkey.Grant, false)...)
		}
	}
	for i := range families {
		for _, e := range p.entries(i, negative) {
			rules = append(rules, families[i].rules(e, latchkey.Deny, true)...)
		}
	}
	return rules
}

// everywhere says whether the one who made the role meant its "all" for every environment there will be, and nothing
// was taken from it since.
func (p *permissions) inEveryEnvironment() bool {
	if !p.allEnvironments {
		return false
	}
	for i := range families[:2] {
		whole := func(e entry) bool {
			return e == entry{environment: e.environment, action: "all", creator: "anyone", scope: "all"}
		}
		if len(p.lists[2*i+negative]) > 0 || !slices.ContainsFunc(p.entries(i, positive), whole) {
			return false
		}
	}
	return true
}

// rules are what one entry means.
func (f *family) rules(e entry, verb func(...latchkey.Action) latchkey.RuleStart, deny bool) []latchkey.Rule {
	var pattern latchkey.Pattern
	whole := func(under latchkey.Resource, one latchkey.Resource, id string) latchkey.Pattern {
		if id == "" {
			return latchkey.Under(under)
		}
		return latchkey.Exactly(one)
	}
	switch f.name {
	case "item_type":
		pattern = whole(latchkey.Path("env", e.environment, "model"), Model(e.environment, e.model), e.model)
	case "upload":
		pattern = whole(latchkey.Path("env", e.environment, "upload"), Upload(e.environment, e.collection), e.collection)
	case "build_trigger":
		return []latchkey.Rule{verb(latchkey.Use).On(whole("build_trigger", BuildTrigger(e.buildTrigger), e.buildTrigger))}
	default:
		return []latchkey.Rule{verb(latchkey.Use).On(whole("search_index", SearchIndex(e.searchIndex), e.searchIndex))}
	}

	is := func(field string, op latchkey.Op, value any) latchkey.Condition {
		c := latchkey.Where(field, op, value)
		if deny { // a row whose field is NULL is known to be another one, and stays
			c = latchkey.All(latchkey.Where(field, latchkey.IsNull, false), c)
		}
		return c
	}
	var all []latchkey.Condition
	add := func(field, id string) {
		if id != "" {
			all = append(all, is(field, latchkey.Eq, id))
		}
	}
	switch e.creator {
	case "self":
		all = append(all, is(FieldCreator, latchkey.Eq, latchkey.Self))
	case "role":
		all = append(all, is(FieldCreatorRole, latchkey.In, latchkey.SelfRoles))
	}
	add(FieldWorkflow, e.workflow)
	add(FieldStage, e.onStage)
	switch e.scope {
	case "localized":
		add(FieldLocale, e.locale)
	case "not_localized":
		all = append(all, latchkey.Where(FieldLocale, latchkey.IsNull, true))
	}

	actions := []latchkey.Action{latchkey.Action(e.action)}
	if e.action == "all" {
		actions = f.actionsOf()
		if deny && e.toStage == "" {
			actions = []latchkey.Action{latchkey.Any} // the host's own actions, too
		}
	}
	var rules []latchkey.Rule
	if e.toStage != "" || e.toCollection != "" { // which says where to: it limits moving alone
		moves := func(a latchkey.Action) bool { return a == MoveToStage || a == Move }
		to := slices.Clone(all)
		if e.toStage != "" {
			to = append(to, is(FieldToStage, latchkey.Eq, e.toStage))
		} else {
			to = append(to, is(FieldToCollection, latchkey.Eq, e.toCollection))
		}
		move := actions[slices.IndexFunc(actions, moves)]
		rules = append(rules, withConditions(verb(move).On(pattern), to))
		if actions = slices.DeleteFunc(actions, moves); len(actions) == 0 {
			return rules
		}
	}
	return append(rules, withConditions(verb(actions...).On(pattern), all))
}

func withConditions(r latchkey.Rule, all []latchkey.Condition) latchkey.Rule {
	for _, c := range all {
		r = r.Where(c)
	}
	return r
}

// boundary holds what the entries allow, the role's own and those it inherits, to the environments it may enter. A role
// inherits environments_access apart from entries, which is how boundaries are inherited.
func (p *permissions) boundary(primary string) latchkey.Permissions {
	deny, allow := latchkey.Deny(latchkey.Any), latchkey.Allow(latchkey.Any)
	rules := latchkey.Permissions{allow.On("*", "latchkey/*")}
	env := latchkey.Path("env", primary)
	one, all := latchkey.Exactly(env), latchkey.Under(env)
	switch p.environments {
	case "all":
		return rules
	case "primary_only":
		return append(rules, deny.On(everyContent), allow.On(one, all))
	case "sandbox_only":
		return append(rules, deny.On(one, all))
	}
	return append(rules, deny.On(everyContent))
}

// gates are a token's own rules: which APIs it passes. They stand after those of its role and decide alone.
func apiRules(cda, preview, cma bool) latchkey.Permissions {
	rules := latchkey.Permissions{latchkey.Deny(latchkey.Any).On(everyAPI)}
	for _, g := range []struct {
		open bool
		api  latchkey.Resource
	}{{cda, apiCDA}, {preview, apiPreview}, {cma, apiCMA}} {
		if g.open {
			rules = append(rules, latchkey.Allow(latchkey.Use).On(latchkey.Exactly(g.api)))
		}
	}
	return rules
}
