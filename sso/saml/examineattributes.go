package saml

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/sso"
)

// carried lists the names of the attributes that arrived.
func carried(found attributes) string {
	if len(found) == 0 {
		return "no attributes"
	}
	names := slices.Sorted(maps.Keys(found))
	for i, n := range names {
		names[i] = quote(n)
	}
	return strings.Join(names, ", ")
}

// wanted reports each value that is mapped: the attribute it was taken from.
func (x *examination) wanted(found attributes) {
	n := x.p.names
	for _, w := range []struct {
		what  string
		names []string
		acted bool // others act on it, so that two different values are refused
	}{
		{"user_name", n.UserName, true},
		{"email", n.Email, true},
		{"display_name", n.DisplayName, false},
		{"given_name", n.GivenName, false},
		{"family_name", n.FamilyName, false},
	} {
		if len(w.names) == 0 {
			continue // the NameID serves
		}
		name, _ := found.lookup(w.names)
		value, err := found.label(w.names), error(nil)
		if w.acted {
			value, err = found.single(w.names)
		}
		check := "attribute:" + w.what
		switch {
		case err != nil:
			if v, ok := errors.AsType[*sso.VerifyError](err); ok {
				err = v.Err
			}
			x.fail(check, err.Error())
		case name == "" || value == "":
			x.warn(check, "none of %s arrived", quoteAll(w.names))
		default:
			x.pass(check, "%s from %s", quote(value), quote(name))
		}
	}
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quote(n)
	}
	return strings.Join(out, ", ")
}

// mapped reports what only an accepted answer has.
func (x *examination) mapped(a sso.Assertion) {
	x.pass("attribute:subject", "%s", quote(a.Identity.Subject))
	if a.GroupsMissing != "" {
		return // said where it is decided what becomes of them
	}
	if len(a.Groups) == 0 {
		x.warn("groups", "no groups could be taken from %s", quoteAll(x.p.names.Groups))
		return
	}
	x.pass("groups", "%d: %s", len(a.Groups), quoteAll(a.Groups))
}
