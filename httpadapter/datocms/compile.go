package datocms

import (
	"slices"

	"github.com/latchkey-go/latchkey"
)

// Fields of the rows that conditions of compiled roles refer to. A host applies the roles by binding a schema that
// has these fields. If a field is missing, Bind returns an error and nothing is allowed.
const (
	FieldCreator      = "creator"                   // the id of the token that created the record (latchkey.Self)
	FieldCreatorRole  = "creator_role"              // the id of the role its creator had (latchkey.SelfRoles)
	FieldWorkflow     = "workflow"                  // the id of the workflow of the record's model; NULL: none
	FieldStage        = "stage"                     // the id of the stage the record is in; NULL: none
	FieldToStage      = "to_stage"                  // move_to_stage: the destination stage
	FieldLocale       = "locale"                    // the locale whose content is changed; NULL: content of no locale
	FieldToCollection = "move_to_upload_collection" // move: the destination collection; NULL: none
)

// Resources other than content.
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

// Model returns the resource of a model's records in one environment. Its actions are read, create, update, delete,
// [Publish], [Duplicate], [EditCreator], [TakeOver] and [MoveToStage].
func Model(environment, id string) latchkey.Resource {
	return latchkey.Path("env", environment, "model", id)
}

// Upload returns the resource of a collection's uploads in one environment. "" stands for uploads in no collection.
// Its actions are read, create, update, delete, [EditCreator], [ReplaceAsset] and [Move].
func Upload(environment, collection string) latchkey.Resource {
	return latchkey.Path("env", environment, "upload", collection)
}

// BuildTrigger returns the resource of a build trigger. Its action is use: firing it manually.
func BuildTrigger(id string) latchkey.Resource { return latchkey.Path("build_trigger", id) }

// SearchIndex returns the resource of a search index. Its action is use: rebuilding it manually.
func SearchIndex(id string) latchkey.Resource { return latchkey.Path("search_index", id) }

// Flag returns the resource of one of a role's twenty flags ("can_edit_schema"). Its action is use.
func Flag(name string) latchkey.Resource { return latchkey.Path(resourceFlags, name) }

// Enter returns nil if access may enter the primary environment, or any other one if primary is false. [Model] and
// [Upload] allow nothing in an environment that may not be entered. So only handlers that serve an environment as
// such need it.
func Enter(access latchkey.Access, primary bool) error {
	if primary {
		return access.Check(latchkey.Use, enterPrimary)
	}
	return access.Check(latchkey.Use, enterSandbox)
}

// compile returns a role's own permissions as rules: grants for the positive ones, then denies for the negative ones.
// The rules apply to the union of the roles it inherits.
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
			latchkey.Grant(latchkey.Read).On(allRoles)) // to bind a token to a role, the caller must find the role
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

// inEveryEnvironment reports whether the role is an [AdminRole] from which nothing was removed: its "all" entries
// apply to every environment, including future ones.
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

// rules returns the rules of one entry.
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
		if deny { // a row whose field is NULL does not match, and stays
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
			actions = []latchkey.Action{latchkey.Any} // including the host's own actions
		}
	}
	var rules []latchkey.Rule
	if e.toStage != "" || e.toCollection != "" { // a destination limits only the action that moves
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

// boundary limits the entries of the role and of those it inherits to the environments that the role may enter. A
// role inherits environments_access separately from entries, and boundaries are inherited in the same way.
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

// apiRules returns a token's own rules: the APIs it may use. They follow those of its role and alone decide about
// APIs.
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

// ResourceTypes returns what the rules of this package are about, for a host's [latchkey.Catalogue]. Each call returns
// new values. The fields of records and uploads are those that conditions of compiled roles refer to, and their columns
// have the same names. A host whose tables differ sets its own Schema.
func ResourceTypes() []latchkey.ResourceType {
	text := func(names ...string) *latchkey.Schema {
		fields := latchkey.Fields{}
		for _, name := range names {
			fields[name] = latchkey.Field{Column: name, Type: latchkey.Text}
		}
		return latchkey.NewSchema(fields)
	}
	content := func(i int) []latchkey.Action { return slices.Clone(families[i].actionsOf()) }
	all := slices.Concat(content(0), content(1))
	slices.Sort(all)
	use := func(template, name string) latchkey.ResourceType {
		return latchkey.ResourceType{Template: template, Name: name, Actions: []latchkey.Action{latchkey.Use}}
	}
	return []latchkey.ResourceType{
		{Template: "env/{environment}/model/{id}", Name: "records of model", Actions: content(0),
			Schema: text(FieldCreator, FieldCreatorRole, FieldWorkflow, FieldStage, FieldToStage, FieldLocale)},
		{Template: "env/{environment}/upload/{collection}", Name: "uploads of collection", Actions: content(1),
			Schema: text(FieldCreator, FieldCreatorRole, FieldLocale, FieldToCollection)},
		{Template: "env/{environment}", Name: "environment", Actions: slices.Compact(all)}, // boundaries name it
		use(string(enterPrimary), "entering the primary environment"),
		use(string(enterSandbox), "entering other environments"),
		use("build_trigger/{id}", "build trigger"),
		use("search_index/{id}", "search index"),
		use(resourceFlags+"/{flag}", "flag"),
		use(string(apiCMA), "the content management API"),
		use(string(apiCDA), "the content delivery API"),
		use(string(apiPreview), "the content delivery API, drafts included"),
	}
}
