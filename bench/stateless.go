package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/memstore"
)

// pair makes tokens for a client that no store holds, and opens each of them once.
type pair struct {
	name string
	make func() (text string, err error)
	// open returns what the token says. It returns an error for what nobody made.
	open func(text string) (opened, error)
}

// opened is a token that was opened.
type opened struct {
	client string
	// region returns what the token does to a row of a region: whether it may read it, and what region a row has that it
	// creates without one.
	region func(region string) (reads bool, creates string, err error)
}

const pairClient = "42"

// statelessPair mints by one Manager and opens by another one, which knows the parent and none of the tokens. Region is
// that of the rows that they may read and create; "": of any.
func statelessPair(ctx context.Context, region string) (pair, error) {
	key, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		return pair{}, err
	}
	ring, err := latchkey.NewKeyring(key)
	if err != nil {
		return pair{}, err
	}
	opts := withinASecond
	opts.Keyring = ring
	store := memstore.New(nil)
	parent, err := verified(ctx, latchkey.New(store, &opts), latchkey.Spec{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read, latchkey.Create).On("dataset/*")}})
	if err != nil {
		return pair{}, err
	}
	n := latchkey.Narrowing{Stateless: true, Client: latchkey.Client{ID: pairClient}, Lifetime: mintedFor}
	if region != "" {
		n.Rows = []latchkey.Condition{latchkey.Where("region", latchkey.Eq, region)}
		n.Forced = latchkey.Values{"region": region}
	}
	keys := latchkey.New(store, &opts)
	return pair{name: "latchkey, stateless", make: func() (string, error) {
		_, s, err := parent.Mint(ctx, n)
		return s.Reveal(), err
	}, open: func(text string) (opened, error) {
		a, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		if err != nil || a.Owner() != owner {
			return opened{}, fmt.Errorf("a token of %q: %w", a.Owner(), err)
		}
		return opened{a.Client().ID, func(region string) (bool, string, error) {
			row := latchkey.Row{"region": region, "amount": int64(1), "status": "open"}
			reads := a.CheckRow(latchkey.Read, "dataset/orders", orders, row) == nil
			delete(row, "region")
			made, err := a.Prepare(latchkey.Create, "dataset/orders", orders, nil, row)
			creates, _ := made["region"].(string)
			return reads, creates, err
		}}, nil
	}}, nil
}

// regionClaims are claims for a client, with the rows that it may read and what is forced into those that it creates.
type regionClaims struct {
	claims
	Client string            `json:"client"`
	Rows   map[string]string `json:"rows,omitempty"`
	Forced map[string]string `json:"forced,omitempty"`
}

// jwtPair signs and parses the same.
func jwtPair(region string) pair {
	parser := newParser(jwt.SigningMethodHS256)
	i := 0
	return pair{name: "golang-jwt HS256", make: func() (string, error) {
		i++
		c := regionClaims{claims: newClaims(i, time.Now().Add(mintedFor)), Client: pairClient}
		if region != "" {
			c.Rows, c.Forced = map[string]string{"region": region}, map[string]string{"region": region}
		}
		return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(hmacKey)
	}, open: func(text string) (opened, error) {
		var c regionClaims
		if _, err := parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return hmacKey, nil }); err != nil {
			return opened{}, err
		}
		return opened{c.Client, func(region string) (bool, string, error) {
			want, limited := c.Rows["region"]
			return !limited || region == want, c.Forced["region"], nil
		}}, nil
	}}
}

// agree checks that what a pair makes is a token that says what it should, and another one each time.
func (p pair) agree(region string) error {
	seen := map[string]bool{}
	for range 20 {
		text, err := p.make()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if seen[text] {
			return fmt.Errorf("%s makes a token twice", p.name)
		}
		seen[text] = true
		o, err := p.open(text)
		if err != nil || o.client != pairClient {
			return fmt.Errorf("%s: a token of client %q: %w", p.name, o.client, err)
		}
		for _, of := range []string{"EU", "US"} {
			reads, creates, err := o.region(of)
			if err != nil || reads != (region == "" || of == region) || creates != region {
				return fmt.Errorf("%s: rows of %s: reads %t, creates in %q: %w", p.name, of, reads, creates, err)
			}
		}
		if _, err := p.open(altered(text)); err == nil {
			return fmt.Errorf("%s accepts a text that nobody made", p.name)
		}
	}
	return nil
}

var errOtherClient = errors.New("a token of another client")

func (p pair) side() measure.Side {
	return measure.Side{Name: p.name, Run: func(n int) error {
		for range n {
			text, err := p.make()
			if err != nil {
				return err
			}
			if o, err := p.open(text); err != nil || o.client != pairClient {
				return errors.Join(errOtherClient, err)
			}
		}
		return nil
	}}
}

// sealAndOpen is the limit: a random nonce, and XChaCha20-Poly1305 once each way, of as much as such a text holds.
func sealAndOpen() (measure.Side, error) {
	aead, err := chacha20poly1305.NewX(hmacKey[:chacha20poly1305.KeySize])
	if err != nil {
		return measure.Side{}, err
	}
	nonce, plain := make([]byte, aead.NonceSize()), make([]byte, 64)
	sealed, opened := make([]byte, 0, 256), make([]byte, 0, 256)
	return measure.Side{Name: "XChaCha20-Poly1305 alone", Run: func(n int) error {
		for range n {
			if _, err := rand.Read(nonce); err != nil {
				return err
			}
			sealed = aead.Seal(sealed[:0], nonce, plain, nil)
			if opened, err = aead.Open(opened[:0], nonce, sealed, nil); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// benchStateless compares tokens that are not stored: each is made, and opened once.
func benchStateless(b *bench) error {
	for _, kind := range []struct {
		name, region string
		goal         goal
	}{{"client and end only", "", atLeast(12)}, {"typical rows and forced values", "EU", atLeast(4)}} {
		ours, err := statelessPair(b.ctx, kind.region)
		if err != nil {
			return err
		}
		var sides []measure.Side
		for _, p := range []pair{ours, jwtPair(kind.region)} {
			if err := p.agree(kind.region); err != nil {
				return err
			}
			sides = append(sides, p.side())
		}
		limit, err := sealAndOpen()
		if err != nil {
			return err
		}
		sides = append(sides, limit)
		results, err := b.compare("a stateless token made and opened once, "+kind.name, sides...)
		if err != nil {
			return err
		}
		b.faster("Stateless, mint and first open, "+kind.name, results[0], results[1], kind.goal)
		b.faster("The limit of that, one seal and one open", results[2], results[1], goal{})
	}
	return nil
}
