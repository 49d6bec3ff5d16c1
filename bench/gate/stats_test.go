package gate

import (
	"math"
	"slices"
	"testing"
)

// quartiles of figures, by linear interpolation.
func quartiles(v []float64) (q1, median, q3 float64) {
	s := slices.Sorted(slices.Values(v))
	at := func(p float64) float64 {
		if len(s) == 0 {
			return math.NaN()
		}
		x := p * float64(len(s)-1)
		lo := int(x)
		hi := min(lo+1, len(s)-1)
		return s[lo] + (x-float64(lo))*(s[hi]-s[lo])
	}
	return at(.25), at(.5), at(.75)
}

func median(v []float64) float64 { _, m, _ := quartiles(v); return m }

// latencies counts times in buckets that are 2 % wide: enough to tell a p99, and cheap
// enough for every request.
type latencies struct {
	n     int
	count [1200]int
}

func bucket(ns int64) int {
	if ns < 1000 {
		return 0
	}
	return min(int(math.Log(float64(ns)/1000)/math.Log(1.02)), 1199)
}

func (l *latencies) add(ns int64) { l.n++; l.count[bucket(ns)]++ }

func (l *latencies) merge(o *latencies) {
	l.n += o.n
	for i, c := range o.count {
		l.count[i] += c
	}
}

// at is the time in microseconds below which a share of the requests stayed.
func (l *latencies) at(share float64) float64 {
	want, seen := int(math.Ceil(share*float64(l.n))), 0
	for i, c := range l.count {
		if seen += c; seen >= want && l.n > 0 {
			return math.Pow(1.02, float64(i)+.5)
		}
	}
	return math.NaN()
}

func TestQuartiles(t *testing.T) {
	for _, c := range []struct {
		in          []float64
		q1, mid, q3 float64
	}{
		{[]float64{3, 1, 2, 5, 4}, 2, 3, 4},
		{[]float64{1, 2}, 1.25, 1.5, 1.75},
		{[]float64{7}, 7, 7, 7},
	} {
		if a, b, d := quartiles(c.in); a != c.q1 || b != c.mid || d != c.q3 {
			t.Errorf("%v: %v %v %v", c.in, a, b, d)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("no figures have a median")
	}
}

func TestLatenciesTellPercentilesWithinTheirBuckets(t *testing.T) {
	var a, b latencies
	for i := range 1000 {
		to := &a
		if i%2 == 0 {
			to = &b
		}
		to.add(int64(i+1) * 10_000) // 10 us to 10 ms
	}
	a.merge(&b)
	for share, want := range map[float64]float64{.5: 5000, .99: 9900, 1: 10000} {
		if got := a.at(share); math.Abs(got-want)/want > .03 {
			t.Errorf("%v: %v us, want about %v", share, got, want)
		}
	}
}
