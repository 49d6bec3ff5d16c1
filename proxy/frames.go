package proxy

import (
	"encoding/binary"
	"unicode/utf8"
)

// WebSocket close codes that the gateway itself sends (RFC 6455 section 7.4.1
// and the IANA registry).
const (
	closeGoingAway = 1001 // shutdown: come back at once
	closePolicy    = 1008 // the session has ended
	closeTryLater  = 1013 // it cannot be known whether the session lives
)

// frames follows the WebSocket frames (RFC 6455 section 5.2) that pass from the
// application to the client, to know when a frame of our own may be put between
// two of them. It looks at lengths only. The zero value stands at a boundary.
type frames struct {
	part   framePart
	need   uint8  // bytes of this part still to come
	length uint64 // payload still to come
	masked bool
	closed bool // the application has sent its own close frame
	bad    bool // lost: never at a boundary again
}

type framePart uint8

const (
	partFirst framePart = iota // FIN, opcode
	partSecond
	partLength
	partMask
	partPayload
)

// boundary reports whether a close frame may be sent now. A control frame may
// stand between the fragments of a message (RFC 6455 section 5.4), but not
// after a close frame.
func (f *frames) boundary() bool { return !f.bad && !f.closed && f.part == partFirst }

// advance follows b.
func (f *frames) advance(b []byte) {
	for len(b) > 0 && !f.bad {
		if f.part == partPayload {
			n := min(uint64(len(b)), f.length)
			b = b[n:]
			if f.length -= n; f.length == 0 {
				f.part = partFirst
			}
			continue
		}
		f.header(b[0])
		b = b[1:]
	}
}

func (f *frames) header(c byte) {
	switch f.part {
	case partFirst:
		if c&0x0f == 0x8 {
			f.closed = true
		}
		f.part = partSecond
	case partSecond:
		// A server must not mask; one that does is followed all the same.
		f.masked, f.length = c&0x80 != 0, uint64(c&0x7f)
		switch f.length {
		case 126:
			f.part, f.need, f.length = partLength, 2, 0
		case 127:
			f.part, f.need, f.length = partLength, 8, 0
		default:
			f.afterLength()
		}
	case partLength:
		f.length = f.length<<8 | uint64(c)
		if f.need--; f.need == 0 {
			f.bad = f.length>>63 != 0
			f.afterLength()
		}
	case partMask:
		if f.need--; f.need == 0 {
			f.afterMask()
		}
	case partPayload: // handled by advance
	}
}

func (f *frames) afterLength() {
	if f.masked {
		f.part, f.need = partMask, 4
		return
	}
	f.afterMask()
}

func (f *frames) afterMask() {
	f.part = partPayload
	if f.length == 0 {
		f.part = partFirst
	}
}

// closeFrame is an unmasked close frame with a reason of at most 123 bytes
// (RFC 6455 section 5.5).
func closeFrame(code uint16, reason string) []byte {
	for len(reason) > 123 || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason), 124)-1]
	}
	b := make([]byte, 4, 4+len(reason))
	b[0], b[1] = 0x88, byte(2+len(reason)) //nolint:gosec // at most 125
	binary.BigEndian.PutUint16(b[2:], code)
	return append(b, reason...)
}
