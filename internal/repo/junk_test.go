package repo

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxTracked is far above what is kept here, screenshots and sums of modules, and
// far below a test binary or a profile.
const maxTracked = 1 << 20

// binaries are the first bytes of what a compiler or an archiver makes.
var binaries = []struct{ what, magic string }{
	{"an ELF binary", "\x7fELF"},
	{"a Mach-O binary", "\xcf\xfa\xed\xfe"},
	{"a Mach-O binary", "\xce\xfa\xed\xfe"},
	{"a universal Mach-O binary", "\xca\xfe\xba\xbe"},
	{"a Windows binary", "MZ"},
	{"an archive of objects", "!<arch>\n"},
	{"a SQLite database", "SQLite format 3\x00"},
	{"gzipped, as profiles are", "\x1f\x8b"},
}

// junk says why a file has no place in the repository, or "".
func junk(name string, size int64, head []byte) string {
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return "it is " + b.what
		}
	}
	if size > maxTracked {
		return "it is larger than 1 MiB"
	}
	for _, suffix := range []string{".test", ".prof", ".out"} {
		if strings.HasSuffix(name, suffix) {
			return "go test writes files of that name"
		}
	}
	return ""
}

// TestNothingBuiltIsTracked: a binary that was added by accident cannot be reviewed,
// and stays in every clone for ever.
func TestNothingBuiltIsTracked(t *testing.T) {
	for _, f := range tracked(t) {
		info, err := os.Lstat(filepath.Join(root, f))
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted and not committed yet; a link
		}
		if why := junk(f, info.Size(), head(t, f)); why != "" {
			t.Errorf("%s is tracked, but %s: git rm --cached it", f, why)
		}
	}
}

func TestJunkIsKnownByItsBytesAndItsName(t *testing.T) {
	for _, tc := range []struct {
		name string
		size int64
		head string
		junk bool
		why  string
	}{
		{"README.md", 9000, "# ssogate", false, "text"},
		{"docs/screenshots/a.png", 200 << 10, "\x89PNG\r\n\x1a\n", false, "a picture of the documentation"},
		{"store/sql/testdata/fuzz/FuzzX/abc", 80, "go test fuzz v1\n", false, "a corpus"},
		{"scim", 30 << 20, "\x7fELF\x02\x01\x01", true, "a test binary under another name"},
		{"x/y", 100, "MZ\x90\x00", true, "Windows"},
		{"x/y", 100, "\xcf\xfa\xed\xfe\x07", true, "macOS"},
		{"sso.test", 5, "text", true, "the name go test -c gives"},
		{"cpu.prof", 0, "", true, "a profile"},
		{"c.out", 20, "mode: set\n", true, "a coverage profile is text"},
		{"data.json", maxTracked + 1, "{", true, "larger than anything that is read"},
		{"data.json", maxTracked, "{", false, "the limit itself"},
	} {
		if got := junk(tc.name, tc.size, []byte(tc.head)); (got != "") != tc.junk {
			t.Errorf("%s (%s): %q", tc.name, tc.why, got)
		}
	}
}

// tracked lists what git tracks. A downloaded archive has no git and holds nothing
// else, except what was built in it since.
func tracked(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		// Another user's clone, as a container mounts it, would be refused.
		cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z")
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git ls-files: %v", err)
		}
		list := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if len(list) < 100 {
			t.Fatalf("git tracks %d files: the guard looks in the wrong place", len(list))
		}
		return list
	}
	var list []string
	for _, f := range files(t, "") {
		if f != "ssogate" { // what make build leaves
			list = append(list, f)
		}
	}
	return list
}

func head(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.DirFS(root).Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 32)
	n, err := f.Read(b)
	if n == 0 && err != nil && !isEmpty(f) {
		t.Fatal(err)
	}
	return b[:n]
}

func isEmpty(f fs.File) bool {
	info, err := f.Stat()
	return err == nil && info.Size() == 0
}
