package testserver

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay is a TCP relay on loopback that breaks connections in chosen ways. It
// stands between a client and a real server. Methods are safe for concurrent use.
type Relay struct {
	Addr string // where clients connect

	target string
	l      net.Listener
	wg     sync.WaitGroup

	mu     sync.Mutex
	cond   *sync.Cond
	pairs  map[*pair]struct{}
	closed bool
	refuse bool          // new connections are closed at once
	hold   bool          // nothing is forwarded, in either direction
	delay  time.Duration // before each forwarded answer
	swap   []*swapSlot   // answers waiting for their counterpart
	swaps  int           // answers still to be exchanged
	edit   func([]byte) []byte
}

type pair struct{ client, server *net.TCPConn }

type swapSlot struct {
	to   *net.TCPConn
	data []byte
}

// StartRelay starts a relay to target ("host:port"). It ends with the test.
func StartRelay(t testing.TB, target string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testserver: relay: %v", err)
	}
	r := &Relay{Addr: l.Addr().String(), target: target, l: l, pairs: map[*pair]struct{}{}}
	r.cond = sync.NewCond(&r.mu)
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed, r.hold = true, false
		r.mu.Unlock()
		r.cond.Broadcast()
		_ = l.Close()
		r.drop(false)
		r.wg.Wait()
	})
	return r
}

// Cut closes every connection in good order and refuses new ones.
func (r *Relay) Cut() {
	r.set(func() { r.refuse = true })
	r.drop(false)
}

// Reset breaks every connection with RST and goes on accepting new ones.
func (r *Relay) Reset() { r.drop(true) }

// Hold accepts and keeps connections but forwards nothing: a silent network.
func (r *Relay) Hold() { r.set(func() { r.hold = true }) }

// Delay waits before forwarding each piece of an answer.
func (r *Relay) Delay(d time.Duration) { r.set(func() { r.delay = d }) }

// Restore ends Cut, Hold, Delay and SwapReplies. An answer that still waits for
// its counterpart is lost.
func (r *Relay) Restore() {
	r.set(func() { r.refuse, r.hold, r.delay, r.swaps, r.swap = false, false, 0, 0, nil })
}

// Edit changes each piece of an answer before it is forwarded. A server that
// tells its clients the addresses of others (Redis Sentinel and Cluster) can so be
// made to name relays. What is cut in two by TCP is not put together for it.
func (r *Relay) Edit(f func([]byte) []byte) { r.set(func() { r.edit = f }) }

// HalfClose tells every client that the server has finished sending, while the
// other direction stays open.
func (r *Relay) HalfClose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		_ = p.client.CloseWrite()
	}
}

// SwapReplies exchanges the next n pairs of answers between two connections:
// each client receives what the server said to the other one. An answer without
// a counterpart waits for one.
func (r *Relay) SwapReplies(n int) { r.set(func() { r.swaps = 2 * n }) }

func (r *Relay) set(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	r.cond.Broadcast()
}

func (r *Relay) drop(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		if reset {
			_ = p.client.SetLinger(0) // close then sends RST
		}
		_ = p.client.Close()
		_ = p.server.Close()
	}
}

func (r *Relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		refuse := r.refuse || r.closed
		r.mu.Unlock()
		if refuse {
			_ = c.Close()
			continue
		}
		s, err := net.DialTimeout("tcp", r.target, 5*time.Second)
		if err != nil {
			_ = c.Close()
			continue
		}
		p := &pair{client: c.(*net.TCPConn), server: s.(*net.TCPConn)}
		r.mu.Lock()
		r.pairs[p] = struct{}{}
		late := r.refuse || r.closed // Cut came in the meantime
		r.mu.Unlock()
		if late {
			_ = c.Close()
			_ = s.Close()
		}
		r.wg.Go(func() { r.run(p) })
	}
}

func (r *Relay) run(p *pair) {
	var both sync.WaitGroup
	both.Go(func() { r.copy(p.server, p.client, nil) })
	both.Go(func() { r.copy(p.client, p.server, p.client) })
	both.Wait()
	_ = p.client.Close()
	_ = p.server.Close()
	r.mu.Lock()
	delete(r.pairs, p)
	r.mu.Unlock()
}

// copy forwards until either side ends. answers is the client when this is the
// direction from the server, and nil otherwise.
func (r *Relay) copy(dst io.Writer, src io.Reader, answers *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && !r.forward(dst, buf[:n], answers) {
			return
		}
		if err != nil {
			if c, ok := dst.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
			return
		}
	}
}

// forward applies what is set to one piece of data.
func (r *Relay) forward(dst io.Writer, data []byte, answers *net.TCPConn) bool {
	r.mu.Lock()
	for r.hold && !r.closed {
		r.cond.Wait()
	}
	delay := r.delay
	if answers == nil {
		r.mu.Unlock()
		_, err := dst.Write(data)
		return err == nil
	}
	if r.edit != nil {
		data = r.edit(data)
	}
	if r.swaps > 0 {
		other := r.exchange(answers, data)
		r.mu.Unlock()
		if other != nil {
			_, _ = other.to.Write(data)
			_, _ = answers.Write(other.data)
		}
		return true
	}
	r.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	_, err := dst.Write(data)
	return err == nil
}

// exchange answers the waiting counterpart of another connection, or keeps this
// answer until there is one. Called with mu held.
func (r *Relay) exchange(to *net.TCPConn, data []byte) *swapSlot {
	for i, s := range r.swap {
		if s.to != to {
			r.swap = append(r.swap[:i], r.swap[i+1:]...)
			r.swaps -= 2
			return s
		}
	}
	r.swap = append(r.swap, &swapSlot{to: to, data: append([]byte(nil), data...)})
	return nil
}
