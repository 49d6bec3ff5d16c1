package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

const shake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// later is a script that can be told more, and whose Read fails as after a deadline while
// there is nothing.
type later struct{ script }

func (l *later) say(pieces ...string) {
	for _, p := range pieces {
		l.pieces = append(l.pieces, []byte(p))
	}
}

func (l *later) Read(b []byte) (int, error) {
	n, err := l.script.Read(b)
	if errors.Is(err, io.EOF) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// takes reads as net/http does until it has a whole head: with a large buffer.
func takes(t *testing.T, c *Conn, want string, size int) {
	t.Helper()
	var got []byte
	b := make([]byte, size)
	for len(got) < len(want) {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			t.Fatalf("%v after %.80q", err, got)
		}
	}
	if string(got) != want {
		t.Fatalf("read %.80q, want %.80q", got, want)
	}
}

// What comes behind a handshake is the tunnel's byte for byte, or a request that is held
// to every rule, whatever net/http has looked at meanwhile.
func TestBytesBehindAHandshakeAreATunnelsOrARequest(t *testing.T) {
	frame := "\x81\x85\x00\x00\x00\x00hello"
	for name, early := range map[string]string{
		"nothing": "", "a frame": frame, "text": "early", "a request": get, "half a request": "GET /a HT", "an empty line": "\r\n", "CR": "\r", "much": strings.Repeat("x", 9000),
		"two requests": get + get, "a refused request": "GET /a HTTP/1.1\nHost: a\r\n\r\n", "space": " GET", "another handshake": shake + frame,
	} {
		for _, head := range []string{shake, strings.Replace(shake, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("x", 9000)+"\r\n\r\n", 1)} {
			for _, before := range []string{"", get, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("y", 3000) + "\r\n\r\n"} {
				for _, cut := range []int{0, 1, 4096} { // 0: together
					for looks := range 3 {
						where := fmt.Sprintf("%s behind %d bytes, after %.10q, cut %d, %d looks", name, len(head), before, cut, looks)
						open := func() (*Conn, *later) {
							l := &later{}
							l.pieces = nil
							if cut == 0 {
								l.say(before + head + early)
							} else {
								for _, p := range pieces(before+head, cut) {
									l.say(string(p))
								}
								for _, p := range pieces(early, cut) {
									l.say(string(p))
								}
							}
							c := &Conn{Conn: l, limit: 64 << 10}
							takes(t, c, before+head, 4096)
							return c, l
						}
						look := func(c *Conn) (seen string) {
							for range looks {
								b := make([]byte, 1)
								n, err := c.Read(b)
								seen += string(b[:n])
								if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
									t.Fatalf("%s: %v", where, err)
								}
								if n == 1 {
									break // net/http looks no further
								}
							}
							return seen
						}
						c, l := open()
						seen := look(c)
						_, rest := Detach(c)
						unread, _ := io.ReadAll(&script{pieces: l.pieces})
						if got := seen + string(rest) + string(unread); got != early {
							t.Fatalf("%s: the tunnel gets %.80q, want %.80q", where, got, early)
						}
						// Without a tunnel: exactly as if it had come after any other request.
						c, l = open()
						seen = look(c)
						l.say(get)
						got := []byte(seen)
						b := make([]byte, 4096)
						for {
							n, err := c.Read(b)
							got = append(got, b[:n]...)
							if err != nil {
								break
							}
						}
						want, why, _ := through(4096, []byte(early+get))
						if no := c.why.Load(); (no == nil) != (why == "") || no == nil && string(got) != string(want) {
							t.Fatalf("%s: net/http gets %.80q (%v), want %.80q (%s)", where, got, no, want, why)
						}
						if why != "" && strings.Count(string(got), RefusedHost) != 1 {
							t.Fatalf("%s: refused as %.80q", where, got)
						}
					}
				}
			}
		}
	}
}

func TestAClientThatDoesNotWaitIsNotHeldForEver(t *testing.T) {
	l := &later{}
	l.say(shake, "\x81"+strings.Repeat("x", 1<<20))
	c := &Conn{Conn: l, limit: 8 << 10}
	takes(t, c, shake, 4096)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if len(c.held.b) > 16<<10 {
		t.Errorf("%d bytes are held", len(c.held.b))
	}
}

// A client that leaves before it is answered is noticed.
func TestAClientThatLeavesDuringAHandshakeIsNoticed(t *testing.T) {
	for _, early := range []string{"", "\x81", "GET"} {
		a, b := net.Pipe()
		c := &Conn{Conn: a, limit: 8 << 10}
		go func() {
			_, _ = io.WriteString(b, shake+early)
			_ = b.Close()
		}()
		takes(t, c, shake, 4096)
		one := make([]byte, 1)
		n, err := c.Read(one)
		if early == "GET" {
			if n != 1 || err != nil {
				t.Errorf("%q: %d %v", early, n, err)
			}
		} else if !errors.Is(err, io.EOF) {
			t.Errorf("%q: %d %v", early, n, err)
		}
		_ = a.SetDeadline(time.Time{})
	}
}
