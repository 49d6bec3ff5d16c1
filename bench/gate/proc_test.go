package gate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tick is the kernel's unit of process times; USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

// usage of a tree of processes: time on processors so far, and memory now.
type usage struct {
	cpu time.Duration
	rss int64 // bytes, pages that processes share counted once each
}

// parseStat reads what follows the name in /proc/PID/stat. The name may hold anything,
// also spaces and parentheses, so reading begins behind the last one.
func parseStat(stat string) (parent int, cpu time.Duration, err error) {
	at := strings.LastIndexByte(stat, ')')
	f := strings.Fields(stat[at+1:])
	if at < 0 || len(f) < 13 {
		return 0, 0, fmt.Errorf("stat %q", stat)
	}
	parent, err = strconv.Atoi(f[1])
	u, err2 := strconv.ParseInt(f[11], 10, 64)
	s, err3 := strconv.ParseInt(f[12], 10, 64)
	if err != nil || err2 != nil || err3 != nil {
		return 0, 0, fmt.Errorf("stat %q", stat)
	}
	return parent, time.Duration(u+s) * tick, nil
}

// treeUsage adds up processes and all below them.
func treeUsage(t testing.TB, roots ...int) usage {
	t.Helper()
	type proc struct {
		parent int
		cpu    time.Duration
	}
	procs := map[int]proc{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		if parent, cpu, err := parseStat(string(b)); err == nil {
			procs[pid] = proc{parent, cpu}
		}
	}
	var u usage
	for pid, p := range procs {
		for at := pid; at > 1; at = procs[at].parent {
			if contains(roots, at) {
				u.cpu += p.cpu
				u.rss += pss(pid)
				break
			}
		}
	}
	return u
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}

// pss is the memory of a process, with its share of what it shares.
func pss(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// pinned starts a program on one processor and ends it with the test.
func pinned(t testing.TB, core int, env []string, bin string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), bin}, args...)...) //nolint:gosec // G204: what a benchmark starts is its own choice
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(bin)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s: %s", bin, b[max(0, len(b)-2000):])
		}
		_ = log.Close()
	})
	return cmd
}

func TestStatIsReadBehindTheName(t *testing.T) {
	parent, cpu, err := parseStat("12 (a) b (c)) S 7 12 12 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 0 0")
	if parent != 7 || cpu != 2*time.Second || err != nil {
		t.Errorf("%d %s %v", parent, cpu, err)
	}
	for _, bad := range []string{"", "12 (a", "12 (a) S 1 2"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	if u := treeUsage(t, os.Getpid()); u.rss <= 0 {
		t.Errorf("this process: %+v", u)
	}
}
