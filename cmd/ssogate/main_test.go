package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain makes "ssogate" a command of the transcripts: the real Main in a
// process of its own, with the transcript's environment.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ssogate": main})
}

// TestTranscripts runs testdata/*.txtar: what an operator types and reads.
func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"mode": mode},
	})
}

// mode FILE 0600 checks permissions: secrets must not be born readable.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode file 0600")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := "0" + strings.TrimLeft(info.Mode().Perm().String(), "-"); octal(info.Mode().Perm()) != args[1] {
		ts.Fatalf("%s has mode %s (%s), want %s", args[0], octal(info.Mode().Perm()), got, args[1])
	}
}

func octal(m os.FileMode) string {
	const digits = "01234567"
	return string([]byte{'0', digits[m>>6&7], digits[m>>3&7], digits[m&7]})
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var visit func(list []*cobra.Command)
	visit = func(list []*cobra.Command) {
		for _, cmd := range list {
			if cmd.Short == "" || (cmd.Long == "" && !cmd.HasSubCommands()) {
				t.Errorf("%q has no real help: it needs Short, and Long where it does something", cmd.CommandPath())
			}
			if cmd.HasSubCommands() {
				visit(cmd.Commands())
				continue
			}
			if cmd.Example == "" || cmd.Args == nil {
				t.Errorf("%q needs an Example, and Args so that none is silently ignored", cmd.CommandPath())
			}
		}
	}
	visit(commands(&app{}))
}

// TestEveryCommandThatIsNamedExists: help, messages, documents and the config file say
// what to run next; a command that is not there leaves the reader alone in trouble.
func TestEveryCommandThatIsNamedExists(t *testing.T) {
	root := &cobra.Command{Use: "ssogate"}
	root.AddCommand(commands(&app{})...)
	// What else is quoted: a hash's domain, a certificate's name, parts of sentences.
	prose := []string{"audit", "test", "stands", "is"}
	seen := 0
	exists := func(where, line string) {
		seen++
		words := strings.Fields(line)
		if slices.Contains(prose, words[0]) {
			return
		}
		cmd, rest, err := root.Find(words)
		if err != nil || cmd == root || cmd.HasSubCommands() && len(rest) > 0 {
			t.Errorf("%s names %q, which does not exist", where, "ssogate "+line)
		}
	}
	// In prose "ssogate" is followed by other words: what is quoted is a command, and
	// what begins a line of an example.
	quoted := regexp.MustCompile("[\"`]ssogate((?: [a-z][a-z-]+)+)")
	example := regexp.MustCompile(`^ *(?:\./)?ssogate((?: [a-z][a-z-]+)+)`)
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == ".git" || e.Name() == ".cache") {
			return filepath.SkipDir
		}
		if e.IsDir() || !slices.Contains([]string{".go", ".md", ".tmpl", ".yaml"}, filepath.Ext(path)) {
			return nil
		}
		b, err := os.ReadFile(path)
		fenced := false
		for line := range strings.Lines(string(b)) {
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				exists(path, m[1])
			}
			if filepath.Ext(path) == ".md" && strings.HasPrefix(line, "```") {
				fenced = !fenced
			} else if m := example.FindStringSubmatch(line); m != nil && fenced {
				exists(path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var visit func(list []*cobra.Command)
	visit = func(list []*cobra.Command) {
		for _, cmd := range list {
			for line := range strings.Lines(cmd.Example) {
				if m := example.FindStringSubmatch(line); m != nil {
					exists("the example of "+cmd.CommandPath(), m[1])
				}
			}
			visit(cmd.Commands())
		}
	}
	visit(root.Commands())
	if seen < 100 {
		t.Errorf("only %d commands found: the test looks for the wrong thing", seen)
	}
}

func TestMainUsesOnlyWhatItIsGiven(t *testing.T) {
	var out, errs bytes.Buffer
	code := Main(context.Background(), []string{"check", "-c", "/nowhere.yaml"}, strings.NewReader(""), &out, &errs, nil)
	if code != exitError || !strings.Contains(out.String(), "no such file") || errs.Len() > 0 {
		t.Fatalf("code %d, out %q, err %q", code, out.String(), errs.String())
	}
}

func TestVersionLineNamesTheCommit(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got := versionLine(info); !strings.HasPrefix(got, "ssogate v1.2.3 0123456789ab (modified) go") {
		t.Errorf("got %q", got)
	}
	if got := versionLine(nil); !strings.HasPrefix(got, "ssogate (devel) go") {
		t.Errorf("without build info: %q", got)
	}
}
