package membertest

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func (t *tx) TeamsOf(id member.ID) ([]member.Team, error) {
	var out []member.Team
	for x := range t.memberships {
		if x.member == id {
			out = append(out, t.teams[x.team])
		}
	}
	slices.SortFunc(out, func(a, b member.Team) int { return cmp.Compare(a.Slug, b.Slug) })
	return out, nil
}

func (t *tx) MembersOf(team member.ID) ([]member.TeamMember, error) {
	var out []member.TeamMember
	for x := range t.memberships {
		if x.team == team {
			out = append(out, member.TeamMember{ID: x.member, DisplayName: t.members[x.member].DisplayName})
		}
	}
	slices.SortFunc(out, func(a, b member.TeamMember) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (t *tx) AddMemberships(team member.ID, ids []member.ID) (added int, err error) {
	if _, ok := t.teams[team]; !ok && len(ids) > 0 {
		return 0, member.ErrNotFound
	}
	for _, id := range ids {
		if _, ok := t.members[id]; !ok {
			return 0, member.ErrNotFound
		}
		if x := (membership{team, id}); !t.memberships[x] {
			t.memberships[x] = true
			added++
		}
	}
	return added, nil
}

func (t *tx) RemoveMemberships(team member.ID, ids []member.ID) (removed int, err error) {
	for _, id := range ids {
		if x := (membership{team, id}); t.memberships[x] {
			delete(t.memberships, x)
			removed++
		}
	}
	return removed, nil
}

func (t *tx) UnknownMembers(connection string, ids []member.ID) ([]member.ID, error) {
	var out []member.ID
	for _, id := range ids {
		if m, ok := t.members[id]; !ok || m.Connection != connection {
			out = append(out, id)
		}
	}
	return out, nil
}

func (t *tx) Invitation(token string) (member.Invitation, error) {
	i, ok := t.invitations[token]
	if !ok {
		return member.Invitation{}, member.ErrNotFound
	}
	return i, nil
}

func (t *tx) InsertInvitation(i member.Invitation) error {
	if _, ok := t.members[i.Member]; !ok {
		return member.ErrNotFound
	}
	if _, ok := t.invitations[i.Token]; ok {
		return member.ErrConflict
	}
	t.invitations[i.Token] = i
	return nil
}

func (t *tx) AcceptInvitations(id member.ID) error {
	for k, i := range t.invitations {
		if i.Member == id && i.Accepted.IsZero() {
			i.Accepted = t.now()
			t.invitations[k] = i
		}
	}
	return nil
}

func (t *tx) InvitationsOf(id member.ID) (out []member.Invitation, _ error) {
	for _, i := range t.invitations {
		if i.Member == id {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b member.Invitation) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Token, b.Token))
	})
	return out, nil
}

func (t *tx) DropInvitations(id member.ID) error {
	maps.DeleteFunc(t.invitations, func(_ string, i member.Invitation) bool { return i.Member == id && i.Accepted.IsZero() })
	for k, m := range t.mail {
		if m.Member == id && m.state == member.MailQueued {
			m.state = member.MailDropped
			t.mail[k] = m
		}
	}
	return nil
}

func (t *tx) OpenInvitation(token string, at time.Time) error {
	if i, ok := t.invitations[token]; ok && i.Opened.IsZero() {
		i.Opened = at
		t.invitations[token] = i
	}
	return nil
}

func (t *tx) QueueMail(m member.Mail) error {
	if _, ok := t.mail[m.ID]; ok {
		return member.ErrConflict
	}
	t.mail[m.ID] = queuedMail{m, member.MailQueued}
	return nil
}

func (t *tx) MailOf(invitation string) (member.MailState, string, error) {
	for _, m := range t.mail {
		if m.Invitation == invitation && invitation != "" {
			return m.state, "", nil
		}
	}
	return "", "", member.ErrNotFound
}

// queuedMail is a letter in the fake's outbox.
type queuedMail struct {
	member.Mail
	state member.MailState
}

func (t *tx) Revoke(r member.Revocation) (int64, error) {
	t.revoked = true
	if r.At.IsZero() {
		r.At = t.now()
	}
	r.Seq = int64(len(t.revocations)) + 1
	t.revocations = append(t.revocations, r)
	return r.Seq, nil
}

func (t *tx) LatestRevocation(scope member.RevocationScope, target string) (int64, error) {
	if scope == "" {
		return int64(len(t.revocations)), nil
	}
	for _, r := range slices.Backward(t.revocations) {
		if r.Scope == scope && r.Target == target {
			return r.Seq, nil
		}
	}
	return 0, nil
}

func (t *tx) EndedBefore(id member.ID, ref member.SessionRef) (int64, error) {
	all, one := ref.Logins(id)
	for _, r := range slices.Backward(t.revocations) {
		if r.Kind == member.End && (r.Scope == member.ScopeAll || r.Scope == member.ScopeProvider && r.Target == ref.Provider ||
			r.Scope == member.ScopeLogins && (r.Target == all.Target() || r.Target == one.Target())) {
			return r.Seq, nil
		}
	}
	return 0, nil
}

func (t *tx) SettingsVersion() (int64, error) { return 1, nil }

func (t *tx) Audit(e audit.Event) error {
	if t.revoked {
		return errors.New("membertest: Audit after Revoke")
	}
	if e.Time.IsZero() {
		e.Time = t.now()
	}
	e = e.Clean()
	e.Seq = int64(len(t.events)) + 1
	t.events = append(t.events, e)
	return nil
}

func (t *tx) EndSession(s member.EndedSession) error {
	if _, ok := t.ended[s.Hash]; !ok {
		t.ended[s.Hash] = s
	}
	return nil
}

func (t *tx) SessionEnded(hash string) (bool, error) {
	_, ok := t.ended[hash]
	return ok, nil
}

// Interface guards.
var (
	_ member.Store   = (*Fake)(nil)
	_ member.Tx      = (*tx)(nil)
	_ audit.Recorder = (*Fake)(nil)
)
