package filter

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Format writes an expression so that [Parse] in Lenient mode reads the same
// tree again. For logs, error messages and tests.
func Format(e Expr) string {
	var b strings.Builder
	write(&b, e)
	return b.String()
}

// String is the path as [ParsePath] reads it.
func (p Path) String() string {
	var b strings.Builder
	writePath(&b, p)
	return b.String()
}

func write(b *strings.Builder, e Expr) {
	switch e := e.(type) {
	case *Compare:
		writePath(b, e.Path)
		switch {
		case e.Op == PR && e.Path.Filter != nil && e.Path.Sub == "":
			// a bare value filter
		case e.Op == PR:
			b.WriteString(" pr")
		default:
			b.WriteString(" " + string(e.Op) + " " + literal(e.Value))
		}
	case *And:
		binary(b, e.L, " and ", e.R)
	case *Or:
		binary(b, e.L, " or ", e.R)
	case *Not:
		b.WriteString("not (")
		write(b, e.X)
		b.WriteString(")")
	}
}

// binary parenthesises only a right operand and a lower-ranking left one, so
// that a long chain stays flat and within MaxDepth when read again.
func binary(b *strings.Builder, l Expr, word string, r Expr) {
	_, leftOr := l.(*Or)
	group(b, l, leftOr && word == " and ")
	b.WriteString(word)
	_, rightAnd := r.(*And)
	_, rightOr := r.(*Or)
	group(b, r, rightOr || rightAnd && word == " and ")
}

func group(b *strings.Builder, e Expr, parens bool) {
	if parens {
		b.WriteString("(")
	}
	write(b, e)
	if parens {
		b.WriteString(")")
	}
}

func writePath(b *strings.Builder, p Path) {
	if p.URN != "" {
		b.WriteString(p.URN + ":")
	}
	b.WriteString(p.Attr)
	if p.Filter != nil {
		b.WriteString("[")
		write(b, p.Filter)
		b.WriteString("]")
	}
	if p.Sub != "" {
		b.WriteString("." + p.Sub)
	}
}

func literal(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return quote(v)
	default:
		return "null"
	}
}

// quote is a JSON string; Go's %q writes escapes that JSON does not know.
func quote(s string) string {
	q, err := json.Marshal(s)
	if err != nil { // unreachable: a string always encodes
		return `""`
	}
	return string(q)
}
