package latchkey_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// During the overlap of a rotation it is seen whether the old secret is still used, and from where. Then it is ended.
func ExampleAccount_EndSecret() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	defer keys.Close(ctx)
	acme := keys.For("acme")
	key, old, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	verify := func(s latchkey.Secret) error {
		_, err := keys.Verify(ctx, latchkey.Presented{Secret: s.Reveal(), Address: netip.MustParseAddr("192.0.2.7")})
		return err
	}

	fresh, err := acme.Rotate(ctx, key.ID, 24*time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(verify(fresh))
	list, err := acme.Secrets(ctx, key.ID)
	for _, s := range list {
		fmt.Println("newest:", s.Newest, "used:", !s.Used.IsZero(), "from:", s.UsedFrom)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	err = acme.EndSecret(ctx, key.ID, list[0].ID, "nobody uses it any more")
	fmt.Println(err, verify(old))
	// Output:
	// <nil>
	// newest: false used: false from: invalid IP
	// newest: true used: true from: 192.0.2.7
	// <nil> latchkey: unknown token
}

// Whoever leaves takes no key along: all tokens of a client end, however many they are.
func ExampleAccount_RevokeAll() {
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	defer keys.Close(ctx)
	acme := keys.For("acme")
	_, secret, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	access, _ := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	for range 3 {
		_, _, _ = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "u-42"}})
	}

	leaver := latchkey.Selector{Client: "u-42"}
	n, err := acme.CountTokens(ctx, leaver.Query(), 10_000)
	if err != nil {
		fmt.Println(err)
		return
	}
	swept, err := acme.RevokeAll(ctx, leaver, "left the company")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n, "selected,", swept.Done, "revoked,", swept.Refused, "not the actor's to end")
	_, err = acme.RevokeAll(ctx, latchkey.Selector{}, "by mistake")
	fmt.Println(errors.Is(err, latchkey.ErrInvalid))
	// Output:
	// 3 selected, 3 revoked, 0 not the actor's to end
	// true
}

// A daily job tells customers what ends soon, and a page tells them why a key is refused.
func ExampleManager_Expiring() {
	ctx, now := context.Background(), time.Now()
	keys := latchkey.New(memstore.New(nil), nil)
	defer keys.Close(ctx)
	acme := keys.For("acme")
	_, secret, _ := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "the shop",
		Validity: latchkey.Validity{NotAfter: now.AddDate(0, 0, 3)}})

	for t, err := range keys.Expiring(ctx, now, now.AddDate(0, 0, 7)) {
		fmt.Println(t.Owner, t.Name, "ends soon", err == nil)
	}

	_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal(), Test: true}) // to the sandbox, by mistake
	fmt.Println(err)
	refused, err := acme.RefusalReport(ctx, latchkey.RefusalQuery{By: []string{"token", "reason"}})
	if err == nil {
		fmt.Println(refused[0].Reason, refused[0].Count)
	}
	// Output:
	// acme the shop ends soon true
	// latchkey: test token on a live surface, or the reverse
	// test_mode 1
}

// Keys of an older system go on working, whatever it kept of them.
func ExampleAccount_ImportDigest() {
	ctx := context.Background()
	store, pepper := memstore.New(nil), []byte("of the older system")
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte("old_c4d8f0a2b6e1"))
	slow, _ := bcrypt.GenerateFromPassword([]byte("h8Kx2w"), bcrypt.MinCost)
	row := struct{ SHA256, HMAC, Bcrypt, Lookup string }{
		SHA256: "fb70c2a8dd0e9a7a9cda2fde35fd5e29fb4ad2a6b4f56b0b2bd1f3a1b7cbeb01",
		HMAC:   hex.EncodeToString(mac.Sum(nil)), Bcrypt: string(slow), Lookup: "42"}

	keys := latchkey.New(store, &latchkey.Options{
		Imported: func(text string) bool { return strings.HasPrefix(text, "old_") }, // the shape of the old texts
		Legacy: &latchkey.Legacy{
			Split: func(text string) (lookup, secret string, ok bool) { // old_LOOKUP_SECRET
				rest, ours := strings.CutPrefix(text, "old_")
				lookup, secret, ok = strings.Cut(rest, "_")
				return lookup, secret, ok && ours
			},
			Peppers: map[string][]byte{"v1": pepper},
		},
	})
	defer keys.Close(ctx)
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "moved"}
	_, err := keys.For("acme").ImportDigest(ctx, spec, latchkey.KeptSecret{SHA256: row.SHA256})
	fmt.Println(err)
	_, err = keys.For("acme").ImportDigest(ctx, spec, latchkey.KeptSecret{HMAC: row.HMAC, Pepper: "v1"})
	fmt.Println(err)
	_, err = keys.For("acme").ImportDigest(ctx, spec, latchkey.KeptSecret{Hash: row.Bcrypt, Lookup: row.Lookup})
	fmt.Println(err)

	for _, text := range []string{"old_c4d8f0a2b6e1", "old_42_h8Kx2w", "old_42_wrong"} {
		_, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// latchkey: unknown token
}
