package wire

import (
	"bytes"

	"github.com/ssogate/ssogate/proxy/canonical"
)

type phase uint8

const (
	start phase = iota
	head
	body
	size
	sizeLF
	chunk
	chunkCR
	chunkLF
	trailer
	offered // a handshake: what follows is a tunnel's, or the next request
	refused
	broken
)

// Limits of what is held back.
const (
	// maxTrailer is what net/http reads of trailers (its buffer).
	maxTrailer = 4 << 10
	maxMethod  = 32
	// maxRequestLine leaves the target its own limit, and so its own answer.
	maxRequestLine = maxMethod + 1 + canonical.MaxTarget + 1 + len("HTTP/1.1")
)

// scanner is where a connection stands. It needs nothing of what it has seen but
// this: a section is read when it is whole, everything else byte by byte.
type scanner struct {
	left   uint64 // of the body or chunk; while its size is read, the size so far
	phase  phase
	fields fields
	method uint8 // length of the request's method
	digits uint8 // of a chunk size
	zeros  uint8 // of them that lead
	empty  bool  // a line before the request was dropped
}

// fields are what a head has said so far.
type fields uint8

const (
	hasHost fields = 1 << iota
	hasLength
	hasChunked
	oldVersion // HTTP/1.0
	hasUpgrade // asks for another protocol
)

// window is a piece of the stream. Indexes are into b.
type window struct {
	b     []byte
	head  int // where the section begins that is being read; else line
	line  int // where the line begins that is being read; what is before is checked
	seen  int // up to here that line has been searched for its end
	ready int // up to here it may be delivered
}

// scan checks the rest of w, and moves line and ready on. At a refusal, at is where
// the bytes end that may still be delivered: before the request if nothing of it was
// delivered yet but what [Conn.refuse] continues.
func (s *scanner) scan(w *window, limit int) (at int, whole bool, why *canonical.Refusal) {
	request := -1 // where the request begins, if that is in this window
	if s.phase == head {
		request = w.head
	}
	for w.line < len(w.b) {
		switch s.phase {
		case body, chunk:
			n := min(s.left, uint64(len(w.b)-w.line)) //nolint:gosec // line is inside
			s.left -= n
			w.line += int(n) //nolint:gosec // at most the length of a slice
			w.ready, w.head = w.line, w.line
			switch {
			case s.left > 0:
			case s.phase == chunk:
				s.phase = chunkCR
			default:
				s.phase = start
			}
		case start, head, trailer:
			if s.phase == start {
				w.head, request = w.line, w.line
			}
			more, why := s.line(w, limit)
			if why != nil {
				return s.end(w, request, why)
			}
			if !more {
				return 0, false, nil
			}
		case size, sizeLF, chunkCR, chunkLF:
			if why := s.byte(w.b[w.line]); why != nil {
				return s.end(w, request, why)
			}
			w.line++
			w.ready, w.head = w.line, w.line
		case offered, refused, broken:
			return 0, false, nil
		}
	}
	return 0, false, nil
}

// end is how a window ends that is refused.
func (s *scanner) end(w *window, request int, why *canonical.Refusal) (at int, whole bool, _ *canonical.Refusal) {
	if request >= 0 {
		return request, true, why
	}
	return w.ready, false, why
}

// line reads one line of a section. more is false where it is not there yet.
func (s *scanner) line(w *window, limit int) (more bool, why *canonical.Refusal) {
	from := max(w.line, w.seen)
	i := bytes.IndexByte(w.b[from:], '\n')
	if i < 0 {
		w.seen = len(w.b)
		return false, s.partial(w, limit)
	}
	end := from + i + 1
	if why := s.bounded(end-w.head, end-w.line, limit); why != nil {
		return false, why
	}
	line := w.b[w.line:end]
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return false, errLineEnd
	}
	line = line[:len(line)-2]
	switch {
	case s.phase == start && len(line) == 0:
		// RFC 9112 section 2.2: one, for clients that end a form's body with a line end of
		// their own. It is dropped: what net/http does with it depends on the last method.
		if s.empty {
			return false, errRequestLine
		}
		s.empty = true
		w.b = w.b[:w.line+copy(w.b[w.line:], w.b[end:])]
		w.seen = 0
		return true, nil
	case s.phase == start:
		why = s.requestLine(line)
		s.phase = head
		w.ready = w.head + int(s.method) + 1
	case len(line) > 0:
		why = s.field(line)
	case s.phase == trailer:
		s.done(start)
		w.head, w.ready = end, end
	default:
		why = s.framing()
		w.head, w.ready = end, end
	}
	w.line, w.seen = end, 0
	return true, why
}

// partial looks at a line that has not ended, as far as it must: net/http is given the
// method as it comes, because its time limits depend on when a request begins.
func (s *scanner) partial(w *window, limit int) *canonical.Refusal {
	if why := s.bounded(len(w.b)-w.head, len(w.b)-w.line, limit); why != nil {
		return why
	}
	if s.phase != start {
		return nil
	}
	rest := w.b[w.line:]
	n := 0
	for n < len(rest) && token[rest[n]] {
		n++
	}
	switch {
	case n > maxMethod:
		return errMethod
	case n == len(rest):
	case rest[n] == ' ' && n > 0:
		n++
	case n == 0 && len(rest) == 1 && rest[0] == '\r' && !s.empty:
	default:
		return errRequestLine
	}
	w.ready = w.line + n
	return nil
}

// bounded holds a section and its first line to their limits.
func (s *scanner) bounded(section, line, limit int) *canonical.Refusal {
	switch {
	case s.phase == trailer && section > maxTrailer:
		return errTrailer
	case s.phase == start && line > maxRequestLine+2:
		return errTargetLong
	case section > limit:
		return errHeadLong
	}
	return nil
}

// framing decides, at the end of a head, how long the request is (RFC 9112 section 6.3,
// without what that section only tolerates).
func (s *scanner) framing() *canonical.Refusal {
	switch f := s.fields; {
	case f&hasHost == 0 && f&oldVersion == 0:
		return errHostMissing
	case f&hasChunked != 0 && f&(hasLength|oldVersion) != 0:
		return errConflict
	case f&hasChunked != 0:
		s.done(size)
	case s.left > 0:
		s.phase, s.empty = body, false
	case f&hasUpgrade != 0:
		s.done(offered)
	default:
		s.done(start)
	}
	return nil
}

// done ends a section, a chunk or a message.
func (s *scanner) done(next phase) { *s = scanner{phase: next} }

// byte reads one byte around a chunk (RFC 9112 section 7.1).
func (s *scanner) byte(c byte) *canonical.Refusal {
	switch s.phase {
	case size:
		return s.sizeByte(c)
	case chunkCR:
		if c != '\r' {
			return errChunkEnd
		}
		s.phase = chunkLF
	case chunkLF:
		if c != '\n' {
			return errChunkEnd
		}
		s.done(size)
	default: // sizeLF
		switch {
		case c != '\n':
			return errChunkSize
		case s.left == 0:
			s.done(trailer)
		default:
			s.phase = chunk
		}
	}
	return nil
}

// Bounds of a chunk size. Fifteen digits cannot overflow; eight with their zeros is what
// fixed-width writers send.
const (
	maxDigits = 15
	maxZeros  = 7
)

func (s *scanner) sizeByte(c byte) *canonical.Refusal {
	var d byte
	switch {
	case c >= '0' && c <= '9':
		d = c - '0'
	case c >= 'a' && c <= 'f':
		d = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		d = c - 'A' + 10
	case c == '\r' && s.digits > 0:
		s.phase = sizeLF
		return nil
	case c == ';' && s.digits > 0:
		// Nobody sends extensions, and readers differ about where one ends.
		return errChunkExtension
	default:
		return errChunkSize
	}
	if s.left == 0 && d == 0 {
		s.zeros++
	}
	s.digits++
	s.left = s.left<<4 | uint64(d)
	if s.zeros > maxZeros+1 || s.zeros == maxZeros+1 && s.left > 0 || s.digits-s.zeros > maxDigits {
		return errChunkSize
	}
	return nil
}
