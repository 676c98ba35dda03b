package latchkeygrpc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
)

const invalid = codes.InvalidArgument

var pairs = metadata.Pairs

func TestMetadata(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Keys = []string{"x-api-key"} })
	key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	for name, c := range map[string]struct {
		md   metadata.MD
		code codes.Code
	}{
		"Bearer":             {pairs("authorization", "Bearer "+key), codes.OK},
		"bearer":             {pairs("authorization", "bearer "+key), codes.OK},
		"a key":              {pairs("x-api-key", key), codes.OK},
		"none":               {metadata.MD{}, codes.Unauthenticated},
		"empty":              {pairs("authorization", ""), invalid},
		"empty key":          {pairs("x-api-key", ""), codes.Unauthenticated},
		"no token":           {pairs("authorization", "Bearer "), invalid},
		"two spaces":         {pairs("authorization", "Bearer  "+key), invalid},
		"Basic":              {pairs("authorization", "Basic "+key), codes.Unauthenticated},
		"bare":               {pairs("authorization", key), codes.Unauthenticated},
		"twice":              {pairs("authorization", "Bearer "+key, "authorization", "Bearer "+key), invalid},
		"twice, one other":   {pairs("authorization", "Bearer x", "authorization", "Bearer "+key), invalid},
		"joined":             {pairs("authorization", "Bearer "+key+",Bearer "+key), invalid},
		"two keys":           {pairs("x-api-key", key, "x-api-key", key), invalid},
		"Bearer and key":     {pairs("authorization", "Bearer "+key, "x-api-key", key), invalid},
		"Bearer, empty key":  {pairs("authorization", "Bearer "+key, "x-api-key", ""), invalid},
		"binary":             {pairs("authorization-bin", "Bearer "+key), invalid},
		"binary beside":      {pairs("authorization", "Bearer "+key, "authorization-bin", "x"), invalid},
		"binary key":         {pairs("x-api-key-bin", key), invalid},
		"binary key beside":  {pairs("x-api-key", key, "x-api-key-bin", "x"), invalid},
		"another binary":     {pairs("authorization", "Bearer "+key, "trace-bin", "\x00\xff"), codes.OK},
		"another key":        {pairs("x-other-key", key), codes.Unauthenticated},
		"a long credential":  {pairs("authorization", "Bearer "+strings.Repeat("a", 8<<10)), codes.Unauthenticated},
		"a cookie and query": {pairs("cookie", "token="+key), codes.Unauthenticated},
	} {
		_, err := w.call.Get(metadata.NewOutgoingContext(t.Context(), c.md), &shop.GetRequest{Id: "1"})
		require.Equal(t, c.code.String(), status.Code(err).String(), name)
		if err != nil {
			require.NotContains(t, err.Error(), key, name)
		}
		stream, err := w.call.Talk(metadata.NewOutgoingContext(t.Context(), c.md))
		require.NoError(t, err)
		require.NoError(t, stream.CloseSend())
		if _, err = stream.Recv(); errors.Is(err, io.EOF) {
			err = nil
		}
		require.Equal(t, c.code.String(), status.Code(err).String(), name)
	}
	for _, err := range w.heard() {
		require.NotContains(t, err.Error(), key)
	}

	plain := newWorld(t, nil)
	_, err := plain.call.Get(metadata.AppendToOutgoingContext(t.Context(), "x-api-key",
		plain.key(latchkey.Allow(latchkey.Read).On("order/*"))), &shop.GetRequest{Id: "1"})
	require.Equal(t, codes.Unauthenticated, status.Code(err), "x-api-key is an option")
}

// Clients bound what they send; frames do not. What grpc-go itself lets through is judged by the Guard.
func TestRawFrames(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.serve(listener)
	bin := base64.StdEncoding.EncodeToString([]byte("Bearer " + key))
	for name, c := range map[string]struct {
		fields []string
		want   []string // statuses of gRPC; "": the stream is reset, or refused by HTTP
	}{
		"Bearer": {[]string{"authorization", "Bearer " + key}, []string{"0"}},
		"twice":  {[]string{"authorization", "Bearer " + key, "authorization", "Bearer " + key}, []string{"3"}},
		"twice, apart": {[]string{"authorization", "Bearer " + key, "x", "y", "authorization", "Bearer " + key},
			[]string{"3"}},
		"capitals":           {[]string{"Authorization", "Bearer " + key}, []string{""}},
		"capitals beside":    {[]string{"authorization", "Bearer " + key, "Authorization", "Bearer x"}, []string{""}},
		"binary":             {[]string{"authorization-bin", bin}, []string{"3"}},
		"binary, broken":     {[]string{"authorization-bin", "%%%"}, []string{"", "13"}},
		"a line end":         {[]string{"authorization", "Bearer " + key + "\r\nx: y"}, []string{"", "3"}},
		"a NUL":              {[]string{"authorization", "Bearer " + key + "\x00"}, []string{"", "3"}},
		"no ASCII":           {[]string{"authorization", "Bearer " + key + "\xff"}, []string{"3"}},
		"white space around": {[]string{"authorization", " Bearer " + key}, []string{"", "3"}},
		"a pseudo-header":    {[]string{":authorization", "Bearer " + key}, []string{""}},
		"many":               {[]string{"authorization", "Bearer " + key, "x", strings.Repeat("y", 12<<10)}, []string{"0"}},
		"too many":           {[]string{"authorization", "Bearer " + key, "x", strings.Repeat("y", 64<<10)}, []string{""}},
		"a huge credential":  {[]string{"authorization", "Bearer " + strings.Repeat("y", 1<<20)}, []string{""}},
		"reserved":           {[]string{"grpc-authorization", "Bearer " + key}, []string{"16"}},
		"connection":         {[]string{"authorization", "Bearer " + key, "connection", "authorization"}, []string{""}},
	} {
		got := rawCall(t, listener.Addr().String(), shop.Orders_Get_FullMethodName, &shop.GetRequest{Id: "1"}, c.fields...)
		require.Contains(t, c.want, got, name)
	}
	for path, want := range map[string][]string{
		shop.Orders_Get_FullMethodName:                   {"0"},
		"latchkey.shop.v1.Orders/Get":                    {"", "12"},
		"//latchkey.shop.v1.Orders/Get":                  {"", "12"},
		"/latchkey.shop.v1.Orders//Get":                  {"", "12"},
		"/x/../latchkey.shop.v1.Orders/Get":              {"", "12"},
		"/latchkey.shop.v1.Orders/Get?x":                 {"", "12"},
		"/latchkey.shop.v1.Orders/Get#x":                 {"", "12"},
		"/latchkey.shop.v1.Orders/%47et":                 {"", "12"},
		"/latchkey.shop.v1.Orders/get":                   {"", "12"},
		shop.Orders_Other_FullMethodName:                 {"7"},
		"http://a/" + shop.Orders_Get_FullMethodName[1:]: {"", "12"},
	} {
		got := rawCall(t, listener.Addr().String(), path, &shop.GetRequest{Id: "1"}, "authorization", "Bearer "+key)
		require.Contains(t, want, got, path)
	}
}

// rawCall sends one call in frames of its own, and returns its grpc-status, or "" if there is none.
func rawCall(t *testing.T, address, path string, msg proto.Message, fields ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	all := append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "shop", "te", "trailers",
		"content-type", "application/grpc"}, fields...)
	for i := 0; i < len(all); i += 2 {
		require.NoError(t, enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}))
	}
	body, err := proto.Marshal(msg)
	require.NoError(t, err)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	go func() { // the server may close the connection before all of it was written
		rest := block.Bytes()
		first := min(len(rest), 16<<10)
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: rest[:first],
			EndHeaders: first == len(rest)})
		for rest = rest[first:]; err == nil && len(rest) > 0; {
			n := min(len(rest), 16<<10)
			err = framer.WriteContinuation(1, n == len(rest), rest[:n])
			rest = rest[n:]
		}
		if err == nil {
			_ = framer.WriteData(1, true, append(frame, body...))
		}
	}()
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server does not answer")
			return ""
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					return h.Value
				}
			}
			if f.StreamEnded() {
				return ""
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// A call is bounded before a handler, or the Guard, reads it.
func TestMaxMetadata(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.MaxMetadata = 2048 })
	key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.serve(listener)
	for n, want := range map[int]string{1000: "0", 3000: ""} {
		require.Equal(t, want, rawCall(t, listener.Addr().String(), shop.Orders_Get_FullMethodName, &shop.GetRequest{Id: "1"},
			"authorization", "Bearer "+key, "x", strings.Repeat("y", n)))
	}
}

func TestAddresses(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	type trust = []netip.Prefix
	only := latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	local := only
	local.Restrictions.Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		proxies trust
		network string
		key     latchkey.Settings
		md      []string
		code    codes.Code
	}{
		{nil, "tcp", local, nil, codes.OK},
		{nil, "tcp", only, nil, codes.Unauthenticated},
		{nil, "tcp", only, []string{"x-forwarded-for", "192.0.2.1"}, codes.Unauthenticated}, // a claim
		{nil, "tcp", local, []string{"x-forwarded-for", "192.0.2.1"}, codes.OK},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1"}, codes.OK},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1, 127.0.0.1"}, codes.OK},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1", "x-forwarded-for", "127.0.0.1"}, codes.OK},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1, 198.51.100.1"}, codes.Unauthenticated},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1", "x-forwarded-for", "198.51.100.1"},
			codes.Unauthenticated},
		{proxies, "tcp", only, []string{"x_forwarded_for", "192.0.2.1"}, invalid},
		{proxies, "tcp", only, []string{"x-forwarded-for", "192.0.2.1", "x.forwarded-for", "192.0.2.1"}, invalid},
		{proxies, "tcp", only, []string{"x-forwarded-for", "nonsense"}, invalid},
		{proxies, "tcp", only, []string{"x-forwarded-for", ""}, invalid},
		{proxies, "tcp", only, []string{"forwarded", "for=192.0.2.1"}, codes.Unauthenticated},
		{proxies, "tcp", local, nil, codes.OK},
		{proxies, "unix", only, []string{"x-forwarded-for", "192.0.2.1"}, codes.Unauthenticated}, // not known
		{proxies, "unix", local, nil, codes.Unauthenticated},
		{proxies, "bufconn", local, nil, codes.Unauthenticated},
	} {
		w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Proxies = c.proxies })
		_, key := w.issue(c.key)
		client := w.call
		if c.network != "bufconn" {
			address := "127.0.0.1:0"
			if c.network == "unix" {
				address = t.TempDir() + "/s"
			}
			listener, err := net.Listen(c.network, address)
			require.NoError(t, err)
			w.serve(listener)
			target := listener.Addr().String()
			if c.network == "unix" {
				target = "unix:" + target
			}
			conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
			require.NoError(t, err)
			client = shop.NewOrdersClient(conn)
			defer conn.Close()
		}
		ctx := metadata.AppendToOutgoingContext(w.with(key), c.md...)
		_, err := client.Get(ctx, &shop.GetRequest{Id: "1"})
		require.Equal(t, c.code.String(), status.Code(err).String(), "%+v", c)
	}
}

// Junk from one address is refused without a read of the store, and a token that is known still passes.
func TestGate(t *testing.T) {
	kit := latchkeytest.New(t, &latchkey.Options{MaxStale: time.Hour})
	w := newWorldOver(t, kit.Manager, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) {
		o.AddressRate = latchkey.Rate{Count: 1, Per: time.Hour, Burst: 2}
	})
	key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
	forged := make([]string, 5)
	for i := range forged {
		other := latchkeytest.New(t, nil)
		_, forged[i] = other.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey})
	}
	var got []codes.Code
	for _, text := range forged {
		_, err := w.call.Get(w.with(text), &shop.GetRequest{Id: "1"})
		got = append(got, status.Code(err))
	}
	require.Equal(t, []codes.Code{codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated,
		codes.ResourceExhausted, codes.ResourceExhausted}, got)
	_, err = w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
}

func TestOwners(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	broken := errors.New("of the host")
	for name, c := range map[string]struct {
		change func(*latchkeygrpc.Options)
		code   codes.Code
	}{
		"any":         {func(*latchkeygrpc.Options) {}, codes.OK},
		"Owner":       {func(o *latchkeygrpc.Options) { o.Owner = "acme" }, codes.OK},
		"other Owner": {func(o *latchkeygrpc.Options) { o.Owner = "other" }, codes.Unauthenticated},
		"OwnerOf": {func(o *latchkeygrpc.Options) {
			o.OwnerOf = func(ctx context.Context, method string) (string, error) {
				if md, _ := metadata.FromIncomingContext(ctx); method == shop.Orders_Get_FullMethodName {
					return md.Get("tenant")[0], nil
				}
				return "other", nil
			}
		}, codes.OK},
		"no tenant": {func(o *latchkeygrpc.Options) {
			o.OwnerOf = func(context.Context, string) (string, error) { return "acme", httpadapter.ErrNoTenant }
		}, codes.Unauthenticated},
		"fails": {func(o *latchkeygrpc.Options) {
			o.OwnerOf = func(context.Context, string) (string, error) {
				return "acme", fmt.Errorf("%w: %w", broken, latchkey.ErrNotFound)
			}
		}, codes.Internal},
		"unavailable": {func(o *latchkeygrpc.Options) {
			o.OwnerOf = func(context.Context, string) (string, error) {
				return "acme", errors.Join(httpadapter.ErrNoTenant, latchkey.ErrUnavailable)
			}
		}, codes.Unavailable},
		"no id": {func(o *latchkeygrpc.Options) {
			o.OwnerOf = func(context.Context, string) (string, error) { return "", nil }
		}, codes.Internal},
		"test tokens": {func(o *latchkeygrpc.Options) { o.Test = true }, codes.Unauthenticated},
	} {
		w := newWorldOver(t, keys, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { c.change(o) })
		key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
		_, err := w.call.Get(metadata.AppendToOutgoingContext(w.with(key), "tenant", "acme"), &shop.GetRequest{Id: "1"})
		require.Equal(t, c.code.String(), status.Code(err).String(), name)

		// An Access that an interceptor before has set is held to the same.
		access, err := keys.Verify(t.Context(), latchkey.Presented{Secret: key})
		require.NoError(t, err)
		ctx := httpadapter.WithAccess(metadata.NewIncomingContext(t.Context(), pairs("tenant", "acme")), access)
		_, err = w.guard.Unary(ctx, &shop.GetRequest{Id: "1"}, info, nothing)
		require.Equal(t, c.code.String(), status.Code(err).String(), name)
	}
	w := newWorldOver(t, keys, nil)
	for _, access := range []latchkey.Access{{}, latchkeytest.New(t, nil).Access("acme", latchkey.Spec{
		Kind: latchkey.KindSecret})} {
		_, err := w.guard.Unary(httpadapter.WithAccess(t.Context(), access), &shop.GetRequest{Id: "1"}, info, nothing)
		require.Equal(t, codes.Unauthenticated, status.Code(err))
	}
}

var info = &grpc.UnaryServerInfo{FullMethod: shop.Orders_Get_FullMethodName}

func nothing(context.Context, any) (any, error) { return &shop.Order{}, nil }

// A test token passes on a sandbox only.
func TestSandbox(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Test = true })
	_, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	require.NoError(t, err)
	_, err = w.call.Get(w.with(secret.Reveal()), &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
}

// Tokens that this surface cannot check in full are refused, and say why where the caller can do something about it.
func TestRestrictedTokens(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: keyring(t)})
	for _, web := range []bool{false, true} {
		w := newWorldOver(t, keys, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Web = web })
		rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")}
		_, signed := w.issue(latchkey.Settings{Permissions: rules, Restrictions: latchkey.Restrictions{Signed: true}})
		_, err := w.call.Get(w.with(signed), &shop.GetRequest{Id: "1"})
		require.Equal(t, latchkeygrpc.ReasonSignatureRequired, refused(t, codes.Unauthenticated, err))

		_, domain := w.issue(latchkey.Settings{Permissions: rules,
			Restrictions: latchkey.Restrictions{Domains: []string{"shop.example"}}})
		want := map[bool]codes.Code{false: codes.Unauthenticated, true: codes.OK}[web]
		for _, md := range [][]string{{"origin", "https://shop.example"}, {"referer", "https://shop.example/a"}} {
			_, err = w.call.Get(metadata.AppendToOutgoingContext(w.with(domain), md...), &shop.GetRequest{Id: "1"})
			require.Equal(t, want, status.Code(err), md)
		}
		_, err = w.call.Get(w.with(domain), &shop.GetRequest{Id: "1"})
		require.Equal(t, codes.Unauthenticated, status.Code(err))
		if web {
			_, err = w.call.Get(metadata.AppendToOutgoingContext(w.with(domain), "origin", "https://shop.example", "origin",
				"https://shop.example"), &shop.GetRequest{Id: "1"})
			require.Equal(t, invalid, status.Code(err))
		}
	}
}

// FuzzMetadata: whatever the metadata are, only the one credential passes, and only as it was issued.
func FuzzMetadata(f *testing.F) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(f.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(f, err)
	text := secret.Reveal()
	guard := latchkeygrpc.New(keys, table(), &latchkeygrpc.Options{Keys: []string{"x-api-key"}, Web: true,
		AddressRate: latchkey.Rate{Count: -1}, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	f.Add("authorization", "Bearer SECRET", "x-forwarded-for", "192.0.2.1")
	f.Add("x-api-key", "SECRET", "authorization", "")
	f.Add("authorization-bin", "Bearer SECRET", "authorization", "Bearer SECRET")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		md := metadata.MD{}
		for _, pair := range [][2]string{{key1, value1}, {key2, value2}} {
			md.Append(pair[0], strings.ReplaceAll(pair[1], "SECRET", text))
		}
		ctx := peer.NewContext(metadata.NewIncomingContext(t.Context(), md), &peer.Peer{Addr: &net.TCPAddr{
			IP: net.IPv4(127, 0, 0, 1), Port: 1}})
		_, err := guard.Unary(ctx, &shop.GetRequest{Id: "1"}, info, nothing)
		bearer, key := md.Get("authorization"), md.Get("x-api-key")
		one := len(bearer) == 1 && len(bearer[0]) > 7 && strings.EqualFold(bearer[0][:7], "bearer ") &&
			bearer[0][7:] == text && len(key) == 0 || len(key) == 1 && key[0] == text && (len(bearer) == 0 || len(bearer) == 1 &&
			!strings.EqualFold(strings.Split(bearer[0], " ")[0], "bearer"))
		if err == nil {
			require.True(t, one, "%q", md)
		} else {
			require.NotContains(t, err.Error(), text)
			require.NotEqual(t, codes.Unknown, status.Code(err), strconv.Quote(err.Error()))
		}
	})
}
