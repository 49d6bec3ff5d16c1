package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/store/sql"
)

const (
	// fallbackLife is how long a fallback owner has to mend what is broken.
	fallbackLife = 30 * time.Minute
	// keepAttempts outlives the window in which failures count, and tells late clickers
	// of a link the same as early ones.
	keepAttempts = 2 * time.Hour
)

// makeLocal makes the sign-in without identity providers. Everything it needs is in
// SQL: it works while identity providers, Redis and mail are down (G5).
func (s *Server) makeLocal(ctx context.Context) (err error) {
	if err := s.warnWithoutFallback(ctx); err != nil {
		return err
	}
	sessions := s.db.Sessions(s.now, nil)
	s.fallback, err = session.NewManager(session.ManagerOptions{
		Store: sessions, Directory: s.directory, Cookies: s.cookies, Cutoff: s.cutoff, Now: s.now, Fallback: true,
		Settings: heldSettings{s}, Limits: session.Limits{Idle: fallbackLife, Absolute: fallbackLife},
		ProviderActive: func(string) bool { return true },
	})
	if err != nil {
		return err
	}
	o := local.Options{Store: s.db, Directory: s.directory, Sealer: s.sealer, Audit: s.db, Now: s.now, Log: s.log}
	if s.cfg.Mail.Server != "" {
		o.Notices = localNotices{cfg: s.cfg, db: s.db, sealer: s.sealer, now: s.now}
	}
	if s.local, err = local.New(o); err != nil {
		return err
	}
	// No RunTouches: it would sweep the principals of everybody else from the cache that
	// both managers share, and their idle limit is their absolute one anyway.
	s.background = append(s.background, s.local.Run)
	s.sweepers = append(s.sweepers, sessions.Sweep, func(ctx context.Context) error {
		return s.db.SweepLocal(ctx, s.now().Add(-keepAttempts))
	})
	return nil
}

// warnWithoutFallback tells the operator that an identity provider which cannot be used
// would lock everybody out of the console.
func (s *Server) warnWithoutFallback(ctx context.Context) error {
	if !s.settings.Load().RequireSSO {
		return nil
	}
	return s.db.ViewSettings(ctx, func(tx settings.Tx) error {
		found, err := tx.FallbackOwner()
		if err == nil && !found {
			s.log.Warn("Require SSO is on and no fallback owner can get in: run \"ssogate owner create\"")
		}
		return err
	})
}

// providerActive reports whether sessions made through a provider count. Those by a
// password do while Require SSO is off.
func (s *Server) providerActive(id string) bool {
	live := s.settings.Load()
	if id == session.PasswordProvider {
		return !live.RequireSSO
	}
	_, ok := live.Provider(id)
	return ok
}

// serveLocal serves the pages of the sign-in without identity providers, and the
// sign-out of those who came in by one.
func (s *Server) serveLocal(mux *http.ServeMux) error {
	pages, err := local.NewPages(local.PageOptions{
		Service: s.local, Fallback: s.fallback, Members: gatewaySessions{s.manager, s.fallback}, Live: s.settings, Console: "/me", Log: s.log,
	})
	if err != nil {
		return err
	}
	for _, path := range []string{local.SetupPath, local.FallbackPath, local.ResetPath, local.OwnPath} {
		mux.Handle(path, pages)
	}
	mux.Handle("POST /logout", pages.SignOut(s.flow.Gateway()))
	return nil
}

// gatewaySessions are all sessions of the gateway origin: the usual ones, and those of
// fallback owners, which are kept in SQL whatever keeps the others.
type gatewaySessions struct{ usual, fallback *session.Manager }

// AdmitGateway implements console.Sessions. A fallback owner has signed in as one on
// purpose: his session goes first.
func (g gatewaySessions) AdmitGateway(ctx context.Context, r *http.Request) (*session.Principal, error) {
	if p, err := g.fallback.AdmitGateway(ctx, r); err == nil || session.Reason(err) == "store_unavailable" {
		return p, err
	}
	return g.usual.AdmitGateway(ctx, r)
}

// Sessions implements console.Sessions. Where SQL keeps them all the usual list has
// them already. A fallback owner has no others, so while Redis is down he sees his own.
func (g gatewaySessions) Sessions(ctx context.Context, id member.ID) ([]session.Record, error) {
	own, err := g.fallback.Sessions(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := g.usual.Sessions(ctx, id)
	if err != nil && len(own) > 0 {
		return own, nil
	}
	for _, r := range own {
		if !has(list, r) {
			list = append(list, r)
		}
	}
	return list, err
}

func has(list []session.Record, r session.Record) bool {
	for _, l := range list {
		if l.Hash == r.Hash {
			return true
		}
	}
	return false
}

// EndOne implements console.Sessions.
func (g gatewaySessions) EndOne(ctx context.Context, by member.Actor, id member.ID, handle, reason string) (session.Record, error) {
	r, err := g.fallback.EndOne(ctx, by, id, handle, reason)
	if errors.Is(err, session.ErrNotFound) {
		return g.usual.EndOne(ctx, by, id, handle, reason)
	}
	return r, err
}

// EndAll implements console.Sessions: the member's epoch ends them, wherever they are kept.
func (g gatewaySessions) EndAll(ctx context.Context, by member.Actor, id member.ID, reason string) error {
	return g.usual.EndAll(ctx, by, id, reason)
}

// localNotices queue letters about local sign-ins.
type localNotices struct {
	cfg    *config.Config
	db     *sql.DB
	sealer *secret.Sealer
	now    func() time.Time
}

func (n localNotices) queue(ctx context.Context, to member.Member, l mail.Notice) error {
	if mail.Address(to.Email) != nil {
		return nil //nolint:nilerr // a label that is no address: nobody can be written to
	}
	l.Kind, l.To, l.Support = mail.KindNotice, to.Email, n.cfg.Organization.Support
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("run: notice: %w", err)
	}
	id := secret.NewToken()
	return n.db.Queue(ctx, member.Mail{ID: id, Member: to.ID, Sealed: n.sealer.Seal(b, mail.SealContext(id)), Created: n.now().UTC()})
}

// FallbackUsed implements local.Notices.
func (n localNotices) FallbackUsed(ctx context.Context, to member.Member, u local.Use) error {
	return n.queue(ctx, to, mail.Notice{
		Subject: "A fallback owner signed in to " + n.cfg.Organization.Name,
		Paragraphs: []string{
			u.UserName + " signed in to " + n.cfg.URL + " as fallback owner on " + u.At.UTC().Format("2 January 2006 at 15:04 UTC") + ", from the address " + u.Address + ".",
			"If you know of it, nothing needs to be done. If not, end that session and run \"ssogate owner recover\" on the host at once.",
		},
		After: []string{"Reference " + u.RequestID + "."},
	})
}

// FallbackGuessed implements local.Notices.
func (n localNotices) FallbackGuessed(ctx context.Context, to member.Member, userName, address string) error {
	return n.queue(ctx, to, mail.Notice{
		Subject: "Somebody is guessing at a fallback owner of " + n.cfg.Organization.Name,
		Paragraphs: []string{
			"There were many wrong attempts to sign in to " + n.cfg.URL + " as " + userName + ", the last one from the address " + address + ". They are slowed down; nobody is locked out.",
			"If that was you and you cannot get in, run \"ssogate owner recover\" on the host.",
		},
	})
}

// ResetLink implements local.Notices.
func (n localNotices) ResetLink(ctx context.Context, to member.Member, token string, until time.Time) error {
	return n.queue(ctx, to, mail.Notice{
		Subject:    "Set a new password for " + n.cfg.Organization.Name,
		Paragraphs: []string{"Somebody, you probably, asked for a new password. To set one, open this link:"},
		Link:       n.cfg.URL + local.SetupPath + token,
		After:      []string{"It works once, until " + until.UTC().Format("15:04 UTC") + ". If you did not ask, you need not do anything: your password is as it was."},
	})
}
