package console

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// TestConsolePictures visits the pages that docs/console.md and the README show, as they show them. With
// LATCHKEY_SCREENSHOTS set to a directory it leaves their pictures in its folder docs; pngquant makes them small.
func TestConsolePictures(t *testing.T) {
	p := servePages(t)
	_, role := p.furnish()
	leaky := p.leaky(role)
	i := &inspector{tab: newTab(t, harness.Window(t)),
		pictures: os.Getenv("LATCHKEY_SCREENSHOTS")}
	if i.pictures != "" {
		i.pictures = filepath.Join(i.pictures, "docs")
		require.NoError(t, os.MkdirAll(i.pictures, 0o755))
	}
	minted := i.minted(p)
	var rows []latchkey.UsageRow
	for day := range 29 {
		n := int64(20 + day*37%23*3 + day)
		rows = append(rows, latchkey.UsageRow{Owner: "acme", TokenID: leaky.ID, ClientID: "42", Meter: "core",
			Endpoint: []string{"GET /orders", "POST /orders"}[day%2], Count: n, Credits: latchkey.Credits(n) * latchkey.Credit,
			Day: time.Now().UTC().AddDate(0, 0, day-29).Format(time.DateOnly)})
	}
	require.NoError(t, p.store.AddUsage(t.Context(),
		latchkey.UsageBatch{ID: [16]byte{15}, At: time.Now(), Rows: rows}))
	tick := func(selector string) { i.do(chromedp.Click(chromedp.CSS(selector))) }
	for _, picture := range []struct {
		name, theme, path string
		do                func()
		shows             string
	}{
		{"list", "light", "", nil, "Order import, staging"},
		{"create", "light", "new?kind=api_key", func() {
			i.fill("#name", "Importer of the shop")
			i.fill("#add", "ACME/CARS\nACME/BIKES")
			tick("[name=ends][value='30']")
		}, "What kind of token?"},
		{"review", "dark", "new?kind=api_key", func() {
			i.fill("#name", "Importer of the shop")
			i.fill("#add", "ACME/CARS\nACME/BIKES")
			tick("[name=ends][value='30']")
			i.press(done)
		}, "allow read on dataset/ACME/BIKES"},
		{"edit", "light", "token/" + leaky.ID, nil, "An old secret that still works."},
		{"access", "dark", "token/" + minted.ID + "/access?action=read&resource=dataset/ACME/CARS", nil,
			"Where its rights come from"},
		{"many", "light", "", func() {
			tick("[name=all]")
			i.press("button[name=do][value=disable]")
		}, "Disable"},
		{"role", "light", "role/" + role.ID, func() { tick(".ruleset li:last-child summary") }, "Only rows where"},
		{"changes", "dark", "role/" + role.ID, func() {
			tick(".ruleset li:first-child summary")
			i.fill("[name='rule[0][value]']", "CH")
			i.press(done)
		}, "Which tokens this is for"},
		{"usage", "dark", "usage", nil, "By endpoint"},
		{"usage-token", "light", "token/" + leaky.ID + "/usage", nil, "Domain not allowed"},
		{"audit", "light", "audit?object=" + leaky.ID, nil, "Token rotated"},
		{"leaked", "dark", "token/" + leaky.ID + "/leak", nil, "Zoë of the shop (42)"},
	} {
		width := int64(1120)
		if picture.name == "list" {
			width = 1280
		}
		i.look(picture.theme, width, 720)
		i.open(p.base + picture.path)
		if picture.do != nil {
			picture.do()
		}
		require.Contains(t, i.text("main"), picture.shows, picture.name)
		require.Empty(t, i.complaints(), picture.name)
		if i.pictures != "" {
			evaluate[bool](i.tab, "document.activeElement.blur(), scrollTo(0, 0), true")
			i.picture(picture.name)
		}
	}
}
