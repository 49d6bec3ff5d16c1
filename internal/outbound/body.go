package outbound

import "io"

// limitedBody fails, rather than ends, when the limit is passed: a cut-off
// document must not be taken for a whole one. It sits above decompression, so
// a small body that unpacks to gigabytes is bounded too.
type limitedBody struct {
	io.ReadCloser
	left     int64
	exceeded bool // stays: a second Read must not turn the refusal into an end of file
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.exceeded {
		return 0, ErrTooLarge
	}
	if len(p) == 0 {
		return 0, nil
	}
	// One byte more than is left tells "exactly at the limit" from "beyond it".
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.exceeded = true
		return n, ErrTooLarge
	}
	b.left -= int64(n)
	return n, err
}
