package saml_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestBindingS28(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	acs := f.p.ACS()
	good := url.Values{"SAMLResponse": {response}, "RelayState": {l.ID}}
	post := func(target, contentType, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return r
	}
	const form = "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		r      *http.Request
		reason string
	}{
		"GET":                 {httptest.NewRequest(http.MethodGet, acs+"?"+good.Encode(), nil), "method"},
		"PUT":                 {httptest.NewRequest(http.MethodPut, acs, strings.NewReader(good.Encode())), "method"},
		"artifact":            {post(acs, form, "SAMLart=AAQAAMh48/1oXIM%2Bsdo7Dh2qMp1HM4IF5DaRNmDj6RdUmllwn9jJHyEgIi8%3D"), "artifact"},
		"artifact beside":     {post(acs, form, good.Encode()+"&SAMLart=x"), "artifact"},
		"artifact in query":   {post(acs+"?SAMLart=x", form, good.Encode()), "query"},
		"response in query":   {post(acs+"?"+good.Encode(), form, ""), "query"},
		"any query":           {post(acs+"?x", form, good.Encode()), "query"},
		"multipart":           {multipartRequest(t, acs, good), "content_type"},
		"JSON":                {post(acs, "application/json", `{"SAMLResponse":"x"}`), "content_type"},
		"text":                {post(acs, "text/plain", good.Encode()), "content_type"},
		"no type":             {post(acs, "", good.Encode()), "content_type"},
		"response twice":      {post(acs, form, good.Encode()+"&SAMLResponse=x"), "repeated_parameter"},
		"RelayState twice":    {post(acs, form, good.Encode()+"&RelayState=x"), "repeated_parameter"},
		"other twice":         {post(acs, form, good.Encode()+"&a=1&a=2"), "repeated_parameter"},
		"many":                {post(acs, form, good.Encode()+"&a=1&b=1&c=1&d=1&e=1&f=1&g=1"), "form"},
		"semicolon":           {post(acs, form, "SAMLResponse=x;RelayState=y"), "form"},
		"bad escape":          {post(acs, form, "SAMLResponse=%zz"), "form"},
		"nothing":             {post(acs, form, ""), "form"},
		"request instead":     {post(acs, form, "SAMLRequest="+url.QueryEscape(response)), "form"},
		"no base64":           {post(acs, form, "SAMLResponse=%21%21"), "base64"},
		"unpadded base64":     {post(acs, form, "SAMLResponse=YQ"), "base64"},
		"base64 with slack":   {post(acs, form, "SAMLResponse=YR%3D%3D"), "base64"},
		"url-safe base64":     {post(acs, form, "SAMLResponse=_-8%3D"), "base64"},
		"plus eaten":          {post(acs, form, "SAMLResponse=a+b="), "base64"},
		"empty document":      {post(acs, form, "SAMLResponse=IA%3D%3D"), "xml_malformed"},
		"deflated like a GET": {post(acs, form, "SAMLResponse="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte{0x4b, 4, 0}))), "xml_malformed"},
		"RelayState of 5 KB":  {post(acs, form, url.Values{"SAMLResponse": {response}, "RelayState": {strings.Repeat("a", 5<<10)}}.Encode()), "relay_state"},
		"another message":     {post(acs, form, "SAMLResponse="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(`<LogoutResponse xmlns="urn:oasis:names:tc:SAML:2.0:protocol"/>`)))), "shape"},
	} {
		_, err := f.p.Receive(httptest.NewRecorder(), c.r)
		if err == nil || saml.Reason(err) != c.reason {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
		}
	}
	twice := post(acs, form, good.Encode())
	twice.Header.Add("Content-Type", "multipart/form-data; boundary=x")
	if _, err := f.p.Receive(httptest.NewRecorder(), twice); saml.Reason(err) != "content_type" {
		t.Errorf("two content types: %v", err)
	}
	// Java IdPs break base64 into lines; browsers send what they were given.
	lines := strings.Join(chunks(response, 76), "\r\n")
	f.accept(l, lines)
	extra := post(acs, form+"; charset=UTF-8", good.Encode()+"&submit=Continue")
	if _, err := f.p.Receive(httptest.NewRecorder(), extra); err != nil {
		t.Errorf("charset and the button's own name: %v", err)
	}
}

func chunks(s string, n int) (out []string) {
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func multipartRequest(t testing.TB, target string, values url.Values) *http.Request {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k := range values {
		if err := w.WriteField(k, values.Get(k)); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	r := httptest.NewRequest(http.MethodPost, target, &b)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return r
}

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestSizesS26(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	open := `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r" Version="2.0">`
	var declarations, nested, attributes strings.Builder
	for i := range 8000 {
		declarations.WriteString(` xmlns:n` + strconv.Itoa(i) + `="urn:x"`)
		attributes.WriteString(` a` + strconv.Itoa(i) + `=""`)
	}
	for i := range 60 {
		nested.WriteString(`<a`)
		for j := range 60 {
			nested.WriteString(` xmlns:n` + strconv.Itoa(i*60+j) + `="urn:x"`)
		}
		nested.WriteString(`>`)
	}
	for name, doc := range map[string]string{
		"20k depth":              strings.Repeat("<a>", 20_000),
		"20k depth, closed":      strings.Repeat("<a>", 20_000) + strings.Repeat("</a>", 20_000),
		"10k assertions":         open + strings.Repeat("<saml:Assertion/>", 10_000) + "</samlp:Response>",
		"9k assertions":          open + strings.Repeat("<saml:Assertion/>", 9_000) + "</samlp:Response>",
		"8k xmlns":               "<samlp:Response" + declarations.String() + "/>",
		"8k attributes":          "<samlp:Response" + attributes.String() + "/>",
		"xmlns in depth":         nested.String(),
		"one long name":          "<" + strings.Repeat("a", 250<<10) + "/>",
		"one long text":          open + strings.Repeat("a", 250<<10) + "</samlp:Response>",
		"one long attribute":     `<a b="` + strings.Repeat("a", 250<<10) + `"/>`,
		"many entities":          open + strings.Repeat("&amp;", 50<<10) + "</samlp:Response>",
		"unclosed comment":       open + "<!--" + strings.Repeat("-", 250<<10),
		"many small text tokens": open + strings.Repeat("<![CDATA[]]>", 20<<10) + "</samlp:Response>",
		"many IDs":               open + strings.Repeat(`<a ID=""/>`, 9000) + "</samlp:Response>",
		// A message of the largest allowed size that comes as far as the signature.
		"large and signed by a stranger": largeResponse(f, l),
	} {
		before := cpu(t)
		a, err := f.present(l, base64.StdEncoding.EncodeToString([]byte(doc)))
		used := cpu(t) - before
		wantRefused(t, a, err, name)
		if used > 100*time.Millisecond*slow {
			t.Errorf("%s: refused after %s of CPU", name, used)
		}
	}
	big := url.Values{"SAMLResponse": {strings.Repeat("A", 1<<20)}}.Encode()
	for name, body := range map[string]io.Reader{"with length": strings.NewReader(big), "chunked": io.MultiReader(strings.NewReader(big))} {
		r := httptest.NewRequest(http.MethodPost, f.p.ACS(), body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, err := f.p.Receive(httptest.NewRecorder(), r); saml.Reason(err) != "body_too_large" {
			t.Errorf("1 MB %s: %v", name, err)
		}
	}
}

// largeResponse has a thousand attribute values and the wrong key.
func largeResponse(f *fixture, l sso.Login) string {
	response := operate(f.t, f.respond(l), func(root *etree.Element) {
		a := find(f.t, root, "./Assertion")
		v := find(f.t, a, "./AttributeStatement/Attribute/AttributeValue")
		for range 1500 {
			c := v.Copy()
			c.SetText("https://example.com/a/group/with/a/long/name/to/fill/the/space")
			v.Parent().AddChild(c)
		}
		dropSignature(a)
		f.ok(ssotest.SignElement(a, f.k.stranger, f.k.idpCert.Raw, ""))
	})
	raw, err := base64.StdEncoding.DecodeString(response)
	f.ok(err)
	return string(raw)
}

// TestManyGroupsAreReadable: a person in a thousand groups is a real one.
func TestManyGroupsAreReadable(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l, func(d *ssotest.SAMLDraft) {
		d.SignResponse = true
		d.EditAssertion = func(el *etree.Element) {
			v := find(t, el, "./AttributeStatement/Attribute/AttributeValue")
			other := v.Parent().Copy()
			other.CreateAttr("Name", "memberOf")
			for range 1000 {
				other.AddChild(v.Copy())
			}
			v.Parent().Parent().AddChild(other)
		}
	})
	f.accept(l, response)
}

func TestRelayStateS27(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	for _, state := range []string{
		"https://evil.example.com", "//evil.example.com", `/\evil.example.com`, "javascript:alert(1)", "", "/",
		l.ID + "x", l.ID[1:], " " + l.ID, l.ID + "\n", strings.Repeat("a", 4000), strings.Repeat("é", 43), "../../" + l.ID[6:],
	} {
		r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {response}, "RelayState": {state}}))
		f.ok(err)
		if got := r.LoginID(); got != "" {
			t.Errorf("RelayState %q taken for login %q", state, got)
		}
		a, err := r.Verify(context.Background(), l)
		wantRefused(t, a, err, "RelayState "+state, "relay_state")
	}
	r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {response}, "RelayState": {l.ID}}))
	f.ok(err)
	if r.LoginID() != l.ID || r.Unsolicited() {
		t.Errorf("login %q, unsolicited %v", r.LoginID(), r.Unsolicited())
	}
}

func TestUnsolicitedS13(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	f.accept(l, f.respond(l))
	_, tile, err := f.idp.Unsolicited("", "alice")
	f.ok(err)
	stripped := operate(t, f.respond(l), func(root *etree.Element) { root.RemoveAttr("InResponseTo") })
	for name, response := range map[string]string{"tile": tile, "InResponseTo cut off": stripped} {
		for _, state := range []string{"", "/deep/link", "https://evil.example.com", l.ID} {
			r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {response}, "RelayState": {state}}))
			f.ok(err)
			if !r.Unsolicited() {
				t.Errorf("%s: not seen as unsolicited", name)
			}
			// Whatever the flow does, there is no session in it.
			a, err := r.Verify(context.Background(), l)
			wantRefused(t, a, err, name+" with RelayState "+state)
		}
	}
}

func TestInResponseToS12(t *testing.T) {
	f := newFixture(t)
	l, other := f.login(), f.login()
	f.accept(l, f.respond(l))
	f.accept(other, f.respond(other))
	f.refuse(l, f.respond(l, func(d *ssotest.SAMLDraft) { d.Response.InResponseTo = "_unknown" }), "unknown id", "in_response_to")
	f.refuse(l, f.respond(l, func(d *ssotest.SAMLDraft) { confirmation(d).InResponseTo = "_unknown" }), "unknown id in the confirmation", "in_response_to")
	f.refuse(l, f.respond(l, func(d *ssotest.SAMLDraft) { confirmation(d).InResponseTo = "" }), "no id in the confirmation", "in_response_to")
	// The response to another browser's request, under this browser's RelayState.
	f.refuse(l, f.respond(other, func(d *ssotest.SAMLDraft) { d.SignResponse = true }), "id of another browser", "in_response_to")
	// Its outside rewritten to fit, where only the assertion is signed.
	f.refuse(l, operate(t, f.respond(other), func(root *etree.Element) { root.CreateAttr("InResponseTo", l.Start.RequestID) }),
		"the assertion still answers the other request", "in_response_to")
	never := l
	never.Start = sso.Start{}
	f.refuse(never, f.respond(l), "a login that was never sent to the IdP", "in_response_to")
	response := f.respond(l, func(d *ssotest.SAMLDraft) {
		confirmation(d).NotOnOrAfter = f.now.Add(2 * time.Hour)
		d.Assertion.Conditions.NotOnOrAfter = f.now.Add(2 * time.Hour)
	})
	f.now = f.now.Add(sso.LoginLifetime - time.Second)
	f.accept(l, response)
	f.now = f.now.Add(time.Second)
	f.refuse(l, response, "expired login", "login_expired")
}

func TestLanesS30(t *testing.T) {
	f := newFixture(t)
	live, test := f.login(), f.login()
	test.Kind = sso.Test
	liveResponse, testResponse := f.respond(live), f.respond(test)
	f.accept(live, liveResponse)
	f.accept(test, testResponse)
	f.refuse(live, testResponse, "a live login satisfied by the response to a test", "in_response_to")
	f.refuse(test, liveResponse, "a test satisfied by the response to a live login", "in_response_to")
	nobody := live
	nobody.Kind = ""
	f.refuse(nobody, liveResponse, "no lane at all", "lane")
	// RelayState of one lane, Login of the other.
	r, err := f.p.Receive(httptest.NewRecorder(), acsRequest(url.Values{"SAMLResponse": {testResponse}, "RelayState": {live.ID}}))
	f.ok(err)
	a, err := r.Verify(context.Background(), test)
	wantRefused(t, a, err, "RelayState and Login of different lanes", "relay_state")
	moved := live
	moved.Provider = "entra"
	f.refuse(moved, liveResponse, "provider replaced mid-flow", "provider")
}

func TestDisabledProviderS30(t *testing.T) {
	on := newFixture(t)
	l := on.login()
	response := on.respond(l)
	on.accept(l, response)
	off := newFixture(t, func(p *settings.Provider) { p.Active = false })
	off.now = on.now
	off.refuse(l, response, "a response for a disabled provider", "provider_disabled")
	if _, err := off.p.Begin(context.Background(), l); saml.Reason(err) != "provider_disabled" {
		t.Errorf("begin: %v", err)
	}
	// Replaced mid-flow by one with the same id: another IdP, another certificate.
	replaced := newFixture(t, func(p *settings.Provider) {
		p.SAML = settings.SAMLProvider{
			EntityID: on.idp.EntityID(), SSOURL: on.idp.SSOURL(), Certificates: []string{certPEM(testKeys().other)},
		}
	})
	replaced.now = on.now
	replaced.refuse(l, response, "signed by the IdP that was there before", "signature")
}
