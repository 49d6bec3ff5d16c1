package scim

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ssogate/ssogate/internal/secret"
)

// tokenPrefix makes a leaked token recognizable to secret scanners and to the
// person who finds it in a log.
const (
	tokenPrefix = "ssogate_scim_"       //nolint:gosec // a label, not a credential
	tokenLength = len(tokenPrefix) + 43 // 256 bits in base64url
)

// ErrInvalidToken means a token cannot be made as asked: the message says why.
var ErrInvalidToken = errors.New("scim: token")

// CreateToken makes a bearer token of 256 random bits for a connection and
// keeps its hash. The token itself is returned once and cannot be had again.
// Several may be live at once, so that rotation never interrupts the IdP. A
// zero expires never ends; the caller checks that the connection exists.
// Errors wrap [ErrInvalidToken] or come from the store.
func CreateToken(ctx context.Context, tokens Tokens, connection, name, creator string, expires time.Time) (string, StoredToken, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	switch {
	case connection == "":
		return "", StoredToken{}, fmt.Errorf("%w: no connection named", ErrInvalidToken)
	case name == "" || utf8.RuneCountInString(name) > 100 || !printable(name):
		return "", StoredToken{}, fmt.Errorf("%w: the name must be 1 to 100 printable characters", ErrInvalidToken)
	case !expires.IsZero() && !expires.After(now):
		return "", StoredToken{}, fmt.Errorf("%w: it would already have expired", ErrInvalidToken)
	}
	token := tokenPrefix + secret.NewToken()
	hash := secret.Sum(token)
	t := StoredToken{
		// Part of the hash: unique, and tells nothing of the token.
		ID:         hash.String()[:16],
		Connection: connection,
		Name:       name,
		Hash:       hash.String(),
		Created:    now,
		Creator:    creator,
		Expires:    expires,
	}
	if err := tokens.InsertToken(ctx, t); err != nil {
		return "", StoredToken{}, fmt.Errorf("scim: create token: %w", err)
	}
	return token, t, nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}
