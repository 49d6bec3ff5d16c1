package main

import (
	"math"
	"testing"
	"time"
)

func TestQuartilesLieBetweenNeighbours(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{2, 1}, spread{1.25, 1.5, 1.75}},
		{[]float64{5, 3, 1, 4, 2}, spread{2, 3, 4}},
		{[]float64{1, 2, 3, 10}, spread{1.75, 2.5, 4.75}},
	} {
		if got := spreadOf(tc.values); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.values, got, tc.want)
		}
	}
	if s := spreadOf(nil); !math.IsNaN(s.low) || !math.IsNaN(s.mid) || !math.IsNaN(s.high) || !math.IsNaN(mean(nil)) {
		t.Errorf("of nothing: %v", s)
	}
	values := []float64{3, 1, 2}
	spreadOf(values)
	if values[0] != 3 {
		t.Error("the values were sorted: they belong to their rounds")
	}
}

func TestPercentileIsATimeThatOccurred(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tc := range []struct {
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred[:10], 99, 10},
		{hundred[:1], 50, 1},
		{nil, 99, 0},
	} {
		if got := percentile(tc.sorted, tc.p); got != tc.want {
			t.Errorf("p%d of %d: %d, want %d", tc.p, len(tc.sorted), got, tc.want)
		}
	}
}

func TestRatiosAreTakenInsideRounds(t *testing.T) {
	got := ratios([]float64{10, 60, 5, 0}, []float64{10, 30, 0, 4, 9})
	if len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("%v: a round without a figure is no round", got)
	}
}
