package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// ErrWrong is the one answer to wrong credentials: nobody learns by it which part was
// wrong, or who there is.
var ErrWrong = errors.New("local: wrong user name, password or code")

// maxUser bounds a user name that is typed in.
const maxUser = member.MaxUserName

// guess is one sign-in as it was typed in, with what is known of whom it names. The
// same reads are made for nobody as for somebody.
type guess struct {
	member member.Member
	cred   Credential
	known  bool
	holds  bool // he has shown one of his recovery codes
	user   string
	from   Client
}

func (s *Service) guessed(ctx context.Context, user string, from Client, fits func(member.Member) bool) (guess, error) {
	g := guess{user: user, from: from}
	if len(user) > maxUser {
		g.user = ""
	}
	m, err := s.Directory.Lookup(ctx, g.user)
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		return g, fmt.Errorf("local: look up: %w", err)
	}
	if err == nil && m.Admitted() && fits(m) {
		g.member, g.known = m, true
	}
	g.cred, err = s.Store.Credential(ctx, g.member.ID)
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		return g, fmt.Errorf("local: read: %w", err)
	}
	return g, nil
}

// compare counts the guess and compares the password. An error of the limiter or of
// the store is no failure of the person's.
func (s *Service) compare(ctx context.Context, g guess, names []string, password string) (*attempt, bool, error) {
	a, err := s.begin(ctx, names)
	if err != nil {
		return nil, false, err
	}
	phc := ""
	if g.known {
		phc = g.cred.Password
	}
	ok, err := s.hasher.matches(ctx, password, phc, g.holds)
	if err != nil {
		return nil, false, errors.Join(err, s.forgive(context.WithoutCancel(ctx), a, false))
	}
	return a, ok, nil
}

// refuse records a wrong guess. Only those that were compared are recorded, which the
// limiter has slowed: nobody fills the audit log.
func (s *Service) refuse(ctx context.Context, kind string, g guess, why string) error {
	e := s.event(kind, audit.Denied, "anonymous", g.member.ID, g.from)
	e.Reason = why
	if err := s.Audit.Record(ctx, e); err != nil {
		s.Log.ErrorContext(ctx, "audit event lost", "kind", e.Kind, "request", e.RequestID, "err", err)
	}
	return ErrWrong
}

// SignInFallback lets a fallback owner in who shows his password and one code, of his
// authenticator app or of his recovery codes. It needs SQL and nothing else. Errors:
// [ErrWrong], *[SlowError], [ErrBusy]; any other means that it cannot be told now.
func (s *Service) SignInFallback(ctx context.Context, user, password, code string, from Client) (member.Member, error) {
	g, err := s.guessed(ctx, user, from, func(m member.Member) bool { return m.Fallback && m.Role == member.RoleOwner })
	if err != nil {
		return member.Member{}, err
	}
	r := Redemption{Member: g.member.ID, Password: g.cred.Password, Code: codeHash(g.member.ID, code)}
	r.Use = Use{
		ID: secret.NewToken(), Member: g.member.ID, UserName: g.member.UserName, At: s.Now().UTC(),
		Address: from.address(), RequestID: from.RequestID, Factor: "recovery_code",
	}
	counters := names("fallback", g.user, from.Address)
	holds, err := s.Store.Holds(ctx, g.member.ID, r.Code)
	if err != nil {
		return member.Member{}, fmt.Errorf("local: read: %w", err)
	}
	if g.holds = g.known && holds; g.holds {
		counters = forCode(r.Code)
	}
	a, ok, err := s.compare(ctx, g, counters, password)
	if err != nil {
		return member.Member{}, err
	}
	if a.alarm {
		s.alarm(ctx, g)
	}
	if !ok {
		return member.Member{}, s.refuse(ctx, "fallback.refused", g, "password")
	}
	if r.Code == "" {
		r.Use.Factor = "totp"
		key, err := s.openTOTP(g.cred)
		if err != nil {
			return member.Member{}, err
		}
		if r.Step, ok = totpStep(key, code, s.Now(), g.cred.Step); !ok || key == "" {
			return member.Member{}, s.refuse(ctx, "fallback.refused", g, "code")
		}
	}
	m, err := s.redeem(ctx, g, r)
	if err != nil {
		return member.Member{}, err
	}
	if err := s.forgive(ctx, a, true); err != nil {
		s.Log.WarnContext(ctx, "counters of a sign-in were not reset", "err", err)
	}
	s.announce(ctx, r.Use)
	return m, nil
}

// redeem uses the code up, with its audit event and the mark for the banner: whoever
// gets in has left all three.
func (s *Service) redeem(ctx context.Context, g guess, r Redemption) (member.Member, error) {
	e := s.event("fallback.signin", audit.Allowed, "member:"+string(g.member.ID), g.member.ID, g.from)
	e.Reason = r.Use.Factor
	switch err := s.Store.Redeem(ctx, r, e); {
	case errors.Is(err, ErrUsed):
		return member.Member{}, s.refuse(ctx, "fallback.refused", g, "code")
	case err != nil:
		return member.Member{}, fmt.Errorf("local: redeem: %w", err)
	}
	m, err := s.Directory.AdmitLocal(ctx, g.member)
	var refusal *member.Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, member.ErrNotFound):
		return member.Member{}, s.refuse(ctx, "fallback.refused", g, "member")
	case err != nil:
		return member.Member{}, fmt.Errorf("local: admit: %w", err)
	}
	return m, nil
}

// announce tells all owners that somebody got in past the identity provider. Mail that
// cannot be queued does not stop him: the audit log and the banner tell it too.
func (s *Service) announce(ctx context.Context, u Use) {
	s.Log.WarnContext(ctx, "a fallback owner signed in", "user_name", u.UserName, "address", u.Address, "request", u.RequestID, "factor", u.Factor)
	s.tellOwners(ctx, func(to member.Member) error { return s.Notices.FallbackUsed(ctx, to, u) })
}

// alarm tells that somebody keeps guessing at one account: an attack, or a fallback
// owner who needs "ssogate owner recover".
func (s *Service) alarm(ctx context.Context, g guess) {
	s.Log.WarnContext(ctx, "fallback sign-in: many wrong guesses at one account", "address", g.from.address(), "request", g.from.RequestID)
	e := s.event("fallback.guessed", audit.Denied, "anonymous", g.member.ID, g.from)
	if err := s.Audit.Record(ctx, e); err != nil {
		s.Log.ErrorContext(ctx, "audit event lost", "kind", e.Kind, "err", err)
	}
	if g.known {
		s.tellOwners(ctx, func(to member.Member) error {
			return s.Notices.FallbackGuessed(ctx, to, g.member.UserName, g.from.address())
		})
	}
}

func (s *Service) tellOwners(ctx context.Context, tell func(member.Member) error) {
	if s.Notices == nil {
		return
	}
	owners, err := s.Store.Owners(ctx)
	if err != nil {
		s.Log.ErrorContext(ctx, "owners could not be told", "err", err)
		return
	}
	for _, o := range owners {
		if o.Email == "" {
			continue
		}
		if err := tell(o); err != nil {
			s.Log.ErrorContext(ctx, "an owner could not be told", "member", o.ID, "err", err)
		}
	}
}

// SignIn lets a member in who shows his password. The caller makes sure that Require
// SSO is off. Nobody who is not admitted gets in, nor a fallback owner, for whom a
// password alone is not enough. Errors as of [Service.SignInFallback].
func (s *Service) SignIn(ctx context.Context, user, password string, from Client) (member.Member, error) {
	g, err := s.guessed(ctx, user, from, func(m member.Member) bool { return !m.Fallback })
	if err != nil {
		return member.Member{}, err
	}
	a, ok, err := s.compare(ctx, g, names("password", g.user, from.Address), password)
	if err != nil {
		return member.Member{}, err
	}
	if !ok {
		return member.Member{}, s.refuse(ctx, "signin.refused", g, "password")
	}
	m, err := s.Directory.AdmitLocal(ctx, g.member)
	var refusal *member.Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, member.ErrNotFound):
		return member.Member{}, s.refuse(ctx, "signin.refused", g, "member")
	case err != nil:
		return member.Member{}, fmt.Errorf("local: admit: %w", err)
	}
	if err := s.forgive(ctx, a, true); err != nil {
		s.Log.WarnContext(ctx, "counters of a sign-in were not reset", "err", err)
	}
	return m, nil
}
