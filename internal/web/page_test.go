package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/web"
)

func get(t *testing.T, p web.Page) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	web.WritePage(w, httptest.NewRequest(http.MethodGet, "/", nil), p)
	return w
}

// full is a page with every part, each text being s.
func full(s string) web.Page {
	return web.Page{
		Status: 403, Title: "t" + s, Lead: "l" + s, Account: "a" + s, Support: "s" + s, Reference: "r" + s,
		Facts: []web.Fact{{Label: "f" + s, Value: "v" + s}},
		Actions: []web.Action{
			{Label: "b" + s, URL: "/x"},
			{Label: "c" + s, URL: "/y", Method: "POST", Fields: []web.Field{{Name: "n" + s, Value: "w" + s}}},
		},
	}
}

var (
	quoted = regexp.MustCompile(`"[^"]*"`)
	tag    = regexp.MustCompile(`<[/!]?[a-zA-Z][^>]*>?`)
)

// shape is the sequence of tags with attribute values blanked, without the
// stylesheet: what a browser builds its elements from.
func shape(html string) []string {
	html = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(html, "<style>")
	var out []string
	for _, m := range tag.FindAllString(html, -1) {
		out = append(out, quoted.ReplaceAllString(m, `""`))
	}
	return out
}

func TestU02TextOfStrangersNeverBecomesMarkup(t *testing.T) {
	benign := shape(get(t, full(" plain")).Body.String())
	if len(benign) < 20 {
		t.Fatalf("benign page has only %d tags", len(benign))
	}
	for _, s := range []string{
		`<img src=x onerror=alert(1)>`, `</title><script>alert(1)</script>`, `</style><script>x</script>`, `"><svg onload=alert(1)>`, `' onfocus='x`,
		`" autofocus onfocus="x`, `</textarea></noscript></main>`, `<!--`, `-->`, `]]>`, `&lt;script&gt;`, `{{.}}`, "`", "\x00<b>", "<\x00script>", "\u2028<i>", "javascript:alert(1)",
		"<base href=//evil>", "<meta http-equiv=refresh content=0;url=//evil>", "<form action=//evil>", strings.Repeat("<", 5000), "\xff<b\xfe>",
	} {
		if got := shape(get(t, full(s)).Body.String()); !slices.Equal(got, benign) {
			t.Errorf("U02: %.60q changed the page's elements:\n%v\nwant\n%v", s, got, benign)
		}
	}
}

func FuzzPageStaysInert(f *testing.F) {
	benign := func() []string {
		w := httptest.NewRecorder()
		web.WritePage(w, httptest.NewRequest(http.MethodGet, "/", nil), full(" plain"))
		return shape(w.Body.String())
	}()
	f.Add("<b>")
	f.Add("\"'`<>&\x00")
	f.Fuzz(func(t *testing.T, s string) {
		got := shape(get(t, full(s)).Body.String())
		// The support text becomes a link when it is an address; here it never is
		// one, as it begins with "s" and a stranger's text.
		got = slices.DeleteFunc(got, func(g string) bool { return strings.HasPrefix(g, `<a href=""`) || g == "</a>" })
		want := slices.DeleteFunc(slices.Clone(benign), func(g string) bool { return g == "</a>" })
		if !slices.Equal(got, want) {
			t.Fatalf("U02: %q changed the page's elements", s)
		}
	})
}

func TestPageHeadersU03K10(t *testing.T) {
	for name, c := range map[string]struct {
		page      web.Page
		wantAlso  string
		wantNever string
		referrer  string
	}{
		"K10 U03 refusal":                 {full(""), "", "script-src", "same-origin"},
		"K10 U03 plain page has no forms": {web.Page{Status: 200, Title: "x"}, "", "script-src", "no-referrer"},
		"K10 U03 completion (W1)":         {web.Page{Status: 200, Title: "x", Refresh: "/complete?code=1"}, "", "script-src", "no-referrer"},
		"with the fragment script":        {web.Page{Status: 200, Title: "x", Fragment: true}, "script-src 'self'", "unsafe", "no-referrer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(t, c.page)
			h := w.Header()
			csp := h.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", c.wantAlso} {
				if !strings.Contains(csp, want) {
					t.Errorf("policy %q lacks %q", csp, want)
				}
			}
			if strings.Contains(csp, c.wantNever) || strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
				t.Errorf("policy %q allows too much", csp)
			}
			for k, want := range map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin",
				"Referrer-Policy": c.referrer, "Content-Type": "text/html; charset=utf-8", "Strict-Transport-Security": "",
			} {
				if got := h.Get(k); got != want {
					t.Errorf("%s is %q, want %q", k, got, want)
				}
			}
			style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(w.Body.String())
			sum := sha256.Sum256([]byte(style[1]))
			if !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
				t.Error("the policy does not let the page's own stylesheet through")
			}
		})
	}
}

func TestHSTSOnlyWherePeopleComeByHTTPS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := web.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			web.WritePage(w, r, web.Page{Status: 200, Title: "x"})
		}), web.Options{Secure: secure})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://app.example.com/", nil))
		if got := w.Header().Get("Strict-Transport-Security") != ""; got != secure {
			t.Errorf("behind a TLS front %v: HSTS sent is %v", secure, got)
		}
	}
}

func TestPageStatusIsNeverSuccessByAccident(t *testing.T) {
	for in, want := range map[int]int{0: 500, 200: 200, 403: 403, 503: 503, 1: 500, 101: 500, 600: 500, -1: 500} {
		if w := get(t, web.Page{Status: in, Title: "x"}); w.Code != want {
			t.Errorf("Page.Status %d was sent as %d, want %d", in, w.Code, want)
		}
	}
	for in, want := range map[int]int{0: 500, 200: 500, 302: 500, 401: 401, 600: 500} {
		w := httptest.NewRecorder()
		web.WriteProblem(w, httptest.NewRequest(http.MethodGet, "/", nil), in, "x", "")
		if w.Code != want {
			t.Errorf("problem status %d was sent as %d, want %d", in, w.Code, want)
		}
	}
}

func TestPageLinksAreWebLinksOnly(t *testing.T) {
	for u, want := range map[string]bool{
		"/login?id=1": true, "https://sso.example.com/login": true, "http://localhost:8081/x#f": true, "/": true,
		"javascript:alert(1)": false, "JAVASCRIPT:alert(1)": false, "data:text/html,x": false, "//evil.com": false, `/\evil.com`: false, "\thttps://x": false,
		"https:evil.com": false, "https://": false, "https:///x": false, "https://user:pw@x/": false, "/x\ny": false, "": false, "x": false, "mailto:a@b": false, "/" + strings.Repeat("x", 9000): false,
	} {
		body := get(t, web.Page{Status: 200, Title: "x", Actions: []web.Action{{Label: "go", URL: u}}}).Body.String()
		if got := strings.Contains(body, ">go</a>"); got != want {
			t.Errorf("action to %.40q shown: %v, want %v", u, got, want)
		}
		body = get(t, web.Page{Status: 200, Title: "x", Refresh: u}).Body.String()
		if got := strings.Contains(body, `http-equiv="refresh"`) && strings.Contains(body, ">Continue</a>"); got != want {
			t.Errorf("refresh to %.40q shown: %v, want %v", u, got, want)
		}
	}
}

func TestRefreshSurvivesMarkupIntact(t *testing.T) {
	body := get(t, web.Page{Status: 200, Title: "x", Refresh: "/complete?code=a&b='c;d=e"}).Body.String()
	if !strings.Contains(body, `content="0;url=/complete?code=a&amp;b=&#39;c;d=e"`) {
		t.Errorf("refresh target was altered:\n%s", body[:600])
	}
}

func TestSupportIsALinkOnlyWhereItIsOne(t *testing.T) {
	for in, want := range map[string]string{
		"it@example.com": `href="mailto:it@example.com"`, "https://help.example.com/a": `href="https://help.example.com/a"`, "desk 4711": "",
		"javascript:alert(1)": "", "https://u:p@x": "", "a@b?bcc=c@d": "", "Desk <it@example.com>": "",
	} {
		body := get(t, web.Page{Status: 403, Title: "x", Support: in}).Body.String()
		link := regexp.MustCompile(`Ask <a (href="[^"]*")`).FindStringSubmatch(body)
		switch {
		case want == "" && link != nil:
			t.Errorf("support %q became the link %s", in, link[1])
		case want != "" && (link == nil || link[1] != want):
			t.Errorf("support %q: link %v, want %s", in, link, want)
		}
	}
}

func TestRetryAfterIsAWholeNumberRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", 5 * time.Second: "5", 1500 * time.Millisecond: "2", time.Millisecond: "1", -time.Second: ""} {
		if got := get(t, web.Page{Status: 503, Title: "x", Retry: d}).Header().Get("Retry-After"); got != want {
			t.Errorf("Retry %v: Retry-After %q, want %q", d, got, want)
		}
	}
}

func TestHEADHasHeadersAndNoBody(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter, *http.Request){
		"page":    func(w http.ResponseWriter, r *http.Request) { web.WritePage(w, r, full("")) },
		"problem": func(w http.ResponseWriter, r *http.Request) { web.WriteProblem(w, r, 401, "x", "y") },
		"static":  func(w http.ResponseWriter, r *http.Request) { web.Static().ServeHTTP(w, r) },
	} {
		w := httptest.NewRecorder()
		write(w, httptest.NewRequest(http.MethodHead, "/static/fragment.js", nil))
		if w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" || w.Header().Get("Content-Length") == "0" {
			t.Errorf("%s: HEAD answered %d bytes, Content-Length %q", name, w.Body.Len(), w.Header().Get("Content-Length"))
		}
	}
}

func TestRefusalDropsHeadersOfAnotherBody(t *testing.T) {
	w := httptest.NewRecorder()
	for _, k := range []string{"Content-Encoding", "Content-Disposition", "Etag", "Last-Modified", "Expires", "Content-Range"} {
		w.Header().Set(k, "x")
	}
	w.Header().Set("Cache-Control", "public, max-age=600")
	w.Header().Set("Set-Cookie", "kept=1")
	web.WritePage(w, httptest.NewRequest(http.MethodGet, "/", nil), full(""))
	for _, k := range []string{"Content-Encoding", "Content-Disposition", "Etag", "Last-Modified", "Expires", "Content-Range"} {
		if w.Header().Get(k) != "" {
			t.Errorf("%s of an upstream's answer stayed on our page", k)
		}
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Set-Cookie") != "kept=1" {
		t.Errorf("headers: %v", w.Header())
	}
}

func TestProblemNamesTheReference(t *testing.T) {
	var id string
	h := web.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id = web.RequestID(r.Context())
		web.WriteProblem(w, r, 401, "sign in \"first\"", "line\nbreak \x1b[31m")
	}), web.Options{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var got map[string]any
	if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got["reference"] != id || id == "" || got["status"] != 401.0 || got["title"] != `sign in "first"` || got["detail"] != "line break [31m" || got["type"] != "about:blank" {
		t.Errorf("problem is %v, request id %q", got, id)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestStaticIsCachedByItsContent(t *testing.T) {
	page := get(t, web.Page{Status: 200, Title: "x", Fragment: true}).Body.String()
	src := regexp.MustCompile(`<script src="([^"]+)"></script>`).FindStringSubmatch(page)
	if src == nil {
		t.Fatal("no script element on a Fragment page")
	}
	do := func(method, target, match string) *http.Response {
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("If-None-Match", match)
		w := httptest.NewRecorder()
		web.Static().ServeHTTP(w, r)
		return w.Result()
	}
	res := do("GET", src[1], "")
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || len(body) == 0 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("the page's own URL: %d %v", res.StatusCode, res.Header)
	}
	if res := do("GET", "/static/fragment.js?v=old", ""); strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
		t.Error("another version's URL is kept for good")
	}
	if res := do("GET", "/static/fragment.js", res.Header.Get("Etag")); res.StatusCode != http.StatusNotModified {
		t.Errorf("revalidation answered %d", res.StatusCode)
	}
	for _, target := range []string{"/static/", "/static/page.css", "/static/../page.html", "/static/fragment.js/"} {
		if res := do("GET", target, ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s answered %d", target, res.StatusCode)
		}
	}
	if res := do("POST", src[1], ""); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
		t.Errorf("POST answered %d", res.StatusCode)
	}
}
