package repo

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// build makes the binary exactly as the Makefile and the Dockerfile do.
func build(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "ssogate")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./cmd/ssogate")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	return out
}

// TestShippedBinaryIsStatic: the image has no libc and no shell, so a binary that
// asks for a loader would not even start. It is read as ELF and run as the image's
// user, which only Linux can do; every run of CI is one.
func TestShippedBinaryIsStatic(t *testing.T) {
	binary := build(t)
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary names a dynamic loader")
		}
	}
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("the binary imports %v (%v)", libs, err)
	}
	runsUnprivileged(t, binary)
}

// runsUnprivileged runs the binary as the image does: as nobody, in a directory it
// cannot write, without any environment.
func runsUnprivileged(t *testing.T, binary string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(binary), filepath.Dir(filepath.Dir(binary)), filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(d, 0o755) })
	}
	cmd := exec.Command(binary, "version")
	cmd.Dir, cmd.Env = dir, []string{}
	asNobody(cmd)
	text, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(text), "ssogate ") {
		t.Errorf("as uid 65534 in a read-only directory: %v\n%s", err, text)
	}
}

func TestDockerfileShipsAStaticUnprivilegedBinary(t *testing.T) {
	text := read(t, "Dockerfile")
	for _, want := range []struct{ pattern, why string }{
		{`(?m)CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" `, "the same static build as make build"},
		{`(?m)^FROM scratch$`, "no shell and no package that could need an update"},
		{`(?m)^USER 65534:65534$`, "never root"},
		{`(?m)^ENTRYPOINT \["/ssogate"\]$`, "the exec form: signals reach ssogate, and no shell is needed"},
		{`(?m)^COPY --from=build .*ca-certificates\.crt /etc/ssl/certs/`, "metadata and discovery are fetched over https"},
		{`(?m)^HEALTHCHECK NONE$`, "no inherited check that needs a shell"},
	} {
		if !regexp.MustCompile(want.pattern).MatchString(text) {
			t.Errorf("the Dockerfile lacks %s: %s", want.pattern, want.why)
		}
	}
	final := text[strings.LastIndex(text, "FROM "):]
	if regexp.MustCompile(`(?m)^(RUN|SHELL|ADD) `).MatchString(final) {
		t.Error("the final stage runs something: it has nothing to run it with")
	}
	goMod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !strings.Contains(text, "golang:"+goMod) {
		t.Errorf("the Dockerfile does not build with Go %s of go.mod", goMod)
	}
	if m := read(t, "Makefile"); !strings.Contains(m, `CGO_ENABLED=0 go build -trimpath -ldflags="-s -w"`) {
		t.Error("make build is not the static build that is tested")
	}
}
