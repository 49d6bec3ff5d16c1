package proxy

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

func frameBytes(rnd *rand.Rand, opcode byte, size int, masked bool, wide int) []byte {
	b := []byte{0x80&byte(rnd.Int()) | opcode}
	m := byte(0)
	if masked {
		m = 0x80
	}
	switch {
	case wide == 8 || size > 65535:
		b = binary.BigEndian.AppendUint64(append(b, m|127), uint64(size))
	case wide == 2 || size > 125:
		b = binary.BigEndian.AppendUint16(append(b, m|126), uint16(size))
	default:
		b = append(b, m|byte(size))
	}
	if masked {
		b = append(b, 1, 2, 3, 4)
	}
	for range size {
		b = append(b, byte(rnd.Int()))
	}
	return b
}

// However the stream is cut into writes, the tracker stands at a boundary
// exactly after whole frames: a close frame anywhere else would be read as
// payload, or as a broken frame.
func TestFramesStandAtABoundaryExactlyAfterWholeFrames(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		ends := map[int]bool{0: true}
		for range 1 + rnd.IntN(12) {
			size := []int{0, 1, 125, 126, 127, 300, 65535, 65536}[rnd.IntN(8)]
			stream = append(stream, frameBytes(rnd, []byte{0, 1, 2, 9, 10}[rnd.IntN(5)], size, rnd.IntN(4) == 0, []int{0, 2, 8}[rnd.IntN(3)])...)
			ends[len(stream)] = true
		}
		var f frames
		for at := 0; at < len(stream); {
			n := min(1+rnd.IntN(1+rnd.IntN(5000)), len(stream)-at)
			f.advance(stream[at : at+n])
			at += n
			if f.boundary() != ends[at] {
				t.Fatalf("seed %d: at byte %d boundary is %t, want %t", seed, at, f.boundary(), ends[at])
			}
		}
	}
}

func TestNothingIsSentAfterTheApplicationsOwnClose(t *testing.T) {
	var f frames
	f.advance([]byte{0x88, 0x02, 0x03, 0xe8})
	if f.boundary() {
		t.Error("a second close frame is a protocol error (RFC 6455 section 5.5.1)")
	}
	var bad frames
	bad.advance([]byte{0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0})
	bad.advance(make([]byte, 1000))
	if bad.boundary() {
		t.Error("a length over 63 bits is no frame; nothing can be known after it")
	}
}

func TestCloseFrameFits(t *testing.T) {
	for _, reason := range []string{"", "session ended", string(make([]byte, 200)), "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"} {
		b := closeFrame(1008, reason)
		if len(b) != 2+int(b[1]) || b[1] > 125 || binary.BigEndian.Uint16(b[2:]) != 1008 || !utf8.Valid(b[4:]) {
			t.Errorf("%q: % x", reason, b)
		}
		var f frames
		f.advance(b)
		if !f.closed || f.part != partFirst {
			t.Errorf("%q: not one whole close frame", reason)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0x02, 'h', 'i', 0x88, 0x00}, uint8(1))
	f.Add([]byte{0x82, 0xfe, 0, 1, 1, 2, 3, 4, 5}, uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var whole, parts frames
		whole.advance(stream)
		for n := int(step) + 1; len(stream) > 0; {
			k := min(n, len(stream))
			parts.advance(stream[:k])
			stream = stream[k:]
		}
		if whole != parts {
			t.Fatalf("%+v in one write, %+v in several", whole, parts)
		}
	})
}
