package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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
	ctx, end, err := startBrowser("chromium", hosts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, end()) })
	return ctx
}

// Window returns the context of a tab in a browser that all tests of a process share. It has no cookies or storage, and
// shares none with other windows. It ends with the test.
func Window(t *testing.T) context.Context {
	t.Helper()
	browser, err := sharedBrowser()
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// The shared browser is Chromium's headless shell if there is one: the same engine without an address bar, menus and
// the like, which take half of a browser's processor time. With LONG=1 it is Chromium itself.
var sharedBrowser = sync.OnceValues(func() (context.Context, error) {
	program := "chromium"
	if _, err := exec.LookPath("chromium-headless-shell"); err == nil && os.Getenv("LONG") == "" {
		program = "chromium-headless-shell"
	}
	ctx, end, err := startBrowser(program, "")
	if err == nil {
		AtEnd(func() { _ = end() })
	}
	return ctx, err
})

// startBrowser returns the context of a tab of a program, and what ends the browser.
func startBrowser(program, hosts string) (ctx context.Context, end func() error, err error) {
	folder, err := profile()
	if err != nil {
		return nil, nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program),
		chromedp.UserDataDir(folder),
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
		// The address bar's list of suggestions is a page in a process of its own. Nobody sees it, and it takes a whole
		// core as long as a window is open.
		chromedp.Flag("disable-features", "PreloadTopChromeWebUI,WebUIOmniboxPopup,WebUIOmniboxAimPopup"),
		chromedp.Flag("host-resolver-rules", hosts),
		chromedp.Flag("ignore-certificate-errors", true), // httptest signs its own
		chromedp.Flag("disable-dev-shm-usage", true),     // in a container there is little of it
		chromedp.WSURLReadTimeout(3 * time.Minute),
	}
	ctx, cancelBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	end = func() error {
		cancelTab()
		cancelBrowser()
		return letGo(folder)
	}
	if err := chromedp.Do(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("starting %s: %w: `make install` brings it", program, err), end())
	}
	return ctx, end, nil
}

// profile makes the folder of a browser.
func profile() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "lk-chromium-"); err != nil {
		return "", err
	}
	if err = os.Mkdir(filepath.Join(folder, "Default"), 0o700); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "Default", "Preferences"),
		[]byte(`{"profile":{"cookie_controls_mode":0,"block_third_party_cookies":false}}`), 0o600)
}

// letGo removes the folder of a browser. Processes of the browser may write to it for a moment after it has ended, so
// letGo tries for a minute.
func letGo(folder string) error {
	for deadline := time.Now().Add(time.Minute); os.RemoveAll(folder) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the browser does not let go of %s", folder)
		}
	}
	return nil
}
