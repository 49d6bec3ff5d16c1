package web_test

import (
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/web"
)

func TestFormsLabelEveryInputAndNeverShowAPassword(t *testing.T) {
	w := get(t, web.Page{Status: 422, Title: "t", Form: &web.Form{
		URL: "/fallback", Button: "Sign in", Fields: []web.Field{{Name: "step", Value: `"><b>`}},
		Inputs: []web.Input{
			{Label: "User name", Name: "user", Type: "text", Hint: "username", Value: `ana"><script>`},
			{Label: "Password", Name: "password", Type: "password", Hint: "current-password", Value: "s3cret-s3cret", Help: "At least 12.", Fault: "It is wrong."},
			{Label: "Code", Name: "code", Type: "text", Optional: true},
		},
	}})
	body := w.Body.String()
	for _, want := range []string{
		`<label for="in0">User name</label>`, `<label for="in1">Password</label>`, `value="ana&#34;&gt;&lt;script&gt;"`,
		`aria-describedby="help1 wrong1" aria-invalid="true" required`, `id="wrong1">It is wrong.`, `method="post" action="/fallback"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %s", want)
		}
	}
	if strings.Contains(body, "s3cret") || strings.Contains(body, "<script>") || strings.Contains(body, `"><b>`) {
		t.Error("a password is shown again, or text became markup")
	}
	if strings.Count(body, " required") != 2 || w.Header().Get("Referrer-Policy") != "same-origin" {
		t.Errorf("%d required; %q", strings.Count(body, " required"), w.Header().Get("Referrer-Policy"))
	}
	if body := get(t, web.Page{Status: 200, Title: "t", Form: &web.Form{URL: "https:evil"}}).Body.String(); strings.Contains(body, "<form") {
		t.Error("a form that leads nowhere we know")
	}
}
