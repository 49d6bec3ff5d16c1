package scim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/scim/record"
)

// strictly makes a server whose first connection tolerates nothing.
func strictly(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	now := *s.live.Load()
	now.Connections = slices.Clone(now.Connections)
	now.Connections[0].Strict = true
	s.live.Store(&now)
	return s
}

const (
	coreUser  = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	coreGroup = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
)

// TestToleranceRulesOverHTTP has a case or more for each rule T1 to T18 of
// docs/scim.md: what the auto profile makes of it, and what the strict one answers.
// "same" means that the standard itself asks for it.
func TestToleranceRulesOverHTTP(t *testing.T) {
	ext := entURN
	for _, tc := range []struct {
		rule, name   string
		method, path string // ${U}: a user with title and work e-mail; ${M}: a member of ${G}; ${N}: nobody's
		body         string
		headers      []string
		auto, strict int
		scimType     string                          // of the strict answer
		check        func(*server, answer) (ok bool) // of the auto answer
		noted        bool                            // the rule is named in the flight recorder
	}{
		{
			rule: "T1", name: "op in any case", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"Replace","path":"title","value":"x"}`), auto: 200, strict: 400, scimType: "invalidSyntax", noted: true,
			check: func(_ *server, a answer) bool { return a.text("title") == "x" },
		},
		{
			rule: "T2", name: "booleans as text in PATCH", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"active","value":"False"}`), auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.get("active") == false },
		},
		{
			rule: "T2", name: "booleans as text in POST, sub-attribute too", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"n","active":"true","roles":[{"value":"r","primary":"True"}]}`, auto: 201, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.get("active") == true && a.get("roles", 0, "primary") == true },
		},
		{
			rule: "T2", name: "booleans as text in PUT", method: "PUT", path: "/Users/${U}", body: `{` + coreUser + `,"userName":"u","active":"false"}`, auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.get("active") == false },
		},
		{
			rule: "T3", name: "array of one for a single value", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"title","value":["x"]}`), auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.text("title") == "x" },
		},
		{
			rule: "T3", name: "value object for a simple attribute", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"title","value":[{"value":"x"}]}`), auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.text("title") == "x" },
		},
		{
			rule: "T3", name: "bare object for a list", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"n","emails":{"value":"n@x"}}`, auto: 201, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.text("emails", 0, "value") == "n@x" },
		},
		{
			rule: "T3", name: "bare text for a list", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"emails","value":"n@x"}`), auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.text("emails", 0, "value") == "n@x" },
		},
		{
			rule: "T4", name: "manager as text", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"add","path":"` + ext + `:manager","value":"7"}`), auto: 200, strict: 400, scimType: "invalidValue", noted: true,
			check: func(_ *server, a answer) bool { return a.text(ext, "manager", "value") == "7" },
		},
		{
			rule: "T4", name: "manager by managerId", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"n","` + ext + `":{"manager":{"managerId":"7"}}}`, auto: 201, strict: 201, noted: true,
			check: func(_ *server, a answer) bool { return a.text(ext, "manager", "value") == "7" },
		},
		{
			rule: "T5", name: "dotted and URN keys", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","value":{"name.givenName":"G","` + ext + `:employeeNumber":"9"}}`), auto: 200, strict: 400, scimType: "invalidPath", noted: true,
			check: func(_ *server, a answer) bool {
				return a.text("name", "givenName") == "G" && a.text(ext, "employeeNumber") == "9"
			},
		},
		{
			rule: "T5", name: "extension container", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"add","value":{"` + ext + `":{"division":"d"}}}`), auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.text(ext, "division") == "d" },
		},
		{
			rule: "T6", name: "remove with a value array removes these only", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"remove","path":"members","value":[{"value":"${M}"}]}`), auto: 204, strict: 204, noted: true,
			check: func(s *server, _ answer) bool { return len(s.membersOf("G")) == 1 },
		},
		{
			rule: "T6", name: "remove without a value removes all", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"remove","path":"members"}`), auto: 204, strict: 204,
			check: func(s *server, _ answer) bool { return len(s.membersOf("G")) == 0 },
		},
		{
			rule: "T7", name: "a value path without a match builds the element", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"phoneNumbers[type eq \"work\"].value","value":"1"}`), auto: 200, strict: 400, scimType: "noTarget",
			check: func(_ *server, a answer) bool {
				return a.text("phoneNumbers", 0, "type") == "work" && a.text("phoneNumbers", 0, "value") == "1"
			},
		},
		{rule: "T7", name: "not from a filter that is no conjunction of eq", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"phoneNumbers[type ne \"work\"].value","value":"1"}`), auto: 400, strict: 400, scimType: "noTarget"},
		{rule: "T7", name: "never a member", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"replace","path":"members[value eq \"${U}\"].display","value":"x"}`), auto: 400, strict: 400, scimType: "mutability"},
		{
			rule: "T8", name: "empty text clears", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"title","value":""}`), auto: 200, strict: 200, noted: true,
			check: func(_ *server, a answer) bool { return a.get("title") == nil },
		},
		{
			rule: "T8", name: "null clears", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"title","value":null}`), auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.get("title") == nil },
		},
		{rule: "T8", name: "not what is required", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"userName","value":""}`), auto: 400, strict: 400, scimType: "invalidValue"},
		{rule: "T9", name: "missing schemas in POST", method: "POST", path: "/Users", body: `{"userName":"n"}`, auto: 201, strict: 400, scimType: "invalidSyntax", noted: true},
		{rule: "T9", name: "missing schemas in PUT", method: "PUT", path: "/Users/${U}", body: `{"userName":"u"}`, auto: 200, strict: 400, scimType: "invalidSyntax", noted: true},
		{rule: "T9", name: "missing schemas in PATCH", method: "PATCH", path: "/Users/${U}", body: `{"Operations":[{"op":"remove","path":"title"}]}`, auto: 200, strict: 400, scimType: "invalidSyntax", noted: true},
		{rule: "T9", name: "foreign schema of Entra's groups", method: "POST", path: "/Groups", body: `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"displayName":"n"}`, auto: 201, strict: 400, scimType: "invalidSyntax", noted: true},
		{
			rule: "T9", name: "1.x schemas", method: "PUT", path: "/Users/${U}", body: `{"schemas":["urn:scim:schemas:core:2.0"],"userName":"u","urn:scim:schemas:extension:enterprise:2.0":{"department":"d"}}`, auto: 200, strict: 400, scimType: "invalidSyntax", noted: true,
			check: func(_ *server, a answer) bool { return a.text(ext, "department") == "d" },
		},
		{rule: "T9", name: "missing schemas in a search", method: "POST", path: "/Users/.search", body: `{"count":1}`, auto: 200, strict: 400, scimType: "invalidSyntax", noted: true},
		{rule: "T9", name: "missing schemas in a bulk request", method: "POST", path: "/Bulk", body: `{"Operations":[{"method":"DELETE","path":"/Users/x"}]}`, auto: 200, strict: 400, scimType: "invalidSyntax", noted: true},
		{rule: "T10", name: "id and meta in a path-less value", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"replace","value":{"id":"${G}","meta":{"version":"x"},"displayName":"New"}}`), auto: 204, strict: 400, scimType: "mutability", noted: true},
		{
			rule: "T11", name: "unknown attributes in POST are dropped by the standard too", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"n","department":null,"isAdmin":true}`, auto: 201, strict: 201, noted: true,
			check: func(_ *server, a answer) bool { return a.get("isAdmin") == nil },
		},
		{rule: "T11", name: "unknown attributes in a path-less PATCH", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","value":{"isAdmin":true,"title":"x"}}`), auto: 200, strict: 400, scimType: "invalidPath", noted: true},
		{rule: "T11", name: "not as a path", method: "PATCH", path: "/Users/${U}", body: patchBody(`{"op":"replace","path":"isAdmin","value":true}`), auto: 400, strict: 400, scimType: "invalidPath"},
		{
			rule: "T12", name: "unquoted words", method: "GET", path: "/Users?filter=" + escape("userName sw u"), auto: 200, strict: 400, scimType: "invalidFilter",
			check: func(_ *server, a answer) bool { return a.get("totalResults") == 1.0 },
		},
		{
			rule: "T12", name: "a sub-attribute behind a value filter", method: "GET", path: "/Users?filter=" + escape(`emails[type eq "work"].value eq "U@X"`), auto: 200, strict: 400, scimType: "invalidFilter",
			check: func(_ *server, a answer) bool { return a.get("totalResults") == 1.0 },
		},
		{
			rule: "T12", name: "an unquoted number", method: "GET", path: "/Users?filter=" + escape("externalId eq 4711"), auto: 200, strict: 200, noted: true,
			check: func(_ *server, a answer) bool { return a.get("totalResults") == 1.0 },
		},
		{
			rule: "T12", name: "booleans as text", method: "GET", path: "/Users?filter=" + escape(`active eq "True" and userName eq "u"`), auto: 200, strict: 200, noted: false,
			check: func(_ *server, a answer) bool { return a.get("totalResults") == 1.0 },
		},
		{
			rule: "T12", name: "plus for space", method: "GET", path: `/Users?filter=userName+eq+%22u%22`, auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.get("totalResults") == 1.0 },
		},
		{rule: "T12", name: "extra spaces and an unquoted date", method: "GET", path: "/Users?filter=" + escape("  meta.Created   gt   2015-01-01T00:00:00Z  "), auto: 200, strict: 400, scimType: "invalidFilter"},
		{
			rule: "T13", name: "a member added again", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"add","path":"members","value":[{"value":"${M}"}]}`), auto: 204, strict: 204,
			check: func(s *server, _ answer) bool { return len(s.membersOf("G")) == 2 },
		},
		{
			rule: "T13", name: "a member removed who is none", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"remove","path":"members[value eq \"${N}\"]"}`), auto: 204, strict: 204,
			check: func(s *server, _ answer) bool { return len(s.membersOf("G")) == 2 },
		},
		{
			rule: "T14", name: "a member without type, with displayName", method: "PATCH", path: "/Groups/${G}", body: patchBody(`{"op":"add","path":"members","value":[{"value":"${U}","displayName":"x"}]}`), auto: 204, strict: 204,
			check: func(s *server, _ answer) bool { return len(s.membersOf("G")) == 3 },
		},
		{rule: "T15", name: "trailing slash", method: "GET", path: "/Users/${U}/", auto: 200, strict: 200},
		{rule: "T15", name: "trailing question mark", method: "GET", path: "/Users/${U}?", auto: 200, strict: 200},
		{rule: "T15", name: "trailing ampersand", method: "GET", path: `/Users?count=1&`, auto: 200, strict: 200},
		{rule: "T15", name: "doubled slash of a pasted base", method: "GET", path: "//Users/${U}", auto: 200, strict: 200},
		{
			rule: "T16", name: "no Accept", method: "GET", path: "/Users", headers: []string{"Accept", ""}, auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.header.Get("Content-Type") == "application/scim+json" },
		},
		{
			rule: "T16", name: "Accept anything", method: "GET", path: "/Users", headers: []string{"Accept", "*/*"}, auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.header.Get("Content-Type") == "application/scim+json" },
		},
		{
			rule: "T16", name: "Accept json", method: "GET", path: "/Users", headers: []string{"Accept", "application/json"}, auto: 200, strict: 200,
			check: func(_ *server, a answer) bool { return a.header.Get("Content-Type") == "application/json" },
		},
		{rule: "T16", name: "sent as json", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"n"}`, headers: []string{"Content-Type", "application/json; charset=utf-8"}, auto: 201, strict: 201},
		{rule: "T17", name: "nothing but a name that is no address", method: "POST", path: "/Users", body: `{` + coreUser + `,"userName":"CORP\\jyoung"}`, auto: 201, strict: 201},
		{rule: "T18", name: "unknown parameters", method: "GET", path: "/Users/${U}?aadOptscim062020&foo=bar", auto: 200, strict: 200},
	} {
		t.Run(tc.rule+" "+tc.name, func(t *testing.T) {
			for _, s := range []*server{newServer(t), strictly(t)} {
				strict := s.live.Load().Connections[0].Strict
				s.vars = map[string]string{
					"U": s.want(201, "POST", "/Users", `{`+coreUser+`,"userName":"u","title":"t","externalId":"4711","emails":[{"type":"work","value":"u@x"}]}`).text("id"),
					"M": s.want(201, "POST", "/Users", `{`+coreUser+`,"userName":"m"}`).text("id"), "N": s.want(201, "POST", "/Users", `{`+coreUser+`,"userName":"xn"}`).text("id"),
				}
				s.vars["O"] = s.want(201, "POST", "/Users", `{`+coreUser+`,"userName":"o"}`).text("id")
				s.vars["G"] = s.want(201, "POST", "/Groups", `{`+coreGroup+`,"displayName":"G","members":[{"value":"`+s.vars["M"]+`"},{"value":"`+s.vars["O"]+`"}]}`).text("id")
				before := len(s.logged(record.LogFilter{}))
				a := s.do(tc.method, s.fillIn(tc.path), s.fillIn(tc.body), tc.headers...)
				want := tc.auto
				if strict {
					want = tc.strict
				}
				if a.status != want {
					t.Fatalf("strict %v: %d, want %d: %s", strict, a.status, want, a.raw)
				}
				if want >= 400 && (strict || tc.auto == tc.strict) {
					errorBody(t, a, want, tc.scimType)
				}
				if strict {
					continue
				}
				if tc.check != nil && !tc.check(s, a) {
					t.Errorf("not what the rule says: %s", a.raw)
				}
				noted := slices.ContainsFunc(s.logged(record.LogFilter{})[before:], func(e record.Entry) bool {
					return slices.Contains(strings.Split(e.Tolerated, ","), tc.rule)
				})
				if noted != tc.noted {
					t.Errorf("the flight recorder names the rule: %v", noted)
				}
			}
		})
	}
}

// membersOf reads a group by its variable.
func (s *server) membersOf(name string) []string { return s.members(s.vars[name]) }

func (s *server) fillIn(text string) string {
	for k, v := range s.vars {
		text = strings.ReplaceAll(text, "${"+k+"}", v)
	}
	return text
}

// TestChoicesWhereSourcesConflict are the eight decisions of docs/scim.md.
func TestChoicesWhereSourcesConflict(t *testing.T) {
	s := newServer(t)
	user := s.createUser("ana")
	group := s.createGroup("Sales", user)
	t.Run("1 replace by a value path without a match creates, except members", func(t *testing.T) {
		s.t = t
		if a := s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"replace","path":"ims[type eq \"xmpp\"].value","value":"a"}`)); a.text("ims", 0, "type") != "xmpp" {
			t.Error(a.raw)
		}
		errorBody(t, s.do("PATCH", "/Groups/"+group, patchBody(`{"op":"replace","path":"members[value eq \"x\"]","value":{"value":"`+user+`"}}`)), 400, "mutability")
	})
	t.Run("2 PATCH answers 200 for users, 204 for groups, 200 when a projection is asked for", func(t *testing.T) {
		s.t = t
		s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"replace","path":"title","value":"x"}`))
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"replace","path":"externalId","value":"x"}`))
		if a := s.want(200, "PATCH", "/Groups/"+group+"?attributes=displayName", patchBody(`{"op":"replace","path":"externalId","value":"y"}`)); a.text("displayName") != "Sales" || a.get("members") != nil {
			t.Error(a.raw)
		}
		s.want(200, "PATCH", "/Groups/"+group+"?excludedAttributes=members", patchBody(`{"op":"replace","path":"externalId","value":"z"}`))
	})
	t.Run("3 PUT clears what it leaves out, keeps active, empties a group with an alarm", func(t *testing.T) {
		s.t = t
		s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"replace","path":"active","value":false}`))
		if a := s.want(200, "PUT", "/Users/"+user, `{"userName":"ana"}`); a.get("active") != false || a.get("title") != nil {
			t.Error(a.raw)
		}
		if a := s.want(200, "PUT", "/Groups/"+group, `{"displayName":"Sales"}`); a.get("members") != nil || !strings.Contains(s.log.String(), "empties a group") {
			t.Errorf("%s\n%s", a.raw, s.log)
		}
	})
	t.Run("4 unknown members refuse the whole change, by name", func(t *testing.T) {
		s.t = t
		a := s.do("PATCH", "/Groups/"+group, patchBody(`{"op":"replace","path":"displayName","value":"Other"}`, `{"op":"add","path":"members","value":[{"value":"`+user+`"},{"value":"made-up-1"},{"value":"made-up-2"}]}`))
		errorBody(t, a, 400, "invalidValue")
		if !strings.Contains(a.text("detail"), "made-up-1, made-up-2") || strings.Contains(a.text("detail"), user) {
			t.Error(a.raw)
		}
		if g := s.want(200, "GET", "/Groups/"+group, ""); g.text("displayName") != "Sales" || g.get("members") != nil {
			t.Errorf("half applied: %s", g.raw)
		}
	})
	t.Run("5 a group's name is unique in its connection, in any case", func(t *testing.T) {
		s.t = t
		errorBody(t, s.do("POST", "/Groups", `{"displayName":"sALES"}`), 409, "uniqueness")
		s.token = tokenRole
		s.want(201, "POST", "/Groups", `{"displayName":"Sales"}`)
		s.token = tokenOkta
	})
	t.Run("6 the media type follows Accept", func(t *testing.T) {
		s.t = t
		for accept, want := range map[string]string{"application/json": "application/json", "application/scim+json, application/json": "application/scim+json", "text/html": "application/scim+json"} {
			if a := s.want(200, "GET", "/Users", "", "Accept", accept); a.header.Get("Content-Type") != want {
				t.Errorf("%s: %s", accept, a.header.Get("Content-Type"))
			}
		}
	})
	t.Run("7 externalId is exact, userName and displayName are not", func(t *testing.T) {
		s.t = t
		s.want(200, "PATCH", "/Users/"+user, patchBody(`{"op":"add","value":{"externalId":"Ext","displayName":"Ana"}}`))
		for filter, want := range map[string]float64{`externalId eq "Ext"`: 1, `externalId eq "ext"`: 0, `userName eq "ANA"`: 1, `displayName eq "aNa"`: 1} {
			if a := s.want(200, "GET", "/Users?filter="+escape(filter), ""); a.get("totalResults") != want {
				t.Errorf("%s: %v", filter, a.get("totalResults"))
			}
		}
	})
	t.Run("8 empty text unassigns what is optional and is refused for what is required", func(t *testing.T) {
		s.t = t
		if a := s.want(200, "PUT", "/Users/"+user, `{"userName":"ana","title":"","nickName":""}`); a.get("title") != nil {
			t.Error(a.raw)
		}
		errorBody(t, s.do("PUT", "/Users/"+user, `{"userName":""}`), 400, "invalidValue")
		errorBody(t, s.do("PATCH", "/Groups/"+group, patchBody(`{"op":"replace","path":"displayName","value":""}`)), 400, "invalidValue")
	})
}
