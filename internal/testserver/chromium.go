package testserver

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browserLimit ends a browser test that hangs, long before go test does.
const browserLimit = 2 * time.Minute

// Browser starts a private Chromium for one test and answers a chromedp context
// with one tab. It has a fresh profile and ends with the test. Without Chromium
// the test is skipped; under CI=true it fails.
func Browser(t *testing.T, extra ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		Missing(t, "chromium")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path),
		// A sandbox needs privileges that a test in a container does not have;
		// the pages shown are our own.
		chromedp.NoSandbox)
	ctx, cancel := context.WithTimeout(context.Background(), browserLimit)
	t.Cleanup(cancel)
	ctx, cancelAlloc := chromedp.NewExecAllocator(ctx, append(opts, extra...)...)
	t.Cleanup(cancelAlloc)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

// Look opens url in light and dark, on a desktop and on a phone 390 px wide,
// and fails the test where text has too little contrast (WCAG 2 AA), the page
// scrolls sideways, a button is too small for a finger, or anything was blocked
// by the page's own Content-Security-Policy. ready is a selector waited for.
//
// With SSOGATE_SCREENSHOTS=dir each view is kept there as name-scheme-size.png.
func Look(t *testing.T, ctx context.Context, name, url, ready string) { //nolint:revive // t first, as in testing helpers
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, v := range []struct {
			size   string
			wide   int64
			height int64
		}{{"desktop", 1280, 900}, {"phone", 390, 844}} {
			view := name + "-" + scheme + "-" + v.size
			setScheme := func(ctx context.Context, _ *chromedp.Target) error {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				})
				return err
			}
			err := chromedp.Do(ctx, chromedp.Func(setScheme), chromedp.EmulateViewport(v.wide, v.height),
				chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(ready)))
			if err != nil {
				t.Fatalf("%s: open: %v", view, err)
			}
			faults, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](lookJS))
			if err != nil {
				t.Fatalf("%s: look: %v", view, err)
			}
			for _, f := range faults {
				t.Errorf("%s: %s", view, f)
			}
			Shot(t, ctx, view)
		}
	}
}

// Shot keeps a screenshot of the page as it is, if SSOGATE_SCREENSHOTS names a directory.
func Shot(t *testing.T, ctx context.Context, view string) { //nolint:revive // as above
	t.Helper()
	dir := os.Getenv("SSOGATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, view+".png"), png, 0o600)
	}
	if err != nil {
		t.Errorf("%s: screenshot: %v", view, err)
	}
}

// lookJS lists what is wrong with the page as it stands. Contrast is that of
// WCAG 2 section 1.4.3: 4.5, or 3 for large text.
const lookJS = `(() => {
  const faults = [];
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  for (const e of document.querySelectorAll('body, body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.closest('svg, script, noscript') || !e.checkVisibility() || !e.getClientRects().length) continue;
    const s = getComputedStyle(e), a = lum(parse(s.color)), b = lum(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const px = parseFloat(s.fontSize), large = px >= 24 || px >= 18.66 && s.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) faults.push('contrast ' + ratio.toFixed(2) + ' of "' + e.textContent.trim().slice(0, 40) + '"');
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push('scrolls sideways: ' + root.scrollWidth + ' > ' + root.clientWidth);
  for (const e of document.querySelectorAll('button, a.button, .quiet')) {
    const r = e.getBoundingClientRect();
    if (e.checkVisibility() && (r.height < 24 || r.width < 24)) faults.push('too small to touch: ' + e.textContent);
  }
  if (!document.title) faults.push('no title');
  if (!document.documentElement.lang) faults.push('no language');
  if (document.querySelectorAll('h1').length !== 1) faults.push('not exactly one h1');
  if (getComputedStyle(document.body).fontFamily.includes('Times')) faults.push('stylesheet did not apply');
  return faults;
})()`
