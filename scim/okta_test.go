package scim_test

import (
	"strings"
	"testing"
	"time"
)

// TestOktaSPEC re-expresses Okta's SPEC test from its description: twelve requests,
// against one seeded user, with the assertions that it makes.
func TestOktaSPEC(t *testing.T) {
	s := newServer(t)
	seeded := s.want(201, "POST", "/Users", `{"userName":"seed@example.com","name":{"givenName":"Seed","familyName":"One"},"emails":[{"value":"seed@example.com","primary":true}],"active":true}`).text("id")
	const list = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	user := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"runscope300@atko.com","name":{"givenName":"Runscope","familyName":"Test"},
		"emails":[{"primary":true,"value":"runscope300@atko.com","type":"work"}],"displayName":"Runscope Test","active":true}`
	var id string
	step := func(name string, do func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { s.t = t; do(t) })
	}
	is := func(t *testing.T, a answer, want any, keys ...any) {
		t.Helper()
		if got := a.get(keys...); got != want {
			t.Errorf("%v is %v, want %v", keys, got, want)
		}
	}
	filled := func(t *testing.T, a answer, keys ...any) {
		t.Helper()
		if got := a.get(keys...); got == nil || got == "" {
			t.Errorf("%v is missing: %s", keys, a.raw)
		}
	}
	isType := func(t *testing.T, a answer) {
		t.Helper()
		if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/scim+json") && !strings.HasPrefix(ct, "application/json") {
			t.Errorf("Content-Type %q", ct)
		}
	}
	step("1 the first user", func(t *testing.T) {
		a := s.want(200, "GET", "/Users?count=1&startIndex=1", "")
		isType(t, a)
		is(t, a, list, "schemas", 0)
		is(t, a, 1.0, "itemsPerPage")
		is(t, a, 1.0, "startIndex")
		filled(t, a, "totalResults")
		for _, keys := range [][]any{{"id"}, {"name", "familyName"}, {"name", "givenName"}, {"userName"}, {"emails", 0, "value"}} {
			filled(t, a, append([]any{"Resources", 0}, keys...)...)
		}
		is(t, a, true, "Resources", 0, "active")
		is(t, a, seeded, "Resources", 0, "id")
	})
	step("2 that user by id", func(t *testing.T) {
		a := s.want(200, "GET", "/Users/"+seeded, "")
		for _, keys := range [][]any{{"id"}, {"name", "familyName"}, {"name", "givenName"}, {"userName"}, {"emails", 0, "value"}} {
			filled(t, a, keys...)
		}
		is(t, a, true, "active")
	})
	step("3 nobody by that name", func(t *testing.T) {
		a := s.want(200, "GET", "/Users?filter="+escape(`userName eq "nobody@example.com"`), "")
		is(t, a, list, "schemas", 0)
		is(t, a, 0.0, "totalResults")
	})
	step("4 nobody by that id", func(t *testing.T) {
		a := s.do("GET", "/Users/010101001010101011001010101011", "")
		errorBody(t, a, 404, "")
		filled(t, a, "detail")
	})
	step("5 create, as application/json", func(t *testing.T) {
		a := s.want(201, "POST", "/Users", user, "Content-Type", "application/json", "Accept", "application/json")
		isType(t, a)
		is(t, a, true, "active")
		id = a.text("id")
		is(t, a, "Test", "name", "familyName")
		is(t, a, "Runscope", "name", "givenName")
		is(t, a, "urn:ietf:params:scim:schemas:core:2.0:User", "schemas", 0)
		is(t, a, "runscope300@atko.com", "userName")
	})
	step("6 the new user by id", func(t *testing.T) {
		a := s.want(200, "GET", "/Users/"+id, "")
		is(t, a, "runscope300@atko.com", "userName")
		is(t, a, "Test", "name", "familyName")
		is(t, a, "Runscope", "name", "givenName")
	})
	step("7 the same again is 409", func(t *testing.T) {
		errorBody(t, s.do("POST", "/Users", user), 409, "uniqueness")
	})
	step("8 the name in upper case finds him", func(t *testing.T) {
		a := s.want(200, "GET", "/Users?filter="+escape(`userName eq "RUNSCOPE300@ATKO.COM"`), "")
		is(t, a, 1.0, "totalResults")
	})
	step("9 groups answer", func(t *testing.T) {
		within(t, 600*time.Millisecond, func() { isType(t, s.want(200, "GET", "/Groups", "")) })
	})
	step("10 an unknown id, once more", func(t *testing.T) { errorBody(t, s.do("GET", "/Users/00919288221112222", ""), 404, "") })
	step("11 a token that is none", func(t *testing.T) {
		errorBody(t, s.do("GET", "/Users?filter="+escape(`userName eq "x"`), "", "Authorization", "non-token"), 401, "")
	})
	step("12 the status is text", func(t *testing.T) {
		if a := s.do("GET", "/Users/00919288221112222", ""); a.text("status") != "404" {
			t.Errorf("status %v", a.get("status"))
		}
	})
}

// TestOktaCRUDOrder replays the wire sequence of Okta's CRUD test, whose assertions
// are about a live Okta organisation: what can be seen here is each answer.
func TestOktaCRUDOrder(t *testing.T) {
	s := newServer(t)
	okta := []string{"User-Agent", "Okta SCIM Client 1.0.0"}
	match := func(name string) answer {
		return s.want(200, "GET", "/Users?filter="+escape(`userName eq "`+name+`"`)+"&startIndex=1&count=100", "", okta...)
	}
	body := func(name, family string, active bool) string {
		return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + name + `","name":{"givenName":"R","familyName":"` + family + `"},"emails":[{"primary":true,"value":"` + name +
			`","type":"work"}],"password":"x1","groups":[],"active":` + map[bool]string{true: "true", false: "false"}[active] + `}`
	}
	if a := match("r1@atko.com"); a.get("totalResults") != 0.0 { // 1
		t.Fatal(a.raw)
	}
	id := s.want(201, "POST", "/Users", body("r1@atko.com", "One", true), okta...).text("id") // 2
	if a := match("r1@atko.com"); a.get("totalResults") != 1.0 {                              // 3
		t.Error(a.raw)
	}
	read := s.want(200, "GET", "/Users/"+id, "", okta...)                                            // 4
	put := s.want(200, "PUT", "/Users/"+id, strings.Replace(read.raw, `"One"`, `"Two"`, 1), okta...) // 5: what it read, with meta, id and groups
	if put.text("name", "familyName") != "Two" || put.text("id") != id {
		t.Error(put.raw)
	}
	off := patchBody(`{"op":"replace","value":{"active":false}}`)
	if a := s.want(200, "PATCH", "/Users/"+id, off, okta...); a.get("active") != false { // 6
		t.Error(a.raw)
	}
	s.want(200, "PATCH", "/Users/"+id, off, okta...)                         // 7: repeated
	if a := match("r1@atko.com"); a.get("Resources", 0, "active") != false { // 8: still to be found
		t.Error(a.raw)
	}
	if a := s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":{"active":true}}`), okta...); a.get("active") != true || a.text("id") != id { // 9
		t.Error(a.raw)
	}
	if a := s.want(200, "GET", "/Users?startIndex=1&count=100", "", okta...); a.get("totalResults") != 1.0 { // 10: import
		t.Error(a.raw)
	}
	group := s.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"G","members":[]}`, okta...).text("id") // 11
	s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"replace","path":"members","value":[{"value":"`+id+`","display":"r1"}]}`), okta...)               // 12
	s.want(204, "DELETE", "/Groups/"+group, "", okta...)                                                                                                      // 13
}
