package client_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

const enterprise = schema.EnterpriseURN

func decode(t *testing.T, s string) map[string]any {
	t.Helper()
	m, err := client.Decode([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

// show is the compact JSON of a tree, for comparison.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// patched applies operations the way the server does.
func patched(t *testing.T, before, ops string, p client.Profile) (string, []string, error) {
	t.Helper()
	rt := schema.NewRegistry().User
	var notes client.Notes
	list, err := client.Operations(rt, decode(t, ops), p, &notes)
	if err != nil {
		return "", nil, err
	}
	tree, err := patch.Apply(rt, decode(t, before), list, patch.Options{CreateMissing: p != client.Strict})
	return show(tree), notes.Rules(), err
}

func ops(list ...string) string {
	return `{"schemas":["` + client.PatchURN + `"],"Operations":[` + strings.Join(list, ",") + `]}`
}

// TestToleranceOfPatches has one case or more per tolerance rule of doc.go. The
// strict profile must refuse or ignore what only a rule makes acceptable.
func TestToleranceOfPatches(t *testing.T) {
	for _, tc := range []struct {
		name, rule, before, ops, want string
		strict                        string // "same", "refused", or the JSON it gives
	}{
		{
			"T1 op in any case", "T1", `{"userName":"a"}`,
			ops(`{"op":"Replace","path":"title","value":"x"}`), `{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T2 active as text, Entra", "T2", `{"userName":"a","active":true}`,
			ops(`{"op":"replace","path":"active","value":"False"}`), `{"active":false,"userName":"a"}`, "refused",
		},
		{
			"T2 without a path", "T2", `{"userName":"a","active":false}`,
			ops(`{"op":"replace","value":{"active":"True"}}`), `{"active":true,"userName":"a"}`, "refused",
		},
		{
			"T2 in a sub-attribute", "T2", `{"userName":"a"}`,
			ops(`{"op":"add","path":"roles","value":[{"value":"r","primary":"True"}]}`),
			`{"roles":[{"primary":true,"value":"r"}],"userName":"a"}`, "refused",
		},
		{
			"T2 in a value filter", "T2", `{"userName":"a"}`,
			ops(`{"op":"add","path":"roles[primary eq \"True\"].value","value":"r"}`),
			`{"roles":[{"primary":true,"value":"r"}],"userName":"a"}`, "refused",
		},
		{
			"T3 array of one", "T3", `{"userName":"a"}`,
			ops(`{"op":"replace","path":"title","value":["x"]}`), `{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T3 value object for a simple attribute", "T3", `{"userName":"a"}`,
			ops(`{"op":"replace","path":"title","value":[{"value":"x"}]}`), `{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T3 bare text for a list", "T3", `{"userName":"a"}`,
			ops(`{"op":"replace","path":"emails","value":"a@x"}`), `{"emails":[{"value":"a@x"}],"userName":"a"}`, "refused",
		},
		{
			"T4 manager as text", "T4", `{"userName":"a"}`,
			ops(`{"op":"add","path":"` + enterprise + `:manager","value":"7"}`),
			`{"` + enterprise + `":{"manager":{"value":"7"}},"userName":"a"}`, "refused",
		},
		{
			"T4 manager as array", "T3", `{"userName":"a"}`,
			ops(`{"op":"Add","path":"` + enterprise + `:manager","value":[{"$ref":null,"value":"7"}]}`),
			`{"` + enterprise + `":{"manager":{"value":"7"}},"userName":"a"}`, "refused",
		},
		{
			"T4 manager removed by text", "T8", `{"userName":"a","` + enterprise + `":{"manager":{"value":"7"}}}`,
			ops(`{"op":"replace","path":"` + enterprise + `:manager","value":""}`), `{"userName":"a"}`, "refused",
		},
		{
			"T4 manager removed by empty value", "T4", `{"userName":"a","` + enterprise + `":{"manager":{"value":"7"}}}`,
			ops(`{"op":"replace","path":"` + enterprise + `:manager","value":{"value":""}}`), `{"userName":"a"}`,
			`{"` + enterprise + `":{"manager":{"value":""}},"userName":"a"}`,
		},
		{
			"T5 dotted keys", "T5", `{"userName":"a","name":{"familyName":"F"}}`,
			ops(`{"op":"replace","value":{"displayName":"D","name.givenName":"G","` + enterprise + `:employeeNumber":"9"}}`),
			`{"displayName":"D","name":{"familyName":"F","givenName":"G"},"` + enterprise + `":{"employeeNumber":"9"},"userName":"a"}`, "refused",
		},
		{
			"T5 value path as key", "T5", `{"userName":"a"}`,
			ops(`{"op":"replace","value":{"emails[type eq \"work\"].value":"a@x"}}`),
			`{"emails":[{"type":"work","value":"a@x"}],"userName":"a"}`, "refused",
		},
		{
			"T5 extension container with schemas inside", "T11", `{"userName":"a"}`,
			ops(`{"op":"add","value":{"` + enterprise + `":{"schemas":["` + enterprise + `"],"division":"d"}}}`),
			`{"` + enterprise + `":{"division":"d"},"userName":"a"}`, "refused",
		},
		{
			"T5 value is JSON in a string", "T5", `{"userName":"a","active":true}`,
			ops(`{"op":"replace","value":"{\"active\":false}"}`), `{"active":false,"userName":"a"}`, "refused",
		},
		{
			"T6 remove with a value array removes these only", "T6",
			`{"userName":"a","roles":[{"value":"r"},{"value":"s"}]}`,
			ops(`{"op":"remove","path":"roles","value":[{"value":"r"}]}`), `{"roles":[{"value":"s"}],"userName":"a"}`, "same",
		},
		{
			"T6 remove with an empty array removes none", "T6", `{"userName":"a","roles":[{"value":"r"}]}`,
			ops(`{"op":"remove","path":"roles","value":[]}`), `{"roles":[{"value":"r"}],"userName":"a"}`, "same",
		},
		{
			"T7 replace creates the element", "", `{"userName":"a"}`,
			ops(`{"op":"replace","path":"addresses[type eq \"work\"].country","value":"CH"}`),
			`{"addresses":[{"country":"CH","type":"work"}],"userName":"a"}`, "refused",
		},
		{
			"T8 empty text clears", "T8", `{"userName":"a","title":"x"}`,
			ops(`{"op":"replace","path":"title","value":""}`), `{"userName":"a"}`, `{"title":"","userName":"a"}`,
		},
		{
			"T8 null clears", "", `{"userName":"a","title":"x"}`,
			ops(`{"op":"replace","path":"title","value":null}`), `{"userName":"a"}`, "same",
		},
		{
			"T8 the value of an e-mail", "T8", `{"userName":"a","emails":[{"type":"work","value":"a@x"},{"type":"home","value":"b@x"}]}`,
			ops(`{"op":"replace","path":"emails[type eq \"work\"].value","value":""}`),
			`{"emails":[{"type":"home","value":"b@x"}],"userName":"a"}`, `{"emails":[{"type":"work","value":""},{"type":"home","value":"b@x"}],"userName":"a"}`,
		},
		{
			"T8 clearing what is not there creates nothing", "T8", `{"userName":"a"}`,
			ops(`{"op":"replace","path":"emails[type eq \"work\"].value","value":""}`), `{"userName":"a"}`, "refused",
		},
		{
			"T9 no schemas", "T9", `{"userName":"a"}`,
			`{"Operations":[{"op":"replace","path":"title","value":"x"}]}`, `{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T10 id, meta, schemas, groups are ignored", "T10", `{"userName":"a"}`,
			ops(`{"op":"replace","value":{"id":"1","meta":{},"schemas":[],"groups":[{"value":"g"}],"title":"x"}}`),
			`{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T11 unknown attributes are dropped", "T11", `{"userName":"a"}`,
			ops(`{"op":"replace","value":{"isAdmin":true,"title":"x"}}`), `{"title":"x","userName":"a"}`, "refused",
		},
		{
			"T13 repeated add and remove succeed", "", `{"userName":"a","roles":[{"value":"r","display":"R"}]}`,
			ops(`{"op":"add","path":"roles","value":[{"value":"r"}]}`, `{"op":"remove","path":"ims[value eq \"none\"]"}`, `{"op":"remove","path":"title"}`),
			`{"roles":[{"display":"R","value":"r"}],"userName":"a"}`, "same",
		},
		{
			"partial name with null clears only that part", "", `{"userName":"a","name":{"familyName":"F","givenName":"G"}}`,
			ops(`{"op":"replace","value":{"name":{"familyName":null}}}`), `{"name":{"givenName":"G"},"userName":"a"}`, "same",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, rules, err := patched(t, tc.before, tc.ops, client.Auto)
			if err != nil {
				t.Fatalf("auto: %v", err)
			}
			if got != tc.want {
				t.Fatalf("auto:\n got %s\nwant %s", got, tc.want)
			}
			if tc.rule != "" && !slices.Contains(rules, tc.rule) {
				t.Errorf("rule %s was not noted, only %v", tc.rule, rules)
			}
			got, _, err = patched(t, tc.before, tc.ops, client.Strict)
			switch {
			case tc.strict == "refused" && err == nil:
				t.Errorf("strict accepts it: %s", got)
			case tc.strict == "same" && (err != nil || got != tc.want):
				t.Errorf("strict: got %s, %v", got, err)
			case strings.HasPrefix(tc.strict, "{") && got != tc.strict:
				t.Errorf("strict: got %s, %v", got, err)
			}
		})
	}
}

func TestToleranceNeverReachesRequiredAttributes(t *testing.T) {
	for _, o := range []string{
		`{"op":"replace","path":"userName","value":""}`, `{"op":"replace","path":"userName","value":null}`,
		`{"op":"remove","path":"userName"}`, `{"op":"replace","value":{"userName":""}}`, `{"op":"replace","path":"userName","value":"  "}`,
	} {
		if got, _, err := patched(t, `{"userName":"a"}`, ops(o), client.Auto); err == nil {
			t.Errorf("%s left %s", o, got)
		}
	}
}

// TestToleranceOfBodies is the same for POST and PUT.
func TestToleranceOfBodies(t *testing.T) {
	core := `"schemas":["` + schema.UserURN + `"]`
	for _, tc := range []struct{ name, rule, body, want string }{
		{"benign", "", `{` + core + `,"userName":"a","active":true}`, `{"active":true,"userName":"a"}`},
		{"T2", "T2", `{` + core + `,"userName":"a","active":"false"}`, `{"active":false,"userName":"a"}`},
		{"T2 roles of the validator", "T2", `{` + core + `,"userName":"a","roles":[{"primary":"True","value":"x"}]}`, `{"roles":[{"primary":true,"value":"x"}],"userName":"a"}`},
		{"T3 e-mails as one object", "T3", `{` + core + `,"userName":"a","emails":{"value":"a@x"}}`, `{"emails":[{"value":"a@x"}],"userName":"a"}`},
		{"T4 OneLogin's manager", "T4", `{` + core + `,"userName":"a","` + enterprise + `":{"manager":{"managerId":"7","displayName":"M"}}}`, `{"` + enterprise + `":{"manager":{"value":"7"}},"userName":"a"}`},
		{"T5 dotted keys", "T5", `{` + core + `,"userName":"a","name.givenName":"G"}`, `{"name":{"givenName":"G"},"userName":"a"}`},
		{"T8 empty text and nulls of Entra", "T8", `{` + core + `,"userName":"a","title":"","addresses":null,"phoneNumbers":null,"roles":[]}`, `{"userName":"a"}`},
		{"T8 e-mail without address", "T8", `{` + core + `,"userName":"a","emails":[{"type":"work","value":""}]}`, `{"userName":"a"}`},
		{"T9 missing schemas", "T9", `{"userName":"a"}`, `{"userName":"a"}`},
		{
			"T9 OneLogin's 1.x schemas", "T9",
			`{"schemas":["urn:scim:schemas:core:2.0"],"userName":"a","id":null,"urn:scim:schemas:extension:enterprise:2.0":{"department":"d"}}`,
			`{"` + enterprise + `":{"department":"d"},"userName":"a"}`,
		},
		{
			"T11 unknown top level and misspelled extension", "T11",
			`{` + core + `,"userName":"a","department":null,"urn:ietf:params:scim:schemas:extension:enterprise:2.0:Usr":{"division":"d"}}`, `{"userName":"a"}`,
		},
		{"T17 nothing but a user name without @", "", `{` + core + `,"userName":"anna"}`, `{"userName":"anna"}`},
		{"read-only parts are ignored", "", `{` + core + `,"userName":"a","id":"x","meta":{"version":"1"},"groups":[{"value":"g"}]}`, `{"userName":"a"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt := schema.NewRegistry().User
			var notes client.Notes
			body, err := client.Resource(rt, decode(t, tc.body), client.Auto, &notes)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := rt.Resource(body)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(tree); got != tc.want {
				t.Fatalf("got %s\nwant %s", got, tc.want)
			}
			if tc.rule != "" && !slices.Contains(notes.Rules(), tc.rule) {
				t.Errorf("rule %s was not noted, only %v", tc.rule, notes.Rules())
			}
		})
	}
}

func TestStrictProfileWantsSchemas(t *testing.T) {
	rt := schema.NewRegistry().User
	var notes client.Notes
	good := decode(t, `{"schemas":["`+schema.UserURN+`","`+enterprise+`"],"userName":"a"}`)
	if _, err := client.Resource(rt, good, client.Strict, &notes); err != nil {
		t.Fatalf("benign: %v", err)
	}
	for _, bad := range []string{`{"userName":"a"}`, `{"schemas":[],"userName":"a"}`, `{"schemas":["urn:x"],"userName":"a"}`, `{"schemas":["` + schema.UserURN + `","urn:x"]}`} {
		if _, err := client.Resource(rt, decode(t, bad), client.Strict, &notes); err == nil {
			t.Errorf("strict accepts %s", bad)
		}
	}
}

func TestT6GroupRemovesInBothShapes(t *testing.T) {
	rt := schema.NewRegistry().Group
	for _, tc := range []struct{ name, op, want string }{
		{"Okta's value filter", `{"op":"remove","path":"members[value eq \"m1\"]"}`, `[{"Op":"remove","IDs":["m1"]}]`},
		{"Entra's value array", `{"op":"Remove","path":"members","value":[{"$ref":null,"value":"m1"},{"value":"m2"}]}`, `[{"Op":"remove","IDs":["m1","m2"]}]`},
		{"bare ids", `{"op":"remove","path":"members","value":["m1"]}`, `[{"Op":"remove","IDs":["m1"]}]`},
		{"one bare id", `{"op":"remove","path":"members","value":"m1"}`, `[{"Op":"remove","IDs":["m1"]}]`},
		{"empty array removes nobody", `{"op":"remove","path":"members","value":[]}`, `null`},
		{"no value removes all", `{"op":"remove","path":"members"}`, `[{"Op":"replace","IDs":null}]`},
		{"several in one filter", `{"op":"remove","path":"members[value eq \"m1\" or value eq \"m2\"]"}`, `[{"Op":"remove","IDs":["m1","m2"]}]`},
		{"path-less add appends", `{"op":"add","value":{"members":[{"value":"m1"}]}}`, `[{"Op":"add","IDs":["m1"]}]`},
		{"replace with nobody empties", `{"op":"replace","path":"members","value":[]}`, `[{"Op":"replace","IDs":[]}]`},
		{"T14 no display, no type; repeated", `{"op":"add","path":"members","value":[{"value":"m1"},{"value":"m1","display":"x"}]}`, `[{"Op":"add","IDs":["m1"]}]`},
		{"T10 rename with id", `{"op":"replace","value":{"id":"g","displayName":"n"}}`, `null`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var notes client.Notes
			list, err := client.Operations(rt, decode(t, ops(tc.op)), client.Auto, &notes)
			if err != nil {
				t.Fatal(err)
			}
			got, err := patch.Group(rt, list)
			if err != nil {
				t.Fatal(err)
			}
			if show(got.Steps) != tc.want {
				t.Fatalf("got %s, want %s", show(got.Steps), tc.want)
			}
		})
	}
}

func TestT12FilterOperandsTakeTheAttributesType(t *testing.T) {
	rt := schema.NewRegistry().User
	for _, tc := range []struct{ in, want string }{
		{`USERNAME eq "x"`, `userName eq "x"`},
		{schema.UserURN + `:userName eq "x"`, `userName eq "x"`},
		{`active eq "True"`, `active eq true`},
		{`emails[PRIMARY eq "True"].VALUE eq x`, `emails[primary eq true].value eq "x"`},
		{`externalId eq 4711`, `externalId eq "4711"`},
		{strings.ToUpper(enterprise) + `:employeenumber eq 7`, enterprise + `:employeeNumber eq "7"`},
	} {
		e, err := filter.Parse(tc.in, filter.Lenient)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		var notes client.Notes
		if got := filter.Format(client.Filter(rt, e, client.Auto, &notes)); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestT15T18QueryParameters(t *testing.T) {
	got, err := client.Query(`filter=userName+eq+%22a;b%22&&aadOptscim062020&unknown=%zz&COUNT=5&`, "filter", "count")
	want := map[string]string{"filter": `userName eq "a;b"`, "count": "5"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{`filter=a&filter=b`, `filter=%zz`, `count=1&Count=2`} {
		if got, err := client.Query(bad, "filter", "count"); err == nil {
			t.Errorf("%s gave %v", bad, got)
		}
	}
}

func TestT16Accept(t *testing.T) {
	for in, want := range map[string]string{
		"": client.SCIMType, "*/*": client.SCIMType, "application/*": client.SCIMType,
		"application/json": client.JSONType, "application/scim+json": client.SCIMType,
		"application/json, application/scim+json": client.JSONType,
		"text/html, application/json;q=0.9":       client.JSONType,
		"text/html":                               client.SCIMType, "application/json;q=0": client.SCIMType, ";;;": client.SCIMType,
	} {
		if got := client.Accept([]string{in}); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestDecodeRefusesC06(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	if _, err := client.Decode([]byte(deep(client.MaxDepth))); err != nil {
		t.Fatalf("depth %d must pass: %v", client.MaxDepth, err)
	}
	for _, tc := range []struct{ name, in, why string }{
		{"depth 33", deep(client.MaxDepth + 1), "depth limit"},
		{"depth 10k", deep(10_000), "a stack overflow cannot be recovered"},
		{"array depth 100k", `{"a":` + strings.Repeat("[", 100_000), "a stack overflow cannot be recovered"},
		{"duplicate keys", `{"active":true,"active":false}`, "two readers, two meanings"},
		{"duplicate keys by escape", `{"active":true,"\u0061ctive":false}`, "the same key"},
		{"duplicate keys inside", `{"a":[{"b":1,"b":2}]}`, "two readers, two meanings"},
		{"1e400", `{"a":1e400}`, "infinity"},
		{"bad UTF-8", "{\"a\":\"\xff\"}", "not text"},
		{"NUL", `{"a":"x\u0000y"}`, "PostgreSQL cannot store it"},
		{"two objects", `{"a":1}{"a":2}`, "which one"},
		{"trailing text", `{"a":1} x`, "not JSON"},
		{"array", `[1]`, "not an object"},
		{"string", `"x"`, "not an object"},
		{"null", `null`, "not an object"},
		{"empty", ``, "nothing"},
		{"cut", `{"a":`, "incomplete"},
		{"trailing comma", `{"a":1,}`, "not JSON"},
		{"comment", `{/**/}`, "not JSON"},
		{"NaN", `{"a":NaN}`, "not JSON"},
		{"missing colon", `{"a" 1}`, "not JSON"},
		{"many nodes", `{"a":[` + strings.Repeat("0,", client.MaxNodes) + `0]}`, "memory"},
	} {
		if m, err := client.Decode([]byte(tc.in)); err == nil {
			t.Errorf("%s was read as %.80s: %s", tc.name, show(m), tc.why)
		}
	}
	if _, err := client.Decode([]byte(` {"a":[1,{"b":null}],"c":"é"} ` + "\n")); err != nil {
		t.Errorf("benign: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,true,null,"x",{"b":{}}]}`, `{"a":1,"a":2}`, `{"a":1e400}`, `[`, `{"\u0061":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := client.Decode(b)
		if err != nil {
			return
		}
		// What is accepted must be what everybody else reads.
		var std map[string]any
		if err := json.Unmarshal(b, &std); err != nil {
			t.Fatalf("encoding/json refuses what Decode accepts: %v", err)
		}
		if !reflect.DeepEqual(m, std) {
			t.Fatalf("encoding/json reads %v, Decode %v", std, m)
		}
	})
}

// FuzzPatch runs whole PATCH bodies: no panic, the stored tree is never
// touched, and the result is a valid resource again.
func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		ops(`{"op":"add","path":"emails[type eq \"work\"].value","value":"x"}`), ops(`{"op":"Replace","value":{"name.givenName":"x","active":"False"}}`),
		ops(`{"op":"remove","path":"emails[value eq \"a@x\"]"}`), ops(`{"op":"add","path":"` + enterprise + `:manager","value":[{"value":"1"}]}`),
		ops(`{"op":"replace","path":"` + enterprise + `","value":{"division":"d","manager":null}}`), ops(`{"op":"add","path":"emails","value":[{"primary":true,"value":"b"}]}`),
		ops(`{"op":"replace","path":"emails.primary","value":"True"}`), ops(`{"op":"replace","path":"members","value":[]}`),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	reg := schema.NewRegistry()
	const stored = `{"userName":"a","active":true,"name":{"givenName":"G"},"emails":[{"type":"work","value":"a@x","primary":true}],"` + enterprise + `":{"manager":{"value":"7"}}}`
	f.Fuzz(func(t *testing.T, body []byte, strict bool) {
		m, err := client.Decode(body)
		if err != nil {
			return
		}
		p := client.Auto
		if strict {
			p = client.Strict
		}
		var notes client.Notes
		if list, err := client.Operations(reg.Group, m, p, &notes); err == nil {
			_, _ = patch.Group(reg.Group, list)
		}
		list, err := client.Operations(reg.User, m, p, &notes)
		if err != nil {
			return
		}
		before := decode(t, stored)
		next, err := patch.Apply(reg.User, before, list, patch.Options{CreateMissing: !strict})
		if show(before) != show(decode(t, stored)) {
			t.Fatal("the stored tree was changed")
		}
		if err != nil {
			return
		}
		again, err := reg.User.Resource(next)
		if err != nil {
			t.Fatalf("the result is refused by its own schema: %v\n%s", err, show(next))
		}
		if show(again) != show(next) {
			t.Fatalf("the result is not canonical:\n%s\n%s", show(next), show(again))
		}
	})
}
