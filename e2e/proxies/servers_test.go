package proxies

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
)

// proxy is a running proxy before a world.
type proxy struct {
	*world
	name string
	addr string // HTTP/1.1
	h2   string // HTTP/2 without TLS; "": none
}

// kind is one of the proxies.
type kind struct {
	name  string
	from  forward.Source
	start func(w *world, p *proxy)
	real  bool
}

var kinds = []kind{
	{"nginx", forward.Nginx, startNginx, true},
	{"caddy", forward.Forwarded, startCaddy, true},
	{"haproxy", forward.Forwarded, startHAProxy, true},
	{"traefik", forward.Forwarded, startTraefikContract, false},
	{"envoy", forward.Envoy, startEnvoyContract, false},
}

// onProxies runs a test before each proxy.
func onProxies(t *testing.T, test func(t *testing.T, p *proxy)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, startProxy(t, k)) })
	}
}

// onRealProxies runs a test before each proxy that is a program of its own.
func onRealProxies(t *testing.T, test func(t *testing.T, p *proxy)) {
	for _, k := range kinds {
		if k.real {
			t.Run(k.name, func(t *testing.T) { test(t, startProxy(t, k)) })
		}
	}
}

func startProxy(t *testing.T, k kind) *proxy {
	w := newWorld(t, k.from)
	p := &proxy{world: w, name: k.name}
	k.start(w, p)
	return p
}

// example returns a configuration that httpadapter/forward ships, with replacements. Each text must be in it.
func example(t testing.TB, file string, replace ...string) string {
	b, err := os.ReadFile(harness.Path(t, "..", "httpadapter", "forward", "examples", file))
	require.NoError(t, err)
	text := string(b)
	for i := 0; i < len(replace); i += 2 {
		require.Contains(t, text, replace[i], file)
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

func write(t testing.TB, folder, name, text string) string {
	file := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

// run starts a program that listens on n ports. command gets two ports that were free. Another process may take one in
// between: then the program ends, and the next try has other ports.
func run(w *world, p *proxy, command func(port, h2 string) *exec.Cmd) {
	w.t.Helper()
	var log string
	for range 4 {
		port, h2 := freePort(w.t), freePort(w.t)
		cmd := command(port, h2)
		out := &harness.LockedBuffer{}
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		require.NoError(w.t, cmd.Start(), "is %s installed? scripts/install installs it", cmd.Path)
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		p.addr, p.h2 = "127.0.0.1:"+port, "127.0.0.1:"+h2
		if w.ready(p.addr, ended) {
			w.t.Cleanup(func() {
				syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				<-ended
				if w.t.Failed() {
					w.t.Logf("%s:\n%s", p.name, tail(out.String()))
				}
			})
			return
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		log = out.String()
	}
	require.FailNow(w.t, "the proxy does not start", "%s: %s", p.name, tail(log))
}

func tail(s string) string { return s[max(0, len(s)-8000):] }

// ready waits until a question about a request to addr arrives. It returns false if the program has ended.
func (w *world) ready(addr string, ended <-chan struct{}) bool {
	id := nextProbe()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		r, err := http.NewRequest("GET", "http://"+addr+"/ready", nil)
		require.NoError(w.t, err)
		r.Header.Set(probe, id)
		if out, err := client.Do(r); err == nil {
			out.Body.Close()
		}
		if len(w.questions(id)) > 0 {
			return true
		}
	}
	return false
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func startNginx(w *world, p *proxy) {
	run(w, p, func(port, h2 string) *exec.Cmd {
		folder := w.t.TempDir()
		site := example(w.t, "nginx/latchkey.conf", "127.0.0.1:9091", w.authAt, "127.0.0.1:9092", w.backend.Addr().String(),
			"listen 8080;", "listen 127.0.0.1:"+port+"; listen 127.0.0.1:"+h2+" http2;")
		write(w.t, folder, "latchkey.conf", site)
		var temp bytes.Buffer
		for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			temp.WriteString(name + "_temp_path " + folder + "/" + name + ";\n")
		}
		user := ""
		if os.Geteuid() == 0 {
			user = "user root;\n"
		}
		conf := write(w.t, folder, "nginx.conf", user+"daemon off; master_process off; pid "+folder+"/pid;\n"+
			"error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n"+temp.String()+
			"include "+folder+"/latchkey.conf;\n}\n")
		return exec.Command(program(w.t, "nginx"), "-p", folder, "-c", conf)
	})
}

func startCaddy(w *world, p *proxy) {
	run(w, p, func(port, h2 string) *exec.Cmd {
		folder := w.t.TempDir()
		site := example(w.t, "caddy/Caddyfile", "127.0.0.1:9091", w.authAt, "127.0.0.1:9092", w.backend.Addr().String(),
			":8080 {", "http://127.0.0.1:"+port+", http://127.0.0.1:"+h2+" {")
		conf := write(w.t, folder, "Caddyfile",
			"{\nadmin off\nauto_https off\nservers {\nprotocols h1 h2 h2c\n}\n}\n"+site)
		cmd := exec.Command(program(w.t, "caddy"), "run", "--config", conf, "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
		return cmd
	})
}

func startHAProxy(w *world, p *proxy) { startHAProxyWith(w, p) }

// startHAProxyWith changes the Lua file.
func startHAProxyWith(w *world, p *proxy, replace ...string) {
	run(w, p, func(port, h2 string) *exec.Cmd {
		folder := w.t.TempDir()
		lua := write(w.t, folder, "latchkey.lua", example(w.t, "haproxy/latchkey.lua", replace...))
		conf := write(w.t, folder, "haproxy.cfg", example(w.t, "haproxy/haproxy.cfg", "127.0.0.1:9091", w.authAt,
			"127.0.0.1:9092", w.backend.Addr().String(), "/etc/haproxy/latchkey.lua", lua,
			"bind :8080", "bind 127.0.0.1:"+port+"\n\tbind 127.0.0.1:"+h2+" proto h2"))
		return exec.Command(program(w.t, "haproxy"), "-db", "-f", conf)
	})
}

// program finds a program of Debian's. Some are not in the PATH.
func program(t testing.TB, name string) string {
	file, err := harness.Program(name, "/usr/sbin", "/usr/bin", "/usr/local/sbin")
	require.NoError(t, err)
	return file
}
