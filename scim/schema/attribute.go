package schema

import "strings"

// Type is an attribute's data type (RFC 7643 section 2.3).
type Type string

// Types.
const (
	String    Type = "string"
	Boolean   Type = "boolean"
	Decimal   Type = "decimal"
	Integer   Type = "integer"
	DateTime  Type = "dateTime"
	Binary    Type = "binary"
	Reference Type = "reference"
	Complex   Type = "complex"
)

// Mutability says who may change an attribute (RFC 7643 section 7).
type Mutability string

// Mutabilities.
const (
	ReadWrite Mutability = "readWrite"
	ReadOnly  Mutability = "readOnly"
	Immutable Mutability = "immutable"
	WriteOnly Mutability = "writeOnly"
)

// Returned says when an attribute is part of an answer (RFC 7643 section 7).
type Returned string

// Returned values.
const (
	ReturnedDefault Returned = "default"
	ReturnedAlways  Returned = "always"
	ReturnedNever   Returned = "never"
	ReturnedRequest Returned = "request"
)

// Attribute is one attribute definition. The JSON form is the one that
// discovery sends. Immutable after [NewRegistry].
type Attribute struct {
	Name            string       `json:"name"`
	Type            Type         `json:"type"`
	MultiValued     bool         `json:"multiValued"`
	Description     string       `json:"description"`
	Required        bool         `json:"required"`
	CanonicalValues []string     `json:"canonicalValues,omitempty"` // suggestions only: any value is accepted
	CaseExact       bool         `json:"caseExact"`
	Mutability      Mutability   `json:"mutability"`
	Returned        Returned     `json:"returned"`
	Uniqueness      string       `json:"uniqueness"`
	ReferenceTypes  []string     `json:"referenceTypes,omitempty"`
	Sub             []*Attribute `json:"subAttributes,omitempty"`

	// Column is where the store keeps the value so that it can be searched and
	// sorted by it: of a text that is not CaseExact it holds the folded form. ""
	// for what is only in the document. Never shown.
	Column string `json:"-"`
}

// Lookup finds a sub-attribute in any case (RFC 7643 section 2.1), or nil.
func (a *Attribute) Lookup(name string) *Attribute { return lookup(a.Sub, name) }

func lookup(list []*Attribute, name string) *Attribute {
	for _, a := range list {
		if strings.EqualFold(a.Name, name) {
			return a
		}
	}
	return nil
}

// Schema is a named set of attributes.
type Schema struct {
	ID          string
	Name        string
	Description string
	Attributes  []*Attribute
}

// Lookup finds an attribute in any case, or nil.
func (s *Schema) Lookup(name string) *Attribute { return lookup(s.Attributes, name) }

// ResourceType is a kind of resource: its core schema and its extensions.
type ResourceType struct {
	Name        string
	Endpoint    string // "/Users"
	Description string
	Core        *Schema
	Extensions  []*Schema // none is required
	common      []*Attribute
}

// Extension finds an extension by URN, in any case, or nil.
func (rt *ResourceType) Extension(urn string) *Schema {
	for _, x := range rt.Extensions {
		if strings.EqualFold(x.ID, urn) {
			return x
		}
	}
	return nil
}

// Lookup finds an attribute of the core schema or one that every resource has
// (RFC 7643 section 3.1), in any case, or nil.
func (rt *ResourceType) Lookup(name string) *Attribute {
	if a := lookup(rt.common, name); a != nil {
		return a
	}
	return rt.Core.Lookup(name)
}

// All lists every attribute outside of extensions.
func (rt *ResourceType) All() []*Attribute {
	return append(append([]*Attribute(nil), rt.common...), rt.Core.Attributes...)
}

// Registry is everything defined. Build it once with [NewRegistry]; safe for
// concurrent use because it never changes.
type Registry struct {
	User, Group *ResourceType
}

// NewRegistry defines the resource types this server has.
func NewRegistry() *Registry {
	return &Registry{
		User: &ResourceType{
			Name: "User", Endpoint: "/Users", Description: "A member of the organisation",
			Core: userSchema(), Extensions: []*Schema{enterpriseSchema(), memberSchema()}, common: commonAttributes(),
		},
		Group: &ResourceType{
			Name: "Group", Endpoint: "/Groups", Description: "A team of members",
			Core: groupSchema(), common: commonAttributes(),
		},
	}
}

// Types lists the resource types in the order discovery shows them.
func (r *Registry) Types() []*ResourceType { return []*ResourceType{r.User, r.Group} }

// Schemas lists every schema once, in the order discovery shows them.
func (r *Registry) Schemas() []*Schema {
	var out []*Schema
	for _, rt := range r.Types() {
		out = append(out, rt.Core)
		out = append(out, rt.Extensions...)
	}
	return out
}

// The constructors below set RFC 7643 section 2.2's defaults, so that a
// definition names only what differs.

func attr(name string, t Type, description string, more ...func(*Attribute)) *Attribute {
	a := &Attribute{
		Name: name, Type: t, Description: description,
		Mutability: ReadWrite, Returned: ReturnedDefault, Uniqueness: "none",
	}
	for _, f := range more {
		f(a)
	}
	return a
}

func str(name, description string, more ...func(*Attribute)) *Attribute {
	return attr(name, String, description, more...)
}

func required(a *Attribute)  { a.Required = true }
func caseExact(a *Attribute) { a.CaseExact = true }
func multi(a *Attribute)     { a.MultiValued = true }
func immutable(a *Attribute) { a.Mutability = Immutable }
func always(a *Attribute)    { a.Returned = ReturnedAlways }
func unique(a *Attribute)    { a.Uniqueness = "server" }

func readOnly(a *Attribute) {
	a.Mutability = ReadOnly
	for _, s := range a.Sub {
		s.Mutability = ReadOnly
	}
}

func writeOnly(a *Attribute) { a.Mutability, a.Returned = WriteOnly, ReturnedNever }

func canonical(values ...string) func(*Attribute) {
	return func(a *Attribute) { a.CanonicalValues = values }
}

func refers(types ...string) func(*Attribute) {
	return func(a *Attribute) { a.ReferenceTypes, a.CaseExact = types, true }
}

func column(name string) func(*Attribute) {
	return func(a *Attribute) { a.Column = name }
}

func sub(subs ...*Attribute) func(*Attribute) {
	return func(a *Attribute) { a.Sub = subs }
}
