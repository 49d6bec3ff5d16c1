package session

import (
	"testing"
	"time"
)

func TestAClockSetBackLengthensNothing(t *testing.T) {
	day := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	wall, passed := day, time.Duration(0)
	now := steady(func() time.Time { return wall }, func() time.Duration { return 7*time.Hour + passed })
	for _, tt := range []struct {
		why    string
		wall   time.Time
		passed time.Duration
		want   time.Time
	}{
		{"in step", day.Add(time.Hour), time.Hour, day.Add(time.Hour)},
		{"K06: set back by a day; two hours have passed all the same", day.Add(-22 * time.Hour), 2 * time.Hour, day.Add(2 * time.Hour)},
		{"set forward: followed", day.Add(30 * time.Hour), 3 * time.Hour, day.Add(30 * time.Hour)},
		{"corrected again: no less than what has passed", day.Add(4 * time.Hour), 4 * time.Hour, day.Add(4 * time.Hour)},
	} {
		wall, passed = tt.wall, tt.passed
		if got := now(); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}
