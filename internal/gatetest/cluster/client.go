package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Call is one SCIM call as an identity provider lives it.
type Call struct {
	Node            int
	Began, Answered time.Time // first byte sent; first byte of the answer, or the failure
	Status          int       // 0: no answer
	Body            string
}

// SCIM makes one call by way of a node (-1: any). A broken connection is status 0:
// nothing was promised.
func (c *Cluster) SCIM(node int, method, path, body string) Call {
	if node < 0 {
		node = c.turn()
	}
	k := Call{Node: node}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	host := strings.TrimPrefix(c.Gateway, "http://")
	k.Began = time.Now()
	conn, err := c.Dial(ctx, node, "tcp", host)
	if err != nil {
		k.Answered, k.Body = time.Now(), err.Error()
		return k
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	k.Began = time.Now()
	_, err = fmt.Fprintf(conn, "%s /api/0/organizations/default/scim/v2%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/scim+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, host, c.Token, len(body), body)
	br := bufio.NewReader(conn)
	if err == nil {
		_, err = br.Peek(1)
	}
	k.Answered = time.Now()
	if err != nil {
		k.Body = err.Error()
		return k
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		k.Body = err.Error()
		return k
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if k.Body = string(b); err == nil {
		k.Status = resp.StatusCode
	}
	return k
}

// SetActive is the PATCH by which an identity provider deactivates and re-activates.
func (c *Cluster) SetActive(node int, id string, active bool) Call {
	return c.SCIM(node, http.MethodPatch, "/Users/"+id, fmt.Sprintf(
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":%t}}]}`, active))
}

// caller is a client that keeps its connection to one node, as a browser or a
// balancer does, and knows when the first byte of each request was sent.
type caller struct {
	c      *Cluster
	node   int
	sticky bool // stays with a process that leaves until it closes the connection
	conn   net.Conn
	at     string // the address that conn leads to
	br     *bufio.Reader
	text   []byte
}

// answerTimeout is of one request. A frozen node answers nothing; its clients
// give up and come back.
const answerTimeout = 3 * time.Second

// get sends one request. began is the moment before its first byte.
func (k *caller) get(cookies string) (began time.Time, v Verdict, body string) {
	addr := k.c.Nodes[k.node].Addr()
	if k.conn != nil && k.at != addr && !k.sticky {
		k.close() // a new process serves there
	}
	if k.conn == nil {
		conn, err := net.DialTimeout("tcp", addr, answerTimeout)
		if err != nil {
			return time.Now(), Broken, ""
		}
		k.conn, k.at, k.br = conn, addr, bufio.NewReader(conn)
	}
	k.text = append(k.text[:0], "GET /who HTTP/1.1\r\nHost: "...)
	k.text = append(k.text, strings.TrimPrefix(k.c.App, "http://")...)
	k.text = append(k.text, "\r\nAccept: application/json\r\nCookie: "...)
	k.text = append(k.text, cookies...)
	k.text = append(k.text, "\r\n\r\n"...)
	_ = k.conn.SetDeadline(time.Now().Add(answerTimeout))
	began = time.Now()
	if _, err := k.conn.Write(k.text); err != nil {
		k.close()
		return began, Broken, ""
	}
	resp, err := http.ReadResponse(k.br, nil)
	if err != nil {
		k.close()
		return began, Broken, ""
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if err != nil || resp.Close {
		k.close()
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return began, Admitted, string(b) // also when it was cut: it had begun
	case resp.StatusCode == http.StatusServiceUnavailable:
		return began, Unavailable, ""
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return began, Refused, ""
	}
	return began, Other, fmt.Sprintf("%d %s", resp.StatusCode, b)
}

func (k *caller) close() {
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}
