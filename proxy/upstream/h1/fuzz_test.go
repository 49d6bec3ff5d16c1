package h1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// spoken is a connection on which an application has said everything already.
type spoken struct{ r *bytes.Reader }

func (c *spoken) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *spoken) Write(p []byte) (int, error)      { return len(p), nil }
func (c *spoken) Close() error                     { return nil }
func (c *spoken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *spoken) SetDeadline(time.Time) error      { return nil }
func (c *spoken) SetReadDeadline(time.Time) error  { return nil }
func (c *spoken) SetWriteDeadline(time.Time) error { return nil }

// Whatever an application says: where we take an answer, net/http takes the same one,
// with the same content, and no panic or read without an end comes of it.
func FuzzAnswer(f *testing.F) {
	for _, k := range append(framings(), heads()...) {
		if len(k.answer[0]) < 4<<10 {
			f.Add([]byte(k.answer[0]), k.method == "HEAD")
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		x := &exchange{t: New(Options{Dial: dialTo("")}), c: newConn(&spoken{bytes.NewReader(said)}, time.Now())}
		x.c.in.acquire()
		x.req = request(t, method, "/", nil)
		if err := x.receive(); err != nil {
			return
		}
		mine, myErr := io.ReadAll(x.res.Body)
		br := bufio.NewReader(bytes.NewReader(said))
		for {
			res, err := http.ReadResponse(br, x.req)
			if err != nil {
				t.Fatalf("%q: %d here, %v there", said, x.res.StatusCode, err)
			}
			if res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
				continue
			}
			theirs, err := io.ReadAll(res.Body)
			if res.StatusCode != x.res.StatusCode || (err != nil) && myErr == nil || err == nil && myErr == nil && !bytes.Equal(mine, theirs) {
				t.Fatalf("%q:\nhere  %d %q %v\nthere %d %q %v", said, x.res.StatusCode, mine, myErr, res.StatusCode, theirs, err)
			}
			return
		}
	})
}
