package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestAFormSentTwiceMakesOneToken(t *testing.T) {
	w := newFixture(t, nil)
	form := w.form("new?kind=api_key")
	first, second := w.post("new", form), w.post("new", form)
	require.Equal(t, http.StatusOK, first.Code)
	secret := regexp.MustCompile(`ak_\w{40}`)
	require.NotEmpty(t, secret.FindString(first.Body.String()))
	require.Equal(t, secret.FindString(first.Body.String()), secret.FindString(second.Body.String()),
		"a browser shows the second reply")
	require.Equal(t, 1, w.count())
	w.now = w.now.Add(time.Minute)
	later := w.post("new", form)
	require.Empty(t, secret.FindString(later.Body.String()), "shown once")
	require.Contains(t, later.Body.String(), "sent before")
	require.Equal(t, 1, w.count())

	form.Set("form", "short")
	require.Equal(t, http.StatusConflict, w.post("new", form).Code)
	form.Set("kind", "access")
	require.Equal(t, http.StatusUnprocessableEntity, w.post("new", form).Code)
	require.Equal(t, 1, w.count())
}

func TestAFormSentAgainIsCarriedOutOnce(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k",
		Restrictions: latchkey.Restrictions{Signed: true}}).ID
	events := func() (n int) {
		for _, err := range w.acme.Events(t.Context(), latchkey.EventQuery{}) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	at := "token/" + id
	for _, c := range []struct {
		path   string
		change func(url.Values)
	}{
		{at + "/rotate", func(f url.Values) { f.Set("overlap", "0s") }}, {at + "/reveal", nil}, {at + "/signing",
			nil}, {at, func(f url.Values) { f.Set("name", "new name") }},
		{at + "/disable", nil}, {at + "/enable", nil}, {"new?kind=session", func(f url.Values) { f.Set("kind", "session") }},
		{"new", nil}, {"role", func(f url.Values) { f.Set("name", "a role") }}, {at + "/revoke", nil},
	} {
		form := w.form(c.path)
		path, _, _ := strings.Cut(c.path, "?")
		require.Len(t, form["form"], 1, c.path)
		if c.change != nil {
			c.change(form)
		}
		first := w.post(path, form)
		require.Less(t, first.Code, 400, "%s: %s", c.path, first.Body)
		before := events()
		second := w.post(path, form)
		require.Equal(t, before, events(), "%s: a reload does nothing", c.path)
		require.Equal(t, first.Code, second.Code, c.path)
		require.Equal(t, first.Header().Get("Location"), second.Header().Get("Location"), c.path)
		require.Equal(t, anySecret.FindString(first.Body.String()), anySecret.FindString(second.Body.String()), c.path)

		// Another process, or this one after a restart, does not carry it out again, and does not claim a result.
		third := w.another().post(path, form)
		require.Equal(t, before, events(), "%s: elsewhere", c.path)
		require.Equal(t, http.StatusConflict, third.Code, c.path)
		require.Contains(t, third.Body.String(), map[bool]string{true: "is revoked",
			false: "sent before"}[c.path == at+"/revoke"], c.path)
		require.Empty(t, anySecret.FindString(third.Body.String()), c.path)

		// Later the secret is not shown.
		w.now = w.now.Add(time.Minute)
		later := w.post(path, form)
		require.Equal(t, before, events(), "%s: later", c.path)
		require.Empty(t, anySecret.FindString(later.Body.String()), c.path)
		w.now = w.now.Add(-time.Minute)
	}
	role := w.role(latchkey.Role{Name: "to go"})
	form := w.form("role/" + role.ID + "/delete")
	for range 2 {
		rec := w.post("role/"+role.ID+"/delete", form)
		require.Equal(t, http.StatusSeeOther, rec.Code)
		require.Contains(t, w.get(strings.TrimPrefix(rec.Header().Get("Location"), "../../")), "There is no such role now.")
	}

	// A form with other content is another form: what was typed is not lost.
	key := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	form = w.form("token/" + key)
	form.Set("name", "one")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+key, form).Code)
	form.Set("name", "two")
	require.Equal(t, http.StatusConflict, w.post("token/"+key, form).Code)
	require.Equal(t, "one", w.token(key).Name)

	// A form belongs to one person and one page.
	form = w.form("token/" + key + "/rotate")
	secret := anySecret.FindString(w.post("token/"+key+"/rotate", form).Body.String())
	require.NotEmpty(t, secret)
	w.who = must(w.acme.Assume(latchkey.Client{ID: "eve"}, everything))
	require.NotContains(t, w.post("token/"+key+"/rotate", form).Body.String(), secret)
	// A form without an id creates nothing.
	before := events()
	require.Equal(t, http.StatusConflict, w.post("token/"+key+"/rotate", url.Values{"overlap": {"0s"}}).Code)
	require.Equal(t, http.StatusConflict, w.post("new", url.Values{"kind": {"api_key"}}).Code)
	require.Equal(t, before, events())
}

var anySecret = regexp.MustCompile(`value="((?:sk|ak|ss)_\w{40,})"`)

func TestWhoMayNotLeavesNoTraceInTheStore(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")}))
	w.reads.once = 0
	for _, path := range []string{"token/" + id, "token/" + id + "/rotate", "token/" + id + "/revoke", "new", "role"} {
		require.Equal(t, http.StatusForbidden, w.post(path, url.Values{"form": {newFormID()}, "overlap": {"0s"},
			"kind": {"api_key"}, "name": {"x"}}).Code, path)
	}
	require.Zero(t, w.reads.once)
}

func TestFormsAreBounded(t *testing.T) {
	now := time.Now()
	f := newSubmissions(func() time.Time { return now })
	fine := func() error { return nil }
	refuse := func() (reply, error) { return reply{}, latchkey.ErrInvalid }
	for i := range 3 * maxSubmissions {
		_, err := f.once(t.Context(), fmt.Sprint(i), fine, refuse)
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.LessOrEqual(t, len(f.byKey), maxSubmissions)
		require.LessOrEqual(t, f.order.Len(), maxSubmissions)
	}
	for i := range 100 { // forms that the store refused leave nothing
		_, err := f.once(t.Context(), fmt.Sprint("x", i), func() error { return latchkey.ErrUnavailable }, refuse)
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
	}
	now = now.Add(submissionKept)
	_, _ = f.once(t.Context(), "last", fine, refuse)
	require.Len(t, f.byKey, 1)
	require.Equal(t, 1, f.order.Len())

	// A refused form may be sent again, without another write of its id.
	asked := 0
	_, err := f.once(t.Context(), "last", func() error { asked++; return latchkey.ErrExists }, func() (reply,
		error) {
		return reply{to: "there"}, nil
	})
	require.NoError(t, err)
	require.Zero(t, asked)
}

func TestNothingWaitsForEver(t *testing.T) {
	for name, c := range map[string]struct {
		end  func() (reply, error)
		want error
	}{
		"a panic":            {func() (reply, error) { panic("out of order") }, errFormUsed},
		"an end":             {func() (reply, error) { return reply{to: "first"}, nil }, nil},
		"a refusal":          {func() (reply, error) { return reply{}, latchkey.ErrInvalid }, nil},
		"nobody knows":       {func() (reply, error) { return reply{}, latchkey.ErrUnknownOutcome }, errFormUsed},
		"the goroutine goes": {func() (reply, error) { select {} }, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newSubmissions(time.Now)
				fine := func() error { return nil }
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				leave := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					_, _ = f.once(ctx, "form", fine, func() (reply, error) {
						time.Sleep(time.Second)
						if name == "the goroutine goes" {
							<-leave
							return reply{}, errors.New("late")
						}
						return c.end()
					})
				})
				synctest.Wait()
				var waiters sync.WaitGroup
				for range 5 {
					waiters.Go(func() {
						r, err := f.once(ctx, "form", fine, func() (reply, error) { return reply{to: "again"}, nil })
						if c.want != nil {
							require.ErrorIs(t, err, c.want)
							return
						}
						require.NoError(t, err)
						require.Equal(t, map[string]string{"an end": "first", "a refusal": "again"}[name], r.to)
					})
				}
				waiters.Wait()
				close(leave)
				wg.Wait()
				time.Sleep(2 * secretKept) // the timers that remove secrets
			})
		})
	}
}

func TestAStoppedBrowserStopsNoWork(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	form := w.form("token/" + id)
	form.Set("name", "saved")
	ctx, stop := context.WithCancel(t.Context())
	w.reads.before = stop // when the store is asked to write
	r := httptest.NewRequestWithContext(ctx, "POST", "http://console.test/any/where/token/"+id,
		strings.NewReader(form.Encode()))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.mux.ServeHTTP(httptest.NewRecorder(), r)
	require.Error(t, ctx.Err())
	w.reads.before = nil
	require.Equal(t, "saved", w.token(id).Name)
	rec := w.post("token/"+id, form)
	require.Equal(t, http.StatusSeeOther, rec.Code, "sent again, it is answered as it would have been")
}
