package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/store/sql"
)

// OwnerAdmin makes and repairs fallback owners.
type OwnerAdmin interface {
	// Create makes one, with the link by which he sets his password.
	Create(ctx context.Context, o NewOwner) (OwnerLink, error)
	// Recover makes a new link for one, whatever was done to him.
	Recover(ctx context.Context, o NewOwner) (OwnerLink, error)
	// Codes exchanges his recovery codes.
	Codes(ctx context.Context, o NewOwner) ([]string, error)
}

// NewOwner names a fallback owner.
type NewOwner struct {
	Actor       string `json:"actor"`
	UserName    string `json:"user_name"`
	DisplayName string `json:"display_name,omitempty"`
	Email       string `json:"email,omitempty"`
}

// OwnerLink is a one-time link. Whoever opens it becomes the owner: it is a secret.
type OwnerLink struct {
	URL      string    `json:"url"`
	UserName string    `json:"user_name"`
	Expires  time.Time `json:"expires"`
}

var (
	askOwnerCreate  = endpoint[NewOwner, OwnerLink]{"/owners/create"}
	askOwnerRecover = endpoint[NewOwner, OwnerLink]{"/owners/recover"}
	askOwnerCodes   = endpoint[NewOwner, []string]{"/owners/codes"}
)

func (c *Control) serveOwners(mux *http.ServeMux) {
	askOwnerCreate.serve(mux, c.Owners.Create)
	askOwnerRecover.serve(mux, c.Owners.Recover)
	askOwnerCodes.serve(mux, c.Owners.Codes)
}

// storedOwners works on the database.
type storedOwners struct {
	cfg *config.Config
	db  *sql.DB
	dir *member.Directory
	now func() time.Time
}

func (s storedOwners) Create(ctx context.Context, o NewOwner) (OwnerLink, error) {
	by := member.Actor{Name: o.Actor}
	m, err := s.dir.CreateFallbackOwner(ctx, by, member.Member{UserName: o.UserName, DisplayName: o.DisplayName, Email: o.Email})
	if errors.Is(err, member.ErrConflict) {
		return OwnerLink{}, fmt.Errorf("somebody is called %q already; if that is a fallback owner who cannot get in, use \"ssogate owner recover\"", o.UserName)
	}
	if err != nil {
		return OwnerLink{}, err
	}
	return s.link(ctx, by, m)
}

func (s storedOwners) Recover(ctx context.Context, o NewOwner) (OwnerLink, error) {
	by := member.Actor{Name: o.Actor}
	m, err := s.dir.RestoreFallbackOwner(ctx, by, o.UserName)
	if err != nil {
		return OwnerLink{}, notOwner(err, o.UserName)
	}
	return s.link(ctx, by, m)
}

func (s storedOwners) Codes(ctx context.Context, o NewOwner) ([]string, error) {
	by := member.Actor{Name: o.Actor}
	m, err := s.dir.RestoreFallbackOwner(ctx, by, o.UserName)
	if err != nil {
		return nil, notOwner(err, o.UserName)
	}
	codes, err := local.NewCodes(ctx, s.db, by, m.ID)
	if errors.Is(err, member.ErrNotFound) {
		return nil, fmt.Errorf("%s has set no password yet; \"ssogate owner recover\" makes a link to set one, and shows codes", m.UserName)
	}
	return codes, err
}

func notOwner(err error, name string) error {
	switch {
	case errors.Is(err, member.ErrNotFound):
		return fmt.Errorf("nobody is called %q; \"ssogate owner create\" makes a fallback owner", name)
	case errors.Is(err, member.ErrNotFallback):
		return fmt.Errorf("%q is a member, not a fallback owner; make one under another name with \"ssogate owner create\"", name)
	}
	return err
}

func (s storedOwners) link(ctx context.Context, by member.Actor, m member.Member) (OwnerLink, error) {
	token, l, err := local.NewLink(ctx, s.db, by, m.ID, local.Setup, s.now())
	if err != nil {
		return OwnerLink{}, err
	}
	return OwnerLink{URL: s.cfg.URL + local.SetupPath + token, UserName: m.UserName, Expires: l.Expires}, nil
}

// remoteOwners asks the running process.
type remoteOwners struct{ client *http.Client }

func (r remoteOwners) Create(ctx context.Context, o NewOwner) (OwnerLink, error) {
	return askOwnerCreate.ask(ctx, r.client, o)
}

func (r remoteOwners) Recover(ctx context.Context, o NewOwner) (OwnerLink, error) {
	return askOwnerRecover.ask(ctx, r.client, o)
}

func (r remoteOwners) Codes(ctx context.Context, o NewOwner) ([]string, error) {
	return askOwnerCodes.ask(ctx, r.client, o)
}

// Interface guards.
var (
	_ OwnerAdmin = storedOwners{}
	_ OwnerAdmin = remoteOwners{}
)
