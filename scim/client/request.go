package client

import (
	"mime"
	"net/url"
	"strings"

	"github.com/ssogate/ssogate/scim/schema"
)

// Media types of answers and requests (RFC 7644 section 3.8).
const (
	SCIMType = "application/scim+json"
	JSONType = "application/json"
)

// Accept chooses the media type of the answer (T16). OneLogin's documentation
// asks for application/json, Entra's for application/scim+json; a missing or
// unknown wish gets the standard's type, never a refusal.
func Accept(header []string) string {
	for _, part := range strings.Split(strings.Join(header, ","), ",") {
		t, params, err := mime.ParseMediaType(part)
		if err != nil || params["q"] == "0" {
			continue
		}
		switch t {
		case JSONType:
			return JSONType
		case SCIMType, "*/*", "application/*":
			return SCIMType
		}
	}
	return SCIMType
}

// ContentType reports whether a body of this type is read. No type at all is:
// there is only one thing a body here can be.
func ContentType(header string) bool {
	if header == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(header)
	return err == nil && (t == SCIMType || t == JSONType)
}

// Query reads the named parameters of a raw query. Unlike net/url it does not
// drop a pair that contains ';', which a filter may. Unknown parameters are
// ignored (T18: Entra tenants carry `?aadOptscim062020`), so are empty pairs
// (T15: OneLogin's trailing '&'). A known parameter given twice is refused:
// two readers could take different ones.
func Query(raw string, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimPrefix(raw, "?"), "&") {
		k, v, _ := strings.Cut(pair, "=")
		k, err := url.QueryUnescape(k)
		if err != nil {
			continue
		}
		for _, name := range names {
			if !strings.EqualFold(k, name) {
				continue
			}
			if _, twice := out[name]; twice {
				return nil, &schema.Error{Type: schema.InvalidSyntax, Detail: "query parameter " + name + " is given twice"}
			}
			if out[name], err = url.QueryUnescape(v); err != nil {
				return nil, &schema.Error{Type: schema.InvalidSyntax, Detail: "query parameter " + name + " is not properly escaped"}
			}
		}
	}
	return out, nil
}
