package saml

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"

	"github.com/ssogate/ssogate/sso"
)

// Limits of what a browser may bring to the ACS.
const (
	maxBody       = 384 << 10
	maxParameters = 8
	maxRelayState = 4 << 10 // Okta tiles carry whole URLs, far over the standard's 80 bytes
)

// loginID is the form of a Login id: 256 bits in unpadded base64url.
var loginID = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Receive is steps 1 and 2: it takes the HTTP-POST binding's form (SAML
// bindings, section 3.5) within strict limits and reads the outside of the
// Response without believing any of it. It consumes r.Body.
//
// Errors are *sso.VerifyError. It makes no outbound call: an artifact
// (SAMLart) is refused before anything could resolve it (row S28).
func (p *Provider) Receive(w http.ResponseWriter, r *http.Request) (_ sso.Response, err error) {
	defer p.recovered(&err)
	form, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	if form.Get("SAMLResponse") == "" {
		return nil, refuse("form", "no SAMLResponse")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(form.Get("SAMLResponse"))
	if err != nil {
		return nil, refuse("base64", "SAMLResponse: %w", err)
	}
	if err := scan(raw, responseLimits); err != nil {
		return nil, err
	}
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if _, err := open(root); err != nil {
		return nil, err
	}
	return &response{
		provider:    p,
		raw:         raw,
		relayState:  form.Get("RelayState"),
		unsolicited: attr(root, "InResponseTo") == "",
	}, nil
}

// readForm is step 1, of every message that comes by POST: the form and nothing else.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, refuse("method", "%s", quote(r.Method))
	}
	// Nothing of the message may come by the query: the binding says form, and
	// two places for one parameter are two readings.
	if r.URL.RawQuery != "" {
		return nil, refuse("query", "a query beside the form")
	}
	types := r.Header.Values("Content-Type")
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(types) != 1 || media != "application/x-www-form-urlencoded" {
		return nil, refuse("content_type", "content type %s", quote(r.Header.Get("Content-Type")))
	}
	if r.ContentLength > maxBody {
		return nil, refuse("body_too_large", "body of %d bytes", r.ContentLength)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, refuse("body_too_large", "body over %d bytes", maxBody)
		}
		return nil, refuse("body", "%w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse("form", "%w", err)
	}
	return form, checkForm(form)
}

func checkForm(form url.Values) error {
	if len(form) > maxParameters {
		return refuse("form", "%d parameters", len(form))
	}
	for name, values := range form {
		switch {
		case len(values) != 1:
			return refuse("repeated_parameter", "%s %d times", quote(name), len(values))
		case name == "SAMLart":
			return refuse("artifact", "artifact binding is not supported")
		}
	}
	if len(form.Get("RelayState")) > maxRelayState {
		return refuse("relay_state", "RelayState of %d bytes", len(form.Get("RelayState")))
	}
	return nil
}

// response is a Response that was read but is not yet believed. It keeps bytes,
// not a tree, so that Verify starts from what arrived.
type response struct {
	provider    *Provider
	raw         []byte
	relayState  string
	unsolicited bool
}

// LoginID is the RelayState, if it can be an id of ours; a URL or path in it is
// of no interest (row S27).
func (r *response) LoginID() string {
	if loginID.MatchString(r.relayState) {
		return r.relayState
	}
	return ""
}

// Unsolicited reports a Response without InResponseTo (row S13).
func (r *response) Unsolicited() bool { return r.unsolicited }

var _ sso.Response = (*response)(nil)
