package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ssogate/ssogate/sso/ssotest"
)

// SCIM URNs (RFC 7643 section 8.7, RFC 7644 section 8.2).
const (
	userSchema  = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema = "urn:ietf:params:scim:schemas:core:2.0:Group"
	patchSchema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// Limits of a call. A deprovisioning call is answered only when every
// connection is cut, for which the gateway takes up to 10 s before a 503.
const (
	callTimeout = 20 * time.Second
	maxAnswer   = 1 << 20
)

// exchange is one call as it is shown: the token is never part of it.
type exchange struct {
	When     time.Time
	Method   string
	Path     string
	Request  string // body, indented
	Status   string // status line, or why there is none
	OK       bool
	Response string // body, indented
	Took     time.Duration
}

// api calls the SCIM server with the bearer token.
type api struct {
	base  string // without a trailing slash
	token string
	http  *http.Client
}

// resource is what the client reads of a User or Group.
type resource struct {
	ID       string `json:"id"`
	UserName string `json:"userName"`
	Active   *bool  `json:"active"`
}

// isActive: an absent active means nothing is known against the person.
func (r resource) isActive() bool { return r.Active == nil || *r.Active }

// The bodies this client sends. Structs rather than maps, because the page shows
// them and "schemas" belongs first.
type (
	newUser struct {
		Schemas     []string `json:"schemas"`
		UserName    string   `json:"userName"`
		DisplayName string   `json:"displayName"`
		Name        fullName `json:"name"`
		Emails      []email  `json:"emails"`
		Active      bool     `json:"active"`
	}
	fullName struct {
		GivenName  string `json:"givenName"`
		FamilyName string `json:"familyName"`
	}
	email struct {
		Value   string `json:"value"`
		Type    string `json:"type"`
		Primary bool   `json:"primary"`
	}
	newGroup struct {
		Schemas     []string `json:"schemas"`
		DisplayName string   `json:"displayName"`
		Members     []ref    `json:"members"`
	}
	ref struct {
		Value string `json:"value"`
	}
	patch struct {
		Schemas    []string    `json:"schemas"`
		Operations []operation `json:"Operations"`
	}
	operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
)

func onePatch(op, path string, value any) patch {
	return patch{[]string{patchSchema}, []operation{{op, path, value}}}
}

type listResponse struct {
	TotalResults int        `json:"totalResults"`
	Resources    []resource `json:"Resources"`
}

// statusError is an answer that is not 2xx.
type statusError struct {
	method, path string
	code         int
	body         string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("demo: scim: %s %s: status %d: %.300s", e.method, e.path, e.code, e.body)
}

// call sends one request and decodes a 2xx answer into out. The exchange is
// filled whatever happens, so that a failure can be shown too.
func (a *api) call(ctx context.Context, method, path string, in, out any) (exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	x := exchange{When: time.Now(), Method: method, Path: path}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return x, fmt.Errorf("demo: scim: encode: %w", err)
		}
		x.Request, body = indent(b), bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return x, fmt.Errorf("demo: scim: request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Accept", "application/scim+json")
	if in != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	res, err := a.http.Do(req)
	if err != nil {
		x.Took, x.Status = time.Since(x.When), "no answer"
		return x, fmt.Errorf("demo: scim: %s %s: %w", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	x.Took = time.Since(x.When)
	x.Status, x.OK, x.Response = res.Status, res.StatusCode/100 == 2, indent(answer)
	switch {
	case err != nil:
		return x, fmt.Errorf("demo: scim: %s %s: read: %w", method, path, err)
	case !x.OK:
		return x, &statusError{method, path, res.StatusCode, string(answer)}
	case out == nil || len(answer) == 0:
		return x, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return x, fmt.Errorf("demo: scim: %s %s: decode: %w", method, path, err)
	}
	return x, nil
}

// find looks one resource up by an attribute that is unique.
func (a *api) find(ctx context.Context, endpoint, attribute, value string) (resource, bool, error) {
	q := url.Values{"filter": {attribute + " eq " + quote(value)}}
	var list listResponse
	if _, err := a.call(ctx, http.MethodGet, endpoint+"?"+q.Encode(), nil, &list); err != nil {
		return resource{}, false, err
	}
	if len(list.Resources) == 0 {
		return resource{}, false, nil
	}
	return list.Resources[0], true, nil
}

// quote writes a filter value: RFC 7644 section 3.4.2.2 takes JSON strings.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // a Go string always marshals
	}
	return string(b)
}

func (a *api) create(ctx context.Context, p ssotest.Person) (exchange, resource, error) {
	var made resource
	x, err := a.call(ctx, http.MethodPost, "/Users", newUser{
		Schemas: []string{userSchema}, UserName: p.User, DisplayName: p.DisplayName,
		Name:   fullName{p.GivenName, p.FamilyName},
		Emails: []email{{p.Email, "work", true}},
		Active: true,
	}, &made)
	return x, made, err
}

func (a *api) setActive(ctx context.Context, id string, active bool) (exchange, error) {
	return a.call(ctx, http.MethodPatch, "/Users/"+url.PathEscape(id), onePatch("replace", "active", active), nil)
}

// ensure makes p exist and be active, and answers the resource's id. Running it
// again changes nothing; a creation that lost a race (409) finds the winner's.
func (a *api) ensure(ctx context.Context, p ssotest.Person) (string, error) {
	got, ok, err := a.find(ctx, "/Users", "userName", p.User)
	if err != nil {
		return "", err
	}
	if !ok {
		_, made, err := a.create(ctx, p)
		var refused *statusError
		if errors.As(err, &refused) && refused.code == http.StatusConflict {
			if got, ok, err = a.find(ctx, "/Users", "userName", p.User); err == nil && !ok {
				return "", refused // taken by a member that this connection may not see
			}
			made = got
		}
		return made.ID, err
	}
	if !got.isActive() {
		if _, err := a.setActive(ctx, got.ID, true); err != nil {
			return "", err
		}
	}
	return got.ID, nil
}

// ensureGroup makes the group exist with at least these members.
func (a *api) ensureGroup(ctx context.Context, name string, members []string) error {
	values := make([]ref, 0, len(members))
	for _, m := range members {
		values = append(values, ref{m})
	}
	got, ok, err := a.find(ctx, "/Groups", "displayName", name)
	if err != nil {
		return err
	}
	if !ok {
		_, err := a.call(ctx, http.MethodPost, "/Groups", newGroup{[]string{groupSchema}, name, values}, nil)
		return err
	}
	_, err = a.call(ctx, http.MethodPatch, "/Groups/"+url.PathEscape(got.ID), onePatch("add", "members", values), nil)
	return err
}

// indent shows JSON readably and anything else as it came.
func indent(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return out.String()
}
