package scim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
)

// What tells our tokens apart.
const (
	secretPrefix = bearer.SCIM + "secret_"
	accessPrefix = bearer.SCIM + "access_"
	clientPrefix = "scim-client-"
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
	token, hash := bearer.New(bearer.SCIM)
	t, err := newStored(bearer.ID(hash), hash, connection, name, creator, expires)
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
	clientSecret, hash := bearer.New(secretPrefix)
	t, err := newStored(clientPrefix+strings.ToLower(rand.Text()), hash, connection, name, creator, expires)
	if err != nil {
		return "", StoredToken{}, err
	}
	if err := clients.InsertClient(ctx, t, accessEvent("scim.client.create", t)); err != nil {
		return "", StoredToken{}, fmt.Errorf("scim: create client: %w", err)
	}
	return clientSecret, t, nil
}

func newStored(id string, hash secret.Hash, connection, name, creator string, expires time.Time) (StoredToken, error) {
	if connection == "" {
		return StoredToken{}, fmt.Errorf("%w: no connection named", ErrInvalidToken)
	}
	t, err := bearer.Keep(id, hash, name, creator, expires)
	if err != nil {
		return StoredToken{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return StoredToken{Stored: t, Connection: connection}, nil
}

func accessEvent(kind string, t StoredToken) audit.Event {
	return audit.Event{
		Kind: kind, Outcome: audit.Allowed, Actor: t.Creator, Target: t.Connection,
		Detail: map[string]string{"name": t.Name, "id": t.ID},
	}
}
