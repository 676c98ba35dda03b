package latchkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// fill sets every text that a value holds, however deep, to a canary that names its place, and every number to 7. It
// returns the canaries by place.
func fill(v reflect.Value, place string, canaries map[string]string) {
	switch v.Type() {
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.77")))
		canaries[place] = "192.0.2.77"
		return
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)))
		return
	case reflect.TypeFor[latchkey.Kind]():
		v.Set(reflect.ValueOf(latchkey.KindAPIKey))
		return
	case reflect.TypeFor[latchkey.Attributes]():
		canaries[place] = "canary-of-" + strings.ToLower(place)
		v.Set(reflect.ValueOf(latchkey.Attributes{"department": canaries[place]}))
		return
	case reflect.TypeFor[latchkey.Values]():
		canaries[place] = "canary-of-" + strings.ToLower(place)
		v.Set(reflect.ValueOf(latchkey.Values{"region": canaries[place]}))
		return
	case reflect.TypeFor[json.RawMessage]():
		canaries[place] = "canary-of-" + strings.ToLower(place)
		v.Set(reflect.ValueOf(json.RawMessage(`"` + canaries[place] + `"`)))
		return
	case reflect.TypeFor[error]():
		v.Set(reflect.ValueOf(latchkey.ErrDenied))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name := place + "." + f.Name
				if f.Anonymous {
					name = place
				}
				fill(v.Field(i), name, canaries)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), place, canaries)
	case reflect.String:
		canaries[place] = "canary-of-" + strings.ToLower(place)
		v.SetString(canaries[place])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	}
}

// logs returns what the handlers of package slog make of values.
func logs(values ...any) string {
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		for _, v := range values {
			slog.New(h).Info("it", "value", v)
			slog.New(h).With("bound", v).WithGroup("group").Info("it", slog.Any("value", v))
		}
	}
	return b.String()
}

// Of each type exactly the fields that are listed are logged, whatever the others hold.
func TestLogValues(t *testing.T) {
	for _, c := range []struct {
		of     any
		logged string
	}{
		{&latchkey.Token{}, "ID Owner Parent Client.ID"},
		{&latchkey.Client{}, "ID"},
		{&latchkey.Role{}, "ID Owner Name"},
		{&latchkey.Presented{}, ""},
		{&latchkey.Signature{}, ""},
		{&latchkey.Refusal{}, "TokenID Owner Client.ID Reason Action Resource"},
		{&latchkey.Event{}, "Owner Actor Action Object"},
		{&latchkey.Verification{}, "Outcome Source Owner"},
		{&latchkey.StoreCall{}, "Op Class"},
		{&latchkey.Minting{}, "Outcome Owner ParentID TokenID"},
		{&latchkey.Leasing{}, "What Owner Meter"},
		{&latchkey.Failure{}, "Part Message"},
		{&latchkey.DeniedError{}, "Action Resource"},
		{&latchkey.FaultError{}, "Denied.Action Denied.Resource"},
		{&latchkey.ConditionError{}, "Field Reason"},
		{&latchkey.OverLimitError{}, "Account.TokenID Account.Meter Quota.Per"},
		{&latchkey.DamagedError{}, "Owner ID"},
		{&latchkey.RateLimitError{}, ""},
	} {
		t.Run(reflect.TypeOf(c.of).Elem().Name(), func(t *testing.T) {
			canaries := map[string]string{}
			v := reflect.ValueOf(c.of).Elem()
			fill(v, "", canaries)
			text := logs(c.of)
			if _, ok := v.Interface().(slog.LogValuer); ok {
				text += logs(v.Interface())
			} else {
				_, ok := c.of.(slog.LogValuer)
				require.True(t, ok)
			}
			require.NotContains(t, text, "panicked")
			want := strings.Fields(c.logged)
			for place, canary := range canaries {
				// Of places such as ".ID" and ".ID2" neither text holds the other.
				has := strings.Contains(text, canary+`"`) || strings.Contains(text, canary+" ") ||
					strings.Contains(text, canary+"\n") || strings.Contains(text, canary+`\"`)
				require.Equal(t, slices.Contains(want, strings.TrimPrefix(place, ".")), has, "%s\n%s", place, text)
			}
			for _, place := range want {
				require.Contains(t, canaries, "."+place)
			}
		})
	}
}

// The zero values, which say nothing, are logged without a fault.
func TestZeroLogValues(t *testing.T) {
	zero := []any{latchkey.Access{}, latchkey.Token{}, latchkey.Refusal{}, &latchkey.OverLimitError{},
		&latchkey.FaultError{Denied: &latchkey.DeniedError{}, Fault: latchkey.ErrInvalid}}
	require.Contains(t, logs(zero...), "it")
	require.NotContains(t, logs(zero...), "panicked")
	require.Contains(t, logs(error(&latchkey.DeniedError{Action: latchkey.Read, Resource: "data/x"})),
		`"value":{"error":"latchkey: denied read on \"data/x\"","action":"read","resource":"data/x"}`)
}

// A log holds what a record says, and no member for what it does not say.
func TestLogValuesLeaveOutWhatIsNotSet(t *testing.T) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, c := range []struct {
		of   any
		want string
	}{
		{latchkey.Access{}, ``},
		{latchkey.Token{}, ``},
		{latchkey.Token{ID: "t", Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Disabled: true}},
			`{"token":"t","kind":"api_key","disabled":true}`},
		{latchkey.Token{ID: "t", Kind: latchkey.KindAccess, Parent: "p", Test: true},
			`{"token":"t","kind":"access","parent":"p","test":true}`},
		{latchkey.Token{ID: "t", Revoked: at}, `{"token":"t","revoked":"2031-02-03T04:05:06Z"}`},
		{latchkey.Token{ID: "t", Settings: latchkey.Settings{Validity: latchkey.Validity{NotAfter: at}}},
			`{"token":"t","not_after":"2031-02-03T04:05:06Z"}`},
		{latchkey.Role{}, ``},
		{latchkey.Role{ID: "r", Name: "clerk"}, `{"role":"r","name":"clerk"}`},
		{latchkey.Presented{}, ``},
		{latchkey.Presented{Secret: "s"}, `{"secret":true}`},
		{latchkey.Presented{Signature: &latchkey.Signature{}, Test: true}, `{"signed":true,"test":true}`},
		{latchkey.Signature{}, ``},
		{latchkey.Signature{Date: at}, `{"date":"2031-02-03T04:05:06Z"}`},
		{latchkey.Refusal{}, ``},
		{latchkey.Refusal{Reason: "disabled", Kind: latchkey.KindPublishable, Test: true, Err: latchkey.ErrDisabled},
			`{"reason":"disabled","kind":"publishable","test":true,"error":"latchkey: token disabled"}`},
		{latchkey.Event{}, ``},
		{latchkey.Event{Action: "token.issue", Seq: 3}, `{"action":"token.issue","seq":3}`},
		{latchkey.Verification{}, ``},
		{latchkey.Verification{Outcome: "ok", Again: true, Duration: time.Second, Kind: latchkey.KindAPIKey},
			`{"outcome":"ok","again":true,"kind":"api_key","duration":1000000000}`},
		{latchkey.StoreCall{}, ``},
		{latchkey.StoreCall{Op: "Load", Duration: 1, Err: latchkey.ErrNotFound},
			`{"op":"Load","duration":1,"error":"latchkey: not found"}`},
		{latchkey.Minting{}, `{"tries":0}`},
		{latchkey.Minting{Outcome: "ok", Tries: 2, Duration: 1}, `{"outcome":"ok","tries":2,"duration":1}`},
		{latchkey.Leasing{What: "grant"}, `{"what":"grant","amount":0}`},
		{latchkey.Failure{}, ``},
		{latchkey.Failure{Part: "usage", Lost: 4}, `{"part":"usage","lost":4}`},
		{&latchkey.DeniedError{Action: latchkey.Read, Rows: true}, `{"error":"latchkey: read on \"\" is allowed for some ` +
			`rows only","action":"read","rows":true}`},
		{&latchkey.ConditionError{Field: "f", Reason: "why", Unknown: true},
			`{"error":"latchkey: invalid argument: bad condition: field \"f\": why","field":"f","unknown":true}`},
		{&latchkey.ConditionError{Reason: "why", OfRule: true},
			`{"error":"latchkey: invalid argument: bad condition: why","of_rule":true}`},
		{&latchkey.FaultError{Fault: latchkey.ErrInvalid},
			`{"error":"<nil>: invalid rules allow nothing: latchkey: invalid argument"}`},
		{&latchkey.RateLimitError{Info: latchkey.RateInfo{Limit: 5, RetryAfter: time.Second}},
			`{"error":"latchkey: rate limited","limit":5,"retry_after":1000000000}`},
	} {
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("it", "value", c.of)
		_, got, _ := strings.Cut(strings.TrimSpace(b.String()), `"msg":"it"`)
		if got = strings.TrimSuffix(got, "}"); got != "" {
			got = strings.TrimPrefix(got, `,"value":`)
		}
		require.Equal(t, c.want, got, "%T", c.of)
	}
}

// Whatever a host logs of a caller and of what befell it, no secret is among it.
func TestLogsHoldNoSecret(t *testing.T) {
	const private = "canary-that-nobody-may-see"
	var refused []any
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	w := newWorld(t, func(o *latchkey.Options) {
		o.Keyring = ring
		o.Observer = latchkey.Observer{
			Refused:   func(_ context.Context, r latchkey.Refusal) { refused = append(refused, r, r.Err) },
			Verified:  func(_ context.Context, v latchkey.Verification) { refused = append(refused, v, v.Err) },
			Minted:    func(_ context.Context, m latchkey.Minting) { refused = append(refused, m, m.Err) },
			Changed:   func(_ context.Context, e latchkey.Event) { refused = append(refused, e) },
			StoreCall: func(_ context.Context, c latchkey.StoreCall) { refused = append(refused, c, c.Err) },
		}
	})
	from := netip.MustParseAddr("198.51.100.77")
	issue := func(kind latchkey.Kind) (latchkey.Token, latchkey.Secret) {
		spec := latchkey.Settings{Name: private, Extra: json.RawMessage(`"` + private + `"`),
			Permissions: latchkey.Permissions{readAll()}, Limits: latchkey.Limits{Rate: latchkey.PerMinute(2)}}.Spec(kind)
		spec.Client, spec.Attributes = latchkey.Client{ID: "u-42", Name: private}, latchkey.Attributes{"department": private}
		token, secret, err := w.acme.Issue(w.ctx, spec)
		w.ok(err)
		return token, secret
	}
	token, secret := issue(latchkey.KindAPIKey)
	page, text := issue(latchkey.KindPublishable)
	p := latchkey.Presented{Secret: secret.Reveal(), Address: from, Signature: &latchkey.Signature{Key: secret.Reveal()}}
	all := []any{p, &p, p.Signature, token, page, secret, text, ring, key}
	p.Signature = nil
	a := mustVerify(w, p)
	child, minted, err := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Minute})
	w.ok(err)
	all = append(all, a, &a, child, minted, a.Check(latchkey.Update, "data/x"), a.Client())
	for range 2 {
		_, err = w.keys.Verify(w.ctx, p)
		all = append(all, err)
	}
	w.is(latchkey.ErrRateLimited, err)
	w.ok(w.acme.Revoke(w.ctx, token.ID, private))
	_, err = w.keys.Verify(w.ctx, p)
	w.is(latchkey.ErrRevoked, err)
	logged := logs(append(append(all, err), refused...)...)
	has := func(s string) bool { return strings.Contains(logged, s) } // what is logged is too long for a message
	for _, s := range []string{secret.Reveal(), text.Reveal(), minted.Reveal()} {
		require.False(t, has(s) || has(s[10:30]))
	}
	require.False(t, has(private))
	require.False(t, has(from.String()))
	for _, s := range []string{token.ID, child.ID, "u-42", "acme", "revoked", "rate_limited", "api_key", "token.issue"} {
		require.True(t, has(s), s)
	}
}

// What is zero is not logged, of any kind of attribute.
func TestNothingIsLoggedOfZeroValues(t *testing.T) {
	for _, v := range []slog.LogValuer{latchkey.Access{}, latchkey.Token{}, latchkey.Refusal{}, latchkey.Verification{},
		latchkey.Event{}} {
		require.Empty(t, v.LogValue().Group(), "%T", v)
	}
}
