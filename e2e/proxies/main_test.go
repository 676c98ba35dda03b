// Package proxies runs real nginx, Caddy and HAProxy, with the configurations that httpadapter/forward ships, and the
// documented calls of Traefik and Envoy, between raw clients and a backend that records what reaches it.
package proxies

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
