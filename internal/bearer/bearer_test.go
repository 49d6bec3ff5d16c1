package bearer

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
)

// Row C01: exactly one Authorization header with the scheme and something behind it.
func TestTokenIsReadFromOneHeaderOnlyC01(t *testing.T) {
	for _, c := range []struct {
		values    []string
		want      string
		presented bool
	}{
		{[]string{"Bearer abc"}, "abc", true},
		{[]string{"bearer abc"}, "abc", true},
		{[]string{"BEARER  abc "}, "abc", true},
		{nil, "", false},
		{[]string{""}, "", false},
		{[]string{"Basic YTpi"}, "", false},
		{[]string{"abc"}, "", false},
		{[]string{"BearerX abc"}, "", false},
		{[]string{"Bearer-Token abc"}, "", false},
		// Meant for us and not well made: nothing else may decide then.
		{[]string{"Bearer"}, "", true},
		{[]string{"Bearer "}, "", true},
		{[]string{"Bearer\tabc"}, "", true},
		{[]string{"Bearer,abc"}, "", true},
		{[]string{"Bearer=abc"}, "", true},
		{[]string{"Bearer abc", "Bearer abc"}, "", true},
		{[]string{"Basic YTpi", "Bearer abc"}, "", true},
		{[]string{"Bearer " + strings.Repeat("x", 513)}, "", true},
	} {
		h := http.Header{}
		for _, v := range c.values {
			h.Add("Authorization", v)
		}
		got, ok := FromHeader(h, 512)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q, %v", c.values, got, ok)
		}
		if p := Presented(h); p != c.presented {
			t.Errorf("%q: presented is %v", c.values, p)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"Bearer a", "bearer\t", "Basic x", "Bearer " + Machine, "B"} {
		f.Add(s, "")
		f.Add(s, "Bearer b")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		h := http.Header{"Authorization": {one}}
		if two != "" {
			h.Add("Authorization", two)
		}
		token, ok := FromHeader(h, 512)
		if ok && (!Presented(h) || two != "" || token == "" || len(token) > 512 || !strings.Contains(one, token)) {
			t.Fatalf("%q %q gave %q", one, two, token)
		}
		if !ok && token != "" {
			t.Fatalf("%q without its ok", token)
		}
	})
}

func TestFormOfTokens(t *testing.T) {
	for _, label := range []string{SCIM, Machine, SCIM + "secret_"} {
		token, hash := New(label)
		again, _ := New(label)
		if !HasForm(token, label) || token == again || hash != secret.Sum(token) || !strings.HasPrefix(hash.String(), ID(hash)) {
			t.Errorf("%s: %q, %q", label, token, again)
		}
		for _, no := range []string{"", label, token[1:], token + "x", token[:len(token)-1], strings.ToUpper(token)} {
			if HasForm(no, label) {
				t.Errorf("%q has the form of a token", no)
			}
		}
		for _, v := range []string{token, "Bearer " + token, "x," + token + "y", "bearer\t" + token} {
			if !Ours(v) {
				t.Errorf("%q would be forwarded (row H08)", v)
			}
		}
	}
	for _, v := range []string{"", "Basic YTpi", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.x", `Digest username="ssogate_svc"`} {
		if Ours(v) {
			t.Errorf("%q is the application's own", v)
		}
	}
}

func TestWhatIsKeptOfAToken(t *testing.T) {
	token, hash := New(Machine)
	end := time.Now().Add(time.Hour)
	s, err := Keep(ID(hash), hash, "deploy", "cli:ana", end)
	if err != nil || s.ID != ID(hash) || strings.Contains(s.Hash, token) || s.Created.IsZero() {
		t.Fatalf("%+v, %v", s, err)
	}
	if !s.Is(hash) || s.Is(secret.Sum(token+"x")) || (&Stored{}).Is(hash) || (&Stored{}).Is(secret.Hash{}) {
		t.Error("a token is recognized by its hash and by nothing else")
	}
	if s.Expired(end.Add(-time.Millisecond)) || !s.Expired(end) || (&Stored{}).Expired(end) {
		t.Error("it is over from its end on, and without one never")
	}
	s.LastUsed = end
	if s.UseDue(end.Add(UseEvery-1)) || !s.UseDue(end.Add(UseEvery)) {
		t.Error("a use is written once a minute")
	}
	for what, name := range map[string]string{"nothing": "", "a line break": "a\nb", "bad UTF-8": "\xff", "101 characters": strings.Repeat("x", 101)} {
		if _, err := Keep("x", hash, name, "cli", time.Time{}); err == nil {
			t.Errorf("%s is a name", what)
		}
	}
	if _, err := Keep("x", hash, "a", "cli", time.Now().Add(-time.Second)); err == nil {
		t.Error("a token that has ended already was made")
	}
}
