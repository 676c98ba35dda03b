package latchkeygrpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
)

// certificate makes one for 127.0.0.1, and returns it with the pool that trusts it and the file that holds it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, file
}

// listenTLS serves the world over TLS on 127.0.0.1.
func (w *world) listenTLS() (address string, pool *x509.CertPool, caFile string) {
	cert, pool, file := certificate(w.t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.serve(listener, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}})))
	return listener.Addr().String(), pool, file
}

// A client's credentials rotate without a new connection.
func TestCredentials(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Keys = []string{"x-api-key"} })
	address, pool, _ := w.listenTLS()
	token, first := w.issue(latchkey.Settings{Permissions: readOrders})
	var current atomic.Value
	current.Store(first)
	get := func(context.Context) (string, error) { return current.Load().(string), nil }
	for _, opts := range []*latchkeygrpc.CredentialOptions{nil, {Key: "x-api-key"}} {
		creds := latchkeygrpc.Credentials(get, opts)
		require.True(t, creds.RequireTransportSecurity())
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, "")),
			grpc.WithPerRPCCredentials(creds))
		require.NoError(t, err)
		defer conn.Close()
		client := shop.NewOrdersClient(conn)
		_, err = client.Get(t.Context(), &shop.GetRequest{Id: "1"})
		require.NoError(t, err)

		fresh, err := w.acme.Rotate(t.Context(), token.ID, 0)
		require.NoError(t, err)
		_, err = client.Get(t.Context(), &shop.GetRequest{Id: "1"})
		require.Equal(t, codes.Unauthenticated, status.Code(err), "the control: the old secret is over")
		current.Store(fresh.Reveal())
		_, err = client.Get(t.Context(), &shop.GetRequest{Id: "1"})
		require.NoError(t, err)
		for _, text := range []string{fmt.Sprintf("%v", creds), fmt.Sprintf("%+v", creds), fmt.Sprintf("%#v", creds)} {
			require.NotContains(t, text, fresh.Reveal())
			require.NotContains(t, text, first)
		}
	}
}

// A secret is not sent where others can read it.
func TestCredentialsNeedTLS(t *testing.T) {
	w := newWorld(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.serve(listener)
	secret := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	get := func(context.Context) (string, error) { return secret, nil }
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())

	_, err = grpc.NewClient(listener.Addr().String(), plain,
		grpc.WithPerRPCCredentials(latchkeygrpc.Credentials(get, nil)))
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	conn, err := grpc.NewClient(listener.Addr().String(), plain)
	require.NoError(t, err)
	defer conn.Close()
	client := shop.NewOrdersClient(conn)
	_, err = client.Get(t.Context(), &shop.GetRequest{Id: "1"}, grpc.PerRPCCredentials(latchkeygrpc.Credentials(get, nil)))
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	_, err = client.Get(t.Context(), &shop.GetRequest{Id: "1"}, grpc.PerRPCCredentials(
		latchkeygrpc.Credentials(get, &latchkeygrpc.CredentialOptions{Plaintext: true})))
	require.NoError(t, err)

	// Even where a caller of the method forgets to ask.
	creds := latchkeygrpc.Credentials(get, nil)
	_, err = creds.GetRequestMetadata(t.Context())
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	ctx := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{
		AuthInfo: levels{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}})
	_, err = creds.GetRequestMetadata(ctx)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}

type levels struct{ credentials.CommonAuthInfo }

func (levels) AuthType() string { return "test" }

// What is no secret is not sent, and errors do not repeat it.
func TestCredentialsOfNoUse(t *testing.T) {
	plain := &latchkeygrpc.CredentialOptions{Plaintext: true}
	for secret, want := range map[string]string{
		"":                 "it is empty",
		"ak_s3cret\n":      "it begins or ends with white space: trim what you read from a file",
		" ak_s3cret":       "it begins or ends with white space: trim what you read from a file",
		"ak_s3cret\nx: y":  "it has a character that no token has",
		"ak_s3cret,other":  "it has a character that no token has",
		"ak_s3crét":        "it has a character that no token has",
		"===":              "it is no token",
		"Bearer ak_s3cret": "it has a character that no token has",
	} {
		creds := latchkeygrpc.Credentials(func(context.Context) (string, error) { return secret, nil }, plain)
		_, err := creds.GetRequestMetadata(t.Context())
		require.Equal(t, codes.Unauthenticated, status.Code(err), "%q", secret)
		require.Equal(t, "latchkeygrpc: there is no secret for this call: "+want, status.Convert(err).Message())
	}
	creds := latchkeygrpc.Credentials(func(context.Context) (string, error) {
		return "s3cret", errors.New("no file")
	}, plain)
	_, err := creds.GetRequestMetadata(t.Context())
	require.Equal(t, "latchkeygrpc: there is no secret for this call: no file", status.Convert(err).Message())

	legacy := latchkeygrpc.Credentials(func(context.Context) (string, error) { return "a,b c", nil },
		&latchkeygrpc.CredentialOptions{Plaintext: true, Key: "x-api-key"})
	md, err := legacy.GetRequestMetadata(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x-api-key": "a,b c"}, md)
	require.Panics(t, func() { latchkeygrpc.Credentials(nil, nil) })
	require.Panics(t, func() {
		latchkeygrpc.Credentials(func(context.Context) (string, error) { return "", nil },
			&latchkeygrpc.CredentialOptions{Key: "authorization-bin"})
	})
}
