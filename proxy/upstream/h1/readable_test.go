package h1

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitReadable waits until something lies on the connection, and leaves it there.
func awaitReadable(c *conn) error {
	return c.raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}
