package sso_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// browser keeps cookies by host, like one profile of a real one.
type browser struct {
	w      *world
	jar    map[string]map[string]string
	mu     sync.Mutex
	blocks bool // keeps no cookies at all
	addr   string
	hops   int
}

func (w *world) browser() *browser {
	return &browser{w: w, jar: map[string]map[string]string{}, addr: "192.0.2.1:4000"}
}

type answer struct {
	*http.Response
	at      *url.URL
	body    string
	refresh string
}

var refreshRE = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]*)"`)

func (b *browser) send(method, u string, form url.Values, header ...string) *answer {
	b.w.t.Helper()
	target, err := url.Parse(u)
	if err != nil {
		b.w.t.Fatalf("bad address %q: %v", u, err)
	}
	var r *http.Request
	if form != nil {
		r = httptest.NewRequest(method, u, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r = httptest.NewRequest(method, u, nil)
	}
	r.RemoteAddr = b.addr
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	b.mu.Lock()
	// A cross-site POST carries no Lax cookie (W2).
	if method == http.MethodGet || method == http.MethodHead || r.Header.Get("Origin") == target.Scheme+"://"+target.Host {
		var cs []string
		for n, v := range b.jar[target.Host] {
			cs = append(cs, n+"="+v)
		}
		if len(cs) > 0 {
			r.Header.Set("Cookie", strings.Join(cs, "; "))
		}
	}
	b.mu.Unlock()
	rec := httptest.NewRecorder()
	if target.Host == "sso.example.com" {
		b.w.gateway.ServeHTTP(rec, r)
	} else {
		b.w.app.ServeHTTP(rec, r)
	}
	res := rec.Result()
	b.keep(target.Host, res.Cookies())
	a := &answer{Response: res, at: target, body: rec.Body.String()}
	if m := refreshRE.FindStringSubmatch(a.body); m != nil {
		a.refresh = a.abs(html.UnescapeString(m[1]))
	}
	return a
}

func (b *browser) keep(host string, cs []*http.Cookie) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks {
		return
	}
	if b.jar[host] == nil {
		b.jar[host] = map[string]string{}
	}
	for _, c := range cs {
		if c.MaxAge < 0 {
			delete(b.jar[host], c.Name)
		} else {
			b.jar[host][c.Name] = c.Value
		}
	}
}

func (b *browser) cookie(origin, name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jar[strings.TrimPrefix(origin, "https://")]["__Host-ssogate-"+name]
}

func (b *browser) drop(origin, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.jar[strings.TrimPrefix(origin, "https://")], "__Host-ssogate-"+name)
}

func (a *answer) abs(ref string) string {
	u, err := a.at.Parse(ref)
	if err != nil {
		return ""
	}
	return u.String()
}

func (a *answer) reason() string {
	return fmt.Sprintf("%d at %s: %.300s", a.StatusCode, a.at, title(a.body))
}

var titleRE = regexp.MustCompile(`<title>([^<]*)</title>`)

func title(body string) string {
	if m := titleRE.FindStringSubmatch(body); m != nil {
		return html.UnescapeString(m[1])
	}
	return body
}

// link finds a button or link whose label holds the word.
func (a *answer) link(word string) string {
	for _, m := range regexp.MustCompile(`<a class="[^"]*" href="([^"]*)"[^>]*>([^<]*)</a>`).FindAllStringSubmatch(a.body, -1) {
		if strings.Contains(m[2], word) {
			return a.abs(html.UnescapeString(m[1]))
		}
	}
	return ""
}

func (a *answer) field(name string) string {
	if m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

func (b *browser) get(u string, header ...string) *answer {
	b.w.t.Helper()
	return b.send(http.MethodGet, u, nil, header...)
}

func (b *browser) post(u string, form url.Values) *answer {
	b.w.t.Helper()
	t, _ := url.Parse(u)
	return b.send(http.MethodPost, u, form, "Origin", t.Scheme+"://"+t.Host)
}

// idp answers an authorization request as a person.
func (b *browser) idp(u, who string) *answer {
	b.w.t.Helper()
	t, err := url.Parse(u)
	if err != nil || t.Host != idpHost {
		b.w.t.Fatalf("not at the identity provider: %s", u)
	}
	return b.respond(strings.Trim(t.Path, "/"), t.Query().Get("state"), t.Query().Get("req"), who)
}

func (b *browser) respond(provider, state, req, who string) *answer {
	b.w.t.Helper()
	form := url.Values{"state": {state}, "RelayState": {state}, "req": {req}, "as": {who}, "assertion": {fmt.Sprint("a-", b.hops, state, req, who)}}
	if provider == "okta" {
		return b.send(http.MethodPost, gateway+"/saml/okta/acs", form, "Origin", "https://"+idpHost, "Sec-Fetch-Site", "cross-site")
	}
	return b.send(http.MethodGet, gateway+"/oauth/"+provider+"/callback?"+form.Encode(), nil)
}

// follow goes on by itself, as a browser does, answering at the identity
// provider as who; it stops where a person would have to act.
func (b *browser) follow(a *answer, who string) *answer {
	b.w.t.Helper()
	for range 40 {
		next := a.refresh
		if a.StatusCode == http.StatusFound || a.StatusCode == http.StatusSeeOther {
			next = a.abs(a.Header.Get("Location"))
		}
		if next == "" && who != "" && a.StatusCode == http.StatusOK {
			next = a.link("Continue with Okta")
		}
		if next == "" {
			return a
		}
		b.hops++
		if strings.HasPrefix(next, "https://"+idpHost) {
			if who == "" {
				a.Header.Set("Idp", next)
				return a
			}
			a = b.idp(next, who)
			continue
		}
		a = b.get(next)
	}
	b.w.t.Fatalf("went in circles, last at %s", a.at)
	return nil
}

// open loads a page and follows it to the end.
func (b *browser) open(u, who string) *answer {
	b.w.t.Helper()
	return b.follow(b.get(u), who)
}

// signedIn is a browser whose person has signed in to the application.
func (w *world) signedIn(who string) *browser {
	w.t.Helper()
	b := w.browser()
	if a := b.open(app+"/", who); a.body != "app for "+who {
		w.t.Fatalf("sign-in of %s ended with %s", who, a.reason())
	}
	return b
}

// code walks until the page that moves on to /complete and answers that address.
func (b *browser) code(u, who string) string {
	b.w.t.Helper()
	at := b.toIDP(u)
	a := b.idp(at, who)
	if !strings.HasPrefix(a.refresh, gateway+"/complete?code=") {
		b.w.t.Fatalf("no code: %s", a.reason())
	}
	return a.refresh
}

// toIDP walks until the redirect to the identity provider.
func (b *browser) toIDP(u string) string {
	b.w.t.Helper()
	a := b.get(u)
	for range 10 {
		switch next := a.Header.Get("Location"); {
		case strings.HasPrefix(next, "https://"+idpHost):
			return next
		case next != "":
			a = b.get(a.abs(next))
		case a.refresh != "":
			a = b.get(a.refresh)
		case a.link("Continue with Okta") != "":
			a = b.get(a.link("Continue with Okta"))
		default:
			b.w.t.Fatalf("never came to the identity provider: %s", a.reason())
		}
	}
	b.w.t.Fatal("went in circles")
	return ""
}

// untouched fails the test if an answer deletes or sets a session cookie.
func (a *answer) untouched(t *testing.T, why string) {
	t.Helper()
	for _, c := range a.Cookies() {
		if strings.HasSuffix(c.Name, "-session") {
			t.Errorf("%s: the answer sets %s (max-age %d)", why, c.Name, c.MaxAge)
		}
	}
}

// unavailable checks the answer to a store that is down (G2, fault 1).
func (a *answer) unavailable(t *testing.T, why string) {
	t.Helper()
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %s, Retry-After %q; want 503", why, a.reason(), a.Header.Get("Retry-After"))
	}
	for _, c := range a.Cookies() {
		if c.MaxAge < 0 {
			t.Errorf("%s: deletes cookie %s", why, c.Name)
		}
	}
	a.untouched(t, why)
}
