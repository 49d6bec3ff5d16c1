package run

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/store/sql"
)

// rescue is a whole gateway whose Redis and mail server are down, and which has no
// identity provider at all.
type rescue struct {
	t        *testing.T
	s        *Server
	url, app string
	cfg      *config.Config
}

func newRescue(t *testing.T, change ...func(*config.Config)) *rescue {
	t.Helper()
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(public.Addr().String())
	r := &rescue{t: t, url: "http://localhost:" + port, app: "http://app.localhost:" + port}
	c := config.Default()
	c.URL, c.Listen, c.PrivateListen = r.url, public.Addr().String(), private.Addr().String()
	c.Organization = config.Organization{Slug: "acme", Name: "Acme"}
	c.RequireSSO = config.RequireSSOConsole
	keys := make([]byte, 96)
	_, _ = rand.Read(keys)
	c.Secrets.CookieKey, c.Secrets.SealKey = base64.StdEncoding.EncodeToString(keys[:64]), base64.StdEncoding.EncodeToString(keys[64:])
	c.Database.URL = "sqlite:" + filepath.Join(t.TempDir(), "ssogate.db")
	c.Redis.URL = "redis://127.0.0.1:1"
	c.Mail.Server, c.Mail.From, c.Mail.TLS = "127.0.0.1:1", "sso@acme.example", "none"
	c.Routes = []config.Route{{Name: "app", Origins: []string{r.app}, Upstream: "http://127.0.0.1:1"}}
	for _, alter := range change {
		alter(c)
	}
	c.ApplyDefaults()
	if faults := c.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	r.cfg = c
	r.s, err = New(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler), Listeners: []net.Listener{public}, PrivateListener: private})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// person is a browser.
type person struct {
	r      *rescue
	client *http.Client
}

func (r *rescue) person() person {
	jar, _ := cookiejar.New(nil)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(addr)
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
	}
	tr := &http.Transport{DialContext: dial}
	r.t.Cleanup(tr.CloseIdleConnections)
	return person{r, &http.Client{Jar: jar, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p person) do(method, u string, form url.Values, site string) (*http.Response, string) {
	p.r.t.Helper()
	req, err := http.NewRequestWithContext(p.r.t.Context(), method, u, strings.NewReader(form.Encode()))
	if err != nil {
		p.r.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Site", site)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.r.t.Fatal(err)
	}
	return resp, string(b)
}

func (p person) get(u string) (int, string) {
	p.r.t.Helper()
	resp, body := p.do(http.MethodGet, u, nil, "none")
	return resp.StatusCode, body
}

func (p person) post(u string, form url.Values) (*http.Response, string) {
	p.r.t.Helper()
	return p.do(http.MethodPost, u, form, "same-origin")
}

var recoveryCode = regexp.MustCompile(`<bdi>([a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4})</bdi>`)

// codesIn are the recovery codes that a page shows.
func codesIn(body string) (out []string) {
	for _, m := range recoveryCode.FindAllStringSubmatch(body, -1) {
		out = append(out, m[1])
	}
	return out
}

const goodPassword = "correct horse battery"

// owner makes a fallback owner as on the host, while the gateway runs, and sets his
// password. It answers his codes.
func (r *rescue) owner() []string {
	r.t.Helper()
	c, err := OpenControl(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	l, err := c.Owners.Create(r.t.Context(), NewOwner{Actor: "cli", UserName: "rescue", Email: "it@acme.example"})
	if err != nil {
		r.t.Fatal(err)
	}
	p := r.person()
	for range 3 { // a scanner follows the link first
		if status, body := p.get(l.URL); status != http.StatusOK || !strings.Contains(body, `autocomplete="new-password"`) {
			r.t.Fatalf("the page of the link: %d", status)
		}
	}
	if resp, _ := p.do(http.MethodPost, l.URL, url.Values{"password": {goodPassword}, "again": {goodPassword}}, "cross-site"); resp.StatusCode != http.StatusForbidden {
		r.t.Errorf("U01: a form from elsewhere: %d", resp.StatusCode)
	}
	for want, form := range map[string]url.Values{
		"is shorter than 12": {"password": {"short"}, "again": {"short"}},
		"not the same":       {"password": {goodPassword}, "again": {goodPassword + "!"}},
		"does not fit":       {"password": {goodPassword}, "again": {goodPassword}, "key": {"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}, "code": {"123"}},
	} {
		resp, body := p.post(l.URL, form)
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, want) || strings.Contains(body, goodPassword) {
			r.t.Errorf("%s: %d", want, resp.StatusCode)
		}
	}
	resp, body := p.post(l.URL, url.Values{"password": {goodPassword}, "again": {goodPassword}})
	codes := codesIn(body)
	if resp.StatusCode != http.StatusOK || len(codes) != 10 || resp.Header.Get("Cache-Control") != "no-store" {
		r.t.Fatalf("setting it: %d, %d codes", resp.StatusCode, len(codes))
	}
	if status, _ := p.get(l.URL); status != http.StatusGone {
		r.t.Errorf("the link again: %d", status)
	}
	return codes
}

// G5: a fallback owner gets in while identity provider, Redis and mail are down; his
// session opens the gateway's pages, and never an app.
func TestGuaranteeNoLockOutFallbackOwnerGetsIn(t *testing.T) {
	r := newRescue(t)
	codes := r.owner()
	p := r.person()
	if resp, body := p.post(r.url+"/fallback", url.Values{"user": {"rescue"}, "password": {goodPassword}, "code": {"aaaa-aaaa-aaaa-aaaa"}}); resp.StatusCode != http.StatusUnprocessableEntity ||
		!strings.Contains(body, "are wrong") || !strings.Contains(body, `value="rescue"`) || len(resp.Cookies()) != 0 {
		t.Errorf("a wrong code: %d", resp.StatusCode)
	}
	in := url.Values{"user": {"Rescue"}, "password": {goodPassword}, "code": {codes[0]}}
	if resp, _ := p.do(http.MethodPost, r.url+"/fallback", in, "cross-site"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("U01: from elsewhere: %d", resp.StatusCode)
	}
	resp, body := p.post(r.url+"/fallback", in)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 || !strings.Contains(resp.Cookies()[0].Name, "fallback") {
		t.Fatalf("signing in: %d, %v\n%s", resp.StatusCode, resp.Cookies(), body)
	}
	if status, body := p.get(r.url + "/me"); status != http.StatusOK || !strings.Contains(body, "rescue") {
		t.Errorf("his page: %d", status)
	}
	// He is told of it, and cannot take his own trace off.
	if _, body := p.get(r.url + "/me"); !strings.Contains(body, "break-glass") || strings.Contains(body, `name="use"`) {
		t.Error("his page does not show the use, or offers to hide it")
	}
	if status, body := p.get(r.url + "/password"); status != http.StatusForbidden || !strings.Contains(body, "owner recover") {
		t.Errorf("his password: %d", status)
	}
	// The cookie of the gateway origin, carried to an app by hand under every name.
	cookie := resp.Cookies()[0]
	for _, name := range []string{cookie.Name, strings.Replace(cookie.Name, "fallback", "app", 1), strings.Replace(cookie.Name, "fallback", "gateway", 1)} {
		thief := r.person()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.app+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", name+"="+cookie.Value)
		resp, err := thief.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusBadGateway { // 502: it was admitted, and the app is down
			t.Errorf("%s opened an app: %d", name, resp.StatusCode)
		}
	}
	uses, err := r.s.db.FallbackUses(t.Context())
	if err != nil || len(uses) != 1 || uses[0].UserName != "rescue" {
		t.Errorf("uses: %+v, %v", uses, err)
	}
	if n, err := r.s.db.QueuedMail(t.Context()); err != nil || n != 1 {
		t.Errorf("%d letters wait, %v", n, err)
	}
	if resp, _ := p.post(r.url+"/logout", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("sign out: %d", resp.StatusCode)
	}
	p.client.Jar.SetCookies(&url.URL{Scheme: "http", Host: strings.TrimPrefix(r.url, "http://")}, []*http.Cookie{cookie})
	if status, _ := p.get(r.url + "/me"); status == http.StatusOK {
		t.Error("the session goes on after sign-out")
	}
	if resp, _ := p.post(r.url+"/fallback", in); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("I02: a code twice: %d", resp.StatusCode)
	}
}

func TestOwnerIsRecoveredOnTheHost(t *testing.T) {
	r := newRescue(t)
	codes := r.owner()
	c, err := OpenControl(t.Context(), r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	more, err := c.Owners.Codes(t.Context(), NewOwner{Actor: "cli", UserName: "RESCUE"})
	if err != nil || len(more) != 10 || slices.Contains(more, codes[0]) {
		t.Fatalf("%d codes, %v", len(more), err)
	}
	p := r.person()
	in := func(password, code string) int {
		resp, _ := p.post(r.url+"/fallback", url.Values{"user": {"rescue"}, "password": {password}, "code": {code}})
		return resp.StatusCode
	}
	if got := in(goodPassword, codes[1]); got != http.StatusUnprocessableEntity {
		t.Errorf("a code from before: %d", got)
	}
	if got := in(goodPassword, more[0]); got != http.StatusSeeOther {
		t.Errorf("a new code: %d", got)
	}
	l, err := c.Owners.Recover(t.Context(), NewOwner{Actor: "cli", UserName: "rescue"})
	if err != nil {
		t.Fatal(err)
	}
	const other = "another good password"
	resp, body := p.post(l.URL, url.Values{"password": {other}, "again": {other}})
	fresh := codesIn(body)
	if resp.StatusCode != http.StatusOK || len(fresh) != 10 {
		t.Fatalf("setting it: %d", resp.StatusCode)
	}
	if status, _ := p.get(r.url + "/me"); status == http.StatusOK {
		t.Error("a session by the old password goes on")
	}
	if got := in(goodPassword, fresh[0]); got != http.StatusUnprocessableEntity {
		t.Errorf("the old password: %d", got)
	}
	if got := in(other, fresh[1]); got != http.StatusSeeOther {
		t.Errorf("the new one: %d", got)
	}
}

// What waits in the outbox can be written.
func TestNoticesBecomeLetters(t *testing.T) {
	r := newRescue(t)
	codes := r.owner()
	if resp, _ := r.person().post(r.url+"/fallback", url.Values{"user": {"rescue"}, "password": {goodPassword}, "code": {codes[0]}}); resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.StatusCode)
	}
	rows, err := r.s.db.ClaimMail(t.Context(), "test", r.s.now(), 1, 60, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows { // none when the worker was faster; then it has opened it
		l, err := letters{cfg: r.cfg, sealer: r.s.sealer}.open(mail.Row{ID: row.ID, Sealed: row.Sealed})
		if err != nil || l.To != "it@acme.example" || !strings.Contains(l.Text, "rescue signed in") {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

// letter is the link of a letter that waits, which the mail server never took.
func (r *rescue) letter(to string) (link string) {
	r.t.Helper()
	err := r.s.db.EachSealed(r.t.Context(), func(v sql.Sealed) error {
		if v.Table != "outbox" {
			return nil
		}
		l, err := letters{cfg: r.cfg, sealer: r.s.sealer}.open(mail.Row{ID: v.ID, Sealed: v.Value})
		if err == nil && l.To == to {
			link = regexp.MustCompile(`http://\S+/setup/\S+`).FindString(l.Text)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return link
}

func TestMembersHavePasswordsWhileRequireSSOIsOff(t *testing.T) {
	r := newRescue(t, func(c *config.Config) { c.Redis.URL = "" })
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateImmediate}
	ana, err := r.s.directory.Create(t.Context(), member.Actor{Name: "cli"}, c, member.Member{UserName: "ana", Email: "ana@acme.example", Wish: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.s.local.SetOwn(t.Context(), ana, goodPassword, local.Client{}); err != nil {
		t.Fatal(err)
	}
	hidden := regexp.MustCompile(`name="id" value="([^"]+)"`)
	in := func(p person, password string) (int, string) {
		_, body := p.get(r.url + "/login/password?return=%2Fme")
		m := hidden.FindStringSubmatch(body)
		if m == nil {
			t.Fatal("no form")
		}
		resp, body := p.post(r.url+"/login/password", url.Values{"id": {m[1]}, "user": {"Ana"}, "password": {password}})
		return resp.StatusCode, body
	}
	p := r.person()
	if status, _ := in(p, "a wrong password"); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong one: %d", status)
	}
	if status, body := in(p, goodPassword); status != http.StatusOK || !strings.Contains(body, "/me") {
		t.Fatalf("signing in: %d", status)
	}
	if status, body := p.get(r.url + "/me"); status != http.StatusOK || !strings.Contains(body, "ana") {
		t.Fatalf("his page: %d", status)
	}
	// A browser that was left open does not give the account away.
	const other = "another good password"
	own := func(old, password string) (int, string) {
		resp, body := p.post(r.url+"/password", url.Values{"old": {old}, "password": {password}, "again": {password}})
		return resp.StatusCode, body
	}
	if status, body := own("", other); status != http.StatusUnprocessableEntity || !strings.Contains(body, "not your present password") {
		t.Errorf("without the old one: %d", status)
	}
	if status, _ := own(goodPassword, "ana"); status != http.StatusUnprocessableEntity {
		t.Errorf("a weak one: %d", status)
	}
	if status, _ := own(goodPassword, other); status != http.StatusOK {
		t.Errorf("changing it: %d", status)
	}
	if status, _ := r.person().get(r.url + "/password"); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	// Reset by mail: the same answer to everybody.
	known, knownBody := p.post(r.url+"/password/reset", url.Values{"user": {"ana"}})
	unknown, unknownBody := p.post(r.url+"/password/reset", url.Values{"user": {"nobody"}})
	reference := regexp.MustCompile(`<code>[^<]*</code>`)
	if known.StatusCode != unknown.StatusCode || reference.ReplaceAllString(knownBody, "") != reference.ReplaceAllString(unknownBody, "") {
		t.Error("the answer tells who there is")
	}
	var link string
	for range 500 { // the answer does not wait for it
		if link = r.letter("ana@acme.example"); link != "" {
			break
		}
		runtime.Gosched()
	}
	resp, _ := p.post(link, url.Values{"password": {goodPassword}, "again": {goodPassword}})
	if link == "" || resp.StatusCode != http.StatusOK {
		t.Fatalf("resetting it by %q: %d", link, resp.StatusCode)
	}
	if status, _ := p.get(r.url + "/me"); status == http.StatusOK {
		t.Error("a session from before goes on")
	}
	if status, _ := in(p, goodPassword); status != http.StatusOK {
		t.Errorf("the new one: %d", status)
	}
	live := *r.s.settings.Load()
	live.RequireSSO = true
	r.s.settings.Store(&live)
	if status, _ := p.get(r.url + "/me"); status == http.StatusOK {
		t.Error("a session by password goes on while Require SSO is on")
	}
	if status, _ := p.get(r.url + "/password/reset"); status != http.StatusForbidden {
		t.Errorf("resetting while Require SSO is on: %d", status)
	}
}
