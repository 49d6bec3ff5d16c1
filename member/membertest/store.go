package membertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Store checks everything member.Store promises. open answers an empty one; it
// is called once per check and cleans up with the test.
func Store(t *testing.T, open func(t *testing.T) member.Store) {
	for _, c := range []struct {
		name  string
		check func(*testing.T, member.Store)
	}{
		{"members keep every field", membersKeepEveryField},
		{"names are found folded and never twice", namesAreUnique},
		{"lookalikes share a key", lookalikesShareAKey},
		{"external ids may repeat and are then ambiguous", externalIDs},
		{"versions decide who writes", versions},
		{"a deleted member takes what is his along", deletion},
		{"identities and tombstones", identities},
		{"teams", teams},
		{"memberships", memberships},
		{"ten thousand memberships at once", manyMemberships},
		{"invitations", invitations},
		{"the revocation log is dense", revocationLog},
		{"a row may name many", longTargets},
		{"ended sessions stay ended", endedSessions},
		{"wide endings concern whom they name", wideEndings},
		{"a failed update leaves nothing", rollback},
		{"a panic leaves nothing and frees the store", panics},
		{"values no store can hold are not found", unstorable},
		{"two creates of one name: one wins", racingCreates},
		{"one version, one winner", racingVersions},
		{"fifty writers on one team lose nobody", racingMemberships},
		{"revocation numbers are dense and in commit order", racingRevocations},
		{"a view sees one moment", snapshot},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, open(t)) })
	}
}

const connection = "okta"

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// person is an ordinary member.
func person(n int) member.Member {
	return member.Member{
		ID: member.ID(fmt.Sprintf("m%05d", n)), UserName: fmt.Sprintf("Person%d@Corp.example", n), DisplayName: "Zoë Müller",
		GivenName: "Zoë", FamilyName: "Müller", Email: fmt.Sprintf("person%d@corp.example", n), Role: member.RoleMember,
		Source: member.SourceSCIM, Wish: true, Accepted: true, Epoch: 1, Version: 1, Connection: connection,
		ExternalID: fmt.Sprintf("ext-%d", n), Document: []byte(`{"title":"Dr"}`),
		Created: epoch.Add(time.Duration(n) * time.Second), Modified: epoch,
	}
}

func team(n int) member.Team {
	return member.Team{
		ID: member.ID(fmt.Sprintf("t%03d", n)), Slug: fmt.Sprintf("team-%d", n), DisplayName: fmt.Sprintf("Team %d", n),
		Connection: connection, ExternalID: "x", Version: 1, Created: epoch, Modified: epoch,
	}
}

func update(t *testing.T, s member.Store, fn func(member.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t *testing.T, s member.Store, fn func(member.Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// refused runs fn in an update that must end in want.
func refused(t *testing.T, s member.Store, want error, why string, fn func(member.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", why, err, want)
	}
}

func insert(t *testing.T, s member.Store, ms ...member.Member) {
	t.Helper()
	update(t, s, func(tx member.Tx) error {
		for _, m := range ms {
			if err := tx.InsertMember(m); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(t *testing.T, s member.Store, id member.ID) (m member.Member) {
	t.Helper()
	view(t, s, func(tx member.Tx) (err error) {
		m, err = tx.Member(id)
		return err
	})
	return m
}

func membersKeepEveryField(t *testing.T, s member.Store) {
	full := person(1)
	full.Role, full.Source, full.Fallback, full.Suspended = member.RoleOwner, member.SourceInvitation, true, true
	full.Epoch, full.Version = 7, 1<<40
	bare := member.Member{ID: "bare", UserName: "bare", Created: epoch, Modified: epoch}
	insert(t, s, full, bare)
	for _, want := range []member.Member{full, bare} {
		if got := get(t, s, want.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("stored\n%+v\nread\n%+v", want, got)
		}
	}
	changed := full
	changed.UserName, changed.DisplayName, changed.GivenName, changed.FamilyName = "other", "Other", "O", "Person"
	changed.Email, changed.Role, changed.Fallback, changed.Suspended = "o@x.example", member.RoleMember, false, false
	changed.Wish, changed.Accepted, changed.Epoch, changed.Version = false, false, 8, full.Version+1
	changed.ExternalID, changed.Document, changed.Modified = "e2", []byte(`{}`), epoch.Add(time.Hour)
	update(t, s, func(tx member.Tx) error { return tx.UpdateMember(changed, full.Version) })
	if got := get(t, s, full.ID); !reflect.DeepEqual(got, changed) {
		t.Errorf("updated to\n%+v\nread\n%+v", changed, got)
	}
}

func namesAreUnique(t *testing.T, s member.Store) {
	insert(t, s, person(1))
	view(t, s, func(tx member.Tx) error {
		m, err := tx.MemberByUserName(member.FoldUserName("PERSON1@corp.EXAMPLE"))
		if err == nil && m.ID != "m00001" {
			t.Errorf("found %q", m.ID)
		}
		return err
	})
	other := person(2)
	other.UserName = "person1@CORP.example"
	refused(t, s, member.ErrConflict, "a second claim to a name", func(tx member.Tx) error { return tx.InsertMember(other) })
	other.UserName = "other"
	insert(t, s, other)
	other.UserName = "PERSON1@corp.example"
	refused(t, s, member.ErrConflict, "a rename to a taken name", func(tx member.Tx) error { return tx.UpdateMember(other, 1) })
	again := person(1)
	again.UserName = "again"
	refused(t, s, member.ErrConflict, "a second member of one id", func(tx member.Tx) error { return tx.InsertMember(again) })
}

func lookalikesShareAKey(t *testing.T, s member.Store) {
	m := person(1)
	m.UserName = "iris@corp.example"
	insert(t, s, m)
	twin := person(2)
	twin.UserName = "ır\u200bıs@corp.example."
	refused(t, s, member.ErrConflict, "a lookalike", func(tx member.Tx) error { return tx.InsertMember(twin) })
	view(t, s, func(tx member.Tx) error {
		if taken, err := tx.UserNameTaken(member.UserNameKey(twin.UserName)); !taken || err != nil {
			t.Errorf("taken %v, %v", taken, err)
		}
		if _, err := tx.MemberByUserName(member.FoldUserName(twin.UserName)); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("a lookalike finds the member (%v): the two would be merged", err)
		}
		taken, err := tx.EmailTaken(member.FoldUserName("PERSON1@corp.example"))
		if !taken {
			t.Error("a taken address is free")
		}
		free, _ := tx.EmailTaken("")
		if free {
			t.Error("no address is taken")
		}
		return err
	})
}

func externalIDs(t *testing.T, s member.Store) {
	a, b, elsewhere := person(1), person(2), person(3)
	elsewhere.Connection, elsewhere.ExternalID = "entra", "EXT-1"
	insert(t, s, a, b, elsewhere)
	find := func(connection, id string) (m member.Member, err error) {
		err = s.View(context.Background(), func(tx member.Tx) (err error) {
			m, err = tx.MemberByExternalID(connection, id)
			return err
		})
		return m, err
	}
	if m, err := find(connection, "ext-1"); err != nil || m.ID != a.ID {
		t.Errorf("found %q, %v", m.ID, err)
	}
	for _, c := range [][2]string{{connection, "EXT-1"}, {"entra", "ext-1"}, {connection, ""}, {"", "ext-1"}} {
		if _, err := find(c[0], c[1]); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("%q finds %v: labels are scoped and compared byte for byte", c, err)
		}
	}
	b.ExternalID = a.ExternalID
	update(t, s, func(tx member.Tx) error { return tx.UpdateMember(b, 1) })
	if _, err := find(connection, "ext-1"); !errors.Is(err, member.ErrConflict) {
		t.Errorf("a label of two members finds %v, want ErrConflict", err)
	}
}

func versions(t *testing.T, s member.Store) {
	m := person(1)
	insert(t, s, m)
	m.Version = 2
	update(t, s, func(tx member.Tx) error { return tx.UpdateMember(m, 1) })
	refused(t, s, member.ErrVersion, "an old version", func(tx member.Tx) error { return tx.UpdateMember(m, 1) })
	refused(t, s, member.ErrVersion, "deleting an old version", func(tx member.Tx) error { return tx.DeleteMember(m.ID, 1) })
	refused(t, s, member.ErrNotFound, "an unknown id", func(tx member.Tx) error { return tx.UpdateMember(person(9), 1) })
	refused(t, s, member.ErrNotFound, "deleting an unknown id", func(tx member.Tx) error { return tx.DeleteMember("nobody", 1) })
	update(t, s, func(tx member.Tx) error { return tx.InsertTeam(team(1)) })
	g := team(1)
	g.Version = 2
	update(t, s, func(tx member.Tx) error { return tx.UpdateTeam(g, 1) })
	refused(t, s, member.ErrVersion, "an old team version", func(tx member.Tx) error { return tx.UpdateTeam(g, 1) })
	refused(t, s, member.ErrVersion, "deleting an old team version", func(tx member.Tx) error { return tx.DeleteTeam(g.ID, 1) })
	refused(t, s, member.ErrNotFound, "an unknown team", func(tx member.Tx) error { return tx.UpdateTeam(team(9), 1) })
}

func deletion(t *testing.T, s member.Store) {
	m, i := person(1), member.Identity{Provider: "okta", Issuer: "https://idp", Subject: "s"}
	insert(t, s, m)
	update(t, s, func(tx member.Tx) error {
		return errors.Join(tx.InsertIdentity(m.ID, i), tx.InsertTeam(team(1)),
			tx.InsertInvitation(member.Invitation{Token: "hash", Member: m.ID, Created: epoch}),
			tx.InsertTombstone(member.Tombstone{Identity: i, Member: m.ID, At: epoch}))
	})
	update(t, s, func(tx member.Tx) error {
		_, err := tx.AddMemberships("t001", []member.ID{m.ID})
		return err
	})
	update(t, s, func(tx member.Tx) error { return tx.DeleteMember(m.ID, 1) })
	view(t, s, func(tx member.Tx) error {
		for what, err := range map[string]error{
			"member":     second(tx.Member(m.ID)),
			"identity":   second(tx.MemberByIdentity(i)),
			"invitation": second(tx.Invitation("hash")),
		} {
			if !errors.Is(err, member.ErrNotFound) {
				t.Errorf("%s is still there: %v", what, err)
			}
		}
		in, err := tx.MembersOf("t001")
		if len(in) != 0 || err != nil {
			t.Errorf("team still has %v, %v", in, err)
		}
		return second(tx.Tombstone(i)) // outlives him
	})
	insert(t, s, m) // the name is free again
}

func second[T any](_ T, err error) error { return err }

func identities(t *testing.T, s member.Store) {
	a, b := person(1), person(2)
	insert(t, s, a, b)
	i := member.Identity{Provider: "okta", Issuer: "https://idp.example/x", Subject: "Subject"}
	update(t, s, func(tx member.Tx) error { return tx.InsertIdentity(a.ID, i) })
	refused(t, s, member.ErrConflict, "one identity, two members", func(tx member.Tx) error { return tx.InsertIdentity(b.ID, i) })
	refused(t, s, member.ErrNotFound, "an identity of nobody", func(tx member.Tx) error {
		return tx.InsertIdentity("nobody", member.Identity{Provider: "p", Issuer: "i", Subject: "s"})
	})
	view(t, s, func(tx member.Tx) error {
		if m, err := tx.MemberByIdentity(i); err != nil || m.ID != a.ID {
			t.Errorf("found %q, %v", m.ID, err)
		}
		for _, near := range []member.Identity{
			{Provider: "okta", Issuer: i.Issuer, Subject: "subject"},
			{Provider: "okta", Issuer: i.Issuer + "/", Subject: i.Subject},
			{Provider: "Okta", Issuer: i.Issuer, Subject: i.Subject},
			{Provider: "okta", Issuer: i.Issuer},
			{},
		} {
			if m, err := tx.MemberByIdentity(near); !errors.Is(err, member.ErrNotFound) {
				t.Errorf("%+v finds %q, %v: identities are compared byte for byte (G6)", near, m.ID, err)
			}
		}
		is, err := tx.IdentitiesOf(a.ID)
		if !reflect.DeepEqual(is, []member.Identity{i}) {
			t.Errorf("identities %v", is)
		}
		return err
	})
	j := i
	j.Subject = "other"
	update(t, s, func(tx member.Tx) error {
		return errors.Join(tx.InsertIdentity(a.ID, j),
			tx.DeleteIdentity(b.ID, i), // not his
			tx.DeleteIdentity(a.ID, j),
			tx.DeleteIdentity(a.ID, j)) // gone already
	})
	view(t, s, func(tx member.Tx) error {
		is, err := tx.IdentitiesOf(a.ID)
		if !reflect.DeepEqual(is, []member.Identity{i}) {
			t.Errorf("identities after one was deleted: %v", is)
		}
		return err
	})
	update(t, s, func(tx member.Tx) error {
		return errors.Join(tx.InsertTombstone(member.Tombstone{Identity: i, Member: a.ID, At: epoch}),
			tx.InsertTombstone(member.Tombstone{Identity: i, Member: b.ID, At: epoch}), // replaces
			tx.InsertTombstone(member.Tombstone{Identity: j, Member: b.ID, At: epoch}),
			tx.InsertTombstone(member.Tombstone{Identity: member.Identity{Provider: "p", Subject: "k"}, Member: "c", At: epoch}))
	})
	view(t, s, func(tx member.Tx) error {
		got, err := tx.Tombstone(i)
		if want := (member.Tombstone{Identity: i, Member: b.ID, At: epoch}); got != want {
			t.Errorf("tombstone %+v, want %+v", got, want)
		}
		return err
	})
	update(t, s, func(tx member.Tx) error {
		return errors.Join(tx.DeleteTombstones(b.ID, member.Identity{}), tx.DeleteTombstones("", member.Identity{Provider: "p", Subject: "k"}))
	})
	view(t, s, func(tx member.Tx) error {
		for _, gone := range []member.Identity{i, j, {Provider: "p", Subject: "k"}} {
			if _, err := tx.Tombstone(gone); !errors.Is(err, member.ErrNotFound) {
				t.Errorf("tombstone %+v: %v", gone, err)
			}
		}
		return nil
	})
}

func endedSessions(t *testing.T, s member.Store) {
	for range 2 { // twice is no error
		update(t, s, func(tx member.Tx) error {
			return tx.EndSession(member.EndedSession{Hash: "h1", Member: "m", Until: epoch, Reason: "logout"})
		})
	}
	view(t, s, func(tx member.Tx) error {
		one, err1 := tx.SessionEnded("h1")
		two, err2 := tx.SessionEnded("h2")
		if !one || two {
			t.Errorf("ended: %v, other: %v", one, two)
		}
		return errors.Join(err1, err2)
	})
}

func rollback(t *testing.T, s member.Store) {
	boom := errors.New("boom")
	insert(t, s, person(1))
	refused(t, s, boom, "fn failed", func(tx member.Tx) error {
		m := person(1)
		m.DisplayName, m.Version = "changed", 2
		if err := errors.Join(tx.UpdateMember(m, 1), tx.InsertMember(person(2)), tx.InsertTeam(team(1)),
			tx.EndSession(member.EndedSession{Hash: "h"}), tx.Audit(audit.Event{Kind: "x"})); err != nil {
			return err
		}
		if _, err := tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeAll}); err != nil {
			return err
		}
		return boom
	})
	if got := get(t, s, "m00001"); !reflect.DeepEqual(got, person(1)) {
		t.Errorf("changed by a failed update: %+v", got)
	}
	view(t, s, func(tx member.Tx) error {
		seq, err := tx.LatestRevocation("", "")
		ended, _ := tx.SessionEnded("h")
		if seq != 0 || ended || !errors.Is(second(tx.Member("m00002")), member.ErrNotFound) || !errors.Is(second(tx.Team("t001")), member.ErrNotFound) {
			t.Errorf("a failed update left something: seq %d, ended %v", seq, ended)
		}
		return err
	})
}

func panics(t *testing.T, s member.Store) {
	func() {
		defer func() { _ = recover() }()
		_ = s.Update(context.Background(), func(tx member.Tx) error {
			if err := tx.InsertMember(person(1)); err != nil {
				t.Error(err)
			}
			panic("in fn") // the injected fault (25): a change whose code breaks half-way
		})
	}()
	insert(t, s, person(1)) // nothing was kept, and nothing is locked
}

func unstorable(t *testing.T, s member.Store) {
	insert(t, s, person(1))
	for _, bad := range []string{"a\x00b", "\xff"} {
		view(t, s, func(tx member.Tx) error {
			for what, err := range map[string]error{
				"id":          second(tx.Member(member.ID(bad))),
				"user name":   second(tx.MemberByUserName(bad)),
				"external id": second(tx.MemberByExternalID(connection, bad)),
				"identity":    second(tx.MemberByIdentity(member.Identity{Provider: bad, Issuer: bad, Subject: bad})),
				"invitation":  second(tx.Invitation(bad)),
				"team":        second(tx.Team(member.ID(bad))),
				"slug":        second(tx.TeamBySlug(bad)),
			} {
				if !errors.Is(err, member.ErrNotFound) {
					t.Errorf("%s %q: %v, want ErrNotFound: a client's odd bytes are not a store failure", what, bad, err)
				}
			}
			unknown, err := tx.UnknownMembers(connection, []member.ID{"m00001", member.ID(bad)})
			if len(unknown) != 1 {
				t.Errorf("unknown members %q", unknown)
			}
			return err
		})
		update(t, s, func(tx member.Tx) error {
			return second(tx.RemoveMemberships("t", []member.ID{member.ID(bad)}))
		})
	}
}
