package saml

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// facts are what trust in an IdP consists of: whose keys are believed and where
// browsers are sent. They are kept in SQL as JSON.
type facts struct {
	EntityID     string   `json:"entity_id"`
	Endpoints    places   `json:"endpoints"`
	Certificates [][]byte `json:"certificates"` // DER
}

// places are the addresses of an IdP, "" where it has none, in the order of placeNames.
type places [6]string

// placeNames are how people are told about them.
var placeNames = [len(places{})]string{
	"single sign-on (redirect)", "single sign-on (POST)",
	"single logout (redirect)", "single logout (POST)",
	"single logout answers (redirect)", "single logout answers (POST)",
}

// signOn is how many of the places are for single sign-on; one is needed.
const signOn = 2

func (i *idp) slots() [len(places{})]**url.URL {
	return [...]**url.URL{&i.ssoRedirect, &i.ssoPost, &i.sloRedirect, &i.sloPost, &i.sloRedirectResponse, &i.sloPostResponse}
}

func (i *idp) facts() facts {
	f := facts{EntityID: i.entityID}
	for n, slot := range i.slots() {
		if *slot != nil {
			f.Endpoints[n] = (*slot).String()
		}
	}
	for _, c := range i.certs {
		f.Certificates = append(f.Certificates, c.Raw)
	}
	return f
}

// idp is the way back, with the same checks as when they were read.
func (f facts) idp() (*idp, error) {
	i := &idp{entityID: f.EntityID}
	for n, slot := range i.slots() {
		if f.Endpoints[n] == "" {
			continue
		}
		u, err := browserURL(f.Endpoints[n])
		if err != nil {
			return nil, err
		}
		*slot = u
	}
	var err error
	for _, der := range f.Certificates {
		if i.certs, err = addCertificate(i.certs, der); err != nil {
			return nil, err
		}
	}
	if i.entityID == "" || len(i.certs) == 0 || (i.ssoRedirect == nil && i.ssoPost == nil) {
		return nil, fmt.Errorf("saml: kept metadata is not whole")
	}
	return i, nil
}

func (f facts) has(der []byte) bool {
	return slices.ContainsFunc(f.Certificates, func(c []byte) bool { return bytes.Equal(c, der) })
}

// digest names exactly these facts: what an operator has looked at and approves.
// 128 bits, so that nobody can make other metadata of the same name meanwhile.
func (f facts) digest() string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q", f.EntityID, f.Endpoints)
	prints := make([]string, 0, len(f.Certificates))
	for _, c := range f.Certificates {
		prints = append(prints, fingerprint(c))
	}
	slices.Sort(prints)
	_, _ = fmt.Fprintf(h, " %q", prints)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// merge answers what may be used of what was read without asking anybody, and
// whether there is more that needs approval.
//
// Only what narrows trust is taken at once: a certificate or address that is gone
// from the metadata is gone here. That is how an IdP calls back a stolen key, and
// waiting for a person would keep it believed. What would leave nothing to sign in
// with is not taken: an empty or replaced list is a change like any other.
func (f facts) merge(read facts) (use facts, more bool) {
	use = facts{EntityID: f.EntityID, Endpoints: f.Endpoints}
	for _, c := range f.Certificates {
		if read.has(c) {
			use.Certificates = append(use.Certificates, c)
		}
	}
	if len(use.Certificates) == 0 {
		use.Certificates = f.Certificates
	}
	more = slices.ContainsFunc(read.Certificates, func(c []byte) bool { return !f.has(c) })
	for n, place := range read.Endpoints {
		switch {
		case place == f.Endpoints[n]:
		case place == "":
			use.Endpoints[n] = ""
		default:
			more = true
		}
	}
	if strings.Join(use.Endpoints[:signOn], "") == "" {
		copy(use.Endpoints[:signOn], f.Endpoints[:signOn])
	}
	return use, more
}

// Difference is one thing that metadata changes. Old or New is "" where there is none.
type Difference struct {
	What string `json:"what"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// differences are for people: certificates by their SHA-256 fingerprints.
func differences(from, to facts) (out []Difference) {
	for _, c := range from.Certificates {
		if !to.has(c) {
			out = append(out, Difference{What: "signing certificate", Old: describe(c)})
		}
	}
	for _, c := range to.Certificates {
		if !from.has(c) {
			out = append(out, Difference{What: "signing certificate", New: describe(c)})
		}
	}
	for n := range to.Endpoints {
		if from.Endpoints[n] != to.Endpoints[n] {
			out = append(out, Difference{What: placeNames[n], Old: from.Endpoints[n], New: to.Endpoints[n]})
		}
	}
	return out
}

// fingerprint is the SHA-256 of a certificate as IdPs' consoles show it.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

func describe(der []byte) string {
	text := "SHA-256 " + fingerprint(der)
	if c, err := x509.ParseCertificate(der); err == nil {
		text += ", valid until " + c.NotAfter.UTC().Format(time.DateOnly)
	}
	return text
}
