package proxy

import (
	"io"
	"slices"
	"testing"
)

// An idle side of a tunnel holds its small buffer, also after much has passed.
func TestRelayGivesItsLargeBufferBack(t *testing.T) {
	var sizes []int
	src := &script{lengths: []int{5, idleBuffer, busyBuffer, busyBuffer, 7, 5, idleBuffer, 100}, sizes: &sizes}
	if err := relay(io.Discard, src); err != nil {
		t.Fatal(err)
	}
	want := []int{idleBuffer, idleBuffer, busyBuffer, busyBuffer, busyBuffer, idleBuffer, idleBuffer, busyBuffer, idleBuffer}
	if !slices.Equal(sizes, want) {
		t.Errorf("read into buffers of %v, want %v", sizes, want)
	}
}

type script struct {
	lengths []int
	sizes   *[]int
}

func (s *script) Read(b []byte) (int, error) {
	*s.sizes = append(*s.sizes, len(b))
	if len(s.lengths) == 0 {
		return 0, io.EOF
	}
	n := s.lengths[0]
	s.lengths = s.lengths[1:]
	return n, nil
}
