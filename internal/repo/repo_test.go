package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageExplainsItself(t *testing.T) {
	for pkg := range imports(t) {
		if pkg == "." || pkg == "internal/tools" {
			continue
		}
		name := filepath.Join(root, pkg, "doc.go")
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Errorf("%s has no readable doc.go: %v", pkg, err)
			continue
		}
		doc := f.Doc.Text()
		if len(strings.Fields(doc)) < 15 {
			t.Errorf("%s/doc.go says too little: what the package owns and what it must not touch", pkg)
		}
		if !regexp.MustCompile(`\b(must|never|no|not|nothing)\b`).MatchString(doc) {
			t.Errorf("%s/doc.go does not say what the package must not do", pkg)
		}
	}
}

const (
	maxLines     = 400
	maxFuncLines = 60
)

// TestFilesStayShort: a longer file or function needs a comment that says why:
// //ssogate:long and the reason.
func TestFilesStayShort(t *testing.T) {
	long := regexp.MustCompile(`(?m)^//ssogate:long \S+ \S+`)
	for _, f := range files(t, ".go") {
		if strings.HasSuffix(f, "_test.go") || isSupport(path.Dir(f)) || isVendored(f) {
			continue
		}
		text := read(t, f)
		if n := strings.Count(text, "\n"); n > maxLines && !long.MatchString(text) {
			t.Errorf("%s has %d lines, more than %d: split it, or say why with //ssogate:long", f, n, maxLines)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, f, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
			// A directive is no part of Doc.Text, so look at the comments themselves.
			reason := fn.Doc != nil && slices.ContainsFunc(fn.Doc.List, func(c *ast.Comment) bool { return long.MatchString(c.Text) })
			if n > maxFuncLines && !reason {
				t.Errorf("%s: %s has %d lines, more than %d: split it, or say why with //ssogate:long", f, fn.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// TestNothingNamesAMachine: a path of somebody's disk or the host of a package
// registry in a file breaks the build of everybody else. Words are put together
// here so that this file does not name them.
func TestNothingNamesAMachine(t *testing.T) {
	const start = "(^|[\\s\"'`(=:])"
	forbidden := regexp.MustCompile("(?m)" + strings.Join([]string{
		start + "/" + "(work|root|home)/[a-z]", "/" + "tmp/(tools|brief)",
		"proxy\\.golang" + "\\.org", "sum\\.golang" + "\\.org", "goproxy" + "\\.(io|cn)",
		"registry\\.npmjs" + "\\.org", "npm\\.pkg\\.github" + "\\.com", "deb\\.debian" + "\\.org", "registry-1\\.docker" + "\\.io",
		"GO" + "PROXY\\s*=", "GONO" + "SUM", "GOSUM" + "DB", "arti" + "factory",
	}, "|"))
	for _, f := range files(t, ".go", ".mod", ".yml", ".yaml", ".md", ".sh", "Makefile", "Dockerfile", "run", ".txtar", ".tmpl", ".html", ".sql", ".conf") {
		if isVendored(f) {
			continue
		}
		if word := forbidden.FindString(read(t, f)); word != "" {
			t.Errorf("%s contains %q", f, word)
		}
	}
}

// threat is an id of the catalogue: a letter and two digits.
var threat = regexp.MustCompile(`\b[SOPHTKRUICFWDL][0-9]{2}\b`)

// TestTestedThreatsHaveTests: a row of docs/threat-model.md that calls a threat
// tested must be borne out by a test that names the id.
func TestTestedThreatsHaveTests(t *testing.T) {
	inTests := map[string]bool{}
	for _, f := range files(t, "_test.go", ".txtar") {
		if strings.HasPrefix(f, "internal/repo/") {
			continue // naming them here proves nothing
		}
		for _, id := range threat.FindAllString(strings.ReplaceAll(read(t, f), "_", " "), -1) {
			inTests[id] = true
		}
	}
	for _, name := range testNames(t) { // TestWrappingS01, TestO03Nonce
		for _, id := range regexp.MustCompile(`[SOPHTKRUICFWDL][0-9]{2}`).FindAllString(name, -1) {
			inTests[id] = true
		}
	}
	rows := 0
	for line := range strings.SplitSeq(read(t, "docs/threat-model.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !threat.MatchString(cells[1]) || !claimsTest(line) {
			continue
		}
		rows++
		id := threat.FindString(cells[1])
		if !inTests[id] {
			t.Errorf("docs/threat-model.md calls %s tested, but no test names it", id)
		}
		for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(line, -1) {
			if !slices.Contains(testNames(t), name) {
				t.Errorf("docs/threat-model.md names %s for %s: there is no such test", name, id)
			}
		}
	}
	if rows == 0 {
		t.Error("docs/threat-model.md calls nothing tested: is its form still id | threat | test?")
	}
}

// claimsTest reports a row that says more than that a test is still to come.
func claimsTest(line string) bool {
	return regexp.MustCompile(`\bTest[A-Z]|\bFuzz[A-Z]|(?i)\btested\b`).MatchString(line) && !strings.Contains(line, "not yet")
}

var names []string

func testNames(t *testing.T) []string {
	t.Helper()
	if names != nil {
		return names
	}
	decl := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, f := range files(t, "_test.go", "test.go") {
		for _, m := range decl.FindAllStringSubmatch(read(t, f), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// TestReadmeCommandsExist: every "make x" that a document shows must be a target.
func TestReadmeCommandsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	shown := regexp.MustCompile("(?m)(?:^\\s*\\$? ?|`)make ([a-z]+)")
	for _, doc := range []string{"README.md", "CONTRIBUTING.md", ".ci/run"} {
		for _, m := range shown.FindAllStringSubmatch(read(t, doc), -1) {
			if !targets[m[1]] {
				t.Errorf("%s shows make %s, which the Makefile does not have", doc, m[1])
			}
		}
	}
	readme := read(t, "README.md")
	for _, command := range []string{"make demo", "make test"} {
		if !strings.Contains(readme, command) {
			t.Errorf("README.md does not show %q", command)
		}
	}
	if !strings.Contains(read(t, ".ci/run"), "exec make test") {
		t.Error(".ci/run does not run make test")
	}
}

// TestLinksInDocumentsLead: a link to a file that is gone misleads the one who
// needs it most.
func TestLinksInDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	for _, f := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, f), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if matches, _ := filepath.Glob(filepath.Join(root, filepath.Dir(f), m[1])); len(matches) == 0 {
				t.Errorf("%s links to %s, which does not exist", f, m[1])
			}
		}
	}
}
