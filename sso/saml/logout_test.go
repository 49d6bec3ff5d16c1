package saml_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
)

const slo = gateway + "/saml/okta/slo"

// logoutRequest is one that the IdP could send, unsigned. change may spoil it.
func (f *fixture) logoutRequest(change func(*etree.Element)) *etree.Element {
	f.t.Helper()
	doc := etree.NewDocument()
	err := doc.ReadFromString(fmt.Sprintf(`<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_out1" Version="2.0" IssueInstant="%s" Destination="%s" NotOnOrAfter="%s"><saml:Issuer>%s</saml:Issuer><saml:NameID>alice</saml:NameID><samlp:SessionIndex>i1</samlp:SessionIndex></samlp:LogoutRequest>`,
		f.now.UTC().Format(time.RFC3339), slo, f.now.Add(time.Minute).UTC().Format(time.RFC3339), f.idp.EntityID()))
	f.ok(err)
	if change != nil {
		change(doc.Root())
	}
	return doc.Root()
}

func deflate(t testing.TB, el *etree.Element) string {
	t.Helper()
	doc := etree.NewDocument()
	doc.SetRoot(el)
	raw, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(raw)
	_ = w.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// signQuery signs the redirect binding with a key.
func signQuery(t testing.TB, query, method string, key *rsa.PrivateKey) string {
	t.Helper()
	query += "&SigAlg=" + url.QueryEscape(method)
	hash := crypto.SHA256
	if method == dsig.RSASHA1SignatureMethod {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write([]byte(query))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return query + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(sig))
}

func (f *fixture) byRedirect(query string) (sso.SignOutMessage, error) {
	return f.p.ReceiveSignOut(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, slo+"?"+query, nil))
}

func (f *fixture) byPost(values url.Values) (sso.SignOutMessage, error) {
	r := httptest.NewRequest(http.MethodPost, slo, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.p.ReceiveSignOut(httptest.NewRecorder(), r)
}

// redirected is a LogoutRequest by redirect, signed by the IdP.
func (f *fixture) redirectedLogout(change func(*etree.Element)) string {
	return signQuery(f.t, "SAMLRequest="+url.QueryEscape(deflate(f.t, f.logoutRequest(change)))+"&RelayState=r%20s", dsig.RSASHA256SignatureMethod, f.idpKey())
}

// posted is one by POST, signed by the IdP.
func (f *fixture) postedLogout(change func(*etree.Element), sign forgery, key *rsa.PrivateKey) url.Values {
	el := f.logoutRequest(change)
	if key != nil {
		sign.sign(f.t, el, key, f.idpCert())
	}
	doc := etree.NewDocument()
	doc.SetRoot(el)
	return url.Values{"SAMLRequest": {encode(f.t, doc)}, "RelayState": {"r s"}}
}

func wantLogout(t *testing.T, m sso.SignOutMessage, err error, why string) {
	t.Helper()
	if err != nil || !m.Request || m.Person != "alice" || len(m.Indexes) != 1 || m.Indexes[0] != "i1" || m.RelayState != "r s" || m.ID != "_out1" {
		t.Errorf("%s: %+v, %v", why, m, err)
	}
}

func wantNoLogout(t *testing.T, m sso.SignOutMessage, err error, why string, reasons ...string) {
	t.Helper()
	got := saml.Reason(err)
	if err == nil || got == "" || got == "panic" || m.Person != "" || m.Request {
		t.Errorf("%s: %+v, %v", why, m, err)
		return
	}
	for _, r := range reasons {
		if r == got {
			return
		}
	}
	if len(reasons) > 0 {
		t.Errorf("%s: refused as %q, want %q: %v", why, got, reasons, err)
	}
}

func TestRowS29LogoutRequestsByRedirect(t *testing.T) {
	f := newFixture(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	f.ok(err)
	good := f.redirectedLogout(nil)
	m, err := f.byRedirect(good)
	wantLogout(t, m, err, "benign")
	m, err = f.byRedirect("tracking=1&" + good + "&utm=2")
	wantLogout(t, m, err, "parameters of others are not signed")

	message := url.QueryEscape(deflate(t, f.logoutRequest(nil)))
	for _, tt := range []struct{ why, query, reason string }{
		{"unsigned", "SAMLRequest=" + message + "&RelayState=r%20s", "signature_missing"},
		{"an algorithm without a signature", "SAMLRequest=" + message + "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod), "signature_missing"},
		{"another key", signQuery(t, "SAMLRequest="+message, dsig.RSASHA256SignatureMethod, stranger), "signature"},
		{"SHA-1", signQuery(t, "SAMLRequest="+message, dsig.RSASHA1SignatureMethod, f.idpKey()), "sha1"},
		{"HMAC", strings.Replace(good, url.QueryEscape(dsig.RSASHA256SignatureMethod), url.QueryEscape("http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), 1), "algorithm"},
		{"no algorithm", strings.Replace(good, "SigAlg=", "SigAlg2=", 1), "signature_missing"},
		{"re-encoded", strings.Replace(good, "RelayState=r%20s", "RelayState=r+s", 1), "signature"},
		{"another RelayState", strings.Replace(good, "r%20s", "evil", 1), "signature"},
		{"no RelayState any more", strings.Replace(good, "&RelayState=r%20s", "", 1), "signature"},
		{"two messages", good + "&SAMLRequest=" + message, "repeated_parameter"},
		{"two RelayStates", good + "&RelayState=x", "repeated_parameter"},
		{"two signatures", good + "&Signature=x", "repeated_parameter"},
		{"a name with an escape", good + "&SAML%52equest=" + message, "form"},
		{"a request and a response", good + "&SAMLResponse=" + message, "form"},
		{"an encoding", good + "&SAMLEncoding=x", "encoding"},
		{"an artifact", good + "&SAMLart=x", "form"},
		{"a request as a response", strings.Replace(good, "SAMLRequest=", "SAMLResponse=", 1), "signature"},
		{"nothing", "", "signature_missing"},
		{"too long", strings.Repeat("x", 40<<10), "body_too_large"},
		{"not base64", signQuery(t, "SAMLRequest=%21", dsig.RSASHA256SignatureMethod, f.idpKey()), "base64"},
		{"not deflated", signQuery(t, "SAMLRequest="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("<x/>"))), dsig.RSASHA256SignatureMethod, f.idpKey()), ""},
	} {
		m, err := f.byRedirect(tt.query)
		if tt.reason == "" {
			wantNoLogout(t, m, err, tt.why)
			continue
		}
		wantNoLogout(t, m, err, tt.why, tt.reason)
	}
}

func TestRowS29ABombByRedirectIsCutOff(t *testing.T) {
	f := newFixture(t)
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(bytes.Repeat([]byte(" "), 16<<20))
	_ = w.Close()
	m, err := f.byRedirect(signQuery(t, "SAMLRequest="+url.QueryEscape(base64.StdEncoding.EncodeToString(b.Bytes())), dsig.RSASHA256SignatureMethod, f.idpKey()))
	wantNoLogout(t, m, err, "16 MB in a few bytes", "body_too_large")
}

func TestRowS29LogoutRequestsByPost(t *testing.T) {
	f := newFixture(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	f.ok(err)
	m, err := f.byPost(f.postedLogout(nil, forgery{}, f.idpKey()))
	wantLogout(t, m, err, "benign")
	empty := ""
	other := "#_other"
	for _, tt := range []struct {
		why, reason string
		values      url.Values
	}{
		{"unsigned", "signature_missing", f.postedLogout(nil, forgery{}, nil)},
		{"another key", "signature", f.postedLogout(nil, forgery{noKeyInfo: true}, stranger)},
		{"SHA-1", "sha1", f.postedLogout(nil, forgery{method: dsig.RSASHA1SignatureMethod}, f.idpKey())},
		{"SHA-1 digest", "sha1", f.postedLogout(nil, forgery{digest: sha1ID}, f.idpKey())},
		{"the whole document", "references", f.postedLogout(nil, forgery{uri: &empty}, f.idpKey())},
		{"another element", "references", f.postedLogout(nil, forgery{uri: &other}, f.idpKey())},
		{"two references", "references", f.postedLogout(nil, forgery{references: 2}, f.idpKey())},
		{"no transform", "transforms", f.postedLogout(nil, forgery{transforms: []string{excC14}}, f.idpKey())},
	} {
		m, err := f.byPost(tt.values)
		wantNoLogout(t, m, err, tt.why, tt.reason)
	}
	// Changed after it was signed: the person, the index, both hidden behind a copy.
	for why, surgery := range map[string]func(*etree.Element){
		"another person": func(el *etree.Element) { el.FindElement("./NameID").SetText("bob") },
		"no index":       func(el *etree.Element) { el.RemoveChild(el.FindElement("./SessionIndex")) },
		"wrapped": func(el *etree.Element) {
			inner := el.Copy()
			el.FindElement("./NameID").SetText("bob")
			el.CreateAttr("ID", "_evil")
			el.CreateElement("samlp:Extensions").AddChild(inner)
		},
	} {
		values := f.postedLogout(nil, forgery{}, f.idpKey())
		values.Set("SAMLRequest", operate(t, values.Get("SAMLRequest"), surgery))
		m, err := f.byPost(values)
		wantNoLogout(t, m, err, why)
	}
	for why, spoil := range map[string]func(url.Values){
		"twice":             func(v url.Values) { v.Add("SAMLRequest", v.Get("SAMLRequest")) },
		"as a response":     func(v url.Values) { v.Set("SAMLResponse", v.Get("SAMLRequest")); v.Del("SAMLRequest") },
		"both":              func(v url.Values) { v.Set("SAMLResponse", v.Get("SAMLRequest")) },
		"nothing":           func(v url.Values) { v.Del("SAMLRequest") },
		"too large":         func(v url.Values) { v.Set("RelayState", strings.Repeat("x", 500<<10)) },
		"a long RelayState": func(v url.Values) { v.Set("RelayState", strings.Repeat("x", 5<<10)) },
		"not base64":        func(v url.Values) { v.Set("SAMLRequest", "<x/>") },
		"a document type": func(v url.Values) {
			v.Set("SAMLRequest", base64.StdEncoding.EncodeToString([]byte("<!DOCTYPE x><x/>")))
		},
		"no message in it": func(v url.Values) { v.Set("SAMLRequest", base64.StdEncoding.EncodeToString([]byte("<x/>"))) },
		"a hundred elements": func(v url.Values) {
			v.Set("SAMLRequest", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("<a>", 100))))
		},
	} {
		values := f.postedLogout(nil, forgery{}, f.idpKey())
		spoil(values)
		m, err := f.byPost(values)
		wantNoLogout(t, m, err, why)
	}
}

// A genuinely signed Assertion or Response is no logout, wherever it stands.
func TestRowS29ASignedAssertionIsNoLogout(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	response := f.respond(l)
	f.accept(l, response)
	m, err := f.byPost(url.Values{"SAMLResponse": {response}})
	wantNoLogout(t, m, err, "a Response", "shape")
	m, err = f.byPost(url.Values{"SAMLRequest": {response}})
	wantNoLogout(t, m, err, "a Response as a request", "shape")
	raw, _ := base64.StdEncoding.DecodeString(response)
	doc := etree.NewDocument()
	f.ok(doc.ReadFromBytes(raw))
	assertion := find(t, doc.Root(), "./Assertion")
	for _, place := range []string{"./NameID", "."} {
		values := f.postedLogout(func(el *etree.Element) { find(t, el, place).AddChild(assertion.Copy()) }, forgery{}, nil)
		m, err = f.byPost(values)
		wantNoLogout(t, m, err, "an Assertion inside "+place, "shape")
	}
}

func TestLogoutRequestsOfOthersOrOtherTimesAreRefused(t *testing.T) {
	f := newFixture(t)
	set := func(name, value string) func(*etree.Element) {
		return func(el *etree.Element) { el.CreateAttr(name, value) }
	}
	at := func(d time.Duration) string { return f.now.Add(d).UTC().Format(time.RFC3339) }
	for _, tt := range []struct {
		why, reason string
		change      func(*etree.Element)
	}{
		{"59 s ahead", "", set("IssueInstant", at(59*time.Second))},
		{"without an end", "", func(el *etree.Element) { el.RemoveAttr("NotOnOrAfter") }},
		{"another destination", "destination", set("Destination", gateway+"/saml/okta/acs")},
		{"no destination", "destination", func(el *etree.Element) { el.RemoveAttr("Destination") }},
		{"another issuer", "issuer", func(el *etree.Element) { el.FindElement("./Issuer").SetText("https://evil.example") }},
		{"version 1.1", "version", set("Version", "1.1")},
		{"expired", "time_past", set("NotOnOrAfter", at(-61*time.Second))},
		{"an hour old, with a long end", "expired", func(el *etree.Element) {
			set("IssueInstant", at(-time.Hour))(el)
			set("NotOnOrAfter", at(time.Hour))(el)
		}},
		{"from the future", "", nil},
		{"without a time", "", nil},
		{"an id that is none", "xml_malformed", set("ID", "1 2")},
		{"transient", "name_id_transient", func(el *etree.Element) {
			el.FindElement("./NameID").CreateAttr("Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient")
		}},
		{"nobody", "subject", func(el *etree.Element) { el.FindElement("./NameID").SetText("") }},
		{"two people", "shape", func(el *etree.Element) {
			n := el.FindElement("./NameID")
			el.InsertChildAt(n.Index(), n.Copy())
		}},
		{"an empty index", "session_index", func(el *etree.Element) { el.FindElement("./SessionIndex").SetText(" ") }},
		{"encrypted", "encrypted_id", func(el *etree.Element) { el.CreateElement("saml:EncryptedID") }},
	} {
		change := tt.change
		benign := tt.reason == "" && change != nil
		switch tt.why {
		case "from the future":
			change = set("IssueInstant", at(2*time.Minute))
		case "without a time":
			change = func(el *etree.Element) { el.RemoveAttr("IssueInstant") }
		}
		m, err := f.byRedirect(f.redirectedLogout(change))
		switch {
		case benign:
			wantLogout(t, m, err, tt.why)
		case tt.reason == "":
			wantNoLogout(t, m, err, tt.why)
		default:
			wantNoLogout(t, m, err, tt.why, tt.reason)
		}
	}
}

// What we send, our own reader accepts when the IdP's place is ours: sender and
// receiver agree about what is signed.
func TestLogoutMessagesWeSendAreSigned(t *testing.T) {
	for _, binding := range []string{"redirect", "post"} {
		f := newFixture(t)
		l := f.login()
		a := f.accept(l, f.respond(l))
		f.withSLO(binding)
		if a.SignOut.Person != "alice" || a.SignOut.Index == "" || len(a.SignOut.Hint) == 0 {
			t.Fatalf("a sign-in left %+v", a.SignOut)
		}
		start, ok, err := f.p.BeginSignOut(t.Context(), a.SignOut, "relay")
		if err != nil || !ok || start.RequestID == "" {
			t.Fatalf("%s: %v %v", binding, ok, err)
		}
		f.wantSigned(start, "SAMLRequest", "LogoutRequest")
		answer, ok, err := f.p.AnswerSignOut(t.Context(), sso.SignOutMessage{Request: true, ID: "_out1", RelayState: "r s"})
		if err != nil || !ok {
			t.Fatalf("%s: %v %v", binding, ok, err)
		}
		f.wantSigned(answer, "SAMLResponse", "LogoutResponse")
	}
	f := newFixture(t)
	l := f.login()
	if _, ok, err := f.p.BeginSignOut(t.Context(), f.accept(l, f.respond(l)).SignOut, "relay"); ok || err != nil {
		t.Errorf("an IdP without single logout: %v %v", ok, err)
	}
}

func TestLogoutResponsesAreRead(t *testing.T) {
	f := newFixture(t)
	response := func(status, inResponseTo string) string {
		doc := etree.NewDocument()
		f.ok(doc.ReadFromString(fmt.Sprintf(`<samlp:LogoutResponse xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_in1" Version="2.0" IssueInstant="%s" Destination="%s" InResponseTo="%s"><saml:Issuer>%s</saml:Issuer><samlp:Status><samlp:StatusCode Value="%s"/></samlp:Status></samlp:LogoutResponse>`,
			f.now.UTC().Format(time.RFC3339), slo, inResponseTo, f.idp.EntityID(), status)))
		return signQuery(t, "SAMLResponse="+url.QueryEscape(deflate(t, doc.Root()))+"&RelayState=id", dsig.RSASHA256SignatureMethod, f.idpKey())
	}
	for status, done := range map[string]bool{"urn:oasis:names:tc:SAML:2.0:status:Success": true, "urn:oasis:names:tc:SAML:2.0:status:Responder": false, "": false} {
		m, err := f.byRedirect(response(status, "_req1"))
		if err != nil || m.Request || m.Done != done || m.InResponseTo != "_req1" || m.RelayState != "id" {
			t.Errorf("status %q: %+v, %v", status, m, err)
		}
	}
	if m, err := f.byRedirect(response("urn:oasis:names:tc:SAML:2.0:status:Success", "")); err == nil {
		t.Errorf("without InResponseTo: %+v", m)
	}
}

func FuzzReceiveSignOut(fz *testing.F) {
	f := sharedFixture(fz)
	f.t = fz
	fz.Add(f.redirectedLogout(nil), []byte(f.postedLogout(nil, forgery{}, f.idpKey()).Encode()))
	fz.Add("SAMLRequest=x&SigAlg=y&Signature=z", []byte("SAMLResponse=PHgvPg=="))
	fz.Fuzz(func(t *testing.T, query string, body []byte) {
		r := httptest.NewRequest(http.MethodGet, slo, nil)
		r.URL.RawQuery = query
		p := httptest.NewRequest(http.MethodPost, slo, bytes.NewReader(body))
		p.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, r := range []*http.Request{r, p} {
			m, err := f.p.ReceiveSignOut(httptest.NewRecorder(), r)
			if saml.Reason(err) == "panic" {
				t.Fatal(err)
			}
			if err == nil && m.Request && m.Person != "alice" {
				t.Fatalf("signed out %q", m.Person)
			}
		}
	})
}

func (f *fixture) idpKey() *rsa.PrivateKey { return f.k.idp }
func (f *fixture) idpCert() []byte         { return f.k.idpCert.Raw }

// withSLO gives the IdP single logout by one binding.
func (f *fixture) withSLO(binding string) {
	f.t.Helper()
	uri := "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	if binding == "post" {
		uri = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
	}
	metadata, err := f.idp.Metadata()
	f.ok(err)
	doc := etree.NewDocument()
	f.ok(doc.ReadFromBytes(metadata))
	sso := find(f.t, doc.Root(), ".//SingleSignOnService")
	service := etree.NewElement("SingleLogoutService")
	service.Space = sso.Space
	service.CreateAttr("Binding", uri)
	service.CreateAttr("Location", "https://idp.example.com/slo?tenant=1")
	parent := sso.Parent()
	at := sso.Index()
	for _, c := range parent.ChildElements() {
		if c.Tag == "NameIDFormat" {
			at = min(at, c.Index())
		}
	}
	parent.InsertChildAt(at, service)
	raw, err := doc.WriteToBytes()
	f.ok(err)
	f.p, err = saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Name: "Okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataXML: raw, UnsignedRequests: true}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: f.k.sp, Cert: f.k.spCert}}, Now: func() time.Time { return f.now },
	})
	f.ok(err)
}

// wantSigned reads a message of ours as an IdP does: with our key, and no other.
func (f *fixture) wantSigned(s sso.Start, name, tag string) {
	f.t.Helper()
	var root *etree.Element
	if len(s.Form) > 0 {
		values := url.Values{}
		for _, field := range s.Form {
			values.Set(field.Name, field.Value)
		}
		raw, err := base64.StdEncoding.DecodeString(values.Get(name))
		f.ok(err)
		doc := etree.NewDocument()
		f.ok(doc.ReadFromBytes(raw))
		root = doc.Root()
		ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{f.k.spCert}})
		if _, err := ctx.Validate(root); err != nil {
			f.t.Errorf("%s by POST: %v", tag, err)
		}
	} else {
		u, err := url.Parse(s.URL)
		f.ok(err)
		if u.Query().Get("tenant") != "1" {
			f.t.Errorf("the IdP's own query is lost: %s", s.URL)
		}
		signed, sig, _ := strings.Cut(u.RawQuery[strings.Index(u.RawQuery, name+"="):], "&Signature=")
		value, err := url.QueryUnescape(sig)
		f.ok(err)
		raw, err := base64.StdEncoding.DecodeString(value)
		f.ok(err)
		if err := f.k.spCert.CheckSignature(x509.SHA256WithRSA, []byte(signed), raw); err != nil {
			f.t.Errorf("%s by redirect: %v", tag, err)
		}
		deflated, err := base64.StdEncoding.DecodeString(u.Query().Get(name))
		f.ok(err)
		doc := etree.NewDocument()
		_, err = doc.ReadFrom(flate.NewReader(bytes.NewReader(deflated)))
		f.ok(err)
		root = doc.Root()
	}
	if root.Tag != tag || root.SelectAttrValue("Destination", "") != "https://idp.example.com/slo?tenant=1" {
		f.t.Errorf("%s to %q", root.Tag, root.SelectAttrValue("Destination", ""))
	}
	if tag == "LogoutRequest" && (find(f.t, root, "./NameID").Text() != "alice" || root.FindElement("./SessionIndex") == nil) {
		f.t.Error("it names another person or no session")
	}
}
