package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/memstore"
)

// maker is something that makes tokens for a client which end in 15 minutes.
type maker struct {
	name string
	make func() (text string, err error)
	// verify returns an error for a text that nobody made.
	verify func(text string) error
}

const mintedFor = 15 * time.Minute

// latchkeyMaker mints by a key that may read.
func latchkeyMaker(ctx context.Context, name string, n latchkey.Narrowing) (maker, error) {
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: time.Second})
	parent, err := verified(ctx, keys, latchkey.Spec{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read, latchkey.Create).On("dataset/*")}})
	return maker{name: name, make: func() (string, error) {
		_, s, err := parent.Mint(ctx, n)
		return s.Reveal(), err
	}, verify: func(text string) error {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		if err == nil && (a.Client().ID != n.Client.ID || a.Owner() != owner) {
			err = fmt.Errorf("a token of %s", a)
		}
		return err
	}}, err
}

// makers are all that make tokens, latchkey and golang-jwt HS256 first.
func makers(ctx context.Context) ([]maker, error) {
	ours, err := latchkeyMaker(ctx, "latchkey Mint, memstore", latchkey.Narrowing{Client: latchkey.Client{ID: "42"},
		Lifetime: mintedFor})
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, i := paseto.NewV4SymmetricKey(), 0
	signer := func(name string, method jwt.SigningMethod, sign, verify any) maker {
		return maker{name: name, make: func() (string, error) {
			i++
			return jwt.NewWithClaims(method, newClaims(i, time.Now().Add(mintedFor))).SignedString(sign)
		}, verify: func(text string) error {
			_, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return verify, nil },
				jwt.WithValidMethods([]string{method.Alg()}))
			return err
		}}
	}
	byFosite := newFosite()
	return []maker{ours,
		signer("golang-jwt HS256", jwt.SigningMethodHS256, hmacKey, hmacKey),
		signer("golang-jwt EdDSA", jwt.SigningMethodEdDSA, private, public),
		{"go-paseto v4.local", func() (string, error) {
			i++
			return newPaseto(key, i, time.Now().Add(mintedFor)), nil
		}, func(text string) error {
			parser := paseto.NewParser()
			_, err := parser.ParseV4Local(key, text, nil)
			return err
		}},
		{"macaroon.v2, 3 caveats", func() (string, error) {
			i++
			return newMacaroon(i, time.Now().Add(mintedFor))
		}, func(text string) error {
			_, err := verifyMacaroon(text)
			return err
		}},
		{"fosite HMAC, text and signature alone", func() (string, error) {
			text, _, err := byFosite.Generate(ctx)
			return text, err
		}, func(text string) error { return byFosite.Validate(ctx, text) }},
	}, nil
}

// agree checks that what was made is a token, and that another one is made each time.
func (m maker) agree() error {
	seen := map[string]bool{}
	for range 20 {
		text, err := m.make()
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if err := m.verify(text); err != nil || seen[text] {
			return fmt.Errorf("%s: what it made is no token, or was made before: %w", m.name, err)
		}
		if m.verify(altered(text)) == nil {
			return fmt.Errorf("%s: accepts a text that nobody made", m.name)
		}
		seen[text] = true
	}
	return nil
}

func (m maker) side() measure.Side {
	return measure.Side{Name: m.name, Run: func(n int) error {
		for range n {
			if text, err := m.make(); err != nil || text == "" {
				return fmt.Errorf("no token: %w", err)
			}
		}
		return nil
	}}
}

func benchMint(b *bench) error {
	list, err := makers(b.ctx)
	if err != nil {
		return err
	}
	var sides []measure.Side
	for _, m := range list {
		if err := m.agree(); err != nil {
			return err
		}
		sides = append(sides, m.side())
	}
	results, err := b.compare("a token for a client that ends in 15 minutes", sides...)
	if err != nil {
		return err
	}
	b.faster("Mint, memstore", results[0], results[1], atLeast(1.5))
	return nil
}
