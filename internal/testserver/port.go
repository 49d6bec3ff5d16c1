package testserver

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports for servers come from below the range from which the kernel takes the
// ports of outgoing connections (32768 and up): a port of that range that was free
// a moment ago is soon somebody's, on a machine with thousands of connections.
const (
	firstPort = 12000
	lastPort  = 32000
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// Port answers a port of 127.0.0.1 on which nobody listens and that was not
// answered before in this process. Another process may still be faster.
func Port() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 1000 {
		p := firstPort + rand.IntN(lastPort-firstPort)
		if ports.given[p] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		ports.given[p] = true
		return p, nil
	}
	return 0, errors.New("testserver: no free port found")
}
