package scim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
)

// tokenPrefix makes a leaked token recognizable to secret scanners and to the
// person who finds it in a log.
const (
	tokenPrefix  = "ssogate_scim_"        //nolint:gosec // a label, not a credential
	tokenLength  = len(tokenPrefix) + 43  // 256 bits in base64url
	secretPrefix = "ssogate_scim_secret_" //nolint:gosec // the same
	secretLength = len(secretPrefix) + 43
	clientPrefix = "scim-client-"
	accessPrefix = "ssogate_scim_access_" //nolint:gosec // the same
)

// ErrInvalidToken means a token cannot be made as asked: the message says why.
var ErrInvalidToken = errors.New("scim: token")

// CreateToken makes a bearer token of 256 random bits for a connection and
// keeps its hash. The token itself is returned once and cannot be had again.
// Several may be live at once, so that rotation never interrupts the IdP. A
// zero expires never ends; the caller checks that the connection exists. The
// audit event is written with it, or neither is.
// Errors wrap [ErrInvalidToken] or come from the store.
func CreateToken(ctx context.Context, tokens Tokens, connection, name, creator string, expires time.Time) (string, StoredToken, error) {
	token := tokenPrefix + secret.NewToken()
	hash := secret.Sum(token)
	// The id is part of the hash: unique, and tells nothing of the token.
	t, err := newStored(hash.String()[:16], hash, connection, name, creator, expires)
	if err != nil {
		return "", StoredToken{}, err
	}
	if err := tokens.InsertToken(ctx, t, accessEvent("scim.token.create", t)); err != nil {
		return "", StoredToken{}, fmt.Errorf("scim: create token: %w", err)
	}
	return token, t, nil
}

// CreateClient makes an OAuth 2.0 client of a connection and keeps the hash of
// its secret, on the terms of [CreateToken]. Its id is part of the answer.
func CreateClient(ctx context.Context, clients Clients, connection, name, creator string, expires time.Time) (clientSecret string, _ StoredToken, _ error) {
	clientSecret = secretPrefix + secret.NewToken()
	t, err := newStored(clientPrefix+strings.ToLower(rand.Text()), secret.Sum(clientSecret), connection, name, creator, expires)
	if err != nil {
		return "", StoredToken{}, err
	}
	if err := clients.InsertClient(ctx, t, accessEvent("scim.client.create", t)); err != nil {
		return "", StoredToken{}, fmt.Errorf("scim: create client: %w", err)
	}
	return clientSecret, t, nil
}

func newStored(id string, hash secret.Hash, connection, name, creator string, expires time.Time) (StoredToken, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	switch {
	case connection == "":
		return StoredToken{}, fmt.Errorf("%w: no connection named", ErrInvalidToken)
	case name == "" || utf8.RuneCountInString(name) > 100 || !printable(name):
		return StoredToken{}, fmt.Errorf("%w: the name must be 1 to 100 printable characters", ErrInvalidToken)
	case !expires.IsZero() && !expires.After(now):
		return StoredToken{}, fmt.Errorf("%w: it would already have expired", ErrInvalidToken)
	}
	return StoredToken{
		ID: id, Connection: connection, Name: name, Hash: hash.String(), Created: now, Creator: creator, Expires: expires,
	}, nil
}

func accessEvent(kind string, t StoredToken) audit.Event {
	return audit.Event{
		Kind: kind, Outcome: audit.Allowed, Actor: t.Creator, Target: t.Connection,
		Detail: map[string]string{"name": t.Name, "id": t.ID},
	}
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}
