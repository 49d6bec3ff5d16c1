package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/store/sql"
)

// ProviderAdmin lists identity providers, decides what has changed in their metadata
// (metadata_url without auto_accept), and replaces our keys towards them.
type ProviderAdmin interface {
	// List answers those of the config file and those that were published, in that order.
	List(ctx context.Context) ([]ProviderInfo, error)
	// Changes are those that wait, in the order of List.
	Changes(ctx context.Context) ([]saml.Change, error)
	// Decide approves or rejects the one of this digest. When it returns without an
	// error every node acts by it.
	Decide(ctx context.Context, d ChangeDecision) error
	// SPKeys shows our keys towards a SAML provider after a step of replacing them. A
	// step out of turn is an error that says which one is next.
	SPKeys(ctx context.Context, c SPKeyChange) ([]SPKeyInfo, error)
}

// Where a provider is declared.
const (
	FromFile  = "config file"
	FromSaved = "saved"
)

// States of a [ProviderInfo].
const (
	StateActive   = "active"
	StateOff      = "off"
	StateShadowed = "shadowed" // saved, and not used: the config file declares one of the same id
)

// ProviderInfo is one provider for people.
type ProviderInfo struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Protocol settings.Protocol `json:"protocol"`
	Preset   settings.Preset   `json:"preset,omitempty"`
	Join     member.Join       `json:"join"`
	Domains  []string          `json:"domains,omitempty"`
	From     string            `json:"from"`
	State    string            `json:"state"`
	Pending  string            `json:"pending,omitempty"` // digest of changed metadata that waits for approval
}

// ChangeDecision is an operator's word on a change.
type ChangeDecision struct {
	Actor    string `json:"actor"`
	Provider string `json:"provider"`
	Digest   string `json:"digest"`
	Approve  bool   `json:"approve"`
}

var (
	askProviders = endpoint[none, []ProviderInfo]{"/providers/list"}
	askChanges   = endpoint[none, []saml.Change]{"/providers/changes"}
	askDecide    = endpoint[ChangeDecision, none]{"/providers/decide"}
)

func (c *Control) serveProviders(mux *http.ServeMux) {
	askProviders.serve(mux, func(ctx context.Context, _ none) ([]ProviderInfo, error) { return c.Providers.List(ctx) })
	askChanges.serve(mux, func(ctx context.Context, _ none) ([]saml.Change, error) { return c.Providers.Changes(ctx) })
	askDecide.serve(mux, func(ctx context.Context, d ChangeDecision) (none, error) { return none{}, c.Providers.Decide(ctx, d) })
}

// storedProviders works on the database.
type storedProviders struct {
	cfg *config.Config
	db  *sql.DB
	dir *member.Directory
	now clock.Func

	sealer   *secret.Sealer
	versions *settings.Manager
}

func (p storedProviders) List(ctx context.Context) ([]ProviderInfo, error) {
	file, err := p.versions.File()
	if err != nil {
		return nil, err
	}
	v, err := p.versions.Current(ctx)
	if err != nil {
		return nil, err
	}
	out := []ProviderInfo{} // also as JSON a list, not null
	add := func(s settings.Provider, from, state string) error {
		i := ProviderInfo{
			ID: s.ID, Name: s.Name, Protocol: s.Protocol, Preset: s.Preset, Join: s.Join, Domains: s.Domains,
			From: from, State: state,
		}
		if s.SAML.MetadataURL != "" && state != StateShadowed {
			change, err := saml.Pending(ctx, p.db, s.ID)
			if err != nil {
				return fmt.Errorf("provider %s: %w", s.ID, err)
			}
			if change != nil {
				i.Pending = change.Digest
			}
		}
		out = append(out, i)
		return nil
	}
	for _, s := range file {
		if err := add(s, FromFile, StateActive); err != nil {
			return nil, err
		}
	}
	for _, s := range v.Stored.Providers {
		state := StateActive
		switch {
		case slices.ContainsFunc(file, func(f settings.Provider) bool { return f.ID == s.ID }):
			state = StateShadowed
		case !s.Active:
			state = StateOff
		}
		if err := add(s, FromSaved, state); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p storedProviders) Changes(ctx context.Context) ([]saml.Change, error) {
	list, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []saml.Change{}
	for _, i := range list {
		if i.Pending == "" {
			continue
		}
		change, err := saml.Pending(ctx, p.db, i.ID)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", i.ID, err)
		}
		if change != nil {
			out = append(out, *change)
		}
	}
	return out, nil
}

// saml refuses an id that no SAML provider has: a key would be made for nobody.
func (p storedProviders) saml(ctx context.Context, id string) error {
	list, err := p.List(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, i := range list {
		if i.Protocol != settings.SAML || i.State == StateShadowed {
			continue
		}
		if i.ID == id {
			return nil
		}
		ids = append(ids, i.ID)
	}
	return fmt.Errorf("no SAML provider %q is configured or published; there are %q", id, ids)
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

func (p remoteProviders) List(ctx context.Context) ([]ProviderInfo, error) {
	return askProviders.ask(ctx, p.client, none{})
}

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
