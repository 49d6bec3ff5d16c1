package cluster

import (
	"math"
	"testing"
	"time"
)

func TestHistogramAnswersQuantilesOfWhatCameSince(t *testing.T) {
	before := Histogram{{0.01, 5}, {0.05, 5}, {math.Inf(1), 5}}
	h := Histogram{{0.01, 55}, {0.05, 104}, {math.Inf(1), 105}}.since(before)
	for _, tt := range []struct {
		q    float64
		want time.Duration
		why  string
	}{
		{0.25, 5 * time.Millisecond, "evenly spread within the first bucket"},
		{0.5, 10 * time.Millisecond, "its end"},
		{0.99, 50 * time.Millisecond, "the last bucket with an end"},
		{1, 50 * time.Millisecond, "what lies beyond all buckets is at least the last end"},
	} {
		if got := h.At(tt.q).Round(time.Microsecond); got != tt.want {
			t.Errorf("%s: At(%v) = %v, want %v", tt.why, tt.q, got, tt.want)
		}
	}
	if got := (Histogram{}).At(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
