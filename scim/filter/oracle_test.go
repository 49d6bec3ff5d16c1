package filter

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	oracle "github.com/scim2/filter-parser/v2"
	"pgregory.net/rapid"
)

// TestRandomFiltersAgreeWithFilterParser draws expressions of the common
// grammar: both parsers must accept them, with the same tree. Strings with
// escapes are left out: the other parser keeps the backslashes.
func TestRandomFiltersAgreeWithFilterParser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := draw(t, 3)
		text := Format(want)
		got, err := Parse(text, Strict)
		if err != nil || !reflect.DeepEqual(strip(got), want) {
			t.Fatalf("%s: read as %s, %v", text, Format(got), err)
		}
		theirs, err := oracle.ParseFilter([]byte(text))
		if err != nil {
			t.Fatalf("%s: scim2/filter-parser refuses it: %v", text, err)
		}
		if got := convert(theirs); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: scim2/filter-parser reads %s", text, Format(got))
		}
	})
}

func draw(t *rapid.T, depth int) Expr {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "shape") {
		case 0:
			return &And{L: draw(t, depth-1), R: draw(t, depth-1)}
		case 1:
			return &Or{L: draw(t, depth-1), R: draw(t, depth-1)}
		case 2:
			return &Not{X: draw(t, depth-1)}
		}
	}
	c := &Compare{Path: Path{Attr: rapid.StringMatching(`[a-z][a-zA-Z0-9]{0,5}x`).Draw(t, "attr")}}
	if rapid.Bool().Draw(t, "dotted") {
		c.Path.Sub = "value"
	}
	c.Op = rapid.SampledFrom([]Op{EQ, NE, CO, SW, EW, GT, GE, LT, LE, PR}).Draw(t, "op")
	if c.Op != PR {
		c.Value = rapid.SampledFrom([]any{"", "plain", "two words", "é", true, false, nil}).Draw(t, "value")
	}
	return c
}

// convert turns the oracle's tree into ours.
func convert(e oracle.Expression) Expr {
	switch e := e.(type) {
	case *oracle.LogicalExpression:
		l, r := convert(e.Left), convert(e.Right)
		if e.Operator == oracle.OR {
			return &Or{L: l, R: r}
		}
		return &And{L: l, R: r}
	case *oracle.NotExpression:
		return &Not{X: convert(e.Expression)}
	case *oracle.AttributeExpression:
		c := &Compare{Path: Path{Attr: e.AttributePath.AttributeName}, Op: Op(strings.ToLower(string(e.Operator))), Value: e.CompareValue}
		if n, ok := c.Value.(int); ok {
			c.Value = float64(n)
		}
		if e.AttributePath.SubAttribute != nil {
			c.Path.Sub = *e.AttributePath.SubAttribute
		}
		if e.AttributePath.URIPrefix != nil {
			c.Path.URN = strings.TrimSuffix(*e.AttributePath.URIPrefix, ":")
		}
		return c
	case *oracle.ValuePath:
		x := convert(e.ValueFilter)
		if x == nil {
			return nil
		}
		return &Compare{Path: Path{Attr: e.AttributePath.AttributeName, Filter: x}, Op: PR}
	}
	return nil
}

// FuzzDifferential asks scim2/filter-parser about any text: what both accept must
// be the same tree. Each accepts things that the other does not; what those are is
// the table in TestAgreesWithFilterParser and the limits of this package.
func FuzzDifferential(f *testing.F) {
	for _, s := range []string{
		`userName eq "bjensen"`, `name.familyName co "O'Malley"`, `title pr and userType eq "Employee"`, `not (a eq 1) or b pr`,
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`, `emails[type eq "work" and value co "@x"]`, `meta.lastModified ge "2011-05-13T04:42:34Z"`,
		`a eq true and (b eq null or c ne -1.5e3)`, `A EQ "x" AND B PR`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 256 || strings.ContainsAny(s, `\`) { // it keeps backslashes as they are
			return
		}
		ours, err := Parse(s, Strict)
		if err != nil {
			return
		}
		theirs, err := oracleParse(s)
		if err != nil {
			return
		}
		if want := convert(theirs); want != nil && !reflect.DeepEqual(strip(ours), want) {
			t.Errorf("%q: ours %s, theirs %s", s, Format(ours), Format(want))
		}
	})
}

// oracleParse is the other parser, which may panic on what it does not expect.
func oracleParse(s string) (e oracle.Expression, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return oracle.ParseFilter([]byte(s))
}
