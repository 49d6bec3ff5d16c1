package proxy

import (
	"errors"
	"io"
	"sync"
)

// Sizes of the buffers between two sides of a tunnel. Most WebSockets are idle
// most of the time, and then a buffer is only waiting: it is small. Data that
// fills it is read into a large one, the size of a TLS record, from a pool.
const (
	idleBuffer = 512
	busyBuffer = 16 << 10
)

var busyBuffers = sync.Pool{New: func() any { return new([busyBuffer]byte) }}

// relay copies until src ends (then it returns nil) or something breaks. The
// large buffer goes back with the first read that does not fill it, before the
// next one waits.
func relay(dst io.Writer, src io.Reader) error {
	small := make([]byte, idleBuffer)
	buf, busy := small, (*[busyBuffer]byte)(nil)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); err == nil {
				err = werr
			}
		}
		full := n == len(buf)
		if busy != nil && (!full || err != nil) {
			busyBuffers.Put(busy)
			buf, busy = small, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case full && busy == nil:
			busy, _ = busyBuffers.Get().(*[busyBuffer]byte)
			buf = busy[:]
		}
	}
}
