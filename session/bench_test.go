package session_test

import (
	"testing"
)

// BenchmarkAdmit compares a hit under the lease with the uncached read of the
// same principal (both stores in memory). The ratio within one run is what counts.
func BenchmarkAdmit(b *testing.B) {
	for _, cached := range []bool{true, false} {
		name := "cached"
		if !cached {
			name = "read"
		}
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			_, req := w.signIn(w.member("ana"))
			w.leased(req)
			if !cached {
				w.log.setFail(errDown)
				eventually(b, "the lease runs out", func() bool {
					w.store.Fail(errDown)
					defer w.store.Fail(nil)
					_, err := w.m.Admit(b.Context(), req())
					return err != nil
				})
			}
			r := req()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.m.Admit(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
