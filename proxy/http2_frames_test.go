package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer is an HTTP/2 client of bare frames, which may be any.
type framer struct {
	*http2.Framer
	t    *testing.T
	conn net.Conn
	dead hangUp
	buf  bytes.Buffer
	enc  *hpack.Encoder
	path string
	seen chan string // what comes back, in words; closed at the end of the connection
}

// hangUp is a writer that knows whether writing has failed: the server has hung up.
type hangUp struct {
	io.Writer
	over atomic.Bool
}

func (d *hangUp) Write(b []byte) (int, error) {
	n, err := d.Writer.Write(b)
	if err != nil {
		d.over.Store(true)
	}
	return n, err
}

// frames opens a connection and shakes hands. settings are the client's.
func (r *rig) frames(settings ...http2.Setting) *framer {
	f := r.preface(http2.ClientPreface)
	if err := f.WriteSettings(settings...); err != nil {
		r.t.Fatal(err)
	}
	_ = f.WriteSettingsAck()
	return f
}

// preface opens a connection with this as the first bytes.
func (r *rig) preface(first string) *framer {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // a test's own server
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	f := &framer{t: r.t, conn: c, path: "/h2", seen: make(chan string, 1<<16)}
	f.Framer = http2.NewFramer(&f.dead, c)
	f.dead.Writer = c
	f.AllowIllegalWrites, f.AllowIllegalReads = true, true
	f.enc = hpack.NewEncoder(&f.buf)
	if _, err := io.WriteString(c, first); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// listen puts what comes back into words, until the end.
func (f *framer) listen() {
	defer close(f.seen)
	dec := hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.seen <- "closed"
			return
		}
		switch fr := frame.(type) {
		case *http2.GoAwayFrame:
			f.seen <- "goaway " + fr.ErrCode.String()
		case *http2.RSTStreamFrame:
			f.seen <- "reset " + fr.ErrCode.String()
		case *http2.HeadersFrame:
			fields, _ := dec.DecodeFull(fr.HeaderBlockFragment())
			for _, h := range fields {
				if h.Name == ":status" {
					f.seen <- "status " + h.Value
				}
			}
		case *http2.PingFrame:
			f.seen <- fmt.Sprintf("ping %t", fr.IsAck())
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				continue
			}
			f.seen <- "settings ack"
		}
	}
}

// until waits for one of these words; what else comes is dropped.
func (f *framer) until(want ...string) string {
	for {
		select {
		case got, ok := <-f.seen:
			if !ok {
				return "closed"
			}
			if slices.Contains(want, got) || got == "closed" {
				return got
			}
		case <-time.After(10 * time.Second):
			return "nothing"
		}
	}
}

// block encodes fields: name, value, name, value.
func (f *framer) block(fields ...string) []byte {
	f.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(f.buf.Bytes())
}

// request is a whole good request's header block, with more fields.
func (f *framer) request(more ...string) []byte {
	return f.block(append([]string{":method", "GET", ":scheme", "https", ":path", f.path, ":authority", appHost, "cookie", cookieName + "=ana"}, more...)...)
}

// here replaces the path "/h2/*" by the framer's own.
func (f *framer) here(fields []string) []string {
	out := slices.Clone(fields)
	for i := range out {
		out[i] = strings.Replace(out[i], "/h2/*", f.path, 1)
	}
	return out
}

func (f *framer) headers(id uint32, end bool, block []byte) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: true, BlockFragment: block})
}

func raw32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
