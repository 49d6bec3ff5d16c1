package sql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
)

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// people inserts members a..e, each a day apart, and one of another connection.
func people(t *testing.T, d *DB) {
	t.Helper()
	err := d.Update(t.Context(), func(tx member.Tx) error {
		for i, m := range []member.Member{
			{ID: "a", UserName: "Ana@Corp.example", DisplayName: "Ana Álvarez", GivenName: "Ana", Email: "ana@corp.example", ExternalID: "X1", Wish: true},
			{ID: "b", UserName: "ben_x@corp.example", DisplayName: "Ben", FamilyName: "O'Neil", Email: "BEN@corp.example", ExternalID: "x1"},
			{ID: "c", UserName: "c%c@corp.example", DisplayName: "100%", Wish: true},
			{ID: "d", UserName: `d\d@other.example`, DisplayName: "Straße", ExternalID: "x2", Wish: true},
			{ID: "e", UserName: "e@other.example", DisplayName: "", Wish: true, Suspended: true},
		} {
			m.Connection, m.Version, m.Epoch = "okta", 1, 1
			m.Created = day.AddDate(0, 0, i)
			m.Modified = m.Created.Add(time.Hour)
			if err := tx.InsertMember(m); err != nil {
				return err
			}
		}
		if err := tx.InsertMember(member.Member{ID: "z", UserName: "zoe@corp.example", Connection: "entra", ExternalID: "X1", Wish: true, Created: day}); err != nil {
			return err
		}
		for i, name := range []string{"Finance", "Ops"} {
			if err := tx.InsertTeam(member.Team{
				ID: member.ID(fmt.Sprint("t", i)), Slug: strings.ToLower(name), DisplayName: name,
				Connection: "okta", ExternalID: "G" + name, Version: 1, Created: day, Modified: day,
			}); err != nil {
				return err
			}
		}
		_, err := tx.AddMemberships("t0", []member.ID{"a", "b"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, s string) filter.Expr {
	t.Helper()
	if s == "" {
		return nil
	}
	e, err := filter.Parse(s, filter.Lenient)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return e
}

func TestSearchMembersByFilter(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		people(t, d)
		for _, c := range []struct{ filter, want string }{
			{``, "a b c d e"},
			{`userName eq "ANA@corp.EXAMPLE"`, "a"},
			{`userName eq "ａna@corp.example"`, "a"},
			{`userName eq "nobody"`, ""},
			{`urn:ietf:params:scim:schemas:core:2.0:User:USERNAME eq "ana@corp.example"`, "a"},
			{`userName ne "ana@corp.example"`, "b c d e"},
			{`userName eq "zoe@corp.example"`, ""}, // another connection's
			{`externalId eq "X1"`, "a"},            // case-exact
			{`externalId eq "x1"`, "b"},
			{`externalId pr`, "a b d"},
			{`not (externalId pr)`, "c e"},
			{`externalId eq null`, "c e"},
			{`displayName eq "STRASSE"`, "d"},
			{`displayName co "%"`, "c"},
			{`userName co "_"`, "b"},
			{`userName co "\\"`, "d"},
			{`userName sw "c%"`, "c"},
			{`userName sw "c_"`, ""},
			{`userName ew "@OTHER.example"`, "d e"},
			{`userName ew "a very long value, longer than any name that is stored here"`, ""},
			{`userName co ""`, "a b c d e"},
			{`userName gt "BEN_X@corp.example"`, "c d e"},
			{`userName ge "ben_x@corp.example"`, "b c d e"},
			{`userName lt "c"`, "a b"},
			{`userName le "c%c@corp.example" and userName ge "b"`, "b c"},
			{`displayName lt "b"`, "a c"}, // what is missing is before nothing
			{`displayName gt ""`, "a b c d"},
			{`externalId ge "x"`, "b d"}, // by bytes, not by a language
			{`userName sw "\uDBFF\uDFFF"`, ""},
			{`name.givenName eq "ana"`, "a"},
			{`name.familyName sw "o'n"`, "b"},
			{`emails eq "ben@corp.example"`, "b"},
			{`emails.value co "corp"`, "a b"},
			{`emails[type eq "work"].value eq "ana@corp.example"`, "a"},
			{`emails[type eq "work" and value co "corp"]`, "a b"},
			{`emails[primary eq true].value sw "BEN"`, "b"},
			{`active eq true`, "a c d e"},
			{`active eq "False"`, "b"},
			{`active ne true`, "b"},
			{`id eq "c"`, "c"},
			{`id eq "C"`, ""},
			{`groups eq "t0"`, "a b"},
			{`groups.value eq "t1"`, ""},
			{`not (groups pr)`, "c d e"},
			{`meta.created gt "2026-01-03T00:00:00Z"`, "d e"},
			{`meta.created ge "2026-01-03T01:00:00+01:00"`, "c d e"},
			{`meta.lastModified lt "2026-01-02T01:00:00.000Z"`, "a"},
			{`meta.lastModified le "2026-01-02T01:00:00Z"`, "a b"},
			{`meta.created eq "2026-01-01"`, "a"},
			{`userName eq "e@other.example" or active eq false and externalId eq "x1"`, "b e"},
			{`(userName eq "e@other.example" or active eq false) and externalId eq "x1"`, "b"},
			{`userName eq "' OR 1=1 --"`, ""},
		} {
			found, err := d.SearchMembers(t.Context(), record.Query{Connection: "okta", Filter: parse(t, c.filter), Start: 1, Count: 100})
			got, total := found.Items, found.Total
			var ids []string
			for _, m := range got {
				ids = append(ids, string(m.ID))
			}
			if err != nil || strings.Join(ids, " ") != c.want || total != len(ids) {
				t.Errorf("%s: found %v of %d, %v, want %s", c.filter, ids, total, err, c.want)
			}
		}
		// The parser refuses these; PostgreSQL would answer with an error.
		for _, odd := range []string{"a\x00", "\xff"} {
			for op, want := range map[filter.Op]int{filter.EQ: 0, filter.CO: 0, filter.NE: 5} {
				for _, attr := range []string{"userName", "externalId"} {
					e := &filter.Compare{Path: filter.Path{Attr: attr}, Op: op, Value: odd}
					if found, err := d.SearchMembers(t.Context(), record.Query{Connection: "okta", Filter: e}); found.Total != want || err != nil {
						total := found.Total
						t.Errorf("%s %s %q: %d, %v, want %d", attr, op, odd, total, err, want)
					}
				}
			}
		}
	})
}

func TestSearchRefusesWhatItCannotAnswer_C05(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		people(t, d)
		for _, f := range []string{
			`nickName eq "x"`, `password eq "x"`, `active gt true`, `active eq "maybe"`, `active eq 1`, `userName eq true`, `userName gt 5`,
			`meta.created gt "yesterday"`, `meta.created co "2026"`, `groups co "t"`, `groups eq 1`, `emails[type eq "home"].value eq "x"`,
			`emails[display eq "x"]`, `phoneNumbers[type eq "work"].value eq "1"`, `emails.type eq "work"`,
			`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "x"`,
			`userName eq "ana@corp.example" or nickName eq "x"`,
		} {
			if got, err := d.SearchMembers(t.Context(), record.Query{Connection: "okta", Filter: parse(t, f), Start: 1, Count: 10}); !errors.Is(err, filter.ErrUnsupported) {
				t.Errorf("%s answered %d members, %v: an empty list would make the IdP create duplicates", f, len(got.Items), err)
			}
		}
		if _, err := d.SearchTeams(t.Context(), record.Query{Connection: "okta", Filter: parse(t, `emails[type eq "work"].value eq "x"`)}); !errors.Is(err, filter.ErrUnsupported) {
			t.Errorf("teams by e-mail: %v", err)
		}
	})
}

func TestSearchPagesInAStableOrder(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		people(t, d)
		for _, c := range []struct {
			page record.Query
			want int
			ids  string
		}{
			{record.Query{Connection: "okta", Start: 1, Count: 2}, 5, "a b"},
			{record.Query{Connection: "okta", Start: 3, Count: 2}, 5, "c d"},
			{record.Query{Connection: "okta", Start: 5, Count: 2}, 5, "e"},
			{record.Query{Connection: "okta", Start: 6, Count: 2}, 5, ""},
			{record.Query{Connection: "okta", Start: 0, Count: 1}, 5, "a"},
			{record.Query{Connection: "okta", Start: -7, Count: 1}, 5, "a"},
			{record.Query{Connection: "okta", Start: 1, Count: 0}, 5, ""},
			{record.Query{Connection: "okta", Start: 1, Count: -1}, 5, ""},
			{record.Query{Connection: "okta", Start: 1, Count: 1 << 40}, 5, "a b c d e"},
		} {
			found, err := d.SearchMembers(t.Context(), c.page)
			got, total := found.Items, found.Total
			var ids []string
			for _, m := range got {
				ids = append(ids, string(m.ID))
			}
			if err != nil || total != c.want || strings.Join(ids, " ") != c.ids {
				t.Errorf("%+v: %v of %d, %v, want %s", c.page, ids, total, err, c.ids)
			}
		}
		if found, err := d.SearchMembers(t.Context(), record.Query{Start: 1, Count: 10}); len(found.Items) != 0 || found.Total != 0 || err != nil {
			got, total := found.Items, found.Total
			t.Errorf("without a connection: %d of %d, %v", len(got), total, err)
		}
	})
}

func TestSearchTeams(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		people(t, d)
		for f, want := range map[string]int{
			``: 2, `displayName eq "FINANCE"`: 1, `externalId eq "GOps"`: 1, `externalId eq "gops"`: 0, `id eq "t1"`: 1,
			`members eq "a"`: 1, `members.value eq "c"`: 0, `members pr`: 1, `meta.created lt "2027-01-01T00:00:00Z" and displayName sw "o"`: 1,
			`urn:ietf:params:scim:schemas:core:2.0:Group:displayName eq "ops"`: 1,
		} {
			found, err := d.SearchTeams(t.Context(), record.Query{Connection: "okta", Filter: parse(t, f), Start: 1, Count: 10})
			got, total := found.Items, found.Total
			if err != nil || len(got) != want || total != want {
				t.Errorf("%s: %d of %d, %v, want %d", f, len(got), total, err, want)
			}
		}
		of, err := d.TeamsOfMembers(t.Context(), []member.ID{"a", "c", "a", "\xff"})
		if err != nil || len(of) != 1 || len(of["a"]) != 1 || of["a"][0].Slug != "finance" {
			t.Errorf("teams of members %v, %v", of, err)
		}
		in, err := d.MembersOfTeams(t.Context(), []member.ID{"t0", "t1"})
		if err != nil || len(in) != 1 || len(in["t0"]) != 2 || in["t0"][0].DisplayName != "Ana Álvarez" {
			t.Errorf("members of teams %v, %v", in, err)
		}
	})
}

// FuzzRender: whatever parses either is refused as unsupported or runs.
func FuzzRender(f *testing.F) {
	for _, s := range []string{`userName eq "a" and not (emails[type eq "work"].value co "x" or active eq true)`, `id ew "%_\\"`, `displayName sw "\u0000"`} {
		f.Add(s)
	}
	d := open(f, engines["SQLite"](f))
	f.Fuzz(func(t *testing.T, s string) {
		e, err := filter.Parse(s, filter.Lenient)
		if err != nil {
			return
		}
		if _, err := d.SearchMembers(context.Background(), record.Query{Connection: "okta", Filter: e, Start: 1, Count: 1}); err != nil && !errors.Is(err, filter.ErrUnsupported) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestSealedKeysHaveOneWinner(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		if _, err := d.SealedKey(ctx, "saml"); !errors.Is(err, member.ErrNotFound) {
			t.Fatalf("no key yet: %v", err)
		}
		got := make(chan []byte, 8)
		for i := range 8 {
			go func() {
				b, err := d.PutSealedKeyIfAbsent(ctx, "saml", []byte{0, byte(i), 0xff})
				if err != nil {
					t.Error(err)
				}
				got <- b
			}()
		}
		first := <-got
		for range 7 {
			if b := <-got; !slices.Equal(b, first) {
				t.Errorf("two nodes use two keys: %x and %x", first, b)
			}
		}
		if b, err := d.SealedKey(ctx, "saml"); err != nil || !slices.Equal(b, first) {
			t.Errorf("kept %x, %v", b, err)
		}
	})
}
