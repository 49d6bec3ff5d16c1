package scim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/scim/schema"
)

func sorted(list ...string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

// column reads one attribute of every resource of a list.
func (a answer) column(keys ...any) string {
	list, _ := a.get("Resources").([]any)
	out := make([]string, len(list))
	for i := range list {
		out[i] = a.text(append([]any{"Resources", i}, keys...)...)
	}
	return strings.Join(out, " ")
}

// TestSortOrders is RFC 7644 section 3.4.2.3. One attribute has a column in the
// store, the other has none: nobody can tell.
func TestSortOrders(t *testing.T) {
	s := newServer(t)
	for _, u := range []string{
		`{"userName":"Cleo","title":"b","emails":[{"value":"z@x","type":"home"},{"value":"b@x","type":"other","primary":true}]}`,
		`{"userName":"ana","title":"C","emails":[{"value":"c@x"}],"active":false}`,
		`{"userName":"Ben","emails":[]}`,
		`{"userName":"dora","title":"a","emails":[{"value":"a@x"}]}`,
	} {
		s.want(201, "POST", "/Users", u)
		s.now.Advance(time.Second)
	}
	for _, tc := range []struct{ query, want, why string }{
		{"sortBy=userName", "ana Ben Cleo dora", "not caseExact"},
		{"sortBy=USERNAME&sortOrder=Descending", "dora Cleo Ben ana", "names and order in any case"},
		{"sortBy=title", "dora Cleo ana Ben", "missing last in ascending order"},
		{"sortBy=title&sortOrder=descending", "Ben ana Cleo dora", "missing first in descending order"},
		{"sortBy=emails", "dora Cleo ana Ben", "of several values the primary one, by value"},
		{"sortBy=emails.type", "Cleo ana Ben dora", "other in the primary one, the rest have none: in order of creation"},
		{"sortBy=active", "ana Cleo Ben dora", "false before true"},
		{"sortBy=meta.created&sortOrder=descending", "dora Ben ana Cleo", "chronological"},
		{"sortBy=" + schema.UserURN + ":userName", "ana Ben Cleo dora", "with the URN"},
		{"sortBy=" + schema.MemberURN + ":state&count=3", "ana Cleo Ben", "an extension; equal values in order of creation"},
		{"sortBy=&sortOrder=descending", "Cleo ana Ben dora", "an order of nothing"},
		{"sortBy=userName&startIndex=2&count=2", "Ben Cleo", "a page of the order"},
		{"sortBy=title&startIndex=2&count=2&filter=" + escape("title pr"), "Cleo ana", "with a filter"},
		{"sortOrder=descending&sortBy=userName&filter=" + escape(`userName sw "a" or userName sw "b"`), "Ben ana", "with a filter of the store"},
	} {
		if got := s.want(200, "GET", "/Users?"+tc.query, "").column("userName"); got != tc.want {
			t.Errorf("%s (%s): %s, want %s", tc.query, tc.why, got, tc.want)
		}
	}
	for query, scimType := range map[string]string{
		"sortBy=name": "invalidPath", "sortBy=nothing": "invalidPath", "sortBy=password": "invalidPath", "sortBy=" + escape(`emails[type eq "work"].value`): "invalidPath",
		"sortBy=" + schema.EnterpriseURN: "invalidPath", "sortBy=userName&sortOrder=upwards": "invalidValue",
	} {
		errorBody(t, s.do("GET", "/Users?"+query, ""), 400, scimType)
	}
}

// follow reads a list by its cursors.
func (s *server) follow(path string) (pages []answer) {
	s.t.Helper()
	cursor := ""
	for range 50 {
		a := s.want(200, "GET", path+"&cursor="+cursor, "")
		pages = append(pages, a)
		if cursor = a.text("nextCursor"); cursor == "" {
			return pages
		}
	}
	s.t.Fatal("the cursors never end")
	return nil
}

func TestCursorPagesHoldEverythingOnce(t *testing.T) {
	s := newServer(t)
	ids := s.seed(23)
	for name, query := range map[string]string{
		"store": "", "store filter": "&filter=" + escape(`userName sw "seed"`), "memory": "&filter=" + escape(`not (title pr)`),
		"sorted": "&sortBy=userName&sortOrder=descending", "sorted in memory": "&sortBy=title",
	} {
		var got []string
		for i, a := range s.follow("/Users?count=5" + query) {
			list, _ := a.get("Resources").([]any)
			if a.get("startIndex") != nil || a.get("itemsPerPage") != float64(len(list)) || len(list) > 5 || a.get("totalResults") != 23.0 {
				t.Errorf("%s: page %d: %.200s", name, i, a.raw)
			}
			for j := range list {
				got = append(got, a.text("Resources", j, "id"))
			}
		}
		if !slices.Equal(sorted(got...), sorted(ids...)) {
			t.Errorf("%s: %d of %d", name, len(got), len(ids))
		}
	}
	// Index paging stays what a client gets that asks for no cursor.
	if a := s.want(200, "GET", "/Users?count=5", ""); a.get("startIndex") != 1.0 || a.get("nextCursor") != nil {
		t.Errorf("without cursor: %.200s", a.raw)
	}
}

// TestCursorsAreBoundToTheirQuery is RFC 9865 section 2.2.
func TestCursorsAreBoundToTheirQuery(t *testing.T) {
	s := newServer(t)
	s.seed(7)
	cursor := s.want(200, "GET", "/Users?count=3&cursor", "").text("nextCursor")
	if cursor == "" || strings.Contains(cursor, "seed") {
		t.Fatalf("cursor %q", cursor)
	}
	page := s.want(200, "GET", "/Users?count=3&cursor="+cursor, "")
	if again := s.want(200, "GET", "/Users?count=3&cursor="+cursor+"&attributes=userName", ""); again.column("userName") != page.column("userName") {
		t.Errorf("the same cursor shows another page: %s", again.raw)
	}
	altered := cursor[:10] + map[bool]string{true: "B", false: "A"}[cursor[10] == 'A'] + cursor[11:]
	const order = "/Users?count=3&sortBy=userName&sortOrder=descending&cursor"
	ordered := s.want(200, "GET", order, "").text("nextCursor")
	s.want(200, "GET", order+"="+ordered, "")
	for name, tc := range map[string]struct{ query, scimType string }{
		"another count":      {"count=4&cursor=" + cursor, "invalidCount"},
		"no count":           {"cursor=" + cursor, "invalidCount"},
		"another filter":     {"count=3&filter=" + escape("userName pr") + "&cursor=" + cursor, "invalidCursor"},
		"another order":      {"count=3&sortBy=userName&cursor=" + cursor, "invalidCursor"},
		"altered":            {"count=3&cursor=" + altered, "invalidCursor"},
		"cut":                {"count=3&cursor=" + cursor[:20], "invalidCursor"},
		"made up":            {"count=3&cursor=2", "invalidCursor"},
		"not base64":         {"count=3&cursor=%21%21", "invalidCursor"},
		"very long":          {"count=3&cursor=" + strings.Repeat("A", 5000), "invalidCursor"},
		"its order left out": {"count=3&cursor=" + ordered, "invalidCursor"},
		"by another name":    {"count=3&sortBy=displayName&sortOrder=descending&cursor=" + ordered, "invalidCursor"},
		"the other way":      {"count=3&sortBy=userName&sortOrder=ascending&cursor=" + ordered, "invalidCursor"},
		"both pagings":       {"count=3&startIndex=1&cursor=" + cursor, "invalidValue"},
	} {
		t.Run(name, func(t *testing.T) { errorBody(t, s.do("GET", "/Users?"+tc.query, ""), 400, tc.scimType) })
	}
	errorBody(t, s.do("GET", "/Groups?count=3&cursor="+cursor, ""), 400, "invalidCursor")
	s.token = tokenRole
	errorBody(t, s.do("GET", "/Users?count=3&cursor="+cursor, ""), 400, "invalidCursor") // C09
	s.token = tokenOkta
	s.now.Advance(time.Hour - time.Second)
	s.want(200, "GET", "/Users?count=3&cursor="+cursor, "")
	s.now.Advance(time.Second)
	errorBody(t, s.do("GET", "/Users?count=3&cursor="+cursor, ""), 400, "expiredCursor")
}

func TestTheRootListsAllTypes(t *testing.T) {
	s := newServer(t)
	ana, ben := s.createUser("ana"), s.createUser("ben")
	sales := s.createGroup("Sales", ana)
	ops := s.createGroup("Bops")
	ids := func(a answer) string { return a.column("id") }
	for _, tc := range []struct{ query, want, why string }{
		{"", ana + " " + ben + " " + sales + " " + ops, "users, then groups"},
		{"count=2&startIndex=2", ben + " " + sales, "a page over both"},
		{"count=2&startIndex=4", ops, "a page of the second only"},
		{"filter=" + escape(`meta.resourceType eq "Group"`), sales + " " + ops, "by type"},
		{"filter=" + escape(`meta.resourceType eq "group" or userName eq "ben"`), ben, "types are exact"},
		{"filter=" + escape(`userName eq "ana" or meta.resourceType eq "Group"`), ana + " " + sales + " " + ops, "an attribute that groups lack matches none of them"},
		{"filter=" + escape(`displayName sw "b"`), ben + " " + ops, "an attribute of both"},
		{"filter=" + escape(`schemas eq "`+schema.GroupURN+`"`), sales + " " + ops, "by schema"},
		{"filter=" + escape(`not (userName pr)`), sales + " " + ops, "not"},
		{"sortBy=displayName&sortOrder=descending", sales + " " + ops + " " + ben + " " + ana, "one order over both"},
		{"sortBy=userName&filter=" + escape(`displayName pr`), ana + " " + ben + " " + sales + " " + ops, "those without come last"},
	} {
		a := s.want(200, "GET", "/?"+tc.query, "")
		if ids(a) != tc.want {
			t.Errorf("%s (%s): %s, want %s", tc.query, tc.why, ids(a), tc.want)
		}
	}
	if a := s.want(200, "GET", "/?count=1", ""); a.get("totalResults") != 4.0 || a.get("itemsPerPage") != 1.0 {
		t.Errorf("totals: %s", a.raw)
	}
	body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"displayName pr","attributes":["displayName"],"startIndex":1,"count":10}`
	if a := s.want(200, "POST", "/.search", body); a.get("totalResults") != 4.0 || a.get("Resources", 0, "userName") != nil || a.text("Resources", 0, "displayName") != "ana" {
		t.Errorf("search: %s", a.raw)
	}
	for name, path := range map[string]string{"plain": "/?count=3", "sorted": "/?count=3&sortBy=displayName", "groups": "/?count=1&filter=" + escape(`meta.resourceType eq "Group"`)} {
		var got []string
		pages := s.follow(path)
		for _, a := range pages {
			got = append(got, strings.Fields(ids(a))...)
		}
		want := []string{ana, ben, sales, ops}
		if name == "groups" {
			want = want[2:]
		}
		if !slices.Equal(sorted(got...), sorted(want...)) || len(pages) > 3 {
			t.Errorf("%s by cursor: %v in %d pages", name, got, len(pages))
		}
	}
	errorBody(t, s.do("GET", "/?filter="+escape(`usrName eq "x"`), ""), 400, "invalidFilter")
	errorBody(t, s.do("GET", "/?sortBy=nothing", ""), 400, "invalidPath")
	s.token = tokenRole
	if a := s.want(200, "GET", "/", ""); a.get("totalResults") != 0.0 {
		t.Errorf("another connection sees %s", a.raw) // C09
	}
}
