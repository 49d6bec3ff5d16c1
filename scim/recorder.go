package scim

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/scim/record"
)

// Sizes of the recorder.
const (
	recorderQueue = 4096 // entries that wait for the store
	recorderBatch = 500
	recorderEvery = 250 * time.Millisecond // how long one waits at most
	recorderWrite = 10 * time.Second       // for one batch
)

// Recorder keeps the flight recorder: it takes entries without ever making a
// request wait, and writes them in batches. What it cannot keep it counts, and
// records the count. It is for people; the audit log, written with each change,
// is the authority. Safe for concurrent use.
type Recorder struct {
	store   record.Log
	now     clock.Func
	log     *slog.Logger
	queue   chan record.Entry
	dropped atomic.Int64
	lost    prometheus.Counter
}

// NewRecorder makes a recorder; run it with [Recorder.Run]. A nil clock is
// time.Now, a nil registry registers nothing.
func NewRecorder(store record.Log, now clock.Func, log *slog.Logger, reg prometheus.Registerer) (*Recorder, error) {
	r := &Recorder{
		store: store, now: now, log: log, queue: make(chan record.Entry, recorderQueue),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scim_recorder_lost_total", Help: "SCIM requests that the flight recorder could not keep.",
		}),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if reg != nil {
		if err := reg.Register(r.lost); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Record takes an entry. A full queue drops it: provisioning goes on.
func (r *Recorder) Record(e record.Entry) {
	e.ID = record.EntryID(e.Time, rand.Uint32()) //nolint:gosec // only to be different
	select {
	case r.queue <- e:
	default:
		r.lose(1)
	}
}

func (r *Recorder) lose(n int) {
	r.dropped.Add(int64(n))
	r.lost.Add(float64(n))
}

// Run writes until ctx ends, and then what is left.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(recorderEvery)
	defer tick.Stop()
	batch := make([]record.Entry, 0, recorderBatch)
	flush := func() {
		r.write(ctx, batch)
		batch = batch[:0]
	}
	for {
		select {
		case e := <-r.queue:
			if batch = append(batch, e); len(batch) == recorderBatch {
				flush()
			}
		case <-tick.C:
			flush()
		case <-ctx.Done():
			for {
				select {
				case e := <-r.queue:
					batch = append(batch, e)
				default:
					flush()
					return
				}
			}
		}
	}
}

func (r *Recorder) write(ctx context.Context, batch []record.Entry) {
	kept, missed := len(batch), r.dropped.Swap(0)
	if missed > 0 {
		at := r.now()
		batch = append(batch, record.Entry{
			ID: record.EntryID(at, rand.Uint32()), Time: at, Client: "ssogate", //nolint:gosec // only to be different
			Meaning: itoa(int(missed)) + " requests before this moment were not recorded: the recorder could not keep up",
		})
	}
	if len(batch) == 0 {
		return
	}
	// What was taken before a stop is written after it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recorderWrite)
	defer cancel()
	if err := r.store.AppendLog(ctx, batch); err != nil {
		r.dropped.Add(missed) // said with the next batch
		r.lose(kept)
		r.log.WarnContext(ctx, "scim requests were not recorded", "requests", kept, "err", err)
	}
}
