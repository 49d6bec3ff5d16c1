package cluster

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Stream is a WebSocket or an event stream by way of one node.
type Stream struct {
	Node int
	Kind string // "WebSocket" or "event stream"

	ws     *websocket.Conn
	cancel context.CancelFunc
	closed chan struct{}

	mu    sync.Mutex
	heard map[string]bool
	at    time.Time // when its end arrived
	code  websocket.StatusCode
}

// OpenStreams opens one of each kind by way of a node.
func (c *Cluster) OpenStreams(node int, cookies string) ([]*Stream, error) {
	ws, err := c.OpenSocket(node, cookies)
	if err != nil {
		return nil, err
	}
	sse, err := c.OpenEvents(node, cookies)
	if err != nil {
		ws.Close()
		return nil, err
	}
	return []*Stream{ws, sse}, nil
}

// OpenSocket opens the application's WebSocket and waits for one echo.
func (c *Cluster) OpenSocket(node int, cookies string) (*Stream, error) {
	s, ctx := newStream(node, "WebSocket")
	client := &http.Client{Transport: c.Transport(node)}
	dial, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ws, _, err := websocket.Dial(dial, strings.Replace(c.App, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Cookie": {cookies}, "Origin": {c.App}},
	})
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.ws = ws
	if err = ws.Write(dial, websocket.MessageText, []byte("open")); err == nil {
		_, _, err = ws.Read(dial)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	go func() {
		defer s.end()
		for {
			_, b, err := ws.Read(ctx)
			if err != nil {
				s.mu.Lock()
				s.code = websocket.CloseStatus(err)
				s.mu.Unlock()
				return
			}
			s.hear(string(b))
		}
	}()
	return s, nil
}

// OpenEvents opens the application's event stream and waits for its first event.
func (c *Cluster) OpenEvents(node int, cookies string) (*Stream, error) {
	s, ctx := newStream(node, "event stream")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.App+"/events", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cookie", cookies)
	req.Header.Set("Accept", "text/event-stream")
	late := time.AfterFunc(answerTimeout, s.cancel)
	resp, err := (&http.Client{Transport: c.Transport(node)}).Do(req)
	if err != nil {
		s.cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		s.cancel()
		return nil, statusError(resp.StatusCode)
	}
	br := bufio.NewReader(resp.Body)
	if _, err = br.ReadString('\n'); err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		_ = resp.Body.Close()
		s.cancel()
		return nil, err
	}
	go func() {
		defer s.end()
		defer func() { _ = resp.Body.Close() }()
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
				s.hear(text)
			}
		}
	}()
	return s, nil
}

type statusError int

func (e statusError) Error() string { return http.StatusText(int(e)) }

func newStream(node int, kind string) (*Stream, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &Stream{Node: node, Kind: kind, cancel: cancel, closed: make(chan struct{}), heard: map[string]bool{}}, ctx
}

func (s *Stream) hear(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[text] = true
}

func (s *Stream) end() {
	s.mu.Lock()
	s.at = time.Now()
	s.mu.Unlock()
	close(s.closed)
}

// Heard reports whether the application's word came through.
func (s *Stream) Heard(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[text]
}

// Tell sends a word to the application, which echoes it. On a stream that can
// only listen it does nothing: there the Site speaks.
func (s *Stream) Tell(text string) {
	if s.ws == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	_ = s.ws.Write(ctx, websocket.MessageText, []byte(text)) // closed: that is what is wanted
}

// Ended waits at most so long for the end, and answers when it arrived and with
// which WebSocket code (-1: none).
func (s *Stream) Ended(within time.Duration) (at time.Time, code websocket.StatusCode, ok bool) {
	select {
	case <-s.closed:
	case <-time.After(within):
		return time.Time{}, 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.code, true
}

// Close leaves from our side.
func (s *Stream) Close() {
	s.cancel()
	if s.ws != nil {
		_ = s.ws.CloseNow()
	}
}
