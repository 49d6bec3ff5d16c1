package patch_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

const enterprise = schema.EnterpriseURN

func tree(t testing.TB, s string) map[string]any {
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

func value(t testing.TB, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

func op(t testing.TB, verb patch.Op, path, val string) patch.Operation {
	o := patch.Operation{Op: verb, Path: path}
	if val != "" {
		o.Value, o.HasValue = value(t, val), true
	}
	return o
}

// TestApplyFollowsTheRFC is RFC 7644 section 3.5.2 without any tolerance.
func TestApplyFollowsTheRFC(t *testing.T) {
	const two = `"emails":[{"primary":true,"type":"work","value":"w@x"},{"type":"home","value":"h@x"}]`
	for _, tc := range []struct{ name, before, verb, path, value, want string }{
		{"add sets a single value", `{"userName":"a"}`, "add", "title", `"t"`, `{"title":"t","userName":"a"}`},
		{"add without path merges", `{"userName":"a","title":"t"}`, "add", "", `{"nickName":"n"}`, `{"nickName":"n","title":"t","userName":"a"}`},
		{"add appends", `{"userName":"a","roles":[{"value":"r"}]}`, "add", "roles", `[{"value":"s"}]`, `{"roles":[{"value":"r"},{"value":"s"}],"userName":"a"}`},
		{"add of a single object appends", `{"userName":"a"}`, "add", "roles", `{"value":"s"}`, `{"roles":[{"value":"s"}],"userName":"a"}`},
		{"add of what is there changes nothing", `{"userName":"a","roles":[{"value":"r"}]}`, "add", "roles", `[{"value":"r"}]`, `{"roles":[{"value":"r"}],"userName":"a"}`},
		{"add to a complex attribute merges", `{"userName":"a","name":{"givenName":"G"}}`, "add", "name", `{"familyName":"F"}`, `{"name":{"familyName":"F","givenName":"G"},"userName":"a"}`},
		{"a new primary takes it from the old", `{"userName":"a",` + two + `}`, "add", "emails", `[{"value":"n@x","primary":true}]`, `{"emails":[{"primary":false,"type":"work","value":"w@x"},{"type":"home","value":"h@x"},{"primary":true,"value":"n@x"}],"userName":"a"}`},
		{"primary by value path", `{"userName":"a",` + two + `}`, "replace", `emails[type eq "home"].primary`, `true`, `{"emails":[{"primary":false,"type":"work","value":"w@x"},{"primary":true,"type":"home","value":"h@x"}],"userName":"a"}`},
		{"replace a list", `{"userName":"a",` + two + `}`, "replace", "emails", `[{"value":"n@x"}]`, `{"emails":[{"value":"n@x"}],"userName":"a"}`},
		{"replace a complex attribute merges", `{"userName":"a","name":{"givenName":"G","familyName":"F"}}`, "replace", "name", `{"familyName":"X"}`, `{"name":{"familyName":"X","givenName":"G"},"userName":"a"}`},
		{"replace each match", `{"userName":"a","roles":[{"type":"x","value":"1"},{"type":"x","value":"2"},{"type":"y","value":"3"}]}`, "replace", `roles[type eq "X"].display`, `"d"`, `{"roles":[{"display":"d","type":"x","value":"1"},{"display":"d","type":"x","value":"2"},{"type":"y","value":"3"}],"userName":"a"}`},
		{"replace an element whole", `{"userName":"a",` + two + `}`, "replace", `emails[type eq "home"]`, `{"value":"n@x"}`, `{"emails":[{"primary":true,"type":"work","value":"w@x"},{"value":"n@x"}],"userName":"a"}`},
		{"remove an attribute", `{"userName":"a","title":"t"}`, "remove", "title", ``, `{"userName":"a"}`},
		{"remove a sub-attribute", `{"userName":"a","name":{"givenName":"G","familyName":"F"}}`, "remove", "name.givenName", ``, `{"name":{"familyName":"F"},"userName":"a"}`},
		{"remove the last sub-attribute", `{"userName":"a","name":{"givenName":"G"}}`, "remove", "name.givenName", ``, `{"userName":"a"}`},
		{"remove matching values", `{"userName":"a",` + two + `}`, "remove", `emails[type eq "work" and value ew "@x"]`, ``, `{"emails":[{"type":"home","value":"h@x"}],"userName":"a"}`},
		{"one element must satisfy both", `{"userName":"a",` + two + `}`, "remove", `emails[type eq "work" and value sw "h"]`, ``, `{` + two + `,"userName":"a"}`},
		{"a filter in any case", `{"userName":"a",` + two + `}`, "remove", `EMAILS[TYPE EQ "WORK"]`, ``, `{"emails":[{"type":"home","value":"h@x"}],"userName":"a"}`},
		{"an extension attribute", `{"userName":"a"}`, "add", enterprise + ":division", `"d"`, `{"` + enterprise + `":{"division":"d"},"userName":"a"}`},
		{"an extension container", `{"userName":"a","` + enterprise + `":{"division":"d"}}`, "replace", enterprise, `{"department":"e"}`, `{"` + enterprise + `":{"department":"e","division":"d"},"userName":"a"}`},
		{"remove an extension", `{"userName":"a","` + enterprise + `":{"division":"d"}}`, "remove", enterprise, ``, `{"userName":"a"}`},
		{"the last extension attribute", `{"userName":"a","` + enterprise + `":{"division":"d"}}`, "remove", enterprise + ":division", ``, `{"userName":"a"}`},
		{"the core URN as prefix", `{"userName":"a"}`, "add", schema.UserURN + ":name.givenName", `"G"`, `{"name":{"givenName":"G"},"userName":"a"}`},
		{"a new manager loses the old one's $ref", `{"userName":"a","` + enterprise + `":{"manager":{"$ref":"../Users/1","value":"1"}}}`, "replace", enterprise + ":manager", `{"value":"2"}`, `{"` + enterprise + `":{"manager":{"value":"2"}},"userName":"a"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt := schema.NewRegistry().User
			before := tree(t, tc.before)
			got, err := patch.Apply(rt, before, []patch.Operation{op(t, patch.Op(tc.verb), tc.path, tc.value)}, patch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if show(got) != show(tree(t, tc.want)) {
				t.Fatalf(" got %s\nwant %s", show(got), tc.want)
			}
			if show(before) != show(tree(t, tc.before)) {
				t.Fatal("the stored tree was changed")
			}
		})
	}
}

func TestApplyRefusals(t *testing.T) {
	for _, tc := range []struct{ name, verb, path, value, scimType string }{
		{"unknown verb", "move", "title", `"t"`, schema.InvalidSyntax},
		{"no value", "add", "title", ``, schema.InvalidValue},
		{"remove without path", "remove", "", ``, schema.NoTarget},
		{"path-less text", "add", "", `"t"`, schema.InvalidValue},
		{"unknown attribute in a path", "add", "isAdmin", `true`, schema.InvalidPath},
		{"unknown sub-attribute", "add", "name.nick", `"x"`, schema.InvalidPath},
		{"unknown extension", "add", "urn:x:User:a", `"x"`, schema.InvalidPath},
		{"broken path", "add", "emails[", `"x"`, schema.InvalidPath},
		{"filter on a single value", "add", `name[givenName eq "x"]`, `"x"`, schema.InvalidPath},
		{"filter on an unknown part", "add", `emails[foo eq "x"].value`, `"x"`, schema.InvalidFilter},
		{"filter that orders a boolean", "remove", `emails[primary gt true]`, ``, schema.InvalidFilter},
		{"read-only", "replace", "groups", `[]`, schema.NotMutable},
		{"read-only id", "replace", "id", `"x"`, schema.NotMutable},
		{"read-only part", "replace", "meta.version", `"x"`, schema.NotMutable},
		{"read-only state", "replace", schema.MemberURN + ":state", `"active"`, schema.NotMutable},
		{"remove of required", "remove", "userName", ``, schema.NotMutable},
		{"wrong type", "replace", "active", `"yes"`, schema.InvalidValue},
		{"number for text", "replace", "title", `5`, schema.InvalidValue},
		{"object for text", "replace", "title", `{}`, schema.InvalidValue},
		{"text for complex", "replace", "name", `"x"`, schema.InvalidValue},
		{"no match", "replace", `emails[type eq "none"].value`, `"x"`, schema.NoTarget},
		{"two primaries", "replace", "emails", `[{"value":"1","primary":true},{"value":"2","primary":true}]`, schema.InvalidValue},
		{"NUL", "replace", "title", `"a\u0000"`, schema.InvalidValue},
		{"long", "replace", "title", `"` + strings.Repeat("a", schema.MaxString+1) + `"`, schema.InvalidValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ops := []patch.Operation{op(t, patch.Add, "nickName", `"n"`), op(t, patch.Op(tc.verb), tc.path, tc.value)}
			ops[1].Index = 1
			before := tree(t, `{"userName":"a","emails":[{"type":"work","value":"w@x"}]}`)
			got, err := patch.Apply(schema.NewRegistry().User, before, ops, patch.Options{})
			var pe *patch.Error
			if !errors.As(err, &pe) || pe.Type != tc.scimType || pe.Index != 1 {
				t.Fatalf("got %v, want %s at operation 1", err, tc.scimType)
			}
			if got != nil || before["nickName"] != nil {
				t.Fatal("C08: the first operation left a trace")
			}
		})
	}
}

func TestT7OnlyAConjunctionOfEqCreates(t *testing.T) {
	rt := schema.NewRegistry().User
	for path, want := range map[string]string{
		`emails[type eq "work"].value`:                     `{"emails":[{"type":"work","value":"v"}],"userName":"a"}`,
		`emails[type eq "work" and primary eq true].value`: `{"emails":[{"primary":true,"type":"work","value":"v"}],"userName":"a"}`,
		`emails.value`: `{"emails":[{"value":"v"}],"userName":"a"}`,
		`emails[type eq "work" or type eq "home"].value`: "",
		`emails[not (type eq "work")].value`:             "",
		`emails[type ne "work"].value`:                   "",
		`emails[type pr].value`:                          "",
	} {
		got, err := patch.Apply(rt, tree(t, `{"userName":"a"}`), []patch.Operation{op(t, patch.Replace, path, `"v"`)}, patch.Options{CreateMissing: true})
		switch {
		case want == "" && err == nil:
			t.Errorf("%s created %s", path, show(got))
		case want != "" && (err != nil || show(got) != want):
			t.Errorf("%s: got %s, %v", path, show(got), err)
		}
	}
}

func TestGroupRefusals(t *testing.T) {
	rt := schema.NewRegistry().Group
	for _, tc := range []struct{ name, verb, path, value, scimType string }{
		{"change a member's value", "replace", `members[value eq "1"].value`, `"2"`, schema.NotMutable},
		{"change a member", "replace", `members[value eq "1"]`, `{"value":"2"}`, schema.NotMutable},
		{"select by display", "remove", `members[display eq "x"]`, ``, schema.InvalidFilter},
		{"select by negation", "remove", `members[not (value eq "x")]`, ``, schema.InvalidFilter},
		{"select by and", "remove", `members[value eq "x" and type eq "User"]`, ``, schema.InvalidFilter},
		{"member without value", "add", "members", `[{"display":"x"}]`, schema.InvalidValue},
		{"member id as number", "add", "members", `[{"value":5}]`, schema.InvalidValue},
		{"empty name", "replace", "displayName", `""`, schema.InvalidValue},
		{"null name", "replace", "displayName", `null`, schema.InvalidValue},
		{"remove name", "remove", "displayName", ``, schema.NotMutable},
		{"id", "replace", "id", `"x"`, schema.NotMutable},
		{"unknown", "replace", "owners", `[]`, schema.InvalidPath},
		{"remove without path", "remove", "", ``, schema.NoTarget},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := patch.Group(rt, []patch.Operation{op(t, patch.Op(tc.verb), tc.path, tc.value)})
			var pe *patch.Error
			if !errors.As(err, &pe) || pe.Type != tc.scimType {
				t.Fatalf("got %v, want %s", err, tc.scimType)
			}
		})
	}
}

func TestGroupKeepsTheOrderOfSteps(t *testing.T) {
	rt := schema.NewRegistry().Group
	got, err := patch.Group(rt, []patch.Operation{
		op(t, patch.Remove, `members[value eq "1"]`, ``), op(t, patch.Remove, `members[value eq "2"]`, ``),
		op(t, patch.Add, "members", `[{"value":"1"}]`), op(t, patch.Replace, "members", `[]`), op(t, patch.Add, "members", `[{"value":"3"}]`),
		op(t, patch.Replace, "displayName", `"n"`), op(t, patch.Replace, "externalId", `"e"`), op(t, patch.Remove, "externalId", ``),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Op":"remove","IDs":["1","2"]},{"Op":"add","IDs":["1"]},{"Op":"replace","IDs":[]},{"Op":"add","IDs":["3"]}]`
	if show(got.Steps) != want || *got.DisplayName != "n" || *got.ExternalID != "" {
		t.Fatalf("got %s", show(got))
	}
}

// TestListOperationsAgreeWithANaiveModel plays random sequences on a
// multi-valued attribute against the obvious implementation.
func TestListOperationsAgreeWithANaiveModel(t *testing.T) {
	rt := schema.NewRegistry().User
	rapid.Check(t, func(t *rapid.T) {
		var ops []patch.Operation
		var model []string
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			v := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "v")
			el := []any{map[string]any{"value": v}}
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				ops = append(ops, patch.Operation{Op: patch.Add, Path: "roles", Value: el, HasValue: true})
				if !slices.Contains(model, v) {
					model = append(model, v)
				}
			case 1:
				ops = append(ops, patch.Operation{Op: patch.Remove, Path: `roles[value eq "` + v + `"]`})
				model = slices.DeleteFunc(model, func(s string) bool { return s == v })
			case 2:
				ops = append(ops, patch.Operation{Op: patch.Remove, Path: "roles", Value: el, HasValue: true})
				model = slices.DeleteFunc(model, func(s string) bool { return s == v })
			case 3:
				ops = append(ops, patch.Operation{Op: patch.Replace, Path: "roles", Value: el, HasValue: true})
				model = []string{v}
			}
		}
		got, err := patch.Apply(rt, map[string]any{"userName": "u"}, ops, patch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ids, _ := patch.MemberIDs(got["roles"])
		if !slices.Equal(ids, model) {
			t.Fatalf("got %v, model %v", ids, model)
		}
		// One request or many: the same result.
		step := map[string]any{"userName": "u"}
		for _, o := range ops {
			if step, err = patch.Apply(rt, step, []patch.Operation{o}, patch.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if show(step) != show(got) {
			t.Fatalf("one by one %s, at once %s", show(step), show(got))
		}
	})
}
