package oauth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// thin is a provider whose ID token says nothing but who, as many do.
func thin(info func(map[string]any)) ssotest.OPHooks {
	return ssotest.OPHooks{UserInfo: info, Claims: func(c map[string]any) {
		for _, n := range []string{"email", "email_verified", "name", "given_name", "family_name", "preferred_username", "groups"} {
			delete(c, n)
		}
	}}
}

func TestO10UserInfoCompletesAThinToken(t *testing.T) {
	r := newRig(t)
	r.op.SetHooks(thin(nil))
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if a.Profile.Email != "ada@example.com" || a.Profile.DisplayName != "Ada Lovelace" || a.Profile.UserName != "ada" || a.Identity.Subject != r.op.Sub("ada") {
		t.Errorf("%+v", a)
	}
}

func TestO10UserInfo(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	for _, c := range []struct {
		name, reason string
		hooks        ssotest.OPHooks
	}{
		{"other subject", "userinfo_subject", thin(set("sub", r.op.Sub("mallory")))},
		{"no subject", "userinfo_subject", thin(set("sub", nil))},
		{"subject as a number", "userinfo_subject", thin(set("sub", 5))},
		{"subject with a space", "userinfo_subject", thin(set("sub", r.op.Sub("ada")+" "))},
		{"e-mail differs from the ID token", "userinfo_email", ssotest.OPHooks{
			Claims: set("name", nil), UserInfo: set("email", "victim@example.com"),
		}},
		{"unverified there", "email_unverified", thin(set("email_verified", false))},
		{"verification without an address", "email_unverified", ssotest.OPHooks{
			Claims:   func(c map[string]any) { delete(c, "email_verified") },
			UserInfo: set("email", nil), // says email_verified of nothing
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.op.SetHooks(c.hooks)
			a, err := r.signIn()
			mustRefuse(t, a, err, c.reason, c.name)
		})
	}
	for name, serve := range map[string]func(http.ResponseWriter){
		"500":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"html":     func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(http.StatusFound) },
		"empty":    func(http.ResponseWriter) {},
		"huge":     func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxDocument+1)) },
		"null":     func(w http.ResponseWriter) { _, _ = w.Write([]byte("null")) },
	} {
		h := thin(nil)
		h.Serve = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == "/elsewhere" {
				t.Error("the access token was sent to where userinfo redirected")
			}
			if req.URL.Path != "/userinfo" {
				return false
			}
			serve(w)
			return true
		}
		r.op.SetHooks(h)
		a, err := r.signIn()
		mustBeUnavailable(t, a, err, "userinfo", name)
	}
}

func TestUserInfoAddsButNeverChanges(t *testing.T) {
	r := newRig(t)
	r.op.SetHooks(ssotest.OPHooks{
		Claims: func(c map[string]any) { delete(c, "name"); delete(c, "sid") },
		UserInfo: func(c map[string]any) {
			c["name"], c["preferred_username"], c["groups"] = "Added", "changed", []string{"owners"}
			c["sid"], c["nonce"], c["aud"], c["exp"] = "s", "n", "other", 1
		},
	})
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if a.Profile.DisplayName != "Added" || a.Profile.UserName != "ada" || len(a.Groups) != 2 || a.SessionIndex != "" {
		t.Errorf("%+v", a)
	}
}

func TestO11VerifiedEmail(t *testing.T) {
	unverified := map[string]any{"false": false, "absent": nil, `"false"`: "false", `"true" as a string`: "true", "1": 1, "list": []bool{true}, "TRUE": "TRUE"}
	for policy, want := range map[settings.UnverifiedEmail]string{
		settings.RefuseUnverifiedEmail: "refused", "unknown": "refused",
		settings.DropUnverifiedEmail: "", settings.InsecureTrustUnverifiedEmail: "ada@example.com",
	} {
		t.Run("policy "+string(policy), func(t *testing.T) {
			r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Provider.OIDC.UnverifiedEmail = policy })
			if a := r.mustWork(); a.Profile.Email != "ada@example.com" {
				t.Fatalf("a verified address is kept under every policy: %+v", a.Profile)
			}
			for name, v := range unverified {
				h := claimsHook(set("email_verified", v))
				h.UserInfo = set("email_verified", v)
				r.op.SetHooks(h)
				a, err := r.signIn()
				switch {
				case want == "refused":
					mustRefuse(t, a, err, "email_unverified", name)
				case err != nil || a.Profile.Email != want:
					t.Errorf("%s: %q, %v, want %q", name, a.Profile.Email, err, want)
				}
			}
		})
	}
	r := newRig(t)
	h := claimsHook(func(c map[string]any) { delete(c, "email"); delete(c, "email_verified") })
	h.UserInfo = h.Claims
	r.op.SetHooks(h)
	if a, err := r.signIn(); err != nil || a.Profile.Email != "" {
		t.Errorf("no address at all is no claim to vouch for: %+v, %v", a.Profile, err)
	}
}

// TestO11DroppedEmailIsNoUserNameEither: the address must not come in by another door.
func TestO11DroppedEmailIsNoUserNameEither(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) { o.Provider.OIDC.UnverifiedEmail = settings.DropUnverifiedEmail })
	h := claimsHook(func(c map[string]any) {
		c["email"], c["email_verified"] = "victim@example.com", false
		delete(c, "preferred_username")
	})
	h.UserInfo = h.Claims
	r.op.SetHooks(h)
	a, err := r.signIn()
	if err != nil || a.Profile.Email != "" || a.Profile.UserName != r.op.Sub("ada") {
		t.Errorf("%+v, %v", a.Profile, err)
	}
}

func TestO12AccountKey(t *testing.T) {
	r := newRig(t)
	first := r.mustWork()
	r.op.SetHooks(claimsHook(func(c map[string]any) { c["sub"] = "someone-else" }))
	same, err := r.signIn()
	if err != nil || same.Identity == first.Identity || same.Profile.Email != first.Profile.Email {
		t.Errorf("same e-mail, new sub must be another identity: %+v, %v", same.Identity, err)
	}
	r.op.SetHooks(claimsHook(func(c map[string]any) { c["email"], c["preferred_username"] = "mallory@example.com", "mallory" }))
	renamed, err := r.signIn()
	if err != nil || renamed.Identity != first.Identity {
		t.Errorf("the victim's e-mail and name must not change whose identity it is: %+v, %v", renamed.Identity, err)
	}
	r.op.SetHooks(claimsHook(func(c map[string]any) { c["sub"] = strings.ToUpper(r.op.Sub("ada")) }))
	upper, err := r.signIn()
	if err != nil || upper.Identity == first.Identity {
		t.Errorf("subjects are case-sensitive: %+v, %v", upper.Identity, err)
	}
	// The same subject at another provider is another account: the issuer is part of the key.
	other := newRig(t)
	if b := other.mustWork(); b.Identity == first.Identity {
		t.Error("two issuers, one identity")
	}
}

func TestO15AddressSyntax(t *testing.T) {
	r := newRig(t)
	for _, ok := range []string{"ada@example.com", "ada.b+tag@sub.example.co.uk", "a'b@example.com", "root@localhost", "ada@xn--bcher-kva.example", "A_B-c@EXAMPLE.com"} {
		r.op.SetHooks(claimsHook(set("email", ok)))
		if a, err := r.signIn(); err != nil || a.Profile.Email != ok {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"a@corp.example@evil.example", "a＠corp.example", "a@corp.example%00.evil.example", "a\x00@corp.example", `"a@corp.example"@evil.example`, "a@corp.example.", ".a@corp.example",
		"a..b@corp.example", "a@", "@corp.example", "corp.example", "a b@corp.example", "a@corp..example", "a@-corp.example", "a%evil.example@corp.example", "evil!a@corp.example",
		"a@[127.0.0.1]", "a(b)@corp.example", "a@corp_example", "а@corp.example", "a@corp.example\n", "a,b@corp.example", "Ada <a@corp.example>", strings.Repeat("a", 65) + "@corp.example", "a@" + strings.Repeat("b.", 130) + "c",
	} {
		r.op.SetHooks(claimsHook(set("email", bad)))
		a, err := r.signIn()
		mustRefuse(t, a, err, "claims", bad)
	}
	for name, v := range map[string]any{"list": []string{"a@corp.example", "b@corp.example"}, "number": 5, "object": map[string]string{"a": "b"}} {
		r.op.SetHooks(claimsHook(set("email", v)))
		a, err := r.signIn()
		mustRefuse(t, a, err, "", name+": one address or none")
	}
}

func TestOperatorsClaimNames(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) {
		o.Provider.Attributes = settings.Attributes{
			UserName: []string{"upn", "preferred_username"}, DisplayName: []string{"full name"}, Groups: []string{"https://example.com/roles"}, Email: []string{"mail"},
		}
	})
	r.op.SetHooks(claimsHook(func(c map[string]any) {
		c["upn"], c["full name"], c["https://example.com/roles"], c["mail"] = "ada@corp.example", "A. L.", "auditors", "mail@corp.example"
	}))
	a, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if p := a.Profile; p.UserName != "ada@corp.example" || p.DisplayName != "A. L." || p.Email != "mail@corp.example" || len(a.Groups) != 1 || a.Groups[0] != "auditors" {
		t.Errorf("%+v %v", a.Profile, a.Groups)
	}
	r.op.SetHooks(ssotest.OPHooks{})
	a, err = r.signIn()
	if err != nil || a.Profile.UserName != "ada" || a.Groups != nil || a.Profile.DisplayName != "Ada Lovelace" {
		t.Errorf("fallbacks: %+v %v, %v", a.Profile, a.Groups, err)
	}
}

func TestClaimValuesAreBounded(t *testing.T) {
	r := newRig(t)
	r.mustWork()
	many := make([]string, maxList+1)
	for i := range many {
		many[i] = "g"
	}
	for name, f := range map[string]func(map[string]any){
		"line break in a name":  set("name", "Ada\r\nX-Forwarded-User: root"),
		"NUL in a user name":    set("preferred_username", "a\x00"),
		"name of 2 KB":          set("name", strings.Repeat("n", 2048)),
		"name as an object":     set("name", map[string]string{"first": "Ada"}),
		"too many groups":       set("groups", many),
		"group with line break": set("groups", []string{"a\nb"}),
		"empty group":           set("groups", []string{""}),
		"group of 300 bytes":    set("groups", []string{strings.Repeat("g", 300)}),
		"groups as objects":     set("groups", []map[string]string{{"name": "a"}}),
		"sid with a line break": set("sid", "a\nb"),
	} {
		r.op.SetHooks(claimsHook(f))
		a, err := r.signIn()
		mustRefuse(t, a, err, "", name)
	}
	r.op.SetHooks(claimsHook(set("groups", []string{})))
	if a, err := r.signIn(); err != nil || len(a.Groups) != 0 {
		t.Errorf("no groups is an answer: %v, %v", a.Groups, err)
	}
}

var _ sso.Provider = (*Provider)(nil)
