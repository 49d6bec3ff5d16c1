package cluster

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Histogram is a Prometheus histogram, of all nodes together: how many were at
// most so long.
type Histogram []bucket

type bucket struct {
	le    float64 // seconds
	count float64 // cumulative
}

// barriers reads cutoff_barrier_seconds of all nodes.
func (c *Cluster) barriers() Histogram {
	c.t.Helper()
	sum := map[float64]float64{}
	for _, n := range c.Nodes {
		_, text := n.current().get("/metrics")
		for line := range strings.Lines(string(text)) {
			rest, ok := strings.CutPrefix(line, `cutoff_barrier_seconds_bucket{le="`)
			le, value, two := strings.Cut(rest, `"} `)
			if !ok || !two {
				continue
			}
			at, err := strconv.ParseFloat(le, 64) // "+Inf" too
			count, err2 := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || err2 != nil {
				c.t.Fatalf("metrics: %q", line)
			}
			sum[at] += count
		}
	}
	var h Histogram
	for le, count := range sum {
		h = append(h, bucket{le, count})
	}
	slices.SortFunc(h, func(a, b bucket) int { return cmp.Compare(a.le, b.le) })
	return h
}

// since is what came after an earlier reading.
func (h Histogram) since(before Histogram) Histogram {
	out := slices.Clone(h)
	for i := range out {
		for _, b := range before {
			if b.le == out[i].le {
				out[i].count -= b.count
			}
		}
	}
	return out
}

// At is a quantile, evenly spread within its bucket; 0 of nothing.
func (h Histogram) At(q float64) time.Duration {
	if len(h) == 0 || h[len(h)-1].count == 0 {
		return 0
	}
	rank, low, below := q*h[len(h)-1].count, 0.0, 0.0
	for _, b := range h {
		if b.count >= rank {
			if math.IsInf(b.le, 1) {
				return time.Duration(low * float64(time.Second))
			}
			part := (rank - below) / max(b.count-below, 1)
			return time.Duration((low + (b.le-low)*part) * float64(time.Second))
		}
		low, below = b.le, b.count
	}
	return 0
}
