package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"aidanwoods.dev/go-paseto"
	scs "github.com/alexedwards/scs/v2/memstore"
	"github.com/golang-jwt/jwt/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/token/hmac"
	"gopkg.in/macaroon.v2"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/bench/internal/plot"
)

// verifier is something that says whose token a text is.
type verifier struct {
	name  string
	texts []string // tokens of owner; nil: those of latchkey
	// verify returns the owner. It returns an error for what is no token, and for one that has ended.
	verify func(text string) (string, error)
	ended  string // a token of owner that has ended; "": such tokens cannot be told
}

// made is how many tokens a library gets whose cost does not depend on how many there are.
const made = 10_000

// side is the verifier as it is measured, over its own tokens or over those of latchkey.
func (v verifier) side(t texts) measure.Side {
	next, n, at := 0, t.len(), t.at
	if v.texts != nil {
		n, at = len(v.texts), func(i int) string { return v.texts[i] }
	}
	return measure.Side{Name: v.name, Run: func(times int) error {
		i := next // not next itself: that of another core's side may lie in the same line of memory
		defer func() { next = i }()
		for range times {
			who, err := v.verify(at(i))
			if err != nil || who != owner {
				return fmt.Errorf("a token of %q is said to be of %q: %w", owner, who, err)
			}
			if i++; i == n {
				i = 0
			}
		}
		return nil
	}}
}

// agree checks that a verifier knows its tokens, and refuses what nobody issued and what has ended.
func (v verifier) agree(t texts) error {
	own := v.texts
	if own == nil {
		for i := range min(t.len(), 100) {
			own = append(own, t.at(i))
		}
	}
	for _, text := range own[:min(len(own), 100)] {
		if who, err := v.verify(text); err != nil || who != owner {
			return fmt.Errorf("%s: a token of %q is said to be of %q: %w", v.name, owner, who, err)
		}
		if _, err := v.verify(altered(text)); err == nil {
			return fmt.Errorf("%s: accepts a text that nobody issued", v.name)
		}
	}
	if v.ended != "" {
		if _, err := v.verify(v.ended); err == nil {
			return fmt.Errorf("%s: accepts a token that has ended", v.name)
		}
	}
	return nil
}

// latchkeyVerifier verifies by a Manager.
func latchkeyVerifier(ctx context.Context, name string, keys *latchkey.Manager) verifier {
	return verifier{name: name, verify: func(text string) (string, error) {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		return a.Owner(), err
	}}
}

// row is what a hand-written table of keys holds.
type row struct {
	owner   string
	expires time.Time
	scopes  []string
}

var errUnknown = errors.New("unknown token")

// mapVerifier is what people write by hand: a map by digest under a lock, and the end of the token compared with the
// clock.
func mapVerifier(t texts) verifier {
	var mu sync.RWMutex
	rows := make(map[[32]byte]*row, t.len())
	for _, i := range shuffled(t.len()) {
		rows[sha256.Sum256([]byte(t.at(i)))] = &row{owner, time.Now().Add(time.Hour), []string{"read"}}
	}
	return verifier{name: "map by SHA-256, hand-written", verify: func(text string) (string, error) {
		var buf [64]byte // on the stack: a conversion to []byte would allocate
		sum := sha256.Sum256(append(buf[:0], text...))
		mu.RLock()
		r := rows[sum]
		mu.RUnlock()
		if r == nil || !time.Now().Before(r.expires) {
			return "", errUnknown
		}
		return r.owner, nil
	}}
}

// claims are those of a typical token of an API.
type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

const issuer, audience = "https://issuer.example.com", "https://api.example.com"

func newClaims(id int, end time.Time) claims {
	now := time.Now()
	return claims{"dataset:read orders:read", jwt.RegisteredClaims{Issuer: issuer, Subject: owner,
		Audience: jwt.ClaimStrings{audience}, ExpiresAt: jwt.NewNumericDate(end), NotBefore: jwt.NewNumericDate(now),
		IssuedAt: jwt.NewNumericDate(now), ID: fmt.Sprintf("%032x", id)}}
}

// newParser returns a parser that verifies signature, end, issuer and audience.
func newParser(method jwt.SigningMethod) *jwt.Parser {
	return jwt.NewParser(jwt.WithValidMethods([]string{method.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired())
}

// parseJWT returns what verifies JSON Web Tokens: signature, end, issuer and audience.
func parseJWT(method jwt.SigningMethod, verify any) func(text string) (claims, error) {
	p := newParser(method)
	key := func(*jwt.Token) (any, error) { return verify, nil }
	return func(text string) (c claims, err error) {
		_, err = p.ParseWithClaims(text, &c, key)
		return c, err
	}
}

// jwtVerifier verifies JSON Web Tokens.
func jwtVerifier(name string, method jwt.SigningMethod, sign, verify any, n int) (verifier, error) {
	parse := parseJWT(method, verify)
	v := verifier{name: name, verify: func(text string) (string, error) {
		c, err := parse(text)
		return c.Subject, err
	}}
	for i := range n {
		text, err := jwt.NewWithClaims(method, newClaims(i, time.Now().Add(time.Hour))).SignedString(sign)
		if err != nil {
			return v, err
		}
		v.texts = append(v.texts, text)
	}
	var err error
	v.ended, err = jwt.NewWithClaims(method, newClaims(n, time.Now().Add(-time.Minute))).SignedString(sign)
	return v, err
}

var hmacKey = []byte("a key of thirty-two bytes or more")

func hs256(n int) (verifier, error) {
	return jwtVerifier("golang-jwt HS256", jwt.SigningMethodHS256, hmacKey, hmacKey, n)
}

func edDSA(n int) (verifier, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return verifier{}, err
	}
	return jwtVerifier("golang-jwt EdDSA", jwt.SigningMethodEdDSA, private, public, n)
}

// newPaseto makes a token with the claims of newClaims.
func newPaseto(key paseto.V4SymmetricKey, id int, end time.Time) string {
	t, now := paseto.NewToken(), time.Now()
	t.SetIssuer(issuer)
	t.SetSubject(owner)
	t.SetAudience(audience)
	t.SetExpiration(end)
	t.SetNotBefore(now)
	t.SetIssuedAt(now)
	t.SetJti(fmt.Sprintf("%032x", id))
	t.SetString("scope", "dataset:read orders:read")
	return t.V4Encrypt(key, nil)
}

func pasetoVerifier(n int) (verifier, error) {
	key := paseto.NewV4SymmetricKey()
	p := paseto.MakeParser([]paseto.Rule{paseto.NotExpired(), paseto.IssuedBy(issuer), paseto.ForAudience(audience)})
	v := verifier{name: "go-paseto v4.local", verify: func(text string) (string, error) {
		t, err := p.ParseV4Local(key, text, nil)
		if err != nil {
			return "", err
		}
		return t.GetSubject()
	}}
	for i := range n {
		v.texts = append(v.texts, newPaseto(key, i, time.Now().Add(time.Hour)))
	}
	v.ended = newPaseto(key, n, time.Now().Add(-time.Minute))
	return v, nil
}

// newMacaroon makes a macaroon with three caveats.
func newMacaroon(id int, end time.Time) (string, error) {
	m, err := macaroon.New(hmacKey, fmt.Appendf(nil, "%032x", id), issuer, macaroon.V2)
	if err != nil {
		return "", err
	}
	for _, caveat := range []string{"owner = " + owner, "before = " + end.UTC().Format(time.RFC3339),
		"scope = dataset:read"} {
		if err := m.AddFirstPartyCaveat([]byte(caveat)); err != nil {
			return "", err
		}
	}
	data, err := m.MarshalBinary()
	return base64.RawURLEncoding.EncodeToString(data), err
}

func verifyMacaroon(text string) (who string, err error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	var m macaroon.Macaroon
	if err := m.UnmarshalBinary(data); err != nil {
		return "", err
	}
	err = m.Verify(hmacKey, func(caveat string) error {
		name, value, _ := strings.Cut(caveat, " = ")
		switch name {
		case "owner":
			who = value
		case "before":
			end, err := time.Parse(time.RFC3339, value)
			if err != nil || !time.Now().Before(end) {
				return errUnknown
			}
		case "scope":
			if value != "dataset:read" {
				return errUnknown
			}
		default:
			return errUnknown
		}
		return nil
	}, nil)
	return who, err
}

func macaroonVerifier(n int) (verifier, error) {
	v := verifier{name: "macaroon.v2, 3 caveats", verify: verifyMacaroon}
	for i := range n {
		text, err := newMacaroon(i, time.Now().Add(time.Hour))
		if err != nil {
			return v, err
		}
		v.texts = append(v.texts, text)
	}
	var err error
	v.ended, err = newMacaroon(n, time.Now().Add(-time.Minute))
	return v, err
}

func newFosite() *hmac.HMACStrategy {
	return &hmac.HMACStrategy{Config: &fosite.Config{GlobalSecret: hmacKey}}
}

// fositeVerifier checks a signature alone: whose token it is and when it ends is in a store, which is not asked.
func fositeVerifier(ctx context.Context, n int) (verifier, error) {
	s := newFosite()
	v := verifier{name: "fosite HMAC, signature alone", verify: func(text string) (string, error) {
		return owner, s.Validate(ctx, text)
	}}
	for range n {
		text, _, err := s.Generate(ctx)
		if err != nil {
			return v, err
		}
		v.texts = append(v.texts, text)
	}
	return v, nil
}

// scsVerifier finds sessions by the text itself, which is kept in memory as it is.
func scsVerifier(t texts) (verifier, error) {
	store, end := scs.NewWithCleanupInterval(0), time.Now().Add(time.Hour)
	ended := newTexts(1, 99).at(0)
	if err := store.Commit(ended, []byte(owner), time.Now().Add(-time.Minute)); err != nil {
		return verifier{}, err
	}
	for _, i := range shuffled(t.len()) {
		if err := store.Commit(t.at(i), []byte(owner), end); err != nil {
			return verifier{}, err
		}
	}
	return verifier{name: "scs memstore, texts as they are", ended: ended, verify: func(text string) (string, error) {
		data, ok, err := store.Find(text)
		if err != nil || !ok {
			return "", cmpError(err)
		}
		return string(data), nil
	}}, nil
}

func cmpError(err error) error {
	if err != nil {
		return err
	}
	return errUnknown
}

// signed are the verifiers whose cost does not depend on how many tokens there are.
func signed(ctx context.Context, n int) (list []verifier, err error) {
	for _, make := range []func(n int) (verifier, error){hs256, edDSA, pasetoVerifier, macaroonVerifier,
		func(n int) (verifier, error) { return fositeVerifier(ctx, n) }} {
		v, err := make(n)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// The modes that a Manager is measured in.
var (
	withinASecond = latchkey.Options{MaxStale: time.Second, CacheTokens: 20_000_000}
	atOnce        = latchkey.Options{CacheTokens: 20_000_000}
)

// verifiersOf are all verifiers of tokens with these texts. The first is latchkey with a MaxStale of a second.
func (b *bench) verifiersOf(t texts, others []verifier) ([]verifier, error) {
	list := []verifier{}
	for _, mode := range []struct {
		name string
		opts latchkey.Options
	}{{"latchkey, MaxStale 1 s", withinASecond}, {"latchkey, MaxStale 0, memstore", atOnce}} {
		keys, _, err := vouch(b.ctx, mode.opts, plainKey(b.ctx), nil)
		if err != nil {
			return nil, err
		}
		if err := load(b.ctx, keys, t); err != nil {
			return nil, err
		}
		list = append(list, latchkeyVerifier(b.ctx, mode.name, keys))
	}
	sessions, err := scsVerifier(t)
	if err != nil {
		return nil, err
	}
	list = append(append(list, mapVerifier(t), sessions), others...)
	for _, v := range list {
		if err := v.agree(t); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func benchVerify(b *bench) error {
	others, err := signed(b.ctx, min(made, b.tokens))
	if err != nil {
		return err
	}
	picture := plot.Plot{Title: "Verify: time by number of tokens", X: "tokens", Y: "ns"}
	for _, size := range []struct {
		n                 int
		byMap, jwt, limit goal
	}{
		{n: 1_000, byMap: atLeast(1), jwt: atLeast(40)},
		{n: 10_000},
		{n: 100_000, byMap: atLeast(1)},
		{n: 1_000_000, jwt: atLeast(14), limit: atMost(1.8)},
	} {
		if size.n > b.tokens {
			continue
		}
		t := newTexts(size.n, 1)
		list, err := b.verifiersOf(t, others)
		if err != nil {
			return err
		}
		var sides []measure.Side
		for _, v := range list {
			sides = append(sides, v.side(t))
		}
		title := fmt.Sprintf("%s tokens", number(float64(size.n)))
		results, err := b.compare(title, append(sides, sha256Side(), missSide(min(missBytes, 256*b.tokens)))...)
		if err != nil {
			return err
		}
		for i, r := range results[:len(list)] {
			if len(picture.Lines) <= i {
				picture.Lines = append(picture.Lines, plot.Line{Name: r.Name, Strong: i == 0})
			}
			l := &picture.Lines[i]
			l.X, l.Y = append(l.X, float64(size.n)), append(l.Y, r.NS.Median())
		}
		ours := results[0]
		floor := results[len(list)].NS.Plus(results[len(list)+1].NS)
		work := "Verify, cached, " + title
		b.faster(work, ours, results[2], size.byMap)
		b.faster(work, ours, results[4], size.jwt)
		b.within(work, ours, limitName, floor, size.limit)
		b.amount(work+": allocations", ours.Allocs, "", atMost(0))
	}
	b.plots = append(b.plots, plotFile(picture, "verify.svg"))
	return nil
}

func plotFile(p plot.Plot, file string) picture { return picture{file, p} }

// onCores does the work of a side on some goroutines at once, each with a share of it. The sides are one to each.
func onCores(name string, each []measure.Side) measure.Side {
	return measure.Side{Name: name, Run: func(n int) error {
		errs := make([]error, len(each))
		var all sync.WaitGroup
		for i := range each {
			share := (n + i) / len(each)
			all.Go(func() { errs[i] = each[i].Run(share) })
		}
		all.Wait()
		return errors.Join(errs...)
	}}
}

// benchCores measures what two cores do at once.
func benchCores(b *bench) error {
	for _, n := range []int{1_000, 1_000_000} {
		n = min(n, b.tokens)
		t := newTexts(n, 1)
		keys, _, err := vouch(b.ctx, withinASecond, plainKey(b.ctx), nil)
		if err != nil {
			return err
		}
		if err := load(b.ctx, keys, t); err != nil {
			return err
		}
		half := t.len() / 2 * keyLength
		v := latchkeyVerifier(b.ctx, "1 core", keys)
		first, second := texts{t.all[:half]}, texts{t.all[half:]}
		title := fmt.Sprintf("%s tokens on two cores", number(float64(n)))
		results, err := b.compare(title, v.side(t), onCores("2 cores", []measure.Side{v.side(first), v.side(second)}))
		if err != nil {
			return err
		}
		b.faster("Verify, cached, "+title, results[1], results[0], atLeast(1.85))
	}
	// Of work without memory, it tells whether the machine's two cores share one: then no other work reaches twice.
	one, two := sha256Side(), onCores("2 cores", []measure.Side{sha256Side(), sha256Side()})
	one.Name = "1 core"
	results, err := b.compare("SHA-256 of 48 bytes on two cores", one, two)
	if err != nil {
		return err
	}
	b.faster("The limit of that, SHA-256 of 48 bytes on two cores", results[1], results[0], goal{})
	return nil
}

// benchIdle compares tokens that end when they are not used with tokens that do not.
func benchIdle(b *bench) error {
	for _, n := range []int{1_000, 100_000} {
		n = min(n, b.tokens)
		t := newTexts(n, 2)
		var sides []measure.Side
		for _, idle := range []time.Duration{0, time.Hour} {
			keys, _, err := vouch(b.ctx, withinASecond, func(acme latchkey.Account) (latchkey.Token, error) {
				return issue(b.ctx, acme, latchkey.Spec{Validity: latchkey.Validity{Idle: idle}},
					latchkey.Allow(latchkey.Read).On("dataset/*"))
			}, nil)
			if err != nil {
				return err
			}
			if err := load(b.ctx, keys, t); err != nil {
				return err
			}
			name := "plain"
			if idle != 0 {
				name = "with an idle end"
			}
			v := latchkeyVerifier(b.ctx, name, keys)
			if err := v.agree(t); err != nil {
				return err
			}
			sides = append(sides, v.side(t))
		}
		results, err := b.compare(fmt.Sprintf("%s tokens with an idle end", number(float64(n))), sides...)
		if err != nil {
			return err
		}
		b.within(fmt.Sprintf("Verify, cached, %s tokens with an idle end", number(float64(n))), results[1], "plain ones",
			results[0].NS, atMost(1.2))
	}
	return nil
}
