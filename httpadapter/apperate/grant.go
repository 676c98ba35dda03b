package apperate

import (
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Origin is what tokens made by [PublishableSpec] are marked with (latchkey.Token.Origin).
const Origin = "apperate"

// Grant is what the product's token page lets one set of a publishable token. The zero Grant is a new token's: core data
// may be read, nothing else.
type Grant struct {
	NoCore   bool // "Core Data Access" switched off
	Premium  bool // "Premium Data Access" switched on
	Datasets []DatasetGrant
}

// DatasetGrant is access to one data set. The three are independent: who may write may not therefore read.
type DatasetGrant struct {
	Workspace string // matched whatever its case
	ID        string // matched whatever its case; "*": all of the workspace, now and later
	Read      bool
	Write     bool // new records, and others in the place of old ones
	Delete    bool
}

// Permissions are the rules that say g. [latchkey.ErrInvalid] for an id that no data set can have.
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

// PublishableSpec is what to issue a publishable token from: name is its nickname. Restrict it before it is issued:
// Restrictions.Domains (see [Domains]) and Restrictions.Signed, Limits.Credits (in millionths: see [Credit]). The rules
// stand in the token itself; latchkey's kind of that name starts with none.
func PublishableSpec(name string, g Grant) (latchkey.Spec, error) {
	p, err := g.Permissions()
	if err != nil {
		return latchkey.Spec{}, err
	}
	return latchkey.Spec{Kind: latchkey.KindPublishable, Origin: Origin,
		Settings: latchkey.Settings{Name: name, Permissions: p}}, nil
}

// Domains takes the text of the product's field "Allowed Domain(s)" apart, for Restrictions.Domains: entries stand
// between spaces. An empty text is no list, so any page may use the token.
func Domains(field string) []string { return strings.Fields(field) }

// canonicalID is the one spelling of a workspace or data set id: the product takes every case of it for the same. Ids
// that begin with "_system" are its own.
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
