package filter

import "strings"

// Mode says how much beyond the grammar is accepted.
type Mode int

// Modes. The zero value is the RFC's grammar.
const (
	Strict Mode = iota
	// Lenient adds what IdPs are known to send (rule T12 of scim/client): unquoted
	// words as values and a sub-attribute after a value filter
	// (`emails[type eq "work"].value eq "x"`, Microsoft Entra's matching query).
	Lenient
)

// Parse reads a filter within the limits of this package. Every error is a
// [*SyntaxError]. Names are not checked against any schema.
func Parse(s string, m Mode) (Expr, error) {
	p := parser{lexer: lexer{s: s, lenient: m == Lenient}}
	if err := p.check(); err != nil {
		return nil, err
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.space()
	if !p.done() {
		return nil, p.errorf(p.pos, "unexpected %q", p.s[p.pos:min(p.pos+1, len(p.s))])
	}
	return e, nil
}

// ParsePath reads the path of a PATCH operation (RFC 7644 section 3.5.2): an
// attribute path, or a value path with an optional sub-attribute. A path that
// is only a schema URN comes back split at its last colon, because only a
// schema can tell the two apart: compare URN + ":" + Attr.
func ParsePath(s string) (Path, error) {
	p := parser{lexer: lexer{s: s}}
	if err := p.check(); err != nil {
		return Path{}, err
	}
	p.lenient = true // values inside brackets, as in Parse
	p.space()
	path, err := p.path(false)
	if err != nil {
		return Path{}, err
	}
	p.space()
	if !p.done() {
		return Path{}, p.errorf(p.pos, "unexpected %q", p.s[p.pos:min(p.pos+1, len(p.s))])
	}
	return path, nil
}

type parser struct {
	lexer
	depth, terms int
}

// or and and loop instead of recursing, so that a long chain costs no stack.
func (p *parser) or() (Expr, error) {
	l, err := p.and()
	for err == nil {
		p.space()
		if !p.keyword("or") {
			return l, nil
		}
		var r Expr
		if r, err = p.and(); err == nil {
			l = &Or{L: l, R: r}
		}
	}
	return nil, err
}

func (p *parser) and() (Expr, error) {
	l, err := p.term()
	for err == nil {
		p.space()
		if !p.keyword("and") {
			return l, nil
		}
		var r Expr
		if r, err = p.term(); err == nil {
			l = &And{L: l, R: r}
		}
	}
	return nil, err
}

// term is `not (...)`, `(...)` or one comparison.
func (p *parser) term() (Expr, error) {
	p.space()
	start := p.pos
	if p.keyword("not") {
		p.space()
		if p.peek() == '(' {
			x, err := p.group()
			if err != nil {
				return nil, err
			}
			return &Not{X: x}, nil
		}
		p.pos = start // an attribute may be called "not"
	}
	if p.peek() == '(' {
		return p.group()
	}
	return p.compare()
}

func (p *parser) group() (Expr, error) {
	open := p.pos
	if p.depth++; p.depth > MaxDepth {
		return nil, p.errorf(open, "nested deeper than %d", MaxDepth)
	}
	p.pos++
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() != ')' {
		return nil, p.errorf(p.pos, "expected ) for the ( at %d", open)
	}
	p.pos++
	p.depth--
	return x, nil
}

func (p *parser) compare() (Expr, error) {
	start := p.pos
	if p.terms++; p.terms > MaxTerms {
		return nil, p.errorf(start, "more than %d terms", MaxTerms)
	}
	path, err := p.path(false)
	if err != nil {
		return nil, err
	}
	p.space()
	opAt := p.pos
	word := p.name()
	if path.Filter != nil && (word == "" || strings.EqualFold(word, "and") || strings.EqualFold(word, "or")) {
		// `emails[type eq "work"]` alone: some element matches.
		p.pos = opAt
		if path.Sub != "" {
			return nil, p.errorf(opAt, "expected an operator")
		}
		return &Compare{Path: path, Op: PR, Pos: start}, nil
	}
	if path.Filter != nil && !p.lenient {
		// Section 3.4.2.2's grammar ends a value path at the bracket.
		return nil, p.errorf(opAt, "unexpected %q after a value filter", word)
	}
	op := Op(strings.ToLower(word))
	switch op {
	case PR:
		return &Compare{Path: path, Op: PR, Pos: start}, nil
	case EQ, NE, CO, SW, EW, GT, GE, LT, LE:
	case "":
		return nil, p.errorf(opAt, "expected an operator")
	default:
		return nil, p.errorf(opAt, "unknown operator %q", word)
	}
	afterOp := p.pos
	p.space()
	if p.pos == afterOp && p.peek() != 0 && !p.lenient {
		return nil, p.errorf(p.pos, "expected a space before the value")
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	return &Compare{Path: path, Op: op, Value: v, Pos: start}, nil
}

// path reads URN, attribute, value filter and sub-attribute. inner forbids a
// value filter inside a value filter: complex attributes cannot nest
// (RFC 7643 section 2.3.8), so there is nothing it could mean.
func (p *parser) path(inner bool) (Path, error) {
	start := p.pos
	path, msg := splitName(p.name())
	if msg != "" {
		return Path{}, p.errorf(start, "%s", msg)
	}
	if p.peek() != '[' {
		return path, nil
	}
	open := p.pos
	if inner || path.Sub != "" || p.depth >= MaxDepth {
		return Path{}, p.errorf(open, "unexpected [")
	}
	p.pos++
	sub := parser{lexer: p.lexer, depth: p.depth + 1, terms: p.terms}
	x, err := sub.or()
	if err != nil {
		return Path{}, err
	}
	if nested(x) {
		return Path{}, p.errorf(open, "value filter inside a value filter")
	}
	p.pos, p.terms = sub.pos, sub.terms
	p.space()
	if p.peek() != ']' {
		return Path{}, p.errorf(p.pos, "expected ] for the [ at %d", open)
	}
	p.pos++
	path.Filter = x
	if p.peek() == '.' {
		p.pos++
		at := p.pos
		path.Sub = p.name()
		if !validName(path.Sub) {
			return Path{}, p.errorf(at, "%q is not a sub-attribute name", path.Sub)
		}
	}
	return path, nil
}

// nested reports a value filter anywhere in x. Depth is bounded by MaxTerms.
func nested(x Expr) bool {
	switch x := x.(type) {
	case *Compare:
		return x.Path.Filter != nil
	case *And:
		return nested(x.L) || nested(x.R)
	case *Or:
		return nested(x.L) || nested(x.R)
	case *Not:
		return nested(x.X)
	}
	return false
}

// splitName cuts "urn:...:2.0:User:name.givenName" into URN, attribute and
// sub-attribute. Dots before the last colon belong to the URN's version.
func splitName(word string) (Path, string) {
	var path Path
	if len(word) > 4 && strings.EqualFold(word[:4], "urn:") {
		i := strings.LastIndexByte(word, ':')
		path.URN, word = word[:i], word[i+1:]
	}
	attr, sub, dotted := strings.Cut(word, ".")
	if !validName(attr) || dotted && !validName(sub) {
		if word == "" {
			return Path{}, "expected an attribute name"
		}
		return Path{}, "not an attribute name: " + quote(word)
	}
	path.Attr, path.Sub = attr, sub
	return path, ""
}

// validName is ATTRNAME of RFC 7643 section 2.1, plus "$ref".
func validName(s string) bool {
	s = strings.TrimPrefix(s, "$")
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	return !strings.ContainsAny(s, ":.$")
}
