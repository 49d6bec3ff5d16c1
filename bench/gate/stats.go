package main

import (
	"math"
	"slices"
	"time"
)

// spread is the middle of some values and what half of them lie between.
type spread struct{ low, mid, high float64 }

// spreadOf sorts a copy. Of nothing it is NaN.
func spreadOf(values []float64) spread {
	v := slices.Clone(values)
	slices.Sort(v)
	return spread{quantile(v, 0.25), quantile(v, 0.5), quantile(v, 0.75)}
}

// quantile of sorted values, between neighbours in proportion (type 7 of Hyndman and Fan).
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// percentile is the smallest of sorted times that so many percent do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// ratios divides round by round. Rounds in which either has nothing are left out.
func ratios(of, by []float64) []float64 {
	var out []float64
	for i := range min(len(of), len(by)) {
		if of[i] > 0 && by[i] > 0 {
			out = append(out, of[i]/by[i])
		}
	}
	return out
}

// mean is for what is rare: of most rounds a median would be nothing.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values)) // of nothing it is NaN
}
