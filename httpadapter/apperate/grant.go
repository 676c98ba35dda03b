package apperate

import (
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Origin marks tokens made with [PublishableSpec] (latchkey.Token.Origin).
const Origin = "apperate"

// Grant is what the product's token page grants to a publishable token. The zero Grant is that of a new token: it may
// read core data, and nothing else.
type Grant struct {
	NoCore   bool // "Core Data Access" switched off
	Premium  bool // "Premium Data Access" switched on
	Datasets []DatasetGrant
}

// DatasetGrant is access to one data set. Read, Write and Delete are independent: Write does not include Read.
type DatasetGrant struct {
	Workspace string // case is ignored
	ID        string // case is ignored; "*": the whole workspace, future data sets included
	Read      bool
	Write     bool // create and replace records
	Delete    bool
}

// Permissions returns the rules of g. It returns [latchkey.ErrInvalid] for an id that no data set can have.
func (g Grant) Permissions() (latchkey.Permissions, error) {
	p := latchkey.Permissions{}
	if !g.NoCore {
		p = append(p, latchkey.Allow(latchkey.Read).On(coreRoot+"/*"))
	}
	if g.Premium {
		p = append(p, latchkey.Allow(latchkey.Read).On(premiumRoot+"/*"))
	}
	for _, d := range g.Datasets {
		workspace, ok := canonicalID(d.Workspace)
		id, okID := canonicalID(d.ID)
		if !ok || !okID && d.ID != "*" || workspace == coreWorkspace {
			return nil, fmt.Errorf("%w: data set %.80q of workspace %.80q", latchkey.ErrInvalid, d.ID, d.Workspace)
		}
		on := latchkey.Pattern(latchkey.Path(datasetRoot, workspace)) + "/*"
		if d.ID != "*" {
			on = latchkey.Exactly(latchkey.Path(datasetRoot, workspace, id))
		}
		var may []latchkey.Action
		if d.Read {
			may = append(may, latchkey.Read)
		}
		if d.Write {
			may = append(may, latchkey.Create, latchkey.Update)
		}
		if d.Delete {
			may = append(may, latchkey.Delete)
		}
		if len(may) > 0 {
			p = append(p, latchkey.Allow(may...).On(on))
		}
	}
	return p, nil
}

// PublishableSpec returns the spec of a publishable token. name is its nickname. Set its restrictions before it is
// issued: Restrictions.Domains (see [Domains]), Restrictions.Signed, and Limits.Quotas of [MeterCore].
// The rules of g are the token's own: [latchkey.KindPublishable] itself gives none.
func PublishableSpec(name string, g Grant) (latchkey.Spec, error) {
	p, err := g.Permissions()
	if err != nil {
		return latchkey.Spec{}, err
	}
	return latchkey.Spec{Kind: latchkey.KindPublishable, Origin: Origin,
		Name: name, Permissions: p}, nil
}

// Domains splits the text of the product's field "Allowed Domain(s)" at spaces, for Restrictions.Domains. An empty
// text returns an empty list, which lets any page use the token.
func Domains(field string) []string { return strings.Fields(field) }

// canonicalID returns the canonical spelling of a workspace or data set id: the product ignores case. ok is false for
// invalid ids, and for those that begin with "_system", which the product reserves.
func canonicalID(text string) (string, bool) {
	if text == "" || len(text) > maxID {
		return "", false
	}
	for i := range len(text) {
		if !isIDByte(text[i]) {
			return "", false
		}
	}
	id := strings.ToUpper(text)
	return id, !strings.HasPrefix(id, "_SYSTEM")
}

func isIDByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// ResourceTypes returns what the rules of a [Grant] are about, for a host's [latchkey.Catalogue]. Each call returns new
// values.
func ResourceTypes() []latchkey.ResourceType {
	return []latchkey.ResourceType{
		{Template: coreRoot + "/{dataset}", Name: "core data set", Actions: []latchkey.Action{latchkey.Read}},
		{Template: premiumRoot + "/{dataset}", Name: "premium data set", Actions: []latchkey.Action{latchkey.Read}},
		{Template: datasetRoot + "/{workspace}/{dataset}", Name: "data set", Actions: []latchkey.Action{latchkey.Read,
			latchkey.Create, latchkey.Update, latchkey.Delete}},
	}
}
