package main

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// socketPath is where the gate leads to the application of WebSockets.
const socketPath = "/ws"

// startSockets runs an application that answers WebSocket handshakes and then says
// nothing.
func startSockets(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				br := bufio.NewReader(c)
				q, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				h := sha1.Sum([]byte(q.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
				_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
					base64.StdEncoding.EncodeToString(h[:]))
				_, _ = io.Copy(io.Discard, br)
			}()
		}
	}()
	return l.Addr().String(), nil
}

// handshake is the request of a WebSocket.
func (c *contestant) handshake() []byte {
	return []byte(strings.Replace(string(c.request(socketPath, c.cookie)), "\r\n\r\n", "\r\nOrigin: http://"+c.host+
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", 1))
}

// discard counts what it reads.
func discard(r io.Reader) (int64, error) { return io.Copy(io.Discard, io.LimitReader(r, 1<<20)) }

// get reads a page of one of our own processes.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(b), err
}
