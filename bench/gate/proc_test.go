package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParentIsReadBehindAnyName(t *testing.T) {
	for _, tc := range []struct {
		line string
		want int
		ok   bool
	}{
		{"42 (nginx) S 7 42 42 0 -1 4194624", 7, true},
		{"42 (a b) c) R 1) S 9 42", 9, true}, // a name may hold anything
		{"42 (nginx) S", 0, false},
		{"42 nginx S 7", 0, false},
		{"42 (nginx) S x 1", 0, false},
	} {
		got, err := parentOf(tc.line)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q: %d, %v", tc.line, got, err)
		}
	}
}

func TestMemoryIsReadInKibibytes(t *testing.T) {
	const rollup = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:                1824 kB\nPss:                 912 kB\nPss_Dirty:           400 kB\n"
	if n, err := pssOf(rollup); n != 912<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "Rss: 1 kB\n", "Pss: 1 MB\n", "Pss: x kB\n"} {
		if n, err := pssOf(bad); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}

// The kernel's clocks and lists are read as they are: of this process, and of a child.
func TestTimeAndMemoryOfRealProcesses(t *testing.T) {
	self := os.Getpid()
	before := cpuTime([]int{self})
	for i, end := 0, time.Now().Add(time.Millisecond); time.Now().Before(end); i++ { //nolint:revive // work
	}
	if after := cpuTime([]int{self}); after <= before {
		t.Errorf("%v after %v of work", after, before)
	}
	if n, err := resident([]int{self, 1 << 30}); n <= 0 || err != nil {
		t.Errorf("memory: %d, %v", n, err)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	list, err := tree(&process{cmd: &exec.Cmd{Process: &os.Process{Pid: self}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range list {
		if pid == cmd.Process.Pid {
			return
		}
	}
	t.Errorf("%v does not hold the child %d", list, cmd.Process.Pid)
}
