package h1

import (
	"bytes"
	"errors"
	"io"
)

// step is what must come next in a chunked body (RFC 9112 section 7.1).
type step uint8

const (
	chunkSize step = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// readChunked reads data until p is full or the next byte would have to be waited
// for.
func (x *exchange) readChunked(p []byte) (n int, err error) {
	b, in := &x.body, &x.c.in
	for {
		// With data in hand, only what is there already is looked at: the end, if it
		// has arrived, is then answered together with the data.
		if n > 0 && !x.stepArrived() {
			return n, nil
		}
		switch b.step {
		case chunkSize:
			if err := x.chunkLine(); err != nil {
				return n, early(err)
			}
		case chunkData:
			if n == len(p) {
				return n, nil
			}
			part := p[n:]
			if int64(len(part)) > b.left {
				part = part[:b.left]
			}
			m, err := x.readAny(part)
			n += m
			if b.left -= int64(m); b.left == 0 {
				b.step = chunkEnd
			}
			if err != nil {
				return n, early(err)
			}
		case chunkEnd:
			if err := x.need(2); err != nil {
				return n, early(err)
			}
			if in.b[in.r] != '\r' || in.b[in.r+1] != '\n' {
				return n, errChunk
			}
			in.r += 2
			b.step = chunkSize
		case chunkTrailers:
			x.patient()
			if err := x.trailers(); err != nil {
				return n, err
			}
			return n, io.EOF
		}
	}
}

// stepArrived reports that the next step would not wait.
func (x *exchange) stepArrived() bool {
	have := x.c.in.unread()
	switch x.body.step {
	case chunkSize:
		return bytes.IndexByte(have, '\n') >= 0
	case chunkEnd:
		return len(have) >= 2
	case chunkTrailers:
		return bytes.HasPrefix(have, []byte("\r\n"))
	}
	return len(have) > 0
}

// need waits until n bytes are buffered.
func (x *exchange) need(n int) error {
	for x.c.in.len() < n {
		x.patient()
		if err := x.c.in.fill(x.c, bufferSize); err != nil {
			return err
		}
	}
	return nil
}

// maxExcess is how many bytes that are no data a body may contain beyond what is
// normal, as in net/http: extensions must not make megabytes of a few bytes.
const maxExcess = 16 << 10

// chunkLine reads the line before a chunk's data. Extensions are dropped; they
// have no meaning beyond one hop.
func (x *exchange) chunkLine() error {
	b, in := &x.body, &x.c.in
	var end int
	for seen := 0; ; {
		have := in.unread()
		if i := bytes.IndexByte(have[seen:], '\n'); i >= 0 {
			end = seen + i
			break
		}
		seen = len(have)
		x.patient()
		if err := in.fill(x.c, bufferSize); err != nil {
			if errors.Is(err, errFull) {
				return errChunk
			}
			return err
		}
	}
	line := in.unread()[:end]
	in.r += end + 1
	// A bare LF is no line end here, not even by leave (RFC 9112 erratum 7633).
	if end == 0 || line[end-1] != '\r' || !printable(line[:end-1]) {
		return errChunk
	}
	size, ok := hex(line[:end-1])
	if !ok {
		return errChunk
	}
	b.excess = max(b.excess+int64(end)+1-16-2*min(size, 1<<40), 0)
	if b.excess > maxExcess {
		return errChunkExcess
	}
	if b.left, b.step = size, chunkData; size == 0 {
		b.step = chunkTrailers
	}
	return nil
}

// hex reads a chunk size before an extension.
func hex(line []byte) (n int64, ok bool) {
	line, _, _ = bytes.Cut(line, []byte(";"))
	line = bytes.TrimRight(line, " \t") // some pad it
	if len(line) == 0 {
		return 0, false
	}
	for _, c := range line {
		var d byte
		switch {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c && c <= 'f':
			d = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			d = c - 'A' + 10
		default:
			return 0, false
		}
		if n >= 1<<59 {
			return 0, false // it would overflow
		}
		n = n<<4 | int64(d)
	}
	return n, true
}
