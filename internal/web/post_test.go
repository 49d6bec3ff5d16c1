package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/web"
)

// A message posted to an IdP goes to that origin, and the
// page's policy lets it go nowhere else.
func TestPostGoesToOneOriginOnly(t *testing.T) {
	show := func(url string) (string, string) {
		w := httptest.NewRecorder()
		web.WritePage(w, httptest.NewRequest(http.MethodGet, "/login", nil), web.Page{
			Status: http.StatusOK, Title: "Signing in", Post: &web.Post{URL: url, Fields: []web.Field{{Name: "SAMLRequest", Value: `"><script>`}}},
		})
		return w.Header().Get("Content-Security-Policy"), w.Body.String()
	}
	policy, body := show("https://idp.example.com:8443/sso?a=1")
	if !strings.Contains(policy, "; form-action https://idp.example.com:8443;") || !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	for _, want := range []string{`<form method="post" action="https://idp.example.com:8443/sso?a=1" id="post">`, "&#34;&gt;&lt;script&gt;", ">Continue</button>", "/static/post.js?v="} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	for url, why := range map[string]string{
		"javascript:alert(1)":        "a script is not a place to post to",
		"/login":                     "our own pages have forms of their own",
		"https://*/x":                "a wildcard in the policy allows every host",
		"https://a;script-src/x":     "the host would end the directive",
		"https://a,b/x":              "the host would begin a second policy",
		"https://user@idp.example/x": "a password in an address",
	} {
		if policy, body := show(url); !strings.Contains(policy, "form-action 'self'") || strings.Contains(body, `id="post"`) {
			t.Errorf("%s: %s: policy %q", url, why, policy)
		}
	}
}
