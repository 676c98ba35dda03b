package console

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A token whose record cannot be read is in the list by its id, and can be revoked there.
func TestADamagedTokenIsShownAndRevoked(t *testing.T) {
	w := newFixture(t, nil)
	good := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "good"}})
	bad := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Name: "spoilt"}})
	spoilt := bad
	spoilt.Damaged = true
	_, err := w.reads.Store.Write(t.Context(), latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: bad.Owner,
		At:     time.Now(),
		Tokens: []latchkey.Token{spoilt}})
	require.NoError(t, err)
	list := w.get("")
	require.Contains(t, list, "good")
	require.Contains(t, list, `href="token/`+bad.ID+`"`)
	require.Contains(t, list, "Damaged")
	require.Contains(t, list, good.ID)
	page := w.get("token/" + bad.ID)
	require.Contains(t, page, bad.ID+" cannot be read")
	require.Contains(t, page, "revoke")
	require.NotContains(t, page, "Blank: any domain", "what it is bound to is not known")
	require.NotContains(t, page, `name="name"`)
	require.NotContains(t, page, "/access")
	require.Contains(t, w.do(http.MethodGet, "token/"+bad.ID+"/access", "").Body.String(), "cannot be read. Revoke")
	form := w.form("token/" + bad.ID + "/revoke")
	form.Set("reason", "it cannot be read")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+bad.ID+"/revoke", form).Code)
	got := w.token(bad.ID)
	require.False(t, got.Revoked.IsZero())
	require.Contains(t, w.get(""), "Revoked")
}
