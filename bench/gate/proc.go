package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that the bench started, on a core of its own.
type process struct {
	cmd  *exec.Cmd
	log  string // file with what it wrote
	done chan struct{}
}

// patience is how long a program may take to open its port, and to end.
const patience = 20 * time.Second

// launch runs a program on one core. It cannot outlive the bench: the kernel sends
// Pdeathsig when the thread that forked ends, so one goroutine keeps its thread. That
// thread alone is moved to the core before it forks, and the child inherits it.
func launch(logFile string, core int, args ...string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // a file of our own directory
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: logFile, done: make(chan struct{})} //nolint:gosec,noctx // the programs of the bench
	p.cmd.Dir = filepath.Dir(logFile)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no other use on that core
		defer func() { _ = out.Close() }()
		err := pin(0, core)
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its log
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	return p, nil
}

// pin binds a thread (0: this one) to a core.
func pin(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(thread, &set)
}

// pinSelf binds every thread of this process to a core; new ones inherit it.
func pinSelf(core int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := pin(id, core); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// waitOpen waits until somebody listens at addr.
func (p *process) waitOpen(addr string) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", addr) //nolint:noctx // a moment on loopback
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), p.tail())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not open its port: %s", filepath.Base(p.cmd.Path), p.tail())
		}
	}
}

// tail is the end of what it wrote.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-600):]))
}

// stop ends it with its children.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// tree lists processes with all that descend from them.
func tree(roots ...*process) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		parent, err := parentOf(string(b))
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	var out []int
	for _, r := range roots {
		out = append(out, r.cmd.Process.Pid)
	}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out, nil
}

// parentOf reads the parent's id from a line of /proc/PID/stat. The name in it stands
// in brackets and may hold brackets and spaces.
func parentOf(stat string) (int, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("stat line without a name: %q", stat)
	}
	f := strings.Fields(stat[end+1:])
	if len(f) < 2 {
		return 0, fmt.Errorf("short stat line: %q", stat)
	}
	return strconv.Atoi(f[1])
}

// cpuTime is what the processes have used by now, user and system together. The
// kernel's clock of each counts nanoseconds; the fields of /proc/PID/stat are the same
// in steps of 10 ms, a hundredth of a slice.
func cpuTime(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		var ts unix.Timespec
		// CPUCLOCK_SCHED of a process, see clock_getcpuclockid(3).
		if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err == nil { //nolint:gosec // a process id fits; else it has ended
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// resident is the memory of the processes in bytes. Pages that several of them share
// count once in all (Pss): Apache's children would be counted for what they share.
func resident(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n, err := pssOf(string(b))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// pssOf reads the proportional set size from /proc/PID/smaps_rollup, in bytes.
func pssOf(rollup string) (int64, error) {
	for line := range strings.Lines(rollup) {
		rest, ok := strings.CutPrefix(line, "Pss:")
		if !ok {
			continue
		}
		kib, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		if !ok {
			return 0, fmt.Errorf("smaps: %q", line)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
		return n << 10, err
	}
	return 0, errors.New("smaps: no Pss")
}
