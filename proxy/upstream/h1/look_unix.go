//go:build unix

package h1

import (
	"errors"
	"syscall"
)

const canLook = true

// lookOnce tries to read one byte without waiting. Whatever it finds, other than
// nothing, ends the connection, so it does not matter that the byte is gone. It
// always answers true: the poller must not wait until something comes.
func (c *conn) lookOnce(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), c.one[:])
		if n < 0 && errors.Is(err, syscall.EINTR) {
			continue
		}
		c.quiet = n < 0 && errors.Is(err, syscall.EAGAIN)
		return true
	}
}
