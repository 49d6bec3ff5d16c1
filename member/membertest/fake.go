package membertest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Fake is a member.Store in memory, which also keeps the audit and revocation
// logs. It passes [Store]. Safe for concurrent use; an update holds back others.
type Fake struct {
	Now func() time.Time // time.Now when nil

	writing sync.Mutex   // held for a whole update
	mu      sync.RWMutex // guards s, which is never modified once it is here
	s       *state
}

// NewFake makes an empty one.
func NewFake() *Fake {
	return &Fake{s: &state{
		members: map[member.ID]member.Member{}, keys: map[string]member.ID{}, identities: map[member.Identity]member.ID{},
		tombstones: map[member.Identity]member.Tombstone{}, teams: map[member.ID]member.Team{},
		memberships: map[membership]bool{}, invitations: map[string]member.Invitation{}, mail: map[string]queuedMail{},
		ended: map[string]member.EndedSession{},
	}}
}

type membership struct{ team, member member.ID }

type state struct {
	members     map[member.ID]member.Member
	keys        map[string]member.ID // by user name key
	identities  map[member.Identity]member.ID
	tombstones  map[member.Identity]member.Tombstone
	teams       map[member.ID]member.Team
	memberships map[membership]bool
	invitations map[string]member.Invitation
	mail        map[string]queuedMail
	ended       map[string]member.EndedSession
	revocations []member.Revocation
	events      []audit.Event
}

func (s *state) clone() *state {
	return &state{
		members: maps.Clone(s.members), keys: maps.Clone(s.keys), identities: maps.Clone(s.identities), tombstones: maps.Clone(s.tombstones),
		teams: maps.Clone(s.teams), memberships: maps.Clone(s.memberships), invitations: maps.Clone(s.invitations), mail: maps.Clone(s.mail),
		ended: maps.Clone(s.ended), revocations: slices.Clone(s.revocations), events: slices.Clone(s.events),
	}
}

func (f *Fake) load() *state {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.s
}

func (f *Fake) now() time.Time {
	if f.Now != nil {
		return f.Now().UTC()
	}
	return time.Now().UTC()
}

// View implements member.Store.
func (f *Fake) View(ctx context.Context, fn func(member.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(&tx{state: f.load(), now: f.now})
}

// Update implements member.Store.
func (f *Fake) Update(ctx context.Context, fn func(member.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	t := &tx{state: f.load().clone(), now: f.now}
	if err := fn(t); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s = t.state
	return nil
}

// Record implements audit.Recorder.
func (f *Fake) Record(ctx context.Context, e audit.Event) error {
	return f.Update(ctx, func(tx member.Tx) error { return tx.Audit(e) })
}

// Events answers the audit log.
func (f *Fake) Events() []audit.Event { return slices.Clone(f.load().events) }

// Revocations answers rows after a number, like store/sql.
func (f *Fake) Revocations(ctx context.Context, after int64, limit int) ([]member.Revocation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows := f.load().revocations
	rows = rows[min(max(after, 0), int64(len(rows))):]
	return slices.Clone(rows[:min(max(limit, 0), len(rows))]), nil
}

// LastRevocation answers the log's number.
func (f *Fake) LastRevocation(ctx context.Context) (int64, error) {
	return int64(len(f.load().revocations)), ctx.Err()
}

// tx is one transaction over a state: a copy of its own when it may write.
type tx struct {
	*state
	now     func() time.Time
	revoked bool
}

func (t *tx) Member(id member.ID) (member.Member, error) {
	m, ok := t.members[id]
	if !ok {
		return member.Member{}, member.ErrNotFound
	}
	m.Document = slices.Clone(m.Document)
	return m, nil
}

func (t *tx) find(ok func(member.Member) bool) (member.Member, error) {
	var found []member.Member
	for _, m := range t.members {
		if ok(m) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return member.Member{}, member.ErrNotFound
	case 1:
		return t.Member(found[0].ID)
	}
	return member.Member{}, member.ErrConflict
}

func (t *tx) MemberByUserName(folded string) (member.Member, error) {
	m, err := t.Member(t.keys[member.UserNameKey(folded)])
	if err == nil && member.FoldUserName(m.UserName) != folded {
		return member.Member{}, member.ErrNotFound
	}
	return m, err
}

func (t *tx) MemberByExternalID(connection, externalID string) (member.Member, error) {
	if connection == "" || externalID == "" {
		return member.Member{}, member.ErrNotFound
	}
	return t.find(func(m member.Member) bool { return m.Connection == connection && m.ExternalID == externalID })
}

func (t *tx) UserNameTaken(key string) (bool, error) {
	_, ok := t.keys[key]
	return ok, nil
}

func (t *tx) EmailTaken(folded string) (bool, error) {
	for _, m := range t.members {
		if folded != "" && member.FoldUserName(m.Email) == folded {
			return true, nil
		}
	}
	return false, nil
}

func (t *tx) InsertMember(m member.Member) error {
	if taken, _ := t.UserNameTaken(member.UserNameKey(m.UserName)); taken {
		return member.ErrConflict
	}
	if _, ok := t.members[m.ID]; ok {
		return member.ErrConflict
	}
	m.Document = slices.Clone(m.Document)
	t.members[m.ID] = m
	t.keys[member.UserNameKey(m.UserName)] = m.ID
	return nil
}

func (t *tx) UpdateMember(m member.Member, ifVersion int64) error {
	old, ok := t.members[m.ID]
	switch {
	case !ok:
		return member.ErrNotFound
	case old.Version != ifVersion:
		return member.ErrVersion
	}
	delete(t.members, m.ID)
	delete(t.keys, member.UserNameKey(old.UserName))
	return t.InsertMember(m)
}

func (t *tx) DeleteMember(id member.ID, ifVersion int64) error {
	old, ok := t.members[id]
	switch {
	case !ok:
		return member.ErrNotFound
	case old.Version != ifVersion:
		return member.ErrVersion
	}
	delete(t.members, id)
	delete(t.keys, member.UserNameKey(old.UserName))
	maps.DeleteFunc(t.identities, func(_ member.Identity, m member.ID) bool { return m == id })
	maps.DeleteFunc(t.memberships, func(x membership, _ bool) bool { return x.member == id })
	maps.DeleteFunc(t.invitations, func(_ string, i member.Invitation) bool { return i.Member == id })
	return nil
}

func (t *tx) MemberByIdentity(i member.Identity) (member.Member, error) {
	return t.Member(t.identities[i])
}

func (t *tx) IdentitiesOf(id member.ID) ([]member.Identity, error) {
	var out []member.Identity
	for i, m := range t.identities {
		if m == id {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b member.Identity) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Subject, b.Subject))
	})
	return out, nil
}

func (t *tx) InsertIdentity(id member.ID, i member.Identity) error {
	if _, ok := t.members[id]; !ok {
		return member.ErrNotFound
	}
	if _, ok := t.identities[i]; ok {
		return member.ErrConflict
	}
	t.identities[i] = id
	return nil
}

func (t *tx) DeleteIdentity(id member.ID, i member.Identity) error {
	if t.identities[i] == id {
		delete(t.identities, i)
	}
	return nil
}

func (t *tx) Tombstone(i member.Identity) (member.Tombstone, error) {
	s, ok := t.tombstones[i]
	if !ok {
		return member.Tombstone{}, member.ErrNotFound
	}
	return s, nil
}

func (t *tx) InsertTombstone(s member.Tombstone) error {
	t.tombstones[s.Identity] = s
	return nil
}

func (t *tx) DeleteTombstones(id member.ID, i member.Identity) error {
	maps.DeleteFunc(t.tombstones, func(k member.Identity, s member.Tombstone) bool {
		if i == (member.Identity{}) {
			return s.Member == id
		}
		return k == i
	})
	return nil
}

func (t *tx) Team(id member.ID) (member.Team, error) {
	m, ok := t.teams[id]
	if !ok {
		return member.Team{}, member.ErrNotFound
	}
	return m, nil
}

func (t *tx) TeamByName(connection, folded string) (member.Team, error) {
	for _, m := range t.teams {
		if m.Connection == connection && member.FoldUserName(m.DisplayName) == folded {
			return m, nil
		}
	}
	return member.Team{}, member.ErrNotFound
}

func (t *tx) TeamBySlug(slug string) (member.Team, error) {
	for _, m := range t.teams {
		if m.Slug == slug {
			return m, nil
		}
	}
	return member.Team{}, member.ErrNotFound
}

func (t *tx) InsertTeam(m member.Team) error {
	_, bySlug := t.TeamBySlug(m.Slug)
	_, byName := t.TeamByName(m.Connection, member.FoldUserName(m.DisplayName))
	if _, ok := t.teams[m.ID]; ok || bySlug == nil || byName == nil {
		return member.ErrConflict
	}
	t.teams[m.ID] = m
	return nil
}

func (t *tx) UpdateTeam(m member.Team, ifVersion int64) error {
	old, ok := t.teams[m.ID]
	switch {
	case !ok:
		return member.ErrNotFound
	case old.Version != ifVersion:
		return member.ErrVersion
	}
	delete(t.teams, m.ID)
	return t.InsertTeam(m)
}

func (t *tx) DeleteTeam(id member.ID, ifVersion int64) error {
	old, ok := t.teams[id]
	switch {
	case !ok:
		return member.ErrNotFound
	case old.Version != ifVersion:
		return member.ErrVersion
	}
	delete(t.teams, id)
	maps.DeleteFunc(t.memberships, func(x membership, _ bool) bool { return x.team == id })
	return nil
}
