package local

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Directory knows who is who. *member.Directory is the real one.
type Directory interface {
	Lookup(ctx context.Context, userName string) (member.Member, error)
	Snapshot(ctx context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error)
	AdmitLocal(ctx context.Context, m member.Member) (member.Member, error)
	EndSessions(ctx context.Context, by member.Actor, id member.ID, reason string) error
}

// Notices tell people of what happened. They queue, and never wait for a mail server.
type Notices interface {
	// FallbackUsed tells an owner that a fallback owner got in.
	FallbackUsed(ctx context.Context, to member.Member, u Use) error
	// FallbackGuessed tells an owner that somebody keeps guessing at a fallback owner.
	FallbackGuessed(ctx context.Context, to member.Member, userName, address string) error
	// ResetLink sends a member the link by which he sets a new password.
	ResetLink(ctx context.Context, to member.Member, token string, until time.Time) error
}

// Options are what a Service works with. All are required except Notices, Now, Log
// and Params.
type Options struct {
	Store     Store
	Directory Directory
	Sealer    *secret.Sealer
	Audit     audit.Recorder
	Notices   Notices // nil: nobody can be written to
	Now       clock.Func
	Log       *slog.Logger
	Params    *argon2id.Params // cost of a hash; nil is the usual one, tests are in a hurry
}

// Service checks and sets local credentials. Safe for concurrent use.
type Service struct {
	Options
	hasher *hasher
	resets chan reset
}

// New makes a Service.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Directory == nil || o.Sealer == nil || o.Audit == nil {
		return nil, errors.New("local: service needs store, directory, sealer and audit")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o, newHasher(o.Params), make(chan reset, maxResets)}, nil
}

// Client is where a request comes from.
type Client struct {
	Address   netip.Addr
	RequestID string
}

func (c Client) address() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

func (s *Service) event(kind string, o audit.Outcome, actor string, id member.ID, c Client) audit.Event {
	e := audit.Event{Time: s.Now().UTC(), Kind: kind, Outcome: o, Actor: actor, RequestID: c.RequestID, Address: c.address()}
	if id != "" {
		e.Target = "member:" + string(id)
	}
	return e
}

// Lives of one-time links.
const (
	SetupLife = 24 * time.Hour
	ResetLife = time.Hour
)

// NewLink makes a one-time link for a member and answers its token, which goes into
// the link and nowhere else. Links of the same purpose that he has end.
func NewLink(ctx context.Context, links Links, by member.Actor, id member.ID, p Purpose, now time.Time) (token string, l Link, err error) {
	life := SetupLife
	if p == Reset {
		life = ResetLife
	}
	token = secret.NewToken()
	now = now.UTC().Truncate(time.Millisecond)
	l = Link{Hash: secret.Sum(token).String(), Member: id, Purpose: p, Created: now, Expires: now.Add(life)}
	e := audit.Event{
		Kind: "credential.link", Outcome: audit.Allowed, Actor: by.Name, Target: "member:" + string(id), RequestID: by.RequestID, Address: by.Address,
		Reason: string(p),
	}
	if err := links.InsertLink(ctx, l, e); err != nil {
		return "", Link{}, err
	}
	return token, l, nil
}

// NewCodes exchanges the recovery codes of a member who has a password, and answers
// the new ones, which can be shown this once: member.ErrNotFound.
func NewCodes(ctx context.Context, store Codes, by member.Actor, id member.ID) ([]string, error) {
	codes, hashes := newCodes(id)
	e := audit.Event{Kind: "credential.codes", Outcome: audit.Allowed, Actor: by.Name, Target: "member:" + string(id), RequestID: by.RequestID, Address: by.Address}
	if err := store.ReplaceCodes(ctx, id, hashes, e); err != nil {
		return nil, err
	}
	return codes, nil
}

// Bearer is whom a link is for: [ErrLink] also where he cannot use it (any more).
func (s *Service) Bearer(ctx context.Context, token string) (Link, member.Member, error) {
	if token == "" || len(token) > maxToken {
		return Link{}, member.Member{}, ErrLink
	}
	l, err := s.Store.Link(ctx, secret.Sum(token).String(), s.Now())
	if err != nil {
		return Link{}, member.Member{}, err
	}
	snap, err := s.Directory.Snapshot(ctx, l.Member, member.SessionRef{})
	switch {
	case errors.Is(err, member.ErrNotFound):
		return Link{}, member.Member{}, ErrLink
	case err != nil:
		return Link{}, member.Member{}, err
	}
	m := snap.Member
	if !m.Admitted() || m.Fallback != (l.Purpose == Setup) {
		return Link{}, member.Member{}, ErrLink
	}
	return l, m, nil
}

// maxToken bounds a token in a path; ours have 43 characters.
const maxToken = 64

// Choice is what somebody with a link wants to sign in with.
type Choice struct {
	Password string
	TOTP     string // secret of the authenticator app, or ""
	Code     string // one of its codes, which shows that the app has the secret
}

// ErrCode means a code that does not fit the authenticator app's secret.
var ErrCode = errors.New("local: wrong code")

// Set sets what the bearer of a link chose, uses the link up, and signs him out
// everywhere. For a fallback owner it answers his recovery codes, this once. Errors:
// [ErrLink], *[WeakError], [ErrCode], [ErrBusy].
func (s *Service) Set(ctx context.Context, token string, c Choice, from Client) (codes []string, err error) {
	l, m, err := s.Bearer(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := CheckPassword(c.Password, m); err != nil {
		return nil, err
	}
	now := s.Now().UTC().Truncate(time.Millisecond)
	set := Setting{Credential: Credential{Member: m.ID, Updated: now}, Link: l.Hash}
	if l.Purpose == Setup {
		if c.TOTP != "" && c.Code != "" {
			step, ok := totpStep(c.TOTP, c.Code, now, 0)
			if !ok {
				return nil, ErrCode
			}
			set.Step, set.TOTP = step, s.Sealer.Seal([]byte(c.TOTP), SealContext(m.ID))
		}
		codes, set.Codes = newCodes(m.ID)
	}
	if set.Password, err = s.hasher.hash(ctx, c.Password); err != nil {
		return nil, err
	}
	actor := "member:" + string(m.ID)
	e := s.event("credential.set", audit.Allowed, actor, m.ID, from)
	e.Reason = string(l.Purpose)
	if err := s.Store.SetCredential(ctx, set, e); err != nil {
		return nil, err
	}
	// Whoever had a session by the old password has none by the new one. It is set
	// already: what fails here is told to the operator, and a link is not used up in vain.
	by := member.Actor{Name: actor, RequestID: from.RequestID, Address: from.address()}
	if err := s.Directory.EndSessions(ctx, by, m.ID, "password_set"); err != nil {
		s.Log.ErrorContext(ctx, "a password was set, but sessions made before could not be confirmed as ended", "member", m.ID, "err", err)
	}
	return codes, nil
}
