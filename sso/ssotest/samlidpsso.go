package ssotest

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// samlRequest is an AuthnRequest that was checked.
type samlRequest struct {
	id         string // "" = unsolicited
	sp         samlSP
	relayState string
	force      bool
}

func (i *SAMLIdP) routes() *http.ServeMux {
	// The forms of this IdP's own pages; /sso takes posts from other sites.
	sameOrigin := http.NewCrossOriginProtection()
	m := http.NewServeMux()
	m.HandleFunc("GET /metadata", i.serveMetadata)
	m.HandleFunc("GET /sso", i.serveSSO)
	m.HandleFunc("POST /sso", i.serveSSO)
	m.Handle("POST /sign-in", sameOrigin.Handler(http.HandlerFunc(i.signIn)))
	m.HandleFunc("GET /logout", i.logout)
	m.Handle("POST /logout", sameOrigin.Handler(http.HandlerFunc(i.logout)))
	m.HandleFunc("GET /tile", i.tile)
	m.HandleFunc("GET /{$}", i.home)
	return m
}

// ServeHTTP implements http.Handler.
func (i *SAMLIdP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, samlMaxBody)
	}
	i.mux.ServeHTTP(w, r)
}

func (i *SAMLIdP) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	raw, err := i.Metadata()
	if err != nil {
		i.page.fail(w, http.StatusInternalServerError, "The metadata could not be written.")
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(raw) // the reader went away: nothing to tell it
}

// serveSSO takes an AuthnRequest and answers at once where the browser has a
// session here and the request does not insist on a new sign-in.
func (i *SAMLIdP) serveSSO(w http.ResponseWriter, r *http.Request) {
	var req samlRequest
	var err error
	if r.Method == http.MethodPost {
		req, err = i.parsePost(r)
	} else {
		req, err = i.parseQuery(r.URL.RawQuery)
	}
	if err != nil {
		i.page.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if s, ok := i.session(r); ok && !req.force {
		i.post(w, req, s)
		return
	}
	i.page.form(w, http.StatusOK, samlForm{Ticket: i.keep(req), SP: req.sp.entityID})
}

func (i *SAMLIdP) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		i.page.fail(w, http.StatusBadRequest, "The form could not be read.")
		return
	}
	ticket := r.PostForm.Get("ticket")
	req, ok := i.kept(ticket)
	if !ok {
		i.page.fail(w, http.StatusBadRequest, "This sign-in took too long. Go back to the application and start again.")
		return
	}
	user := r.PostForm.Get("username")
	p, ok := FindPerson(i.opts.People, user)
	if !ok || p.Password == "" || p.Password != r.PostForm.Get("password") {
		i.page.form(w, http.StatusUnauthorized, samlForm{
			Ticket: ticket, SP: req.sp.entityID, User: user, Error: "User name or password is wrong.",
		})
		return
	}
	i.post(w, req, i.startSession(w, p))
}

// tile is what an IdP's app launcher does: a response nobody asked for.
func (i *SAMLIdP) tile(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, ok := FindPerson(i.opts.People, q.Get("user"))
	sp, known := i.sp(q.Get("sp"))
	if !ok || !known {
		i.page.fail(w, http.StatusNotFound, "There is no such person, or no such service provider.")
		return
	}
	i.post(w, samlRequest{sp: sp, relayState: q.Get("relay_state")}, samlSession{person: p, index: newSecret(), at: i.opts.Now()})
}

func (i *SAMLIdP) post(w http.ResponseWriter, req samlRequest, s samlSession) {
	m, err := i.answer(req, s)
	if err != nil {
		i.page.fail(w, http.StatusInternalServerError, "The response could not be made.")
		return
	}
	i.page.response(w, m)
}

func (i *SAMLIdP) logout(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	if r.Method == http.MethodGet && ok {
		i.page.signedIn(w, "Sign out?", s.person.User, nil)
		return
	}
	i.stopSession(w, r)
	i.page.plain(w, http.StatusOK, "Signed out", "Nobody is signed in at this identity provider in this browser.")
}

// home says who is signed in here and offers the tiles.
func (i *SAMLIdP) home(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	if !ok {
		i.page.plain(w, http.StatusOK, "SAML identity provider", "Nobody is signed in here in this browser.")
		return
	}
	var tiles []samlTile
	i.mu.Lock()
	for _, sp := range i.sps {
		q := url.Values{"user": {s.person.User}, "sp": {sp.entityID}}
		tiles = append(tiles, samlTile{Name: sp.entityID, URL: i.opts.BaseURL + "/tile?" + q.Encode()})
	}
	i.mu.Unlock()
	i.page.signedIn(w, "SAML identity provider", s.person.User, tiles)
}

func (i *SAMLIdP) parseRedirect(target string) (samlRequest, error) {
	u, err := url.Parse(target)
	if err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: AuthnRequest: %w", err)
	}
	return i.parseQuery(u.RawQuery)
}

// parseQuery reads the HTTP-Redirect binding. The signature is over the query
// as it was sent (bindings, section 3.4.4.1), so the raw parts are kept.
func (i *SAMLIdP) parseQuery(query string) (samlRequest, error) {
	raw := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if _, twice := raw[name]; twice {
			return samlRequest{}, fmt.Errorf("ssotest: parameter %q twice", name)
		}
		raw[name] = value
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: query: %w", err)
	}
	deflated, err := base64.StdEncoding.DecodeString(values.Get("SAMLRequest"))
	if err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: SAMLRequest: %w", err)
	}
	// A megabyte of zeros deflates to a kilobyte.
	message, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), samlMaxBody))
	if err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: SAMLRequest: %w", err)
	}
	return i.parseRequest(message, values.Get("RelayState"), func(cert *x509.Certificate) error {
		signed := "SAMLRequest=" + raw["SAMLRequest"]
		if _, ok := raw["RelayState"]; ok {
			signed += "&RelayState=" + raw["RelayState"]
		}
		signed += "&SigAlg=" + raw["SigAlg"]
		if values.Get("SigAlg") != dsig.RSASHA256SignatureMethod {
			return errors.New("ssotest: AuthnRequest is not signed with RSA-SHA256")
		}
		sig, err := base64.StdEncoding.DecodeString(values.Get("Signature"))
		if err != nil {
			return fmt.Errorf("ssotest: signature: %w", err)
		}
		key, ok := cert.PublicKey.(*rsa.PublicKey)
		if !ok {
			return errors.New("ssotest: certificate is not RSA")
		}
		digest := sha256.Sum256([]byte(signed))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig)
	})
}

// parsePost reads the HTTP-POST binding, with the signature in the XML.
func (i *SAMLIdP) parsePost(r *http.Request) (samlRequest, error) {
	if err := r.ParseForm(); err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: form: %w", err)
	}
	message, err := base64.StdEncoding.DecodeString(r.PostForm.Get("SAMLRequest"))
	if err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: SAMLRequest: %w", err)
	}
	return i.parseRequest(message, r.PostForm.Get("RelayState"), func(cert *x509.Certificate) error {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(message); err != nil || doc.Root() == nil {
			return errors.New("ssotest: AuthnRequest is not XML")
		}
		ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
		_, err := ctx.Validate(doc.Root())
		return err
	})
}

func (i *SAMLIdP) parseRequest(message []byte, relayState string, verify func(*x509.Certificate) error) (samlRequest, error) {
	var req saml.AuthnRequest
	if err := xml.Unmarshal(message, &req); err != nil {
		return samlRequest{}, fmt.Errorf("ssotest: AuthnRequest: %w", err)
	}
	if req.ID == "" || req.Version != "2.0" || req.Issuer == nil {
		return samlRequest{}, errors.New("ssotest: AuthnRequest without ID, version or issuer")
	}
	sp, ok := i.sp(req.Issuer.Value)
	if !ok || req.Issuer.Value == "" {
		return samlRequest{}, fmt.Errorf("ssotest: service provider %q is not registered", req.Issuer.Value)
	}
	if sp.cert != nil {
		if err := verify(sp.cert); err != nil {
			return samlRequest{}, fmt.Errorf("ssotest: signature of AuthnRequest: %w", err)
		}
	}
	if req.Destination != "" && req.Destination != i.SSOURL() {
		return samlRequest{}, fmt.Errorf("ssotest: destination %q is not %s", req.Destination, i.SSOURL())
	}
	// An open redirector with signed identities is what an IdP must not be.
	if req.AssertionConsumerServiceURL != "" && req.AssertionConsumerServiceURL != sp.acs {
		return samlRequest{}, fmt.Errorf("ssotest: ACS %q is not registered", req.AssertionConsumerServiceURL)
	}
	if age := i.opts.Now().Sub(req.IssueInstant); age > samlTicketLifetime || age < -time.Minute {
		return samlRequest{}, fmt.Errorf("ssotest: AuthnRequest was issued %s ago", age.Round(time.Second))
	}
	return samlRequest{
		id: req.ID, sp: sp, relayState: relayState,
		force: req.ForceAuthn != nil && *req.ForceAuthn,
	}, nil
}
