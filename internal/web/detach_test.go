package web

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ssogate/ssogate/internal/clock"
)

// A detached exchange is one request in the log and in the gauge until its End,
// whichever comes first: that, or the return of its handler.
func TestDetachedExchangeIsRecordedOnceAtItsEnd(t *testing.T) {
	for _, early := range []bool{false, true} {
		var out bytes.Buffer
		now := &clock.Manual{}
		metrics, err := NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		var d Detached
		h := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d = Detach(r.Context())
			w.WriteHeader(http.StatusSwitchingProtocols)
			if early {
				d.End()
			}
		}), Options{Log: slog.New(slog.NewJSONHandler(&out, nil)), Now: now.Now, Metrics: metrics})
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/ws", nil))
		if !early {
			if out.Len() != 0 || testutil.ToFloat64(metrics.inFlight) != 1 {
				t.Errorf("recorded before its end: %s", out.String())
			}
			now.Advance(time.Hour)
			d.Annotate("cut", "revoked")
			d.End()
		}
		d.End() // twice is once
		if n := strings.Count(out.String(), "\n"); n != 1 || testutil.ToFloat64(metrics.inFlight) != 0 {
			t.Fatalf("early %t: %d records: %s", early, n, out.String())
		}
		var rec struct {
			Status   int
			Path     string
			Duration time.Duration
			Cut      string
		}
		if err := json.Unmarshal(out.Bytes(), &rec); err != nil || rec.Status != 101 || rec.Path != "/ws" {
			t.Errorf("%+v %v", rec, err)
		}
		if !early && (rec.Duration < time.Hour || rec.Cut != "revoked") {
			t.Errorf("%+v: not its whole life", rec)
		}
	}
}

func TestDetachOutsideOfAHandlerDoesNothing(*testing.T) {
	d := Detach(context.Background())
	d.Annotate("cut", "x")
	d.End()
}

// Fault 25: what runs on after the handler has nobody else to say so.
func TestAPanicAfterTheHandlerIsCountedAndLoggedLikeOneInIt(t *testing.T) {
	var log bytes.Buffer
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		defer Detach(r.Context()).End()
		Detach(r.Context()).Panicked("boom")
	}), Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: m})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if n := testutil.ToFloat64(m.panics); n != 1 {
		t.Errorf("panics_total is %v", n)
	}
	if s := log.String(); strings.Count(s, "msg=panic") != 1 || strings.Contains(s, "boom") {
		t.Errorf("want one record that does not repeat the value (L01): %s", s)
	}
	Detached{}.Panicked("boom") // outside of a Handler
}
