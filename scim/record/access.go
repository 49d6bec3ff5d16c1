package record

import (
	"context"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
)

// StoredToken is a bearer token, or an OAuth 2.0 client with its secret, made by
// the CLI or console.
type StoredToken struct {
	bearer.Stored // ID: of a client its client_id

	Connection string
}

// Tokens keeps bearer tokens. Each change is written together with its audit
// event, or not at all. store/sql is the real one.
type Tokens interface {
	Token(ctx context.Context, hash string) (StoredToken, error) // member.ErrNotFound
	ListTokens(ctx context.Context, connection string) ([]StoredToken, error)
	InsertToken(ctx context.Context, t StoredToken, e audit.Event) error       // member.ErrConflict
	RevokeToken(ctx context.Context, id string, e audit.Event) error           // member.ErrNotFound
	UsedToken(ctx context.Context, id string, at time.Time, addr string) error // at most once a minute per token
}

// Clients keeps OAuth 2.0 clients, as [Tokens] keeps tokens.
type Clients interface {
	Client(ctx context.Context, id string) (StoredToken, error) // member.ErrNotFound
	ListClients(ctx context.Context, connection string) ([]StoredToken, error)
	InsertClient(ctx context.Context, c StoredToken, e audit.Event) error
	RevokeClient(ctx context.Context, id string, e audit.Event) error
	UsedClient(ctx context.Context, id string, at time.Time, addr string) error
}

// Pause is a connection whose requests are answered 503 until somebody resumes
// it. The zero value is a connection that works.
type Pause struct {
	Connection string
	Since      time.Time
	Actor      string
	Reason     string
}

// Pauses says which connections are paused; every node reads the same answer at
// the next request. Changes are written together with their audit event.
type Pauses interface {
	Paused(ctx context.Context, connection string) (Pause, error)       // zero when it is not
	Pause(ctx context.Context, p Pause, e audit.Event) error            // keeps an earlier pause
	Resume(ctx context.Context, connection string, e audit.Event) error // member.ErrNotFound when it is not paused
}

// Access is everything about who may provision at this moment.
type Access interface {
	Tokens
	Clients
	Pauses
}
