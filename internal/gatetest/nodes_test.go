package gatetest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/gatetest/cluster"
)

// nodes starts n real nodes that share one PostgreSQL and one Redis.
func nodes(t *testing.T, n int, form cluster.Form) *cluster.Cluster {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Start(t, cluster.Options{Binary: bin, Nodes: n, Redis: form})
}

// What "make cutoff" and somebody who looks for a fault set.
var (
	cutoffRounds = flag.Int("cutoff.rounds", 20, "rounds of deactivation and re-activation for each form of Redis")
	cutoffOut    = flag.String("cutoff.out", "", "write the report there")
	cutoffForm   = flag.String("cutoff.form", "", "only this form of Redis")
	cutoffFault  = flag.String("cutoff.fault", "", "only faults whose name contains this")
	cutoffSeed   = flag.Uint64("cutoff.seed", 1, "of the schedule")
)

// Guarantee G1 (rows K05, K07, W02; faults 1 to 6, 18, 19, 24) on three real
// nodes, by the history of what clients were answered while one member is
// deactivated and re-activated and things break. Each form of Redis meets each
// fault once in twenty rounds; "make cutoff" runs a thousand.
func TestGuaranteeCutOffAcrossNodes(t *testing.T) {
	sections := make([]string, len(cluster.Forms()))
	t.Run("forms", func(t *testing.T) {
		for i, form := range cluster.Forms() {
			if *cutoffForm != "" && *cutoffForm != string(form) {
				continue
			}
			t.Run(string(form), func(t *testing.T) {
				t.Parallel() // they mostly wait
				r := cluster.NewRounds(nodes(t, 3, form), 4*time.Millisecond, *cutoffSeed)
				r.Exact = *cutoffOut != ""
				r.Run(*cutoffRounds, faults(form))
				report := r.Report()
				worth(t, report)
				sections[i] = report.Markdown()
			})
		}
	})
	if *cutoffOut == "" || t.Failed() {
		return // figures of a broken run are not published
	}
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	costs := cluster.Measure(t, cluster.Options{Binary: bin}, *cutoffRounds, 10*time.Second)
	text := cluster.Preface + costs.Markdown() + strings.Join(sections, "")
	if err := os.WriteFile(filepath.Clean(*cutoffOut), []byte(strings.TrimSpace(text)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func faults(form cluster.Form) (out []cluster.Fault) {
	for _, f := range cluster.Faults(form) {
		if f.Name == cluster.Calm || strings.Contains(f.Name, *cutoffFault) {
			out = append(out, f)
		}
	}
	return out
}

// worth checks that there is no violation, and that the history could have shown one.
func worth(t *testing.T, r cluster.Report) {
	t.Helper()
	for _, v := range r.Violations {
		t.Errorf("violation: %s", v)
	}
	rounds, _, _ := r.Total()
	for i, n := range r.PerNode {
		if n.Member[cluster.Admitted] < 5*rounds || n.Member[cluster.Refused] < 5*rounds || n.Others[cluster.Admitted] < 5*rounds {
			t.Errorf("node %d: member %v, bystander %v in %d rounds: this history shows nothing", i+1, n.Member, n.Others, rounds)
		}
	}
	for _, f := range r.Faults {
		t.Logf("%-45s %3d rounds, member %v, bystander %v, call p50 %v max %v, retries %d, spent %v", f.Name, f.Rounds, f.Member, f.Others,
			f.Call.At(0.5).Round(time.Millisecond), f.Call.At(1).Round(time.Millisecond), f.Retries, f.Spent.Round(time.Millisecond))
	}
}
