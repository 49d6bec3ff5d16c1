package repo

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ssogate/ssogate"

// Floors: a package imports only packages on lower floors. Tens are the floors of
// the design; ones order neighbours where one is built on the other.
var floors = map[string]int{
	"config": 1, "audit": 1, "identity": 1, "internal/web": 1, "internal/mail": 1, "internal/outbound": 1,
	"internal/secret": 0, "internal/clock": 0, "internal/header": 0, // used by everything
	"internal/bearer": 1, "member": 10,
	"session": 20, "settings": 20, "machine": 21,
	"sso":         30,
	"sso/refresh": 31, "sso/local": 31,
	"scim/filter": 30, "scim/schema": 31, "scim/record": 31, "scim/patch": 32, "scim/client": 33,
	"proxy/canonical": 30, "proxy/assertion": 30, "proxy/wire": 31, "proxy/upstream/h1": 30, "proxy/upstream": 31,
	"console": 40, "store/sql": 40, "store/redis": 40,
	"sso/saml": 40, "sso/oauth": 40,
	"scim": 40, "proxy": 40,
	"cmd/ssogate/run": 50, "cmd/ssogate": 51,
}

// Test support (floor T): may import anything, and only cmd (for the demo), tests
// and each other may import it: a fake must never reach a shipped path by accident.
var support = []string{
	"session/sessiontest", "member/membertest", "sso/ssotest",
	"internal/gatetest", "internal/gatetest/cluster", "internal/demo", "internal/testserver",
}

// Outside the floors: they neither import the product nor are imported.
var outside = []string{"internal/interop", "internal/repo", "internal/repo/testrun", "internal/tools", "bench"}

func isSupport(pkg string) bool { return slices.Contains(support, pkg) }

// mayImport is the rule. why explains a refusal.
func mayImport(from, to string) (ok bool, why string) {
	if isSupport(from) {
		return !strings.HasPrefix(to, "cmd/") || from == "internal/gatetest" || from == "internal/demo", "test support is not wired by cmd"
	}
	if isSupport(to) {
		return strings.HasPrefix(from, "cmd/"), "test support is imported only by tests and cmd"
	}
	f, known := floors[from]
	t, knownTo := floors[to]
	switch {
	case !known:
		return false, from + " has no floor: add it to floors_test.go"
	case !knownTo:
		return false, to + " has no floor: add it to floors_test.go"
	case t >= f:
		return false, fmt.Sprintf("floor %d may not import floor %d", f, t)
	}
	return true, ""
}

// imports answers, for each package of ours, what its non-test files import.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, f := range files(t, ".go") {
		if strings.HasSuffix(f, "_test.go") || strings.Contains(f, "/testdata/") {
			continue
		}
		ast, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Dir(f)
		out[pkg] = append(out[pkg], "") // known, also without imports
		for _, spec := range ast.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			out[pkg] = append(out[pkg], p)
		}
	}
	return out
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	for pkg, list := range imports(t) {
		if slices.Contains(outside, pkg) || strings.HasPrefix(pkg, "bench/") {
			continue
		}
		if _, known := floors[pkg]; !known && !isSupport(pkg) {
			t.Errorf("%s has no floor: add it to floors_test.go, and run go test ./internal/repo -update", pkg)
			continue
		}
		for _, p := range list {
			to, ours := strings.CutPrefix(p, module+"/")
			if !ours {
				continue
			}
			if ok, why := mayImport(pkg, to); !ok {
				t.Errorf("%s imports %s: %s", pkg, to, why)
			}
		}
	}
}

func TestFloorRuleRefuses(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		want     bool
	}{
		{"proxy", "session", true},
		{"proxy", "proxy/canonical", true},
		{"cmd/ssogate/run", "sso/ssotest", true},
		{"internal/gatetest", "cmd/ssogate/run", true},
		{"proxy", "sso", true}, // as a lower floor; the design's stricter word is tested below
		{"proxy", "scim", false},
		{"sso/saml", "sso/oauth", false},
		{"sso", "sso/saml", false},
		{"session", "settings", false},
		{"member", "session", false},
		{"scim/filter", "scim/patch", false},
		{"config", "settings", false},
		{"console", "internal/demo", false},
		{"nowhere", "member", false},
		{"member", "nowhere", false},
	} {
		if ok, _ := mayImport(tc.from, tc.to); ok != tc.want {
			t.Errorf("%s importing %s: allowed is %v", tc.from, tc.to, ok)
		}
	}
}

// Words of the design that are stricter than the floors.
func TestPackagesThatMustNotKnowEachOther(t *testing.T) {
	all := imports(t)
	for _, rule := range []struct{ from, to, why string }{
		{"proxy", "sso", "the proxy knows sign-in as a URL"},
		{"proxy", "settings", "routes come from the wiring"},
		{"scim", "session", "SCIM reaches sessions only through member.Directory and its Revoker"},
		{"scim", "sso", "SCIM does not sign anyone in"},
		{"sso", "scim", "the handshake does not provision"},
		{"sso", "proxy", "the handshake does not forward"},
		{"session", "settings", "sessions do not depend on settings"},
	} {
		for pkg, list := range all {
			if isSupport(pkg) || (pkg != rule.from && !strings.HasPrefix(pkg, rule.from+"/")) {
				continue
			}
			for _, p := range list {
				to, ours := strings.CutPrefix(p, module+"/")
				if ours && (to == rule.to || strings.HasPrefix(to, rule.to+"/")) {
					t.Errorf("%s imports %s: %s", pkg, to, rule.why)
				}
			}
		}
	}
}

// An application imports package identity, and must not have to take anything else.
func TestIdentityStandsAlone(t *testing.T) {
	for _, p := range imports(t)["identity"] {
		if strings.Contains(p, ".") {
			t.Errorf("identity imports %s: it is for applications, and takes nothing outside of the standard library", p)
		}
	}
}

// viper lower-cases keys and guesses types; it is fenced in where that is undone.
func TestFencedLibraries(t *testing.T) {
	fence := map[string][]string{
		"github.com/spf13/viper":            {"config"},
		"github.com/spf13/cobra":            {"cmd/ssogate"},
		"github.com/crewjam/saml":           {"sso/saml", "sso/ssotest", "internal/demo"},
		"github.com/crewjam/saml/samlsp":    nil,
		"github.com/redis/go-redis/v9":      {"store/redis"},
		"github.com/jackc/pgx/v5":           {"store/sql", "internal/testserver"},
		"github.com/scim2/filter-parser/v2": nil, // a test oracle
		"github.com/russellhaering/gosaml2": nil, // a test oracle
		"unsafe":                            nil,
		"net/http/cgi":                      nil,
	}
	for pkg, list := range imports(t) {
		for _, p := range list {
			for lib, where := range fence {
				if (p == lib || strings.HasPrefix(p, lib+"/")) && !slices.Contains(where, pkg) {
					t.Errorf("%s imports %s, which belongs into %v", pkg, p, where)
				}
			}
		}
	}
}

var update = flag.Bool("update", false, "write the depguard rules of .golangci.yml anew")

const (
	beginMark = "        # floors: made by go test ./internal/repo -update\n"
	endMark   = "        # floors: end\n"
)

// TestDepguardRulesFollowTheFloors keeps the editor's view of the floors (the
// linter's) the same as the rule above.
func TestDepguardRulesFollowTheFloors(t *testing.T) {
	const name = ".golangci.yml"
	text := read(t, name)
	head, rest, ok := strings.Cut(text, beginMark)
	if !ok {
		t.Fatalf("%s lacks the line %q", name, beginMark)
	}
	_, tail, ok := strings.Cut(rest, endMark)
	if !ok {
		t.Fatalf("%s lacks the line %q", name, endMark)
	}
	want := head + beginMark + depguardRules() + endMark + tail
	if *update {
		if err := os.WriteFile(filepath.Join(root, name), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Errorf("the depguard rules differ from the floors: run go test ./internal/repo -update")
	}
}

// depguardRules has one rule for each floor: its files may import nothing from
// that floor upwards.
func depguardRules() string {
	byFloor := map[int][]string{}
	for p, f := range floors {
		byFloor[f] = append(byFloor[f], p)
	}
	var b strings.Builder
	for _, floor := range slices.Sorted(maps.Keys(byFloor)) {
		from := slices.Sorted(slices.Values(byFloor[floor]))
		fmt.Fprintf(&b, "        floor-%d:\n          list-mode: lax\n          files:\n            - \"!$test\"\n", floor)
		for _, p := range from {
			fmt.Fprintf(&b, "            - \"**/%s/*.go\"\n", p)
		}
		b.WriteString("          deny:\n")
		for _, to := range append(slices.Sorted(maps.Keys(floors)), support...) {
			if ok, _ := mayImport(from[0], to); !ok {
				fmt.Fprintf(&b, "            - {pkg: \"%s/%s$\", desc: \"not on a lower floor\"}\n", module, to)
			}
		}
	}
	return b.String()
}
