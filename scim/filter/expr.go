package filter

import "errors"

// ErrUnsupported means a well-formed expression that the evaluator cannot answer.
var ErrUnsupported = errors.New("filter: expression not supported")

// Op is a comparison operator, lower case.
type Op string

// Operators.
const (
	EQ Op = "eq"
	NE Op = "ne"
	CO Op = "co"
	SW Op = "sw"
	EW Op = "ew"
	GT Op = "gt"
	GE Op = "ge"
	LT Op = "lt"
	LE Op = "le"
	PR Op = "pr" // present; no value
)

// Path is an attribute path: URN prefix, attribute, value filter, sub-attribute.
// Names keep the case they came in; compare with strings.EqualFold.
type Path struct {
	URN    string
	Attr   string
	Filter Expr // emails[type eq "work"], or nil
	Sub    string
}

// Expr is *Compare, *And, *Or or *Not.
type Expr interface{ expr() }

// Compare is `path op value`. Value is string, bool, float64 or nil.
type Compare struct {
	Path  Path
	Op    Op
	Value any
	Pos   int // byte offset, for error messages
}

// And holds when both do.
type And struct{ L, R Expr }

// Or holds when one does.
type Or struct{ L, R Expr }

// Not inverts.
type Not struct{ X Expr }

func (*Compare) expr() {}
func (*And) expr()     {}
func (*Or) expr()      {}
func (*Not) expr()     {}
