package latchkey_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// splitOld splits the texts of an older system: "old_LOOKUP_SECRET".
func splitOld(text string) (lookup, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, "old_")
	lookup, secret, split := strings.Cut(rest, "_")
	return lookup, secret, ok && split
}

func legacyOptions(o *latchkey.Options) {
	o.Imported = func(text string) bool { return strings.HasPrefix(text, "key-") }
	o.Legacy = &latchkey.Legacy{Split: splitOld,
		Peppers: map[string][]byte{"2019": []byte("pepper"), "2024": []byte("other")}}
}

func withKeyring(o *latchkey.Options) {
	legacyOptions(o)
	o.Keyring = must(latchkey.NewKeyring(must(latchkey.GenerateKey(nil, 1))))
}

func bcryptOf(secret string) string {
	return string(must(bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)))
}

func argonOf(secret string) string {
	salt := []byte("some salt")
	enc := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=64,t=1,p=2$" + enc(salt) + "$" + enc(argon2.IDKey([]byte(secret), salt, 1, 64, 2, 32))
}

func sha(text string) []byte { d := sha256.Sum256([]byte(text)); return d[:] }

func mac(pepper, text string) []byte {
	h := hmac.New(sha256.New, []byte(pepper))
	h.Write([]byte(text))
	return h.Sum(nil)
}

const oldText = "key-3b1f6a52c0d94c2e8f7a"

// What other systems keep can be imported, and its text works: at once, after its first use, and in another process.
func TestImportDigest(t *testing.T) {
	std, url := base64.StdEncoding, base64.URLEncoding
	digest := sha(oldText)
	for name, c := range map[string]struct {
		text string
		kept latchkey.KeptSecret
	}{
		"SHA-256 in hex":           {oldText, latchkey.KeptSecret{SHA256: hex.EncodeToString(digest)}},
		"SHA-256 in HEX":           {oldText, latchkey.KeptSecret{SHA256: strings.ToUpper(hex.EncodeToString(digest))}},
		"SHA-256 in base64":        {oldText, latchkey.KeptSecret{SHA256: std.EncodeToString(digest)}},
		"SHA-256 in raw base64":    {oldText, latchkey.KeptSecret{SHA256: base64.RawStdEncoding.EncodeToString(digest)}},
		"SHA-256 in base64url":     {oldText, latchkey.KeptSecret{SHA256: url.EncodeToString(digest)}},
		"SHA-256 in raw base64url": {oldText, latchkey.KeptSecret{SHA256: base64.RawURLEncoding.EncodeToString(digest)}},
		"SHA-256 as bytes":         {oldText, latchkey.KeptSecret{SHA256: string(digest)}},
		"SHA-256 of a split text":  {"old_a_b-c-d-e-f", latchkey.KeptSecret{SHA256: string(sha("old_a_b-c-d-e-f"))}},
		"HMAC": {oldText, latchkey.KeptSecret{HMAC: hex.EncodeToString(mac("other", oldText)),
			Pepper: "2024"}},
		"bcrypt": {"old_42_s3cret", latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"}},
		"bcrypt of another program": {"old_42_Kk4DQuMMfZL9o", latchkey.KeptSecret{Lookup: "42",
			Hash: "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"}},
		"argon2id": {"old_42_s3cret", latchkey.KeptSecret{Hash: argonOf("s3cret"), Lookup: "42"}},
	} {
		for kind, change := range map[string]func(*latchkey.Options){"": legacyOptions, " with a keyring": withKeyring} {
			t.Run(name+kind, func(t *testing.T) {
				w := newWorld(t, change)
				c.kept.Hint = "key-…f7a"
				spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "moved", Permissions: latchkey.Permissions{readAll()}}
				tok, err := w.acme.ImportDigest(w.ctx, spec, c.kept)
				w.ok(err)
				require.Equal(t, "key-…f7a", tok.Hint)
				require.Equal(t, w.now(), tok.Created)
				for _, wrong := range []string{c.text + "x", c.text[:len(c.text)-1], strings.ToUpper(c.text)} {
					_, err := w.verify(wrong)
					w.is(latchkey.ErrUnknownToken, err)
				}
				a := w.access(c.text)
				require.Equal(t, tok.ID, a.TokenID())
				require.NoError(t, a.Check(latchkey.Read, "dataset/a"))
				found, err := w.acme.Find(w.ctx, c.text)
				w.ok(err)
				require.Equal(t, tok.ID, found.ID)

				// It is stored as the library would by now.
				secrets, err := w.store.Secrets(w.ctx, "acme", tok.ID)
				w.ok(err)
				require.Len(t, secrets, 1)
				s := secrets[0]
				require.Empty(t, s.Algorithm+s.Lookup+string(s.Hash))
				require.Equal(t, "key-…f7a", s.Hint)
				if kind == "" {
					require.EqualValues(t, sha(c.text), s.Digest[:])
				} else {
					require.EqualValues(t, 1, s.KeyID)
					require.NotEmpty(t, s.Sealed)
					text, err := w.acme.Reveal(w.ctx, tok.ID)
					w.ok(err)
					require.Equal(t, c.text, text.Reveal(), "its text is known now")
				}
				// A process that was started anew finds it without what the other system needed.
				w.ok(w.keys.Close(w.ctx))
				o := w.options()
				change(&o)
				o.Legacy, o.Imported = nil, func(string) bool { return true }
				if kind == "" {
					_, err = latchkey.New(w.store, &o).Verify(w.ctx, latchkey.Presented{Secret: c.text})
					w.ok(err)
				}
				list, _ := w.secrets(tok.ID)
				require.Equal(t, w.now(), list[0].Used, "its first use, before it moved, is its own")

				// It can be rotated like any other.
				next, err := w.acme.Rotate(w.ctx, tok.ID, 0)
				w.ok(err)
				w.access(next.Reveal())
				_, err = w.verify(c.text)
				w.is(latchkey.ErrUnknownToken, err)
			})
		}
	}
}

func TestWhatCannotBeImported(t *testing.T) {
	hexed, other := hex.EncodeToString(sha(oldText)), hex.EncodeToString(sha("another"))
	const one, digests = "exactly one of SHA256, HMAC and Hash", "a digest of SHA-256 is 64 hex digits"
	const pairs = "has a Pepper with an HMAC, a Lookup with a Hash"
	for name, c := range map[string]struct {
		kept latchkey.KeptSecret
		says string
	}{
		"nothing":   {latchkey.KeptSecret{}, one},
		"two":       {latchkey.KeptSecret{SHA256: hexed, HMAC: hexed, Pepper: "2019"}, one},
		"an MD5":    {latchkey.KeptSecret{SHA256: hexed[:32]}, digests},
		"a SHA-1":   {latchkey.KeptSecret{SHA256: hexed[:40]}, digests},
		"a SHA-512": {latchkey.KeptSecret{SHA256: hexed + hexed}, digests},
		"no hex":    {latchkey.KeptSecret{SHA256: "g" + hexed[1:]}, digests},
		"no base64": {latchkey.KeptSecret{SHA256: "!" + hexed[:42] + "="}, digests},
		"base64 of more": {latchkey.KeptSecret{SHA256: base64.RawStdEncoding.EncodeToString(append(sha(oldText), 1))},
			digests},
		"zeros":                {latchkey.KeptSecret{SHA256: string(make([]byte, 32))}, digests},
		"an unknown pepper":    {latchkey.KeptSecret{HMAC: hexed, Pepper: "2020"}, `there is no pepper "2020"`},
		"an HMAC without one":  {latchkey.KeptSecret{HMAC: hexed}, pairs},
		"a pepper without one": {latchkey.KeptSecret{SHA256: hexed, Pepper: "2019"}, pairs},
		"a hash without":       {latchkey.KeptSecret{Hash: bcryptOf("x")}, pairs},
		"a lookup alone":       {latchkey.KeptSecret{SHA256: hexed, Lookup: "x"}, pairs},
		"a long lookup":        {latchkey.KeptSecret{Hash: bcryptOf("x"), Lookup: strings.Repeat("x", 257)}, "Lookup"},
		"a lookup with NUL":    {latchkey.KeptSecret{Hash: bcryptOf("x"), Lookup: "a\x00"}, "Lookup"},
		"an expensive bcrypt": {latchkey.KeptSecret{Hash: strings.Replace(bcryptOf("x"), "$04$", "$15$", 1), Lookup: "x"},
			"a bcrypt hash has a cost of"},
		"an expensive argon2": {latchkey.KeptSecret{Hash: strings.Replace(argonOf("x"), "m=64", "m=65537", 1), Lookup: "x"},
			"an argon2id hash has"},
		"another hash": {latchkey.KeptSecret{Hash: "$pbkdf2-sha256$29000$abc$def", Lookup: "x"}, "a hash begins with"},
		"a long hint":  {latchkey.KeptSecret{SHA256: hexed, Hint: strings.Repeat("x", 65)}, "Hint"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, legacyOptions)
			_, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, c.kept)
			w.is(latchkey.ErrInvalid, err)
			require.ErrorContains(t, err, c.says)
		})
	}
	w := newWorld(t, legacyOptions)
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
	_, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindPublishable}, latchkey.KeptSecret{SHA256: hexed})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.ImportDigest(w.ctx, latchkey.Spec{}, latchkey.KeptSecret{SHA256: hexed})
	w.is(latchkey.ErrInvalid, err)
	for _, k := range []latchkey.KeptSecret{{SHA256: hexed}, {HMAC: other, Pepper: "2019"},
		{Hash: bcryptOf("x"), Lookup: "x"}} {
		_, err = newWorld(t).acme.ImportDigest(w.ctx, spec, k)
		w.is(latchkey.ErrInvalid, err) // nothing would recognise its text
		_, err = w.acme.ImportDigest(w.ctx, spec, k)
		w.ok(err)
		_, err = w.keys.For("globex").ImportDigest(w.ctx, spec, k)
		w.is(latchkey.ErrExists, err)
	}
	_, err = w.acme.ImportDigest(w.ctx, spec, latchkey.KeptSecret{Hash: argonOf("y"), Lookup: "x"})
	w.is(latchkey.ErrExists, err)
	_, err = w.acme.Import(w.ctx, spec, oldText)
	w.is(latchkey.ErrExists, err)

	_, no := w.key(readAll())
	_, err = must(w.acme.As(w.access(no))).ImportDigest(w.ctx, spec, latchkey.KeptSecret{SHA256: other})
	w.is(latchkey.ErrDenied, err)
	_, may := w.key(latchkey.Allow(latchkey.Create).On("latchkey/token/*"))
	actor := must(w.acme.As(w.access(may)))
	_, err = actor.ImportDigest(w.ctx, spec, latchkey.KeptSecret{SHA256: hex.EncodeToString(sha("third"))})
	w.ok(err)
	spec.Permissions = latchkey.Permissions{readAll()}
	_, err = actor.ImportDigest(w.ctx, spec, latchkey.KeptSecret{SHA256: hex.EncodeToString(sha("fourth"))})
	w.is(latchkey.ErrDenied, err) // it could do more than the actor

	for _, bad := range []*latchkey.Legacy{{Peppers: map[string][]byte{"": {1}}}, {Peppers: map[string][]byte{"a": nil}},
		{Peppers: map[string][]byte{"1": {1}, "2": {1}, "3": {1}, "4": {1}, "5": {1}, "6": {1}, "7": {1}, "8": {1},
			"9": {1}}}} {
		require.Panics(t, func() { latchkey.New(w.store, &latchkey.Options{Legacy: bad}) })
	}
}

// A text whose digest was imported is a token already, whatever was kept of it.
func TestAnImportedDigestsTextIsNotImported(t *testing.T) {
	for name, text := range map[string]string{"SHA256": "key-of-a-hash-of-it", "HMAC": "key-under-a-pepper",
		"Hash": "old_x_of_old_times"} {
		kept := map[string]latchkey.KeptSecret{
			"SHA256": {SHA256: string(sha(text))},
			"HMAC":   {HMAC: string(mac("pepper", text)), Pepper: "2019"},
			"Hash":   {Hash: bcryptOf("of_old_times"), Lookup: "x"},
		}[name]
		w := newWorld(t, legacyOptions)
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
		_, err := w.acme.ImportDigest(w.ctx, spec, kept)
		w.ok(err)
		_, err = w.acme.Import(w.ctx, spec, text)
		require.ErrorIs(t, err, latchkey.ErrExists, name)
		w.access(text)
	}
}

// A digest or lookup part of another feed is taken too.
func TestImportDigestAsksEveryFeed(t *testing.T) {
	w := newFeedsWorld(t, 0)
	o := &latchkey.Options{}
	legacyOptions(o)
	keys := latchkey.New(w.store, o)
	for _, k := range []latchkey.KeptSecret{{SHA256: string(sha(oldText))}, {Hash: bcryptOf("x"), Lookup: "x"}} {
		spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
		_, err := keys.For("acme").ImportDigest(t.Context(), spec, k)
		require.NoError(t, err)
		_, err = keys.For("globex").ImportDigest(t.Context(), spec, k)
		require.ErrorIs(t, err, latchkey.ErrExists)
	}
	_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: "old_x_x"})
	require.NoError(t, err)
	require.NoError(t, keys.Close(t.Context()))
}

// lookupStore counts look-ups by lookup part, and does something before one.
type lookupStore struct {
	latchkey.Store
	lookups atomic.Int64
	before  func()
	noWrite atomic.Bool
}

func (s *lookupStore) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	s.lookups.Add(1)
	if s.before != nil {
		s.before()
	}
	return s.Store.ByLookup(ctx, lookup)
}

func (s *lookupStore) Write(ctx context.Context, w latchkey.Write) error {
	if s.noWrite.Load() {
		return latchkey.ErrUnavailable
	}
	return s.Store.Write(ctx, w)
}

// Two processes may see the first use at once: one stores the secret anew, and no request of either is refused.
func TestTwoProcessesMoveASecretAtOnce(t *testing.T) {
	w := newWorld(t, legacyOptions)
	_, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
		latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
	w.ok(err)
	const text = "old_42_s3cret"
	// The other one stores it between this one's two look-ups.
	store := &lookupStore{Store: w.store}
	var once sync.Once
	store.before = func() { once.Do(func() { w.access(text) }) }
	o := w.options()
	legacyOptions(&o)
	other := latchkey.New(store, &o)
	_, err = other.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	_, err = other.Verify(w.ctx, latchkey.Presented{Secret: "old_42_other"})
	w.is(latchkey.ErrUnknownToken, err)

	// Or between its read and its write.
	_, err = w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
		latchkey.KeptSecret{Hash: argonOf("s3cret"), Lookup: "43"})
	w.ok(err)
	moved := w.store.before(func() {
		_, err := other.Verify(w.ctx, latchkey.Presented{Secret: "old_43_s3cret"})
		w.ok(err)
	})
	w.access("old_43_s3cret")
	require.True(t, moved())
	w.access("old_43_s3cret")
	w.ok(other.Close(w.ctx))
}

// A store that cannot write refuses nobody, and the next first use tries again.
func TestASecretThatCannotMoveWorks(t *testing.T) {
	w := newWorld(t)
	store := &lookupStore{Store: w.store}
	o := w.options()
	legacyOptions(&o)
	keys := latchkey.New(store, &o)
	tok, err := keys.For("acme").ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
		latchkey.KeptSecret{HMAC: string(mac("pepper", oldText)), Pepper: "2019"})
	w.ok(err)
	store.noWrite.Store(true)
	for range 2 {
		_, err = keys.Verify(w.ctx, latchkey.Presented{Secret: oldText})
		w.ok(err)
	}
	store.noWrite.Store(false)
	again := latchkey.New(store, &o)
	_, err = again.Verify(w.ctx, latchkey.Presented{Secret: oldText})
	w.ok(err)
	secrets, err := store.Secrets(w.ctx, "acme", tok.ID)
	w.ok(err)
	require.EqualValues(t, sha(oldText), secrets[0].Digest[:])
	// A token that is refused is not moved, whatever its secret.
	bad, err := keys.For("acme").ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Disabled: true},
		latchkey.KeptSecret{Hash: bcryptOf("x"), Lookup: "x"})
	w.ok(err)
	_, err = keys.Verify(w.ctx, latchkey.Presented{Secret: "old_x_x"})
	w.is(latchkey.ErrDisabled, err)
	secrets, err = store.Secrets(w.ctx, "acme", bad.ID)
	w.ok(err)
	require.Equal(t, "bcrypt", secrets[0].Algorithm)
	w.ok(keys.Close(w.ctx))
}

// Before a token is known, a text costs no slow hash: of a shape that Split does not know, and of an unknown lookup
// part. Wrong secrets for a known one cost ten a minute, and then no one's is compared.
func TestTheCostOfSlowHashesIsBounded(t *testing.T) {
	w := newWorld(t)
	store := &lookupStore{Store: w.store}
	o := w.options()
	legacyOptions(&o)
	var refused []string
	o.Observer.Refused = func(_ context.Context, r latchkey.Refusal) { refused = append(refused, r.Reason) }
	keys := latchkey.New(store, &o)
	acme := keys.For("acme")
	for _, lookup := range []string{"42", "43"} {
		_, err := acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
			latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: lookup})
		w.ok(err)
	}
	store.lookups.Store(0)
	ask := func(text string) (*visits, error) {
		v := &visits{}
		_, err := keys.Verify(context.WithValue(w.ctx, visit.Key{}, visit.Visit(v)), latchkey.Presented{Secret: text})
		return v, err
	}
	for _, text := range []string{"old", "old_42", "key-unknown", "another",
		"old_" + strings.Repeat("x", 257) + "_x", "old__x"} {
		_, err := ask(text)
		w.is(latchkey.ErrUnknownToken, err)
	}
	require.Zero(t, store.lookups.Load(), "nothing to look up")
	limited := 0
	for i := range 30 {
		v, err := ask(fmt.Sprintf("old_42_wrong%d", i))
		require.EqualValues(t, 1, v.missed.Load(), "each is a miss for the gate")
		if i < 10 {
			w.is(latchkey.ErrUnknownToken, err)
			continue
		}
		var limit *latchkey.RateLimitError
		require.True(t, errors.As(err, &limit))
		require.Positive(t, limit.RetryAfter())
		limited++
	}
	require.Equal(t, 20, limited)
	require.Len(t, refused, 20)
	require.Equal(t, "rate_limited", refused[0])
	_, err := ask("old_42_s3cret")
	w.is(latchkey.ErrRateLimited, err)
	_, err = ask("old_43_s3cret") // another one is not held up
	w.ok(err)
	for range 100 { // unknown ones cost no turn
		_, err = ask("old_44_s3cret")
		w.is(latchkey.ErrUnknownToken, err)
	}
	w.turn(6 * time.Second)
	v, err := ask("old_42_s3cret")
	w.ok(err)
	require.EqualValues(t, 1, v.found.Load())
	for i := range 30 { // it has its own digest now, and no lookup part
		_, err = ask(fmt.Sprintf("old_42_wrong%d", i))
		w.is(latchkey.ErrUnknownToken, err)
	}
	w.ok(keys.Close(w.ctx))
}

// A client that begins with many requests at once passes with all of them.
func TestManyFirstUsesAtOnce(t *testing.T) {
	w := newWorld(t, legacyOptions)
	_, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
		latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
	w.ok(err)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			_, err := w.verify("old_42_s3cret")
			assert.NoError(t, err)
		})
	}
	all.Wait()
}

// A stored hash that cannot be read, or that costs too much, lets nobody in.
func TestAStrangeHashIsDamage(t *testing.T) {
	for name, edit := range map[string]func(*latchkey.SecretRecord){
		"another algorithm": func(s *latchkey.SecretRecord) { s.Algorithm = "plain" },
		"no hash":           func(s *latchkey.SecretRecord) { s.Hash = []byte("s3cret") },
		"too expensive": func(s *latchkey.SecretRecord) {
			s.Hash = []byte(strings.Replace(string(s.Hash), "$04$", "$30$", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, legacyOptions)
			tok, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
				latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
			w.ok(err)
			secrets, err := w.store.Secrets(w.ctx, "acme", tok.ID)
			w.ok(err)
			edit(&secrets[0])
			w.ok(w.store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", At: w.now(), Silent: true,
				Secrets: []latchkey.SecretChange{{TokenID: tok.ID, Add: &secrets[0], Retire: secrets[0].Digest, Replace: true}}}))
			_, err = w.verify("old_42_s3cret")
			w.is(latchkey.ErrUnavailable, err)
			var damaged *latchkey.DamagedError
			require.True(t, errors.As(err, &damaged))
		})
	}
}

// afterLookup calls do after a look-up by the lookup part has read what it returns.
type afterLookup struct {
	latchkey.Store
	do func()
}

func (s *afterLookup) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	f, err := s.Store.ByLookup(ctx, lookup)
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return f, err
}

// A slow hash takes its time, and may have to wait. What changes meanwhile counts.
func TestChangesWhileASlowHashIsComputed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, id string) error
		want   error
	}{
		"revoked": {func(w *world, id string) error { return w.acme.Revoke(w.ctx, id, "") }, latchkey.ErrRevoked},
		"deleted": {func(w *world, id string) error { return w.acme.Delete(w.ctx, id) }, latchkey.ErrUnknownToken},
		"rotated": {func(w *world, id string) error {
			_, err := w.acme.Rotate(w.ctx, id, 0)
			return err
		}, latchkey.ErrUnknownToken},
		"disabled": {func(w *world, id string) error {
			_, err := w.acme.Update(w.ctx, id, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			return err
		}, latchkey.ErrDisabled},
		"another's by now": {func(w *world, id string) error {
			err := w.acme.Delete(w.ctx, id)
			if err == nil {
				_, err = w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
					latchkey.KeptSecret{Hash: bcryptOf("other"), Lookup: "42"})
			}
			return err
		}, latchkey.ErrUnknownToken},
		"moved by another process": {func(w *world, id string) error {
			o := w.options()
			legacyOptions(&o)
			_, err := latchkey.New(w.store.Store, &o).Verify(w.ctx, latchkey.Presented{Secret: "old_42_s3cret"})
			return err
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, legacyOptions)
			tok, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
				latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
			w.ok(err)
			store := &afterLookup{Store: w.store.Store, do: func() { w.ok(c.change(w, tok.ID)) }}
			w.store.Store = store
			a, err := w.verify("old_42_s3cret")
			w.is(c.want, err)
			require.Equal(t, err == nil, a.TokenID() == tok.ID)
			require.Nil(t, store.do, "or the test would prove nothing")
			_, err = w.verify("old_42_s3cret")
			w.is(c.want, err)
		})
	}
}

// Peppers without a Split recognise whole texts only: a text that is none of them is unknown, and no part of it is
// looked up.
func TestLegacyWithoutSplit(t *testing.T) {
	for name, l := range map[string]*latchkey.Legacy{
		"nothing": nil,
		"peppers": {Peppers: map[string][]byte{"2019": []byte("pepper")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) { legacyOptions(o); o.Legacy = l })
			for _, text := range []string{"old_42_s3cret", "key-unknown", "another"} {
				_, err := w.verify(text)
				w.is(latchkey.ErrUnknownToken, err)
			}
			_, err := w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
				latchkey.KeptSecret{Hash: bcryptOf("s3cret"), Lookup: "42"})
			w.is(latchkey.ErrInvalid, err)
			require.ErrorContains(t, err, "set Options.Legacy.Split")
			if l == nil {
				return
			}
			_, err = w.acme.ImportDigest(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey},
				latchkey.KeptSecret{HMAC: string(mac("pepper", "key-7")), Pepper: "2019"})
			w.ok(err)
			w.access("key-7")
		})
	}
}
