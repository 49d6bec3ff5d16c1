package header

import (
	"slices"
	"strings"
	"testing"
)

func TestNamesOfIdentityHeaders(t *testing.T) {
	for _, ok := range []string{"X-User", "REMOTE_USER", "X-Forwarded-User", "X-Forwarded-Groups", "X.Remote.User", "oidc_claim_email", "IFS-User", "Contents-User", "X", strings.Repeat("a", MaxLetters), "X-Ssogate-Assertion"} {
		if err := CheckName(ok); err != nil {
			t.Errorf("%s %v", ok, err)
		}
	}
	for _, bad := range []string{
		"", "X User", "X-User:", "X-User\r\nEvil", "Müller", "---", strings.Repeat("a", MaxLetters+1), strings.Repeat("-", 200) + "a",
		"Host", "host", "Connection", "Transfer-Encoding", "transfer_encoding", "Content-Length", "Content_Length", "Content-Type", "Cookie", "Authorization",
		"Proxy-Authorization", "TE", "Upgrade", "Sec-WebSocket-Key", "If-None-Match", "Range", "X-Forwarded-For", "x_forwarded_for", "X-Forwarded-Host", "X-Forwarded-Proto",
		"Forwarded", "X-Original-URL", "X-HTTP-Method-Override", "X-Real-IP", "Origin", "Accept-Encoding", "Proxy", "Set-Cookie",
	} {
		if err := CheckName(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, ok := range []string{"user", "JSESSIONUSER", "sid_1", "a.b"} {
		if err := CheckCookieName(ok); err != nil {
			t.Errorf("%s %v", ok, err)
		}
	}
	for _, bad := range []string{"", "$Version", "a b", "a=b", "a;b", "__Host-ssogate-app-session", "ssogate", "SSO_gate", "a%62", "a[0]", "..."} {
		if err := CheckCookieName(bad); err == nil {
			t.Errorf("cookie %q was accepted", bad)
		}
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string][]Part{
		"{id}":                   {{Field: ID}},
		"CORP\\{user_name}":      {{Text: "CORP\\"}, {Field: UserName}},
		"{given_name} {teams}!":  {{Field: GivenName}, {Text: " "}, {Field: Teams}, {Text: "!"}},
		"yes":                    {{Text: "yes"}},
		"{role}{provider}{name}": {{Field: Role}, {Field: Provider}, {Field: Name}},
	} {
		if got, err := ParseValue(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "{", "}", "{id", "id}", "{{id}}", "{ID}", "{id|upper}", "{password}", "a\nb", "é", "{id}\x00", strings.Repeat("a", maxValue+1), "{}"} {
		if got, err := ParseValue(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestXForwardedUserIsAlwaysTheID(t *testing.T) {
	for _, name := range []string{"X-Forwarded-User", "x_forwarded_user"} {
		for value, ok := range map[string]bool{"{id}": true, "{email}": false, "{user_name}": false, "x{id}": false} {
			if _, n, v, e := (Spec{Name: name, Value: value}).Read(); n != nil || e != nil || (v == nil) != ok {
				t.Errorf("%s: %s: %v %v %v", name, value, n, v, e)
			}
		}
	}
	if h, n, v, e := (Spec{Name: "X-Mail", Value: "{email}"}).Read(); n != nil || v != nil || e != nil || h.Encoding != Percent || h.Letters != "xmail" {
		t.Errorf("%+v %v %v %v", h, n, v, e)
	}
	if _, _, _, e := (Spec{Name: "X-Mail", Value: "{email}", Encoding: "rot13"}).Read(); e == nil {
		t.Error("an encoding that does not exist")
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add("CORP\\{user_name} {id}")
	f.Add("{{")
	f.Fuzz(func(t *testing.T, s string) {
		parts, err := ParseValue(s)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range parts {
			if (p.Text == "") == (p.Field == "") {
				t.Fatalf("%q: %+v", s, p)
			}
			if b.WriteString(p.Text); p.Field != "" {
				b.WriteString("{" + string(p.Field) + "}")
			}
		}
		if b.String() != s {
			t.Fatalf("%q reads as %q", s, b.String())
		}
	})
}
