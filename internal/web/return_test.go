package web_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/web"
)

// benignReturns are paths that people really come from; losing one is a bug too.
func benignReturns() []string {
	return []string{
		"/", "/reports", "/reports/", "/reports/2026?sort=desc&page=2", "/a/b.c/d-e_f~g!$&'()*+,;=:@",
		"/@user/post", "/search?q=a%20b&next=https://elsewhere.example/x", "/?q=//evil.com", "/app#/inbox/7",
		"/x?re=\\d+", "/caf%C3%A9", "/a;jsessionid=1", "/page#:~:text=go", "/?a=100%", "/sso/", "/.well-known/x",
		"/.ssox", "/a/.sso/b", "/...", "/a/..b", "/x?y=/../z", "/login", "/%40",
		"/x?" + strings.Repeat("q", 2000), "/" + strings.Repeat("x", 2000) + "#" + strings.Repeat("f", 1000),
	}
}

// hostileReturns starts from the known tricks and multiplies them: each host
// form with each way of writing what stands before it.
func hostileReturns() []string {
	out := []string{
		"", " ", "//", "///", "/\\", "\\/", "\\", "\\\\", "http:", "https:evil.com", "https:/evil.com", "https:///evil.com", "HTTPS://evil.com",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:x@y", "file:///etc/passwd",
		"evil.com", "evil.com/", "www.evil.com", "@evil.com", ":80", "?next=/", "#/x", ".", "..", "./x", "../x",
		"/./x", "/../x", "/x/..", "/x/.", "/x/../y", "/%2e/x", "/%2e%2e/x", "/.%2e/x", "/%2E%2E/x", "/..;/x", "/.;a/x", "/x/..;a=b/y", "/;/x", "/;a", "/a//b", "/a/;/b",
		"/%2f", "/%2F/evil.com", "/%5cevil.com", "/%5C", "/a%2fb", "/%00", "/%09/evil.com", "/%0d%0aSet-Cookie:x", "/%0a/evil.com", "/%1f", "/%7f",
		"/%", "/%2", "/%zz", "/x%u2f2f",
		"/.sso", "/.sso/", "/.sso/logout", "/.sso/complete?code=1", "/.SSO/logout", "/.Sso", "/%2esso/logout", "/.s%73o/logout", "/.sso;x/logout",
		"/x\r\nSet-Cookie: a=b", "/x\ny", "/x\ty", "/x y", "/x\x00y", "/x\x7f", "/\x0b/evil.com", "\x0b//evil.com", "\x00//evil.com",
		"/／evil.com", "／／evil.com", "/\uff0fevil.com", "/\u2028/evil.com", "/\u00a0/evil.com", "/é", "/\xff", "/x?q=é", "/x#é", `/x"y`, "/<x>", "/x`y", "/x?<script>", `/x#"`,
		"/" + strings.Repeat("a", 5<<10), "/x?" + strings.Repeat("q", 2<<10), "/x#" + strings.Repeat("f", 1<<10+1),
	}
	before := []string{"", "/", "//", "///", "////", "/\\", "\\", "\\\\", "\\/", "/\t/", "/\n/", "/\r/", "\t//", " //", "/ /", "http://", "https://", "http:\\\\", "https:", "ftp://", "/%2f/", "//x@", "https://app.example.com@", "https://app.example.com.", "//app.example.com@", "/.//", "/..//", "/./\\", "/%2e//", "/x/..//", "/x//", "/;//", "/\u3002/", "／"}
	hosts := []string{"evil.com", "evil.com/", "evil.com:443/x", "user@evil.com", "evil%2ecom", "evil。com", "127.0.0.1", "2130706433", "[::1]", "[::ffff:7f00:1]/"}
	for _, b := range before {
		for _, h := range hosts {
			if b == "/" {
				continue // "/evil.com" is an honest path of ours
			}
			out = append(out, b+h, b+h+"?x#y")
		}
	}
	return out
}

func TestR01BenignReturnPathIsKept(t *testing.T) {
	for _, in := range benignReturns() {
		if got := web.SafeReturn(in); got != in {
			t.Errorf("SafeReturn(%.80q) = %q: a person would not come back to where he was", in, got)
		}
	}
}

func TestR01R02HostileReturnPathLeadsHome(t *testing.T) {
	for _, in := range hostileReturns() {
		got := web.SafeReturn(in)
		// The URL standard is the judge; where a mutation happens to be an honest
		// path of ours, keeping it is right.
		if got != "/" && (got != in || !staysHome(in)) {
			t.Errorf("R01: SafeReturn(%q) = %q: a browser may leave this origin or land on an action", in, got)
		}
	}
	for _, in := range []string{"//evil.com", "/\\evil.com", "/\t/evil.com", "https:evil.com", "/.sso/logout", "/.SSO/logout", "/..;/x", "/%09/evil.com"} {
		if got := web.SafeReturn(in); got != "/" {
			t.Errorf("R01/R02: SafeReturn(%q) = %q, want /", in, got)
		}
	}
}

// staysHome reads a reference the way the URL standard does for an http base
// (strip, drop tab and newline, backslash is slash), written apart from the
// code under test, and wants more than it: no second reading either.
func staysHome(raw string) bool {
	s := strings.Trim(raw, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	s = strings.ReplaceAll(s, `\`, "/")
	if !strings.HasPrefix(s, "/") || strings.Contains(s, "//") {
		return false
	}
	p, err := url.PathUnescape(s)
	if err != nil || strings.Contains(strings.ToLower(s), "%2f") || strings.Contains(p, "//") || strings.ContainsAny(p, "\\\r\n\x00") {
		return false
	}
	for _, seg := range strings.Split(p, "/") {
		if seg == "." || seg == ".." {
			return false
		}
	}
	low := strings.ToLower(p)
	return low != "/.sso" && !strings.HasPrefix(low, "/.sso/")
}

func TestR02GatewayReturnsOnlyToPages(t *testing.T) {
	for _, in := range []string{"/me", "/settings", "/settings/auth?tab=2#saml", "/me#x"} {
		if got := web.SafeGatewayReturn(in, "/me"); got != in {
			t.Errorf("SafeGatewayReturn(%q) = %q, want it kept", in, got)
		}
	}
	for _, in := range []string{
		"/", "/logout", "/login?id=1", "/complete?code=1", "/saml/okta/acs", "/oauth/g/callback", "/invite/x", "/fallback", "/setup/x",
		"/api/0/organizations/x/scim/v2/Users", "/jwks.json", "/mex", "/settingsx", "//me", "/me/../logout", "/%6de", "https://evil.com/me", "",
	} {
		if got := web.SafeGatewayReturn(in, "/me"); got != "/me" {
			t.Errorf("R02: SafeGatewayReturn(%q) = %q: a sign-in must not end on an action", in, got)
		}
	}
}

func TestFragmentKeepsOnlyWhatABrowserSends(t *testing.T) {
	for in, want := range map[string]string{
		"row=7": "row=7", "#/inbox/7?x": "/inbox/7?x", "": "", "#": "", "a%20b": "a%20b", "x\\y": "x\\y", "!{}|^": "!{}|^",
		"a b": "", "a\r\nb": "", `"`: "", "<x>": "", "é": "", strings.Repeat("f", 1025): "",
	} {
		if got := web.SafeFragment(in); got != want {
			t.Errorf("SafeFragment(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzSafeReturn(f *testing.F) {
	for _, s := range append(hostileReturns(), benignReturns()...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := web.SafeReturn(in)
		if got == "/" {
			return
		}
		if got != in {
			t.Fatalf("SafeReturn(%q) = %q: repaired instead of refused", in, got)
		}
		if !staysHome(in) {
			t.Fatalf("SafeReturn(%q) kept it", in)
		}
		if web.SafeReturn(got) != got {
			t.Fatalf("SafeReturn(%q) is not stable", in)
		}
		u, err := url.Parse(got)
		if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil {
			t.Fatalf("SafeReturn(%q): net/url reads %v, %v", in, u, err)
		}
	})
}
