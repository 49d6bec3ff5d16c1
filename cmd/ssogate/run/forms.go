package run

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/sso"
)

// forms keeps forms of the gate beside pending sign-ins, within a budget of their own.
type forms struct{ pending sso.Pending }

func formKey(id secret.Hash) sso.Key { return sso.Key{Kind: sso.KindForm, Hash: id} }

// Put implements proxy.FormStore.
func (f forms) Put(ctx context.Context, id secret.Hash, value []byte, until time.Time) error {
	return f.pending.Put(ctx, formKey(id), value, until)
}

// Get implements proxy.FormStore.
func (f forms) Get(ctx context.Context, id secret.Hash) ([]byte, error) {
	v, err := f.pending.Get(ctx, formKey(id))
	if errors.Is(err, sso.ErrNoRecord) {
		return nil, proxy.ErrNoForm
	}
	return v, err
}

// Take implements proxy.FormStore.
func (f forms) Take(ctx context.Context, id secret.Hash) ([]byte, error) {
	vs, err := f.pending.Take(ctx, formKey(id))
	switch {
	case errors.Is(err, sso.ErrNoRecord):
		return nil, proxy.ErrNoForm
	case err != nil:
		return nil, err
	}
	return vs[0], nil
}

// remember tells the session store whether some route needs to know of sessions that
// ran out. SQL keeps them anyway.
func (s *Server) remember(c *config.Config) {
	if s.sessions.remember != nil {
		s.sessions.remember(slices.ContainsFunc(c.Routes, func(r config.Route) bool { return r.KeepPosts }))
	}
}

var _ proxy.FormStore = forms{}
