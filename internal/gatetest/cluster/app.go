package cluster

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// Site is the application behind the gateway: it says whom it was told, echoes
// on a WebSocket, and speaks to its event streams when the test wants it to.
type Site struct {
	mux *http.ServeMux

	mu      sync.Mutex
	streams map[chan string]struct{}
}

func newSite() *Site {
	s := &Site{mux: http.NewServeMux(), streams: map[chan string]struct{}{}}
	s.mux.HandleFunc("GET /who", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Preferred-Username"))
	})
	s.mux.HandleFunc("GET /ws", echo)
	s.mux.HandleFunc("GET /events", s.events)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func echo(w http.ResponseWriter, r *http.Request) {
	// The gateway has checked the origin; here the Host is the upstream's.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, b) != nil {
			return
		}
	}
}

func (s *Site) events(w http.ResponseWriter, r *http.Request) {
	said := make(chan string, 64)
	s.mu.Lock()
	s.streams[said] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, said)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	for text := "open"; ; {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case text = <-said:
		}
	}
}

// Say sends an event on every open stream. One that does not take it is closed
// or stuck, which its reader notices.
func (s *Site) Say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.streams {
		select {
		case c <- text:
		default:
		}
	}
}
