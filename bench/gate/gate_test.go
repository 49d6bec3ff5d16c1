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

// TestWhatAnAdmittedRequestCosts runs the comparison. With the flags of an ordinary run
// it only shows that every subject starts, signs somebody in and answers.
func TestWhatAnAdmittedRequestCosts(t *testing.T) {
	u := startUpstream(t)
	bin := build(t)
	off, redis := ssogate(t, u, bin, "Redis")
	_, embedded := ssogate(t, u, bin, "embedded")
	subjects := []*subject{bareNginx(t, u), bareHAProxy(t, u), goFloor(t, u, false), goFloor(t, u, true), off, redis, embedded, bareCaddy(t, u)}
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
	}
	if *profile != "" {
		keepProfile(t, redis)
	}
	report(t, subjects)
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

func report(t testing.TB, subjects []*subject) {
	var base []float64
	for _, s := range subjects {
		if s.name == "Go floor+pool" {
			base = s.cpu
		}
	}
	for _, s := range subjects {
		var ratio []float64
		for i, c := range s.cpu {
			ratio = append(ratio, c/base[i])
		}
		var lat latencies
		for _, sl := range s.slices {
			lat.merge(&sl.lat)
		}
		q1, m, q3 := quartiles(s.cpu)
		t.Logf("%-28s cpu %.1f (%.1f-%.1f) us, %.2f x floor+pool, %.0f/s, p50 %.0f p99 %.0f us, %.4f dials, %.1f MiB", s.name, m, q1, q3, median(ratio), median(s.rate),
			lat.at(.5), lat.at(.99), float64(s.dials)/float64(s.count), float64(s.rss)/(1<<20))
	}
}
