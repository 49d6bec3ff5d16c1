package saml

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/sso"
)

const (
	maxIndexes       = 64
	logoutRemembered = 10 * time.Minute // how long a request without NotOnOrAfter could be presented
)

// hint is what a LogoutRequest of ours must repeat of the NameID, besides its
// value: some IdPs compare all of it (core, section 3.3.4).
type hint struct {
	NameID      string `json:"n"`
	Format      string `json:"f,omitempty"`
	Qualifier   string `json:"q,omitempty"`
	SPQualifier string `json:"s,omitempty"`
}

// signOut is what a sign-in leaves behind for the end of its session.
func (s statement) signOut() sso.SignOut {
	raw, err := json.Marshal(hint{s.nameID, s.format, s.qualifier, s.spQualifier})
	if err != nil { // text that JSON cannot hold: the scan let only valid UTF-8 through
		return sso.SignOut{}
	}
	return sso.SignOut{Person: s.nameID, Index: s.index, Hint: raw}
}

func readHint(raw []byte) (h hint, ok bool) {
	err := json.Unmarshal(raw, &h)
	return h, err == nil && h.NameID != ""
}

// BeginSignOut implements sso.SingleLogout. The message is always signed: without a
// signature nobody could tell it from anybody else's wish to sign the person out.
func (p *Provider) BeginSignOut(ctx context.Context, s sso.SignOut, id string) (sso.Start, bool, error) {
	to, err := p.ready(ctx)
	if err != nil {
		return sso.Start{}, false, err
	}
	place := first(to.sloRedirect, to.sloPost)
	if place == nil {
		return sso.Start{}, false, nil
	}
	h, ok := readHint(s.Hint)
	if !ok {
		return sso.Start{}, false, nil // of before we kept one: nobody could be named
	}
	request := requestID()
	el := p.outgoing("LogoutRequest", request, place)
	name := el.CreateElement("saml:NameID")
	for key, value := range map[string]string{"Format": h.Format, "NameQualifier": h.Qualifier, "SPNameQualifier": h.SPQualifier} {
		if value != "" {
			name.CreateAttr(key, value)
		}
	}
	name.SetText(h.NameID)
	if s.Index != "" {
		el.CreateElement("samlp:SessionIndex").SetText(s.Index)
	}
	start, err := p.send("SAMLRequest", el, to.sloRedirect, to.sloPost, id)
	start.RequestID = request
	return start, true, err
}

// AnswerSignOut implements sso.SingleLogout. It says Success also when there was no
// session to end: none is left, which is what was asked for.
func (p *Provider) AnswerSignOut(ctx context.Context, m sso.SignOutMessage) (sso.Start, bool, error) {
	to, err := p.ready(ctx)
	if err != nil {
		return sso.Start{}, false, err
	}
	redirect, post := first(to.sloRedirectResponse, to.sloRedirect), first(to.sloPostResponse, to.sloPost)
	place := first(redirect, post)
	if place == nil {
		return sso.Start{}, false, nil
	}
	el := p.outgoing("LogoutResponse", requestID(), place)
	el.CreateAttr("InResponseTo", m.ID)
	el.CreateElement("samlp:Status").CreateElement("samlp:StatusCode").CreateAttr("Value", statusSuccess)
	start, err := p.send("SAMLResponse", el, redirect, post, m.RelayState)
	return start, true, err
}

func first(urls ...*url.URL) *url.URL {
	for _, u := range urls {
		if u != nil {
			return u
		}
	}
	return nil
}

// outgoing is the common outside of what we send.
func (p *Provider) outgoing(tag, id string, to *url.URL) *etree.Element {
	el := etree.NewElement("samlp:" + tag)
	el.CreateAttr("xmlns:samlp", nsProtocol)
	el.CreateAttr("xmlns:saml", nsAssertion)
	el.CreateAttr("ID", id)
	el.CreateAttr("Version", "2.0")
	el.CreateAttr("IssueInstant", p.now().UTC().Format("2006-01-02T15:04:05Z"))
	el.CreateAttr("Destination", to.String())
	el.CreateElement("saml:Issuer").SetText(p.entityID)
	return el
}

// send prefers the redirect binding: it needs no script.
func (p *Provider) send(name string, el *etree.Element, redirect, post *url.URL, relayState string) (sso.Start, error) {
	if redirect != nil {
		target, err := p.signedRedirect(redirect, name, el, relayState)
		return sso.Start{URL: target}, err
	}
	if err := p.sign(el); err != nil {
		return sso.Start{}, err
	}
	fields, err := postFields(name, el, relayState)
	return sso.Start{URL: post.String(), Form: fields}, err
}

// ReceiveSignOut implements sso.SingleLogout, for the redirect binding (GET) and the
// POST binding. Nothing is believed that no signature of the IdP covers (row S29).
func (p *Provider) ReceiveSignOut(w http.ResponseWriter, r *http.Request) (m sso.SignOutMessage, err error) {
	defer p.recovered(&err)
	if !p.settings.Active {
		return m, refuse("provider_disabled", "provider %s is not active", p.settings.ID)
	}
	now := p.now()
	idp, err := p.trusted(now)
	if err != nil {
		return m, err
	}
	v := verifier{certs: idp.certs, allowSHA1: p.settings.SAML.InsecureAllowSHA1, now: now}
	var root *etree.Element
	if r.Method == http.MethodGet {
		root, m.RelayState, err = v.readRedirect(r.URL.RawQuery)
	} else {
		root, m.RelayState, err = v.readPost(w, r)
	}
	if err != nil {
		return sso.SignOutMessage{}, err
	}
	c := checker{acs: p.slo, entityID: p.entityID, issuer: idp.entityID, now: now}
	if is(root, nsProtocol, "LogoutRequest") {
		err = c.logoutRequest(root, &m)
	} else {
		err = c.logoutResponse(root, &m)
	}
	if err != nil {
		return sso.SignOutMessage{}, err
	}
	return m, nil
}

// logoutRoot lets through the two messages of the profile, and nothing that has a
// second message inside: a signed assertion must not pass for a logout.
func logoutRoot(root *etree.Element) error {
	if !is(root, nsProtocol, "LogoutRequest") && !is(root, nsProtocol, "LogoutResponse") {
		return refuse("shape", "root is %s, not a LogoutRequest or LogoutResponse", quote(root.FullTag()))
	}
	var walk func(el *etree.Element) error
	walk = func(el *etree.Element) error {
		for _, c := range el.ChildElements() {
			switch c.Tag {
			case "Signature":
				if el != root {
					return refuse("shape", "signature in an unexpected place")
				}
			case "Assertion", "EncryptedAssertion", "Response", "LogoutRequest", "LogoutResponse", "Object":
				return refuse("shape", "%s inside a logout message", c.Tag)
			case "EncryptedID", "BaseID":
				return refuse("encrypted_id", "%s is not supported", c.Tag)
			}
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(root)
}

// readPost reads the POST binding and returns what its signature covers.
func (v verifier) readPost(w http.ResponseWriter, r *http.Request) (*etree.Element, string, error) {
	form, err := readForm(w, r)
	if err != nil {
		return nil, "", err
	}
	if (form.Get("SAMLRequest") == "") == (form.Get("SAMLResponse") == "") {
		return nil, "", refuse("form", "want either a request or a response")
	}
	raw, err := decodeMessage(form.Get("SAMLRequest") + form.Get("SAMLResponse"))
	if err != nil {
		return nil, "", err
	}
	root, err := readLogout(raw)
	if err != nil {
		return nil, "", err
	}
	var sig *etree.Element
	for _, c := range root.ChildElements() {
		if is(c, nsDSig, "Signature") {
			if sig != nil {
				return nil, "", refuse("shape", "two signatures")
			}
			sig = c
		}
	}
	if sig == nil {
		return nil, "", refuse("signature_missing", "the logout message is not signed")
	}
	verified, err := v.verify(root, sig)
	if err != nil {
		return nil, "", err
	}
	if err := kind(verified, form.Get("SAMLRequest") != ""); err != nil {
		return nil, "", err
	}
	return verified, form.Get("RelayState"), logoutRoot(verified)
}

func readLogout(raw []byte) (*etree.Element, error) {
	if err := scan(raw, responseLimits); err != nil {
		return nil, err
	}
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return root, logoutRoot(root)
}

// kind compares the message with the parameter it came in.
func kind(root *etree.Element, request bool) error {
	if is(root, nsProtocol, "LogoutRequest") != request {
		return refuse("shape", "%s in the wrong parameter", quote(root.Tag))
	}
	return nil
}

// common checks what both messages have.
func (c checker) common(el *etree.Element, issuer *etree.Element, m *sso.SignOutMessage) error {
	if v := attr(el, "Version"); v != "2.0" {
		return refuse("version", "%s version %s", el.Tag, quote(v))
	}
	if m.ID = attr(el, "ID"); !ncName.MatchString(m.ID) {
		return refuse("shape", "%s ID %s", el.Tag, quote(m.ID))
	}
	// Bindings sections 3.4.5.2 and 3.5.5.2: a signed message must say where it was sent.
	if d := attr(el, "Destination"); d != c.acs {
		return refuse("destination", "Destination %s, not %s", quote(d), c.acs)
	}
	if err := c.checkIssuer(issuer); err != nil {
		return err
	}
	m.Issuer = c.issuer
	issued, err := c.notAhead(attr(el, "IssueInstant"), el.Tag+" IssueInstant")
	if err != nil {
		return err
	}
	// Nothing else bounds its age where there is no NotOnOrAfter.
	if c.now.Sub(issued) > logoutRemembered {
		return refuse("expired", "%s is %s old", el.Tag, c.now.Sub(issued).Round(time.Second))
	}
	m.Until = issued.Add(logoutRemembered + Skew)
	return nil
}

func (c checker) logoutRequest(el *etree.Element, m *sso.SignOutMessage) error {
	parts, err := children(el,
		slot{nsAssertion, "Issuer", 1, 1, false},
		slot{nsDSig, "Signature", 0, 1, false},
		slot{nsProtocol, "Extensions", 0, 1, false},
		slot{nsAssertion, "NameID", 1, 1, false},
		slot{nsProtocol, "SessionIndex", 0, maxIndexes, false})
	if err != nil {
		return err
	}
	m.Request = true
	if err := c.common(el, parts.one(0), m); err != nil {
		return err
	}
	if until := attr(el, "NotOnOrAfter"); until != "" {
		if _, err := c.notPast(until, "LogoutRequest NotOnOrAfter"); err != nil {
			return err
		}
	}
	var s statement
	if err := c.nameID(parts.one(3), &s); err != nil {
		return err
	}
	m.Person = s.nameID
	for _, el := range parts[4] {
		index, err := text(el)
		if err != nil {
			return err
		}
		if index = strings.TrimSpace(index); index == "" {
			// Taken for none it would end more than was asked for.
			return refuse("session_index", "empty SessionIndex")
		}
		m.Indexes = append(m.Indexes, index)
	}
	return nil
}

func (c checker) logoutResponse(el *etree.Element, m *sso.SignOutMessage) error {
	parts, err := children(el,
		slot{nsAssertion, "Issuer", 1, 1, false},
		slot{nsDSig, "Signature", 0, 1, false},
		slot{nsProtocol, "Extensions", 0, 1, false},
		slot{nsProtocol, "Status", 1, 1, false})
	if err != nil {
		return err
	}
	if err := c.common(el, parts.one(0), m); err != nil {
		return err
	}
	if m.InResponseTo = attr(el, "InResponseTo"); m.InResponseTo == "" {
		return refuse("in_response_to", "no InResponseTo")
	}
	// PartialLogout and every failure: the person may still be signed in elsewhere.
	m.Done = checkStatus(parts.one(3)) == nil
	return nil
}

var errNoSignature = errors.New("saml: no signature")

var _ sso.SingleLogout = (*Provider)(nil)
