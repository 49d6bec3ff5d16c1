package cluster

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
)

// Steady is what admitted requests cost the stores once their principals are
// known: commands and statements beyond those that the nodes make anyway.
type Steady struct {
	Admitted        int     // requests under load
	PerSecond       float64 // of them
	RedisIdle       float64 // commands a second without any request
	SQLIdle         float64 // statements a second without any request
	RedisPerRequest float64 // commands per 1,000 admitted requests, beyond idle
	SQLPerRequest   float64 // statements per 1,000 admitted requests, beyond idle
}

// Steady measures for so long without and with load. The installation must have
// been made with Options.Statements.
func (c *Cluster) Steady(d time.Duration) Steady {
	c.t.Helper()
	ben := Cookies(c.MustSignIn(demo.People()[1]), c.App)
	var out Steady
	load := func(d time.Duration) {
		var n atomic.Int64
		var work sync.WaitGroup
		end := time.Now().Add(d)
		for node := range c.Nodes {
			for range 2 {
				work.Go(func() {
					k := &caller{c: c, node: node}
					defer k.close()
					for time.Now().Before(end) {
						if _, v, _ := k.get(ben); v == Admitted {
							n.Add(1)
						}
					}
				})
			}
		}
		work.Wait()
		out.Admitted = int(n.Load())
	}
	load(time.Second) // everybody is known everywhere now, and what the sign-in left is done
	redis, sql, took := c.counted(func() { time.Sleep(d) })
	out.RedisIdle, out.SQLIdle = redis/took.Seconds(), sql/took.Seconds()
	redis, sql, took = c.counted(func() { load(d) })
	out.PerSecond = float64(out.Admitted) / took.Seconds()
	if out.Admitted > 0 {
		out.RedisPerRequest = 1000 * (redis - out.RedisIdle*took.Seconds()) / float64(out.Admitted)
		out.SQLPerRequest = 1000 * (sql - out.SQLIdle*took.Seconds()) / float64(out.Admitted)
	}
	return out
}

// counted is what the stores were asked while f ran.
func (c *Cluster) counted(f func()) (redis, sql float64, took time.Duration) {
	c.t.Helper()
	r, s, begin := c.Redis.Calls(), c.statements(), time.Now()
	f()
	took = time.Since(begin)
	return float64(c.Redis.Calls() - r), float64(c.statements() - s), took
}

// statements is how many statements the nodes have made so far.
func (c *Cluster) statements() int64 {
	c.t.Helper()
	return c.Postgres.Int(c.t, c.DatabaseURL, `SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s
		JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'`)
}

// Costs is what the cut-off costs when nothing is broken.
type Costs struct {
	Nodes    int
	Barriers Figures   // the SCIM call
	Own      Histogram // of it, from the commit until it was true on every node (cutoff_barrier_seconds)
	LastSeen []Figures
	Steady   Steady
}

// Measure runs calm rounds and a steady state on an installation of its own.
func Measure(t testing.TB, o Options, rounds int, steady time.Duration) Costs {
	t.Helper()
	o.Statements = true
	c := Start(t, o)
	r := NewRounds(c, time.Millisecond, 1)
	r.Exact = true
	// Before anybody was refused: refusals are audited in batches some seconds later.
	costs := c.Steady(steady)
	before := c.barriers()
	r.Run(rounds, Faults(c.Redis.Form)[:1])
	own := c.barriers().since(before)
	report := r.Report()
	for _, v := range report.Violations {
		t.Errorf("violation: %s", v)
	}
	out := Costs{Nodes: len(c.Nodes), Barriers: report.Barriers, Own: own, Steady: costs}
	for _, n := range report.PerNode {
		out.LastSeen = append(out.LastSeen, n.LastSeen)
	}
	return out
}

// Markdown is a section of docs/cutoff.md.
func (k Costs) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## What it costs: %d nodes, Redis as a single server, no fault\n\n", k.Nodes)
	b.WriteString("| milliseconds | least | median | p99 | most |\n|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| the barrier: from the commit until true on every node (goal: p99 at most 50) | - | %s | %s | - |\n", ms(k.Own.At(0.5)), ms(k.Own.At(0.99)))
	fmt.Fprintf(&b, "| the SCIM call that deactivates, transaction and client included | %s |\n", k.Barriers.line())
	for i, f := range k.LastSeen {
		fmt.Fprintf(&b, "| 2xx minus begin of the last admitted request, node %d | %s |\n", i+1, f.line())
	}
	s := k.Steady
	b.WriteString("\n| steady state, members known to the nodes | Redis commands | SQL statements |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| a second, all nodes, without any request | %.1f | %.1f |\n", s.RedisIdle, s.SQLIdle)
	fmt.Fprintf(&b, "| per 1,000 admitted requests beyond that, at %.0f requests a second (goal: 0) | %.2f | %.2f |\n\n", s.PerSecond, tidy(s.RedisPerRequest), tidy(s.SQLPerRequest))
	return b.String()
}

// tidy keeps noise of the measurement from reading "-0.00".
func tidy(f float64) float64 {
	if math.Abs(f) < 0.005 {
		return 0
	}
	return f
}
