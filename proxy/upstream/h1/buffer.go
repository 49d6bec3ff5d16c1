package h1

import (
	"errors"
	"io"
	"sync"
)

// bufferSize holds most heads. A larger one is read into memory of its own,
// which is not kept.
const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func getBuffer() []byte {
	b, _ := buffers.Get().(*[bufferSize]byte)
	return b[:]
}

// putBuffer takes back what getBuffer gave, and leaves a grown one to the
// collector. Under the race detector it is poisoned first: a string or slice that
// still points into it turns into nonsense at once, and not in production.
func putBuffer(b []byte) {
	if cap(b) == bufferSize {
		b = b[:bufferSize]
		poison(b)
		buffers.Put((*[bufferSize]byte)(b))
	}
}

// buffer is what was read from a connection and not yet used: b[r:w].
type buffer struct {
	b    []byte
	r, w int
}

func (b *buffer) acquire() {
	b.b = getBuffer()
	b.r, b.w = 0, 0
}

func (b *buffer) release() {
	putBuffer(b.b)
	*b = buffer{}
}

func (b *buffer) unread() []byte { return b.b[b.r:b.w] }

func (b *buffer) len() int { return b.w - b.r }

// fill reads once from src behind what is there, and makes room for that first,
// up to limit bytes in all.
func (b *buffer) fill(src io.Reader, limit int) error {
	switch {
	case b.r == b.w:
		b.r, b.w = 0, 0
	case b.w == len(b.b) && b.r > 0:
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
	if b.w == len(b.b) {
		if b.w >= limit {
			return errFull
		}
		grown := make([]byte, min(2*len(b.b), max(limit, len(b.b)+1)))
		copy(grown, b.b)
		putBuffer(b.b)
		b.b = grown
	}
	n, err := src.Read(b.b[b.w:])
	b.w += n
	if n > 0 {
		return nil // an error that matters comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

var errFull = errors.New("h1: buffer is full")
