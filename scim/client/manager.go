package client

import "github.com/ssogate/ssogate/scim/schema"

// isManager recognizes the enterprise extension's manager by its shape: the
// one single-valued complex attribute that is a reference with a value.
func isManager(a *schema.Attribute) bool {
	return a.Type == schema.Complex && !a.MultiValued && a.Name == "manager"
}

// manager is T4. Seen: "id", [{"value":"id"}], "", {"value":""} and, from
// OneLogin's template, {"managerId":"id","displayName":"..."}. The first three
// are unwrapped by complex and element; an empty value removes the manager.
func (r reader) manager(a *schema.Attribute, m map[string]any) any {
	out := r.object(a, m)
	if _, given := get(m, "value"); !given {
		if id, ok := get(m, "managerId"); ok {
			r.notes.add("T4")
			out["value"] = r.value(a.Lookup("value"), id)
		}
	}
	if v, given := get(out, "value"); given && v == nil {
		r.notes.add("T4")
		return nil
	}
	return out
}
