package testserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programStart is how long somebody else's server may take until it answers.
const programStart = 30 * time.Second

// Running is a server that [Program] started.
type Running struct {
	Log  string // file with everything it printed
	Stop func() // ends it before the test does; may be called again
}

// Program runs a server that is none of ours, such as php or node, for one test,
// with env added to its environment, and waits until url answers without a server
// error. It ends with the test. What it printed is logged if the test fails.
func Program(t testing.TB, env []string, url string, args ...string) Running {
	t.Helper()
	log := filepath.Join(t.TempDir(), filepath.Base(args[0])+".log")
	p, err := startProcess(log, append(append([]string{"env"}, env...), args...)...)
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	stop := sync.OnceFunc(func() { p.end(syscall.SIGTERM) })
	t.Cleanup(func() {
		stop()
		if b, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("%s:\n%s", strings.Join(args, " "), b[max(0, len(b)-4000):])
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), programStart)
	defer cancel()
	for ctx.Err() == nil {
		if err = answers(ctx, url); err == nil {
			return Running{log, stop}
		}
		select {
		case <-p.done:
			b, _ := os.ReadFile(log)
			t.Fatalf("%s ended: %s", args[0], b)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer at %s: %v", args[0], url, err)
	return Running{}
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}
