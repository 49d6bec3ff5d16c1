package scim_test

import (
	"strings"
	"testing"
)

const entURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// validatorUser is what the hosted validator posts: with a role that is primary in
// words.
func validatorUser(name string) string {
	return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + entURN + `"],"userName":"` + name + `","active":true,"displayName":"D","externalId":"ext-` + name + `",
		"name":{"formatted":"F","familyName":"Fa","givenName":"Gi"},"roles":[{"primary":"True","display":"d","value":"v","type":"t"}],"emails":[{"type":"work","value":"` + name + `","primary":true}]}`
}

// TestMicrosoftValidator re-expresses the hosted validator's 25 tests and 7 previews
// from their description.
func TestMicrosoftValidator(t *testing.T) {
	s := newServer(t)
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { s.t = t; f(t) })
	}
	find := func(endpoint, filter string) answer {
		return s.want(200, "GET", endpoint+"?filter="+escape(filter), "")
	}
	total := func(t *testing.T, a answer, want float64) {
		t.Helper()
		if a.get("totalResults") != want {
			t.Errorf("%v results, want %v: %s", a.get("totalResults"), want, a.raw)
		}
	}
	var user, group string
	run("1 create a user", func(t *testing.T) { user = s.want(201, "POST", "/Users", validatorUser("ana@x.example")).text("id") })
	run("2 create a duplicate user", func(t *testing.T) {
		errorBody(t, s.do("POST", "/Users", validatorUser("ana@x.example")), 409, "uniqueness")
	})
	run("3 filter an existing user", func(t *testing.T) { total(t, find("/Users", `userName eq "ana@x.example"`), 1) })
	run("4 filter a user who is missing", func(t *testing.T) { total(t, find("/Users", `userName eq "b9f2b1a1-0000"`), 0) })
	run("5 filter in a different case", func(t *testing.T) { total(t, find("/Users", `userName eq "ANA@X.EXAMPLE"`), 1) })
	run("6 PATCH replace, verbose", func(t *testing.T) {
		a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"replace","path":"displayName","value":"N"}`, `{"op":"replace","path":"name.givenName","value":"G2"}`,
			`{"op":"replace","path":"emails[type eq \"work\"].value","value":"n@x.example"}`, `{"op":"replace","path":"`+entURN+`:department","value":"D2"}`))
		if a.text("displayName") != "N" || a.text("name", "givenName") != "G2" || a.text("emails", 0, "value") != "n@x.example" || a.text(entURN, "department") != "D2" {
			t.Error(a.raw)
		}
	})
	run("7 PATCH userName", func(t *testing.T) {
		if a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"Replace","path":"userName","value":"ana2@x.example"}`)); a.text("userName") != "ana2@x.example" {
			t.Error(a.raw)
		}
	})
	run("8 PATCH disable", func(t *testing.T) {
		if a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"Replace","path":"active","value":"False"}`)); a.get("active") != false {
			t.Error(a.raw)
		}
	})
	run("9 PATCH add, verbose, on a user with a name only", func(t *testing.T) {
		id := s.createUser("bare")
		ops := []string{`{"op":"add","path":"roles[primary eq \"True\"].value","value":"r"}`, `{"op":"add","path":"roles[primary eq \"True\"].display","value":"R"}`, `{"op":"add","path":"roles[primary eq \"True\"].type","value":"T"}`}
		for _, path := range []string{
			"displayName", "title", "preferredLanguage", "name.givenName", "name.familyName", "name.formatted", "name.honorificPrefix", "name.honorificSuffix", "name.middleName", "nickName",
			"userType", "locale", "timezone", "externalId", `emails[type eq \"work\"].value`, `addresses[type eq \"work\"].formatted`, `addresses[type eq \"work\"].streetAddress`, `addresses[type eq \"work\"].locality`,
			`addresses[type eq \"work\"].region`, `addresses[type eq \"work\"].postalCode`, `addresses[type eq \"work\"].country`, `phoneNumbers[type eq \"work\"].value`, `phoneNumbers[type eq \"mobile\"].value`, `phoneNumbers[type eq \"fax\"].value`,
			entURN + ":employeeNumber", entURN + ":department", entURN + ":costCenter", entURN + ":organization", entURN + ":division",
		} {
			ops = append(ops, `{"op":"add","path":"`+path+`","value":"v-`+strings.NewReplacer(`\"`, "", " ", "", "[", "", "]", "").Replace(path)+`"}`)
		}
		a := s.want(200, "PATCH", "/Users/"+id, patchBody(ops...))
		if a.text("roles", 0, "value") != "r" || a.get("roles", 0, "primary") != true || a.text("addresses", 0, "country") == "" || a.get("phoneNumbers", 2) == nil || a.text(entURN, "division") == "" || a.text("name", "middleName") == "" {
			t.Error(a.raw)
		}
	})
	manager := entURN + ":manager"
	for i, value := range []string{`"7"`, `[{"$ref":null,"value":"8"}]`} {
		run([]string{"10 manager add", "11 manager replace"}[i], func(t *testing.T) {
			op := []string{"add", "Replace"}[i]
			if a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"`+op+`","path":"`+manager+`","value":`+value+`}`)); a.text(entURN, "manager", "value") != []string{"7", "8"}[i] {
				t.Error(a.raw)
			}
		})
	}
	run("12 manager remove", func(t *testing.T) {
		if a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"remove","path":"`+manager+`"}`)); a.get(entURN, "manager") != nil {
			t.Error(a.raw)
		}
	})
	run("13 delete a user", func(t *testing.T) {
		id := s.createUser("gone")
		s.want(204, "DELETE", "/Users/"+id, "")
		s.want(404, "GET", "/Users/"+id, "")
	})
	post := func(name string) answer {
		return s.do("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`","externalId":"g-`+name+`"}`)
	}
	run("14 create a group", func(t *testing.T) {
		a := post("Sales")
		if group = a.text("id"); a.status != 201 {
			t.Error(a.raw)
		}
	})
	run("15 create a group of the same name", func(t *testing.T) { errorBody(t, post("SALES"), 409, "uniqueness") })
	run("16 group by id without members", func(t *testing.T) {
		if a := s.want(200, "GET", "/Groups/"+group+"?excludedAttributes=members", ""); a.text("displayName") != "Sales" {
			t.Error(a.raw)
		}
	})
	run("17 filter groups", func(t *testing.T) {
		total(t, s.want(200, "GET", "/Groups?excludedAttributes=members&filter="+escape(`displayName eq "Sales"`), ""), 1)
	})
	run("18 filter groups in a different case", func(t *testing.T) { total(t, find("/Groups", `displayName eq "sALES"`), 1) })
	run("19 filter a group that is missing", func(t *testing.T) { total(t, find("/Groups", `displayName eq "none"`), 0) })
	run("20 externalId of a group is exact", func(t *testing.T) {
		total(t, find("/Groups", `externalId eq "g-Sales"`), 1)
		total(t, find("/Groups", `externalId eq "G-SALES"`), 0)
	})
	run("21 replace a group", func(t *testing.T) {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"Replace","path":"displayName","value":"Sales 2"}`))
		total(t, find("/Groups", `displayName eq "Sales 2"`), 1)
	})
	run("22 add a member", func(t *testing.T) {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"Add","path":"members","value":[{"$ref":null,"value":"`+user+`"}]}`))
		if got := s.members(group); len(got) != 1 {
			t.Error(got)
		}
	})
	run("23 remove a member", func(t *testing.T) {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"`+user+`"}]}`))
		if got := s.members(group); len(got) != 0 {
			t.Error(got)
		}
	})
	run("24 delete a group", func(t *testing.T) {
		s.want(204, "DELETE", "/Groups/"+group, "")
		s.want(404, "GET", "/Groups/"+group, "")
	})
	run("25 externalId of a user is exact", func(t *testing.T) {
		total(t, find("/Users", `externalId eq "ext-ana@x.example"`), 1)
		total(t, find("/Users", `externalId eq "EXT-ANA@X.EXAMPLE"`), 0)
	})
	run("preview 1 several operations on different attributes", func(t *testing.T) {
		a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"add","path":"title","value":"a"}`, `{"op":"remove","path":"nickName"}`, `{"op":"replace","path":"active","value":true}`))
		if a.text("title") != "a" || a.get("active") != true {
			t.Error(a.raw)
		}
	})
	run("preview 2 several operations on one attribute", func(t *testing.T) {
		a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"add","path":"title","value":"a"}`, `{"op":"remove","path":"title"}`, `{"op":"add","path":"title","value":"b"}`))
		if a.text("title") != "b" {
			t.Error(a.raw)
		}
	})
	run("preview 3 delete a user who is unknown", func(t *testing.T) { errorBody(t, s.do("DELETE", "/Users/6e8f9a3c-0000", ""), 404, "") })
	run("preview 4 delete a user twice", func(t *testing.T) {
		id := s.createUser("twice")
		s.want(204, "DELETE", "/Users/"+id, "")
		errorBody(t, s.do("DELETE", "/Users/"+id, ""), 404, "")
	})
	run("preview 5 delete a group that is unknown", func(t *testing.T) { errorBody(t, s.do("DELETE", "/Groups/6e8f9a3c-0000", ""), 404, "") })
	run("preview 6 delete a group twice", func(t *testing.T) {
		id := s.createGroup("Twice")
		s.want(204, "DELETE", "/Groups/"+id, "")
		errorBody(t, s.do("DELETE", "/Groups/"+id, ""), 404, "")
	})
	run("preview 7 several operations on one group", func(t *testing.T) {
		id := s.createGroup("Many")
		s.want(204, "PATCH", "/Groups/"+id, patchBody(`{"op":"add","path":"members","value":[{"value":"`+user+`"}]}`, `{"op":"replace","path":"displayName","value":"Many 2"}`, `{"op":"remove","path":"members[value eq \"`+user+`\"]"}`))
		if got := s.members(id); len(got) != 0 {
			t.Error(got)
		}
	})
}

// TestMicrosoftGallery re-expresses the eleven tests of the gallery template that
// can be made directly.
func TestMicrosoftGallery(t *testing.T) {
	s := newServer(t)
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { s.t = t; f(t) })
	}
	run("1 schemas name every mapped attribute", func(t *testing.T) {
		a := s.want(200, "GET", "/Schemas", "")
		for _, name := range []string{
			"userName", "displayName", "active", "emails", "name", "givenName", "familyName", "title", "preferredLanguage", "addresses", "streetAddress", "locality", "region", "postalCode",
			"country", "phoneNumbers", "externalId", "employeeNumber", "department", "manager", "members",
		} {
			if name != "externalId" && !strings.Contains(a.raw, `"name":"`+name+`"`) { // a common attribute is in no schema document
				t.Errorf("%s is not in /Schemas", name)
			}
		}
		if strings.Contains(a.raw, "null") {
			t.Error("a null in /Schemas")
		}
	})
	var user string
	full := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","` + entURN + `"],"userName":"ana@x.example","externalId":"e1","active":true,"displayName":"Ana","title":"T","preferredLanguage":"de",
		"name":{"givenName":"Ana","familyName":"Lee"},"emails":[{"type":"work","primary":true,"value":"ana@x.example"}],"phoneNumbers":[{"type":"mobile","value":"1"}],"addresses":[{"type":"work","country":"CH"}],"` + entURN + `":{"department":"D","employeeNumber":"9"}}`
	same := func(t *testing.T, a, b answer) {
		t.Helper()
		for _, k := range []string{"userName", "externalId", "displayName", "title", "preferredLanguage"} {
			if a.text(k) != b.text(k) {
				t.Errorf("%s: %q and %q", k, a.text(k), b.text(k))
			}
		}
		if a.text("emails", 0, "value") != b.text("emails", 0, "value") || a.text(entURN, "department") != b.text(entURN, "department") {
			t.Errorf("%s\n%s", a.raw, b.raw)
		}
	}
	run("2 create a user, round trip", func(t *testing.T) {
		a := s.want(201, "POST", "/Users", full)
		user = a.text("id")
		same(t, a, s.want(200, "GET", "/Users/"+user, ""))
	})
	run("3 PATCH a user, then GET", func(t *testing.T) {
		a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"Replace","path":"displayName","value":"A2"}`, `{"op":"Add","path":"title","value":"T2"}`))
		same(t, a, s.want(200, "GET", "/Users/"+user, ""))
	})
	for i, nothing := range []string{`""`, "null"} {
		run([]string{"4 null update with empty text", "5 null update with null"}[i], func(t *testing.T) {
			var ops []string
			for _, path := range []string{"displayName", "title", "preferredLanguage", "name.givenName", "name.familyName", `emails[type eq \"work\"].value`, `phoneNumbers[type eq \"mobile\"].value`, `addresses[type eq \"work\"].country`, entURN + ":department", entURN + ":employeeNumber"} {
				ops = append(ops, `{"op":"Replace","path":"`+path+`","value":`+nothing+`}`)
			}
			s.want(200, "PATCH", "/Users/"+user, patchBody(ops...))
			a := s.want(200, "GET", "/Users/"+user, "")
			for _, k := range []string{"displayName", "title", "preferredLanguage", "name", "emails", "phoneNumbers", "addresses", entURN} {
				if a.get(k) != nil {
					t.Errorf("%s is still %v", k, a.get(k))
				}
			}
			if a.text("userName") != "ana@x.example" {
				t.Error(a.raw)
			}
			s.want(200, "PUT", "/Users/"+user, full)
		})
	}
	var group string
	run("6 create a group, round trip", func(t *testing.T) {
		group = s.createGroup("Sales", user)
		if a := s.want(200, "GET", "/Groups/"+group, ""); a.text("displayName") != "Sales" || a.text("members", 0, "value") != user {
			t.Error(a.raw)
		}
	})
	run("7 PATCH a group, then GET", func(t *testing.T) {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"Replace","path":"displayName","value":"Sales 2"}`))
		if a := s.want(200, "GET", "/Groups/"+group, ""); a.text("displayName") != "Sales 2" {
			t.Error(a.raw)
		}
	})
	run("8 users in pages", func(t *testing.T) {
		for i := range 11 {
			s.createUser("page" + itoa(i))
		}
		seen := map[string]bool{}
		for start := 1; start <= 12; start += 5 {
			a := s.want(200, "GET", "/Users?count=5&startIndex="+itoa(start), "")
			if a.get("startIndex") != float64(start) || a.get("totalResults") != 12.0 {
				t.Error(a.raw)
			}
			list, _ := a.get("Resources").([]any)
			for i := range list {
				seen[a.text("Resources", i, "id")] = true
			}
		}
		if len(seen) != 12 {
			t.Errorf("%d users in three pages", len(seen))
		}
	})
	run("9 groups in pages", func(t *testing.T) {
		s.createGroup("B")
		if a := s.want(200, "GET", "/Groups?count=1&startIndex=2", ""); a.get("totalResults") != 2.0 || a.get("itemsPerPage") != 1.0 || a.get("startIndex") != 2.0 {
			t.Error(a.raw)
		}
	})
	run("10 the manager is set, changed as text, removed by nothing", func(t *testing.T) {
		for _, c := range []struct{ value, want string }{{`[{"$ref":null,"value":"7"}]`, "7"}, {`"8"`, "8"}, {`""`, ""}} {
			s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"Replace","path":"`+entURN+`:manager","value":`+c.value+`}`))
			if a := s.want(200, "GET", "/Users/"+user, ""); a.text(entURN, "manager", "value") != c.want {
				t.Errorf("manager %s: %s", c.value, a.raw)
			}
		}
	})
	run("11 OAuth credentials are offered", func(t *testing.T) {
		a := s.want(200, "GET", "/ServiceProviderConfig", "")
		if a.text("authenticationSchemes", 1, "type") != "oauth2" || !strings.Contains(a.text("authenticationSchemes", 1, "description"), "/scim/token") {
			t.Error(a.raw)
		}
	})
}
