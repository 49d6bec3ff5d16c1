package proxy

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// crowd registers n flights of n/2 members, each with a session.
func crowd(b *testing.B, l *Live, n int) {
	b.Helper()
	for i := range n {
		if err := l.enter(bareFlight(l, i/2)); err != nil {
			b.Fatal(err)
		}
	}
}

func bareFlight(l *Live, person int) *flight {
	ctx := &carried{}
	ctx.begin(context.Background(), nil)
	return &flight{live: l, w: httptest.NewRecorder(), ctx: ctx, p: &session.Principal{
		Session: secret.Sum(fmt.Sprint(person)), Expires: time.Now().Add(time.Hour),
		Member: member.Member{ID: member.ID(fmt.Sprintf("m%d", person)), Epoch: 1},
	}}
}

// BenchmarkCut ends the two requests of one member among few and among 20,000.
// The ratio of the two is what matters: it stays near 1, because nobody else's
// are looked at.
func BenchmarkCut(b *testing.B) {
	times := map[int]float64{}
	for _, n := range []int{20, 20_000} {
		b.Run(fmt.Sprintf("of-%d", n), func(b *testing.B) {
			l, err := NewLive(LiveOptions{Total: n + 2, Sweep: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			crowd(b, l, n)
			row := endMember("m1000000", 2)
			for b.Loop() {
				b.StopTimer()
				one, two := bareFlight(l, 1_000_000), bareFlight(l, 1_000_000)
				for _, f := range []*flight{one, two} {
					if err := l.enter(f); err != nil {
						b.Fatal(err)
					}
					f.ctx.AfterFunc(f.leave) // a handler that leaves when it is cancelled
				}
				b.StartTimer()
				l.Cut(context.Background(), row)
			}
			times[n] = float64(b.Elapsed()) / float64(b.N)
			if times[20] > 0 {
				b.ReportMetric(times[n]/times[20], "x-of-20")
			}
		})
	}
}

// BenchmarkSweep looks for expired sessions among 20,000 of 10,000 people, none
// of which has expired.
func BenchmarkSweep(b *testing.B) {
	l, err := NewLive(LiveOptions{Sweep: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	crowd(b, l, 20_000)
	for b.Loop() {
		l.sweep()
	}
}
