package schema

import (
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
)

// Target is what a path names in a resource type.
type Target struct {
	Extension *Schema    // the extension the attribute belongs to; nil for core and common
	Attr      *Attribute // nil when the path names the whole extension
	Filter    filter.Expr
	Sub       *Attribute
}

// Leaf is the attribute whose value the path addresses: the sub-attribute if
// one is named.
func (t Target) Leaf() *Attribute {
	if t.Sub != nil {
		return t.Sub
	}
	return t.Attr
}

// String is the path in the schema's spelling, for error details.
func (t Target) String() string {
	var b strings.Builder
	if t.Extension != nil {
		b.WriteString(t.Extension.ID)
		if t.Attr == nil {
			return b.String()
		}
		b.WriteString(":")
	}
	b.WriteString(t.Attr.Name)
	if t.Filter != nil {
		b.WriteString("[...]")
	}
	if t.Sub != nil {
		b.WriteString("." + t.Sub.Name)
	}
	return b.String()
}

// Resolve finds what a path names, in any case. An unknown name is an *Error
// of type invalidPath.
func (rt *ResourceType) Resolve(p filter.Path) (Target, error) {
	list := rt.Lookup
	var t Target
	if p.URN != "" {
		// Only a schema can tell "...:2.0:User" (a container) from
		// "...:User:title" (an attribute in one).
		if x := rt.Extension(p.URN + ":" + p.Attr); x != nil && p.Sub == "" && p.Filter == nil {
			return Target{Extension: x}, nil
		}
		switch x := rt.Extension(p.URN); {
		case x != nil:
			t.Extension, list = x, x.Lookup
		case !strings.EqualFold(p.URN, rt.Core.ID):
			return Target{}, errorf(InvalidPath, "%s has no schema %s", rt.Name, p.URN)
		}
	}
	t.Attr, t.Filter = list(p.Attr), p.Filter
	if t.Attr == nil {
		return Target{}, errorf(InvalidPath, "%s has no attribute %s", rt.Name, p.Attr)
	}
	if p.Filter != nil && !(t.Attr.MultiValued && t.Attr.Type == Complex) {
		return Target{}, errorf(InvalidPath, "%s has no values to select from", t.Attr.Name)
	}
	if p.Sub != "" {
		if t.Sub = t.Attr.Lookup(p.Sub); t.Sub == nil {
			return Target{}, errorf(InvalidPath, "%s has no sub-attribute %s", t.Attr.Name, p.Sub)
		}
	}
	return t, nil
}

// ResolveName parses and resolves in one step.
func (rt *ResourceType) ResolveName(path string) (Target, error) {
	p, err := filter.ParsePath(path)
	if err != nil {
		return Target{}, errorf(InvalidPath, "%v", err)
	}
	return rt.Resolve(p)
}
