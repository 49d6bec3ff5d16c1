package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/store/sql"
)

// ProviderAdmin shows and decides what has changed in the metadata of identity
// providers (metadata_url without auto_accept).
type ProviderAdmin interface {
	// Changes are those that wait, in the order of the config file.
	Changes(ctx context.Context) ([]saml.Change, error)
	// Decide approves or rejects the one of this digest. When it returns without an
	// error every node acts by it.
	Decide(ctx context.Context, d ChangeDecision) error
	// SPKeys shows our keys towards a SAML provider after a step of replacing them. A
	// step out of turn is an error that says which one is next.
	SPKeys(ctx context.Context, c SPKeyChange) ([]SPKeyInfo, error)
}

// ChangeDecision is an operator's word on a change.
type ChangeDecision struct {
	Actor    string `json:"actor"`
	Provider string `json:"provider"`
	Digest   string `json:"digest"`
	Approve  bool   `json:"approve"`
}

var (
	askChanges = endpoint[none, []saml.Change]{"/providers/changes"}
	askDecide  = endpoint[ChangeDecision, none]{"/providers/decide"}
)

func (c *Control) serveProviders(mux *http.ServeMux) {
	askChanges.serve(mux, func(ctx context.Context, _ none) ([]saml.Change, error) { return c.Providers.Changes(ctx) })
	askDecide.serve(mux, func(ctx context.Context, d ChangeDecision) (none, error) { return none{}, c.Providers.Decide(ctx, d) })
}

// storedProviders works on the database.
type storedProviders struct {
	cfg *config.Config
	db  *sql.DB
	dir *member.Directory
	now clock.Func

	sealer *secret.Sealer
}

func (p storedProviders) Changes(ctx context.Context) ([]saml.Change, error) {
	out := []saml.Change{} // also as JSON a list, not null
	for _, c := range p.cfg.Providers {
		if c.MetadataURL == "" {
			continue
		}
		change, err := saml.Pending(ctx, p.db, c.ID)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", c.ID, err)
		}
		if change != nil {
			out = append(out, *change)
		}
	}
	return out, nil
}

func (p storedProviders) Decide(ctx context.Context, d ChangeDecision) error {
	by := member.Actor{Name: d.Actor}
	decide := saml.Reject
	if d.Approve {
		decide = saml.Approve
	}
	if err := decide(ctx, p.db, by, d.Provider, d.Digest, p.now()); err != nil {
		return err
	}
	if err := p.dir.Reload(ctx, by, member.ReloadMetadata, "provider "+d.Provider); errors.Is(err, session.ErrBarrier) {
		return fmt.Errorf("it is decided, but not every node has confirmed that in time; the others follow at their next refresh, within the hour (%w)", err)
	} else if err != nil {
		return fmt.Errorf("it is decided, but the nodes could not be told; they follow at their next refresh, within the hour: %w", err)
	}
	return nil
}

// remoteProviders asks the running process.
type remoteProviders struct{ client *http.Client }

func (p remoteProviders) Changes(ctx context.Context) ([]saml.Change, error) {
	return askChanges.ask(ctx, p.client, none{})
}

func (p remoteProviders) Decide(ctx context.Context, d ChangeDecision) error {
	_, err := askDecide.ask(ctx, p.client, d)
	return err
}

// Interface guards.
var (
	_ ProviderAdmin = storedProviders{}
	_ ProviderAdmin = remoteProviders{}
	_ saml.Store    = (*sql.DB)(nil)
)
