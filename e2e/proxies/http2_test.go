package proxies

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// pseudo is a header block of HTTP/2, as it is.
type pseudo struct {
	fields [][2]string
	ok     bool // it must be served: a positive control
}

// frame writes a frame (RFC 9113 §4.1).
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// literal writes fields as literals that are not indexed (RFC 7541 §6.2.2), whatever they hold.
func literal(fields [][2]string) (b []byte) {
	text := func(s string) {
		if len(s) < 127 {
			b = append(b, byte(len(s)))
		} else {
			b = append(b, 127)
			n := len(s) - 127
			for ; n >= 128; n >>= 7 {
				b = append(b, byte(n)|128)
			}
			b = append(b, byte(n))
		}
		b = append(b, s...)
	}
	for _, f := range fields {
		b = append(b, 0)
		text(f[0])
		text(f[1])
	}
	return b
}

const frameHeaders, frameReset, frameSettings, frameGoAway = 1, 3, 4, 7

// sendH2 sends one request on a connection of its own, and waits for its end.
func (p *proxy) sendH2(t testing.TB, r pseudo, key string) (id string) {
	id = nextProbe()
	conn, err := net.Dial("tcp", p.h2)
	require.NoError(t, err)
	defer conn.Close()
	fields := make([][2]string, len(r.fields))
	for i, f := range r.fields {
		for j := range f {
			fields[i][j] = strings.NewReplacer("{probe}", id, "{key}", key, "{host}", p.h2).Replace(f[j])
		}
	}
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	out = append(out, frame(frameSettings, 0, 0, nil)...)
	out = append(out, frame(frameHeaders, 4|1, 1, literal(fields))...) // END_HEADERS, END_STREAM
	go conn.Write(out)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(map[bool]time.Duration{true: time.Minute,
		false: 5 * time.Second}[r.ok])))
	var head [9]byte
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return id
		}
		n := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, conn, n); err != nil {
			return id
		}
		stream := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
		switch kind, flags := head[3], head[4]; {
		case kind == frameSettings && flags&1 == 0:
			go conn.Write(frame(frameSettings, 1, 0, nil))
		case stream == 1 && (kind == frameReset || kind <= frameHeaders && flags&1 != 0), kind == frameGoAway && n > 8:
			return id
		}
	}
}

// block returns a header block with other pseudo-header fields, and more fields behind them.
func block(method, path, authority string, more ...string) [][2]string {
	fields := [][2]string{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", authority},
		{"x-probe", "{probe}"}, {"authorization", "Bearer {key}"}}
	for i := 0; i < len(more); i += 2 {
		fields = append(fields, [2]string{more[i], more[i+1]})
	}
	return fields
}

// TestPseudoHeaders sends what only HTTP/2 can say through each real proxy.
func TestPseudoHeaders(t *testing.T) {
	const host = "{host}"
	list := []pseudo{{block("GET", "/data/orders", host), true}, {block("GET", "/data/a%20b?x=y", host), true}}
	add := func(fields ...[][2]string) {
		for _, f := range fields {
			list = append(list, pseudo{fields: f})
		}
	}
	for _, path := range []string{"/data/payroll#/data/orders", "/data/orders#", "/data/orders#?x", "#/data/orders", "*",
		"",
		"data/orders", "http://{host}/data/orders", "http://other/data/orders", "//data/orders", "/data//orders",
		"/data/../data/payroll", "/files/../admin/secret", "/files/%2e%2e/admin/secret", "/data/payroll?#/public",
		"/data/payroll HTTP/1.1\r\nX: y", "/data/orders HTTP/1.1\r\nLatchkey-Owner: evil\r\n\r\n", "/data/or ders",
		"/data/orders\x00",
		"/data/orders\r\n", "/data/orders\n", "/data/ö", "/data/payroll;/public", "/data/orders\t", " /data/orders",
		"/data/orders ",
		"?/data/orders", "/data/a%2fb", "/data\\payroll", "@/data/orders", "/" + strings.Repeat("a", 15000)} {
		add(block("GET", path, host), block("DELETE", path, host))
	}
	for _, method := range []string{"CONNECT", "get", "", "GET /data/payroll HTTP/1.1\r\nX:", "GET ", "G\x00T", "GET\r\n",
		"HEAD", "PRI",
		"OPTIONS", "DELETE"} {
		add(block(method, "/data/orders", host))
	}
	for _, authority := range []string{"other", "", "a/b", "a b", "user@{host}", "{host}/data/payroll", "a\r\nX: y", "a,b",
		"[", ":",
		"{host}#", "{host}?"} {
		add(block("GET", "/data/orders", authority), block("GET", "/data/orders", authority, "host", host),
			block("GET", "/data/orders", host, "host", authority))
	}
	for _, more := range [][]string{
		{":path", "/data/payroll"}, {":method", "DELETE"}, {":authority", "other"}, {":scheme", "https"}, {":status", "200"},
		{":protocol", "websocket"}, {":unknown", "x"}, {"Latchkey-Owner", "evil"}, {"latchkey-owner", "evil"},
		{"latchkey_owner", "evil"}, {"latchkey-owner", "evil\r\nLatchkey-Owner: worse"}, {"latchkey-owner\r\nlatchkey-owner",
			"evil"},
		{"latchkey-owner:", "evil"}, {"x-original-uri", "/data/payroll"}, {"x-forwarded-uri", "/data/payroll"},
		{"x_forwarded_uri", "/data/payroll"}, {"x-http-method-override", "DELETE"}, {"x-original-url", "/data/payroll"},
		{"connection", "latchkey-owner"}, {"connection", "close"}, {"transfer-encoding", "chunked"}, {"content-length", "5"},
		{"content-length", "0"}, {"te", "gzip"}, {"upgrade", "h2c"}, {"host", "other"}, {"authorization", "Bearer other"},
		{"cookie", "a=b"}, {"", "x"}, {"x ", "y"}, {"x\x00", "y"}, {"x", "y\x00"}, {"x", "y\nz"},
	} {
		add(block("GET", "/data/orders", host, more...), block("GET", "/data/payroll", host, more...))
	}
	add([][2]string{{":method", "GET"}}, [][2]string{{":path", "/data/orders"}}, nil,
		append([][2]string{{"x-first", "y"}}, block("GET", "/data/orders", host)...),
		block("GET", "/data/orders", host)[:2], block("GET", "/data/orders", host)[1:])
	onRealProxies(t, func(t *testing.T, p *proxy) {
		_, key := p.issue(latchkey.Settings{})
		done := make(chan struct{}, 8)
		work := make(chan pseudo)
		for range cap(done) {
			go func() {
				defer func() { done <- struct{}{} }()
				for r := range work {
					if id := p.sendH2(t, r, key); r.ok && len(p.reached(id)) != 1 {
						t.Errorf("not served: %q", r.fields)
					}
				}
			}()
		}
		for _, r := range list {
			work <- r
		}
		close(work)
		for range cap(done) {
			<-done
		}
		passed := p.judge(t)
		t.Logf("%d of %d were served", passed, len(list))
		require.GreaterOrEqual(t, passed, 2)
	})
}

// TestLuaThatFails: HAProxy goes on with a request if an action in Lua fails. The configuration denies it then.
func TestLuaThatFails(t *testing.T) {
	w := newWorld(t, kinds[2].from)
	p := &proxy{world: w, name: "haproxy"}
	startHAProxyWith(w, p, "local headers = {}",
		`local headers = {} if txn.sf:req_hdr("x-break") ~= "" then error("broken") end`)
	_, key := p.issue(latchkey.Settings{})
	c := p.client(t, false)
	c.passes(t, "as it is", "GET", "/data/orders", key)
	out, reached := c.do("GET", "/data/orders", key, "X-Break", "now")
	require.Equal(t, 503, out.status)
	require.Empty(t, reached)
}
