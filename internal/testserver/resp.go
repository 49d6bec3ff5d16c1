package testserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Do sends one command to the server and answers its reply: a string, an
// integer in decimal, or the parts of an array, each on a line of its own. An
// error reply is an error. Unless the server belongs to sentinels it logs in as
// nobody, so its default user must be allowed to do it.
func (s *RedisServer) Do(args ...string) (string, error) {
	return respDo(s.Addr, s.tls, s.login, args)
}

// respDo speaks RESP2 by hand, so that this package needs no client. It opens a
// connection for every command: what is asked here is asked rarely.
func respDo(addr string, conf *tls.Config, login *url.Userinfo, args []string) (string, error) {
	const limit = 3 * time.Second // a frozen server must not freeze the test
	c, err := respDial(addr, conf, limit)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(limit))
	r := bufio.NewReader(c)
	if login != nil {
		password, _ := login.Password()
		if _, err := respAsk(c, r, []string{"AUTH", login.Username(), password}); err != nil {
			return "", err
		}
	}
	return respAsk(c, r, args)
}

func respAsk(c net.Conn, r *bufio.Reader, args []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", err
	}
	return respRead(r)
}

func respDial(addr string, conf *tls.Config, limit time.Duration) (net.Conn, error) {
	d := &net.Dialer{Timeout: limit}
	if conf == nil {
		return d.Dial("tcp", addr)
	}
	return tls.DialWithDialer(d, "tcp", addr, conf)
}

func respRead(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	switch rest := line[1:]; line[0] {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", err // nil is ""
		}
		buf := make([]byte, n+2)
		if _, err := io.ReadFull(r, buf); err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	case '*':
		n, err := strconv.Atoi(rest)
		if err != nil {
			return "", err
		}
		parts := make([]string, 0, max(n, 0))
		for range n {
			p, err := respRead(r)
			if err != nil {
				return "", err
			}
			parts = append(parts, p)
		}
		return strings.Join(parts, "\n"), nil
	default:
		return "", fmt.Errorf("reply %q", line)
	}
}
