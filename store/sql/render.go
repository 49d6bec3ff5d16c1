package sql

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
)

// kind is how an attribute is compared.
type kind int

const (
	exact    kind = iota // caseExact string
	folded               // string, compared as member.FoldUserName; the column holds folded text
	boolean              // 0 or 1
	instant              // unix milliseconds
	linked               // membership: column is a sub-query with %s for the id
	constant             // always the column's text, of every value
)

type attribute struct {
	kind   kind
	column string
}

// attributes are keyed by lower-case "attribute" or "attribute.sub" (RFC 7643
// section 2.1: names are case-insensitive). What is not here is ErrUnsupported,
// never "no match": an IdP that sees an empty list would create a duplicate.
type attributes map[string]attribute

var memberAttributes = attributes{
	"id":                {exact, "m.id"},
	"externalid":        {exact, "m.external_id"},
	"username":          {folded, "m.user_name_folded"},
	"displayname":       {folded, "m.display_folded"},
	"name.givenname":    {folded, "m.given_folded"},
	"name.familyname":   {folded, "m.family_folded"},
	"emails":            {folded, "m.email_folded"},
	"emails.value":      {folded, "m.email_folded"},
	"active":            {boolean, "m.wish"},
	"meta.created":      {instant, "m.created"},
	"meta.lastmodified": {instant, "m.modified"},
	"groups":            {linked, "EXISTS (SELECT 1 FROM team_members x WHERE x.member = m.id%s)"},
	"groups.value":      {linked, "EXISTS (SELECT 1 FROM team_members x WHERE x.member = m.id%s)"},
}

var teamAttributes = attributes{
	"id":                {exact, "t.id"},
	"externalid":        {exact, "t.external_id"},
	"displayname":       {folded, "t.display_folded"},
	"meta.created":      {instant, "t.created"},
	"meta.lastmodified": {instant, "t.modified"},
	"members":           {linked, "EXISTS (SELECT 1 FROM team_members x WHERE x.team = t.id%s)"},
	"members.value":     {linked, "EXISTS (SELECT 1 FROM team_members x WHERE x.team = t.id%s)"},
}

// elements are the attributes inside emails[...]. One address has a column of
// its own: the work or primary one (scim decides which). So those two filters,
// which Entra's matching query and Okta send, hold for it; others are not ours
// to answer.
var elements = attributes{
	"value":   {folded, "m.email_folded"},
	"type":    {constant, "work"},
	"primary": {constant, "true"},
}

const coreUser, coreGroup = "urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"

// renderer turns a filter into SQL. Every value is a bound parameter; nothing
// of the client's text ever becomes part of the statement.
type renderer struct {
	attributes attributes
	args       []any
	inside     bool // of a value filter
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
	switch e := e.(type) {
	case *filter.And:
		return pair(e.L, e.R, " AND ")
	case *filter.Or:
		return pair(e.L, e.R, " OR ")
	case *filter.Not:
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
	in := renderer{attributes: elements, args: r.args, inside: true}
	s, err := in.render(c.Path.Filter)
	if err != nil {
		return "", err
	}
	sub := "value"
	if c.Path.Sub != "" {
		sub = c.Path.Sub
	}
	rest, err := in.render(&filter.Compare{Path: filter.Path{Attr: sub}, Op: c.Op, Value: c.Value, Pos: c.Pos})
	r.args = in.args
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
	switch c.Op {
	case filter.EQ:
		return a.column + " = " + r.bind(s), nil
	case filter.NE:
		return a.column + " <> " + r.bind(s), nil
	}
	if s == "" {
		return a.column + " <> ''", nil // every present value contains nothing
	}
	// substr and replace instead of LIKE: nothing in the value is special, so
	// nothing needs escaping, and both engines agree on upper and lower case.
	switch c.Op {
	case filter.SW:
		v := r.bind(s)
		return "substr(" + a.column + ", 1, length(" + v + ")) = " + v, nil
	case filter.EW:
		v := r.bind(s)
		return "(length(" + a.column + ") >= length(" + v + ") AND substr(" + a.column + ", length(" + a.column + ") - length(" + v + ") + 1) = " + v + ")", nil
	case filter.CO:
		return "replace(" + a.column + ", " + r.bind(s) + ", '') <> " + a.column, nil
	}
	return "", unsupported(c, "strings cannot be ordered here")
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
	op, ok := map[filter.Op]string{
		filter.EQ: " = ", filter.NE: " <> ", filter.GT: " > ", filter.GE: " >= ", filter.LT: " < ", filter.LE: " <= ",
	}[c.Op]
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

// related is membership of a team, by id.
func (r *renderer) related(c *filter.Compare, a attribute) (string, error) {
	other := "x.team"
	if strings.Contains(a.column, "x.team = t.id") {
		other = "x.member"
	}
	switch c.Op {
	case filter.PR:
		return fmt.Sprintf(a.column, ""), nil
	case filter.EQ:
		s, ok := c.Value.(string)
		if !ok {
			return "", unsupported(c, "an id is needed here")
		}
		if !storable(s) {
			return "1 = 0", nil
		}
		return fmt.Sprintf(a.column, " AND "+other+" = "+r.bind(s)), nil
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
