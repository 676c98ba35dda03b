package harness

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Chromium starts a browser, which ends with the test, and returns the context of a tab in it. CloudTables' client
// writes a script tag without a port. So the browser is told that port 80 of 127.0.0.1 is the server's, and the tag
// stays as written.
func Chromium(t *testing.T, s *Server) context.Context {
	t.Helper()
	return Browser(t, "MAP 127.0.0.1:80 127.0.0.1:"+s.Port)
}

// Browser starts a browser, which ends with the test, and returns the context of a tab in it. hosts are rules by which
// it finds hosts, as the flag --host-resolver-rules takes them. It accepts any certificate, and sends cookies with the
// requests of every page that the cookies allow.
func Browser(t *testing.T, hosts string) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath("chromium"),
		chromedp.UserDataDir(profile(t)),
		chromedp.NoSandbox, // as root there is none
		chromedp.Headless,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		// The browser talks to nobody but the pages under test.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("host-resolver-rules", hosts),
		chromedp.Flag("ignore-certificate-errors", true), // httptest signs its own
		chromedp.Flag("disable-dev-shm-usage", true),     // in a container there is little of it
		chromedp.WSURLReadTimeout(3 * time.Minute),
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "starting chromium: `make install` brings it")
	return ctx
}

// profile makes the folder of a browser. Processes of the browser may write to it for a moment after it has ended, so
// the end of the test tries to remove it for a minute.
func profile(t *testing.T) string {
	folder, err := os.MkdirTemp("", "lk-chromium-")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "Default"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "Default", "Preferences"),
		[]byte(`{"profile":{"cookie_controls_mode":0,"block_third_party_cookies":false}}`), 0o600))
	t.Cleanup(func() {
		for deadline := time.Now().Add(time.Minute); os.RemoveAll(folder) != nil; time.Sleep(10 * time.Millisecond) {
			require.True(t, time.Now().Before(deadline), "the browser does not let go of %s", folder)
		}
	})
	return folder
}
