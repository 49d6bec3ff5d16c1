package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

// Options of [Listen]. The zero value is plain HTTP with the defaults named.
type Options struct {
	HeaderBytes int           // of one request, default 64 KiB; http.Server.MaxHeaderBytes must not be less
	TLS         *tls.Config   // nil is plain; without NextProtos it offers HTTP/2
	Handshake   time.Duration // that one may take, default 10s
	ErrorLog    *log.Logger   // of failed handshakes; nil discards
}

// Listen wraps a public listener: http.Server.Serve, not ServeTLS, is given the result.
// With TLS it shakes hands by itself, because net/http must be given HTTP/2 connections
// as they are and the others wrapped, and which is which is known only afterwards.
func Listen(l net.Listener, o Options) net.Listener {
	if o.HeaderBytes <= 0 {
		o.HeaderBytes = 64 << 10
	}
	if o.Handshake <= 0 {
		o.Handshake = 10 * time.Second
	}
	if o.TLS == nil {
		return &plainListener{l, o}
	}
	o.TLS = o.TLS.Clone()
	if len(o.TLS.NextProtos) == 0 {
		o.TLS.NextProtos = []string{"h2", "http/1.1"}
	}
	t := &tlsListener{Listener: l, o: o, out: make(chan accepted)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

func (o *Options) conn(c net.Conn) Conn {
	return Conn{Conn: c, limit: int32(min(o.HeaderBytes, 1<<30))} //nolint:gosec // bounded
}

type plainListener struct {
	net.Listener
	o Options
}

// Accept implements net.Listener.
func (l *plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{l.o.conn(c)}, nil
}

// tlsListener has a goroutine that accepts and one for each handshake that runs.
type tlsListener struct {
	net.Listener
	o    Options
	out  chan accepted
	once sync.Once
	ctx  context.Context //nolint:containedctx // ends the handshakes when the listener closes
	stop context.CancelFunc
}

type accepted struct {
	c   net.Conn
	err error
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	l.once.Do(func() { go l.run() })
	select {
	case a := <-l.out:
		return a.c, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Handshakes that run are broken off: nothing was asked
// over them yet.
func (l *tlsListener) Close() error {
	l.stop()
	return l.Listener.Close()
}

func (l *tlsListener) run() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			// net/http waits between calls when it may be over soon; so do we, by waiting for
			// the next call.
			l.hand(nil, err)
			if errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil {
				return
			}
			continue
		}
		go l.shake(c)
	}
}

func (l *tlsListener) hand(c net.Conn, err error) {
	select {
	case l.out <- accepted{c, err}:
	case <-l.ctx.Done():
		if c != nil {
			_ = c.Close()
		}
	}
}

func (l *tlsListener) shake(raw net.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Handshake)
	defer cancel()
	c := tls.Server(raw, l.o.TLS)
	if err := c.HandshakeContext(ctx); err != nil {
		l.failed(raw, err)
		return
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		l.hand(c, nil)
		return
	}
	l.hand(&secureConn{l.o.conn(c)}, nil)
}

// failed closes, and helps a person who wrote http for https, as net/http does.
func (l *tlsListener) failed(raw net.Conn, err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		_ = raw.SetWriteDeadline(time.Now().Add(time.Second)) // socket deadlines are on the real clock
		_, _ = io.WriteString(raw, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis address is https.\n")
	}
	if l.o.ErrorLog != nil && l.ctx.Err() == nil {
		l.o.ErrorLog.Printf("wire: TLS handshake with %s: %v", raw.RemoteAddr(), err)
	}
	_ = raw.Close()
}

func looksLikeHTTP(h [5]byte) bool {
	switch string(h[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

var _ net.Listener = (*tlsListener)(nil)
