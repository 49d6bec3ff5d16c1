package membertest

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
)

func teams(t *testing.T, s member.Store) {
	a, b := team(1), team(2)
	update(t, s, func(tx member.Tx) error { return errors.Join(tx.InsertTeam(a), tx.InsertTeam(b)) })
	view(t, s, func(tx member.Tx) error {
		byID, err1 := tx.Team(a.ID)
		byName, err2 := tx.TeamByName(connection, "team 1")
		bySlug, err3 := tx.TeamBySlug("team-1")
		for _, got := range []member.Team{byID, byName, bySlug} {
			if got != a {
				t.Errorf("read %+v, want %+v", got, a)
			}
		}
		if _, err := tx.TeamByName("entra", "team 1"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("another connection's team: %v", err)
		}
		return errors.Join(err1, err2, err3)
	})
	c := team(3)
	c.DisplayName = "TEAM 1"
	refused(t, s, member.ErrConflict, "a second team of that name", func(tx member.Tx) error { return tx.InsertTeam(c) })
	c.DisplayName, c.Slug = "Team 3", "team-1"
	refused(t, s, member.ErrConflict, "a second team of that slug", func(tx member.Tx) error { return tx.InsertTeam(c) })
	b.DisplayName, b.Version = "team 1", 2
	refused(t, s, member.ErrConflict, "a rename to a taken name", func(tx member.Tx) error { return tx.UpdateTeam(b, 1) })
	c.DisplayName, c.Slug, c.Connection = "Team 1", "entra.team-1", "entra"
	update(t, s, func(tx member.Tx) error { return tx.InsertTeam(c) })
	b.DisplayName, b.ExternalID, b.Modified = "Renamed", "e", epoch.Add(time.Minute)
	update(t, s, func(tx member.Tx) error { return tx.UpdateTeam(b, 1) })
	view(t, s, func(tx member.Tx) error {
		got, err := tx.Team(b.ID)
		if got != b {
			t.Errorf("read %+v, want %+v", got, b)
		}
		return err
	})
	update(t, s, func(tx member.Tx) error { return tx.DeleteTeam(b.ID, 2) })
	refused(t, s, member.ErrNotFound, "a deleted team", func(tx member.Tx) error { return tx.DeleteTeam(b.ID, 2) })
}

func memberships(t *testing.T, s member.Store) {
	insert(t, s, person(1), person(2), person(3))
	stranger := person(4)
	stranger.Connection = "entra"
	insert(t, s, stranger)
	count := func(want int, fn func(tx member.Tx) (int, error)) {
		t.Helper()
		update(t, s, func(tx member.Tx) error {
			n, err := fn(tx)
			if n != want {
				t.Errorf("changed %d memberships, want %d", n, want)
			}
			return err
		})
	}
	update(t, s, func(tx member.Tx) error { return errors.Join(tx.InsertTeam(team(2)), tx.InsertTeam(team(1))) })
	count(2, func(tx member.Tx) (int, error) {
		return tx.AddMemberships("t001", []member.ID{"m00001", "m00002", "m00002"})
	})
	count(1, func(tx member.Tx) (int, error) {
		return tx.AddMemberships("t001", []member.ID{"m00002", "m00003"})
	})
	count(1, func(tx member.Tx) (int, error) { return tx.AddMemberships("t002", []member.ID{"m00001"}) })
	count(1, func(tx member.Tx) (int, error) {
		return tx.RemoveMemberships("t001", []member.ID{"m00002", "nobody", "m00002"})
	})
	count(0, func(tx member.Tx) (int, error) { return tx.RemoveMemberships("t001", nil) })
	refused(t, s, member.ErrNotFound, "an unknown member", func(tx member.Tx) error {
		return second(tx.AddMemberships("t001", []member.ID{"nobody"}))
	})
	refused(t, s, member.ErrNotFound, "an unknown team", func(tx member.Tx) error {
		return second(tx.AddMemberships("t009", []member.ID{"m00001"}))
	})
	view(t, s, func(tx member.Tx) error {
		in, err1 := tx.MembersOf("t001")
		want := []member.TeamMember{{ID: "m00001", DisplayName: "Zoë Müller"}, {ID: "m00003", DisplayName: "Zoë Müller"}}
		if !slices.Equal(in, want) {
			t.Errorf("members %v, want %v", in, want)
		}
		of, err2 := tx.TeamsOf("m00001")
		if !reflect.DeepEqual(of, []member.Team{team(1), team(2)}) {
			t.Errorf("teams %v", of)
		}
		unknown, err3 := tx.UnknownMembers(connection, []member.ID{"zz", "m00001", "m00004", "m00002"})
		if !slices.Equal(unknown, []member.ID{"zz", "m00004"}) {
			t.Errorf("unknown %v: another connection's member is unknown here", unknown)
		}
		return errors.Join(err1, err2, err3)
	})
	update(t, s, func(tx member.Tx) error { return tx.DeleteTeam("t001", 1) })
	view(t, s, func(tx member.Tx) error {
		of, err := tx.TeamsOf("m00001")
		if len(of) != 1 || of[0].ID != "t002" {
			t.Errorf("teams %v after one was deleted", of)
		}
		return err
	})
}

func manyMemberships(t *testing.T, s member.Store) {
	const n = 1100 // more than two batches; the promise of 10,000 is timed elsewhere
	ids := make([]member.ID, n)
	update(t, s, func(tx member.Tx) error {
		for i := range ids {
			m := person(i)
			ids[i] = m.ID
			if err := tx.InsertMember(m); err != nil {
				return err
			}
		}
		return tx.InsertTeam(team(1))
	})
	update(t, s, func(tx member.Tx) error {
		unknown, err := tx.UnknownMembers(connection, append(ids[:n:n], "nobody"))
		if err != nil || !slices.Equal(unknown, []member.ID{"nobody"}) {
			t.Errorf("unknown %v, %v", unknown, err)
		}
		added, err := tx.AddMemberships("t001", ids)
		if added != n {
			t.Errorf("added %d of %d", added, n)
		}
		return err
	})
	update(t, s, func(tx member.Tx) error {
		removed, err := tx.RemoveMemberships("t001", ids[1:])
		if removed != n-1 {
			t.Errorf("removed %d of %d", removed, n-1)
		}
		return err
	})
	view(t, s, func(tx member.Tx) error {
		in, err := tx.MembersOf("t001")
		if len(in) != 1 || in[0].ID != ids[0] {
			t.Errorf("left %v", in)
		}
		return err
	})
}

func invitations(t *testing.T, s member.Store) {
	insert(t, s, person(1))
	i := member.Invitation{Token: "hash", Member: "m00001", Email: "a@corp.example", Provider: "okta", Expires: epoch.Add(time.Hour), Created: epoch}
	update(t, s, func(tx member.Tx) error { return tx.InsertInvitation(i) })
	refused(t, s, member.ErrConflict, "a second invitation of one token", func(tx member.Tx) error { return tx.InsertInvitation(i) })
	i2 := i
	i2.Token, i2.Member = "other", "nobody"
	refused(t, s, member.ErrNotFound, "an invitation of nobody", func(tx member.Tx) error { return tx.InsertInvitation(i2) })
	read := func() (got member.Invitation) {
		view(t, s, func(tx member.Tx) (err error) {
			got, err = tx.Invitation("hash")
			return err
		})
		return got
	}
	if got := read(); got != i {
		t.Errorf("read %+v, want %+v", got, i)
	}
	update(t, s, func(tx member.Tx) error { return tx.AcceptInvitations("m00001") })
	if read().Accepted.IsZero() {
		t.Error("an accepted invitation can be used again (I01)")
	}
	letters(t, s, i)
}

// letters are queued with an invitation and dropped with it.
func letters(t *testing.T, s member.Store, i member.Invitation) {
	t.Helper()
	next := i
	next.Token, next.Created = "next", epoch.Add(time.Minute)
	letter := member.Mail{ID: "l1", Member: "m00001", Invitation: "next", Sealed: []byte{0, 1}, Created: epoch}
	update(t, s, func(tx member.Tx) error { return errors.Join(tx.InsertInvitation(next), tx.QueueMail(letter)) })
	refused(t, s, member.ErrConflict, "a letter twice", func(tx member.Tx) error { return tx.QueueMail(letter) })
	update(t, s, func(tx member.Tx) error {
		return errors.Join(tx.OpenInvitation("next", epoch.Add(time.Hour)), tx.OpenInvitation("next", epoch.Add(2*time.Hour)), tx.OpenInvitation("unknown", epoch))
	})
	look := func(want string, state member.MailState) {
		t.Helper()
		view(t, s, func(tx member.Tx) error {
			list, err := tx.InvitationsOf("m00001")
			got := ""
			for _, i := range list {
				got += i.Token + " "
				if i.Token == "next" && !i.Opened.Equal(epoch.Add(time.Hour)) {
					t.Errorf("opened at %v: the first time counts", i.Opened)
				}
			}
			if got != want {
				t.Errorf("invitations %q, want %q", got, want)
			}
			if have, _, err := tx.MailOf("next"); err != nil || have != state {
				t.Errorf("the letter is %q, %v, want %q", have, err, state)
			}
			if _, _, err := tx.MailOf(""); !errors.Is(err, member.ErrNotFound) {
				t.Errorf("the letter of no invitation: %v", err)
			}
			return err
		})
	}
	look("hash next ", member.MailQueued)
	update(t, s, func(tx member.Tx) error { return tx.DropInvitations("m00001") })
	look("hash ", member.MailDropped) // what was accepted stays on record
}

func revocationLog(t *testing.T, s member.Store) {
	rows := []member.Revocation{
		{Kind: member.End, Scope: member.ScopeMember, Target: "a", Epoch: 2, Reason: "deactivated", At: epoch},
		{Kind: member.Recheck, Scope: member.ScopeAll, At: epoch},
		{Kind: member.End, Scope: member.ScopeSession, Target: "a", At: epoch},
		{Kind: member.End, Scope: member.ScopeMember, Target: "a", Epoch: 3, At: epoch},
	}
	for i, r := range rows {
		update(t, s, func(tx member.Tx) error {
			seq, err := tx.Revoke(r)
			if seq != int64(i+1) {
				t.Errorf("row %d has number %d", i+1, seq)
			}
			return err
		})
	}
	view(t, s, func(tx member.Tx) error {
		for _, c := range []struct {
			scope  member.RevocationScope
			target string
			want   int64
		}{{member.ScopeMember, "a", 4}, {member.ScopeSession, "a", 3}, {member.ScopeAll, "", 2}, {member.ScopeMember, "b", 0}, {"", "", 4}} {
			if got, err := tx.LatestRevocation(c.scope, c.target); got != c.want || err != nil {
				t.Errorf("latest of %q %q is %d, %v, want %d", c.scope, c.target, got, err, c.want)
			}
		}
		return nil
	})
	l, ok := s.(Log)
	if !ok {
		return
	}
	got, err := l.Revocations(t.Context(), 1, 2)
	if err != nil || len(got) != 2 || got[0].Seq != 2 || got[1].Seq != 3 {
		t.Errorf("two rows after the first: %+v, %v", got, err)
	}
	all, err := l.Revocations(t.Context(), 0, 100)
	if err != nil || len(all) != len(rows) {
		t.Fatalf("whole log: %+v, %v", all, err)
	}
	for i, r := range rows {
		if r.Seq = int64(i + 1); all[i] != r {
			t.Errorf("row %d is %+v, want %+v", i+1, all[i], r)
		}
	}
}
