package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

func tree(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

const ana = `{"id":"1","userName":"Ana","active":true,"externalId":"X1","schemas":["` + schema.UserURN + `"],
"name":{"givenName":"Ana","familyName":"Lee"},"title":"Dr",
"emails":[{"type":"work","value":"ana@work.example","primary":true},{"type":"home","value":"ana@home.example"}],
"meta":{"created":"2026-01-02T03:04:05.5Z","resourceType":"User"},
"` + schema.EnterpriseURN + `":{"department":"Sales","manager":{"value":"M7"}}}`

func TestMatch(t *testing.T) {
	rt := schema.NewRegistry().User
	for f, want := range map[string]bool{
		`userName eq "ana"`: true, `userName eq "anab"`: false, `externalId eq "X1"`: true,
		`externalId eq "x1"`: false, // caseExact
		`id eq "1"`:          true,
		`title pr`:           true, `nickName pr`: false, `nickName eq null`: true, `title ne null`: true, `title eq null`: false,
		`nickName ne "x"`: true,
		`userName co "N"`: true, `userName sw "an"`: true, `userName ew "NA"`: true, `userName gt "amy"`: true, `userName lt "amy"`: false,
		`active eq true`: true, `active ne true`: false, `not (active eq true)`: false,
		`emails co "home.example"`: true, `emails eq "ana@work.example"`: true, `emails.type eq "home"`: true,
		`emails[type eq "work" and value co "work"]`: true, `emails[type eq "work" and value co "home"]`: false,
		`emails[type eq "work"].value eq "ana@work.example"`: true, `emails[type eq "home"].value eq "ana@work.example"`: false,
		`emails[primary eq true]`: true,
		`name.familyName eq "lee" and (title eq "mr" or title eq "DR")`: true,
		`meta.created gt "2026-01-02T03:04:05Z"`:                        true, `meta.created lt "2026-01-02T03:04:05.6+00:00"`: true,
		`meta.created eq "2026-01-02T04:04:05.500+01:00"`: true, // chronological, not textual
		`schemas eq "` + schema.UserURN + `"`:             true,
		schema.EnterpriseURN + `:department eq "sales"`:   true,
		schema.EnterpriseURN + `:manager eq "M7"`:         true, schema.EnterpriseURN + `:manager.value eq "m7"`: false,
		schema.UserURN + `:userName eq "ana"`: true,
	} {
		e, err := filter.Parse(f, filter.Lenient)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if err := rt.CheckFilter(e); err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if got := rt.Match(tree(t, ana), e); got != want {
			t.Errorf("%s: got %v", f, got)
		}
	}
}

func TestCheckFilterRefuses(t *testing.T) {
	rt := schema.NewRegistry().User
	for f, why := range map[string]string{
		`isAdmin eq true`:               "unknown attribute",
		`name.nick eq "x"`:              "unknown sub-attribute",
		`urn:x:User:a eq "x"`:           "unknown schema",
		`active gt true`:                "booleans have no order",
		`x509Certificates.value gt "a"`: "binary has no order",
		`title gt null`:                 "null has no order",
		`name eq "x"`:                   "complex",
		`emails[foo eq "x"]`:            "unknown part",
		`meta.created gt "yesterday"`:   "not a time",
		`meta.created gt 5`:             "not a time",
		`password eq "hunter2"`:         "a secret must not be guessable by filter",
		`password sw "h"`:               "a secret must not be guessable by filter",
		`a pr and title pr`:             "left side",
		`title pr or not (b pr)`:        "right side",
		schema.EnterpriseURN + ` pr`:    "a container is no attribute",
	} {
		e, err := filter.Parse(f, filter.Lenient)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var se *schema.Error
		if err := rt.CheckFilter(e); !errors.As(err, &se) || se.Type != schema.InvalidFilter {
			t.Errorf("%s: got %v, want invalidFilter: %s", f, err, why)
		}
	}
}

func TestResourceRefusals(t *testing.T) {
	rt := schema.NewRegistry().User
	if _, err := rt.Resource(tree(t, `{"userName":"a","x509Certificates":[{"value":"YWI"}],"profileUrl":"../x"}`)); err != nil {
		t.Fatalf("benign: %v", err)
	}
	for _, tc := range []struct{ name, body, scimType string }{
		{"no userName", `{}`, schema.InvalidValue},
		{"null userName", `{"userName":null}`, schema.InvalidValue},
		{"empty userName", `{"userName":" "}`, schema.InvalidValue},
		{"userName list", `{"userName":["a"]}`, schema.InvalidValue},
		{"given twice", `{"userName":"a","USERNAME":"b"}`, schema.InvalidSyntax},
		{"part given twice", `{"userName":"a","name":{"givenName":"a","GIVENNAME":"b"}}`, schema.InvalidSyntax},
		{"extension given twice", `{"userName":"a","` + schema.EnterpriseURN + `":{"division":"a"},"` + strings.ToUpper(schema.EnterpriseURN) + `":{"division":"b"}}`, schema.InvalidSyntax},
		{"extension text", `{"userName":"a","` + schema.EnterpriseURN + `":"x"}`, schema.InvalidValue},
		{"list expected", `{"userName":"a","emails":{"value":"x"}}`, schema.InvalidValue},
		{"boolean expected", `{"userName":"a","active":"true"}`, schema.InvalidValue},
		{"not base64", `{"userName":"a","x509Certificates":[{"value":"***"}]}`, schema.InvalidValue},
		{"too many values", `{"userName":"a","roles":[` + strings.Repeat(`{"value":"x"},`, schema.MaxValues) + `{"value":"x"}]}`, schema.InvalidValue},
		{"deeper than the schema", `{"userName":"a","name":{"givenName":{"x":1}}}`, schema.InvalidValue},
	} {
		_, err := rt.Resource(tree(t, tc.body))
		var se *schema.Error
		if !errors.As(err, &se) || se.Type != tc.scimType {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.scimType)
		}
	}
}

func TestProjection(t *testing.T) {
	rt := schema.NewRegistry().User
	for _, tc := range []struct{ attributes, excluded, want string }{
		{"userName", "", `{"id":"1","schemas":["` + schema.UserURN + `"],"userName":"Ana"}`},
		{"USERNAME,name.givenName", "", `{"id":"1","name":{"givenName":"Ana"},"schemas":["` + schema.UserURN + `"],"userName":"Ana"}`},
		{"emails.type", "", `{"emails":[{"type":"work"},{"type":"home"}],"id":"1","schemas":["` + schema.UserURN + `"]}`},
		{schema.EnterpriseURN, "", `{"id":"1","schemas":["` + schema.UserURN + `"],"` + schema.EnterpriseURN + `":{"department":"Sales","manager":{"value":"M7"}}}`},
		{schema.EnterpriseURN + ":department", "", `{"id":"1","schemas":["` + schema.UserURN + `"],"` + schema.EnterpriseURN + `":{"department":"Sales"}}`},
		{"nonsense", "", `{"id":"1","schemas":["` + schema.UserURN + `"]}`},
		{"password", "", `{"id":"1","schemas":["` + schema.UserURN + `"]}`},
		{
			"", "id,schemas,emails,name.givenName,meta,title,active,externalId," + schema.EnterpriseURN + ":manager",
			`{"id":"1","name":{"familyName":"Lee"},"schemas":["` + schema.UserURN + `"],"` + schema.EnterpriseURN + `":{"department":"Sales"},"userName":"Ana"}`,
		},
	} {
		p, err := rt.Projection(schema.SplitNames(tc.attributes), schema.SplitNames(tc.excluded))
		if err != nil {
			t.Errorf("%+v: %v", tc, err)
			continue
		}
		in := tree(t, ana)
		in["password"] = "never"
		if got := show(p.Apply(in)); got != show(tree(t, tc.want)) {
			t.Errorf("attributes=%s excluded=%s:\n got %s\nwant %s", tc.attributes, tc.excluded, got, tc.want)
		}
	}
	if _, err := rt.Projection([]string{"a"}, []string{"b"}); err == nil {
		t.Error("both parameters at once were accepted")
	}
	p, err := rt.Projection(nil, []string{"groups", "name.givenName"})
	if err != nil || p.Wants("groups") || !p.Wants("name") || !p.Wants("emails") || !p.Given() {
		t.Errorf("excludedAttributes: Wants is wrong (%v)", err)
	}
}

// TestDefinitionsAreSound guards what discovery promises to mapping editors.
func TestDefinitionsAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range schema.NewRegistry().Schemas() {
		if seen[s.ID] {
			t.Errorf("%s is listed twice", s.ID)
		}
		seen[s.ID] = true
		for _, a := range s.Attributes {
			if (a.Type == schema.Complex) != (len(a.Sub) > 0) {
				t.Errorf("%s.%s: complex and sub-attributes do not go together", s.ID, a.Name)
			}
			for _, sub := range a.Sub {
				if sub.Type == schema.Complex || sub.MultiValued {
					t.Errorf("%s.%s.%s: complex attributes do not nest", s.ID, a.Name, sub.Name)
				}
				if sub.Type == schema.Reference && len(sub.ReferenceTypes) == 0 {
					t.Errorf("%s.%s.%s: a reference without types", s.ID, a.Name, sub.Name)
				}
			}
		}
		doc := show(s.Document("https://x/scim/v2"))
		if strings.Contains(doc, "null") {
			t.Errorf("%s: null in a schema document: %s", s.ID, doc)
		}
	}
	for _, want := range []string{schema.UserURN, schema.GroupURN, schema.EnterpriseURN, schema.MemberURN} {
		if !seen[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func FuzzResource(f *testing.F) {
	for _, s := range []string{ana, `{"userName":"a","emails":[{"value":1}]}`, `{"userName":"a","name":{"GIVENNAME":null}}`} {
		f.Add([]byte(s))
	}
	reg := schema.NewRegistry()
	f.Fuzz(func(t *testing.T, b []byte) {
		var m map[string]any
		if json.Unmarshal(b, &m) != nil {
			return
		}
		once, err := reg.User.Resource(m)
		if err != nil {
			return
		}
		twice, err := reg.User.Resource(once)
		if err != nil || show(once) != show(twice) {
			t.Fatalf("validation is not idempotent: %v\n%s\n%s", err, show(once), show(twice))
		}
	})
}
