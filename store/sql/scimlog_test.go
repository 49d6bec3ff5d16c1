package sql

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/scim/record"
)

func entry(i int, change ...func(*record.Entry)) record.Entry {
	e := record.Entry{
		ID: record.EntryID(day.Add(time.Duration(i)*time.Second), uint32(i)), Time: day.Add(time.Duration(i) * time.Second),
		Connection: "okta", Client: "Okta", Method: "GET", Path: "/Users", Meaning: fmt.Sprintf("entry %d", i), Status: 200, Took: 1500 * time.Microsecond,
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func meanings(list []record.Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, strings.TrimPrefix(e.Meaning, "entry "))
	}
	return strings.Join(out, " ")
}

func TestTheSCIMLogIsSearched(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		full := entry(7, func(e *record.Entry) {
			e.Token, e.Type, e.Detail, e.Tolerated = "prod", "uniqueness", "taken", "T1,T2"
			e.Resource, e.Subject, e.Sessions, e.Request, e.Response, e.RequestID, e.Address = "id7", "ana", 2, `{"a":1}`, `{"b":2}`, "r", "192.0.2.1"
		})
		list := []record.Entry{
			entry(1), entry(2, func(e *record.Entry) { e.Connection = "hr" }), entry(3, func(e *record.Entry) { e.Status = 404 }),
			entry(4, func(e *record.Entry) { e.Resource = "id7" }), entry(5, func(e *record.Entry) { e.Subject = "ana" }),
			entry(6, func(e *record.Entry) { e.Client = "Entra" }), full,
			entry(8, func(e *record.Entry) { e.Request = "\x00\xff" }), // what PostgreSQL cannot hold
		}
		if err := d.AppendLog(ctx, list); err != nil {
			t.Fatal(err)
		}
		if err := d.AppendLog(ctx, list[:1]); err != nil {
			t.Errorf("an entry twice: %v", err)
		}
		for _, tc := range []struct {
			f    record.LogFilter
			want string
		}{
			{record.LogFilter{}, "8 7 6 5 4 3 2 1"},
			{record.LogFilter{Connection: "hr"}, "2"},
			{record.LogFilter{Errors: true}, "3"},
			{record.LogFilter{Who: "id7"}, "7 4"},
			{record.LogFilter{Who: "ANA"}, "7 5"},
			{record.LogFilter{Who: "nobody\x00"}, ""},
			{record.LogFilter{Client: "entra"}, "6"},
			{record.LogFilter{Since: day.Add(6 * time.Second)}, "8 7 6"},
			{record.LogFilter{Limit: 2}, "8 7"},
			{record.LogFilter{Limit: 2, Before: list[6].ID}, "6 5"},
			{record.LogFilter{Who: "ana", Connection: "okta", Since: day, Limit: 1}, "7"},
		} {
			got, err := d.SearchLog(ctx, tc.f)
			if err != nil || meanings(got) != tc.want {
				t.Errorf("%+v: %s, want %s, %v", tc.f, meanings(got), tc.want, err)
			}
		}
		got, err := d.SearchLog(ctx, record.LogFilter{Bodies: true, Limit: 2})
		if err != nil || got[1] != full {
			t.Errorf("got  %+v\nwant %+v, %v", got[1], full, err)
		}
		if got, _ := d.SearchLog(ctx, record.LogFilter{Limit: 2}); got[1].Request != "" || got[1].Response != "" {
			t.Errorf("bodies unasked: %+v", got[1])
		}
	})
}

func TestTheSCIMLogIsARing(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		var list []record.Entry
		for i := range 30 {
			list = append(list, entry(i))
		}
		if err := d.AppendLog(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		count := func() int {
			got, err := d.SearchLog(t.Context(), record.LogFilter{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			return len(got)
		}
		for _, tc := range []struct {
			before time.Time
			most   int
			left   int
		}{{day, 100, 30}, {day.Add(10 * time.Second), 100, 20}, {day, 15, 15}, {day.Add(time.Hour), 15, 0}, {day.Add(time.Hour), 15, 0}} {
			was := count()
			n, err := d.SweepLog(t.Context(), tc.before, tc.most)
			if err != nil || count() != tc.left || n != was-tc.left {
				t.Errorf("before %v, at most %d: %d removed, %d left, %v", tc.before, tc.most, n, count(), err)
			}
		}
	})
}

// Two nodes write their batches in any order: what was said last stays said.
func TestTheLaterWordOfAnIdPStays(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		yes, no := true, false
		said := func(i int, resource string, w record.Want, status int) record.Entry {
			return entry(i, func(e *record.Entry) {
				e.Status, e.Subject = status, "ana"
				e.Said = &record.Said{Connection: "okta", Kind: "User", Resource: resource, Time: e.Time, Status: status, Meaning: e.Meaning, Want: w}
			})
		}
		for _, batch := range [][]record.Entry{
			{said(5, "a", record.Want{Active: &no}, 503), said(4, "a", record.Want{Active: &yes}, 200)},
			{said(3, "a", record.Want{Active: &yes}, 200)},
			{said(1, "name:ana", record.Want{Active: &yes}, 409), said(2, "gone", record.Want{Deleted: true}, 503)},
		} {
			if err := d.AppendLog(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		got, next, err := d.Drifts(t.Context(), "okta", "", 10)
		if err != nil || next != "" {
			t.Fatal(err)
		}
		var lines []string
		for _, g := range got {
			lines = append(lines, g.Resource+" "+g.Meaning+" "+strings.Join(g.What, ","))
		}
		slices.Sort(lines)
		// "gone" is deleted and not here: as said.
		want := []string{
			"a entry 5 it is not here: the last request about it was answered 503",
			"name:ana entry 1 it is not here: the last request about it was answered 409",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%q", lines)
		}
		if err := d.AppendLog(t.Context(), []record.Entry{said(6, "a", record.Want{Deleted: true}, 204)}); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := d.Drifts(t.Context(), "okta", "", 10); len(got) != 0 {
			t.Errorf("%+v", got) // the refused create is settled with it
		}
	})
}
