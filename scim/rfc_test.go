package scim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/scim/schema"
)

// TestStandard has the bullets of the requirement checklist that no other test
// names: the row says the section (of RFC 7644, or of RFC 7643 as 43:).
func TestStandard(t *testing.T) {
	type row struct {
		section, what, method, path, body string
		status                            int
		scimType                          string
		check                             func(a answer) bool
	}
	user := func(more string) string { return `{` + coreUser + `,"userName":"new"` + more + `}` }
	has := func(keys ...any) func(answer) bool { return func(a answer) bool { return a.get(keys...) != nil } }
	lacks := func(keys ...any) func(answer) bool { return func(a answer) bool { return a.get(keys...) == nil } }
	for _, tc := range []row{
		{"S3.5.1", "PUT must not create", "PUT", "/Users/0123456789abcdef", user(""), 404, "", nil},
		{"S3.5.1", "PUT without what is required", "PUT", "/Users/${U}", `{` + coreUser + `,"title":"x"}`, 400, "invalidValue", nil},
		{"S3.5.1", "PUT clears what it leaves out", "PUT", "/Users/${U}", `{` + coreUser + `,"userName":"u"}`, 200, "", lacks("title")},
		{"S3.3", "read-only input is ignored", "POST", "/Users", user(`,"id":"chosen","meta":{"version":"W/\"9\"","created":"2001-01-01T00:00:00Z"},"groups":[{"value":"x"}]`), 201, "", func(a answer) bool {
			return a.text("id") != "chosen" && a.text("meta", "version") == `W/"1"` && !strings.HasPrefix(a.text("meta", "created"), "2001") && a.get("groups") == nil
		}},
		{"S3.3", "201 with Location, which is meta.location and Content-Location", "POST", "/Users", user(""), 201, "", func(a answer) bool {
			l := a.header.Get("Location")
			return strings.HasPrefix(l, "https://sso.example.com"+base+"/Users/") && l == a.text("meta", "location") && l == a.header.Get("Content-Location")
		}},
		{"S3.9", "POST with a projection", "POST", "/Users?attributes=userName", user(`,"title":"x"`), 201, "", func(a answer) bool {
			return a.text("userName") == "new" && a.get("title") == nil && a.text("id") != "" && a.get("schemas") != nil
		}},
		{"S3.9", "both projections at once", "GET", "/Users/${U}?attributes=id&excludedAttributes=title", "", 400, "invalidValue", nil},
		{"S3.9", "excluded attributes, but never those always returned", "GET", "/Users/${U}?excludedAttributes=title,id,schemas,emails.type", "", 200, "", func(a answer) bool {
			return a.get("title") == nil && a.text("id") != "" && a.get("schemas") != nil && a.get("emails", 0, "type") == nil && a.text("emails", 0, "value") != ""
		}},
		{"S3.10", "a projection with a URN and in any case", "GET", "/Users/${U}?attributes=URN:IETF:PARAMS:SCIM:SCHEMAS:CORE:2.0:USER:USERNAME", "", 200, "", func(a answer) bool { return a.text("userName") == "u" && a.get("title") == nil }},
		{"S3.10", "names of attributes in any case", "POST", "/Users", `{"SCHEMAS":["` + schema.UserURN + `"],"USERNAME":"new","Name":{"GIVENNAME":"G"}}`, 201, "", func(a answer) bool { return a.text("name", "givenName") == "G" }},
		{"43:2.5", "null, [] and absent are one state", "POST", "/Users", user(`,"title":null,"emails":[],"name":null,"addresses":[null]`), 201, "", func(a answer) bool {
			return a.get("title") == nil && a.get("emails") == nil && a.get("name") == nil && a.get("addresses") == nil
		}},
		{"43:2.4", "two primary values", "POST", "/Users", user(`,"emails":[{"value":"a@x","primary":true},{"value":"b@x","primary":true}]`), 400, "invalidValue", nil},
		{"43:2.3", "a number that is no integer is text nowhere", "POST", "/Users", user(`,"title":5`), 400, "invalidValue", nil},
		{"43:2.3.8", "a complex attribute in text", "POST", "/Users", user(`,"name":"Ana"`), 400, "invalidValue", nil},
		{"43:2.3.6", "binary that is none", "POST", "/Users", user(`,"x509Certificates":[{"value":"***"}]`), 400, "invalidValue", nil},
		{"43:2.3.6", "binary, padding optional", "POST", "/Users", user(`,"x509Certificates":[{"value":"AQI"}]`), 201, "", has("x509Certificates", 0, "value")},
		{"43:2.4", "canonical values are suggestions", "POST", "/Users", user(`,"emails":[{"value":"a@x","type":"spaceship"}]`), 201, "", func(a answer) bool { return a.text("emails", 0, "type") == "spaceship" }},
		{"43:4.1.1", "userName of nothing but space", "POST", "/Users", `{` + coreUser + `,"userName":"  "}`, 400, "invalidValue", nil},
		{"43:4.1.1", "no userName", "POST", "/Users", `{` + coreUser + `}`, 400, "invalidValue", nil},
		{"43:4.1.1", "a password is taken and never returned", "POST", "/Users?attributes=password,userName", user(`,"password":"hunter2-and-more"`), 201, "", func(a answer) bool { return !strings.Contains(a.raw, "hunter2") }},
		{"43:4.2", "a group without a name", "POST", "/Groups", `{` + coreGroup + `}`, 400, "invalidValue", nil},
		{"43:4.2", "sub-attributes of members cannot be changed", "PATCH", "/Groups/${G}", patchBody(`{"op":"replace","path":"members.display","value":"x"}`), 400, "mutability", nil},
		{"43:3.1", "an extension URN is listed when it has data", "POST", "/Users", user(`,"` + entURN + `":{"department":"d"}`), 201, "", func(a answer) bool {
			return strings.Contains(a.raw, `"`+entURN+`"`) && a.text(entURN, "department") == "d"
		}},
		{"43:3.1", "and only then", "POST", "/Users", user(`,"` + entURN + `":{}`), 201, "", func(a answer) bool { return !strings.Contains(a.raw, entURN) }},
		{"S3.4.2.2", "a filter on an attribute nobody has", "GET", "/Users?filter=" + escape(`nothing eq "x"`), "", 400, "invalidFilter", nil},
		{"S3.4.2.2", "order of booleans", "GET", "/Users?filter=" + escape(`active gt true`), "", 400, "invalidFilter", nil},
		{"S3.4.2.2", "an unknown operator", "GET", "/Users?filter=" + escape(`userName like "x"`), "", 400, "invalidFilter", nil},
		{"S3.4.2.2", "not binds closest, and before or", "GET", "/Users?filter=" + escape(`not (userName eq "u") and active eq true or userName eq "u"`), "", 200, "", func(a answer) bool { return a.get("totalResults") == 2.0 }},
		{"S3.4.2.2", "one element must match both", "GET", "/Users?filter=" + escape(`emails[type eq "home" and value eq "u@x"]`), "", 200, "", func(a answer) bool { return a.get("totalResults") == 0.0 }},
		{"S3.4.2.2", "by schema", "GET", "/Users?filter=" + escape(`schemas eq "`+schema.UserURN+`"`), "", 200, "", func(a answer) bool { return a.get("totalResults") == 2.0 }},
		{"S3.4.2.2", "escapes of JSON", "GET", "/Users?filter=" + escape(`userName eq "\u0075"`), "", 200, "", func(a answer) bool { return a.get("totalResults") == 1.0 }},
		{"S3.4.2.2", "a secret cannot be asked about", "GET", "/Users?filter=" + escape(`password sw "a"`), "", 400, "invalidFilter", nil},
		{"S3.4.2", "count=0 is the total only", "GET", "/Users?count=0", "", 200, "", func(a answer) bool {
			return a.get("totalResults") == 2.0 && a.get("Resources") == nil && a.get("itemsPerPage") == 0.0
		}},
		{"S3.5.2", "no operations", "PATCH", "/Users/${U}", patchBody(), 400, "invalidSyntax", nil},
		{"S3.5.2", "an op that is none", "PATCH", "/Users/${U}", patchBody(`{"op":"move","path":"title"}`), 400, "invalidSyntax", nil},
		{"S3.5.2.2", "remove without a path", "PATCH", "/Users/${U}", patchBody(`{"op":"remove"}`), 400, "noTarget", nil},
		{"S3.5.2.2", "remove what is required", "PATCH", "/Users/${U}", patchBody(`{"op":"remove","path":"userName"}`), 400, "mutability", nil},
		{"S3.5.2.2", "remove what is read-only", "PATCH", "/Users/${U}", patchBody(`{"op":"remove","path":"groups"}`), 400, "mutability", nil},
		{"S3.5.2.2", "remove a sub-attribute of what matches", "PATCH", "/Users/${U}", patchBody(`{"op":"remove","path":"emails[value eq \"u@x\"].type"}`), 200, "", func(a answer) bool { return a.get("emails", 0, "type") == nil && a.text("emails", 0, "value") == "u@x" }},
		{"S3.5.2.3", "a path that is none", "PATCH", "/Users/${U}", patchBody(`{"op":"replace","path":"emails[","value":"x"}`), 400, "invalidPath", nil},
		{"S3.5.2.3", "a path of an unknown attribute", "PATCH", "/Users/${U}", patchBody(`{"op":"replace","path":"nothing","value":"x"}`), 400, "invalidPath", nil},
		{"S3.5.2.3", "one primary true makes the others false", "PATCH", "/Users/${U}", patchBody(`{"op":"add","path":"emails","value":[{"value":"v@x","primary":true}]}`, `{"op":"add","path":"emails","value":[{"value":"w@x","primary":true}]}`), 200, "", func(a answer) bool {
			return a.get("emails", 1, "primary") == false && a.get("emails", 2, "primary") == true
		}},
		{"S3.5.2.1", "an added extension attribute adds its URN", "PATCH", "/Users/${U}", patchBody(`{"op":"add","path":"` + entURN + `:division","value":"d"}`), 200, "", func(a answer) bool { return a.text("schemas", 1) == entURN }},
		{"S3.5.2.1", "an added value that is there is no second one", "PATCH", "/Users/${U}", patchBody(`{"op":"add","path":"emails","value":[{"value":"u@x","type":"work"}]}`), 200, "", func(a answer) bool { return a.get("emails", 1) == nil }},
		{"S3.5.2", "the last operation fails: nothing is applied, and it is named", "PATCH", "/Users/${U}", patchBody(`{"op":"replace","path":"title","value":"half"}`, `{"op":"replace","path":"nothing","value":"x"}`), 400, "invalidPath", func(a answer) bool { return strings.Contains(a.text("detail"), "operation 1") }},
		{"S3.12", "a body that is no JSON", "POST", "/Users", `{"userName":`, 400, "invalidSyntax", nil},
		{"S3.12", "a body that is no object", "POST", "/Users", `["x"]`, 400, "invalidSyntax", nil},
		{"S3.12", "a key twice", "POST", "/Users", `{` + coreUser + `,"userName":"a","USERNAME":"b"}`, 400, "invalidSyntax", nil},
		{"S3.6", "DELETE of nobody", "DELETE", "/Users/0123456789abcdef", "", 404, "", nil},
		{"S4", "a schema by URN in any case", "GET", "/Schemas/" + strings.ToUpper(schema.UserURN), "", 200, "", func(a answer) bool { return a.text("id") == schema.UserURN }},
		{"S4", "discovery ignores paging and sorting", "GET", "/ResourceTypes?count=1&startIndex=9&sortBy=x", "", 200, "", func(a answer) bool { return a.get("totalResults") == 2.0 && a.get("Resources", 1) != nil }},
		{"43:6", "a resource type names its endpoint and extensions", "GET", "/ResourceTypes/User", "", 200, "", func(a answer) bool {
			return a.text("endpoint") == "/Users" && a.get("schemaExtensions", 1) != nil && a.get("documentationUri") == nil
		}},
		{"43:7", "schemas say what validation does", "GET", "/Schemas/" + schema.UserURN, "", 200, "", func(a answer) bool {
			return a.text("attributes", 0, "name") == "userName" && a.get("attributes", 0, "required") == true && a.text("attributes", 0, "uniqueness") == "server" && a.get("attributes", 0, "caseExact") == false
		}},
		{"S3.11", "/Me for a client without a user", "PATCH", "/Me", patchBody(`{"op":"remove","path":"title"}`), 501, "", nil},
		{"C02", "SCIM never makes an owner", "POST", "/Users", user(`,"` + schema.MemberURN + `":{"role":"owner","state":"active"}`), 403, "", nil},
		{"C02", "and core roles have no effect", "POST", "/Users", user(`,"roles":[{"value":"owner"}],"userType":"owner"`), 201, "", func(a answer) bool {
			return a.text(schema.MemberURN, "role") == "member" && a.text("roles", 0, "value") == "owner"
		}},
		{"43:7", "state is read-only", "POST", "/Users", user(`,"` + schema.MemberURN + `":{"state":"active"}`), 201, "", func(a answer) bool { return a.text(schema.MemberURN, "state") == "invited" }},
	} {
		t.Run(tc.section+" "+tc.what, func(t *testing.T) {
			s := newServer(t)
			s.vars = map[string]string{"U": s.want(201, "POST", "/Users", `{`+coreUser+`,"userName":"u","title":"t","emails":[{"type":"work","value":"u@x"}]}`).text("id")}
			s.vars["G"] = s.createGroup("G", s.vars["U"])
			s.createUser("other")
			a := s.do(tc.method, s.fillIn(tc.path), s.fillIn(tc.body))
			if a.status != tc.status {
				t.Fatalf("%d, want %d: %s", a.status, tc.status, a.raw)
			}
			if tc.status >= 400 {
				errorBody(t, a, tc.status, tc.scimType)
			}
			if tc.check != nil && !tc.check(a) {
				t.Errorf("%s", a.raw)
			}
			if tc.status >= 400 && s.want(200, "GET", "/Users/"+s.vars["U"], "").text("meta", "version") != `W/"1"` {
				t.Error("a refused request changed something")
			}
		})
	}
}

// TestCreatedIsLastModifiedUntilTheFirstChange is RFC 7643 section 3.1, and section
// 3.5.2.1 of RFC 7644: no new date for a change that changes nothing.
func TestCreatedIsLastModifiedUntilTheFirstChange(t *testing.T) {
	s := newServer(t)
	a := s.want(201, "POST", "/Users", `{"userName":"ana"}`)
	if a.text("meta", "created") == "" || a.text("meta", "created") != a.text("meta", "lastModified") {
		t.Errorf("%v", a.get("meta"))
	}
	s.now.Advance(time.Hour)
	same := s.want(200, "PATCH", "/Users/"+a.text("id"), patchBody(`{"op":"replace","path":"userName","value":"ana"}`))
	if same.text("meta", "lastModified") != a.text("meta", "lastModified") || same.text("meta", "version") != `W/"1"` {
		t.Errorf("no change: %v", same.get("meta"))
	}
	next := s.want(200, "PATCH", "/Users/"+a.text("id"), patchBody(`{"op":"replace","path":"title","value":"x"}`))
	if next.text("meta", "lastModified") == a.text("meta", "lastModified") || next.text("meta", "created") != a.text("meta", "created") {
		t.Errorf("a change: %v", next.get("meta"))
	}
}

// TestADeletedUserIsAnotherPersonNextTime is S3.6: 404 for everything, no 409, a new id.
func TestADeletedUserIsAnotherPersonNextTime(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	group := s.createGroup("Sales", id)
	s.want(204, "DELETE", "/Users/"+id, "")
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
		body := `{` + coreUser + `,"userName":"ana"}`
		if method == "PATCH" {
			body = patchBody(`{"op":"replace","path":"title","value":"x"}`)
		}
		errorBody(t, s.do(method, "/Users/"+id, body), 404, "")
	}
	if a := s.want(200, "GET", "/Users", ""); a.get("totalResults") != 0.0 {
		t.Errorf("still listed: %s", a.raw)
	}
	if next := s.createUser("ana"); next == id {
		t.Error("the id was used again")
	}
	if got := s.members(group); len(got) != 0 {
		t.Errorf("a membership of nobody: %v", got)
	}
}
