package datocms

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBucket(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC) // a Wednesday
	for day, want := range map[string]string{
		"": "never", "2026-11-26": "today", "2026-11-25": "today", "2026-11-24": "yesterday", "2026-11-23": "this_week",
		"2026-11-22": "last_week", "2026-11-16": "last_week", "2026-11-15": "this_month", "2026-11-01": "this_month",
		"2026-10-31": "last_month", "2026-10-01": "last_month", "2026-09-30": "never",
	} {
		require.Equal(t, want, bucket(now, day), day)
	}
	monday := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, "yesterday", bucket(monday, "2027-01-31"))
	require.Equal(t, "last_week", bucket(monday, "2027-01-25"))
	require.Equal(t, "last_month", bucket(monday, "2027-01-24"))
	require.Equal(t, "last_month", bucket(time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC), "2026-02-01"))
	require.Equal(t, "never", bucket(time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC), "2026-01-31"))
}

func TestLastAccessIsRealUse(t *testing.T) {
	w := newFixture(t, nil)
	token := w.newToken("t", w.role.ID, true, false, true)
	last := func() [2]string {
		var got gotToken
		w.ok(200, "GET", "/access_tokens/"+token.ID, "", &got)
		return [2]string{got.Attributes.LastCMA, got.Attributes.LastCDA}
	}
	require.Equal(t, [2]string{"never", "never"}, last())
	require.Equal(t, 200, w.deliver(*token.Attributes.Token, nil).Code)
	require.Equal(t, [2]string{"never", "today"}, last())
	w.set(w.now().AddDate(0, 0, 1))
	w.send(*token.Attributes.Token, "GET", "/roles", "")
	require.Equal(t, [2]string{"today", "yesterday"}, last())
	w.set(w.now().AddDate(0, 0, 7))
	require.Equal(t, [2]string{"last_week", "last_week"}, last())
	w.set(w.now().AddDate(0, 2, 0))
	require.Equal(t, [2]string{"never", "never"}, last())
}
