package mail

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/secret"
)

// Row is a letter in the outbox. Sealed holds its content.
type Row struct {
	ID       string
	Sealed   []byte
	Attempts int // this one included
	Created  time.Time
}

// Outbox keeps letters until they are sent. store/sql is the real one. Several
// nodes work on it: a row that was claimed is left alone by others until the
// lease ends, and answers of a claim that was lost change nothing.
type Outbox interface {
	// ClaimMail answers at most n rows that are due, and so few that no more than
	// rate are tried in any minute, on all nodes together. Rows that nobody needs
	// any more are dropped on the way.
	ClaimMail(ctx context.Context, claim string, now time.Time, lease time.Duration, rate, n int) ([]Row, error)
	MailSent(ctx context.Context, id, claim string, at time.Time) error
	MailLater(ctx context.Context, id, claim string, due time.Time, reason string) error
	MailFailed(ctx context.Context, id, claim, reason string, at time.Time) error
	// SweepMail removes what ended before a moment.
	SweepMail(ctx context.Context, before time.Time) (int, error)
	QueuedMail(ctx context.Context) (int, error)
}

// Sender delivers a letter. [SMTP] is the real one.
type Sender interface {
	Send(ctx context.Context, l Letter) error
}

// Times of the worker.
const (
	pollEvery = 500 * time.Millisecond
	lease     = 5 * time.Minute // of a claim: several deliveries, see lastStart
	// lastStart is how old a claim may be when a letter is begun: one delivery at its
	// slowest still ends before another node may send the letter again.
	lastStart = lease - dialTime - sendTime - 10*time.Second
	giveUp    = 72 * time.Hour // from when the letter was written
	firstWait = time.Minute    // doubled with each try
	longest   = time.Hour
	atOnce    = 10 // rows of one claim
	// stopGrace is how long the letter under way may take when the process stops;
	// the whole stop has less than 30 s.
	stopGrace = 3 * time.Second
)

// WorkerOptions are what a worker works with. All are required except Rate, Now
// and Registry.
type WorkerOptions struct {
	Outbox Outbox
	Sender Sender
	// Open makes the letter of a row. An error fails the row for good.
	Open     func(Row) (Letter, error)
	Rate     int // letters a minute, on all nodes together; 0 = 60
	Now      func() time.Time
	Log      *slog.Logger
	Registry prometheus.Registerer
}

// Worker empties the outbox. Run one on each node.
type Worker struct {
	WorkerOptions
	results *prometheus.CounterVec
	queued  prometheus.Gauge
}

// NewWorker makes a worker.
func NewWorker(o WorkerOptions) (*Worker, error) {
	if o.Outbox == nil || o.Sender == nil || o.Open == nil || o.Log == nil {
		return nil, errors.New("mail: worker needs all of its parts")
	}
	if o.Rate == 0 {
		o.Rate = 60
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Worker{
		WorkerOptions: o,
		results:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mail_letters_total", Help: "Letters by what became of a try."}, []string{"result"}),
		queued:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "mail_queued", Help: "Letters that wait. It grows while the SMTP server is down (fault 27)."}),
	}
	if o.Registry != nil {
		for _, c := range []prometheus.Collector{w.results, w.queued} {
			if err := o.Registry.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// Run works until ctx ends. The letter under way then has a few seconds; what is
// cut off, or was not begun, is sent later by whoever comes next.
func (w *Worker) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for w.Once(ctx) > 0 && ctx.Err() == nil {
		}
	}
}

// Once sends what is due now, as far as the rate allows, and answers how many
// letters it tried.
func (w *Worker) Once(ctx context.Context) int {
	claim, began := secret.NewToken(), w.Now()
	rows, err := w.Outbox.ClaimMail(ctx, claim, began, lease, w.Rate, atOnce)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.WarnContext(ctx, "outbox cannot be read; tried again", "err", err)
		}
		return 0
	}
	notes := context.WithoutCancel(ctx)
	work, cancel := context.WithCancel(notes)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	for _, row := range rows {
		var why string
		switch {
		case ctx.Err() != nil:
			why = "this node was stopped"
		case w.Now().Sub(began) > lastStart:
			why = "the letters before it took long"
		default:
			w.deliver(work, notes, claim, row)
			continue
		}
		if err := w.Outbox.MailLater(notes, row.ID, claim, w.Now(), why); err != nil {
			w.Log.WarnContext(notes, "a letter waits for the end of its lease", "letter", row.ID, "err", err)
		}
	}
	if n, err := w.Outbox.QueuedMail(notes); err == nil {
		w.queued.Set(float64(n))
	}
	return len(rows)
}

// deliver sends one letter, for as long as work lasts, and notes what became of it.
func (w *Worker) deliver(work, ctx context.Context, claim string, row Row) {
	var permanent *PermanentError
	l, err := w.Open(row)
	if err == nil {
		err = w.Sender.Send(work, l)
	} else {
		err = &PermanentError{err}
	}
	now := w.Now()
	result := "sent"
	var note error
	switch {
	case err == nil:
		note = w.Outbox.MailSent(ctx, row.ID, claim, now)
	case errors.As(err, &permanent) || now.Sub(row.Created) >= giveUp:
		result = "failed"
		note = w.Outbox.MailFailed(ctx, row.ID, claim, reason(err), now)
		w.Log.WarnContext(ctx, "a letter could not be delivered", "letter", row.ID, "attempts", row.Attempts, "reason", reason(err))
	default:
		result = "later"
		note = w.Outbox.MailLater(ctx, row.ID, claim, now.Add(wait(row.Attempts)), reason(err))
		w.Log.InfoContext(ctx, "a letter is sent later", "letter", row.ID, "attempts", row.Attempts, "reason", reason(err))
	}
	w.results.WithLabelValues(result).Inc()
	if note != nil {
		// The lease ends and another try is made: with the same Message-ID.
		w.Log.WarnContext(ctx, "what became of a letter was not noted", "letter", row.ID, "result", result, "err", note)
	}
}

// wait grows with each try, with jitter so that a queue does not come back at once.
func wait(attempts int) time.Duration {
	d := firstWait << min(max(attempts-1, 0), 10)
	d = min(d, longest)
	return d/2 + rand.N(d/2) //nolint:gosec // nothing secret depends on it
}

// reason is what is kept of an error for people: the server's words, one line,
// without the address that is part of many answers.
func reason(err error) string {
	s := addresses.ReplaceAllString(oneLine(err.Error()), "<…>")
	if len(s) > 300 {
		s = s[:300]
	}
	return s
}
