package datocms

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey"
)

// Actions on records and uploads, beside latchkey's read, create, update and delete.
const (
	Publish      latchkey.Action = "publish"
	Duplicate    latchkey.Action = "duplicate"
	EditCreator  latchkey.Action = "edit_creator"
	TakeOver     latchkey.Action = "take_over"
	MoveToStage  latchkey.Action = "move_to_stage"
	ReplaceAsset latchkey.Action = "replace_asset"
	Move         latchkey.Action = "move"
)

// entry is one permission of a role, with all its members; "" is null or absent. Entries are comparable: two that
// mean the same are equal, however they were written.
type entry struct {
	environment, action, creator, scope, locale string
	model, workflow, onStage, toStage           string
	collection, toCollection                    string
	buildTrigger, searchIndex                   string
}

// shape describes the entries of one action.
type shape struct {
	creator bool // on_creator is required; else it must be null or absent
	scope   byte // localization_scope: 'a' must be "all", 'r' is required, 0 must be null or absent
	extra   []string
}

// family is one kind of permission. A role has a positive and a negative list of entries of each.
type family struct {
	name    string // "item_type": of positive_item_type_permissions
	keys    []string
	actions map[string]shape // nil: entries have no action
}

var families = []family{
	{"item_type", []string{"environment", "action", "on_creator", "localization_scope", "locale", "item_type", "workflow",
		"on_stage", "to_stage"}, map[string]shape{
		"all":           {true, 'a', []string{"on_stage", "to_stage"}},
		"read":          {creator: true},
		"create":        {scope: 'r'},
		"update":        {true, 'r', []string{"on_stage"}},
		"publish":       {true, 'r', []string{"on_stage"}},
		"duplicate":     {extra: []string{"on_stage"}},
		"delete":        {true, 0, []string{"on_stage"}},
		"edit_creator":  {true, 0, []string{"on_stage"}},
		"take_over":     {true, 0, []string{"on_stage"}},
		"move_to_stage": {true, 0, []string{"on_stage", "to_stage"}},
	}},
	{"upload", []string{"environment", "action", "on_creator", "localization_scope", "locale", "upload_collection",
		"move_to_upload_collection"}, map[string]shape{
		"all":           {creator: true, scope: 'a'},
		"update":        {creator: true, scope: 'r'},
		"create":        {},
		"read":          {creator: true},
		"delete":        {creator: true},
		"edit_creator":  {creator: true},
		"replace_asset": {creator: true},
		"move":          {true, 0, []string{"move_to_upload_collection"}},
	}},
	{"build_trigger", []string{"build_trigger"}, nil},
	{"search_index", []string{"search_index"}, nil},
}

// actionsOf returns the actions of a family except "all", sorted.
func (f *family) actionsOf() []latchkey.Action {
	var all []latchkey.Action
	for name := range f.actions {
		if name != "all" {
			all = append(all, latchkey.Action(name))
		}
	}
	slices.Sort(all)
	return all
}

// readEntry checks and reads one entry.
func (f *family) readEntry(c *checker, raw json.RawMessage, at string) entry {
	var required []string
	if f.actions != nil {
		required = []string{"environment", "action"}
	}
	m := c.object(raw, at, required, f.keys)
	var e entry
	given := map[string]*string{"environment": &e.environment, "action": &e.action, "on_creator": &e.creator,
		"localization_scope": &e.scope, "locale": &e.locale, "item_type": &e.model, "workflow": &e.workflow,
		"on_stage": &e.onStage, "to_stage": &e.toStage, "upload_collection": &e.collection,
		"move_to_upload_collection": &e.toCollection, "build_trigger": &e.buildTrigger, "search_index": &e.searchIndex}
	for _, key := range f.keys {
		if raw, ok := m[key]; ok && (!isNull(raw) || slices.Contains(required, key)) {
			*given[key] = c.id(raw, at+"/"+key)
		}
	}
	if m == nil || f.actions == nil || e.action == "" {
		return e
	}
	s, known := f.actions[e.action]
	if !known {
		c.fail(at+"/action", "not an action.")
		return e
	}
	without := func(key, value string, allowed bool) {
		if value != "" && !allowed {
			c.fail(at+"/"+key, fmt.Sprintf("not permitted for action %q.", e.action))
		}
	}
	if without("on_creator", e.creator, s.creator); s.creator &&
		!slices.Contains([]string{"anyone", "self", "role"}, e.creator) {
		c.fail(at+"/on_creator", "not one of anyone, self, role.")
	}
	without("localization_scope", e.scope, s.scope != 0)
	switch {
	case s.scope == 'a' && e.scope != "all":
		c.fail(at+"/localization_scope", "not all.")
	case s.scope == 'r' && !slices.Contains([]string{"all", "localized", "not_localized"}, e.scope):
		c.fail(at+"/localization_scope", "not one of all, localized, not_localized.")
	}
	if without("locale", e.locale, e.scope == "localized"); e.scope == "localized" && e.locale == "" {
		c.fail(at+"/locale", "required when localization_scope is localized.")
	}
	for key, value := range map[string]string{"on_stage": e.onStage, "to_stage": e.toStage,
		"move_to_upload_collection": e.toCollection} {
		without(key, value, slices.Contains(s.extra, key))
	}
	if e.model != "" && e.workflow != "" {
		c.fail(at, "item_type and workflow exclude each other.")
	}
	return e
}
