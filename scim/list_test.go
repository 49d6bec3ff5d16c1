package scim_test

import (
	"slices"
	"testing"

	"github.com/ssogate/ssogate/scim/schema"
)

func TestPagingIsStableAndBounded(t *testing.T) {
	s := newServer(t)
	var ids []string
	for i := range 12 {
		ids = append(ids, s.createUser("user"+itoa(i)))
	}
	var got []string
	for start := 1; start <= 12; start += 5 {
		a := s.want(200, "GET", "/Users?count=5&startIndex="+itoa(start), "")
		list, _ := a.get("Resources").([]any)
		if a.get("totalResults") != 12.0 || a.get("startIndex") != float64(start) || a.get("itemsPerPage") != float64(len(list)) {
			t.Errorf("page at %d: %.200s", start, a.raw)
		}
		for i := range list {
			got = append(got, a.text("Resources", i, "id"))
		}
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("the pages together hold %d of %d users", len(slices.Compact(got)), len(ids))
	}
	for query, want := range map[string]int{
		"count=0": 0, "count=-3": 0, "startIndex=0&count=2": 2, "startIndex=-7": 12, "startIndex=99999999999999999999": 0, "count=99999999999999999999": 12, "count=": 12,
	} {
		a := s.want(200, "GET", "/Users?"+query, "")
		list, _ := a.get("Resources").([]any)
		if len(list) != want || a.get("totalResults") != 12.0 {
			t.Errorf("%s: %d resources, want %d: %.120s", query, len(list), want, a.raw)
		}
	}
	for _, bad := range []string{"count=x", "startIndex=1.5", "count=1&count=2", "attributes=id&excludedAttributes=meta"} {
		if a := s.do("GET", "/Users?"+bad, ""); a.status != 400 {
			t.Errorf("%s: got %d", bad, a.status)
		}
	}
}

// TestFiltersTheStoreCannotAnswer are evaluated in memory, with the same result.
func TestFiltersTheStoreCannotAnswer(t *testing.T) {
	s := newServer(t)
	ana := s.want(201, "POST", "/Users", full).text("id")
	for i := range 5 {
		s.want(201, "POST", "/Users", `{"userName":"u`+itoa(i)+`","title":"Clerk","`+schema.EnterpriseURN+`":{"department":"Ops"}}`)
	}
	group := s.createGroup("Sales", ana)
	for f, want := range map[string]float64{
		`title eq "HEAD"`: 1, `title eq "clerk"`: 5, `title co "e"`: 6, `name.honorificPrefix pr`: 1, `not (title pr)`: 0,
		schema.EnterpriseURN + `:department eq "ops"`: 5, `roles[value eq "admin"]`: 1, `locale sw "de" and active eq true`: 1, `groups.display eq "sales"`: 1,
		schema.MemberURN + `:state eq "invited"`: 6, `emails[type eq "home"].value eq "ana@home.example"`: 1,
	} {
		if a := s.want(200, "GET", "/Users?count=2&startIndex=1&filter="+escape(f), ""); a.get("totalResults") != want {
			t.Errorf("%s: %v, want %v", f, a.get("totalResults"), want)
		} else if list, _ := a.get("Resources").([]any); float64(len(list)) != min(want, 2) {
			t.Errorf("%s: a page of %d", f, len(list))
		}
	}
	if a := s.want(200, "GET", "/Users?filter="+escape(`groups eq "`+group+`"`)+"&attributes=userName", ""); a.get("totalResults") != 1.0 || a.text("Resources", 0, "userName") != "ana@example.com" || a.get("Resources", 0, "title") != nil {
		t.Errorf("by group: %s", a.raw)
	}
	if a := s.want(200, "GET", "/Groups?filter="+escape(`members.display sw "ana"`), ""); a.get("totalResults") != 1.0 {
		t.Errorf("groups by member's name: %s", a.raw)
	}
}

func TestSearchByPostAnswersLikeAList(t *testing.T) {
	s := newServer(t)
	ana := s.want(201, "POST", "/Users", full).text("id")
	s.createUser("ben")
	group := s.createGroup("Sales", ana)
	a := s.want(200, "POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
		"filter":"userName sw \"ana\"","attributes":["userName","emails.value"],"startIndex":1,"count":10}`)
	if a.get("totalResults") != 1.0 || a.text("Resources", 0, "id") != ana || a.get("Resources", 0, "title") != nil || a.text("Resources", 0, "emails", 0, "value") == "" {
		t.Errorf("users: %s", a.raw)
	}
	if a := s.want(200, "POST", "/Users/.search", `{}`); a.get("totalResults") != 2.0 {
		t.Errorf("everything: %s", a.raw)
	}
	if a := s.want(200, "POST", "/Groups/.search", `{"excludedAttributes":"members","COUNT":1}`); a.text("Resources", 0, "id") != group || a.get("Resources", 0, "members") != nil {
		t.Errorf("groups: %s", a.raw)
	}
	for _, bad := range []string{`{"filter":5}`, `{"count":"x"}`, `{"count":1.5}`, `{"attributes":[1]}`, `{"filter":["a"]}`, `{"filter":"(((","count":1}`, `{"count":1,"Count":2}`, `[]`} {
		if a := s.do("POST", "/Users/.search", bad); a.status != 400 {
			t.Errorf("%s: got %d %s", bad, a.status, a.raw)
		}
	}
}
