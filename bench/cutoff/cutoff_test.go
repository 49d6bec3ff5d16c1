package cutoff

import (
	"fmt"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/gatetest/cluster"
)

const (
	deactivations = 200
	steady        = 5 * time.Second
)

func BenchmarkCutOff(b *testing.B) {
	bin, err := cluster.Build(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		k := cluster.Measure(b, cluster.Options{Binary: bin}, deactivations, steady)
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		b.ReportMetric(ms(k.Barriers.At(0.5)), "call-p50-ms")
		b.ReportMetric(ms(k.Barriers.At(0.99)), "call-p99-ms")
		b.ReportMetric(ms(k.Own.At(0.5)), "barrier-p50-ms")
		b.ReportMetric(ms(k.Own.At(0.99)), "barrier-p99-ms")
		for i, f := range k.LastSeen {
			b.ReportMetric(ms(f.At(0)), fmt.Sprintf("last-admitted-node%d-least-ms", i+1))
			b.ReportMetric(ms(f.At(0.5)), fmt.Sprintf("last-admitted-node%d-p50-ms", i+1))
		}
		b.ReportMetric(k.Steady.PerSecond, "requests/s")
		b.ReportMetric(k.Steady.RedisPerRequest, "redis-commands/1000req")
		b.ReportMetric(k.Steady.SQLPerRequest, "sql-statements/1000req")
		b.Log("\n" + k.Markdown())
	}
}
