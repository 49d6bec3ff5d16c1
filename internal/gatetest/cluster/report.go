package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Preface is the head of docs/cutoff.md: what the figures are about.
const Preface = `# The cut-off, measured

Written by ` + "`make cutoff`" + `; do not edit. The same rounds, twenty for each form of Redis, are part of ` + "`make test`" + `
(` + "`TestGuaranteeCutOffAcrossNodes`" + `).

One round: a member signs in and is admitted by every node; a WebSocket and an event stream of his are opened on each; something breaks; his
identity provider deactivates him over SCIM by way of some node, and calls again until it is answered with 2xx; the fault is healed; he is
re-activated. All the while clients of his send requests to every node on connections that are kept, with his newest cookie and with
cookies of all earlier rounds; in every second round he is also signing in while he is cut off. A bystander does the same and is never
deactivated. The nodes are real processes on one machine that share one PostgreSQL and one Redis; each node's ways to both are its own
and can be cut, held and delayed.

A **violation** is a request that was admitted although its first byte was sent after the first byte of the 2xx and before the first byte of the
call that re-activated him; a request that was ever admitted with a session from before; a stream that carried a word said after
the 2xx (except on a node that had lost contact to SQL, where it must end after ` + "`streams.lease_grace`" + `); a bystander who was refused, or answered
503 where the fault does not allow it; an answer meant for somebody else.

"Broken" are requests to a node that is dead, frozen or just being cut off: they got no answer. The times are those of a machine that also
ran the clients and all servers: compare them with one another, not with yours.

`

// Report is what a run of rounds showed.
type Report struct {
	Form       Form
	Nodes      int
	Violations []string
	Faults     []FaultReport // in the order of Faults, the calm first
	PerNode    []NodeReport
	Barriers   Figures // of calm rounds: the SCIM call
	Streams    Figures // arrival of a stream's end at the client, minus that of the 2xx
}

// FaultReport is one line of it.
type FaultReport struct {
	Name     string
	Rounds   int
	Member   Tally
	Others   Tally
	Call     Figures       // the SCIM call that was answered with 2xx
	Retries  int           // calls before it
	Spent    time.Duration // on these rounds
	LastSeen Figures       // 2xx minus begin of the last admitted request, all nodes
}

// NodeReport is one node's part.
type NodeReport struct {
	Member, Others Tally
	LastSeen       Figures
}

// Figures are a distribution.
type Figures []time.Duration

// At is a quantile; 0 of nothing.
func (f Figures) At(q float64) time.Duration {
	if len(f) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(f))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// line is least, median, 99th percentile and most, in milliseconds.
func (f Figures) line() string {
	if len(f) == 0 {
		return "- | - | - | -"
	}
	return ms(f.At(0)) + " | " + ms(f.At(0.5)) + " | " + ms(f.At(0.99)) + " | " + ms(f.At(1))
}

// Report judges what was run.
func (r *Rounds) Report() Report {
	out := Report{Form: r.c.Redis.Form, Nodes: len(r.c.Nodes), Violations: r.h.Violations(), PerNode: make([]NodeReport, len(r.c.Nodes))}
	at := map[string]int{}
	for _, f := range Faults(out.Form) {
		at[f.Name] = len(out.Faults)
		out.Faults = append(out.Faults, FaultReport{Name: f.Name})
	}
	for i, s := range r.stats {
		f := &out.Faults[at[s.fault]]
		f.Rounds++
		f.Retries += s.tries - 1
		f.Spent += s.spent
		f.Call = append(f.Call, s.took)
		if s.fault == Calm {
			out.Barriers = append(out.Barriers, s.took)
			out.Streams = append(out.Streams, s.closed...)
		}
		for node := range r.c.Nodes {
			member, others := r.h.Round(i, node)
			p := &out.PerNode[node]
			for v := range verdicts {
				f.Member[v] += member[v]
				f.Others[v] += others[v]
				p.Member[v] += member[v]
				p.Others[v] += others[v]
			}
			if d, ok := s.last[node]; ok {
				f.LastSeen = append(f.LastSeen, d)
				if s.fault == Calm {
					p.LastSeen = append(p.LastSeen, d)
				}
			}
		}
	}
	out.Faults = slices.DeleteFunc(out.Faults, func(f FaultReport) bool { return f.Rounds == 0 })
	return out
}

// Total sums what the member was answered.
func (r Report) Total() (rounds int, member, others Tally) {
	for _, f := range r.Faults {
		rounds += f.Rounds
		for v := range verdicts {
			member[v] += f.Member[v]
			others[v] += f.Others[v]
		}
	}
	return rounds, member, others
}

func (t Tally) line() string {
	return fmt.Sprintf("%d | %d | %d | %d", t[Admitted], t[Refused], t[Unavailable], t[Broken])
}

// Markdown is the report as a section of docs/cutoff.md.
func (r Report) Markdown() string {
	var b strings.Builder
	rounds, member, others := r.Total()
	fmt.Fprintf(&b, "## Redis as %s, %d nodes\n\n", r.title(), r.Nodes)
	fmt.Fprintf(&b, "| rounds | requests of the member | of the bystander | violations |\n|---|---|---|---|\n| %d | %d | %d | %d |\n\n",
		rounds, member.total(), others.total(), len(r.Violations))
	b.WriteString("Answers, and the SCIM call that was answered with 2xx, by fault (milliseconds; retries are calls before it):\n\n")
	b.WriteString("| fault | rounds | admitted | refused | 503 | broken | retries | call: least | median | p99 | most |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "| %s | %d | %s | %d | %s |\n", f.Name, f.Rounds, f.Member.line(), f.Retries, f.Call.line())
	}
	b.WriteString("\nThe bystander's answers, by fault:\n\n| fault | admitted | refused | 503 | broken |\n|---|---|---|---|---|\n")
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, f.Others.line())
	}
	b.WriteString("\nThe 2xx minus the begin of the last admitted request, in milliseconds; below zero would be a violation:\n\n")
	b.WriteString("| where | least | median | p99 | most |\n|---|---|---|---|---|\n")
	for i, n := range r.PerNode {
		fmt.Fprintf(&b, "| node %d, no fault | %s |\n", i+1, n.LastSeen.line())
	}
	for _, f := range r.Faults {
		if f.Name != Calm {
			fmt.Fprintf(&b, "| all nodes, %s | %s |\n", f.Name, f.LastSeen.line())
		}
	}
	fmt.Fprintf(&b, "\nWithout a fault the end of his streams reached the client this long after the 2xx (milliseconds; it was sent before, as the word that\nnever came through shows): least, median, p99, most: %s\n\n", strings.ReplaceAll(r.Streams.line(), " | ", ", "))
	return b.String()
}

func (r Report) title() string {
	switch r.Form {
	case Sentinel:
		return "a primary and a replica under three sentinels"
	case Masters:
		return "a Cluster of three masters, with replicas"
	}
	return "a single server"
}
