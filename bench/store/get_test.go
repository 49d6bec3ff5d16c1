package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/store/redis"
	"github.com/ssogate/ssogate/store/sql"
)

// population is the number of live sessions in the store while it is measured.
const population = 1000

func benchStores(b *testing.B, f func(b *testing.B, s session.Store, records []session.Record)) {
	b.Helper()
	stores := []struct {
		name string
		open func(b *testing.B) session.Store
	}{
		{"sqlite", func(b *testing.B) session.Store {
			d, err := sql.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "bench.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = d.Close() })
			return d.Sessions(nil, nil)
		}},
		{"redis", func(b *testing.B) session.Store {
			d, _, err := redis.Open(b.Context(), redis.Options{URL: testserver.Redis(b), Timeout: 10 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = d.Close() })
			return d.Sessions()
		}},
	}
	for _, c := range stores {
		b.Run(c.name, func(b *testing.B) {
			s := c.open(b)
			records := make([]session.Record, population)
			for i := range records {
				records[i] = sessiontest.Record(fmt.Sprint(i), member.ID(fmt.Sprint("m", i%100)), time.Now())
				if err := s.Create(b.Context(), records[i]); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			f(b, s, records)
		})
	}
}

func BenchmarkGet(b *testing.B) {
	benchStores(b, func(b *testing.B, s session.Store, records []session.Record) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				r := records[i%len(records)]
				if got, err := s.Get(b.Context(), r.Hash); err != nil || got.Member != r.Member {
					b.Errorf("get: %+v, %v", got, err)
					return
				}
			}
		})
	})
}

func BenchmarkTouch(b *testing.B) {
	benchStores(b, func(b *testing.B, s session.Store, records []session.Record) {
		for i := 0; b.Loop(); i++ {
			if err := s.Touch(b.Context(), session.Used(records[i%len(records)].Hash, time.Now())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
