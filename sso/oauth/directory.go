package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

const (
	directoryScope = "https://www.googleapis.com/auth/admin.directory.group.readonly"
	directoryPage  = 200 // the most that a page may have
	maxDirectory   = 10  // pages
)

// directory looks up the groups of a Workspace account, which no token of Google
// carries: with a service account that acts for an administrator (domain-wide
// delegation) and may read groups, nothing else. Safe for concurrent use.
type directory struct {
	api    string
	config jwt.Config
	client *http.Client // follows no redirect
	now    clock.Func

	mu    sync.Mutex
	token *oauth2.Token
}

// serviceAccount is Google's key file, as far as it is used.
type serviceAccount struct {
	Type       string `json:"type"`
	Email      string `json:"client_email"`
	KeyID      string `json:"private_key_id"`
	PrivateKey string `json:"private_key"`
	TokenURI   string `json:"token_uri"`
}

// newDirectory reads the key file. nil without one.
func newDirectory(p settings.Provider, client *http.Client, now clock.Func) (*directory, error) {
	if len(p.OIDC.DirectoryKey) == 0 {
		return nil, nil
	}
	var key serviceAccount
	if err := json.Unmarshal(p.OIDC.DirectoryKey, &key); err != nil {
		return nil, errors.New("the directory key is not the JSON key file of a service account") // err quotes it
	}
	api, token, err := googleAPI(p.OIDC.Issuer)
	switch {
	case err != nil:
		return nil, err
	case key.Type != "service_account" || key.Email == "" || key.PrivateKey == "":
		return nil, errors.New("the directory key is not that of a service account")
	case key.TokenURI != token:
		// The signed statement is a credential: it goes to Google and nowhere else,
		// whatever a file says.
		return nil, fmt.Errorf("the directory key names the token endpoint %q, not %s", printable(key.TokenURI, 100), token)
	case p.OIDC.DirectoryAdmin == "":
		return nil, errors.New("the directory key needs an administrator to act for")
	}
	return &directory{
		api: api, client: client, now: now,
		config: jwt.Config{
			Email: key.Email, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.KeyID, Subject: p.OIDC.DirectoryAdmin,
			Scopes: []string{directoryScope}, TokenURL: token, Expires: 10 * time.Minute,
		},
	}, nil
}

// groups are the addresses of all groups that an account is in directly, in lower
// case. Rights may depend on them, so a list that cannot be read to its end is an
// error, and then nobody signs in: an *UnavailableError.
func (d *directory) groups(ctx context.Context, account string) ([]string, error) {
	var out []string
	next := ""
	for range maxDirectory {
		var page struct {
			Groups []struct {
				Email string `json:"email"`
			} `json:"groups"`
			Next string `json:"nextPageToken"`
		}
		q := url.Values{"userKey": {account}, "maxResults": {fmt.Sprint(directoryPage)}, "fields": {"nextPageToken,groups(email)"}}
		if next != "" {
			q.Set("pageToken", next)
		}
		found, err := d.get(ctx, d.api+"/admin/directory/v1/groups?"+q.Encode(), &page)
		if err != nil || !found {
			return nil, err
		}
		for _, g := range page.Groups {
			if sso.PlainAddress(g.Email) {
				out = append(out, strings.ToLower(g.Email))
			}
		}
		if next = page.Next; next == "" {
			return out, nil
		}
	}
	return nil, &UnavailableError{Step: "directory", Err: errTooLarge}
}

// get asks once more with a new access token where the old one is refused. found
// is false for an account that the directory does not know.
func (d *directory) get(ctx context.Context, u string, into any) (found bool, err error) {
	for try := range 2 {
		token, err := d.access(ctx, try > 0)
		if err != nil {
			return false, err
		}
		body, err := fetch(ctx, d.client, "directory", u, token)
		un, _ := errors.AsType[*UnavailableError](err)
		switch {
		case un != nil && un.Status == http.StatusNotFound:
			return false, nil
		case un != nil && un.Status == http.StatusUnauthorized && try == 0:
			continue
		case un != nil && un.Status == http.StatusForbidden:
			un.Err = errors.New("the service account may not read groups: domain-wide delegation for its client id needs the scope " + directoryScope)
			return false, un
		case err != nil:
			return false, err
		}
		if err := json.Unmarshal(body, into); err != nil {
			return false, &UnavailableError{Step: "directory", Err: bounded(err)}
		}
		return true, nil
	}
	return false, &UnavailableError{Step: "directory", Status: http.StatusUnauthorized}
}

// access is an access token of the service account, kept until shortly before its
// end (RFC 7523).
func (d *directory) access(ctx context.Context, anew bool) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !anew && d.token != nil && d.now().Add(Skew).Before(d.token.Expiry) {
		return d.token.AccessToken, nil
	}
	t, err := d.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, d.client)).Token()
	if err != nil {
		d.token = nil
		e := &UnavailableError{Step: "directory token", Err: errors.New("the service account gets no access token")}
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // never wrapped: it carries the body
			e.Status, e.Code = re.Response.StatusCode, printable(re.ErrorCode, 40)
		}
		return "", e
	}
	if len(t.AccessToken) > maxToken {
		return "", &UnavailableError{Step: "directory token", Err: errTooLarge}
	}
	d.token = t
	return t.AccessToken, nil
}
