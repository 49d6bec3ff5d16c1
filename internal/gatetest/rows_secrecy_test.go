package gatetest

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // reads the audit table beside the running gateway

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// wiretap sits in every client of a test and keeps what may never be written
// down: whoever has it can be somebody.
type wiretap struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen map[string]string // secret -> what it is
}

// secretParams are query and form parameters that open something.
var secretParams = []string{"code", "id", "state", "nonce", "SAMLResponse", "RelayState", "password", "code_challenge", "access_token"}

func (k *wiretap) keep(what, value string) {
	if len(value) >= 12 { // shorter ones would be found in any log
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.seen[value] == "" {
			k.seen[value] = what
		}
	}
}

func (k *wiretap) values(where string, v url.Values) {
	for _, name := range secretParams {
		for _, value := range v[name] {
			k.keep(where+" "+name, value)
		}
	}
}

// RoundTrip implements http.RoundTripper.
func (k *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	k.values("query", r.URL.Query())
	for _, c := range r.Cookies() {
		k.keep("cookie "+c.Name, c.Value)
	}
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		k.keep("Authorization", token)
	}
	if r.Body != nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if form, err := url.ParseQuery(string(body)); err == nil {
			k.values("form", form)
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := k.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Cookies() {
		k.keep("Set-Cookie "+c.Name, c.Value)
	}
	if u, err := resp.Location(); err == nil {
		k.values("redirect", u.Query())
	}
	return resp, nil
}

// auditText is the audit table as it lies on disk.
func auditText(t *testing.T, path string) (rows []string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.QueryContext(t.Context(), `SELECT kind, outcome, actor, target, provider, request_id, address, reason, detail FROM audit ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.Next() {
		cells := make([]string, 9)
		into := make([]any, len(cells))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := r.Scan(into...); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, strings.Join(cells, " | "))
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// Rows L01 and U05: after all kinds of sign-ins and failures, at debug level,
// nothing that opens anything is in log, audit or metrics.
func TestNoSecretIsEverWrittenDown(t *testing.T) { //nolint:paralleltest // replaces the default transport
	tap := &wiretap{next: http.DefaultTransport, seen: map[string]string{}}
	path := filepath.Join(t.TempDir(), "audit.db")
	w := start(t, func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) {
			c.Database.URL = "sqlite:" + path
			tap.keep("client secret", c.Providers[1].ClientSecret)
			tap.keep("cookie key", c.Secrets.CookieKey)
			tap.keep("seal key", c.Secrets.SealKey)
		}
	})
	http.DefaultTransport = tap
	t.Cleanup(func() { http.DefaultTransport = tap.next })
	w.OP.SetHooks(ssotest.OPHooks{TokenResponse: func(body map[string]any) {
		for _, name := range []string{"id_token", "access_token", "refresh_token"} {
			if s, ok := body[name].(string); ok {
				tap.keep(name, s)
			}
		}
	}})
	everyWayIn(t, w)

	if len(tap.seen) < 40 {
		t.Fatalf("only %d secrets were seen: this shows nothing", len(tap.seen))
	}
	kinds := map[string]bool{}
	for _, what := range tap.seen {
		kinds[what] = true
	}
	for _, must := range []string{"form SAMLResponse", "form password", "query code", "redirect nonce", "Set-Cookie " + appSession, "Authorization", "id_token", "redirect id"} {
		if !kinds[must] {
			t.Errorf("no %s was seen, only %q: this shows too little", must, slices.Sorted(maps.Keys(kinds)))
		}
	}
	audit := auditText(t, path)
	places := map[string]string{"the log": w.log.String(), "the audit table": strings.Join(audit, "\n"), "the metrics": w.get(nil, w.Facts.Private+"/metrics").Body}
	for place, text := range places {
		if len(text) < 1000 {
			t.Errorf("%s is almost empty: this shows nothing", place)
		}
		for secret, what := range tap.seen {
			for _, piece := range pieces(secret) {
				if strings.Contains(text, piece) {
					at := strings.Index(text, piece)
					t.Errorf("L01: %s is in %s: ...%s...", what, place, text[max(0, at-160):min(len(text), at+60)])
					break
				}
			}
		}
	}
	if strings.Contains(places["the log"], "private-to-the-application") {
		t.Error("L01: a query of the application is in the log")
	}
	if strings.Contains(places["the log"], "goroutine ") {
		t.Error("a stack trace in the log: something panicked")
	}
	for _, want := range []string{"signin |", "signin.refused |", "signout |"} {
		if !strings.Contains(places["the audit table"], want) {
			t.Errorf("L02: no audit event %q in %d", want, len(audit))
		}
	}
}

// pieces are what to look for: the whole, and of a long one also its middle and
// its end, as somebody may log it cut; escaped, as somebody may log a URL.
func pieces(secret string) []string {
	p := []string{secret, url.QueryEscape(secret)}
	if n := len(secret); n >= 96 {
		p = append(p, secret[n/2-16:n/2+16], secret[n-34:n-2])
		if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && bytes.Contains(raw, []byte("<saml")) {
			p = append(p, string(raw[len(raw)/2-24:len(raw)/2+24]))
		}
	}
	return p
}

// everyWayIn signs in and fails in every way that a test of this package knows.
func everyWayIn(t *testing.T, w *world) {
	t.Helper()
	ana := demo.NewVisitor()
	if _, err := ana.SignIn(t.Context(), w.Facts.App+"/?private-to-the-application=1", "SAML", w.ana()); err != nil {
		t.Fatal(err)
	}
	ben := demo.NewVisitor()
	if _, err := ben.SignIn(t.Context(), w.Facts.App+"/", "OpenID", w.ben()); err != nil {
		t.Fatal(err)
	}
	// Wrong answers of both protocols.
	v := demo.NewVisitor()
	acs, form := w.samlAnswer(v, w.ana())
	code := codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form))
	w.fromIdP(v, acs, form) // replay
	w.get(nil, code)        // other browser
	w.get(nil, code+"&retry=1")
	finish(t, v, code)
	w.get(v, code) // reload
	w.fromIdP(v, acs, url.Values{"SAMLResponse": {form.Get("SAMLResponse")[4:]}, "RelayState": form["RelayState"]})
	w.fromIdP(v, acs, url.Values{"SAMLResponse": form["SAMLResponse"], "RelayState": {strings.Repeat("R", 43)}})
	w.get(v, acs+"?"+form.Encode())
	for _, hooks := range []ssotest.OPHooks{claim("nonce", "another-nonce-than-ours"), claim("aud", "x"), {Serve: func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			body, _ := io.ReadAll(r.Body)
			http.Error(rw, "echo of an impolite provider: "+string(body)+r.Header.Get("Authorization"), http.StatusBadRequest)
			return true
		}
		return false
	}}} {
		w.OP.SetHooks(hooks)
		x := demo.NewVisitor()
		back, err := w.OP.SignIn(w.begin(x, run.DemoOIDC), w.ben().User)
		if err != nil {
			t.Fatal(err)
		}
		w.get(x, back)
		w.get(x, back)
	}
	w.OP.SetHooks(ssotest.OPHooks{})
	// Tampered cookies, a token in the wrong places, our URLs as Referer.
	w.get(nil, w.Facts.App+"/", "Cookie", appSession+"="+cookieValue(t, ana, w.Facts.App, appSession)+"x")
	w.get(ana, w.Facts.App+"/", "Referer", code, "Authorization", "Bearer "+w.Facts.Token)
	w.get(ana, w.Facts.Gateway+"/me?access_token="+w.Facts.Token, "Referer", code)
	w.send(nil, http.MethodGet, w.Facts.SCIMBase+"/Users?access_token="+w.Facts.Token, nil)
	w.send(nil, http.MethodGet, w.Facts.SCIMBase+"/Users", nil, "Authorization", "Bearer "+w.Facts.Token+"wrong")
	w.scim(http.MethodPost, "/Users", `{"userName":"p@example.com","password":"a-password-nobody-may-see"`)
	w.scim(http.MethodPost, "/Users", userBody("p@example.com", "P")[:len(userBody("p@example.com", "P"))-1]+`,"password":"a-password-nobody-may-see"}`)
	if strings.Contains(w.log.String(), "a-password-nobody-may-see") {
		t.Error("L01: a password sent over SCIM is in the log")
	}
	w.postForm(ana, w.Facts.App+"/login", url.Values{"password": {"typed-into-the-application"}})
	w.send(ana, http.MethodPost, w.Facts.Gateway+"/complete/accept", strings.NewReader("code="+strings.Repeat("C", 43)), "Content-Type", "application/x-www-form-urlencoded")
	w.setActive(w.ana(), false)
	if _, err := ana.SignIn(t.Context(), w.Facts.App+"/", "SAML", w.ana()); err == nil {
		t.Error("a deactivated member came in")
	}
	w.setActive(w.ana(), true)
	w.send(ben, http.MethodPost, w.Facts.App+"/.sso/logout", nil, "Origin", w.Facts.App, "Sec-Fetch-Site", "same-origin")
	if n := strings.Count(w.log.String(), `"status":`); n < 30 {
		t.Fatal(fmt.Sprint("only ", n, " access records"))
	}
}
