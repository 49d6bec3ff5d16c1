package sql

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
)

// crowd inserts n members in an order of creation that is not that of their ids,
// several to a moment, and answers them in the order of a list.
func crowd(t *testing.T, d *DB, n int) []member.Member {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a repeatable crowd
	all := make([]member.Member, n)
	for i := range all {
		all[i] = member.Member{
			ID: member.ID(fmt.Sprintf("%06d", r.IntN(1_000_000))) + member.ID(fmt.Sprint("x", i)), UserName: fmt.Sprintf("%c%d@x", "aZäß"[r.IntN(2)], i),
			DisplayName: []string{"", "Éa", "ea", "Zz", "z", "\U0001F600"}[r.IntN(6)], Connection: "c", Version: 1, Wish: i%3 == 0,
			Created: day.Add(time.Duration(i/4) * time.Second), Modified: day.Add(time.Duration(r.IntN(n)) * time.Second),
		}
	}
	for part := range slices.Chunk(all, 500) {
		err := d.Update(t.Context(), func(tx member.Tx) error {
			for _, m := range part {
				if err := tx.InsertMember(m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, func(a, b member.Member) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return all
}

func idsOf(list []member.Member) string {
	var out []string
	for _, m := range list {
		out = append(out, string(m.ID))
	}
	return strings.Join(out, " ")
}

// TestPagesAreTheSameFromWhereverTheyAreReached asks for pages at random: from the
// beginning, the end, behind an earlier page, before and after removals.
func TestPagesAreTheSameFromWhereverTheyAreReached(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		all := crowd(t, d, 1300)
		r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // repeatable
		for round := range 60 {
			q := record.Query{Connection: "c", Start: 1 + r.IntN(len(all)+10), Count: 1 + r.IntN(300)}
			if round%3 == 0 {
				q.Filter = parse(t, "active eq true")
			}
			if round%20 == 19 { // a removal moves everybody behind it
				i := r.IntN(len(all))
				err := d.Update(t.Context(), func(tx member.Tx) error { return tx.DeleteMember(all[i].ID, 1) })
				if err != nil {
					t.Fatal(err)
				}
				all = slices.Delete(all, i, i+1)
			}
			want := all
			if q.Filter != nil {
				want = slices.DeleteFunc(slices.Clone(all), func(m member.Member) bool { return !m.Wish })
			}
			total := len(want)
			want = want[min(q.Start-1, total):]
			more := len(want) > q.Count
			want = want[:min(q.Count, len(want))]
			got, err := d.SearchMembers(t.Context(), q)
			if err != nil || got.Total != total || idsOf(got.Items) != idsOf(want) || (got.Next != "") != more {
				t.Fatalf("%+v: %d of %d, next %q, %v\n got %.300s\nwant %.300s", q, len(got.Items), got.Total, got.Next, err, idsOf(got.Items), idsOf(want))
			}
			if !more {
				continue
			}
			after, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: q.Filter, After: got.Next, Count: 3})
			q.Start, q.Count = q.Start+q.Count, 3
			next, err2 := d.SearchMembers(t.Context(), q)
			if err != nil || err2 != nil || idsOf(after.Items) != idsOf(next.Items) {
				t.Fatalf("behind %+v: %s and %s, %v %v", q, idsOf(after.Items), idsOf(next.Items), err, err2)
			}
		}
	})
}

// TestNobodyIsSkippedBehindOneWhoCameInBetween: somebody who is adopted was created
// long ago, and one of two writers may commit first with the later time. Both move
// those behind them, and a remembered place must not hide one of these: an identity
// provider would take him for gone.
func TestNobodyIsSkippedBehindOneWhoCameInBetween(t *testing.T) {
	for name, in := range map[string]func(t *testing.T, d *DB, old member.Member){
		"adopted": func(t *testing.T, d *DB, old member.Member) {
			t.Helper()
			old.Connection, old.Version = "c", 2
			if err := d.Update(t.Context(), func(tx member.Tx) error { return tx.UpdateMember(old, 1) }); err != nil {
				t.Fatal(err)
			}
		},
		"committed late": func(t *testing.T, d *DB, _ member.Member) {
			t.Helper()
			late := member.Member{ID: "late", UserName: "late", Connection: "c", Version: 1, Created: day.Add(299*time.Second + 500*time.Millisecond)}
			if err := d.Update(t.Context(), func(tx member.Tx) error { return tx.InsertMember(late) }); err != nil {
				t.Fatal(err)
			}
		},
	} {
		onEngines(t, func(t *testing.T, d *DB) {
			// All of the crowd is older than any transaction may be, save its last.
			d.now = func() time.Time { return day.Add(300*time.Second + settled) }
			old := member.Member{ID: "old", UserName: "old", Version: 1, Created: day.Add(-time.Hour)}
			if err := d.Update(t.Context(), func(tx member.Tx) error { return tx.InsertMember(old) }); err != nil {
				t.Fatal(err)
			}
			crowd(t, d, 1300)
			walk := func() (all []member.Member) {
				for start := 1; ; start += 100 {
					got, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Start: start, Count: 100})
					if err != nil {
						t.Fatal(err)
					}
					if all = append(all, got.Items...); len(got.Items) < 100 {
						return all
					}
				}
			}
			walk()
			if len(d.anchors.list) == 0 {
				t.Error("nothing was remembered: the test proves nothing")
			}
			in(t, d, old)
			seen := map[member.ID]bool{}
			all := walk()
			for _, m := range all {
				seen[m.ID] = true
			}
			if len(all) != 1301 || len(seen) != 1301 {
				t.Errorf("%s: %d members, %d of them different; want each of 1301 once", name, len(all), len(seen))
			}
		})
	}
}

// TestAFilterHasPlacesOfItsOwn: an index among those found is not one among all, and a
// page behind a cursor has none.
func TestAFilterHasPlacesOfItsOwn(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		d.now = func() time.Time { return day.Add(24 * time.Hour) }
		all := crowd(t, d, 1300)
		since := day.Add(40 * time.Second) // leaves 1140
		found := slices.DeleteFunc(slices.Clone(all), func(m member.Member) bool { return m.Created.Before(since) })
		later := parse(t, `meta.created ge "`+since.Format(time.RFC3339)+`"`)
		for _, tc := range []struct {
			filter filter.Expr
			of     []member.Member
			starts []int
		}{ // each leaves what could mislead the next
			{nil, all, []int{951, 1015}},
			{later, found, []int{952, 1015}},
			{nil, all, []int{1015, 1002}},
		} {
			first, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: tc.filter, Count: 60})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: tc.filter, After: first.Next, Count: maxPage}); err != nil {
				t.Fatal(err)
			}
			for _, start := range tc.starts {
				got, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: tc.filter, Start: start, Count: 60})
				if want := tc.of[start-1 : start+59]; err != nil || idsOf(got.Items) != idsOf(want) {
					t.Errorf("from %d of %d: %v\n got %.100s\nwant %.100s", start, len(tc.of), err, idsOf(got.Items), idsOf(want))
				}
			}
		}
		if len(d.anchors.list) == 0 {
			t.Error("nothing was remembered: the test proves nothing")
		}
		for start, more := range map[int]bool{1241: false, 1240: true} {
			got, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Start: start, Count: 60})
			if err != nil || len(got.Items) != 60 || (got.Next != "") != more {
				t.Errorf("the last 60 from %d: %d, next %q, %v", start, len(got.Items), got.Next, err)
			}
		}
	})
}

// TestAnchorsAreOfOneListAtOneTime: a place that is taken from another list, or from
// before a move, begins a page in the wrong place.
func TestAnchorsAreOfOneListAtOneTime(t *testing.T) {
	of := tally{"okta", countedMembers}
	var a anchors
	for _, index := range []int{1001, 5001, 3001} {
		a.add(anchor{of, index, 7, place{int64(index), "x"}})
	}
	for _, tc := range []struct {
		of    tally
		index int
		moves int64
		want  int // 0: none
		why   string
	}{
		{of, 3001, 7, 3001, "the very place"},
		{of, 5000, 7, 3001, "the nearest before it, in whatever order they were seen"},
		{of, 9000, 7, 5001, "the last"},
		{of, 1000, 7, 0, "none is before it"},
		{of, 5001 + anchorReach, 7, 5001, "as far as it reaches"},
		{of, 5002 + anchorReach, 7, 0, "too far: to skip from the end may be nearer"},
		{of, 3001, 8, 0, "somebody was removed since"},
		{of, 3001, 6, 0, "a snapshot from before"},
		{tally{"entra", countedMembers}, 3001, 7, 0, "another connection"},
		{tally{"okta", countedTeams}, 3001, 7, 0, "teams"},
	} {
		got, ok := a.before(tc.of, tc.index, tc.moves)
		if got.index != tc.want || ok != (tc.want > 0) {
			t.Errorf("%+v %d at %d: %d, want %d: %s", tc.of, tc.index, tc.moves, got.index, tc.want, tc.why)
		}
	}
	for i := range 2 * anchorsKept {
		a.add(anchor{of, 10_000 + i, 7, place{}})
		a.add(anchor{of, 10_000 + i, 7, place{}}) // once
	}
	if _, old := a.before(of, 3001, 7); old || len(a.list) != anchorsKept {
		t.Errorf("%d are kept; an old one: %v", len(a.list), old)
	}
	if got, _ := a.before(of, 99_999, 7); got.index != 0 {
		t.Errorf("beyond reach: %d", got.index)
	}
	if got, _ := a.before(of, 11_000, 7); got.index != 10_000+2*anchorsKept-1 {
		t.Errorf("the newest is lost: %d", got.index)
	}
}

// TestSortsAreThoseOfMemory compares each order of the store with Go's.
func TestSortsAreThoseOfMemory(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		all := crowd(t, d, 160)
		missing := func(a, b string) int { // last
			return cmp.Or(cmp.Compare(fmt.Sprint(a == ""), fmt.Sprint(b == "")), cmp.Compare(a, b))
		}
		fold := member.FoldUserName
		for path, compare := range map[string]func(a, b member.Member) int{
			"userName":          func(a, b member.Member) int { return missing(fold(a.UserName), fold(b.UserName)) },
			"displayName":       func(a, b member.Member) int { return missing(fold(a.DisplayName), fold(b.DisplayName)) },
			"active":            func(a, b member.Member) int { return cmp.Compare(fmt.Sprint(a.Wish), fmt.Sprint(b.Wish)) },
			"meta.lastModified": func(a, b member.Member) int { return a.Modified.Compare(b.Modified) },
			"id":                func(a, b member.Member) int { return cmp.Compare(a.ID, b.ID) },
		} {
			by, err := filter.ParsePath(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, down := range []bool{false, true} {
				want := slices.Clone(all)
				slices.SortStableFunc(want, func(a, b member.Member) int {
					if down {
						return compare(b, a)
					}
					return compare(a, b)
				})
				q := record.Query{Connection: "c", Sort: record.Sort{By: by, Descending: down}, Count: 60}
				var got []member.Member
				for {
					f, err := d.SearchMembers(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, f.Items...)
					if q.After = f.Next; q.After == "" {
						break
					}
				}
				if idsOf(got) != idsOf(want) {
					t.Errorf("%s, descending %v:\n got %.400s\nwant %.400s", path, down, idsOf(got), idsOf(want))
				}
			}
		}
		for _, odd := range []string{"nickName", "emails", "emails.type", "groups", "name", "title"} {
			by, err := filter.ParsePath(odd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Sort: record.Sort{By: by}, Count: 1}); !errors.Is(err, filter.ErrUnsupported) {
				t.Errorf("by %s: %v", odd, err)
			}
		}
	})
}

func TestPositionsOfAnotherListAreRefused(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		crowd(t, d, 10)
		plain := record.Query{Connection: "c", Count: 2}
		sorted := record.Query{Connection: "c", Count: 2, Sort: record.Sort{By: filter.Path{Attr: "userName"}}}
		a, err1 := d.SearchMembers(t.Context(), plain)
		b, err2 := d.SearchMembers(t.Context(), sorted)
		if err1 != nil || err2 != nil || a.Next == "" || b.Next == "" {
			t.Fatal(err1, err2)
		}
		for _, after := range []string{b.Next, "c:", "c:x:y", "c:1:", "c:1:\x00", "n:0", "n:x", "x", ":", "c:1:\xff"} {
			plain.After = after
			if _, err := d.SearchMembers(t.Context(), plain); !errors.Is(err, record.ErrPosition) {
				t.Errorf("%q: %v", after, err)
			}
		}
		sorted.After = a.Next
		if _, err := d.SearchMembers(t.Context(), sorted); !errors.Is(err, record.ErrPosition) {
			t.Errorf("%q in an order: %v", a.Next, err)
		}
	})
}

// TestTotalsAreTrueUnderConcurrency adds, removes and moves members at once, with
// changes that fail among them.
func TestTotalsAreTrueUnderConcurrency(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 25 {
					id := member.ID(fmt.Sprintf("w%d-%d", w, i))
					m := member.Member{ID: id, UserName: string(id), Connection: "a", Version: 1}
					err := d.Update(t.Context(), func(tx member.Tx) error { return tx.InsertMember(m) })
					_ = d.Update(t.Context(), func(tx member.Tx) error { return errors.Join(tx.DeleteMember(id, 1), errOne) }) // taken back
					switch {
					case err != nil:
					case i%5 == 0:
						err = d.Update(t.Context(), func(tx member.Tx) error { return tx.DeleteMember(id, 1) })
					case i%5 == 1:
						m.Connection, m.Version = "b", 2
						err = d.Update(t.Context(), func(tx member.Tx) error { return tx.UpdateMember(m, 1) })
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		for connection, want := range map[string]int{"a": 8 * 15, "b": 8 * 5} {
			got, err := d.SearchMembers(t.Context(), record.Query{Connection: connection, Count: 1000})
			if err != nil || got.Total != want || len(got.Items) != want {
				t.Errorf("%s: total %d, %d members, want %d, %v", connection, got.Total, len(got.Items), want, err)
			}
		}
	})
}

// TestSearchesUseTheirIndexes reads the plans of the questions that identity
// providers ask before every change.
func TestSearchesUseTheirIndexes(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		crowd(t, d, 1500)
		if d.engine == enginePostgres { // it keeps statistics by itself; SQLite has none
			if _, err := d.writes.ExecContext(t.Context(), "ANALYZE"); err != nil {
				t.Fatal(err)
			}
		}
		for text, index := range map[string]string{
			`userName eq "a1@x"`: "members_by_name", `userName sw "a12"`: "members_by_name", `externalId eq "x"`: "members_external",
			`emails eq "a@x"`: "members_by_email members_email", `emails[type eq "work"].value eq "a@x"`: "members_by_email members_email", `id eq "x"`: "members_pkey sqlite_autoindex_members_1",
			``: "members_listed",
		} {
			p := pager[member.Member]{kindOfList: kindOfList[member.Member]{table: "members", alias: "m", attributes: memberAttributes}, q: record.Query{Connection: "c", Filter: parse(t, text)}, r: renderer{attributes: memberAttributes, args: []any{"c"}}}
			explain := "EXPLAIN QUERY PLAN "
			if d.engine == enginePostgres {
				p.r.bytes, explain = ` COLLATE "C"`, "EXPLAIN "
			}
			if err := p.prepare(); err != nil {
				t.Fatal(err)
			}
			order := "m.created, m.id"
			if p.r.bounded {
				order = "+" + order
			}
			plan := planOf(t, d, explain+p.inner(p.where, order, 101, 0), p.r.args)
			count := planOf(t, d, explain+"SELECT count(*) FROM members m WHERE "+p.where, p.r.args)
			if text != "" && !slices.ContainsFunc(strings.Fields(index), func(i string) bool { return strings.Contains(count, i) }) {
				t.Errorf("the count of %s does not use %s:\n%s", text, index, count)
			}
			if !slices.ContainsFunc(strings.Fields(index), func(i string) bool { return strings.Contains(plan, i) }) {
				t.Errorf("%s does not use %s:\n%s", text, index, plan)
			}
		}
	})
}

// TestCostlyQuestionsAreBounded_C05: what would look through every member is
// refused where there are too many, unless an index leaves few.
func TestCostlyQuestionsAreBounded_C05(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		crowd(t, d, 50)
		d.lookMost = 50 // as many as may be looked through
		if _, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: parse(t, `displayName co "x"`), Count: 1}); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		d.lookMost = 49
		for text, refused := range map[string]bool{
			`userName co "x"`: true, `displayName ew "x"`: true, `displayName sw "x"`: true, `userName eq "a" or displayName co "x"`: true,
			`not (userName eq "a") and displayName co "x"`: true, `emails[value co "x"]`: true, `displayName gt "x"`: true,
			`userName eq "a"`: false, `userName sw "a"`: false, `userName eq "a" and displayName co "x"`: false, `active eq true`: false,
			`(userName eq "a" or externalId eq "b") and displayName co "x"`: false, `meta.lastModified gt "2026-01-01T00:00:00Z"`: false,
		} {
			_, err := d.SearchMembers(t.Context(), record.Query{Connection: "c", Filter: parse(t, text), Count: 1})
			if errors.Is(err, filter.ErrUnsupported) != refused || !refused && err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		sorted := record.Query{Connection: "c", Count: 1, Sort: record.Sort{By: filter.Path{Attr: "displayName"}}}
		if _, err := d.SearchMembers(t.Context(), sorted); !errors.Is(err, filter.ErrUnsupported) {
			t.Errorf("an order without an index: %v", err)
		}
		for _, by := range []filter.Path{{Attr: "userName"}, {Attr: "meta", Sub: "lastModified"}, {Attr: "meta", Sub: "created"}} {
			sorted.Sort.By = by
			if _, err := d.SearchMembers(t.Context(), sorted); err != nil {
				t.Errorf("an order with an index, by %s: %v", by, err)
			}
		}
	})
}

func planOf(t *testing.T, d *DB, query string, args []any) string {
	t.Helper()
	rows, err := d.reads.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var plan strings.Builder
	for rows.Next() {
		var line string
		var a, b, c int
		if d.engine == enginePostgres {
			err = rows.Scan(&line)
		} else {
			err = rows.Scan(&a, &b, &c, &line)
		}
		if err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
