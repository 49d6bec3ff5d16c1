package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/store/sql"
)

func assertionRing(db *sql.DB, sealer *secret.Sealer, now clock.Func) *assertion.Ring {
	return &assertion.Ring{Store: db, Sealer: sealer, Now: now}
}

// makeAssertions makes the keys that the routes ask for, before any request can.
func (s *Server) makeAssertions(ctx context.Context) error {
	s.signing = assertionRing(s.db, s.sealer, s.now)
	s.sweepers = append(s.sweepers, func(ctx context.Context) error {
		n, err := s.signing.Prune(ctx)
		if n > 0 {
			s.log.Info("keys of assertions are gone: whatever was signed with them is over", "keys", n)
		}
		return err
	})
	return s.signing.Ensure(ctx, s.routes.Algorithms()...)
}

// AssertionAdmin lists and rotates the keys that sign what applications are told.
type AssertionAdmin interface {
	List(ctx context.Context) ([]assertion.Info, error)
	Rotate(ctx context.Context, r assertion.Rotation) (assertion.Info, error)
}

var (
	askAssertionKeys   = endpoint[none, []assertion.Info]{"/keys/assertion/list"}
	askAssertionRotate = endpoint[assertion.Rotation, assertion.Info]{"/keys/assertion/rotate"}
)

func (c *Control) serveAssertions(mux *http.ServeMux) {
	askAssertionKeys.serve(mux, func(ctx context.Context, _ none) ([]assertion.Info, error) { return c.Signing.List(ctx) })
	askAssertionRotate.serve(mux, c.Signing.Rotate)
}

// storedAssertions works on the database.
type storedAssertions struct {
	*assertion.Ring
	nodes member.Revoker
}

// Rotate implements AssertionAdmin.
func (a storedAssertions) Rotate(ctx context.Context, r assertion.Rotation) (assertion.Info, error) {
	made, seq, err := a.Ring.Rotate(ctx, r)
	if errors.Is(err, member.ErrVersion) {
		return assertion.Info{}, errors.New("somebody else has changed the keys in this moment: look at them and try again")
	}
	if err != nil {
		return assertion.Info{}, err
	}
	switch err := a.nodes.Barrier(ctx, seq); {
	case errors.Is(err, session.ErrBarrier):
		return assertion.Info{}, fmt.Errorf("it is done, but not every node has confirmed that in time; nothing more needs to be done (%w)", err)
	case err != nil:
		return assertion.Info{}, err
	}
	return made, nil
}

// remoteAssertions asks the running process.
type remoteAssertions struct{ client *http.Client }

// List implements AssertionAdmin.
func (a remoteAssertions) List(ctx context.Context) ([]assertion.Info, error) {
	return askAssertionKeys.ask(ctx, a.client, none{})
}

// Rotate implements AssertionAdmin.
func (a remoteAssertions) Rotate(ctx context.Context, r assertion.Rotation) (assertion.Info, error) {
	return askAssertionRotate.ask(ctx, a.client, r)
}

// AssertionAdmin acts on this process's keys, as the control socket does.
func (s *Server) AssertionAdmin() AssertionAdmin { return storedAssertions{s.signing, s.cutoff} }

// Interface guards.
var (
	_ AssertionAdmin = storedAssertions{}
	_ AssertionAdmin = remoteAssertions{}
)
