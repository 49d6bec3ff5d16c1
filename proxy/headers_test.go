package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/member"
)

var managedNames = []string{
	"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Name",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
}

func TestIdentityHeadersAreSet(t *testing.T) {
	r := newRig(t)
	r.get("/", as("ana"))
	got := r.one().header
	for name, want := range map[string]string{
		"X-Forwarded-User": "m-ana", "X-Forwarded-Preferred-Username": "ana@example.com", "X-Forwarded-Email": "ana@example.com",
		"X-Forwarded-Name": "Ana", "X-Forwarded-Groups": "sales",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": appHost, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443",
	} {
		if v := got[name]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}

// Whatever separators a client puts between the letters, an application that
// folds names (CGI, WSGI, PHP) finds our value or none.
func TestH01EverySpellingOfAManagedHeaderIsRemoved(t *testing.T) {
	r := newRig(t)
	var lines []string
	for _, name := range managedNames {
		for _, sep := range []string{"-", "_", ".", "~", "", "--", "-_", "!", "*", "'", "|", "^", "`", "+", "#", "$", "%", "&"} {
			spelled := strings.ReplaceAll(name, "-", sep)
			lines = append(lines, spelled+": evil", strings.ToLower(spelled)+": evil", strings.ToUpper(spelled)+": evil", sep+spelled+sep+": evil")
		}
		lines = append(lines, name+": evil", name+": evil2", name+":")
	}
	for _, who := range []string{"ana", "ben", ""} {
		target := "/"
		if who == "" {
			target = "/public/x"
		}
		for start := 0; start < len(lines); start += 100 {
			batch := lines[start:min(start+100, len(lines))]
			if who != "" {
				batch = append([]string{as(who)}, batch...)
			}
			r.app.reset()
			if res := r.get(target, batch...); res.StatusCode == 400 {
				continue // net/http refused a spelling outright
			}
			for name, vals := range r.one().header {
				if slices.ContainsFunc(vals, func(v string) bool { return strings.HasPrefix(v, "evil") }) {
					t.Errorf("%s sees %s: %q: a header the client chose", who, name, vals)
				}
			}
		}
	}
}

func TestH01UnrelatedHeadersPass(t *testing.T) {
	r := newRig(t)
	keep := []string{"X-Custom", "X-Forward", "Forwarding", "User", "X-User", "Accept-Language", "X-Csrf-Token", "X_csrf_token", "Authorization", "X-Requested-With", "If-None-Match"}
	var lines []string
	for _, k := range keep {
		lines = append(lines, k+": kept")
	}
	r.get("/", append(lines, as("ana"))...)
	got := r.one().header
	for _, k := range keep {
		if got.Get(k) != "kept" {
			t.Errorf("%s did not reach the application", k)
		}
	}
}

func TestH02ConnectionCannotRemoveOurHeaders(t *testing.T) {
	r := newRig(t)
	for _, lines := range [][]string{
		{"Connection: close"},
		{"Connection: X-Forwarded-User"},
		{"Connection: close, x-forwarded-user, X-Forwarded-For, Cookie"},
		{"Connection: ", "Connection: X-Forwarded-User"},
		{"Connection: keep-alive, X_Forwarded_User", "Keep-Alive: X-Forwarded-User", "Proxy-Connection: X-Forwarded-User"},
		{"Connection: close", "Trailer: X-Forwarded-User", "TE: trailers"},
	} {
		r.app.reset()
		r.get("/", append(lines, as("ana"), "X-Forwarded-User: evil")...)
		got := r.one()
		if v := got.header["X-Forwarded-User"]; len(v) != 1 || v[0] != "m-ana" {
			t.Errorf("%q: the application sees user %q", lines, v)
		}
		for _, hop := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Trailer"} {
			if v := got.header[hop]; len(v) > 0 {
				t.Errorf("%q: %s %q reached the application, which may remove our headers by it", lines, hop, v)
			}
		}
	}
}

func TestH02RequestTrailersAreDropped(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		buf := make([]byte, 64)
		for {
			if _, err := q.Body.Read(buf); err != nil {
				break
			}
		}
		if len(q.Trailer) > 0 {
			t.Errorf("the application sees trailers %v", q.Trailer)
		}
	}
	res := r.raw("POST / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n3\r\nabc\r\n0\r\nX-Forwarded-User: evil\r\n\r\n")
	if res.StatusCode != 200 {
		t.Errorf("benign body: %d", res.StatusCode)
	}
	if v := r.one().header["X-Forwarded-User"]; len(v) != 1 || v[0] != "m-ana" {
		t.Errorf("user %q", v)
	}
}

func TestH03ClientAddressIsTheSocketsUnlessTrusted(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{
		"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: a", "X-Forwarded-For: " + strings.Repeat("1.1.1.1, ", 1000) + "2.2.2.2", "X-Forwarded-For: fe80::1%eth0",
		"Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1", "True-Client-IP: 10.0.0.1", "X-Client-IP: 10.0.0.1", "CF-Connecting-IP: 10.0.0.1", "X-Cluster-Client-Ip: 10.0.0.1",
	} {
		r.app.reset()
		r.get("/", as("ana"), line)
		h := r.one().header
		if v := h["X-Forwarded-For"]; len(v) != 1 || v[0] != "127.0.0.1" {
			t.Errorf("%.40s: X-Forwarded-For %q", line, v)
		}
		for name, v := range h {
			if strings.Contains(strings.Join(v, ","), "10.0.0.1") {
				t.Errorf("%.40s: %s %q reached the application", line, name, v)
			}
		}
	}
}

func TestH04ExternalURLIsTheConfiguredOne(t *testing.T) {
	r := newRig(t)
	r.get("/", as("ana"), "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "X-Forwarded-Port: 80", "X-Forwarded-Scheme: http", "X-Forwarded-Ssl: off", "Front-End-Https: off", "X-Url-Scheme: http")
	h := r.one().header
	for name, want := range map[string]string{"X-Forwarded-Host": appHost, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "X-Forwarded-Scheme": "", "X-Forwarded-Ssl": "", "Front-End-Https": "", "X-Url-Scheme": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestH05IdentityValuesSurviveOrAreLeftOut(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"plain", "Ana Example", "Ana Example"},
		{"accents", "Anaïs Ω", "Ana%C3%AFs %CE%A9"},
		{"line break", "Ana\r\nX-Forwarded-User: root", "Ana%0D%0AX-Forwarded-User: root"},
		{"NUL", "a\x00b", "a%00b"},
		{"percent", "100%41", "100%2541"},
		{"spaces at the ends", " a ", "%20a%20"},
		{"not UTF-8", "a\xffb", "a%EF%BF%BDb"},
		{"9 KB", strings.Repeat("a", 9<<10), ""},
		{"too long once encoded", strings.Repeat("é", 400), ""},
	} {
		got := encode(c.value, "")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if back, err := url.PathUnescape(got); got != "" && (err != nil || back != strings.ToValidUTF8(c.value, "\ufffd")) {
			t.Errorf("%s: does not decode back: %q, %v", c.name, back, err)
		}
	}
	if got := groups([]string{"a,b", "c"}); got != "a%2Cb,c" {
		t.Errorf("a comma in a team would be another team: %q", got)
	}
	if got := groups(slices.Repeat([]string{"team-with-a-long-name"}, 1000)); got != "" {
		t.Errorf("half a list of groups is another list: %d bytes", len(got))
	}

	r := newRig(t)
	m := ana
	m.DisplayName, m.UserName = "Ana\r\nX-Evil: 1\x00", strings.Repeat("é", 1000)
	r.sessions.by["odd"] = principal("odd", m, "a,b", "é")
	if res := r.get("/", as("odd")); res.StatusCode != 200 {
		t.Fatalf("an odd name locked its owner out: %d", res.StatusCode)
	}
	h := r.one().header
	if h.Get("X-Evil") != "" || h.Get("X-Forwarded-Name") != "Ana%0D%0AX-Evil: 1%00" || len(h["X-Forwarded-Preferred-Username"]) != 0 || h.Get("X-Forwarded-Groups") != "a%2Cb,%C3%A9" {
		t.Errorf("%v", h)
	}
}

func TestH06AbsentValueIsAnAbsentHeader(t *testing.T) {
	r := newRig(t)
	r.sessions.by["bare"] = principal("bare", member.Member{ID: "m-bare", Wish: true, Accepted: true})
	r.get("/", as("bare"), "X-Forwarded-Groups: ops", "X-Forwarded-Email: root@example.com", "X-Forwarded-Name:", "X_Forwarded_Groups: ops")
	h := r.one().header
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") && !slices.Contains([]string{"X-Forwarded-User", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"}, name) {
			t.Errorf("%s: %q", name, h[name])
		}
	}
	r.app.reset()
	r.get("/public/x", as("ana"), "X-Forwarded-User: root")
	if v := r.one().header["X-Forwarded-User"]; v != nil {
		t.Errorf("a public path has no identity, the application sees %q", v)
	}
}

func TestH07OurCookiesStayHere(t *testing.T) {
	r := newRig(t)
	sec := cookieName + "=ana"
	for _, c := range []struct {
		lines []string
		want  []string
	}{
		{[]string{"Cookie: a=1; " + sec + "; b=2"}, []string{"a=1; b=2"}},
		{[]string{"Cookie: " + sec + "; b=2;c=3 ; d=\"x y\""}, []string{"b=2;c=3 ; d=\"x y\""}},
		{[]string{"Cookie: " + sec}, nil},
		{[]string{"Cookie: a=1", "Cookie: " + sec, "Cookie: b=2"}, []string{"a=1", "b=2"}},
		{[]string{"Cookie: " + sec, "Cookie: z=1; ssogate-app-binding=x;y=2"}, []string{"z=1;y=2"}},
		{[]string{"Cookie: a=__Host-ssogate-app-session; " + sec + "; odd; =; b=%zz"}, []string{"a=__Host-ssogate-app-session; odd; =; b=%zz"}},
	} {
		r.app.reset()
		if res := r.get("/", c.lines...); res.StatusCode != 200 {
			t.Errorf("%q: %d", c.lines, res.StatusCode)
			continue
		}
		if got := r.one().header["Cookie"]; !slices.Equal(got, c.want) {
			t.Errorf("%q: the application sees %q, want %q", c.lines, got, c.want)
		}
	}
}

func TestK03LookAlikesOfOurCookieAreNotForwarded(t *testing.T) {
	ours := (&fakeSessions{}).IsOurCookie
	for _, pair := range []string{
		cookieName + "=x", " " + cookieName + "=x", cookieName + " =x", "\t" + cookieName + "\t=x", "$Version=1;" + cookieName + "=x", "$" + cookieName + "=x",
		"\u2000" + cookieName + "=x", `"` + cookieName + `"=x`, "__HOST-SSOGATE-APP-SESSION=x", "=" + cookieName + "=x", "==" + cookieName + "=x", " = " + cookieName + "=x",
		"ssogate-gateway-session=x", cookieName, "\u00a0=" + cookieName + "=x",
	} {
		h := http.Header{"Cookie": {"keep=1;" + pair + "; also=2"}}
		stripCookies(h, ours)
		if got := strings.ToLower(strings.Join(h["Cookie"], ";")); strings.Contains(got, "ssogate") || !strings.Contains(got, "keep=1") || !strings.Contains(got, "also=2") {
			t.Errorf("%q: %q goes to the application", pair, got)
		}
		set := http.Header{"Set-Cookie": {"keep=1; Path=/", strings.TrimPrefix(pair, "$Version=1;") + "; Path=/", "also=2"}}
		stripSetCookies(set, ours)
		if got := set["Set-Cookie"]; !slices.Equal(got, []string{"keep=1; Path=/", "also=2"}) {
			t.Errorf("the application sets %q: %q", pair, got)
		}
	}
	h := http.Header{"Cookie": {"a=ssogate-; my-ssogate-x=1; ssogate=1"}}
	stripCookies(h, ours)
	if h["Cookie"][0] != "a=ssogate-; my-ssogate-x=1; ssogate=1" {
		t.Errorf("benign: %q", h["Cookie"])
	}
}

func TestH07ApplicationCannotSetOurCookies(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		for _, c := range []string{"theirs=1; Path=/", cookieName + "=evil; Path=/; Secure", "__host-SSOGATE-app-session=evil", "ssogate-app-binding=evil", "=" + cookieName + "=evil", "last=2"} {
			w.Header().Add("Set-Cookie", c)
		}
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(200)
	}
	for _, target := range []string{"/", "/public/x"} {
		c := r.dial()
		_, _ = c.Write([]byte("GET " + target + " HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\n" + as("ana") + "\r\n\r\n"))
		hints := readAnswer(t, c, true)
		if hints.StatusCode != 103 || hints.Header.Get("Link") == "" || len(hints.Header["Set-Cookie"]) != 0 {
			t.Errorf("103: %d %v: an interim answer may hint at links and set nothing", hints.StatusCode, hints.Header)
		}
		if strings.Contains(hints.rest, "evil") || !strings.Contains(hints.rest, "Set-Cookie: theirs=1; Path=/\r\n") || !strings.Contains(hints.rest, "Set-Cookie: last=2\r\n") {
			t.Errorf("final answer:\n%s", hints.rest)
		}
		_ = c.Close()
	}
}

func TestK10NothingAuthenticatedIsSharedCacheable(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, "private"},
		{[]string{"private"}, "private"},
		{[]string{"no-store"}, "no-store"},
		{[]string{"private, max-age=60"}, "private, max-age=60"},
		{[]string{"max-age=60"}, "private, max-age=60"},
		{[]string{"public"}, "private"},
		{[]string{"public, max-age=60"}, "private, max-age=60"},
		{[]string{"PUBLIC , S-MaxAge=99, max-age=60, immutable"}, "private, max-age=60, immutable"},
		{[]string{"private", "public, s-maxage=60"}, "private"},
		{[]string{`private="Set-Cookie", max-age=60`}, "private, max-age=60"},
		{[]string{`no-cache="a, public", max-age=1`}, `private, no-cache="a, public", max-age=1`},
		{[]string{"no-store, public"}, "no-store"},
		{[]string{"no-cache"}, "private, no-cache"},
		{[]string{`x="unterminated, public`}, `private, x="unterminated, public`},
		{[]string{`x="esc\", public"`, ",,", "must-revalidate"}, `private, x="esc\", public", must-revalidate`},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cache-Control"] = c.in
		}
		keepPrivate(h)
		if got := h["Cache-Control"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000")
		w.Header().Set("CDN-Cache-Control", "max-age=600")
		w.Header().Set("Cloudflare-CDN-Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Control", "max-age=600")
		w.WriteHeader(200)
	}
	res := r.get("/account/x.css", as("ana"))
	if cc := res.Header.Get("Cache-Control"); cc != "private, max-age=31536000" || res.Header.Get("CDN-Cache-Control")+res.Header.Get("Cloudflare-CDN-Cache-Control")+res.Header.Get("Surrogate-Control") != "" {
		t.Errorf("a page under a style sheet's name: %v", res.Header)
	}
	if res := r.get("/public/x"); res.Header.Get("Cache-Control") != "public, max-age=31536000" {
		t.Errorf("benign: a public path is the application's to cache: %v", res.Header)
	}
	// After logout a conditional request is not answered 304.
	for _, lines := range [][]string{{navigate}, {"Accept: text/css"}} {
		if res := r.get("/account/x.css", append(lines, as("revoked"), `If-None-Match: "1"`)...); res.StatusCode == 304 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("after logout: %d %q", res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
}
