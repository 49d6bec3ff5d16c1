package proxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ssogate/ssogate/session"
)

// cutError is the cause of a context that we cancelled.
type cutError struct {
	code   uint16 // WebSocket close code
	text   string // for the close frame; shown by developer tools, so no names
	reason string // for log and metrics
}

func (e *cutError) Error() string { return "proxy: cut off: " + e.reason }

// membership says in which list a link is.
type membership int

const (
	inSession membership = iota
	inMember
)

type link struct {
	group      *group
	prev, next *flight
}

// flight is one admitted request from before its dispatch to the end of its
// handler, whatever it turns into.
type flight struct {
	live    *Live
	p       *session.Principal // nil on a public path
	w       http.ResponseWriter
	conn    net.Conn // the client's connection where it serves this request alone (HTTP/1), or nil
	cancel  context.CancelCauseFunc
	recheck func(ctx context.Context) answer // nil on a public path
	ask     string                           // flights with the same session and ask share an answer
	links   [2]link                          // guarded by live.mu

	mu     sync.Mutex
	cause  *cutError
	tunnel *tunnel
	stream bool // an event stream
	left   bool // the handler is done; w and conn are no longer ours
	gone   chan struct{}
}

// cut begins to end the flight and returns a channel that closes when its
// handler has left. The first cause stays.
func (f *flight) cut(why *cutError) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone == nil {
		f.gone = make(chan struct{})
		if f.left {
			close(f.gone)
		}
	}
	if f.left || f.cause != nil {
		return f.gone
	}
	f.cause = why
	if f.tunnel != nil {
		go f.tunnel.end(why, f.cancel)
		return f.gone
	}
	// Cancelling stops the exchange with the application. The client's side may
	// hang in a read (upload) or write (a peer that does not read): deadlines in
	// the past end those. The lock keeps them off the next request of a kept
	// connection. What the kernel holds for a peer that reads slowly is dropped.
	f.cancel(why)
	if f.conn != nil {
		resetOnClose(f.conn)
	}
	rc, past := http.NewResponseController(f.w), time.Unix(1, 0)
	_ = rc.SetReadDeadline(past)
	_ = rc.SetWriteDeadline(past)
	return f.gone
}

// force tears the client's connection down when the handler did not leave.
func (f *flight) force() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.left:
	case f.tunnel != nil:
		resetOnClose(f.tunnel.Conn)
		_ = f.tunnel.Conn.Close()
	case f.conn != nil:
		resetOnClose(f.conn)
		_ = f.conn.Close()
	}
}

// leave ends the registration. Call exactly once, deferred by the handler.
func (f *flight) leave() {
	f.live.leave(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tunnel != nil {
		f.live.metrics.tunnels.Dec()
	}
	f.left = true
	if f.gone != nil {
		close(f.gone)
	}
}

// cutCause is why we ended the flight, or nil.
func (f *flight) cutCause() *cutError {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

func (f *flight) isStream() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stream || f.tunnel != nil
}

var errDraining = errors.New("proxy: shutting down")

// becomeStream marks an event stream, unless streams are being closed.
func (f *flight) becomeStream() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live.draining.Load() {
		return errDraining
	}
	f.stream = true
	return nil
}

// hijack takes the connection over as a tunnel. One lock with cut and with
// Shutdown: whoever comes second sees the other.
func (f *flight) hijack() (net.Conn, *bufio.ReadWriter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return nil, nil, f.cause
	}
	if f.live.draining.Load() {
		return nil, nil, errDraining
	}
	c, rw, err := http.NewResponseController(f.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t := newTunnel(c, rw.Reader)
	f.tunnel = t
	f.live.metrics.tunnels.Inc()
	return t, bufio.NewReadWriter(rw.Reader, bufio.NewWriter(handshake{t})), nil
}

func (f *flight) link(in membership, g *group) {
	l := &f.links[in]
	l.group, l.next = g, g.head
	if g.head != nil {
		g.head.links[in].prev = f
	}
	g.head = f
	g.n++
}

func (f *flight) unlink(in membership) {
	l := &f.links[in]
	if l.prev != nil {
		l.prev.links[in].next = l.next
	} else {
		l.group.head = l.next
	}
	if l.next != nil {
		l.next.links[in].prev = l.prev
	}
	l.group.n--
	*l = link{}
}

// answer is what asking again said. The zero value is no answer.
type answer int

const (
	unknown answer = iota
	allowed
	denied
)

// maxAsking bounds how many questions a recheck puts at once: each may cost a
// read of the stores.
const maxAsking = 8

// refused keeps the flights whose route now refuses their person. One question
// is put per session and route. Where it cannot be answered, streams count as
// refused (nothing would ever ask again), other requests may finish.
func refused(ctx context.Context, fs []*flight) []*flight {
	type question struct {
		session [32]byte
		ask     string
	}
	asked := map[question]int{}
	var first []*flight
	for _, f := range fs {
		q := question{f.p.Session, f.ask}
		if _, ok := asked[q]; !ok {
			asked[q] = len(first)
			first = append(first, f)
		}
	}
	answers := make([]answer, len(first))
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxAsking)
	for i, f := range first {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if f.recheck != nil {
				answers[i] = f.recheck(ctx)
			}
		})
	}
	wg.Wait()
	var out []*flight
	for _, f := range fs {
		switch answers[asked[question{f.p.Session, f.ask}]] {
		case allowed:
		case denied:
			out = append(out, f)
		default:
			if f.isStream() {
				out = append(out, f)
			}
		}
	}
	return out
}
