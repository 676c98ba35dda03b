package latchkeygrpc

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// CredentialOptions configure [Credentials]. The zero value, and nil, are ready to use.
type CredentialOptions struct {
	// Key is the name of the metadata that carries the secret as its whole value: "x-api-key". "": the secret goes as
	// "authorization: Bearer".
	Key string
	// Plaintext sends the secret over connections without TLS too. Set it in tests only: whoever sees the connection has
	// the secret. False: such a call fails, and nothing is sent.
	Plaintext bool
}

// Credentials returns what a client passes to grpc.WithPerRPCCredentials, or to grpc.PerRPCCredentials for one call. It
// calls secret for each call, so that a rotated secret is used from the next call on, without a new connection. Secret
// must be fast, and safe for concurrent use: let it return what another goroutine keeps up to date. An error of it
// fails the call with UNAUTHENTICATED, and its text is part of the message, so it must not hold a secret. An open
// stream goes on with the secret that it began with.
//
// What is returned prints no secret, and no error of it holds one. It panics if secret is nil or the Key is no name of
// metadata in lower case.
func Credentials(secret func(context.Context) (string, error), opts *CredentialOptions) credentials.PerRPCCredentials {
	if secret == nil {
		panic("latchkeygrpc: Credentials needs a function")
	}
	c := &perRPC{secret: secret}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Key != "" && !validKey(c.opts.Key) {
		panic(fmt.Sprintf("latchkeygrpc: CredentialOptions.Key: %q: use a name of metadata in lower case, other than "+
			"authorization, without -bin at its end", c.opts.Key))
	}
	return c
}

// perRPC holds a func and no text, so that printing it shows no secret.
type perRPC struct {
	secret func(context.Context) (string, error)
	opts   CredentialOptions
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c *perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if !c.opts.Plaintext {
		ri, _ := credentials.RequestInfoFromContext(ctx)
		if err := credentials.CheckSecurityLevel(ri.AuthInfo, credentials.PrivacyAndIntegrity); err != nil {
			return nil, status.Errorf(codes.Unauthenticated, "latchkeygrpc: the secret is sent over TLS only: %v", err)
		}
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "latchkeygrpc: there is no secret for this call: %v", err)
	}
	if reason := unfit(secret, c.opts.Key == ""); reason != "" {
		return nil, status.Errorf(codes.Unauthenticated, "latchkeygrpc: there is no secret for this call: %s", reason)
	}
	if c.opts.Key != "" {
		return map[string]string{c.opts.Key: secret}, nil
	}
	return map[string]string{"authorization": "Bearer " + secret}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (c *perRPC) RequireTransportSecurity() bool { return !c.opts.Plaintext }

// unfit returns why a text cannot be sent, or "". It repeats nothing of the text. A Bearer token has fewer characters
// than metadata (RFC 6750 §2.1).
func unfit(secret string, bearer bool) string {
	body := strings.TrimRight(secret, "=")
	switch {
	case secret == "":
		return "it is empty"
	case strings.TrimSpace(secret) != secret:
		return "it begins or ends with white space: trim what you read from a file"
	case bearer && body == "":
		return "it is no token"
	}
	for i := range len(body) {
		c := body[i]
		if !bearer && ' ' <= c && c <= '~' {
			continue
		}
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') &&
			strings.IndexByte("-._~+/", c) < 0 {
			return "it has a character that no token has"
		}
	}
	return ""
}
