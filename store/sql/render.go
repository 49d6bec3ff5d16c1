package sql

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/schema"
)

// kind is how an attribute is compared.
type kind int

const (
	exact    kind = iota // caseExact string
	folded               // string, compared as member.FoldUserName; the column holds folded text
	boolean              // 0 or 1
	instant              // unix milliseconds
	linked               // membership: the other side's column of team_members
	constant             // always the column's text, of every value
)

type attribute struct {
	kind   kind
	column string
	// byBytes: its index is in the order of bytes, which on PostgreSQL must be said
	// by everyone who wants to use it.
	byBytes bool
}

// attributes are keyed by lower-case "attribute" or "attribute.sub" (RFC 7643
// section 2.1: names are case-insensitive). What is not here is ErrUnsupported,
// never "no match": an IdP that sees an empty list would create a duplicate.
type attributes map[string]attribute

var (
	registry         = schema.NewRegistry()
	memberAttributes = columnsOf(registry.User, "m")
	teamAttributes   = columnsOf(registry.Group, "t")
)

// columnsOf reads the columns out of the schema, which alone knows them.
func columnsOf(rt *schema.ResourceType, alias string) attributes {
	out := attributes{}
	add := func(name string, a *schema.Attribute) {
		if a.Column == "" {
			return
		}
		x := attribute{column: alias + "." + a.Column, byBytes: a.Column == "user_name_folded"}
		switch {
		case strings.HasPrefix(a.Column, "team_members."):
			x.kind, x.column = linked, strings.TrimPrefix(a.Column, "team_members.")
		case a.Type == schema.Boolean:
			x.kind = boolean
		case a.Type == schema.DateTime:
			x.kind = instant
		case !a.CaseExact:
			x.kind = folded
		}
		out[strings.ToLower(name)] = x
	}
	for _, a := range rt.All() {
		add(a.Name, a)
		for _, s := range a.Sub {
			add(a.Name+"."+s.Name, s)
			if s.Name == "value" {
				add(a.Name, s) // RFC 7644 section 3.4.2.2: `emails co "x"` means emails.value
			}
		}
	}
	return out
}

// elements are the attributes inside emails[...]. One address has a column of
// its own: the work or primary one (scim decides which). So those two filters,
// which Entra's matching query and Okta send, hold for it; others are not ours
// to answer.
var elements = attributes{
	"value":   {kind: folded, column: "m.email_folded"},
	"type":    {kind: constant, column: "work"},
	"primary": {kind: constant, column: "true"},
}

const coreUser, coreGroup = "urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"

// renderer turns a filter into SQL. Every value is a bound parameter; nothing
// of the client's text ever becomes part of the statement.
type renderer struct {
	attributes attributes
	args       []any
	inside     bool   // of a value filter
	bytes      string // on PostgreSQL what makes a comparison one of bytes
	costly     bool   // some term looks inside every value
	bounded    bool   // some term that must hold is answered by an index with few values
}

func unsupported(c *filter.Compare, why string) error {
	return fmt.Errorf("%w: position %d: %s", filter.ErrUnsupported, c.Pos, why)
}

// render recurses as deep as the parser lets expressions nest.
func (r *renderer) render(e filter.Expr) (string, error) {
	pair := func(l, x filter.Expr, op string) (string, error) {
		a, err := r.render(l)
		if err != nil {
			return "", err
		}
		b, err := r.render(x)
		return "(" + a + op + b + ")", err
	}
	was := r.bounded
	switch e := e.(type) {
	case *filter.And:
		return pair(e.L, e.R, " AND ")
	case *filter.Or: // bounded only where both sides are
		defer func() { r.bounded = was || boundedBy(r.attributes, e) }()
		return pair(e.L, e.R, " OR ")
	case *filter.Not:
		defer func() { r.bounded = was }()
		s, err := r.render(e.X)
		return "NOT (" + s + ")", err
	case *filter.Compare:
		return r.compare(e)
	}
	return "", filter.ErrUnsupported
}

func (r *renderer) compare(c *filter.Compare) (string, error) {
	if u := c.Path.URN; u != "" && !strings.EqualFold(u, coreUser) && !strings.EqualFold(u, coreGroup) {
		return "", unsupported(c, "attributes of this schema cannot be searched")
	}
	if c.Path.Filter != nil {
		return r.element(c)
	}
	name := strings.ToLower(c.Path.Attr)
	if c.Path.Sub != "" {
		name += "." + strings.ToLower(c.Path.Sub)
	}
	a, ok := r.attributes[name]
	if !ok {
		return "", unsupported(c, "this attribute cannot be searched")
	}
	switch a.kind {
	case boolean:
		return r.boolean(c, a)
	case instant:
		return r.instant(c, a)
	case linked:
		return r.related(c, a)
	case constant:
		return r.constant(c, a)
	default:
		return r.text(c, a)
	}
}

// element renders emails[filter] and emails[filter].value op x: one element
// must satisfy both, and there is one.
func (r *renderer) element(c *filter.Compare) (string, error) {
	if r.inside || !strings.EqualFold(c.Path.Attr, "emails") || r.attributes["emails"].column == "" {
		return "", unsupported(c, "a value filter is possible on emails only")
	}
	in := renderer{attributes: elements, args: r.args, inside: true, bytes: r.bytes}
	s, err := in.render(c.Path.Filter)
	if err != nil {
		return "", err
	}
	sub := "value"
	if c.Path.Sub != "" {
		sub = c.Path.Sub
	}
	rest, err := in.render(&filter.Compare{Path: filter.Path{Attr: sub}, Op: c.Op, Value: c.Value, Pos: c.Pos})
	r.args, r.costly, r.bounded = in.args, r.costly || in.costly, r.bounded || in.bounded
	return "(m.email_folded <> '' AND " + s + " AND " + rest + ")", err
}

// bind adds a parameter and answers its placeholder.
func (r *renderer) bind(v any) string {
	r.args = append(r.args, v)
	return "$" + strconv.Itoa(len(r.args))
}

// text compares strings. An absent attribute is the empty string; it equals
// only null and "", and differs from everything else.
func (r *renderer) text(c *filter.Compare, a attribute) (string, error) {
	if c.Op == filter.PR {
		return a.column + " <> ''", nil
	}
	s, ok := c.Value.(string)
	if !ok && c.Value != nil {
		return "", unsupported(c, "a string is needed here")
	}
	if a.kind == folded {
		s = member.FoldUserName(s)
	}
	if !storable(s) { // equal to nothing that is stored
		if c.Op == filter.NE {
			return "true", nil
		}
		return "1 = 0", nil
	}
	return r.words(c, a, s)
}

// words compares with a text that can be stored.
func (r *renderer) words(c *filter.Compare, a attribute, s string) (string, error) {
	column, ordered := a.column, a.column+r.bytes
	if a.byBytes {
		column = ordered
	}
	switch c.Op {
	case filter.EQ:
		r.bounded = true
		return column + " = " + r.bind(s), nil
	case filter.NE:
		return column + " <> " + r.bind(s), nil
	}
	if s == "" {
		switch c.Op {
		case filter.LT, filter.LE: // nothing that is present is before nothing
			return "1 = 0", nil
		}
		return a.column + " <> ''", nil // every present value contains nothing, and is after it
	}
	// substr and replace instead of LIKE: nothing in the value is special, so
	// nothing needs escaping, and both engines agree on upper and lower case.
	switch c.Op {
	case filter.SW:
		r.costly = r.costly || !a.byBytes
		r.bounded = r.bounded || a.byBytes
		after, ok := successor(s)
		if !ok {
			return ordered + " >= " + r.bind(s), nil
		}
		return "(" + ordered + " >= " + r.bind(s) + " AND " + ordered + " < " + r.bind(after) + ")", nil
	case filter.EW:
		r.costly = true
		v := r.bind(s)
		return "(length(" + a.column + ") >= length(" + v + ") AND substr(" + a.column + ", length(" + a.column + ") - length(" + v + ") + 1) = " + v + ")", nil
	case filter.CO:
		r.costly = true
		return "replace(" + a.column + ", " + r.bind(s) + ", '') <> " + a.column, nil
	}
	op, ok := orders[c.Op]
	if !ok {
		return "", unsupported(c, "strings have no such comparison")
	}
	r.costly = r.costly || !a.byBytes
	return "(" + a.column + " <> '' AND " + ordered + op + r.bind(s) + ")", nil
}

var orders = map[filter.Op]string{filter.GT: " > ", filter.GE: " >= ", filter.LT: " < ", filter.LE: " <= "}

// successor is the first text after every one that begins with s, in the order
// of bytes of UTF-8. There is none after the last code point.
func successor(s string) (string, bool) {
	r := []rune(s)
	for i := len(r) - 1; i >= 0; i-- {
		if r[i] == utf8.MaxRune {
			continue
		}
		next := r[i] + 1
		if next == 0xD800 { // surrogates are no text
			next = 0xE000
		}
		return string(r[:i]) + string(next), true
	}
	return "", false
}

// boundedBy reports whether an index leaves few values of every alternative.
func boundedBy(attrs attributes, e filter.Expr) bool {
	switch e := e.(type) {
	case *filter.Or:
		return boundedBy(attrs, e.L) && boundedBy(attrs, e.R)
	case *filter.And:
		return boundedBy(attrs, e.L) || boundedBy(attrs, e.R)
	case *filter.Compare:
		if e.Path.Filter != nil {
			return e.Op == filter.EQ
		}
		name := strings.ToLower(e.Path.Attr)
		if e.Path.Sub != "" {
			name += "." + strings.ToLower(e.Path.Sub)
		}
		a, ok := attrs[name]
		return ok && (a.kind == exact || a.kind == folded) && (e.Op == filter.EQ || e.Op == filter.SW && a.byBytes)
	}
	return false
}

// boolean also takes the strings that Entra and the Microsoft validator send.
func (r *renderer) boolean(c *filter.Compare, a attribute) (string, error) {
	if c.Op == filter.PR {
		return "true", nil
	}
	var want bool
	switch v := c.Value.(type) {
	case bool:
		want = v
	case string:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			return "", unsupported(c, "true or false is needed here")
		}
		want = strings.EqualFold(v, "true")
	default:
		return "", unsupported(c, "true or false is needed here")
	}
	switch c.Op {
	case filter.EQ:
	case filter.NE:
		want = !want
	default:
		return "", unsupported(c, "a boolean has no order")
	}
	return a.column + " = " + strconv.FormatInt(bit(want), 10), nil
}

// instant compares chronologically (RFC 7644 section 3.4.2.2).
func (r *renderer) instant(c *filter.Compare, a attribute) (string, error) {
	if c.Op == filter.PR {
		return "true", nil
	}
	op, ok := orders[c.Op]
	switch c.Op {
	case filter.EQ:
		op, ok = " = ", true
	case filter.NE:
		op, ok = " <> ", true
	}
	if !ok {
		return "", unsupported(c, "a time has no such comparison")
	}
	s, _ := c.Value.(string)
	when, err := parseTime(s)
	if err != nil {
		return "", unsupported(c, "a dateTime is needed here")
	}
	return a.column + op + r.bind(when.UnixMilli()), nil
}

// parseTime reads an xsd:dateTime; without a zone it is UTC, and a bare date is
// its first moment.
func parseTime(s string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err = time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}

// related is membership of a team, by id: a.column is the other side's.
func (r *renderer) related(c *filter.Compare, a attribute) (string, error) {
	exists := "EXISTS (SELECT 1 FROM team_members x WHERE x.member = m.id"
	if a.column == "member" {
		exists = "EXISTS (SELECT 1 FROM team_members x WHERE x.team = t.id"
	}
	switch c.Op {
	case filter.PR:
		return exists + ")", nil
	case filter.EQ:
		s, ok := c.Value.(string)
		if !ok {
			return "", unsupported(c, "an id is needed here")
		}
		if !storable(s) {
			return "1 = 0", nil
		}
		return exists + " AND x." + a.column + " = " + r.bind(s) + ")", nil
	}
	return "", unsupported(c, "memberships can only be compared by eq")
}

// constant answers for what is the same of every stored address.
func (r *renderer) constant(c *filter.Compare, a attribute) (string, error) {
	s, ok := c.Value.(string)
	if b, isBool := c.Value.(bool); isBool {
		s, ok = strconv.FormatBool(b), true
	}
	if c.Op != filter.EQ || !ok || !strings.EqualFold(s, a.column) {
		return "", unsupported(c, `only type eq "work" and primary eq true are possible here`)
	}
	return "true", nil
}
