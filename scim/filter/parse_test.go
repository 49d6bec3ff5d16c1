package filter

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	oracle "github.com/scim2/filter-parser/v2"
)

func cmp(attr, sub string, op Op, v any) *Compare {
	return &Compare{Path: Path{Attr: attr, Sub: sub}, Op: op, Value: v}
}

// strip removes positions, which the tree tests do not care about.
func strip(e Expr) Expr {
	switch e := e.(type) {
	case *Compare:
		c := *e
		c.Pos = 0
		if c.Path.Filter != nil {
			c.Path.Filter = strip(c.Path.Filter)
		}
		return &c
	case *And:
		return &And{strip(e.L), strip(e.R)}
	case *Or:
		return &Or{strip(e.L), strip(e.R)}
	case *Not:
		return &Not{strip(e.X)}
	}
	return e
}

func TestParseReadsTheGrammar(t *testing.T) {
	enterprise := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	work := &Compare{Path: Path{Attr: "type"}, Op: EQ, Value: "work"}
	for _, tc := range []struct {
		in   string
		want Expr
		why  string
	}{
		{`userName eq "bjensen"`, cmp("userName", "", EQ, "bjensen"), "the simplest filter"},
		{`USERNAME EQ "x"`, cmp("USERNAME", "", EQ, "x"), "operators in any case; names kept"},
		{`title pr`, cmp("title", "", PR, nil), "presence"},
		{`active eq true`, cmp("active", "", EQ, true), "boolean"},
		{`active eq False`, cmp("active", "", EQ, false), "ABNF literals are case-insensitive"},
		{`x gt -1.5e2`, cmp("x", "", GT, -150.0), "number"},
		{`title eq null`, cmp("title", "", EQ, nil), "null"},
		{`userName eq "a\"b\\\u00e9\n"`, cmp("userName", "", EQ, "a\"b\\é\n"), "all JSON escapes"},
		{`name.familyName co "O'Malley"`, cmp("name", "familyName", CO, "O'Malley"), "sub-attribute"},
		{
			enterprise + `:manager.value eq "7"`,
			&Compare{Path: Path{URN: enterprise, Attr: "manager", Sub: "value"}, Op: EQ, Value: "7"},
			"the dot of 2.0 belongs to the URN",
		},
		{`a pr or b pr and c pr`, &Or{cmp("a", "", PR, nil), &And{cmp("b", "", PR, nil), cmp("c", "", PR, nil)}}, "and binds tighter than or"},
		{`(a pr or b pr) and c pr`, &And{&Or{cmp("a", "", PR, nil), cmp("b", "", PR, nil)}, cmp("c", "", PR, nil)}, "grouping first"},
		{`not (a pr) and b pr`, &And{&Not{cmp("a", "", PR, nil)}, cmp("b", "", PR, nil)}, "not binds tightest"},
		{`not pr`, cmp("not", "", PR, nil), "an attribute may be called not"},
		{`emails[type eq "work"]`, &Compare{Path: Path{Attr: "emails", Filter: work}, Op: PR}, "value filter"},
		{
			`emails[type eq "work"] and a pr`,
			&And{&Compare{Path: Path{Attr: "emails", Filter: work}, Op: PR}, cmp("a", "", PR, nil)}, "value filter, then more",
		},
	} {
		got, err := Parse(tc.in, Strict)
		if err != nil {
			t.Errorf("%s: %v (%s)", tc.in, err, tc.why)
			continue
		}
		if !reflect.DeepEqual(strip(got), tc.want) {
			t.Errorf("%s: got %s, want %s (%s)", tc.in, Format(got), Format(tc.want), tc.why)
		}
	}
}

func TestT12LenientModeTakesWhatIdPsSend(t *testing.T) {
	work := &Compare{Path: Path{Attr: "type"}, Op: EQ, Value: "work"}
	for _, tc := range []struct {
		in   string
		want Expr
	}{
		{`userName sw O`, cmp("userName", "", SW, "O")},
		{`externalId eq jyoung`, cmp("externalId", "", EQ, "jyoung")},
		{`externalId eq 00123`, cmp("externalId", "", EQ, "00123")},
		{`meta.Created gt 2015-05-13T04:42:34Z`, cmp("meta", "Created", GT, "2015-05-13T04:42:34Z")},
		{
			`emails[type eq "work"].value eq "a@b"`,
			&Compare{Path: Path{Attr: "emails", Filter: work, Sub: "value"}, Op: EQ, Value: "a@b"},
		},
		{`  userName   eq   "x"  `, cmp("userName", "", EQ, "x")},
	} {
		got, err := Parse(tc.in, Lenient)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if !reflect.DeepEqual(strip(got), tc.want) {
			t.Errorf("%s: got %s, want %s", tc.in, Format(got), Format(tc.want))
		}
		if strings.Contains(tc.in, "   ") {
			continue // extra space is fine in either mode
		}
		if _, err := Parse(tc.in, Strict); err == nil {
			t.Errorf("%s: strict mode accepts it", tc.in)
		}
	}
}

func TestParseRefusesC05(t *testing.T) {
	if _, err := Parse(strings.Repeat("(", MaxDepth)+"a pr"+strings.Repeat(")", MaxDepth), Strict); err != nil {
		t.Fatalf("depth %d must pass: %v", MaxDepth, err)
	}
	if _, err := Parse("a pr"+strings.Repeat(" or a pr", MaxTerms-1), Strict); err != nil {
		t.Fatalf("%d terms must pass: %v", MaxTerms, err)
	}
	for _, tc := range []struct{ name, in, why string }{
		{"10k parens", strings.Repeat("(", 10_000), "recursion must be bounded"},
		{"one paren too many", strings.Repeat("(", MaxDepth+1) + "a pr" + strings.Repeat(")", MaxDepth+1), "depth limit"},
		{"50k nots", strings.Repeat("not (", 50_000), "recursion must be bounded"},
		{"nots within the length", strings.Repeat("not (", 700), "recursion must be bounded"},
		{"1 MB", `userName eq "` + strings.Repeat("a", 1<<20) + `"`, "length limit"},
		{"201 terms", "a pr" + strings.Repeat(" or a pr", MaxTerms), "term limit"},
		{"terms inside brackets count", "a pr" + strings.Repeat(" or a[b pr]", MaxTerms-1), "term limit"},
		{"unterminated", `userName eq "x`, "the string never ends"},
		{"escaped end", `userName eq "x\"`, "the quote is escaped"},
		{"bad escape", `userName eq "\x41"`, "JSON has no \\x"},
		{"bad unicode escape", `userName eq "\u12"`, "four digits"},
		{"escaped NUL", `userName eq "a\u0000b"`, "PostgreSQL cannot compare NUL"},
		{"raw NUL", "userName eq \"a\x00b\"", "PostgreSQL cannot compare NUL"},
		{"raw newline", "userName eq \"a\nb\"", "JSON strings hold no raw controls"},
		{"bad UTF-8", "userName eq \"\xff\"", "not text"},
		{"1e400", `x gt 1e400`, "no float holds it"},
		{"hex", `x gt 0x10`, "not a JSON number"},
		{"empty", ``, "nothing to read"},
		{"no value", `userName eq`, "value missing"},
		{"no operator", `userName`, "operator missing"},
		{"unknown operator", `userName is "x"`, "not an operator"},
		{"two filters", `a pr b pr`, "junk at the end"},
		{"dangling and", `a pr and`, "operand missing"},
		{"unbalanced", `(a pr`, "paren open"},
		{"unbalanced 2", `a pr)`, "paren too many"},
		{"bracket open", `emails[type eq "work"`, "bracket open"},
		{"nested brackets", `a[b[c pr]]`, "complex attributes do not nest"},
		{"filter after sub", `a.b[c pr]`, "complex attributes do not nest"},
		{"three levels", `a.b.c eq 1`, "complex attributes do not nest"},
		{"SQL", `userName eq "x"; drop table members`, "junk at the end"},
		{"only a urn", `urn:a:b: eq 1`, "attribute missing"},
		{"digit first", `1a eq 1`, "names start with a letter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse(tc.in, Strict)
			var se *SyntaxError
			if !errors.As(err, &se) {
				t.Fatalf("got %v, want a SyntaxError: %s", err, tc.why)
			}
			if d := time.Since(start); d > 50*time.Millisecond {
				t.Fatalf("took %v, more than 50 ms", d)
			}
			if se.Pos < 0 || se.Pos > len(tc.in) {
				t.Fatalf("position %d lies outside the filter", se.Pos)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	good := map[string]Path{
		`members`:                       {Attr: "members"},
		`name.givenName`:                {Attr: "name", Sub: "givenName"},
		`members[value eq "2819c223"]`:  {Attr: "members", Filter: cmp("value", "", EQ, "2819c223")},
		`emails[type eq "work"].value`:  {Attr: "emails", Sub: "value", Filter: cmp("type", "", EQ, "work")},
		`urn:x:2.0:User:employeeNumber`: {URN: "urn:x:2.0:User", Attr: "employeeNumber"},
		`urn:x:2.0:User`:                {URN: "urn:x:2.0", Attr: "User"},
	}
	for in, want := range good {
		got, err := ParsePath(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got.Filter != nil {
			got.Filter = strip(got.Filter)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", in, got, want)
		}
	}
	for _, in := range []string{``, ` `, `[`, `a[`, `a[]`, `a]`, `a.`, `.a`, `a..b`, `a b`, `a[b pr].`, `a[b pr].c.d`, `a eq "x"`, `a[b pr][c pr]`} {
		if _, err := ParsePath(in); err == nil {
			t.Errorf("%q was accepted as a path", in)
		}
	}
}

// TestAgreesWithFilterParser compares with an independent parser on the
// common subset: what it accepts of these, so must we, and vice versa.
func TestAgreesWithFilterParser(t *testing.T) {
	for _, in := range []string{
		`userName eq "bjensen"`, `name.familyName co "O'Malley"`, `title pr`, `userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")`,
		`meta.lastModified gt "2011-05-13T04:42:34Z"`, `schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`,
		`userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")`,
		`emails[type eq "work" and value co "@example.com"]`, `emails[type eq "work"] or ims[type eq "xmpp" and value co "@foo.com"]`,
		`userName eq`, `eq "x"`, `(a pr`, `a pr)`, `a pr or`, `a pr and and b pr`, `a lk "x"`, ``, `a[b pr`,
	} {
		_, want := oracle.ParseFilter([]byte(in))
		_, got := Parse(in, Strict)
		if (want == nil) != (got == nil) {
			t.Errorf("%s: ours says %v, scim2/filter-parser says %v", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`userName eq "x"`, `a pr and (b eq 1 or not (c co "\u00e9"))`, `emails[type eq "work"].value eq "x"`,
		`urn:x:2.0:User:a.b gt 2015-01-01`, `a[b pr] and c ne null`, `((((`, `not (`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, lenient bool) {
		m := Strict
		if lenient {
			m = Lenient
		}
		e, err := Parse(s, m)
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) {
				t.Fatalf("%T is not a SyntaxError", err)
			}
			return
		}
		text := Format(e)
		if len(text) > MaxBytes {
			return // escapes can make the written form longer than the limit
		}
		again, err := Parse(text, Lenient)
		if err != nil {
			t.Fatalf("%q was written as %q, which is refused: %v", s, text, err)
		}
		if !reflect.DeepEqual(strip(e), strip(again)) {
			t.Fatalf("%q was written as %q, which reads differently", s, text)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{`members[value eq "x"]`, `emails[type eq "work"].value`, `urn:x:2.0:User:a`, `a.b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			return
		}
		if len(p.String()) > MaxBytes {
			return
		}
		if _, err := ParsePath(p.String()); err != nil {
			t.Fatalf("%q was written as %q, which is refused: %v", s, p, err)
		}
	})
}
