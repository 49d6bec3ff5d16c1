package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	var r report
	summary := flag.String("summary", "", "file with the verdicts of earlier steps")
	began := flag.Int64("began", time.Now().Unix(), "when the earlier steps began (Unix time)")
	flag.StringVar(&r.failed, "failed", "", "names of earlier steps that failed")
	flag.StringVar(&r.missing, "missing", "", "packages that are not installed")
	flag.Parse()
	if *summary != "" {
		text, err := os.ReadFile(*summary)
		if err != nil {
			fatal(err)
		}
		r.steps = string(text)
	}
	r.ci = os.Getenv("CI") == "true"
	r.began = time.Unix(*began, 0)
	ok, err := run(&r, os.Stdout, flag.Args())
	if err != nil {
		fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

func fatal(err error) {
	_, _ = fmt.Fprintln(os.Stderr, "testrun:", err)
	os.Exit(1)
}

// run starts go test -json and prints its events as they come.
func run(r *report, out io.Writer, args []string) (bool, error) {
	// No deadline here: go test has its own -timeout, with a useful dump.
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"test", "-json"}, args...)...) //nolint:gosec // from our Makefile
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start: %w", err)
	}
	if err := r.read(events, out); err != nil {
		return false, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, fmt.Errorf("go test: %w", err)
	}
	return r.finish(out, err == nil), nil
}

// lines joins lines with an indent.
func lines(list []string) string { return "  " + strings.Join(list, "\n  ") + "\n" }
