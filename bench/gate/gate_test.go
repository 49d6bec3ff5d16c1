package gate

import (
	"flag"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	rounds  = flag.Int("gate.rounds", 1, "rounds, each of one slice of every subject")
	span    = flag.Duration("gate.slice", 50*time.Millisecond, "of a slice")
	conns   = flag.Int("gate.conns", 8, "keep-alive connections of clients")
	idle    = flag.Int("gate.idle", 0, "idle connections to measure the memory of; 0 = none")
	peers   = flag.Bool("gate.peers", false, "also those with a sign-in of their own")
	profile = flag.String("gate.profile", "", "file for a CPU profile of ssogate with Redis")
	only    = flag.String("gate.only", "", "names of the subjects, all that contain it; empty = all")
	out     = flag.String("gate.out", "", "directory of the report; empty = only the test log")
)

func command(dir, bin string, args ...string) (string, error) {
	cmd := exec.Command(bin, args...) //nolint:gosec // G204: what a benchmark starts is its own choice
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// BenchmarkWhatAnAdmittedRequestCosts runs the comparison. Without flags it only shows that
// every subject starts, signs somebody in and answers.
func BenchmarkWhatAnAdmittedRequestCosts(t *testing.B) {
	u := startUpstream(t)
	bin := build(t)
	off, redis := ssogate(t, u, bin, "Redis")
	var f figures
	if *idle > 0 {
		collect(t)
		f = resting(t, off, *idle, treeUsage(t, off.roots...), opened)
	}
	_, embedded := ssogate(t, u, bin, "embedded")
	subjects := []*subject{bareNginx(t, u), bareHAProxy(t, u), goFloor(t, u, false), goFloor(t, u, true), off, redis, embedded, bareCaddy(t, u)}
	if *peers {
		subjects = append(subjects, askingNginx(t, u, bin), mellon(t, u), openidc(t, u))
	}
	subjects = slices.DeleteFunc(subjects, func(s *subject) bool { return s.name != "Go floor+pool" && !strings.Contains(s.name, *only) })
	for _, s := range subjects {
		s.check(t, "")
		s.connect(*conns)
		if _, err := drive(s.clients, *span, 0); err != nil { // warm, and connected
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	for range *rounds {
		for _, s := range subjects {
			measure(t, u, s)
		}
		for _, s := range subjects {
			if s.name == "nginx" || s == redis {
				pace(t, s)
			}
		}
	}
	if *profile != "" {
		keepProfile(t, redis)
	}
	report(t, subjects, f)
}

// pace runs a slice at a rate that leaves every proxy idle most of the time.
func pace(t testing.TB, s *subject) {
	t.Helper()
	got, err := drive(s.clients, *span, 1500)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	s.paced.merge(&got.lat)
}

// measure runs one slice of a subject, alone.
func measure(t testing.TB, u *upstream, s *subject) {
	t.Helper()
	before, dials := treeUsage(t, s.roots...), u.accepted(t)
	got, err := drive(s.clients, *span, 0)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	after := treeUsage(t, s.roots...)
	s.slices = append(s.slices, got)
	s.cpu = append(s.cpu, float64((after.cpu-before.cpu).Microseconds())/float64(got.requests))
	s.rate = append(s.rate, float64(got.requests)/got.took.Seconds())
	s.dials += u.accepted(t) - dials
	s.count += got.requests
	s.rss = max(s.rss, after.rss)
}
