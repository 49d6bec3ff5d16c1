package member

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/audit"
)

// Admit answers which member a verified sign-in is, or a *[Refusal]. In order:
//
//  1. the member linked to this identity;
//  2. the member that Login.Connection provisioned and whose Match attribute
//     equals the subject, or what Login.Known says instead (userName folded, externalId byte for byte). The link
//     is made once; a second subject is refused;
//  3. the member invited by Login.Invitation, if the IdP vouches for the
//     invited address;
//  4. a new member, where Join is idp and no tombstone stands in the way.
//
// Where the provider's groups are teams (Login.Teams) they are made so in the same
// transaction, and the labels of a member who joined by signing in follow his provider.
//
// An e-mail address alone never links (G6). A pending invitation is accepted in
// the same transaction when the person clicked (Login.Accept), opened its link,
// or the connection's activation asks for no click. Links, joins, acceptances
// and refusals of second subjects are audited here; the sign-in itself by sso.
// Any other error means the store could not answer.
func (d *Directory) Admit(ctx context.Context, l Login) (Member, error) {
	for _, part := range []string{l.Identity.Provider, l.Identity.Issuer, l.Identity.Subject} {
		if part == "" || checkToken("subject", part, MaxSubject) != nil {
			return Member{}, &Refusal{}
		}
	}
	if l.Connection != nil && l.Connection.Provider != l.Identity.Provider {
		l.Connection = nil // another provider's connection has no say (row S30)
	}
	l.Profile = cleanProfile(l.Profile)
	var a *admission
	var seq int64
	err := again(func() error {
		return d.Store.Update(ctx, func(tx Tx) error {
			seq = 0
			a = &admission{Login: l, d: d, tx: tx}
			// Before anything else is read: what ends everybody after this moment ends
			// the session that is made of this admission too (C6).
			asOf, err := tx.LatestRevocation("", "")
			if err != nil {
				return err
			}
			if err := a.run(); err != nil {
				return err
			}
			if a.refusal == nil && a.member.Admitted() {
				if seq, err = a.settle(); err != nil {
					return err
				}
			} else if a.audit != nil {
				return tx.Audit(*a.audit) // it commits
			}
			a.member.AsOf = asOf
			return nil
		})
	})
	switch {
	case err != nil:
		return Member{}, err
	case a.refusal != nil:
		return Member{}, a.refusal
	case !a.member.Admitted():
		return Member{}, &Refusal{Member: a.member} // unreachable; the zero decision refuses
	}
	// A team that he lost with this sign-in is lost everywhere before he goes on (G1).
	if err := d.barrier(ctx, seq); err != nil {
		return Member{}, err
	}
	return a.member, nil
}

// again repeats a transaction that lost a race for a name, an identity or a
// version: twenty tabs of one person arrive at once (W4), the first makes the
// link, and the others find it on their second look.
func again(once func() error) (err error) {
	for range 4 {
		if err = once(); !errors.Is(err, ErrConflict) && !errors.Is(err, ErrVersion) {
			return err
		}
	}
	return err
}

// admission is one run of Admit inside one transaction.
type admission struct {
	Login
	d       *Directory
	tx      Tx
	member  Member
	refusal *Refusal
	audit   *audit.Event
}

func (a *admission) run() error {
	m, err := a.tx.MemberByIdentity(a.Identity)
	if err == nil {
		return a.accept(m)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, way := range []func() (bool, error){a.provisioned, a.invited} {
		if done, err := way(); done || err != nil {
			return err
		}
	}
	return a.join()
}

// refuse ends the admission. reason, if any, is audited.
func (a *admission) refuse(code RefusalCode, m Member, reason string) error {
	a.refusal = &Refusal{Code: code, Member: m}
	if reason != "" {
		e := a.Actor.event("member.link_refused", m.ID, a.Identity.Provider)
		e.Outcome, e.Reason = audit.Denied, reason
		a.audit = &e
	}
	return nil
}

// accept lets a known member in, accepting his invitation if he may.
func (a *admission) accept(m Member) error {
	switch {
	case m.Suspended:
		return a.refuse(RefusedSuspended, m, "")
	case !m.Wish:
		return a.refuse(RefusedDeactivated, m, "")
	case m.Accepted:
		a.member = m
		return nil
	}
	ok, err := a.mayAccept(m)
	if err != nil {
		return err
	}
	if !ok {
		return a.refuse(RefusedInvitationPending, m, "")
	}
	version := m.Version
	m.Accepted = true
	m.Version++
	m.Modified = a.d.now()
	if err := a.tx.UpdateMember(m, version); err != nil {
		return err
	}
	if err := a.tx.AcceptInvitations(m.ID); err != nil {
		return err
	}
	a.note("member.accepted", m.ID)
	a.member = m
	return nil
}

// mayAccept reports whether this sign-in accepts m's invitation. A click counts
// only through the provider that provisioned him: any other place where he can
// sign in has not been asked to vouch for him.
func (a *admission) mayAccept(m Member) (bool, error) {
	if c := a.Connection; c != nil && m.Connection == c.ID {
		if a.Accept || c.Activation == ActivateFirstSignIn || c.Activation == ActivateImmediate {
			return true, nil
		}
	}
	i, ok, err := a.invitation()
	return ok && i.Member == m.ID, err
}

// provisioned finds the member that this provider's SCIM connection made.
func (a *admission) provisioned() (done bool, err error) {
	if a.Connection == nil {
		return false, nil
	}
	var m Member
	switch a.Connection.Match {
	case MatchUserName:
		m, err = a.tx.MemberByUserName(FoldUserName(a.known().UserName))
	case MatchExternalID:
		m, err = a.tx.MemberByExternalID(a.Connection.ID, a.known().ExternalID)
	default:
		return false, nil // an unknown rule matches nobody
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case errors.Is(err, ErrConflict):
		// Two people with one label: linking either could be a takeover.
		return true, a.refuse(RefusedNotMember, Member{}, "ambiguous_external_id")
	case err != nil:
		return false, err
	case m.Connection != a.Connection.ID || m.Fallback:
		return false, nil
	}
	return true, a.link(m)
}

// invited finds the member whose invitation this very browser opened.
func (a *admission) invited() (done bool, err error) {
	i, ok, err := a.invitation()
	if err != nil || !ok {
		return false, err
	}
	m, err := a.tx.Member(i.Member)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case m.Fallback:
		return false, nil
	}
	if gone, err := a.tombstone(); gone || err != nil {
		return gone, err
	}
	// The invitation may have been forwarded; the address must be vouched for.
	if i.Email == "" || FoldUserName(i.Email) != FoldUserName(a.Profile.Email) {
		return true, a.refuse(RefusedNotMember, Member{}, "invited_another_address")
	}
	return true, a.link(m)
}

// invitation is the one this login carries, if it can still be used here.
func (a *admission) invitation() (i Invitation, ok bool, err error) {
	if a.Login.Invitation == "" {
		return Invitation{}, false, nil
	}
	i, err = a.tx.Invitation(a.Login.Invitation)
	if errors.Is(err, ErrNotFound) {
		return Invitation{}, false, nil
	}
	ok = err == nil && i.Accepted.IsZero() && a.d.now().Before(i.Expires) &&
		(i.Provider == "" || i.Provider == a.Identity.Provider)
	return i, ok, err
}

// link ties this identity to m, once per provider, if m may pass at all: an
// unaccepted or deactivated member stays unlinked, so nothing is decided for him.
func (a *admission) link(m Member) error {
	known, err := a.tx.IdentitiesOf(m.ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(known, func(i Identity) bool { return i.Provider == a.Identity.Provider }) {
		return a.refuse(RefusedSecondSubject, m, "second_subject")
	}
	if err := a.accept(m); err != nil || a.refusal != nil {
		return err
	}
	if err := a.tx.InsertIdentity(m.ID, a.Identity); err != nil {
		return err
	}
	// Whoever was removed before and is provisioned or invited again is back.
	if err := a.tx.DeleteTombstones("", a.Identity); err != nil {
		return err
	}
	if a.audit == nil {
		a.note("member.linked", m.ID)
	}
	a.audit.Detail = map[string]string{"linked": "true", "issuer": a.Identity.Issuer}
	return nil
}

// join makes a new member, where the provider may.
func (a *admission) join() error {
	if gone, err := a.tombstone(); gone || err != nil {
		return err
	}
	if a.Join != JoinIDP || a.Connection != nil {
		// While a connection is enabled only it brings people in, so that
		// unassigning somebody at the IdP is final.
		return a.refuse(RefusedNotMember, Member{}, "")
	}
	name := a.Profile.UserName
	for _, s := range []string{a.Profile.Email, a.Identity.Subject} {
		if name == "" {
			name = s
		}
	}
	var invalid *InvalidError
	if err := checkUserName(name); errors.As(err, &invalid) {
		return a.refuse(RefusedNotMember, Member{}, "user_name_invalid")
	}
	taken, err := a.tx.UserNameTaken(UserNameKey(name))
	if err == nil && !taken {
		// An address that another member already shows to applications is not
		// given to a stranger (row O12).
		taken, err = a.tx.EmailTaken(FoldUserName(a.Profile.Email))
	}
	if err != nil {
		return err
	}
	if taken {
		return a.refuse(RefusedUserNameTaken, Member{}, "user_name_taken")
	}
	now := a.d.now()
	m := Member{
		ID: NewID(), UserName: name, DisplayName: a.Profile.DisplayName, Email: a.Profile.Email,
		GivenName: a.Profile.GivenName, FamilyName: a.Profile.FamilyName,
		Role: RoleMember, Source: SourceSSO, Wish: true, Accepted: true,
		Epoch: 1, Version: 1, Created: now, Modified: now,
	}
	if err := a.tx.InsertMember(m); err != nil {
		return err
	}
	if err := a.tx.InsertIdentity(m.ID, a.Identity); err != nil {
		return err
	}
	a.note("member.joined", m.ID)
	a.member = m
	return nil
}

// tombstone refuses a person whom an IdP removed. Besides his identity there is
// the mark of a member who was removed before he ever signed in (see Delete).
func (a *admission) tombstone() (refused bool, err error) {
	i := a.Identity
	for _, key := range append([]Identity{i}, removedMarks(i.Provider, a.known().UserName, a.known().ExternalID)...) {
		t, err := a.tx.Tombstone(key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		return true, a.refuse(RefusedRemoved, Member{ID: t.Member}, "removed")
	}
	return false, nil
}

// removedMarks are the tombstone keys of somebody known only by the attributes
// an IdP would match him by. The issuer is unknown until a first sign-in, and
// an Identity with an empty issuer can never sign in, so the two cannot clash.
func removedMarks(provider, userName, externalID string) []Identity {
	var marks []Identity
	if userName != "" {
		marks = append(marks, Identity{Provider: provider, Subject: "userName:" + FoldUserName(userName)})
	}
	if externalID != "" {
		marks = append(marks, Identity{Provider: provider, Subject: "externalId:" + externalID})
	}
	return marks
}

func (a *admission) note(kind string, id ID) {
	e := a.Actor.event(kind, id, a.Identity.Provider)
	a.audit = &e
}

// Snapshot reads everything about one admission as of one point in time (C11):
// ErrNotFound when the member is gone. Document is not loaded.
func (d *Directory) Snapshot(ctx context.Context, id ID, ref SessionRef) (Snapshot, error) {
	var s Snapshot
	err := d.Store.View(ctx, func(tx Tx) error {
		s = Snapshot{}
		var err error
		if s.Seq, err = tx.LatestRevocation("", ""); err != nil {
			return err
		}
		if s.SessionEnded, err = tx.SessionEnded(ref.Hash); err != nil {
			return err
		}
		if s.EndedBefore, err = tx.EndedBefore(id, ref); err != nil {
			return err
		}
		if s.Settings, err = tx.SettingsVersion(); err != nil {
			return err
		}
		if s.Member, err = tx.Member(id); err != nil {
			return err
		}
		s.Member.Document = nil
		teams, err := tx.TeamsOf(id)
		for _, t := range teams {
			s.Teams = append(s.Teams, t.Slug)
		}
		slices.SortFunc(s.Teams, strings.Compare)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	return s, nil
}

// Lookup finds a member by user name, as an operator types it on the command line.
func (d *Directory) Lookup(ctx context.Context, userName string) (Member, error) {
	var m Member
	err := d.Store.View(ctx, func(tx Tx) (err error) {
		m, err = tx.MemberByUserName(FoldUserName(userName))
		return err
	})
	return m, err
}
