package patch_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

// model is a user as the obvious implementation keeps one: a few variables, and
// section 3.5.2 of RFC 7644 read out loud. It shares nothing with the package.
type model struct {
	title, given, family, department string
	emails                           []address
	create                           bool // what patch.Options.CreateMissing says
}

type address struct {
	kind, value string
	primary     int // 0 absent, 1 true, 2 false
}

func (m *model) tree() map[string]any {
	out := map[string]any{"userName": "u"}
	set := func(in map[string]any, k, v string) {
		if v != "" {
			in[k] = v
		}
	}
	set(out, "title", m.title)
	name := map[string]any{}
	set(name, "givenName", m.given)
	set(name, "familyName", m.family)
	if len(name) > 0 {
		out["name"] = name
	}
	if m.department != "" {
		out[enterprise] = map[string]any{"department": m.department}
	}
	var list []any
	for _, a := range m.emails {
		el := map[string]any{}
		set(el, "type", a.kind)
		set(el, "value", a.value)
		if a.primary != 0 {
			el["primary"] = a.primary == 1
		}
		list = append(list, el)
	}
	if list != nil {
		out["emails"] = list
	}
	return out
}

// says reports whether have holds all that a says.
func (a address) says(have address) bool {
	return (a.kind == "" || a.kind == have.kind) && (a.value == "" || a.value == have.value) && (a.primary == 0 || a.primary == have.primary)
}

func (m *model) append(a address) {
	for _, have := range m.emails {
		if a.says(have) {
			return
		}
	}
	if a.primary == 1 {
		for i := range m.emails {
			if m.emails[i].primary == 1 {
				m.emails[i].primary = 2
			}
		}
	}
	m.emails = append(m.emails, a)
}

// step draws one operation and applies it to the model; ok is false when the
// model refuses it.
func (m *model) step(t *rapid.T) (o patch.Operation, ok bool) {
	verb := rapid.SampledFrom([]patch.Op{patch.Add, patch.Replace, patch.Remove}).Draw(t, "verb")
	v := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "v")
	kind := rapid.SampledFrom([]string{"work", "home"}).Draw(t, "kind")
	o = patch.Operation{Op: verb, Value: v, HasValue: verb != patch.Remove}
	if verb == patch.Remove {
		o.Value = nil
		v = ""
	}
	switch rapid.IntRange(0, 9).Draw(t, "path") {
	case 0:
		o.Path, m.title = "title", v
	case 1:
		o.Path, m.given = "name.givenName", v
	case 2:
		o.Path, m.department = enterprise+":department", v
	case 3:
		o.Path = "name"
		switch {
		case verb == patch.Remove:
			m.given, m.family = "", ""
		case rapid.Bool().Draw(t, "null"):
			o.Value, m.given = map[string]any{"givenName": nil}, ""
		default:
			o.Value, m.family = map[string]any{"familyName": v}, v
		}
	case 4:
		o.Path, m.department = enterprise, v
		if verb != patch.Remove {
			o.Value = map[string]any{"department": v}
		}
	case 5:
		o.Path = "emails"
		if verb == patch.Remove {
			m.emails = nil
			break
		}
		a := address{kind, v + "@x", rapid.IntRange(0, 2).Draw(t, "primary")}
		el := map[string]any{"type": a.kind, "value": a.value}
		if a.primary != 0 {
			el["primary"] = a.primary == 1
		}
		o.Value = []any{el}
		if verb == patch.Replace {
			m.emails = nil
		}
		m.append(a)
	case 6:
		o.Path = `emails[type eq "` + kind + `"].value`
		return o, m.selected(func(a address) bool { return a.kind == kind }, func(a *address) { a.value = v }, verb, &address{kind: kind, value: v})
	case 7:
		o.Path = `emails[value eq "` + "a@x" + `"].type`
		created := &address{kind: v, value: "a@x"}
		return o, m.selected(func(a address) bool { return a.value == "a@x" }, func(a *address) { a.kind = v }, verb, created)
	case 8:
		o.Path, o.Op, o.Value, o.HasValue = `emails[type eq "`+kind+`" and value ne "b@x"]`, patch.Remove, nil, false
		m.emails = slices.DeleteFunc(m.emails, func(a address) bool { return a.kind == kind && a.value != "b@x" })
	case 9:
		if verb == patch.Remove {
			return o, false // without a path: noTarget
		}
		o.Value = map[string]any{"title": v, "name": map[string]any{"givenName": v}, "emails": []any{map[string]any{"value": v + "@x", "type": kind}}}
		m.title, m.given = v, v
		if verb == patch.Replace {
			m.emails = nil
		}
		m.append(address{kind: kind, value: v + "@x"})
	}
	return o, true
}

// selected changes the addresses that a filter selects; without any, a new one is
// made of what the filter says, if that is allowed.
func (m *model) selected(match func(address) bool, change func(*address), verb patch.Op, fresh *address) bool {
	found := false
	for i := range m.emails {
		if match(m.emails[i]) {
			found = true
			change(&m.emails[i])
		}
	}
	if !found && verb != patch.Remove {
		if !m.create {
			return false
		}
		m.emails = append(m.emails, *fresh)
	}
	// Nothing but labels is left of an address without an address.
	m.emails = slices.DeleteFunc(m.emails, func(a address) bool { return a.value == "" })
	return true
}

// TestSequencesAgreeWithANaiveModel plays random requests over the whole grammar
// of paths. A request that the model refuses must be refused, and change nothing.
func TestSequencesAgreeWithANaiveModel(t *testing.T) {
	rt := schema.NewRegistry().User
	rapid.Check(t, func(t *rapid.T) {
		m := model{create: rapid.Bool().Draw(t, "create")}
		stored := m.tree()
		for range rapid.IntRange(1, 4).Draw(t, "requests") {
			next := m
			next.emails = slices.Clone(m.emails)
			var ops []patch.Operation
			accepted := true
			for range rapid.IntRange(1, 6).Draw(t, "operations") {
				o, ok := next.step(t)
				ops = append(ops, o)
				if accepted = accepted && ok; !ok {
					break
				}
			}
			before := show(stored)
			got, err := patch.Apply(rt, stored, ops, patch.Options{CreateMissing: m.create})
			if (err == nil) != accepted {
				t.Fatalf("%s\non %s: %v, the model accepts: %v", show(ops), before, err, accepted)
			}
			if show(stored) != before {
				t.Fatalf("%s changed what was stored: %s to %s", show(ops), before, show(stored))
			}
			if err != nil {
				continue
			}
			m, stored = next, got
			if show(got) != show(m.tree()) {
				t.Fatalf("%s\non   %s\ngot  %s\nwant %s", show(ops), before, show(got), show(m.tree()))
			}
		}
	})
}
